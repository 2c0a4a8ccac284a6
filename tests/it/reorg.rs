//! The chain changes its mind, and the mirror follows it.

use std::fs;

use sesame_domain::{Order, Resource};
use sesame_tests::{Options, Scene, World, codes_of, seeded};

async fn deep() -> World {
    World::with(Options { confirmations: 6, ..Options::default() }).await
}

async fn reasons(world: &World, scene: &Scene) -> Vec<String> {
    codes_of(&world.sms.explain(scene.task).await.denials)
}

#[tokio::test]
async fn a_start_that_is_undone_never_happened() {
    let world = deep().await;
    let scene = Scene::bought(&world).await;
    world.confirmed().await;
    world.begin(scene.task).await;
    world.followed().await;
    scene.ask(&world).await.is_denied(&["not_yet_confirmed"]);

    world.node.reorg(1).await;
    world.followed().await;

    scene.ask(&world).await.is_denied(&["task_not_started"]);
    world.begin(scene.task).await;
    world.confirmed().await;
    scene.run(&world).await;
}

#[tokio::test]
async fn a_purchase_that_is_undone_is_unknown() {
    let world = deep().await;
    let scene = Scene::set(&world).await;
    let order = Order { params: "--other".to_owned(), ..scene.order.clone() };
    let task = world.buy(&order).await;
    world.begin(task).await;
    world.followed().await;
    world.ask(scene.build, task, Resource::Bundle).await.is_denied(&["not_yet_confirmed"]);

    world.node.reorg(2).await;
    world.followed().await;

    world.ask(scene.build, task, Resource::Bundle).await.is_denied(&["task_unknown"]);
    scene.run(&world).await;
}

#[tokio::test]
async fn an_authorization_that_is_undone_allows_nothing() {
    let world = deep().await;
    let scene = Scene::set(&world).await;
    world.alice.chain.revoke(scene.data, scene.build.id()).await.unwrap();
    world.confirmed().await;
    world.allow(&world.alice, scene.data, scene.build).await;
    world.followed().await;
    assert_eq!(reasons(&world, &scene).await, ["not_yet_confirmed"]);

    world.node.reorg(1).await;
    world.followed().await;
    world.confirmed().await;

    scene.ask(&world).await.is_denied(&["not_whitelisted"]);
}

/// The revocation was on a fork that lost: what it revoked holds again.
#[tokio::test]
async fn a_revocation_that_is_undone_revokes_nothing() {
    let world = deep().await;
    let scene = Scene::set(&world).await;
    world.alice.chain.revoke(scene.data, scene.build.id()).await.unwrap();
    world.requester.chain.revoke_grant(scene.task, 1).await.unwrap();
    world.developer.chain.transfer(scene.app, world.bob.address()).await.unwrap();
    world.followed().await;
    let all = ["not_whitelisted", "authorization_void", "grant_revoked"];
    scene.ask(&world).await.is_denied(&all);

    world.node.reorg(3).await;
    world.followed().await;

    scene.run(&world).await;
}

/// Nobody announces that the node went back; the next block of the other fork tells.
#[tokio::test]
async fn another_fork_after_a_snapshot_is_followed() {
    let world = deep().await;
    let scene = Scene::set(&world).await;
    let snapshot = world.node.snapshot().await;
    world.alice.chain.revoke(scene.data, scene.build.id()).await.unwrap();
    world.node.mine(2).await;
    world.followed().await;
    scene.ask(&world).await.is_denied(&["not_whitelisted"]);

    world.node.revert(snapshot).await;
    world.requester.chain.revoke_grant(scene.task, 2).await.unwrap();
    world.node.mine(4).await;
    world.followed().await;

    scene.ask(&world).await.is_denied(&["grant_revoked"]);
}

/// Forks of many lengths, one after the other; at the end the index says what a fresh one says.
#[tokio::test]
async fn after_many_forks_the_index_is_as_a_fresh_one() {
    let mut world = deep().await;
    let scene = Scene::set(&world).await;
    let mut random = seeded();
    let mut tasks = Vec::new();
    for round in 0..12u32 {
        let alice = &world.alice.chain;
        match round % 3 {
            0 => drop(alice.revoke(scene.data, scene.build.id()).await),
            1 => drop(alice.authorize(scene.data, scene.build.id(), &Default::default()).await),
            // The registry may refuse it: that depends on which fork stands.
            _ => tasks.extend(world.requester.chain.purchase(&scene.order).await.ok()),
        }
        world.node.mine(rand::Rng::random_range(&mut random, 0..3)).await;
        world.followed().await;
        world.node.reorg(rand::Rng::random_range(&mut random, 1..=4)).await;
        world.followed().await;
    }
    world.confirmed().await;
    let mut tasks: Vec<_> = tasks.into_iter().map(|task| task.result).collect();
    tasks.push(scene.task);
    let mut before = Vec::new();
    for task in &tasks {
        before.push(world.sms.explain(*task).await.denials);
    }

    world.sms.stop().await;
    fs::remove_dir_all(world.sms.data("index")).unwrap();
    world.sms.start_again().await;
    world.confirmed().await;

    for (task, before) in tasks.into_iter().zip(before) {
        assert_eq!(world.sms.explain(task).await.denials, before, "{task}");
    }
}
