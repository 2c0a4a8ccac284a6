//! Enclaves of every TEE that is simulated: each is let in by the checks of its own technology, and SEV-SNP's refuse it by them.

use alloy::primitives::B256;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sesame_attestation::{
    simulated::{Imitated, Root},
    snp::SnpEvidence,
};
use sesame_domain::{Resource, TaskId};
use sesame_protocol::{jwe::EnclaveKey, rcar, rcar::Tee};
use sesame_sms::{CollateralSource, Policy};
use sesame_tests::{Answer, Attester, Build, Scene, World, now};

const ANY: TaskId = TaskId(B256::repeat_byte(7));
/// Firmware that any platform has.
const LEAST: &str = "Milan:bootloader=0,tee=0,snp=0,microcode=0";

fn snp() -> Build {
    Build::of("any").imitating(Imitated::Snp)
}

/// An enclave of this TEE gets everything, as an enclave of its own: of the same measurements, others get nothing.
async fn gets_its_bundle(tee: Imitated, platform: Value) {
    let world = World::start().await;
    let scene = Scene::set_for(&world, tee).await;
    let mut enclave = world.challenged(scene.build).await;
    let answer = enclave.attest(scene.task, &world.worker).await;
    let claims = claims_of(&answer);
    assert_eq!((&claims["enclave"], &claims["kind"]), (&json!(scene.build.id().0), &json!(255)));
    for (name, value) in platform.as_object().unwrap() {
        assert_eq!(claims["platform"][name]["product"], value["product"]);
        assert_eq!(claims["platform"][name]["status"], value["status"]);
    }
    let secret = enclave.open(&enclave.ask(scene.task, Resource::AppSecret).await);
    assert_eq!(secret, Scene::APP_SECRET);
    let bundle = scene.run(&world).await;
    assert_eq!((bundle.task, bundle.secrets.len()), (scene.task, 4));

    for other in Imitated::ALL.into_iter().filter(|other| *other != tee) {
        let answer = world.ask(scene.build.imitating(other), scene.task, Resource::Bundle).await;
        answer.is_denied(&["wrong_enclave", "not_whitelisted", "not_whitelisted"]);
    }
}

fn claims_of(answer: &Answer) -> Value {
    let token = answer.json()["token"].as_str().unwrap().to_owned();
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice(&claims).unwrap()
}

#[tokio::test]
async fn a_simulated_td_gets_its_bundle_as_an_enclave_of_its_own() {
    gets_its_bundle(Imitated::Tdx, json!({"dcap": {"status": "UpToDate"}})).await;
}

#[tokio::test]
async fn a_simulated_snp_guest_gets_its_bundle_as_an_enclave_of_its_own() {
    gets_its_bundle(Imitated::Snp, json!({"snp": {"product": "Milan"}})).await;
}

/// Sends this evidence for the enclave's challenge.
async fn send(world: &World, enclave: &Attester<'_>, evidence: Value) -> Answer {
    let voucher = enclave.voucher(ANY, &world.worker).to_header();
    let mut body = enclave.attestation();
    body["tee-evidence"]["primary_evidence"] = evidence;
    enclave.send_to("kbs/v0/attest", Some(&voucher), body.to_string()).await
}

/// A report with its certificate, each with one bit flipped, if that byte is given.
fn altered(evidence: &Value, report: Option<usize>, certificate: Option<usize>) -> Value {
    let honest = SnpEvidence::parse(evidence).unwrap();
    let (mut bytes, mut signer) = (*honest.report(), honest.certificate().unwrap().to_vec());
    report.into_iter().for_each(|at| bytes[at] ^= 1);
    certificate.into_iter().for_each(|at| signer[at] ^= 1);
    SnpEvidence::from_report(&bytes, Some(signer)).unwrap().to_json()
}

#[tokio::test]
async fn a_simulated_report_is_for_this_challenge_and_key() {
    let world = World::start().await;
    let enclave = world.challenged(snp()).await;
    let stranger = Root::make(now());
    let quote = |report_data, root: &Root| enclave.build.quote(report_data, root);
    let about =
        |nonce: &str, key: &EnclaveKey| quote(rcar::report_data(nonce, key.public()), &world.root);
    let right = rcar::report_data(&enclave.nonce, enclave.key.public());
    let honest = enclave.evidence();
    let last = SnpEvidence::parse(&honest).unwrap().certificate().unwrap().len() - 1;
    let mut bare = honest.clone();
    bare["cert_chain"] = Value::Null;
    let mut twice = honest.clone();
    let first = twice["cert_chain"][0].clone();
    twice["cert_chain"].as_array_mut().unwrap().push(first);
    let mut borrowed = honest.clone();
    borrowed["cert_chain"] = quote(right, &stranger)["cert_chain"].clone();

    for (why, evidence) in [
        ("another root", quote(right, &stranger)),
        ("another root's certificate", borrowed),
        ("no report data", quote([0; 64], &world.root)),
        ("another nonce", about("other", &enclave.key)),
        ("another key", about(&enclave.nonce, &EnclaveKey::random())),
        ("altered report data", altered(&honest, Some(0x50), None)),
        ("an altered measurement", altered(&honest, Some(0x90), None)),
        ("altered host data", altered(&honest, Some(0xC0), None)),
        ("another chip", altered(&honest, Some(0x1A0), None)),
        ("an altered signature", altered(&honest, Some(0x2A0), None)),
        ("an altered certificate", altered(&honest, None, Some(last))),
        ("no certificate", bare),
        ("two certificates", twice),
        ("a quote of SGX", world.root.evidence(Imitated::Sgx, &[7; 32], right)),
        ("a quote of TDX", world.root.evidence(Imitated::Tdx, &[7; 32], right)),
        ("no report", json!({})),
        ("a text", json!("report")),
    ] {
        let answer = send(&world, &enclave, evidence).await;
        assert_eq!(answer.header("sesame-problem"), Some("attestation_refused"), "{why}");
        answer.is_problem(401, "attestation_refused");
    }
    send(&world, &enclave, honest).await.is_ok();

    // A genuine report, announced as another TEE's.
    for tee in [Tee::Sgx, Tee::Tdx, Tee::Sample] {
        let enclave = Attester::challenged_as(tee, snp(), &world.sms, &world.root).await;
        send(&world, &enclave, enclave.evidence()).await.is_problem(401, "attestation_refused");
    }
}

/// What AMD should have signed and somebody else did. Its platform is let in by the operator's minimum and its chain and list are
/// at hand, so what refuses it is that nobody trusts the root.
#[tokio::test]
async fn a_chain_of_snp_under_a_root_that_nobody_trusts_is_refused() {
    let mut world = World::start().await;
    let stranger = Root::make(now());
    let folder = world.folder().join("collateral");
    std::fs::create_dir(&folder).unwrap();
    for (name, bytes) in stranger.published().files() {
        std::fs::write(folder.join(name), bytes).unwrap();
    }
    let trusting = || Policy::insecure_trusting_simulated(world.root.published().clone());
    let minimum = || vec![LEAST.parse().unwrap()];
    let nowhere = CollateralSource::None;
    let at_hand = CollateralSource::Folder(folder);
    for (policy, collateral, status, code) in [
        (trusting(), at_hand.clone(), 401, "attestation_refused"),
        (trusting().admitting_snp(minimum()), nowhere, 503, "collateral_unavailable"),
        (trusting().admitting_snp(minimum()), at_hand.clone(), 401, "attestation_refused"),
        (Policy::hardware_only().admitting_snp(minimum()), at_hand, 401, "attestation_refused"),
    ] {
        world.sms.stop().await;
        (world.sms.config.policy, world.sms.config.collateral) = (policy, collateral);
        world.sms.start_again().await;
        world.sms.ready().await;
        let enclave = Attester::challenged(snp(), &world.sms, &stranger).await;
        let answer = send(&world, &enclave, enclave.evidence()).await;
        answer.is_problem(status, code);
        if status == 503 {
            assert!(answer.json()["detail"].as_str().unwrap().contains("snp-Milan-vcek"));
        }
    }
}

/// Whoever trusts AMD alone lets in no simulated guest, however low the minimum, and its sessions of before end.
#[tokio::test]
async fn without_the_insecure_option_no_simulated_snp_guest_is_let_in() {
    let mut world = World::start().await;
    let scene = Scene::set_for(&world, Imitated::Snp).await;
    let session = world.attested(scene.build, scene.task).await.cookie;
    let published = world.published();

    world.sms.stop().await;
    world.sms.config.policy = Policy::hardware_only().admitting_snp(vec![LEAST.parse().unwrap()]);
    world.sms.config.collateral = CollateralSource::Folder(published);
    world.sms.start_again().await;
    world.sms.ready().await;

    let mut enclave = world.challenged(scene.build).await;
    let answer = send(&world, &enclave, enclave.evidence()).await;
    answer.is_problem(401, "attestation_refused");
    enclave.cookie = session;
    enclave.ask(scene.task, Resource::Bundle).await.is_problem(401, "session_invalid");
}
