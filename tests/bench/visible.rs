//! From the moment that a block is asked for to the moment that its authorization or revocation is what the mirror says.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use rand::Rng;
use sesame_domain::{AssetId, EnclaveId};
use sesame_tests::Node;
use tokio::task::spawn_blocking;

use crate::{
    figures::{Figures, Samples},
    follower::{Follower, How},
    owner::Owner,
};

pub(crate) const NAMES: &[&str] =
    &["visible_p50_ms", "visible_p99_ms", "visible_poll_p50_ms", "visible_poll_p99_ms"];

const POLL: Duration = Duration::from_millis(50);
/// So seldom that only an announcement tells of a block.
const SELDOM: Duration = Duration::from_secs(3600);
/// How often the view is looked at.
const LOOK: Duration = Duration::from_micros(200);
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) async fn measure(figures: &Figures, folder: &Path) -> anyhow::Result<()> {
    let rounds = if figures.quick { 100 } else { 500 };
    let node = Node::start();
    let deployment = node.deploy().await;
    let mut owner = Owner::new(&node, &deployment, 1).await?;
    let _: serde_json::Value = node.call("evm_setAutomine", (false,)).await;
    let how = How { poll: SELDOM, heads: vec![node.heads_url()], ..How::of(&node) };
    let follower = Follower::start(&folder.join("announced"), &deployment, how).await?;
    let announced = changes(&node, &mut owner, follower, rounds).await?;
    figures.print("visible_p50_ms", announced.p50() / 1e3, "ms");
    figures.print("visible_p99_ms", announced.p99() / 1e3, "ms");
    let how = How { poll: POLL, ..How::of(&node) };
    let follower = Follower::start(&folder.join("visible"), &deployment, how).await?;
    let polled = changes(&node, &mut owner, follower, rounds).await?;
    figures.print("visible_poll_p50_ms", polled.p50() / 1e3, "ms");
    figures.print("visible_poll_p99_ms", polled.p99() / 1e3, "ms");
    Ok(())
}

/// An authorization and its revocation in turn, each in a block of its own, at any time between two polls.
async fn changes(
    node: &Node,
    owner: &mut Owner<'_>,
    mut follower: Follower,
    rounds: u32,
) -> anyhow::Result<Samples> {
    follower.ready().await?;
    let follower = Arc::new(follower);
    let pair = (owner.asset(0), EnclaveId([1; 32].into()));
    let mut samples = Vec::new();
    for round in 0..rounds {
        let allowed = round % 2 == 0;
        if allowed {
            owner.authorize(pair).await
        } else {
            owner.revoke(pair).await
        }
        let pause = rand::rng().random_range(Duration::ZERO..POLL);
        tokio::time::sleep(pause).await;
        let watched = follower.clone();
        let start = Instant::now();
        let seen = spawn_blocking(move || until(&watched, pair, allowed, start));
        let _: serde_json::Value = node.call("evm_mine", [(); 0]).await;
        samples.push(seen.await??);
    }
    let follower = Arc::into_inner(follower).expect("nobody watches any more");
    follower.stop().await?;
    Ok(Samples::new(samples))
}

/// How long after `start` the mirror says that the pair is allowed, or is not.
fn until(
    follower: &Follower,
    (asset, enclave): (AssetId, EnclaveId),
    allowed: bool,
    start: Instant,
) -> anyhow::Result<Duration> {
    while follower.authorization(asset, enclave)?.is_some() != allowed {
        anyhow::ensure!(start.elapsed() < PATIENCE, "the mirror does not follow");
        std::thread::sleep(LOOK);
    }
    Ok(start.elapsed())
}
