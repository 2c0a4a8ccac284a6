//! iExec's own client (npm `iexec` 9.0.1) and PoCo's own contracts (npm `@iexec/poco` 6.1.0), from the first secret to the claim.
//!
//! The one part that is not real is the storage where sessions are posted, with the gateway to IPFS: they record and give.

mod market;
mod secrets;
mod sessions;
mod stage;

use serde_json::Value;

use market::{Assets, started};
use secrets::{lengths, updates};
use sessions::{challenged, claimed, computed};
use stage::{Stage, Weather};

/// A file that the requester wants beside the dataset.
const INPUT: &str = "https://files.example.org/one.txt";

#[tokio::test]
async fn the_real_client_and_the_real_contracts_are_served() {
    play(Weather::Calm).await;
}

#[tokio::test]
async fn slow_blocks_restarts_and_reorgs_cost_time_and_nothing_else() {
    play(Weather::Rough).await;
}

async fn play(weather: Weather) {
    let mut stage = Stage::set(weather).await;
    let assets = Assets::made(&mut stage).await;
    assets.secrets(&mut stage).await;
    updates(&mut stage).await;
    lengths(&mut stage).await;
    stage.trouble().await;

    let abandoned = assets.abandoned(&mut stage).await;
    let deal = assets.bought(&mut stage).await;
    let [first, second] = started(&mut stage, &deal).await;
    let challenge = challenged(&mut stage, &first).await;
    stage.trouble().await;

    let key = assets.session(&mut stage, &deal, &first, &challenge).await;
    computed(&mut stage, &first, &challenge, &key).await;
    assets.sold(&mut stage, &deal, &second).await;
    assets.bulk(&mut stage).await;
    claimed(&mut stage, &abandoned).await;
}

fn text(value: Value) -> String {
    value.as_str().unwrap().to_owned()
}
