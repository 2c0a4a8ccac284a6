//! A grant waits for its confirmation, a revocation does not.

use reqwest::Method;
use sesame_domain::{Resource, Terms};
use sesame_tests::{Answer, Scene, World, codes_of, eventually};

#[tokio::test]
async fn a_revocation_bites_at_the_head() {
    let world = World::start().await;
    let scene = Scene::set(&world).await;
    let enclave = world.attested(scene.build, scene.task).await;
    enclave.open(&enclave.ask(scene.task, Resource::Bundle).await);

    world.alice.chain.revoke(scene.data, scene.build.id()).await.unwrap();
    world.followed().await;

    let status = world.sms.status().await;
    assert!(status.confirmed.unwrap().number < status.head.unwrap().number, "not confirmed yet");
    enclave.ask(scene.task, Resource::Bundle).await.is_denied(&["not_whitelisted"]);

    // Allowed again once that is confirmed: a grant, and waits.
    world.confirmed().await;
    world.allow(&world.alice, scene.data, scene.build).await;
    world.followed().await;
    enclave.ask(scene.task, Resource::Bundle).await.is_denied(&["not_yet_confirmed"]);
    world.confirmed().await;
    enclave.open(&enclave.ask(scene.task, Resource::Bundle).await);
}

/// Who has just revoked need not guess whether the service knows: no answer at that block or later allows it.
#[tokio::test]
async fn who_has_just_revoked_can_prove_that_it_is_in_force() {
    let world = World::start().await;
    let scene = Scene::set(&world).await;
    let path = format!("v1/tasks/{}/explain", scene.task);
    for _ in 0..5 {
        world.alice.chain.revoke(scene.data, scene.build.id()).await.unwrap();
        let block = world.node.head().await.number.to_string();
        let answer = eventually("an answer that knows the block", async || {
            let request = world.sms.request(Method::GET, &path);
            let answer = Answer::to(request.header("Sesame-Min-Block", &block)).await;
            if answer.status == 200 {
                return Some(answer);
            }
            answer.is_problem(503, "block_not_reached");
            None
        });
        assert_eq!(answer.await.json()["denials"][0]["code"], "not_whitelisted");
        world.allow(&world.alice, scene.data, scene.build).await;
        world.confirmed().await;
    }
}

#[tokio::test]
async fn a_grant_waits_until_it_is_deep_enough() {
    let world = World::start().await;
    let scene = Scene::bought(&world).await;
    world.confirmed().await;
    world.worker.chain.start(scene.task).await.unwrap();
    let enclave = world.attested(scene.build, scene.task).await;

    for _ in 0..world.confirmations() {
        world.followed().await;
        enclave.ask(scene.task, Resource::Bundle).await.is_denied(&["not_yet_confirmed"]);
        let explanation = world.sms.explain(scene.task).await;
        assert_eq!(codes_of(&explanation.denials), ["not_yet_confirmed"]);
        world.node.mine(1).await;
    }

    world.followed().await;
    enclave.open(&enclave.ask(scene.task, Resource::Bundle).await);
}

#[tokio::test]
async fn a_secret_taken_back_is_refused_at_the_head() {
    let world = World::start().await;
    let scene = Scene::set(&world).await;
    let enclave = world.attested(scene.build, scene.task).await;

    world.requester.chain.revoke_grant(scene.task, 1).await.unwrap();
    world.followed().await;

    let one = enclave.ask(scene.task, Resource::RequesterSecret(1)).await;
    one.is_denied(&["grant_revoked"]);
    enclave.ask(scene.task, Resource::Bundle).await.is_denied(&["grant_revoked"]);
    let two = enclave.ask(scene.task, Resource::RequesterSecret(2)).await;
    assert_eq!(enclave.open(&two), Scene::API_TOKEN);
}

/// A sale ends every authorization at once; the same word from the new owner is a new grant.
#[tokio::test]
async fn a_transfer_voids_at_the_head() {
    let world = World::start().await;
    let scene = Scene::set(&world).await;
    let enclave = world.attested(scene.build, scene.task).await;

    world.developer.chain.transfer(scene.app, world.bob.address()).await.unwrap();
    world.followed().await;
    enclave.ask(scene.task, Resource::Bundle).await.is_denied(&["authorization_void"]);

    world.confirmed().await;
    world.allow(&world.bob, scene.app, scene.build).await;
    world.followed().await;
    enclave.ask(scene.task, Resource::Bundle).await.is_denied(&["not_yet_confirmed"]);
    world.confirmed().await;
    let answer = enclave.ask(scene.task, Resource::AppSecret).await;
    answer.is_denied(&["secret_missing"]);
    // The app's secret stayed with its former owner, so the bundle comes without it.
    let bundle = scene.run(&world).await;
    assert!(bundle.secrets.iter().all(|secret| secret.resource != Resource::AppSecret));
    assert_eq!(bundle.secrets.len(), 3);
}

#[tokio::test]
async fn tighter_terms_are_a_revocation() {
    let world = World::start().await;
    let scene = Scene::set(&world).await;
    let enclave = world.attested(scene.build, scene.task).await;

    let terms = Terms { requester: world.stranger.address(), ..Terms::default() };
    world.allow_on(&world.developer, scene.app, scene.build.id(), &terms).await;
    world.followed().await;

    enclave.ask(scene.task, Resource::Bundle).await.is_denied(&["wrong_requester"]);
}

/// The other owners' part goes on when one of them stops theirs.
#[tokio::test]
async fn a_revocation_stops_its_own_part_only() {
    let world = World::start().await;
    let scene = Scene::set(&world).await;
    let enclave = world.attested(scene.build, scene.task).await;

    world.alice.chain.revoke(scene.data, scene.build.id()).await.unwrap();
    world.followed().await;

    let data = enclave.ask(scene.task, Resource::ProtectedData(1)).await;
    data.is_denied(&["not_whitelisted"]);
    let app: Answer = enclave.ask(scene.task, Resource::AppSecret).await;
    assert_eq!(enclave.open(&app), Scene::APP_SECRET);
}
