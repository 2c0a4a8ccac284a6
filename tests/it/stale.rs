//! An index that may be out of date says no, with the reason.

use std::time::{Duration, Instant};

use reqwest::Method;
use sesame_domain::Resource;
use sesame_protocol::status::{State, Trust};
use sesame_sms::Config;
use sesame_tests::{Answer, Liar, Options, Scene, Sms, Tale, World, eventually, now};

/// So long that a machine busy with other stories still follows its node within it.
const LAG: Duration = Duration::from_secs(5);

/// Waits until the service refuses for this reason.
async fn unready(sms: &Sms, code: &str) -> Answer {
    eventually(code, async || {
        let answer = sms.get("readyz").await;
        (answer.header("sesame-problem") == Some(code)).then_some(answer)
    })
    .await
}

/// Asks until the service answers with yes, while the chain keeps step with the clock.
async fn answered(world: &World, sms: &Sms, path: &str) -> Answer {
    eventually("the service believes the chain", async || {
        let head = world.node.head().await.timestamp;
        if head < now() {
            world.node.mine(1).await;
        }
        let answer = sms.get(path).await;
        (answer.status == 200 && head <= now()).then_some(answer)
    })
    .await
}

#[tokio::test]
async fn a_silent_node_makes_every_answer_a_refusal() {
    let world = World::with(Options { max_lag: LAG, ..Options::default() }).await;
    let scene = Scene::set(&world).await;
    let enclave = world.attested(scene.build, scene.task).await;
    enclave.open(&enclave.ask(scene.task, Resource::Bundle).await);

    world.node.pause();
    let paused = Instant::now();
    let answer = eventually("index_stale", async || {
        let asked = paused.elapsed();
        let answer = world.sms.get("readyz").await;
        assert!(asked <= LAG || answer.status != 200, "ready when asked after {asked:?}");
        (answer.header("sesame-problem") == Some("index_stale")).then_some(answer)
    })
    .await;

    answer.is_problem(503, "index_stale");
    assert_eq!(answer.header("retry-after"), Some("1"));
    enclave.ask(scene.task, Resource::Bundle).await.is_problem(503, "index_stale");
    enclave.ask(scene.task, Resource::AppSecret).await.is_problem(503, "index_stale");
    let explain = format!("v1/tasks/{}/explain", scene.task);
    world.sms.get(&explain).await.is_problem(503, "index_stale");
    let pushed =
        world.developer.owner.show(now(), &sesame_domain::SecretId::Asset(scene.app)).await;
    assert!(pushed.is_err(), "owners are judged by the chain too: {pushed:?}");
    assert!(world.run(scene.build, scene.task).await.unwrap_err().passes_with_time());
    let status = world.sms.status().await;
    assert_eq!(status.state, State::Stale);
    assert!(status.reason.unwrap().contains("no node confirmed"));
    world.sms.get("healthz").await.is_ok();

    world.node.resume();
    world.sms.ready().await;
    enclave.open(&enclave.ask(scene.task, Resource::Bundle).await);
}

/// What happened while the node was silent counts before anything is released again.
#[tokio::test]
async fn nothing_is_released_before_the_index_has_caught_up() {
    let mut world = World::with(Options { max_lag: LAG, ..Options::default() }).await;
    let scene = Scene::set(&world).await;
    world.sms.stop().await;
    world.alice.chain.revoke(scene.data, scene.build.id()).await.unwrap();
    world.node.pause();

    world.sms.start_again().await;
    unready(&world.sms, "index_starting").await.is_problem(503, "index_starting");
    assert_eq!(world.sms.status().await.state, State::Backfilling);
    let refused = scene.ask(&world).await;
    // A few seconds later the node counts as one that does not answer.
    let code = refused.header("sesame-problem").unwrap_or_default();
    assert!(["index_starting", "index_stale"].contains(&code), "{code}");
    refused.is_problem(503, code);

    world.node.resume();
    world.sms.ready().await;
    scene.ask(&world).await.is_denied(&["not_whitelisted"]);
}

#[tokio::test]
async fn a_chain_that_stands_still_is_too_old() {
    let world = World::start().await;
    let config = Config {
        data_dir: world.folder().join("strict"),
        max_head_age: 5,
        ..world.sms.config.clone()
    };
    let sms = Sms::start(config).await;
    let task = sesame_domain::TaskId::default();
    let explain = format!("v1/tasks/{task}/explain");

    unready(&sms, "head_too_old").await.is_problem(503, "head_too_old");

    sms.get(&explain).await.is_problem(503, "head_too_old");
    let status = sms.status().await;
    assert_eq!(status.state, State::Stale);
    assert!(status.head_age_seconds.unwrap() > 5);
    assert_eq!(answered(&world, &sms, &explain).await.json()["allowed"], false);
}

/// A clock that is an hour behind would take an old head for a new one, and what has expired for good.
#[tokio::test]
async fn a_clock_that_the_chain_has_overtaken_releases_nothing() {
    let world = World::with(Options { max_head_age: 600, ..Options::default() }).await;
    let scene = Scene::set(&world).await;
    scene.run(&world).await;

    world.node.mine_at(now() + 3600).await;

    unready(&world.sms, "clock_behind").await.is_problem(503, "clock_behind");
    let refused = scene.ask(&world).await;
    refused.is_problem(503, "clock_behind");
    assert!(refused.json()["detail"].as_str().unwrap().contains("set the clock"));
    assert_eq!(world.sms.status().await.state, State::Stale);
}

#[tokio::test]
async fn a_new_index_says_that_it_is_catching_up() {
    let world = World::start().await;
    world.node.mine(1200).await;
    let mut config = world.sms.config.clone();
    config.data_dir = world.folder().join("new");
    let sms = Sms::start(config).await;

    unready(&sms, "index_backfilling").await.is_problem(503, "index_backfilling");

    let task = sesame_domain::TaskId::default();
    sms.ready().await;
    assert!(!sms.explain(task).await.allowed);
}

#[tokio::test]
async fn the_status_says_what_the_service_promises() {
    let world = World::start().await;
    world.node.mine(10).await;
    world.followed().await;

    let status = world.sms.status().await;

    let (head, confirmed) = (status.head.unwrap(), status.confirmed.unwrap());
    let node = world.node.head().await;
    assert_eq!((head.number, head.hash), (node.number, node.hash));
    assert_eq!(confirmed.number + world.confirmations(), head.number);
    assert_eq!((status.state, status.reason, status.lag_blocks), (State::Ready, None, 0));
    assert_eq!(status.chain_id, world.deployment.chain_id);
    assert_eq!(status.contracts.asset_registry, world.deployment.asset_registry);
    assert_eq!(status.contracts.enclave_whitelist, world.deployment.enclave_whitelist);
    assert_eq!(status.contracts.task_registry, world.deployment.task_registry);
    assert_eq!(status.identity, world.sms.keys().await.identity());
    assert_eq!((status.trust, status.simulated_tee), (Trust::SingleNode, true));
    assert_eq!(status.silence_bound_seconds, world.sms.config.max_lag.as_secs());
    assert_eq!(status.revocation_bound_seconds, world.sms.config.max_head_age);
    for path in ["healthz", "readyz", "v1/keys"] {
        world.sms.get(path).await.is_ok();
        Answer::to(world.sms.request(Method::HEAD, path)).await.is_ok();
    }
}

/// A node that shows the same head for ever, as if it were the newest, is believed until that head is too old.
#[tokio::test]
async fn a_node_frozen_at_our_head_is_refused_within_the_published_bound() {
    let world = World::start().await;
    let scene = Scene::set(&world).await;
    let liar = Liar::before(world.node.url(), Tale::Truth).await;
    let config = Config {
        rpc_urls: vec![liar.url()],
        data_dir: world.folder().join("frozen"),
        max_lag: Duration::from_secs(1),
        max_head_age: 3,
        ..world.sms.config.clone()
    };
    let sms = Sms::start(config).await;
    answered(&world, &sms, "readyz").await;
    let head = world.node.head().await.number;
    liar.tell(Tale::StaleHead(head));
    world.alice.chain.revoke(scene.data, scene.build.id()).await.unwrap();
    let (revoked, status) = (Instant::now(), sms.status().await);
    assert_eq!((status.silence_bound_seconds, status.revocation_bound_seconds), (1, 3));

    // The second that the clocks are told in.
    let bound = Duration::from_secs(status.revocation_bound_seconds + 1);
    eventually("it is refused", async || {
        let asked = revoked.elapsed();
        let explained = sms.get(&format!("v1/tasks/{}/explain", scene.task)).await;
        assert!(asked <= bound || explained.status != 200, "answered when asked after {asked:?}");
        (explained.header("sesame-problem") == Some("head_too_old")).then_some(())
    })
    .await;
}
