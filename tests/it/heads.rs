//! Heads announced over a WebSocket: they wake the mirror and decide nothing, whatever they say and whether they come.

use std::time::Duration;

use sesame_client::public::Question;
use sesame_protocol::explain::Explanation;
use sesame_sms::Config;
use sesame_tests::{Liar, Scene, Sms, Tale, Truth, World, codes_of, eventually};
use sesame_view::View;

/// A service that asks the honest node, and is told of heads by the liar; another announcer is not there at all.
async fn service(world: &World, liar: &Liar, poll: Duration) -> Sms {
    let config = Config {
        heads_urls: vec!["ws://127.0.0.1:9".to_owned(), liar.ws_url()],
        data_dir: world.folder().join("told-of-heads"),
        poll,
        max_lag: Duration::from_secs(300),
        ..world.sms.config.clone()
    };
    let sms = Sms::start(config).await;
    sms.ready().await;
    eventually("it listens", async || (liar.sockets() > 0).then_some(())).await;
    sms
}

async fn follows(world: &World, sms: &Sms, what: &str) {
    let head = world.node.head().await;
    eventually(what, async || (sms.status().await.head?.hash == head.hash).then_some(())).await;
}

/// The service's index is that of an honest one.
async fn is_the_chain(world: &World, sms: &mut Sms) {
    sms.stop().await;
    let truth = Truth::at(&world.folder().join("truth"), &world.deployment);
    truth.follow(&world.node).await;
    let origin = Truth::origin(&world.deployment);
    truth.agrees(&View::open(&sms.data("index"), &origin).unwrap());
}

/// Nobody asks for the head for ten minutes: only an announcement tells of it.
#[tokio::test]
async fn an_announced_head_is_followed_at_once() {
    let world = World::start().await;
    let scene = Scene::set(&world).await;
    let liar = Liar::before(world.node.url(), Tale::Truth).await;
    let mut sms = service(&world, &liar, Duration::from_secs(600)).await;
    for tale in [Tale::Truth, Tale::Phantoms, Tale::OutOfOrder, Tale::Truth] {
        liar.tell(tale);
        world.requester.chain.purchase(&scene.order).await.unwrap();
        follows(&world, &sms, &format!("{tale:?}: the announcement wakes it")).await;
        world.node.reorg(1).await;
        world.node.mine(1).await;
        follows(&world, &sms, &format!("{tale:?}: it goes over to the other fork")).await;
    }
    is_the_chain(&world, &mut sms).await;
}

/// Heads that do not exist, or that nobody announces, keep no owner's word from being heard.
#[tokio::test]
async fn no_announcement_keeps_what_was_revoked() {
    let world = World::start().await;
    let scene = Scene::set(&world).await;
    let liar = Liar::before(world.node.url(), Tale::Truth).await;
    let mut sms = service(&world, &liar, Duration::from_millis(100)).await;
    let question = Question { task: scene.task, ..Question::default() };
    for tale in [Tale::Mute, Tale::Phantoms, Tale::HangUp(1), Tale::Truncate, Tale::Busy(10)] {
        liar.tell(tale);
        world.alice.chain.revoke(scene.data, scene.build.id()).await.unwrap();
        let denied = |explained: Explanation| {
            let codes = codes_of(&explained.denials);
            codes.contains(&"not_whitelisted".to_owned()).then_some(())
        };
        eventually(&format!("{tale:?}: the revocation bites"), async || {
            sms.public().explain(&question).await.ok().and_then(denied)
        })
        .await;
        world.allow(&world.alice, scene.data, scene.build).await;
        world.node.mine(world.confirmations()).await;
        follows(&world, &sms, &format!("{tale:?}: it goes on")).await;
    }
    is_the_chain(&world, &mut sms).await;
}

/// A socket that is closed is opened again, and announcements count again.
#[tokio::test]
async fn a_closed_socket_is_opened_again() {
    let world = World::start().await;
    let scene = Scene::set(&world).await;
    let liar = Liar::before(world.node.url(), Tale::HangUp(1)).await;
    let mut sms = service(&world, &liar, Duration::from_millis(200)).await;
    for _ in 0..4 {
        world.requester.chain.purchase(&scene.order).await.unwrap();
        follows(&world, &sms, "it follows").await;
    }
    eventually("it subscribes anew", async || {
        world.node.mine(1).await;
        (liar.asked("eth_subscribe").len() > 2).then_some(())
    })
    .await;
    follows(&world, &sms, "it follows").await;
    is_the_chain(&world, &mut sms).await;
}
