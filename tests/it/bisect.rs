//! Lies that no cheap check can see: the journals find them, and only what is wrong is fetched again.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use alloy::{
    network::TransactionBuilder,
    primitives::{Address, B256, Bytes, hex},
    rpc::types::{TransactionReceipt, TransactionRequest},
    sol_types::SolCall,
};
use sesame_chain::abi::whitelist::IEnclaveWhitelist;
use sesame_client::public::Question;
use sesame_domain::{AssetId, EnclaveId};
use sesame_protocol::status::State;
use sesame_sms::{Config, Confirmation};
use sesame_tests::{Build, Liar, Scene, Sms, Tale, Truth, World, codes_of, eventually};
use sesame_view::View;

/// Blocks that are read by receipts anyhow, being near the head.
const NEAR: u64 = 32;
/// How long a lie is watched.
const WATCHED: Duration = Duration::from_secs(2);
/// Logs 600 times with ever another topic: a block's bloom is more than half full then.
const CHATTERBOX: [u8; 19] = hex!("6102585b8060006000a1600190038060035700");

/// A revocation of two enclaves in one block, of which a node may show one: the other is the scene's.
async fn revoke_two(world: &World, asset: AssetId, decoy: Build, build: Build) -> u64 {
    let call = IEnclaveWhitelist::revokeBatchCall {
        assetIds: vec![asset.to_u256(); 2],
        enclaveIds: [decoy, build].map(|build| build.id().0).to_vec(),
    };
    let to = world.deployment.enclave_whitelist;
    mined(world, send(world, world.alice.address(), to, call.abi_encode()).await).await
}

async fn send(world: &World, from: Address, to: Address, data: Vec<u8>) -> B256 {
    let transaction = TransactionRequest::default()
        .with_from(from)
        .with_to(to)
        .with_gas_limit(5_000_000)
        .with_input(data);
    world.node.call("eth_sendTransaction", (transaction,)).await
}

/// The block of a transaction that did what it should.
async fn mined(world: &World, hash: B256) -> u64 {
    let receipt = eventually("it is mined", async || {
        let receipt: Option<TransactionReceipt> =
            world.node.call("eth_getTransactionReceipt", (hash,)).await;
        receipt
    })
    .await;
    assert!(receipt.status(), "{receipt:?}");
    receipt.block_number.unwrap()
}

/// A service behind the liar, with an empty index and a slow pulse, so that nothing it says of itself is missed.
async fn behind(world: &World, liar: &Liar, decide: impl FnOnce(&mut Config)) -> Sms {
    let mut config = Config {
        rpc_urls: vec![liar.url()],
        data_dir: world.folder().join("lied-to"),
        poll: Duration::from_millis(150),
        ..world.sms.config.clone()
    };
    decide(&mut config);
    Sms::start(config).await
}

/// Everything that the service said of itself until it was ready.
async fn until_ready(sms: &Sms) -> BTreeSet<String> {
    let mut reasons = BTreeSet::new();
    let begun = Instant::now();
    while sms.get("readyz").await.status != 200 {
        reasons.extend(sms.status().await.reason);
        assert!(begun.elapsed() < Duration::from_secs(60), "never ready: {reasons:?}");
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
    reasons
}

async fn denials(sms: &Sms, scene: &Scene, enclave: EnclaveId) -> Vec<String> {
    let question = Question { task: scene.task, enclave: Some(enclave), ..Question::default() };
    codes_of(&sms.explain_to(&question).await.denials)
}

/// The stopped service's index says what an honest one says.
async fn is_the_chain(mut sms: Sms, truth: &Truth) {
    eventually("it has the chain's head", async || {
        let head = truth.view.cursor().unwrap()?.head;
        (sms.status().await.head?.hash == head.hash).then_some(())
    })
    .await;
    sms.stop().await;
    let origin = Truth::origin(sms.deployment());
    truth.agrees(&View::open(&sms.data("index"), &origin).unwrap());
}

async fn truth_of(world: &World) -> Truth {
    let truth = Truth::at(&world.folder().join("truth"), &world.deployment);
    truth.follow(&world.node).await;
    truth
}

/// The blocks whose receipts were asked for, the nearest to the head aside.
fn fetched_by_receipts(liar: &Liar, truth: &Truth) -> BTreeSet<u64> {
    let asked: Vec<String> =
        liar.asked("eth_getBlockReceipts").iter().map(ToString::to_string).collect();
    let head = truth.view.cursor().unwrap().unwrap().head.number;
    let was_asked = |number: &u64| {
        let header = truth.view.header(*number).unwrap();
        header
            .is_some_and(|block| asked.iter().any(|asked| asked.contains(&block.hash.to_string())))
    };
    (0..=head.saturating_sub(NEAR)).filter(was_asked).collect()
}

/// The blocks of which an honest node is asked for receipts too: their blooms happen to promise more than there is.
async fn fetched_anyhow(world: &World, truth: &Truth) -> BTreeSet<u64> {
    let honest = Liar::before(world.node.url(), Tale::Truth).await;
    let data = world.folder().join("told-the-truth");
    let sms = behind(world, &honest, |config| config.data_dir = data).await;
    until_ready(&sms).await;
    fetched_by_receipts(&honest, truth)
}

/// Blooms and order are plausible, and the node goes on lying: the two wrong blocks, ranges apart, are found one after the other.
#[tokio::test]
async fn only_the_blocks_that_a_journal_shows_to_be_wrong_are_fetched_again() {
    let world = World::start().await;
    let scene = Scene::set(&world).await;
    let (decoy, late) = (Build::of("decoy"), Build::of("late"));
    for build in [decoy, late] {
        world.allow(&world.alice, scene.data, build).await;
    }
    world.node.mine(700).await;
    world.app(&world.developer).await;
    world.node.mine(100).await;
    let first = revoke_two(&world, scene.data, decoy, scene.build).await;
    world.node.mine(900).await;
    world.allow(&world.alice, scene.data, decoy).await;
    let second = revoke_two(&world, scene.data, decoy, late).await;
    world.node.mine(300).await;
    world.app(&world.developer).await;
    world.node.mine(100).await;
    let truth = truth_of(&world).await;
    let anyhow = fetched_anyhow(&world, &truth).await;

    let liar = Liar::before(world.node.url(), Tale::OmitTwins).await;
    let sms = behind(&world, &liar, |_| {}).await;
    let reasons = until_ready(&sms).await;

    assert!(reasons.iter().any(|reason| reason.contains("journal_mismatch")), "{reasons:?}");
    assert_eq!(fetched_by_receipts(&liar, &truth), &anyhow | &BTreeSet::from([first, second]));
    assert!(liar.asked("eth_getLogs").len() > 4, "it was read in several ranges");
    for build in [scene.build, late] {
        let denials = denials(&sms, &scene, build.id()).await;
        assert!(denials.contains(&"not_whitelisted".to_owned()), "{denials:?}");
    }
    is_the_chain(sms, &truth).await;
}

/// A bloom too full to promise anything hides that a block's logs are missing.
#[tokio::test]
async fn a_block_hidden_under_a_full_bloom_is_found_by_its_journal() {
    let world = World::start().await;
    let scene = Scene::set(&world).await;
    let decoy = Build::of("decoy");
    world.allow(&world.alice, scene.data, decoy).await;
    let chatterbox = Address::repeat_byte(0xcb);
    world.node.set_code(chatterbox, Bytes::from_static(&CHATTERBOX)).await;
    world.node.mine(300).await;
    let _: serde_json::Value = world.node.call("evm_setAutomine", (false,)).await;
    let noise = send(&world, world.bob.address(), chatterbox, Vec::new()).await;
    let call = IEnclaveWhitelist::revokeCall {
        assetId: scene.data.to_u256(),
        enclaveId: scene.build.id().0,
    };
    let whitelist = world.deployment.enclave_whitelist;
    let revoked = send(&world, world.alice.address(), whitelist, call.abi_encode()).await;
    world.node.mine(1).await;
    let _: serde_json::Value = world.node.call("evm_setAutomine", (true,)).await;
    let block = mined(&world, revoked).await;
    assert_eq!(mined(&world, noise).await, block);
    world.node.mine(300).await;
    let truth = truth_of(&world).await;
    let anyhow = fetched_anyhow(&world, &truth).await;

    let liar = Liar::before(world.node.url(), Tale::OmitBlock(block)).await;
    let sms = behind(&world, &liar, |_| {}).await;
    let reasons = until_ready(&sms).await;

    assert!(reasons.iter().any(|reason| reason.contains("journal_mismatch")), "{reasons:?}");
    assert_eq!(fetched_by_receipts(&liar, &truth), &anyhow | &BTreeSet::from([block]));
    let denials = denials(&sms, &scene, scene.build.id()).await;
    assert!(denials.contains(&"not_whitelisted".to_owned()), "{denials:?}");
    is_the_chain(sms, &truth).await;
}

/// Whoever lies in the receipts as well is refused until it does not.
#[tokio::test]
async fn without_honest_receipts_nothing_is_released() {
    let world = World::start().await;
    let scene = Scene::set(&world).await;
    let decoy = Build::of("decoy");
    world.allow(&world.alice, scene.data, decoy).await;
    world.node.mine(300).await;
    revoke_two(&world, scene.data, decoy, scene.build).await;
    world.node.mine(300).await;
    let truth = truth_of(&world).await;

    let liar = Liar::before(world.node.url(), Tale::OmitTwinsEverywhere).await;
    let sms = behind(&world, &liar, |_| {}).await;
    let (begun, mut reasons) = (Instant::now(), BTreeSet::new());
    while begun.elapsed() < WATCHED || !reasons.iter().any(|r: &String| r.contains("receipts_root"))
    {
        assert_eq!(sms.get("readyz").await.status, 503);
        reasons.extend(sms.status().await.reason);
        assert!(begun.elapsed() < 10 * WATCHED, "{reasons:?}");
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
    assert!(reasons.iter().any(|reason| reason.contains("journal_mismatch")), "{reasons:?}");

    liar.tell(Tale::Truth);
    until_ready(&sms).await;
    let denials = denials(&sms, &scene, scene.build.id()).await;
    assert!(denials.contains(&"not_whitelisted".to_owned()), "{denials:?}");
    is_the_chain(sms, &truth).await;
}

/// A bug: above the confirmed block, ranges of logs were believed before any journal had proven them.
#[tokio::test]
async fn ranges_above_the_confirmed_block_are_proven_before_they_are_believed() {
    let world = World::start().await;
    let scene = Scene::set(&world).await;
    let decoy = Build::of("decoy");
    world.allow(&world.alice, scene.data, decoy).await;
    let confirmed = world.node.head().await.number;
    revoke_two(&world, scene.data, decoy, scene.build).await;
    world.node.mine(2 * NEAR).await;
    let truth = truth_of(&world).await;

    let liar = Liar::before(world.node.url(), Tale::OmitTwins).await;
    let depth = world.node.head().await.number - confirmed;
    let depth = Confirmation::Blocks(depth);
    let sms = behind(&world, &liar, |config| config.confirmation = depth).await;
    until_ready(&sms).await;

    let denials = denials(&sms, &scene, scene.build.id()).await;
    assert!(denials.contains(&"not_whitelisted".to_owned()), "{denials:?}");
    is_the_chain(sms, &truth).await;
}

/// The same bug: a mirror that fell behind by some blocks took them by ranges, and confirmed them since no proof was due.
#[tokio::test]
async fn ranges_after_an_outage_are_proven_before_they_are_believed() {
    let world = World::start().await;
    let scene = Scene::set(&world).await;
    let decoy = Build::of("decoy");
    world.allow(&world.alice, scene.data, decoy).await;
    world.confirmed().await;
    let liar = Liar::before(world.node.url(), Tale::Truth).await;
    let sms = behind(&world, &liar, |config| config.prove_every = 1000).await;
    until_ready(&sms).await;

    liar.tell(Tale::NullBlocks);
    revoke_two(&world, scene.data, decoy, scene.build).await;
    world.node.mine(2 * NEAR).await;
    let truth = truth_of(&world).await;
    liar.tell(Tale::OmitTwins);
    let head = world.node.head().await;
    eventually("it has caught up and is ready", async || {
        let status = sms.status().await;
        (status.state == State::Ready && status.head?.hash == head.hash).then_some(())
    })
    .await;
    let denials = denials(&sms, &scene, scene.build.id()).await;
    assert!(denials.contains(&"not_whitelisted".to_owned()), "{denials:?}");
    is_the_chain(sms, &truth).await;
}

/// A bug: rows from ranges were believed for as long as the last good answer was recent, if the proof of them never came.
#[tokio::test]
async fn ranges_whose_proof_never_comes_are_not_believed() {
    let world = World::start().await;
    let scene = Scene::set(&world).await;
    let decoy = Build::of("decoy");
    world.allow(&world.alice, scene.data, decoy).await;
    world.confirmed().await;
    let liar = Liar::before(world.node.url(), Tale::Truth).await;
    let far = Duration::from_secs(60);
    let sms = behind(&world, &liar, |config| config.max_lag = far).await;
    until_ready(&sms).await;

    liar.tell(Tale::NullBlocks);
    let revoked = revoke_two(&world, scene.data, decoy, scene.build).await;
    world.node.mine(2 * NEAR).await;
    liar.tell(Tale::OmitTwinsUnproven);
    eventually("it has the block", async || {
        (sms.status().await.head?.number >= revoked).then_some(())
    })
    .await;
    let begun = Instant::now();
    while begun.elapsed() < WATCHED {
        assert_eq!(sms.get("readyz").await.status, 503);
        tokio::time::sleep(Duration::from_millis(15)).await;
    }

    liar.tell(Tale::Truth);
    until_ready(&sms).await;
    let denials = denials(&sms, &scene, scene.build.id()).await;
    assert!(denials.contains(&"not_whitelisted".to_owned()), "{denials:?}");
}
