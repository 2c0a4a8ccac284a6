//! What was seen to go wrong in other indexers, by name: no event is lost, doubled or invented, and a service whose rows are not
//! the chain's never says that it is ready.

use std::{
    error::Error,
    fs,
    time::{Duration, Instant},
};

use sesame_chain::Reader;
use sesame_client::public::{Public, Question};
use sesame_domain::{Order, Registry, TaskId};
use sesame_indexer::{MirrorError, Pulse};
use sesame_protocol::{explain::Explanation, status::State};
use sesame_sms::{Config, ServeError};
use sesame_tests::{
    Build, Launch, Liar, Node, Options, Program, Scene, Sms, Tale, Truth, World, codes_of,
    eventually, seeded,
};
use sesame_view::View;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long a fault is watched.
const WATCHED: Duration = Duration::from_millis(1200);

#[tokio::test]
async fn a_single_log_dropped_per_answer() {
    told(Tale::OmitOneLog).await;
}

#[tokio::test]
async fn an_empty_answer_to_get_logs() {
    told(Tale::NoLogs).await;
}

#[tokio::test]
async fn a_node_whose_logs_lag_its_head_by_one_block() {
    told(Tale::LogsLag).await;
}

#[tokio::test]
async fn forged_log_data() {
    told(Tale::AlterData).await;
}

#[tokio::test]
async fn thirty_percent_of_requests_answered_503() {
    told(Tale::Busy(3)).await;
}

/// A service whose node has this fault while it reads the history, and while an owner revokes.
async fn told(tale: Tale) {
    let world = World::start().await;
    let scene = Scene::set(&world).await;
    // Far enough back to be read by ranges.
    world.node.mine(40).await;
    world.confirmed().await;
    let liar = Liar::before(world.node.url(), tale).await;
    let config = Config {
        rpc_urls: vec![liar.url()],
        data_dir: world.folder().join("told"),
        max_lag: Duration::from_secs(1),
        ..world.sms.config.clone()
    };
    let mut sms = Sms::start(config).await;

    let ready = watched(&world, &sms, scene.task).await;
    liar.tell(Tale::Truth);
    sms.ready().await;
    same_head(&world, &sms).await;
    assert!(owners_allow(&sms.explain(scene.task).await));

    liar.tell(tale);
    world.alice.chain.revoke(scene.data, scene.build.id()).await.unwrap();
    world.followed().await;
    eventually("the revocation or the fault is noticed", async || {
        let explained = sms.public().explain(&question(scene.task)).await;
        (!explained.is_ok_and(|explained| owners_allow(&explained))).then_some(())
    })
    .await;
    let still = watched(&world, &sms, scene.task).await;
    liar.tell(Tale::Truth);
    world.confirmed().await;
    same_head(&world, &sms).await;
    eprintln!("{tale:?}: ready {ready} times in the backfill, {still} times at the head");

    sms.stop().await;
    is_the_chain(&world, &sms).await;
}

/// For as long as a fault is watched: whenever the service is ready, it says what the honest one says. Gives how often it was.
async fn watched(world: &World, sms: &Sms, task: TaskId) -> usize {
    let (begun, mut ready) = (Instant::now(), 0);
    while begun.elapsed() < WATCHED {
        if sms.get("readyz").await.status == 200
            && let Ok(explained) = sms.public().explain(&question(task)).await
        {
            let honest = world.sms.explain(task).await;
            assert_eq!(owners_say(&explained), owners_say(&honest), "ready over stale rows");
            ready += 1;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    ready
}

async fn same_head(world: &World, sms: &Sms) {
    let head = world.node.head().await;
    eventually("it has the chain's head", async || {
        (sms.status().await.head?.hash == head.hash).then_some(())
    })
    .await;
    sms.ready().await;
}

fn question(task: TaskId) -> Question {
    Question { task, ..Question::default() }
}

/// The task may name another service, which has the secrets: what is left is the chain's word.
fn owners_say(explained: &Explanation) -> Vec<String> {
    let mut codes = codes_of(&explained.denials);
    codes.retain(|code| code != "wrong_sms" && code != "secret_unavailable");
    codes
}

fn owners_allow(explained: &Explanation) -> bool {
    owners_say(explained).is_empty()
}

/// The index of a stopped service says at each block what an honest one says, and has as many events as the contracts told.
async fn is_the_chain(world: &World, sms: &Sms) {
    let truth = Truth::at(&world.folder().join("truth"), &world.deployment);
    truth.follow(&world.node).await;
    let origin = Truth::origin(&world.deployment);
    let index = View::open(&sms.data("index"), &origin).unwrap();
    assert_eq!(index.cursor().unwrap().unwrap().head, world.node.head().await);
    truth.agrees(&index);
    let reader = Reader::connect(&world.node.url(), &world.deployment).await.unwrap();
    for registry in Registry::ALL {
        let told = reader.journal_of(registry).await.unwrap();
        let mirrored = index.snapshot().unwrap().unwrap().journal(registry).unwrap();
        assert_eq!(mirrored, told, "{registry:?}");
    }
}

#[tokio::test]
async fn a_reorg_while_stopped() {
    let mut world = World::with(Options { confirmations: 6, ..Options::default() }).await;
    let scene = Scene::set(&world).await;
    world.requester.chain.revoke_grant(scene.task, 1).await.unwrap();
    world.alice.chain.revoke(scene.data, scene.build.id()).await.unwrap();
    world.followed().await;
    let fork = world.node.head().await;

    world.sms.stop().await;
    world.node.reorg(2).await;
    world.requester.chain.revoke_grant(scene.task, 2).await.unwrap();
    world.node.mine(3).await;
    world.sms.start_again().await;

    // The first word that it gives is the new fork's.
    let explained = eventually("it is ready", async || {
        world.sms.public().explain(&question(scene.task)).await.ok()
    })
    .await;
    assert_eq!(owners_say(&explained), ["grant_revoked"]);
    world.followed().await;
    assert_ne!(world.node.head().await.hash, fork.hash);
    world.sms.stop().await;
    is_the_chain(&world, &world.sms).await;
}

/// Whoever is being answered in that moment gets nothing that rests on it.
#[tokio::test]
async fn a_mirror_that_stops_for_good_is_believed_no_more() {
    let (node, folder) = (Node::start(), TempDir::new().unwrap());
    let truth = Truth::at(folder.path(), &node.deploy().await);
    node.mine(20).await;
    let (publisher, mut pulse) = watch::channel(Pulse::default());
    let mirror = truth.mirror(&node, publisher).await;
    let running = TaskTracker::new().spawn(mirror.run(CancellationToken::new()));
    pulse.wait_for(|pulse| pulse.fresh_at.is_some()).await.unwrap();

    node.reorg(15).await;

    let ended = running.await.unwrap();
    assert!(matches!(ended, Err(MirrorError::ReorgBelowConfirmed { .. })), "{ended:?}");
    assert_eq!(pulse.borrow().fresh_at, None);
}

#[tokio::test]
async fn a_reorg_deeper_than_the_window() {
    let mut world = World::start().await;
    let scene = Scene::set(&world).await;
    scene.run(&world).await;
    let confirmed = world.sms.status().await.confirmed.unwrap().number;

    world.node.reorg(world.confirmations() + 3).await;

    let ended = world.sms.ended().await;
    let below = |ended: &ServeError| {
        matches!(ended, ServeError::Mirror(MirrorError::ReorgBelowConfirmed { .. }))
    };
    assert!(ended.as_ref().is_err_and(below), "{ended:?}");
    let told = ended.unwrap_err().source().unwrap().to_string();
    assert!(told.contains(&format!("the confirmed block {confirmed}")), "{told}");
    assert!(told.contains("delete the index to rebuild it"), "{told}");
    let asked = world.sms.request(reqwest::Method::GET, "readyz").send().await;
    assert!(asked.is_err(), "it still answers: {asked:?}");

    // It does not forget that by being started again.
    let again = Sms::refusal(world.sms.config.clone()).await;
    assert!(below(&again), "{again:?}");
    // A person looked, and has the index rebuilt.
    fs::remove_dir_all(world.sms.data("index")).unwrap();
    world.sms.start_again().await;
    world.confirmed().await;
    world.sms.stop().await;
    is_the_chain(&world, &world.sms).await;
}

/// Killed at any moment of its backfill, the index goes on from a whole block.
#[tokio::test]
async fn kill_9_in_mid_backfill_leaves_no_duplicates() {
    let world = World::start().await;
    let (build, app) = (Build::of("sum"), world.app(&world.developer).await);
    world.allow(&world.developer, app, build).await;
    let mut tasks = Vec::new();
    for round in 0..6u64 {
        let order = Order { params: format!("--round {round}"), ..world.order(app, build) };
        let task = world.buy(&order).await;
        if round % 2 == 0 {
            world.begin(task).await;
        }
        tasks.push(task);
        world.node.mine(400).await;
    }
    world.confirmed().await;
    // The same identity, so that the orders are for both.
    let folder = world.folder().join("killed");
    fs::create_dir_all(folder.join("keys")).unwrap();
    for key in fs::read_dir(world.sms.data("keys")).unwrap().map(Result::unwrap) {
        if !key.file_name().to_string_lossy().starts_with("vault-") {
            fs::copy(key.path(), folder.join("keys").join(key.file_name())).unwrap();
        }
    }
    let launch = Launch {
        rpc_url: world.node.url(),
        deployment: &world.deployment,
        folder: &folder,
        listen: "127.0.0.1:0",
        confirmations: world.confirmations(),
        root: Some(world.published()),
    };
    let mut random = seeded();

    let mut interrupted = 0;
    for _ in 0..8 {
        let program = Program::start(&launch);
        let pause = rand::Rng::random_range(&mut random, 0..150);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let state = program.status().await.state;
        program.kill();
        if state == State::Backfilling {
            interrupted += 1;
        } else {
            // It was done already: once more from the beginning.
            fs::remove_dir_all(folder.join("index")).unwrap();
        }
    }
    assert!(interrupted > 0, "no kill came in mid-backfill");
    let program = Program::start(&launch);
    program.ready().await;

    let public = Public::new(program.base()).unwrap();
    let status = program.status().await;
    assert_eq!(status.identity, world.sms.identity);
    assert_eq!(status.head, world.sms.status().await.head);
    for task in tasks {
        let explained = public.explain(&question(task)).await.unwrap();
        assert_eq!(explained, world.sms.explain(task).await);
    }
    program.kill();
    let truth = Truth::at(&world.folder().join("truth"), &world.deployment);
    truth.follow(&world.node).await;
    truth.agrees(&View::open(&folder.join("index"), &Truth::origin(&world.deployment)).unwrap());
}
