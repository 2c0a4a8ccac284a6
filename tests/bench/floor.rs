//! The least that a backfill has to do: fetch the logs of every block, and decode each into its type.

use alloy::{
    eips::BlockNumberOrTag,
    providers::{Provider, RootProvider},
    rpc::types::Filter,
    sol_types::SolEventInterface,
};
use sesame_chain::{Deployment, abi::whitelist::IEnclaveWhitelist::IEnclaveWhitelistEvents};
use tokio::task::JoinSet;

/// Blocks in a request: about as many logs as the mirror asks for at once.
const WIDTH: usize = 8;
const IN_FLIGHT: usize = 4;

/// How many authorizations came.
pub(crate) async fn fetch(url: &str, deployment: &Deployment) -> anyhow::Result<u64> {
    let provider: RootProvider = RootProvider::connect(url).await?;
    let head = provider.get_block_number().await?;
    let mut fetching = JoinSet::new();
    let mut events = 0;
    for first in (deployment.first_block..=head).step_by(WIDTH) {
        if fetching.len() == IN_FLIGHT
            && let Some(done) = fetching.join_next().await
        {
            events += done??;
        }
        let last = BlockNumberOrTag::Number(head.min(first + WIDTH as u64 - 1));
        let filter = Filter::new()
            .from_block(first)
            .to_block(last)
            .address(deployment.contracts().map(|(address, _)| address).to_vec());
        fetching.spawn(range(provider.clone(), filter));
    }
    while let Some(done) = fetching.join_next().await {
        events += done??;
    }
    Ok(events)
}

async fn range(provider: RootProvider, filter: Filter) -> anyhow::Result<u64> {
    let logs = provider.get_logs(&filter).await?;
    let decoded = logs.iter().map(|log| IEnclaveWhitelistEvents::decode_log(&log.inner));
    Ok(decoded.filter(Result::is_ok).map(std::hint::black_box).count() as u64)
}
