//! What holds for any bytes that a stranger sends: nothing panics, what is read has one meaning, and nothing is believed that
//! was not signed.
//!
//! libFuzzer searches for a counter-example (`targets/`); the tests replay what it found worth keeping (`corpus/`).

use std::{
    num::NonZeroUsize,
    sync::{Arc, LazyLock},
};

use sesame_attestation::{
    AttestedSession, Collateral, Evidence, Needs, Policy, TokenKey, Verifier, WorkerProof,
    dcap::DcapCollateral,
    simulated::{Imitated, Root},
    snp::{
        Product, REPORT_LENGTH, Roots, SigningKey, SnpCollateral, SnpEvidence, SnpPolicy,
        SnpVerdict, SnpVerifier, Tcb, issue::SimulatedAmd, kds,
    },
};
use sesame_domain::TaskId;
use sesame_protocol::{
    document,
    evidence::QuoteEvidence,
    jwe::{self, EnclaveKey},
    jwk::Jwk,
    rcar::{self, Attestation, Request},
    signature::Signer,
    typed::Domain,
    voucher::SignedVoucher,
};

const NOW: u64 = 1_900_000_000;
const DOMAIN: Domain = Domain { chain_id: 31337, asset_registry: alloy_primitives::Address::ZERO };

/// Bodies of `/auth` and `/attest`: what is read hashes to the same report data when it is sent on, and its canonical form is
/// canonical.
pub(crate) fn runtime_data(data: &[u8]) {
    if let Ok(request) = document::parse::<Request>(data) {
        let _agreed = rcar::agree_on_hash(&request.extra_params);
    }
    let Ok(attestation) = document::parse::<Attestation>(data) else { return };
    let nonce = &attestation.runtime_data.nonce;
    let Ok(key) = Jwk::try_from(&attestation.runtime_data.tee_pubkey) else { return };
    let bound = rcar::runtime_data(&attestation.tee_evidence.additional_evidence, nonce, &key);

    let sent = serde_json::to_vec(&attestation).expect("it was JSON");
    let again: Attestation = serde_json::from_slice(&sent).expect("it is the same document");
    let key = Jwk::try_from(&again.runtime_data.tee_pubkey).expect("it is the same key");
    let nonce = &again.runtime_data.nonce;
    assert_eq!(bound, rcar::runtime_data(&again.tee_evidence.additional_evidence, nonce, &key));

    let value: serde_json::Value = serde_json::from_slice(&bound).expect("it is JSON");
    assert_eq!(value["nonce"].as_str(), Some(nonce.as_str()));
    assert_eq!(value["tee-pubkey"]["kty"], serde_json::to_value(&key).expect("JSON")["kty"]);
}

/// Keys: what is read has one spelling and one thumbprint, and something can be encrypted to it, or it says why not.
pub(crate) fn jwk(data: &[u8]) {
    let Ok(key) = document::parse::<Jwk>(data) else { return };
    let written = serde_json::to_vec(&key).expect("a key is JSON");
    let again: Jwk = serde_json::from_slice(&written).expect("what was written is read");
    assert_eq!((&key, key.thumbprint()), (&again, again.thumbprint()));
    let _checked = key.verify(b"message", data);
    if let Ok(jwe) = jwe::encrypt(&key, b"content") {
        assert!(EnclaveKey::random().decrypt(&jwe).is_err(), "a stranger opens it");
    }
}

/// Cookies, tokens, vouchers: no text opens as a challenge or a session but one that was signed, and an altered one opens at
/// most as what it was.
pub(crate) fn session(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for token in [Some(&*text), rcar::session_in_cookie(&text)].into_iter().flatten() {
        assert!(KEY.open_challenge(token, NOW).is_err(), "a challenge nobody signed");
        assert!(
            KEY.open_session(token, VERIFIER.policy(), NOW).is_err(),
            "a session nobody signed"
        );
    }
    if let Ok(voucher) = SignedVoucher::parse(&text) {
        assert_eq!(SignedVoucher::parse(&voucher.to_header()).expect("one spelling"), voucher);
        let _worker = voucher.recover_worker(&DOMAIN);
    }
    altered_session(data);
}

/// The first two bytes say where, the third how much of a genuine token is replaced by the rest.
fn altered_session(data: &[u8]) {
    let [high, low, length, replacement @ ..] = data else { return };
    let (genuine, token) = (&SESSION.0, &SESSION.1);
    let start = usize::from(u16::from_be_bytes([*high, *low])) % token.len();
    let end = (start + usize::from(*length)).min(token.len());
    let Ok(replacement) = std::str::from_utf8(replacement) else { return };
    let altered = format!("{}{replacement}{}", &token[..start], &token[end..]);
    assert!(KEY.open_challenge(&altered, NOW).is_err(), "a session is no challenge");
    if let Ok(opened) = KEY.open_session(&altered, VERIFIER.policy(), NOW) {
        assert_eq!(
            (opened.enclave.id(), opened.enclave.key()),
            (genuine.enclave.id(), genuine.enclave.key())
        );
        assert_eq!((opened.worker, &opened.nonce), (genuine.worker, &genuine.nonce));
    }
}

/// Evidence: the first byte says how the rest is read. A document, a quote with Intel's collateral, or a change to a quote that
/// is genuine under a root of ours, behind a warm cache: it counts at most as what it was.
pub(crate) fn evidence(data: &[u8]) {
    let [how, rest @ ..] = data else { return };
    match how % 4 {
        0 => {
            let tee = if how & 4 == 0 { "sgx" } else { "tdx" };
            let Ok(value) = document::parse(rest) else { return };
            refused(Evidence::parse(tee, &value).ok());
        }
        1 => refused(Evidence::parse("sgx", &document_of(rest)).ok()),
        2 => refused(Evidence::parse("tdx", &document_of(rest)).ok()),
        _ => altered_quote(rest),
    }
}

fn document_of(quote: &[u8]) -> serde_json::Value {
    serde_json::to_value(QuoteEvidence::new(quote)).expect("text")
}

/// Whatever it is, it is not about our nonce and key.
fn refused(evidence: Option<Evidence>) {
    let Some(evidence) = evidence else { return };
    let Ok(_needed) = VERIFIER.needs(&evidence) else { return };
    // A genuine quote is signed, so this may say yes: it says nothing about nonce and key.
    let _signed = VERIFIER.verify_signatures(&evidence);
    for (collateral, now) in COLLATERAL.iter() {
        let verified = VERIFIER.verify(&evidence, collateral, "nonce", ENCLAVE.clone(), *now);
        assert!(verified.is_err(), "believed");
    }
}

/// The first two bytes say where the rest is XORed into a genuine quote.
fn altered_quote(data: &[u8]) {
    let [high, low, change @ ..] = data else { return };
    let mut quote = QUOTE.clone();
    let start = usize::from(u16::from_be_bytes([*high, *low])) % quote.len();
    quote.iter_mut().skip(start).zip(change).for_each(|(byte, change)| *byte ^= change);
    let Ok(evidence) = Evidence::parse("sgx", &document_of(&quote)) else { return };
    let Ok(Needs::Nothing) = VERIFIER.needs(&evidence) else { return };
    let none = Collateral::Nothing;
    if let Ok(enclave) = VERIFIER.verify(&evidence, &none, "nonce", ENCLAVE.clone(), NOW) {
        assert_eq!(enclave.id(), SESSION.0.enclave.id(), "another enclave");
        VERIFIER.verify_signatures(&evidence).expect("what is verified is signed");
    }
}

/// Evidence of SEV-SNP: the first byte says how the rest is read. A document, a report with a certificate, or a change to what
/// is genuine under a root of ours (report, certificate, collateral), behind a warm cache: it counts at most as what it was.
pub(crate) fn snp(data: &[u8]) {
    let [how, rest @ ..] = data else { return };
    match how % 4 {
        0 => {
            let Ok(value) = document::parse(rest) else { return };
            if let Ok(Evidence::Snp(evidence)) = Evidence::parse("snp", &value) {
                stranger(&evidence);
            }
        }
        1 => {
            let (report, certificate) = rest.split_at(rest.len().min(REPORT_LENGTH));
            if let Ok(evidence) = SnpEvidence::from_report(report, Some(certificate.to_vec())) {
                stranger(&evidence);
            }
        }
        2 => altered_report(rest),
        _ => altered_collateral(rest),
    }
}

/// Evidence that nobody of ours signed.
fn stranger(evidence: &SnpEvidence) {
    let again = SnpEvidence::parse(&evidence.to_json()).expect("what was read is written");
    assert_eq!(evidence.report(), again.report(), "another report");
    let _wanted = kds::missing_certificate(kds::AMD_KDS, evidence);
    let verified = SNP.verifier.verify(evidence, &SNP.collateral, &SNP_DATA, NOW);
    assert!(verified.is_err(), "believed");
}

fn altered_report(data: &[u8]) {
    let (mut report, mut certificate) = (*SNP.evidence.report(), SNP.certificate.clone());
    xor(report.iter_mut().chain(&mut certificate), data);
    let Ok(evidence) = SnpEvidence::from_report(&report, Some(certificate)) else { return };
    if let Ok(verdict) = SNP.verifier.verify(&evidence, &SNP.collateral, &SNP_DATA, NOW) {
        assert_eq!(verdict, SNP.verdict, "another enclave");
    }
}

fn altered_collateral(data: &[u8]) {
    let mut collateral = SNP.collateral.clone();
    let SnpCollateral { signer, root, revoked, .. } = &mut collateral;
    xor(signer.iter_mut().chain(root).chain(revoked), data);
    if let Ok(verdict) = SNP.verifier.verify(&SNP.evidence, &collateral, &SNP_DATA, NOW) {
        assert_eq!(verdict, SNP.verdict, "another platform");
    }
}

/// The first two bytes say where the rest is XORed in.
fn xor<'a>(bytes: impl Iterator<Item = &'a mut u8>, data: &[u8]) {
    let [high, low, change @ ..] = data else { return };
    let start = usize::from(u16::from_be_bytes([*high, *low])) % 8192;
    bytes.skip(start).zip(change).for_each(|(byte, change)| *byte ^= change);
}

/// What is inside a backup: what can be read has one spelling.
pub(crate) fn backup(data: &[u8]) {
    let mut again = Vec::new();
    if sesame_vault::rewrite(data, &mut again).is_ok() {
        assert_eq!(again, data, "another spelling");
    }
}

const SNP_DATA: [u8; 64] = [5; 64];

/// A simulated platform of SEV-SNP, known to its verifier.
struct Snp {
    verifier: SnpVerifier,
    collateral: SnpCollateral,
    certificate: Vec<u8>,
    evidence: SnpEvidence,
    verdict: SnpVerdict,
}

static SNP: LazyLock<Snp> = LazyLock::new(|| {
    let (product, holds) = (Product::Milan, NOW - 1..NOW + 1);
    let tcb = Tcb { fmc: None, bootloader: 3, tee: 1, snp: 8, microcode: 115 };
    let amd = SimulatedAmd::generate(product, holds.clone()).expect("a root");
    let platform = amd.platform(SigningKey::Vcek, [9; 64], tcb, holds.clone());
    let platform = platform.expect("a platform");
    let collateral = amd.collateral(SigningKey::Vcek, &[], holds).expect("a list");
    let evidence = platform.quote([3; 48], [4; 32], SNP_DATA).expect("a report");
    let verifier = SnpVerifier::new(
        Roots::insecure_trusting_simulated(product, amd.root_certificate()),
        SnpPolicy::admitting_none().insecure_admit_simulated(product, tcb),
        NonZeroUsize::MIN,
    );
    let verdict = verifier.verify(&evidence, &collateral, &SNP_DATA, NOW).expect("genuine");
    let certificate = platform.certificate().to_vec();
    Snp { verifier, collateral, certificate, evidence, verdict }
});

static KEY: LazyLock<TokenKey> =
    LazyLock::new(|| TokenKey::from_bytes(&[7; 32], 300).expect("a scalar"));
static ENCLAVE: LazyLock<Jwk> = LazyLock::new(|| EnclaveKey::random().public().clone());
static ROOT: LazyLock<Root> = LazyLock::new(|| Root::make(NOW));
static VERIFIER: LazyLock<Verifier> =
    LazyLock::new(|| Verifier::new(Policy::insecure_trusting_simulated(ROOT.published().clone())));

/// A quote of a simulated enclave about our nonce and key.
static QUOTE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let report_data = rcar::report_data("nonce", &ENCLAVE);
    let document = ROOT.evidence(Imitated::Sgx, &[9; 32], report_data);
    let quote: QuoteEvidence = serde_json::from_value(document).expect("a quote");
    quote.bytes().expect("base64")
});

/// What Intel said about the platforms of real quotes, each with a second at which that held.
static COLLATERAL: LazyLock<Vec<(Collateral, u64)>> = LazyLock::new(|| {
    let read = |json: &[u8]| {
        Collateral::Dcap(Arc::new(DcapCollateral::from_json(json).expect("collateral")))
    };
    vec![
        (read(include_bytes!("../fixtures/evidence/sgx_quote_collateral.json")), 1_750_416_971),
        (read(include_bytes!("../fixtures/evidence/tdx_quote_collateral.json")), 1_750_415_547),
        (Collateral::Nothing, NOW),
    ]
});

/// A genuine session, and its token.
static SESSION: LazyLock<(AttestedSession, String)> = LazyLock::new(|| {
    let (nonce, signer) = ("nonce".to_owned(), Signer::random());
    let evidence = Evidence::parse("sgx", &document_of(&QUOTE)).expect("genuine");
    let none = Collateral::Nothing;
    let enclave = VERIFIER.verify(&evidence, &none, &nonce, ENCLAVE.clone(), NOW);
    let enclave = enclave.expect("genuine");
    let (task, sms, key) = (TaskId([3; 32].into()), signer.address(), ENCLAVE.thumbprint());
    let voucher = SignedVoucher::sign(task, sms, key, NOW, &DOMAIN, &signer);
    let worker = WorkerProof::verify(&voucher, &DOMAIN, sms, key, NOW).expect("genuine");
    let session = AttestedSession { enclave, worker, nonce };
    let token = KEY.session(&session, NOW);
    (session, token)
});
