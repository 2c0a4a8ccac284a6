//! Nodes that lie: every lie either has no effect or ends in refusal, and truth mends it.

use std::time::{Duration, Instant};

use alloy::primitives::B256;
use sesame_protocol::{
    explain::Explanation,
    status::{State, Trust},
};
use sesame_sms::{Config, index};
use sesame_tests::{
    Liar, Node, Options, Person, Scene, Sms, Tale, Truth, World, codes_of, eventually,
};
use sesame_view::View;

/// How long a lie is watched before it counts as refused.
const WATCHED: Duration = Duration::from_millis(1500);

/// What leaves nothing to be believed while it is told.
const HOPELESS: [Tale; 7] = [
    Tale::AlterData,
    Tale::AlterTopic,
    Tale::AlterHeader,
    Tale::NullBlocks,
    Tale::AlterProof,
    Tale::NoProofs,
    Tale::Truncate,
];

/// What came of a lie.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    NoEffect,
    Refused(String),
}

/// A service of its own on these endpoints, with an empty index.
async fn service(world: &World, name: &str, rpc_urls: Vec<String>) -> Sms {
    let config = Config {
        rpc_urls,
        data_dir: world.folder().join(name),
        max_lag: Duration::from_secs(1),
        ..world.sms.config.clone()
    };
    Sms::start(config).await
}

fn digest(sms: &Sms, block: u64) -> B256 {
    let (folder, followed) = (&sms.config.data_dir, &sms.config.followed);
    index::digest(folder, followed, Some(block)).unwrap().digest
}

/// Whether it becomes ready in the time that a lie is watched, and why not.
async fn watched(sms: &Sms) -> Outcome {
    let begun = Instant::now();
    loop {
        let status = sms.status().await;
        if status.state == State::Ready {
            return Outcome::NoEffect;
        }
        if begun.elapsed() > WATCHED {
            return Outcome::Refused(status.reason.unwrap_or_default());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// It comes to say that this is why it is not ready, and never is.
async fn refuses_for(sms: &Sms, words: &[&str]) {
    eventually(&format!("it says {words:?}"), async || {
        let status = sms.status().await;
        assert_ne!(status.state, State::Ready);
        let reason = status.reason.unwrap_or_default();
        words.iter().all(|word| reason.contains(word)).then_some(())
    })
    .await;
    assert_ne!(watched(sms).await, Outcome::NoEffect);
}

/// A scene far enough back that it is read by ranges.
async fn far_scene(world: &World) -> Scene {
    let scene = Scene::set(world).await;
    world.node.mine(40).await;
    world.confirmed().await;
    scene
}

#[tokio::test]
async fn every_lie_in_a_backfill_has_no_effect_or_ends_in_refusal() {
    let world = World::start().await;
    far_scene(&world).await;
    let head = world.node.head().await.number;
    let block = world.sms.status().await.confirmed.unwrap().number;
    let mut honest = service(&world, "honest", vec![world.node.url()]).await;
    honest.ready().await;
    honest.stop().await;
    let truth = digest(&honest, block);
    let tales = [
        Tale::Truth,
        Tale::OmitOneLog,
        Tale::OmitTwins,
        Tale::OmitTwinsEverywhere,
        Tale::NoLogs,
        Tale::LogsLag,
        Tale::DropBlocks,
        Tale::FabricateLog,
        Tale::AlterData,
        Tale::AlterTopic,
        Tale::Reorder,
        Tale::AlterReceipts,
        Tale::OmitReceipt,
        Tale::StaleHead(head - 45),
        Tale::AlterHeader,
        Tale::NullBlocks,
        Tale::AlterProof,
        Tale::NoProofs,
        Tale::Truncate,
        Tale::Busy(3),
        Tale::Limit(2),
        Tale::Hang(3),
        Tale::Narrow(3),
        Tale::OutOfOrder,
    ];
    let mut table = String::new();
    for (place, tale) in tales.into_iter().enumerate() {
        let liar = Liar::before(world.node.url(), tale).await;
        let mut sms = service(&world, &format!("lied-to-{place}"), vec![liar.url()]).await;
        let outcome = watched(&sms).await;
        if outcome == Outcome::NoEffect && sms.status().await.head.unwrap().number >= block {
            let config = sms.config.clone();
            sms.stop().await;
            assert_eq!(digest(&sms, block), truth, "{tale:?} is believed");
            sms = Sms::start(config).await;
        }
        if HOPELESS.contains(&tale) {
            assert_ne!(outcome, Outcome::NoEffect, "{tale:?}");
        }
        liar.tell(Tale::Truth);
        sms.ready().await;
        eventually("the truth arrives", async || {
            (sms.status().await.confirmed?.number >= block).then_some(())
        })
        .await;
        sms.stop().await;
        assert_eq!(digest(&sms, block), truth, "{tale:?} left something behind");
        table += &format!("{:24} {outcome:?}\n", format!("{tale:?}"));
    }
    eprintln!("lies in a backfill:\n{table}");
}

/// A node that has thrown away the state of its confirmed block says so, and the operator is told what to do.
#[tokio::test]
async fn a_node_without_the_state_is_told_by_its_name() {
    let world = World::start().await;
    let liar = Liar::before(world.node.url(), Tale::NoProofs).await;
    let sms = service(&world, "no-state", vec![liar.url()]).await;
    refuses_for(&sms, &["no_state", "eth_getProof"]).await;
}

#[tokio::test]
async fn no_lie_keeps_what_was_revoked() {
    let world = World::start().await;
    revoked_despite_lies(&world, false).await;
}

/// The liar is asked first, and one honest endpoint has to agree.
#[tokio::test]
async fn with_an_honest_endpoint_in_the_quorum_no_lie_keeps_what_was_revoked() {
    let world = World::start().await;
    revoked_despite_lies(&world, true).await;
}

async fn revoked_despite_lies(world: &World, quorum: bool) {
    let scene = Scene::set(world).await;
    let liar = Liar::before(world.node.url(), Tale::Truth).await;
    let honest = quorum.then(|| world.node.url());
    let urls = [liar.url()].into_iter().chain(honest).collect();
    let mut sms = service(world, "lied-to", urls).await;
    sms.ready().await;
    let mut table = String::new();
    let head = world.node.head().await.number;
    for tale in [
        Tale::OmitOneLog,
        Tale::NoLogs,
        Tale::LogsLag,
        Tale::DropBlocks,
        Tale::FabricateLog,
        Tale::AlterData,
        Tale::AlterTopic,
        Tale::Reorder,
        Tale::AlterReceipts,
        Tale::OmitReceipt,
        Tale::OmitTwins,
        Tale::OmitTwinsEverywhere,
        Tale::StaleHead(head),
        Tale::AlterHeader,
        Tale::NullBlocks,
        Tale::Truncate,
        Tale::Busy(3),
        Tale::OutOfOrder,
    ] {
        eventually("the owners allow it", async || {
            let explained = sms.public().explain(&question(&scene)).await.ok()?;
            owners_allow(&explained).then_some(())
        })
        .await;
        liar.tell(tale);
        world.alice.chain.revoke(scene.data, scene.build.id()).await.unwrap();
        let what = format!("{tale:?} keeps what was revoked");
        let answer =
            eventually(&what, async || match sms.public().explain(&question(&scene)).await {
                Ok(explained) if owners_allow(&explained) => None,
                Ok(explained) => Some(format!("denied: {:?}", codes_of(&explained.denials))),
                Err(error) => Some(format!("refused: {error}")),
            });
        table += &format!("{:24} {}\n", format!("{tale:?}"), answer.await);
        never_allowed(&sms, &scene, Duration::from_millis(400), &what).await;
        liar.tell(Tale::Truth);
        world.allow(&world.alice, scene.data, scene.build).await;
        world.node.mine(world.confirmations()).await;
    }
    eprintln!("lies about a revocation, of {} endpoints:\n{table}", 1 + usize::from(quorum));
    is_the_chain(world, &mut sms).await;
}

/// However often it is asked in this time, the owners do not let it.
async fn never_allowed(sms: &Sms, scene: &Scene, time: Duration, what: &str) {
    let begun = Instant::now();
    while begun.elapsed() < time {
        if let Ok(explained) = sms.public().explain(&question(scene)).await {
            assert!(!owners_allow(&explained), "{what}");
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// A bug: the endpoint that is asked first showed a block of its own making on top of the honest chain, and the mirror served
/// it until it looked whether the quorum agrees.
#[tokio::test]
async fn a_forged_block_of_the_preferred_endpoint_never_shows() {
    let options = Options { confirmations: 20, ..Options::default() };
    let world = World::with(options).await;
    let scene = Scene::set(&world).await;
    world.confirmed().await;
    let (one, two) = (Liar::before(world.node.url(), Tale::Truth).await, world.node.url());
    world.alice.chain.revoke(scene.data, scene.build.id()).await.unwrap();
    let fork = Node::start_with(&["--fork-url", &world.node.url()]);
    let key = world.node.key(1);
    let sms = (world.sms.base(), world.sms.identity);
    let forger = Person::new(key, &fork.url(), &world.deployment, sms).await;
    let config = Config {
        rpc_urls: vec![fork.url(), one.url(), two],
        data_dir: world.folder().join("forged"),
        poll: Duration::from_millis(300),
        ..world.sms.config.clone()
    };
    let sms = Sms::start(config).await;
    sms.ready().await;
    never_allowed(&sms, &scene, Duration::from_millis(50), "the revocation holds").await;

    world.allow(&forger, scene.data, scene.build).await;
    world.node.mine(1).await;
    never_allowed(&sms, &scene, WATCHED, "the forged block shows").await;

    let head = world.node.head().await;
    eventually("it follows the quorum", async || {
        (sms.status().await.head?.hash == head.hash).then_some(())
    })
    .await;
}

/// The service's index, once it has the chain's head, is that of an honest one.
async fn is_the_chain(world: &World, sms: &mut Sms) {
    let head = world.node.head().await;
    eventually("it has the chain's head", async || {
        (sms.status().await.head?.hash == head.hash).then_some(())
    })
    .await;
    sms.stop().await;
    let truth = Truth::at(&world.folder().join("truth"), &world.deployment);
    truth.follow(&world.node).await;
    let origin = Truth::origin(&world.deployment);
    truth.agrees(&View::open(&sms.data("index"), &origin).unwrap());
}

/// The task names another service, which has the secrets: what is left is the chain's word.
fn owners_allow(explained: &Explanation) -> bool {
    let elsewhere = ["wrong_sms", "secret_unavailable"];
    codes_of(&explained.denials).iter().all(|code| elsewhere.contains(&code.as_str()))
}

fn question(scene: &Scene) -> sesame_client::public::Question {
    sesame_client::public::Question { task: scene.task, ..Default::default() }
}

/// Two honest endpoints outvote one that is stale, on another fork, or dead.
#[tokio::test]
async fn a_quorum_outvotes_one_liar() {
    let world = World::start().await;
    let scene = far_scene(&world).await;
    let fork = Node::start();
    fork.mine(world.node.head().await.number + 50).await;
    let liar = Liar::before(world.node.url(), Tale::StaleHead(3)).await;
    let (one, two) = (world.node.url(), Liar::before(world.node.url(), Tale::Truth).await);
    let dead = "http://127.0.0.1:9".to_owned();
    for (name, bad) in [("stale", liar.url()), ("fork", fork.url()), ("dead", dead)] {
        let sms = service(&world, name, vec![bad, one.clone(), two.url()]).await;
        sms.ready().await;
        assert!(owners_allow(&sms.explain(scene.task).await), "{name}");
        assert_eq!(sms.status().await.trust, Trust::Quorum);
    }
}

/// With as many forks as endpoints, nothing is released.
#[tokio::test]
async fn without_a_quorum_nothing_is_released() {
    let world = World::start().await;
    let fork = Node::start();
    fork.mine(world.node.head().await.number).await;
    let sms = service(&world, "split", vec![world.node.url(), fork.url()]).await;
    refuses_for(&sms, &["no_quorum"]).await;
}

/// Who has just revoked can demand an answer that knows of it.
#[tokio::test]
async fn an_answer_can_be_demanded_at_a_block_or_later() {
    let world = World::start().await;
    let scene = Scene::set(&world).await;
    let path = format!("v1/tasks/{}/explain", scene.task);
    let ask = async |block: &str| {
        let request = world.sms.request(reqwest::Method::GET, &path);
        sesame_tests::Answer::to(request.header("Sesame-Min-Block", block)).await
    };
    let head = world.node.head().await.number;

    ask(&head.to_string()).await.is_ok();
    ask(&(head + 1).to_string()).await.is_problem(503, "block_not_reached");
    ask("soon").await.is_problem(400, "malformed_header");
}

/// The index of a stopped service is rebuilt from the chain, and they are equal.
#[tokio::test]
async fn an_index_is_verified_from_the_chain() {
    let mut world = World::start().await;
    let scene = far_scene(&world).await;
    world.node.reorg(1).await;
    world.followed().await;
    assert!(world.sms.status().await.last_proof.is_some());
    world.sms.explain(scene.task).await;
    world.sms.stop().await;
    let config = &world.sms.config;

    let verdict =
        index::verify(&config.data_dir, &config.followed, &config.rpc_urls, None).await.unwrap();

    assert_eq!(verdict.ours.digest, verdict.chain);
}
