//! What the operator decides about the index, and what it tells its watchers.

use std::time::Duration;

use sesame_client::public::Question;
use sesame_domain::TaskId;
use sesame_sms::{Config, Confirmation, History};
use sesame_tests::{Liar, Scene, Sms, Tale, World, codes_of, eventually};

/// A service of its own with an empty index.
async fn service(world: &World, config: Config) -> Sms {
    Sms::start(Config { data_dir: world.folder().join("watched"), ..config }).await
}

/// The value of a line of the metrics, none if there is no such line.
async fn metric(sms: &Sms, name: &str) -> Option<u64> {
    let answer = sms.get("metrics").await;
    answer.is_ok();
    let text = String::from_utf8(answer.body).unwrap();
    assert!(text.ends_with("# EOF\n"), "{text}");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map(|value| value.parse().unwrap())
}

/// Without anybody who announces, polling goes on as ever.
#[tokio::test]
async fn a_node_that_announces_nothing_is_polled() {
    let world = World::start().await;
    let mut config = world.sms.config.clone();
    config.heads_urls = vec!["ws://127.0.0.1:9".to_owned(), "nonsense".to_owned()];
    let sms = service(&world, config).await;
    sms.ready().await;
    world.node.mine(3).await;
    let head = world.node.head().await.number;
    eventually("the head is polled", async || {
        (sms.status().await.head?.number == head).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_history_that_is_kept_short_answers_for_the_blocks_that_it_keeps() {
    let world = World::start().await;
    let scene = Scene::set(&world).await;
    let mut config = world.sms.config.clone();
    config.history = History::Blocks(3);
    let sms = service(&world, config).await;
    sms.ready().await;
    for _ in 0..8 {
        world.node.mine(1).await;
        eventually("it follows", async || {
            let head = world.node.head().await.number;
            (sms.status().await.head?.number == head).then_some(())
        })
        .await;
    }
    let at = async |block| {
        let path = format!("v1/tasks/{}/explain?block={block}", scene.task);
        sms.get(&path).await
    };
    // What is too old goes a moment after the head has come, and once more when that is proven.
    let cut = eventually("the history is cut", async || {
        let proven = sms.status().await.last_proof?.number;
        let whole = Question { task: scene.task, block: Some(proven - 3), ..Question::default() };
        let expected = world.sms.public().explain(&whole).await.ok()?;
        let got = sms.public().explain(&whole).await.ok()?;
        (at(proven - 4).await.status == 404).then_some((proven, expected, got))
    });
    let (proven, mut expected, mut got) = cut.await;
    at(proven - 4).await.is_problem(404, "block_unknown");
    at(1).await.is_problem(404, "block_unknown");
    // The other service has other secrets and another identity.
    expected.denials.clear();
    got.denials.clear();
    (expected.allowed, got.allowed) = (false, false);
    assert_eq!(got, expected);
}

/// What a node of this tale fails, for a service whose index is empty.
const FAILED: [(Tale, &str); 7] = [
    (Tale::AlterHeader, "block_hash"),
    (Tale::AlterReceipts, "receipts_root"),
    (Tale::OmitReceipt, "receipts_root"),
    (Tale::AlterProof, "proof_invalid"),
    (Tale::NullBlocks, "no_block"),
    (Tale::Truncate, "no_answer"),
    (Tale::Hang(10), "timeout"),
];

/// The check's metric, and whether the service refuses by its name at this moment.
async fn failed(sms: &Sms, check: &str) -> Option<()> {
    let counted = metric(sms, &format!("sesame_index_failures_total{{check=\"{check}\"}}")).await;
    let refusal = sms.get("readyz").await;
    let named = refusal.status == 503
        && refusal.header("sesame-problem") == Some("index_stale")
        && refusal.json()["detail"].as_str()?.contains(&format!(": {check}: "));
    (named && counted? > 0).then_some(())
}

#[tokio::test]
async fn every_failed_check_is_counted_and_refused_by_its_name_until_the_node_tells_the_truth() {
    let world = World::start().await;
    Scene::set(&world).await;
    world.confirmed().await;
    for (place, (tale, check)) in FAILED.into_iter().enumerate() {
        let liar = Liar::before(world.node.url(), tale).await;
        let mut config = world.sms.config.clone();
        (config.rpc_urls, config.max_lag) = (vec![liar.url()], Duration::from_secs(1));
        config.data_dir = world.folder().join(format!("lied-to-{place}"));
        let sms = Sms::start(config).await;
        eventually(&format!("{tale:?} fails {check}"), async || failed(&sms, check).await).await;
        liar.tell(Tale::Truth);
        sms.ready().await;
    }
    // One that was honest, and is behind now.
    let liar = Liar::before(world.node.url(), Tale::Truth).await;
    let mut config = world.sms.config.clone();
    (config.rpc_urls, config.max_lag) = (vec![liar.url()], Duration::from_secs(1));
    let sms = service(&world, config).await;
    sms.ready().await;
    liar.tell(Tale::StaleHead(1));
    eventually("it is behind", async || failed(&sms, "node_behind").await).await;
    liar.tell(Tale::Truth);
    sms.ready().await;
}

#[tokio::test]
async fn metrics_name_the_check_that_failed() {
    let world = World::start().await;
    let liar = Liar::before(world.node.url(), Tale::Truth).await;
    let mut config = world.sms.config.clone();
    config.rpc_urls = vec![liar.url()];
    let sms = service(&world, config).await;
    sms.ready().await;
    let failures = "sesame_index_failures_total{check=\"block_hash\"}";
    assert_eq!(metric(&sms, failures).await, None);

    liar.tell(Tale::AlterHeader);
    eventually("the lie is counted", async || metric(&sms, failures).await).await;

    liar.tell(Tale::Truth);
    sms.ready().await;
    let head = sms.status().await.head.unwrap().number;
    assert_eq!(metric(&sms, "sesame_index_head").await, Some(head));
    assert_eq!(metric(&sms, "sesame_ready").await, Some(1));
}

#[tokio::test]
async fn metrics_count_reorgs_and_decisions_and_hold_nothing_of_a_caller() {
    let world = World::start().await;
    let scene = Scene::set(&world).await;
    scene.run(&world).await;
    let unknown = TaskId([7; 32].into());
    let bundle = sesame_domain::Resource::Bundle;
    world.ask(scene.build, unknown, bundle).await.is_denied(&["task_unknown"]);
    world.node.mine(2).await;
    world.followed().await;
    world.node.reorg(1).await;
    world.followed().await;

    assert_eq!(metric(&world.sms, "sesame_decisions_total{decision=\"released\"}").await, Some(1));
    assert_eq!(metric(&world.sms, "sesame_decisions_total{decision=\"denied\"}").await, Some(1));
    assert_eq!(metric(&world.sms, "sesame_index_reorgs_total").await, Some(1));
    assert_eq!(metric(&world.sms, "sesame_index_undone_blocks_total").await, Some(1));
    let text = String::from_utf8(world.sms.get("metrics").await.body).unwrap();
    for secret in [scene.task.to_string(), unknown.to_string(), world.worker.address().to_string()]
    {
        assert!(!text.contains(&secret), "{text}");
    }
}

/// Grants count once the node says that their block is safe, or finalized, and not before.
#[tokio::test]
async fn a_tag_says_which_blocks_are_confirmed() {
    let mut world = World::start().await;
    let scene = Scene::set(&world).await;
    world.confirmed().await;
    for (tag, confirmation) in
        [("safe", Confirmation::Safe), ("finalized", Confirmation::Finalized)]
    {
        world.sms.stop().await;
        world.sms = Sms::start(Config { confirmation, ..world.sms.config.clone() }).await;
        let task = world.buy(&scene.order).await;
        world.worker.chain.start(task).await.unwrap();
        let bought = world.node.head().await.number;
        let codes = async || codes_of(&world.sms.explain(task).await.denials);
        let tagged = async || -> u64 {
            let block: serde_json::Value =
                world.node.call("eth_getBlockByNumber", (tag, false)).await;
            let number = block["number"].as_str().unwrap().trim_start_matches("0x");
            u64::from_str_radix(number, 16).unwrap()
        };
        world.followed().await;
        while tagged().await < bought {
            assert_eq!(codes().await, ["not_yet_confirmed"], "{tag}");
            world.node.mine(8).await;
            world.followed().await;
        }
        eventually(tag, async || codes().await.is_empty().then_some(())).await;
        eventually(tag, async || {
            let confirmed = world.sms.status().await.confirmed?.number;
            (confirmed == tagged().await).then_some(())
        })
        .await;
    }
}
