//! Evidence verified on a platform that is new and on one that is known, against what its library takes and against one
//! signature check, all in turn.

use std::{
    fs,
    hint::black_box,
    num::NonZeroUsize,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED, ParsedPublicKey};
use dcap_qvl::{QuoteCollateralV3, QuotePolicy, quote::Quote, verify::QuoteVerifier};
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde_json::json;
use sesame_attestation::{
    AttestationError, Collateral, Evidence, Policy, Verifier,
    dcap::DcapCollateral,
    snp::{
        Product, Roots, SigningKey, SnpCollateral, SnpEvidence, SnpPolicy, SnpVerifier, Tcb,
        issue::SimulatedAmd,
    },
};
use sesame_protocol::{evidence::QuoteEvidence, jwe::EnclaveKey, rcar};
use sesame_tests::{ROOT, now};
use sev::{
    certs::snp::{Certificate, Chain, Verifiable},
    firmware::guest::AttestationReport,
    parser::ByteParser,
};

use crate::figures::{Figures, Samples};

pub(crate) const NAMES: &[&str] = &[
    "verify_sgx_cold_us",
    "verify_sgx_cold_vs_library",
    "verify_sgx_warm_us",
    "verify_sgx_warm_vs_p256",
    "verify_tdx_cold_us",
    "verify_tdx_cold_vs_library",
    "verify_tdx_warm_us",
    "verify_tdx_warm_vs_p256",
    "verify_snp_cold_us",
    "verify_snp_cold_vs_library",
    "verify_snp_warm_us",
    "verify_snp_warm_vs_p384",
];

const NONCE: &str = "bm9uY2U";

/// What takes a while, and says how long.
type Step<'a> = &'a dyn Fn() -> anyhow::Result<Duration>;

/// The same evidence in four ways.
struct Steps<'a> {
    /// By a verifier that knows no platform.
    cold: Step<'a>,
    /// By one that knows this one.
    warm: Step<'a>,
    /// By the library alone.
    library: Step<'a>,
    /// Its signature alone.
    signature: Step<'a>,
}

pub(crate) fn measure(figures: &Figures) -> anyhow::Result<()> {
    let rounds = if figures.quick { 200 } else { 2_000 };
    let compare = |tee: &str, curve: &str, steps: &Steps<'_>| -> anyhow::Result<()> {
        let [cold, warm, library, signature] =
            in_turn(rounds, [steps.cold, steps.warm, steps.library, steps.signature])?;
        figures.print(&format!("verify_{tee}_cold_us"), cold, "us");
        figures.print(&format!("verify_{tee}_cold_vs_library"), cold / library, "ratio");
        figures.print(&format!("verify_{tee}_warm_us"), warm, "us");
        figures.print(&format!("verify_{tee}_warm_vs_{curve}"), warm / signature, "ratio");
        Ok(())
    };
    dcap("sgx", 1_750_416_971, |steps| compare("sgx", "p256", steps))?;
    dcap("tdx", 1_750_415_547, |steps| compare("tdx", "p256", steps))?;
    snp(|steps| compare("snp", "p384", steps))
}

/// The recorded quote of a real machine, at its time.
fn dcap(
    tee: &str,
    now: u64,
    compare: impl FnOnce(&Steps<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let folder = Path::new(ROOT).join("tests/fixtures/evidence");
    let raw = fs::read(folder.join(format!("{tee}_quote")))?;
    let json = fs::read(folder.join(format!("{tee}_quote_collateral.json")))?;
    let document = json!(QuoteEvidence::new(&raw));
    let collateral = Collateral::Dcap(Arc::new(DcapCollateral::from_json(&json)?));
    let key = EnclaveKey::random().public().clone();
    let admitted = "ConfigurationAndSWHardeningNeeded:INTEL-SA-00289,INTEL-SA-00615".parse()?;
    let policy = Policy::hardware_only().admitting(vec![admitted]);

    // It is about somebody else's key, which is the last thing that a verifier looks at.
    let verify = |verifier: &Verifier| {
        let start = Instant::now();
        let evidence = Evidence::parse(tee, &document)?;
        let verdict = verifier.verify(&evidence, &collateral, NONCE, key.clone(), now);
        let took = start.elapsed();
        anyhow::ensure!(matches!(verdict, Err(AttestationError::WrongReportData)), "{verdict:?}");
        Ok(took)
    };
    let known = Verifier::new(policy.clone());
    verify(&known)?;

    let mut published: QuoteCollateralV3 = serde_json::from_slice(&json)?;
    published.pck_certificate_chain = None;
    let claims = QuotePolicy::claims_only(now);
    let library = QuoteVerifier::new_prod();

    let quote = Quote::parse(&raw)?;
    let signed = raw.get(..quote.signed_length()).context("the quote is cut off")?;
    let auth = quote.auth_data.clone().into_v3();
    let point = [&[4], auth.ecdsa_attestation_key.as_slice()].concat();
    let point = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);

    compare(&Steps {
        cold: &|| verify(&Verifier::new(policy.clone())),
        warm: &|| verify(&known),
        library: &|| timed(|| library.verify_with_policy(&raw, &published, now, &claims)),
        signature: &|| {
            timed(|| point.verify(signed, &auth.ecdsa_signature).ok().context("it is not signed"))
        },
    })
}

/// A report as AMD's processors make them, issued here: no revocation list of AMD's is at hand.
fn snp(compare: impl FnOnce(&Steps<'_>) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let (now, product, vcek) = (now(), Product::Milan, SigningKey::Vcek);
    let holds = now - 1_000..now + 1_000_000;
    let amd = SimulatedAmd::generate(product, holds.clone())?;
    let tcb = Tcb { fmc: None, bootloader: 3, tee: 0, snp: 8, microcode: 115 };
    let platform = amd.platform(vcek, [9; 64], tcb, holds.clone())?;
    let collateral: SnpCollateral = amd.collateral(vcek, &[], holds)?;
    let key = EnclaveKey::random().public().clone();
    let report = platform.quote([3; 48], [4; 32], rcar::report_data(NONCE, &key))?;
    let document = report.to_json();

    let new_verifier = || {
        let roots = Roots::insecure_trusting_simulated(product, amd.root_certificate());
        let policy = SnpPolicy::admitting_none().insecure_admit_simulated(product, tcb);
        SnpVerifier::new(roots, policy, NonZeroUsize::MIN)
    };
    let verify = |verifier: &SnpVerifier| {
        timed(|| {
            let report_data = rcar::report_data(NONCE, &key);
            let verdict =
                verifier.verify(&SnpEvidence::parse(&document)?, &collateral, &report_data, now)?;
            anyhow::Ok(sesame_domain::enclave_id(verdict.kind(), &verdict.measurement()))
        })
    };
    let known = new_verifier();
    verify(&known)?;

    let certificate = Certificate::from_der(platform.certificate())?;
    let raw = report.report();
    let (signed, signature) = raw.split_at(0x2A0);
    let signature: Vec<u8> = signature
        .chunks(72)
        .take(2)
        .flat_map(|scalar| scalar.iter().take(48).rev().copied())
        .collect();
    let point = ParsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, certificate.public_key_sec1())?;

    compare(&Steps {
        cold: &|| verify(&new_verifier()),
        warm: &|| verify(&known),
        library: &|| {
            timed(|| {
                let chain =
                    Chain::from_der(&collateral.root, &collateral.signer, platform.certificate())?;
                (&chain, &AttestationReport::from_bytes(raw)?).verify()
            })
        },
        signature: &|| {
            timed(|| point.verify_sig(signed, &signature).ok().context("it is not signed"))
        },
    })
}

/// The median of each step, microseconds; what disturbs this machine disturbs all of them alike.
fn in_turn<const N: usize>(rounds: usize, steps: [Step<'_>; N]) -> anyhow::Result<[f64; N]> {
    let mut samples = [const { Vec::new() }; N];
    for _ in 0..rounds {
        for (step, samples) in steps.iter().zip(&mut samples) {
            samples.push(step()?);
        }
    }
    Ok(samples.map(|samples| Samples::new(samples).p50()))
}

/// How long something takes that has to succeed.
fn timed<T, E: Into<anyhow::Error>>(
    step: impl FnOnce() -> Result<T, E>,
) -> anyhow::Result<Duration> {
    let start = Instant::now();
    let done = step();
    let took = start.elapsed();
    black_box(done.map_err(Into::into)?);
    Ok(took)
}
