//! The service follows the contracts that the manifest names, with the code that it names, or it does not start.

use alloy::primitives::{Address, B256, Bytes};
use sesame_chain::CodeHashes;
use sesame_indexer::MirrorError;
use sesame_sms::{Config, ServeError};
use sesame_tests::{Node, Sms, World, deployment_of};

/// A manifest that says nothing of code is one that a person wrote: it is believed.
#[tokio::test]
async fn a_manifest_without_code_hashes_will_do() {
    let mut world = World::start().await;
    assert!(world.deployment.code_hashes.is_some());
    world.sms.stop().await;
    deployment_of(&mut world.sms.config).code_hashes = None;
    world.sms.start_again().await;
    world.sms.ready().await;
}

#[tokio::test]
async fn other_code_than_the_manifest_says_is_refused() {
    let mut world = World::start().await;
    world.sms.stop().await;
    let right = world.deployment.code_hashes.unwrap();
    let lie = B256::repeat_byte(1);
    for (wrong, address) in [
        (CodeHashes { asset_registry: lie, ..right }, world.deployment.asset_registry),
        (CodeHashes { enclave_whitelist: lie, ..right }, world.deployment.enclave_whitelist),
        (CodeHashes { task_registry: lie, ..right }, world.deployment.task_registry),
    ] {
        let mut config = world.sms.config.clone();
        deployment_of(&mut config).code_hashes = Some(wrong);
        let refusal = Sms::refusal(config).await;
        assert!(
            matches!(&refusal, ServeError::Mirror(MirrorError::WrongCode { address: at, expected, .. })
                if *at == address && *expected == lie),
            "{refusal:?}"
        );
        let told = std::error::Error::source(&refusal).unwrap().to_string();
        assert!(told.contains(&address.to_string()) && told.contains(&lie.to_string()), "{told}");
    }
    world.sms.start_again().await;
    world.sms.ready().await;
}

/// What the manifest promised is replaced on the chain while the service is down.
#[tokio::test]
async fn code_that_was_replaced_is_refused() {
    let mut world = World::start().await;
    world.sms.stop().await;
    world.node.set_code(world.deployment.enclave_whitelist, Bytes::from_static(&[0x00])).await;
    let refusal = Sms::refusal(world.sms.config.clone()).await;
    assert!(matches!(refusal, ServeError::Mirror(MirrorError::WrongCode { .. })), "{refusal:?}");
}

/// Whatever the manifest says of code, there has to be some.
#[tokio::test]
async fn an_address_without_a_contract_is_refused() {
    let world = World::start().await;
    let nowhere = Address::repeat_byte(7);
    for code_hashes in [world.deployment.code_hashes, None] {
        let mut config = fresh(&world, "fresh");
        let deployment = deployment_of(&mut config);
        (deployment.code_hashes, deployment.task_registry) = (code_hashes, nowhere);
        let refusal = Sms::refusal(config).await;
        assert!(
            matches!(refusal, ServeError::Mirror(MirrorError::NoContract { address }) if address == nowhere),
            "{refusal:?}"
        );
    }
}

/// A fork of the chain, or another chain of the same id, where nothing was ever deployed.
#[tokio::test]
async fn a_node_without_the_deployment_is_refused() {
    let (world, elsewhere) = (World::start().await, Node::start());
    let config = Config { rpc_urls: vec![elsewhere.url()], ..fresh(&world, "elsewhere") };
    let refusal = Sms::refusal(config).await;
    assert!(matches!(refusal, ServeError::Mirror(MirrorError::NoContract { .. })), "{refusal:?}");
}

/// The configuration of a service that never ran.
fn fresh(world: &World, folder: &str) -> Config {
    Config { data_dir: world.folder().join(folder), ..world.sms.config.clone() }
}
