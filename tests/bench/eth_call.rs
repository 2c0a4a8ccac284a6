//! What one authorization costs those who ask a node at every request: five `eth_call`s over loopback HTTP.

use std::time::Instant;

use alloy::{primitives::B256, providers::RootProvider};
use sesame_chain::abi::{
    assets::IAssetRegistry, tasks::ITaskRegistry, whitelist::IEnclaveWhitelist,
};
use sesame_tests::World;

use crate::figures::Samples;

/// The task, and for each of two assets its epoch and its authorization, one after the other.
pub(crate) async fn five_calls(rounds: usize) -> anyhow::Result<Samples> {
    let world = World::start().await;
    let app = world.app(&world.developer).await;
    let data = world.data(&world.alice, b"some data").await;
    let provider: RootProvider = RootProvider::connect(&world.node.url()).await?;
    let assets = IAssetRegistry::new(world.deployment.asset_registry, &provider);
    let whitelist = IEnclaveWhitelist::new(world.deployment.enclave_whitelist, &provider);
    let tasks = ITaskRegistry::new(world.deployment.task_registry, &provider);
    let (app, data, enclave) = (app.to_u256(), data.to_u256(), B256::repeat_byte(1));
    let mut samples = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let start = Instant::now();
        tasks.taskOf(enclave).call().await?;
        for asset in [app, data] {
            assets.epochOf(asset).call().await?;
            whitelist.authorizationOf(asset, enclave).call().await?;
        }
        samples.push(start.elapsed());
    }
    Ok(Samples::new(samples))
}
