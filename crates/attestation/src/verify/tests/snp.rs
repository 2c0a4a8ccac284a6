//! SEV-SNP through the one verifier: a real report up to what there is no copy of, AMD's revocation list, and simulated ones
//! all the way.

use super::*;
pub(super) use crate::snp::{ChainProblem, Part};
use crate::snp::{
    Product, SigningKey, Tcb,
    issue::{SimulatedAmd, SimulatedPlatform},
};

const REPORT: &str = include_str!("../../../../../tests/fixtures/evidence/snp/report_milan.hex");
pub(super) const VCEK: &[u8] =
    include_bytes!("../../../../../tests/fixtures/evidence/snp/vcek_milan.der");
pub(super) const CHAIN: &[u8] =
    include_bytes!("../../../../../tests/fixtures/evidence/snp/cert_chain_milan");
/// The firmware of the machine that the real report is of.
const FIRMWARE: &str = "Milan:bootloader=3,tee=0,snp=8,microcode=115";
const TCB: Tcb = Tcb { fmc: None, bootloader: 3, tee: 0, snp: 8, microcode: 115 };

pub(super) fn real(certificate: Option<&[u8]>) -> Evidence {
    let report = alloy_primitives::hex::decode(REPORT.trim()).unwrap();
    let report = SnpEvidence::from_report(&report, certificate.map(<[u8]>::to_vec)).unwrap();
    Evidence::parse("snp", &report.to_json()).unwrap()
}

pub(super) fn admitting(minimum: &str) -> Policy {
    Policy::hardware_only().admitting_snp(vec![minimum.parse().unwrap()])
}

fn refusal(verifier: &Verifier, evidence: &Evidence, collateral: &Collateral) -> AttestationError {
    verifier.verify(evidence, collateral, NONCE, key(), NOW).unwrap_err()
}

#[test]
fn a_document_of_another_tee_is_refused() {
    let Evidence::Snp(report) = real(Some(VCEK)) else { panic!("it is SNP") };
    for tee in ["sgx", "tdx"] {
        let parsed = Evidence::parse(tee, &report.to_json());
        assert!(matches!(parsed, Err(AttestationError::Malformed(_))), "{tee}: {parsed:?}");
    }
    let parsed = Evidence::parse("snp", &super::real());
    let refused = matches!(parsed, Err(AttestationError::Snp(SnpError::Document(_))));
    assert!(refused, "{parsed:?}");
}

#[test]
fn a_real_report_names_its_collateral() {
    let verifier = Verifier::new(admitting(FIRMWARE));
    let Needs::Collateral(platform) = verifier.needs(&real(Some(VCEK))).unwrap() else {
        panic!("it is real")
    };
    assert_eq!(platform.to_string(), "snp-Milan-vcek");
    for other in [Collateral::Nothing, real_collateral()] {
        let refused = refusal(&verifier, &real(Some(VCEK)), &other);
        let AttestationError::NoCollateral(missing) = refused else { panic!("{refused:?}") };
        assert_eq!(missing, platform);
    }
    // A report of version 2 does not tell the product that its certificate would be asked for.
    let refused = verifier.needs(&real(None));
    assert!(matches!(refused, Err(AttestationError::Snp(SnpError::UnknownProduct))), "{refused:?}");
}

#[test]
fn firmware_that_is_not_admitted_is_refused_before_anything_is_fetched() {
    let needs = |policy| Verifier::new(policy).needs(&real(Some(VCEK)));
    let refused = needs(Policy::hardware_only()).unwrap_err();
    assert!(refused.to_string().contains("no minimum firmware for Milan"), "{refused}");
    let refused = needs(admitting("Milan:bootloader=3,tee=0,snp=9,microcode=115")).unwrap_err();
    assert!(matches!(refused, AttestationError::Snp(SnpError::TcbTooLow { .. })), "{refused:?}");
    let refused = needs(admitting("Genoa:bootloader=0,tee=0,snp=0,microcode=0")).unwrap_err();
    let none = matches!(refused, AttestationError::Snp(SnpError::ProductNotAdmitted(_)));
    assert!(none, "{refused:?}");
}

#[test]
fn a_real_report_without_a_revocation_list_is_refused_for_that() {
    let collateral = Collateral::Snp(Arc::new(SnpCollateral::from_kds(CHAIN, &[]).unwrap()));
    let verifier = Verifier::new(admitting(FIRMWARE));
    let refused = refusal(&verifier, &real(Some(VCEK)), &collateral);
    let unlisted = matches!(
        refused,
        AttestationError::Snp(SnpError::Chain {
            part: Part::RevocationList,
            problem: ChainProblem::Malformed(_)
        })
    );
    assert!(unlisted, "{refused:?}");
}

/// A simulated platform, and what a verification of its reports takes.
struct World {
    amd: SimulatedAmd,
    platform: SimulatedPlatform,
    collateral: Collateral,
    policy: Policy,
}

impl World {
    fn make() -> Self {
        let years = NOW - 1000..NOW + 1_000_000;
        let amd = SimulatedAmd::generate(Product::Milan, years.clone()).unwrap();
        let (key, list) = (SigningKey::Vcek, NOW - 10..NOW + 10);
        let collateral = Arc::new(amd.collateral(key, &[], list).unwrap());
        Self {
            platform: amd.platform(key, [9; 64], TCB, years).unwrap(),
            collateral: Collateral::Snp(collateral),
            policy: admitting(FIRMWARE),
            amd,
        }
    }

    fn evidence(&self, nonce: &str, key: &Jwk) -> Evidence {
        let report_data = rcar::report_data(nonce, key);
        let report = self.platform.quote([3; 48], [4; 32], report_data).unwrap();
        Evidence::parse("snp", &report.to_json()).unwrap()
    }

    /// One that trusts the simulated root beside AMD's.
    fn verifier(&self) -> Verifier {
        let roots = Roots::insecure_trusting_simulated(Product::Milan, self.amd.root_certificate());
        let policy = self.policy.snp.clone().insecure_admit_simulated(Product::Milan, TCB);
        let snp = SnpVerifier::new(roots, policy, SNP_PLATFORMS);
        Verifier { snp, ..Verifier::new(self.policy.clone()) }
    }
}

#[test]
fn an_admitted_report_gives_an_enclave_with_its_firmware_until_the_list_ends() {
    let (world, key) = (World::make(), key());
    let evidence = world.evidence(NONCE, &key);
    let enclave = world.verifier().verify(&evidence, &world.collateral, NONCE, key.clone(), NOW);
    let enclave = enclave.unwrap();
    let measurement = [&[TeeKind::Snp as u8][..], &[3; 48], &[4; 32]].concat();
    let id = sesame_domain::enclave_id(TeeKind::Simulated, &measurement);
    assert_eq!((enclave.id(), enclave.kind(), enclave.key()), (id, TeeKind::Simulated, &key));
    let PlatformState::Snp(state) = enclave.platform() else { panic!("it is SNP") };
    assert_eq!((state.product, state.firmware.snp, state.until), (Product::Milan, 8, NOW + 10));
}

#[test]
fn a_chain_of_anybodys_is_refused_by_those_who_trust_amd_alone() {
    let (world, key) = (World::make(), key());
    let evidence = world.evidence(NONCE, &key);
    let verifier = Verifier::new(world.policy.clone());
    let refused = verifier.verify(&evidence, &world.collateral, NONCE, key, NOW).unwrap_err();
    let unknown = matches!(refused, AttestationError::Snp(SnpError::UnknownRoot));
    assert!(unknown, "{refused:?}");
}

#[test]
fn a_report_about_another_challenge_or_key_is_refused() {
    let (world, key) = (World::make(), key());
    let verifier = world.verifier();
    for evidence in [world.evidence("bm9uY2", &key), world.evidence(NONCE, &super::key())] {
        let refused = verifier.verify(&evidence, &world.collateral, NONCE, key.clone(), NOW);
        assert!(matches!(refused, Err(AttestationError::WrongReportData)), "{refused:?}");
    }
}
