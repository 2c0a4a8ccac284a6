//! Who is let in: the attestation protocol by hand, right and wrong.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use alloy::primitives::{Address, B256};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::Method;
use serde_json::{Value, json};
use sesame_attestation::simulated::{Imitated, Root};
use sesame_domain::{Resource, TaskId};
use sesame_protocol::{
    evidence::QuoteEvidence,
    jwe::EnclaveKey,
    rcar::{self, SESSION_COOKIE, Tee},
    results::{
        BundleReleased, ResultKey, ResultKeyCertificate, ResultKeyRequest, Settlement, TaskDomain,
    },
    signature::{Signer, recover},
    typed::Domain,
    voucher::SignedVoucher,
};
use sesame_sms::{CollateralSource, Policy};
use sesame_tests::{Answer, Attester, Build, Options, Scene, Sms, World, eventually, now};
use tokio::task::JoinSet;

const ANY: TaskId = TaskId(B256::repeat_byte(7));

async fn post(world: &World, path: &str, body: impl Into<reqwest::Body>) -> Answer {
    Answer::to(world.sms.request(Method::POST, path).body(body)).await
}

#[tokio::test]
async fn cookie_and_token_both_open_a_resource() {
    let world = World::start().await;
    let scene = Scene::set(&world).await;
    let mut enclave = world.challenged(scene.build).await;
    let answer = enclave.attest(scene.task, &world.worker).await;
    let header = answer.header("set-cookie").unwrap();
    assert!(header.contains("HttpOnly") && header.len() < 4096, "{header}");
    let token = answer.json()["token"].as_str().unwrap().to_owned();
    assert_eq!(token, enclave.cookie, "the cookie is the session");

    let by_cookie = enclave.ask(scene.task, Resource::AppSecret).await;
    assert_eq!(enclave.open(&by_cookie), Scene::APP_SECRET);

    let path = rcar::resource_path(scene.task, Resource::AppSecret);
    let request = world.sms.request(Method::GET, &path).bearer_auth(&token);
    assert_eq!(enclave.open(&Answer::to(request).await), Scene::APP_SECRET);

    let cookies = format!("theme=dark; {SESSION_COOKIE}={token}; lang=en");
    let request = world.sms.request(Method::GET, &path).header("cookie", cookies);
    assert_eq!(enclave.open(&Answer::to(request).await), Scene::APP_SECRET);
}

/// Agents that cannot add a header have the voucher in their base path.
#[tokio::test]
async fn the_voucher_may_be_in_the_path() {
    let world = World::start().await;
    let scene = Scene::set(&world).await;
    let mut enclave = world.challenged(scene.build).await;
    let voucher = enclave.voucher(scene.task, &world.worker).to_header();
    let base = format!("kbs/{voucher}/v0");

    let auth = json!(rcar::request(Tee::Sgx)).to_string();
    post(&world, &format!("{base}/auth"), auth).await.is_ok();
    let body = enclave.attestation().to_string();
    let answer = enclave.send_to(&format!("{base}/attest"), None, body).await;
    answer.is_ok();
    enclave.cookie = answer.json()["token"].as_str().unwrap().to_owned();

    let path = format!("{base}/resource/{}/app-secret/1", scene.task);
    let cookie = format!("{SESSION_COOKIE}={}", enclave.cookie);
    let answer = Answer::to(world.sms.request(Method::GET, &path).header("cookie", cookie)).await;
    assert_eq!(enclave.open(&answer), Scene::APP_SECRET);

    let enclave = world.challenged(scene.build).await;
    let body = enclave.attestation().to_string();
    let answer = enclave.send_to("kbs/nonsense/v0/attest", None, body).await;
    answer.is_problem(401, "voucher_refused");
}

#[tokio::test]
async fn only_our_version_and_documents_are_understood() {
    let world = World::start().await;
    for version in ["0.1.0", "0.4.1", "1.0.0", ""] {
        let body = json!({"version": version, "tee": "sgx", "extra-params": {}}).to_string();
        let answer = post(&world, "kbs/v0/auth", body).await;
        answer.is_problem(401, "unsupported_version");
    }
    for hashes in [json!([]), json!(["sha256", "sm3"]), json!("sha384")] {
        let extra = json!({"supported-hash-algorithms": hashes});
        let body = json!({"version": "0.4.0", "tee": "sample", "extra-params": extra}).to_string();
        post(&world, "kbs/v0/auth", body).await.is_problem(401, "unsupported_hash");
    }
    let nested = "[".repeat(10_000);
    let malformed: [Vec<u8>; 6] = [
        Vec::new(),
        b"{}".to_vec(),
        b"[1]".to_vec(),
        json!({"version": "0.4.0", "tee": "abacus", "extra-params": {}}).to_string().into(),
        vec![0xff, 0xfe],
        nested.into(),
    ];
    for body in malformed {
        post(&world, "kbs/v0/auth", body.clone()).await.is_problem(400, "malformed_body");
        let enclave = world.challenged(Build::of("any")).await;
        let voucher = enclave.voucher(ANY, &world.worker).to_header();
        let answer = enclave.send_to("kbs/v0/attest", Some(&voucher), body).await;
        answer.is_problem(400, "malformed_body");
    }
    let large = vec![b' '; (256 << 10) + 1];
    post(&world, "kbs/v0/auth", large.clone()).await.is_problem(413, "too_large");
    let enclave = world.challenged(Build::of("any")).await;
    let voucher = enclave.voucher(ANY, &world.worker).to_header();
    let answer = enclave.send_to("kbs/v0/attest", Some(&voucher), large).await;
    answer.is_problem(413, "too_large");
}

#[tokio::test]
async fn a_session_is_one_of_ours_and_whole() {
    let world = World::start().await;
    let scene = Scene::set(&world).await;
    let enclave = world.attested(scene.build, scene.task).await;
    let path = rcar::resource_path(scene.task, Resource::Bundle);
    world.sms.get(&path).await.is_problem(401, "session_invalid");

    let [head, claims, signature]: [&str; 3] =
        enclave.cookie.split('.').collect::<Vec<_>>().try_into().unwrap();
    let mut altered: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    altered["exp"] = (now() + 100_000).into();
    let later = URL_SAFE_NO_PAD.encode(altered.to_string());
    altered["exp"] = 1.into();
    let past = URL_SAFE_NO_PAD.encode(altered.to_string());
    let unsigned = URL_SAFE_NO_PAD.encode(r#"{"typ":"JWT","alg":"none"}"#);
    let hmac = URL_SAFE_NO_PAD.encode(r#"{"typ":"JWT","alg":"HS256"}"#);
    let challenge = world.challenged(scene.build).await.cookie;
    let forged = [
        String::new(),
        "x".to_owned(),
        "a.b.c".to_owned(),
        format!("{head}.{later}.{signature}"),
        format!("{head}.{past}.{signature}"),
        format!("{unsigned}.{claims}."),
        format!("{hmac}.{claims}.{signature}"),
        format!("{head}.{claims}."),
        challenge,
    ];
    for cookie in forged {
        let session = format!("{SESSION_COOKIE}={cookie}");
        let request = world.sms.request(Method::GET, &path).header("cookie", session);
        Answer::to(request).await.is_problem(401, "session_invalid");
        let request = world.sms.request(Method::GET, &path).bearer_auth(&cookie);
        Answer::to(request).await.is_problem(401, "session_invalid");
    }
    // An attested session is no challenge.
    let voucher = enclave.voucher(scene.task, &world.worker).to_header();
    let body = enclave.attestation().to_string();
    let answer = enclave.send_to("kbs/v0/attest", Some(&voucher), body).await;
    answer.is_problem(401, "session_invalid");
}

/// Waits until a token is past the end that it names.
async fn outlive(token: &str) {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    let end = claims["exp"].as_u64().unwrap();
    eventually("the token has ended", async || (now() > end).then_some(())).await;
}

#[track_caller]
fn has_expired(answer: &Answer) {
    answer.is_problem(401, "session_invalid");
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("expired"), "{detail}");
}

#[tokio::test]
async fn challenges_and_sessions_end() {
    let world = World::with(Options { session_life: 8, ..Options::default() }).await;
    let scene = Scene::set(&world).await;
    let mut late = world.challenged(scene.build).await;
    let mut enclave = world.challenged(scene.build).await;
    let answer = enclave.attest(scene.task, &world.worker).await;
    assert!(answer.header("set-cookie").unwrap().ends_with("; Max-Age=8"));
    enclave.open(&enclave.ask(scene.task, Resource::Bundle).await);

    outlive(&late.cookie).await;
    outlive(&enclave.cookie).await;

    let voucher = late.voucher(scene.task, &world.worker).to_header();
    has_expired(&late.send(Some(&voucher), late.attestation().to_string()).await);
    for resource in [Resource::Bundle, Resource::AppSecret] {
        has_expired(&enclave.ask(scene.task, resource).await);
        let path = rcar::resource_path(scene.task, resource);
        let request = world.sms.request(Method::GET, &path).bearer_auth(&enclave.cookie);
        has_expired(&Answer::to(request).await);
    }
    let key = Signer::random().address();
    let request = ResultKeyRequest::sign(scene.task, key, &enclave.nonce, &enclave.key);
    let request = serde_json::to_vec(&request).unwrap();
    has_expired(&enclave.send_to("kbs/v0/result-key", None, request).await);

    // The same enclave attests again, with its old key, and has everything.
    let mut again = world.challenged(scene.build).await;
    again.key = enclave.key;
    again.attest(scene.task, &world.worker).await;
    again.open(&again.ask(scene.task, Resource::Bundle).await);
}

#[tokio::test]
async fn another_services_session_is_not_ours() {
    let world = World::start().await;
    let scene = Scene::set(&world).await;
    let mut config = world.sms.config.clone();
    config.data_dir = world.folder().join("other");
    let other = Sms::start(config).await;
    assert_ne!(other.identity, world.sms.identity);
    let mut theirs = Attester::challenged(scene.build, &other, &world.root).await;

    let challenge = theirs.cookie.clone();
    theirs.attest(scene.task, &world.worker).await;
    let path = rcar::resource_path(scene.task, Resource::Bundle);
    let request = world.sms.request(Method::GET, &path).bearer_auth(&theirs.cookie);
    Answer::to(request).await.is_problem(401, "session_invalid");

    let mut ours = world.challenged(scene.build).await;
    ours.cookie = challenge;
    let voucher = ours.voucher(scene.task, &world.worker).to_header();
    let answer = ours.send(Some(&voucher), ours.attestation().to_string()).await;
    answer.is_problem(401, "session_invalid");
}

#[tokio::test]
async fn evidence_is_for_this_challenge_and_key() {
    let world = World::start().await;
    let enclave = world.challenged(Build::of("any")).await;
    let good = enclave.attestation();
    let evidence = |evidence: Value| {
        let mut body = good.clone();
        body["tee-evidence"]["primary_evidence"] = evidence;
        body
    };
    let quote = |report_data, root: &Root| enclave.build.quote(report_data, root);
    let right = rcar::report_data(&enclave.nonce, enclave.key.public());
    // Byte `at` of the quote, of which the report begins at 48 and MRENCLAVE at 112.
    let altered = |at: usize| {
        let honest: QuoteEvidence = serde_json::from_value(enclave.evidence()).unwrap();
        let mut bytes = honest.bytes().unwrap();
        bytes[at] ^= 1;
        evidence(json!(QuoteEvidence::new(&bytes)))
    };
    let stranger = Root::make(now());
    let other_kind = stranger.evidence(Imitated::Tdx, &[7; 32], right);
    let mut second_device = good.clone();
    second_device["tee-evidence"]["additional_evidence"] = "{}".into();

    for (why, body) in [
        ("another root", evidence(quote(right, &stranger))),
        ("no report data", evidence(quote([0; 64], &world.root))),
        ("another nonce", {
            evidence(quote(rcar::report_data("other", enclave.key.public()), &world.root))
        }),
        ("another key", {
            let other = EnclaveKey::random();
            evidence(quote(rcar::report_data(&enclave.nonce, other.public()), &world.root))
        }),
        ("an altered measurement", altered(112)),
        ("a debug bit", altered(96)),
        ("another version", altered(0)),
        ("an altered signature", altered(440)),
        ("another kind", evidence(other_kind)),
        ("no base64", evidence(json!({"quote": "~"}))),
        ("no quote", evidence(json!({}))),
        ("a text", evidence(json!("quote"))),
        ("a second device", second_device),
    ] {
        let voucher = enclave.voucher(ANY, &world.worker).to_header();
        let answer = enclave.send_to("kbs/v0/attest", Some(&voucher), body.to_string()).await;
        assert_eq!(answer.header("sesame-problem"), Some("attestation_refused"), "{why}");
        answer.is_problem(401, "attestation_refused");
    }
}

#[tokio::test]
async fn the_nonce_is_the_challenges() {
    let world = World::start().await;
    let enclave = world.challenged(Build::of("any")).await;
    let voucher = enclave.voucher(ANY, &world.worker).to_header();
    let other = rcar::fresh_nonce();
    let report_data = rcar::report_data(&other, enclave.key.public());
    let evidence = enclave.build.quote(report_data, &world.root);
    let body = json!(rcar::attestation(&other, enclave.key.public(), evidence)).to_string();

    let answer = enclave.send_to("kbs/v0/attest", Some(&voucher), body).await;
    answer.is_problem(401, "wrong_nonce");
}

/// Whoever says it is of a TEE without a verifier, or of another than its quote, is refused, whatever the evidence.
#[tokio::test]
async fn other_tees_are_refused() {
    let world = World::start().await;
    for tee in [Tee::Tdx, Tee::Snp, Tee::Sample, Tee::AzTdxVtpm] {
        let build = Build::of("any");
        let enclave = Attester::challenged_as(tee, build, &world.sms, &world.root).await;
        let voucher = enclave.voucher(ANY, &world.worker).to_header();
        let body = enclave.attestation().to_string();
        let answer = enclave.send_to("kbs/v0/attest", Some(&voucher), body).await;
        answer.is_problem(401, "attestation_refused");
    }
}

/// Whoever makes this service ask others for collateral has a quote that is signed up to Intel's root.
#[tokio::test]
async fn quotes_of_ones_own_making_make_nobody_ask_for_collateral() {
    let mut world = World::start().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let pccs = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    let asked = Arc::<AtomicUsize>::default();
    let counting = Arc::clone(&asked);
    let mut service = JoinSet::new();
    service.spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            counting.fetch_add(1, Ordering::SeqCst);
            drop(connection);
        }
    });
    world.sms.stop().await;
    world.sms.config.collateral = CollateralSource::Services { pccs: Some(pccs), kds: None };
    world.sms.start_again().await;
    world.sms.ready().await;
    let attest = async |world: &World, quote: &[u8]| {
        let build = Build::of("any");
        let enclave = Attester::challenged_as(Tee::Tdx, build, &world.sms, &world.root).await;
        let voucher = enclave.voucher(ANY, &world.worker).to_header();
        let mut body = enclave.attestation();
        body["tee-evidence"]["primary_evidence"] = json!(QuoteEvidence::new(quote));
        enclave.send_to("kbs/v0/attest", Some(&voucher), body.to_string()).await
    };
    let real = include_bytes!("../fixtures/evidence/tdx_quote");
    let chain = real.windows(6).position(|bytes| bytes == b"-----B").unwrap();
    // Report, signature, attestation key, the quoting enclave's report and its signature; each certificate, which all lead to
    // Intel's root by their names.
    let quote_and_key = [60, 600, 640, 680, 710, 760];
    let quoting_enclave = [800, 1100, 1200];
    let certificates = [chain + 300, chain + 700, chain + 2_000];
    let flips = [quote_and_key.as_slice(), &quoting_enclave, &certificates].concat();
    for at in flips {
        let mut forged = real.to_vec();
        forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
        attest(&world, &forged).await.is_problem(401, "attestation_refused");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    attest(&world, real).await.is_problem(503, "collateral_unavailable");
    assert!(asked.load(Ordering::SeqCst) > 0);
}

/// A quote of a real TD, recorded: it names Intel's root, so what Intel says about its platform has to be at hand.
#[tokio::test]
async fn without_collateral_no_real_platform_is_let_in() {
    let mut world = World::start().await;
    let real = QuoteEvidence::new(include_bytes!("../fixtures/evidence/tdx_quote"));
    let attest = async |world: &World| {
        let build = Build::of("any");
        let enclave = Attester::challenged_as(Tee::Tdx, build, &world.sms, &world.root).await;
        let voucher = enclave.voucher(ANY, &world.worker).to_header();
        let mut body = enclave.attestation();
        body["tee-evidence"]["primary_evidence"] = json!(real);
        enclave.send_to("kbs/v0/attest", Some(&voucher), body.to_string()).await
    };
    let answer = attest(&world).await;
    answer.is_problem(503, "collateral_unavailable");
    assert!(answer.json()["detail"].as_str().unwrap().contains("tdx-b0c06f000000-platform"));

    // What is at hand has expired by now: it is refused with its date.
    let folder = world.folder().join("collateral");
    std::fs::create_dir(&folder).unwrap();
    let recorded = include_bytes!("../fixtures/evidence/tdx_quote_collateral.json");
    std::fs::write(folder.join("tdx-b0c06f000000-platform.json"), recorded).unwrap();
    world.sms.stop().await;
    world.sms.config.collateral = CollateralSource::Folder(folder);
    world.sms.start_again().await;
    world.sms.ready().await;
    let answer = attest(&world).await;
    answer.is_problem(503, "collateral_unavailable");
    assert!(answer.json()["detail"].as_str().unwrap().contains("expired at 1752919235"));
}

/// An operator who does not say that simulated enclaves are let in lets none in, and sessions of before end.
#[tokio::test]
async fn without_the_insecure_option_no_simulated_enclave_is_let_in() {
    let mut world = World::start().await;
    let scene = Scene::set(&world).await;
    assert!(world.sms.status().await.simulated_tee);
    let session = world.attested(scene.build, scene.task).await.cookie;

    world.sms.stop().await;
    world.sms.config.policy = Policy::hardware_only();
    world.sms.start_again().await;
    world.sms.ready().await;

    assert!(!world.sms.status().await.simulated_tee);
    let enclave = world.challenged(scene.build).await;
    let voucher = enclave.voucher(scene.task, &world.worker).to_header();
    let body = enclave.attestation().to_string();
    let answer = enclave.send_to("kbs/v0/attest", Some(&voucher), body).await;
    answer.is_problem(401, "attestation_refused");
    let path = rcar::resource_path(scene.task, Resource::Bundle);
    let request = world.sms.request(Method::GET, &path).bearer_auth(session);
    Answer::to(request).await.is_problem(401, "session_invalid");
}

#[tokio::test]
async fn keys_that_cannot_be_encrypted_to_are_refused() {
    let world = World::start().await;
    let enclave = world.challenged(Build::of("any")).await;
    let good = enclave.attestation();
    let point = URL_SAFE_NO_PAD.encode([1; 32]);
    let key = good["runtime-data"]["tee-pubkey"].clone();
    let with = |name: &str, value: &str| {
        let mut key = key.clone();
        key[name] = value.into();
        key
    };
    for key in [
        json!({"kty": "RSA", "alg": "RSA-OAEP-256", "n": "AQAB", "e": "AQAB"}),
        with("crv", "P-384"),
        with("x", &point),
        with("y", "AA"),
        with("x", "~"),
    ] {
        let mut body = good.clone();
        body["runtime-data"]["tee-pubkey"] = key.clone();
        let voucher = enclave.voucher(ANY, &world.worker).to_header();
        let answer = enclave.send_to("kbs/v0/attest", Some(&voucher), body.to_string()).await;
        assert_eq!(answer.header("sesame-problem"), Some("unsupported_key"), "{key}");
        answer.is_problem(400, "unsupported_key");
    }
}

#[tokio::test]
async fn a_voucher_is_for_this_service_key_and_time() {
    let world = World::start().await;
    let enclave = world.challenged(Build::of("any")).await;
    let body = enclave.attestation().to_string();
    let send =
        async |voucher: Option<&str>| enclave.send_to("kbs/v0/attest", voucher, body.clone()).await;
    send(None).await.is_problem(401, "voucher_missing");

    let (sms, key, at) = (world.sms.identity, enclave.key.thumbprint(), now());
    let (domain, signer) = (world.sms.domain(), world.worker.signer());
    let sign = |sms, key, deadline| SignedVoucher::sign(ANY, sms, key, deadline, &domain, &signer);
    let mut no_signature = sign(sms, key, at + 60);
    no_signature.signature[64] = 99;
    for (why, voucher) in [
        ("another service", sign(Address::repeat_byte(1), key, at + 60)),
        ("another key", sign(sms, EnclaveKey::random().thumbprint(), at + 60)),
        ("past", sign(sms, key, at - 5)),
        ("far ahead", sign(sms, key, at + 10_000)),
        ("no signature", no_signature),
    ] {
        let answer = send(Some(&voucher.to_header())).await;
        assert_eq!(answer.header("sesame-problem"), Some("voucher_refused"), "{why}");
        answer.is_problem(401, "voucher_refused");
    }
    for malformed in ["", "~", "e30"] {
        send(Some(malformed)).await.is_problem(401, "voucher_refused");
    }
    send(Some(&sign(sms, key, at + 60).to_header())).await.is_ok();
}

/// A voucher signed for another chain names nobody that the order knows.
#[tokio::test]
async fn a_voucher_for_another_chain_is_somebody_elses() {
    let world = World::start().await;
    let scene = Scene::set(&world).await;
    let mut enclave = world.challenged(scene.build).await;
    let elsewhere = Domain { chain_id: 1, ..world.sms.domain() };
    let key = enclave.key.thumbprint();
    let (sms, signer) = (world.sms.identity, world.worker.signer());
    let voucher = SignedVoucher::sign(scene.task, sms, key, now() + 60, &elsewhere, &signer);

    let answer = enclave.send(Some(&voucher.to_header()), enclave.attestation().to_string()).await;

    answer.is_ok();
    enclave.ask(scene.task, Resource::Bundle).await.is_denied(&["wrong_worker"]);
}

/// Whoever listens can repeat the attestation, and gets an answer that only the first enclave can read.
#[tokio::test]
async fn a_replayed_attestation_gains_nothing() {
    let world = World::start().await;
    let scene = Scene::set(&world).await;
    let mut enclave = world.challenged(scene.build).await;
    let voucher = enclave.voucher(scene.task, &world.worker).to_header();
    let body = enclave.attestation().to_string();
    let mut thief = world.challenged(scene.build).await;
    thief.cookie = enclave.cookie.clone();
    enclave.send(Some(&voucher), body.clone()).await.is_ok();

    thief.send(Some(&voucher), body.clone()).await.is_ok();
    let answer = thief.ask(scene.task, Resource::AppSecret).await;

    let jwe = serde_json::from_slice(&answer.body).unwrap();
    assert!(thief.key.decrypt(&jwe).is_err(), "the thief reads it");
    assert_eq!(enclave.open(&answer), Scene::APP_SECRET);

    // With a challenge of its own, the old evidence answers another nonce; with its own key, another key.
    let fresh = world.challenged(scene.build).await;
    let answer = fresh.send_to("kbs/v0/attest", Some(&voucher), body.clone()).await;
    answer.is_problem(401, "wrong_nonce");
    let mut own: Value = serde_json::from_str(&body).unwrap();
    own["runtime-data"]["tee-pubkey"] = thief.attestation()["runtime-data"]["tee-pubkey"].clone();
    thief.cookie = world.challenged(scene.build).await.cookie;
    let answer = thief.send(Some(&voucher), own.to_string()).await;
    assert_eq!(answer.status, 401);
}

/// A worker's word is for one task: the session of one does not open another, though the same worker runs both.
#[tokio::test]
async fn a_session_is_for_the_task_that_was_vouched_for() {
    let world = World::start().await;
    let scene = Scene::set(&world).await;
    let other = world.buy_and_begin(&scene.order).await;
    let enclave = world.attested(scene.build, scene.task).await;

    enclave.ask(other, Resource::Bundle).await.is_denied(&["wrong_worker"]);
    enclave.open(&enclave.ask(scene.task, Resource::Bundle).await);
}

#[tokio::test]
async fn resources_have_one_spelling() {
    let world = World::start().await;
    let scene = Scene::set(&world).await;
    let enclave = world.attested(scene.build, scene.task).await;
    let task = scene.task;
    for path in [
        format!("{task}/bundle/1"),
        format!("{task}/app-secret/2"),
        format!("{task}/requester-secret/0"),
        format!("{task}/requester-secret/01"),
        format!("{task}/protected-data/4294967296"),
        format!("{task}/secret/1"),
        "default/bundle/all".to_owned(),
        "0x12/bundle/all".to_owned(),
    ] {
        let request = world.sms.request(Method::GET, &format!("kbs/v0/resource/{path}"));
        let answer = Answer::to(request.bearer_auth(&enclave.cookie)).await;
        answer.is_problem(404, "not_found");
    }
    let request = world.sms.request(Method::GET, &format!("kbs/v0/resource/{task}/bundle/%ff"));
    let answer = Answer::to(request.bearer_auth(&enclave.cookie)).await;
    answer.is_problem(400, "malformed_id");
}

#[tokio::test]
async fn a_result_key_is_certified_for_whoever_may_have_the_bundle_and_nobody_else() {
    let world = World::start().await;
    let scene = Scene::set(&world).await;
    let mut enclave = world.challenged(scene.build).await;
    enclave.attest(scene.task, &world.worker).await.is_ok();
    let key = Signer::random().address();
    let present = async |enclave: &Attester<'_>, request: &ResultKeyRequest| {
        let request = serde_json::to_vec(request).unwrap();
        enclave.send_to("kbs/v0/result-key", None, request).await
    };
    let good = ResultKeyRequest::sign(scene.task, key, &enclave.nonce, &enclave.key);

    let other_key = ResultKeyRequest { key: Signer::random().address(), ..good.clone() };
    present(&enclave, &other_key).await.is_problem(401, "result_key_refused");
    let unsigned = ResultKeyRequest { signature: Default::default(), ..good.clone() };
    present(&enclave, &unsigned).await.is_problem(401, "result_key_refused");
    world
        .sms
        .get(&format!("v1/tasks/{}/settlement", scene.task))
        .await
        .is_problem(404, "not_released");

    let answer = present(&enclave, &good).await;
    answer.is_ok();
    let certificate: ResultKeyCertificate = serde_json::from_value(answer.json()).unwrap();
    let tasks = TaskDomain {
        chain_id: world.deployment.chain_id,
        task_registry: world.deployment.task_registry,
    };
    let message = tasks.signing_hash(&ResultKey { task: scene.task.0, key });
    assert_eq!(recover(message, &certificate.signature).unwrap(), world.sms.identity);
    world
        .sms
        .get(&format!("v1/tasks/{}/settlement", scene.task))
        .await
        .is_problem(404, "not_released");

    enclave.ask(scene.task, Resource::Bundle).await.is_ok();
    let answer = world.sms.get(&format!("v1/tasks/{}/settlement", scene.task)).await;
    let settlement: Settlement = serde_json::from_value(answer.json()).unwrap();
    let message = tasks.signing_hash(&BundleReleased { task: scene.task.0 });
    assert_eq!(recover(message, &settlement.signature).unwrap(), world.sms.identity);

    world.alice.chain.revoke(scene.data, scene.build.id()).await.unwrap();
    world.followed().await;
    present(&enclave, &good).await.is_denied(&["not_whitelisted"]);
}
