//! Several services with the same keys are one to an enclave: nothing is stored per session.

use std::process::Command;

use reqwest::Method;
use sesame_domain::Resource;
use sesame_protocol::rcar::{self, SESSION_COOKIE};
use sesame_tests::{Answer, Attester, Scene, Sms, World};

/// Stops the world's service for as long as its data is copied, and starts a second one on the copy.
async fn twin(world: &mut World) -> Sms {
    let mut config = world.sms.config.clone();
    config.data_dir = world.folder().join("twin");
    world.sms.stop().await;
    let from = &world.sms.config.data_dir;
    let copied = Command::new("cp").arg("-r").arg(from).arg(&config.data_dir).status().unwrap();
    assert!(copied.success(), "{copied}");
    world.sms.start_again().await;
    let twin = Sms::start(config).await;
    world.sms.ready().await;
    twin.ready().await;
    assert_eq!(twin.identity, world.sms.identity);
    twin
}

#[tokio::test]
async fn challenge_attestation_and_resource_may_be_of_three_services() {
    let mut world = World::start().await;
    let scene = Scene::set(&world).await;
    let one = twin(&mut world).await;

    // Challenged here, attested there.
    let mut enclave = world.challenged(scene.build).await;
    let voucher = enclave.voucher(scene.task, &world.worker).to_header();
    let request = one.request(Method::POST, "kbs/v0/attest");
    let request = request.header("cookie", format!("{SESSION_COOKIE}={}", enclave.cookie));
    let request = request.header("sesame-run-voucher", voucher);
    let answer = Answer::to(request.body(enclave.attestation().to_string())).await;
    answer.is_ok();
    enclave.cookie = answer.json()["token"].as_str().unwrap().to_owned();

    // The session opens both.
    let here = enclave.ask(scene.task, Resource::AppSecret).await;
    assert_eq!(enclave.open(&here), Scene::APP_SECRET);
    let path = rcar::resource_path(scene.task, Resource::AppSecret);
    let there = Answer::to(one.request(Method::GET, &path).bearer_auth(&enclave.cookie)).await;
    assert_eq!(enclave.open(&there), Scene::APP_SECRET);
    assert_eq!(
        one.get(".well-known/jwks.json").await.json(),
        world.sms.get(".well-known/jwks.json").await.json()
    );

    // And each decides anew: a revocation bites at both, whoever attested the enclave.
    world.developer.chain.revoke(scene.app, scene.build.id()).await.unwrap();
    world.followed().await;
    enclave.ask(scene.task, Resource::AppSecret).await.is_denied(&["not_whitelisted"]);
    let denied = sesame_tests::eventually("the twin follows", async || {
        let request = one.request(Method::GET, &path).bearer_auth(&enclave.cookie);
        let answer = Answer::to(request).await;
        (answer.status != 200).then_some(answer)
    });
    denied.await.is_denied(&["not_whitelisted"]);
    drop(Attester::challenged(scene.build, &one, &world.root).await);
}
