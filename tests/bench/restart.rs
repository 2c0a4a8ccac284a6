//! A service that is started again over ten million authorizations, until it is ready.

use std::time::{Duration, Instant};

use sesame_sms::{
    CollateralSource, Config, Confirmation, DEFAULT_REQUEST_TIME, Followed, History, Limits,
    Network, Policy, TOKEN_LIFE,
};
use sesame_tests::Sms;

use crate::{
    decision::Place,
    figures::{Figures, Samples},
    ground::Ground,
};

pub(crate) const NAMES: &[&str] = &["restart_ready_ms"];

const ROUNDS: usize = 5;

/// The chain says what the synthetic index says, so the service goes through all of its checks, proof included.
pub(crate) async fn measure(
    figures: &Figures,
    ground: &Ground,
    place: &Place,
) -> anyhow::Result<()> {
    let config = Config {
        rpc_urls: vec![ground.node.url()],
        quorum: None,
        prove_every: 64,
        followed: Followed::Native(ground.deployment.clone()),
        sessions: None,
        data_dir: place.folder.join("service"),
        vault: None,
        confirmation: Confirmation::Blocks(2),
        history: History::All,
        poll: Duration::from_millis(500),
        heads_urls: Vec::new(),
        max_lag: Duration::from_secs(10),
        max_head_age: u64::MAX,
        free_reserve_bytes: 0,
        request_time: DEFAULT_REQUEST_TIME,
        session_life: TOKEN_LIFE,
        limits: Limits::default(),
        network: Network::default(),
        policy: Policy::hardware_only(),
        collateral: CollateralSource::None,
        program: Default::default(),
    };
    std::fs::create_dir_all(&config.data_dir)?;
    std::fs::rename(place.index(), config.data_dir.join("index"))?;
    let mut samples = Vec::new();
    for round in 0..=ROUNDS {
        let start = Instant::now();
        let mut sms = Sms::start(config.clone()).await;
        sms.ready().await;
        // The first start catches up with the blocks that prove the index.
        if round > 0 {
            samples.push(start.elapsed());
        }
        sms.stop().await;
    }
    std::fs::rename(config.data_dir.join("index"), place.index())?;
    figures.print("restart_ready_ms", Samples::new(samples).p50() / 1e3, "ms");
    Ok(())
}
