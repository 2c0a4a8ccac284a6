//! What strangers may cost.

use std::num::{NonZeroU32, NonZeroUsize};

use futures::future::join_all;
use reqwest::Method;
use serde_json::json;
use sesame_domain::{Resource, SecretId, TaskId};
use sesame_protocol::{
    owner::MAX_SECRET_BYTES,
    rcar::{self, Tee},
};
use sesame_sms::{Limits, Network};
use sesame_tests::{Answer, Attester, Options, Scene, World, eventually};

const AUTH: &str = "kbs/v0/auth";

/// Five requests at once and no more for a good while.
fn five() -> Options {
    let hardly_any = Limits {
        requests_per_second: NonZeroU32::MIN,
        burst: NonZeroU32::new(5).unwrap(),
        ..Options::default().limits
    };
    Options { limits: hardly_any, ..Options::default() }
}

async fn auth(world: &World, forwarded: Option<&str>) -> Answer {
    let request = world.sms.request(Method::POST, AUTH).json(&rcar::request(Tee::Sgx));
    Answer::to(match forwarded {
        Some(addresses) => request.header("x-forwarded-for", addresses),
        None => request,
    })
    .await
}

/// Asks until it is refused, and gives the refusal.
async fn too_often(world: &World, forwarded: Option<&str>) -> Answer {
    eventually("too many requests", async || {
        let answer = auth(world, forwarded).await;
        (answer.status != 200).then_some(answer)
    })
    .await
}

#[tokio::test]
async fn a_client_that_asks_too_often_is_told_when_to_ask_again() {
    let world = World::with(five()).await;
    for _ in 0..4 {
        auth(&world, None).await.is_ok();
    }
    let refused = too_often(&world, None).await;
    refused.is_problem(429, "too_many_requests");
    let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!(seconds >= 1, "{seconds}");

    // A header makes nobody somebody else, unless the operator says that a proxy of theirs writes it.
    too_often(&world, Some("198.51.100.1")).await.is_problem(429, "too_many_requests");
    let path = format!("v1/requesters/{}/secrets/db-password", world.requester.address());
    let refused = async |method: &Method, path: &str| {
        eventually("too many requests", async || {
            let answer = Answer::to(world.sms.request(method.clone(), path)).await;
            (answer.status == 429).then_some(answer)
        })
        .await
    };
    let put = refused(&Method::PUT, &path).await;
    put.is_problem(429, "too_many_requests");
    assert_eq!(put.header("content-type"), Some("application/problem+json"));

    // Nor may strangers have decisions made and statements signed without end.
    for path in ["explain", "settlement"] {
        let path = format!("v1/tasks/{}/{path}", TaskId::default());
        refused(&Method::GET, &path).await.is_problem(429, "too_many_requests");
    }
    refused(&Method::GET, "v1/receipts/key").await.is_problem(429, "too_many_requests");

    // Who only wants to know how the service is may always ask.
    for path in ["healthz", "v1/status", "v1/keys", ".well-known/jwks.json"] {
        world.sms.get(path).await.is_ok();
    }
}

#[tokio::test]
async fn behind_a_proxy_each_client_has_its_own_share() {
    let trusted_proxies = ["127.0.0.0/8", "203.0.113.0/24"].map(|network| network.parse().unwrap());
    let network = Network { trusted_proxies: trusted_proxies.into(), ..Network::default() };
    let world = World::with(Options { network, ..five() }).await;
    too_often(&world, Some("198.51.100.1")).await.is_problem(429, "too_many_requests");

    auth(&world, Some("198.51.100.2")).await.is_ok();
    // Only what trusted proxies wrote counts: the last address that is none of theirs.
    for same in ["192.0.2.9, 198.51.100.1", "198.51.100.9, 198.51.100.1, 203.0.113.9"] {
        too_often(&world, Some(same)).await.is_problem(429, "too_many_requests");
    }
    auth(&world, Some("198.51.100.1, 198.51.100.3")).await.is_ok();
}

/// Whoever asks for more verification than there is room for is refused at once; whoever asks again later gets in.
#[tokio::test]
async fn when_too_many_attest_at_once_the_service_is_busy_and_then_it_is_not() {
    let limits = Limits {
        verifications: NonZeroUsize::MIN,
        verifications_waiting: 0,
        ..Options::default().limits
    };
    let world = World::with(Options { limits, ..Options::default() }).await;
    let scene = Scene::set(&world).await;
    let enclaves = join_all((0..16).map(|_| world.challenged(scene.build))).await;
    let attest = async |enclave: &Attester<'_>| {
        let voucher = enclave.voucher(scene.task, &world.worker).to_header();
        let body = enclave.attestation().to_string();
        enclave.send_to("kbs/v0/attest", Some(&voucher), body).await
    };

    let busy = eventually("the service is busy", async || {
        let answers = join_all(enclaves.iter().map(attest)).await;
        answers.into_iter().find(|answer| answer.status != 200)
    });
    let busy = busy.await;

    busy.is_problem(503, "busy");
    assert!(busy.header("retry-after").is_some());
    world.attested(scene.build, scene.task).await;
}

/// What a stranger sends is looked at in the order of its price.
#[tokio::test]
async fn a_body_means_nothing_before_its_sender_was_challenged() {
    let world = World::start().await;
    let enclave = world.challenged(sesame_tests::Build::of("any")).await;
    let voucher = enclave.voucher(sesame_domain::TaskId(Default::default()), &world.worker);
    let nonsense = "[[[";
    let request = world.sms.request(Method::POST, "kbs/v0/attest").body(nonsense);
    let answer = Answer::to(request.header("sesame-run-voucher", voucher.to_header())).await;
    answer.is_problem(401, "session_invalid");
    let request = world.sms.request(Method::POST, "kbs/v0/result-key").body(nonsense);
    Answer::to(request).await.is_problem(401, "session_invalid");

    let wide = json!(vec![0; 20_000]).to_string();
    let mut nested = enclave.attestation();
    nested["tee-evidence"]["primary_evidence"] =
        serde_json::from_str(&format!("{}{}", "[".repeat(20), "]".repeat(20))).unwrap();
    for body in [wide, nested.to_string()] {
        let answer = enclave.send_to("kbs/v0/attest", Some(&voucher.to_header()), body).await;
        answer.is_problem(400, "malformed_body");
    }
    let long = format!("{{\"version\":\"{}\"}}", "0".repeat(17 << 10));
    let answer = Answer::to(world.sms.request(Method::POST, AUTH).body(long)).await;
    answer.is_problem(413, "too_large");
}

/// Who has not attested learns that the answer is no, and not what to try next.
#[tokio::test]
async fn strangers_learn_a_code_and_no_reason() {
    let world = World::start().await;
    let scene = Scene::set(&world).await;
    let enclave = world.challenged(scene.build).await;
    let voucher = enclave.voucher(scene.task, &world.worker).to_header();
    let mut body = enclave.attestation();
    body["tee-evidence"]["primary_evidence"] = enclave.build.quote([0; 64], &world.root);
    let refused = enclave.send_to("kbs/v0/attest", Some(&voucher), body.to_string()).await;
    refused.is_problem(401, "attestation_refused");
    assert_eq!(refused.json()["detail"], "The service's log says why.");

    let other = world.challenged(scene.build).await;
    let body = other.attestation().to_string();
    let refused = other.send_to("kbs/v0/attest", Some(&voucher), body).await;
    refused.is_problem(401, "voucher_refused");
    assert_eq!(refused.json()["detail"], "The service's log says why.");

    let path = rcar::resource_path(scene.task, sesame_domain::Resource::Bundle);
    let answer = world.sms.get(&path).await;
    answer.is_problem(401, "session_invalid");
    assert_eq!(answer.json().get("denials"), None);
}

/// Asked for more than it can do, the service says so soon, and still says how it is; a burst is only waited for.
#[tokio::test]
async fn beyond_its_room_the_service_sheds_load() {
    let limits = Limits { in_flight: NonZeroUsize::MIN, ..Options::default().limits };
    let world = World::with(Options { limits, ..Options::default() }).await;
    let scene = Scene::set(&world).await;
    // One answer takes longer than a burst is waited for.
    world.developer.push(&SecretId::Asset(scene.app), &vec![7; MAX_SECRET_BYTES]).await;
    let enclave = world.attested(scene.build, scene.task).await;
    let ask = async || enclave.ask(scene.task, Resource::AppSecret).await;

    let shed = eventually("the service sheds load", async || {
        let asked = join_all((0..16).map(|_| ask()));
        let health = join_all((0..8).map(|_| world.sms.get("healthz")));
        let (answers, health) = tokio::join!(asked, health);
        health.iter().for_each(|answer| answer.is_ok());
        assert!(answers.iter().any(|answer| answer.status == 200), "some are answered");
        answers.into_iter().find(|answer| answer.status != 200)
    });
    let shed = shed.await;

    shed.is_problem(503, "overloaded");
    assert_eq!(shed.header("retry-after"), Some("1"));
    ask().await.is_ok();
    // A burst is waited for, once it has been forgotten that others waited in vain.
    eventually("a whole burst is served", async || {
        let keys = join_all((0..16).map(|_| world.sms.get("v1/keys"))).await;
        keys.iter().all(|answer| answer.status == 200).then_some(())
    })
    .await;
}
