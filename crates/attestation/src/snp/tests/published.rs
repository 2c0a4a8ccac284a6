//! Reports and certificates of real machines, as crate `sev` publishes them.
//!
//! They come without a revocation list, and the verifier refuses a chain without one; so these tests verify everything
//! but the list, and that without a list nothing counts.

use sesame_domain::{TeeKind, enclave_id};
use sev::{
    certs::snp::{Certificate as SevCertificate, Chain, Verifiable, ca},
    parser::ByteParser,
};

use super::{
    super::{chain, verify::verify_report},
    *,
};

const REPORT: &str = include_str!("../../../../../tests/fixtures/evidence/snp/report_milan.hex");
const MILAN_VCEK: &[u8] =
    include_bytes!("../../../../../tests/fixtures/evidence/snp/vcek_milan.der");
const MILAN_CHAIN: &[u8] =
    include_bytes!("../../../../../tests/fixtures/evidence/snp/cert_chain_milan");
const TURIN_VCEK: &[u8] =
    include_bytes!("../../../../../tests/fixtures/evidence/snp/vcek_turin.der");
const TURIN_CHAIN: &[u8] =
    include_bytes!("../../../../../tests/fixtures/evidence/snp/cert_chain_turin");

/// November 2023 and January 2025: within the certificates' dates.
const MILAN_TIME: u64 = 1_700_000_000;
const TURIN_TIME: u64 = 1_736_000_000;
/// The firmware of the machine that the report is of.
const FIRMWARE: Tcb = Tcb { fmc: None, bootloader: 3, tee: 0, snp: 8, microcode: 115 };

fn report() -> Vec<u8> {
    alloy_primitives::hex::decode(REPORT.trim()).unwrap()
}

fn evidence() -> SnpEvidence {
    SnpEvidence::from_report(&report(), Some(MILAN_VCEK.to_vec())).unwrap()
}

fn collateral(chain: &[u8]) -> SnpCollateral {
    SnpCollateral::from_kds(chain, &[]).unwrap()
}

fn policy() -> SnpPolicy {
    SnpPolicy::admitting_none().admit(Product::Milan, FIRMWARE)
}

fn report_data() -> [u8; 64] {
    report()[0x50..0x90].try_into().unwrap()
}

fn platform(
    vcek: &[u8],
    collateral: &SnpCollateral,
    now: u64,
) -> Result<chain::SnpPlatform, SnpError> {
    chain::certificates(vcek, collateral, &Roots::amd(), now).map(|(platform, ..)| platform)
}

fn milan() -> chain::SnpPlatform {
    platform(MILAN_VCEK, &collateral(MILAN_CHAIN), MILAN_TIME).unwrap()
}

#[test]
fn a_real_report_verifies_at_its_time() {
    let verdict = verify_report(&evidence(), &milan(), &policy(), &report_data()).unwrap();
    assert_eq!((verdict.root(), verdict.kind()), (Root::Amd, TeeKind::Snp));
    assert_eq!((verdict.product(), verdict.tcb()), (Product::Milan, FIRMWARE));
    // The VCEK's certificate ends first.
    assert_eq!(verdict.verified_until(), 1_901_474_623);
    assert_eq!(verdict.measurement(), report()[0x90..0xE0]);
    // As `cast keccak $(cast abi-encode 'f(uint8,bytes)' 3 0x…)` computes it.
    assert_eq!(
        enclave_id(verdict.kind(), &verdict.measurement()).to_string(),
        "0x6d39e0ec3084c7a122a62cd0d574cba8e619274e2afa6252e4eabf2a60cb92ab"
    );
}

#[test]
fn crate_sev_agrees_on_the_signatures() {
    for (vcek, chain) in [(MILAN_VCEK, MILAN_CHAIN), (TURIN_VCEK, TURIN_CHAIN)] {
        let collateral = collateral(chain);
        let chain = Chain {
            ca: ca::Chain::from_der(&collateral.root, &collateral.signer).unwrap(),
            vek: SevCertificate::from_der(vcek).unwrap(),
        };
        chain.verify().unwrap();
    }
    let simulated = World::milan();
    let chain = Chain {
        ca: ca::Chain::from_der(&simulated.collateral.root, &simulated.collateral.signer).unwrap(),
        vek: SevCertificate::from_der(simulated.platform.certificate()).unwrap(),
    };
    let report = AttestationReport::from_bytes(simulated.quote().report()).unwrap();
    (&chain, &report).verify().unwrap();
}

#[test]
fn a_real_chain_of_turin_verifies_at_its_time() {
    let platform = platform(TURIN_VCEK, &collateral(TURIN_CHAIN), TURIN_TIME).unwrap();
    assert_eq!((platform.root, platform.product), (Root::Amd, Product::Turin));
    assert_eq!(platform.endorsement.tcb.fmc, Some(0));
    assert_eq!(platform.endorsement.binding.signing_key(), SigningKey::Vcek);
}

#[test]
fn without_a_revocation_list_nothing_counts() {
    let verifier = SnpVerifier::new(Roots::amd(), policy(), NonZeroUsize::MIN);
    let refused =
        verifier.verify(&evidence(), &collateral(MILAN_CHAIN), &report_data(), MILAN_TIME);
    assert_refused!(
        refused,
        Err(SnpError::Chain { part: Part::RevocationList, problem: ChainProblem::Malformed(_) })
    );
    assert_eq!(verifier.remembered(), 0);
}

#[test]
fn a_real_report_is_refused_for_another_challenge_firmware_or_chip() {
    let platform = milan();
    let refused =
        |policy: &SnpPolicy, data: [u8; 64]| verify_report(&evidence(), &platform, policy, &data);
    let other = refused(&policy(), [0; 64]);
    assert_refused!(other, Err(SnpError::WrongReportData));
    let newer = policy().admit(Product::Milan, Tcb { snp: 9, ..FIRMWARE });
    let old = refused(&newer, report_data());
    assert_refused!(old, Err(SnpError::TcbTooLow { which: TcbField::Reported, .. }));
    let none = refused(&SnpPolicy::admitting_none(), report_data());
    assert_refused!(none, Err(SnpError::ProductNotAdmitted(Product::Milan)));
    let simulated = SnpPolicy::admitting_none();
    let simulated = simulated.insecure_admit_simulated(Product::Milan, Tcb::default());
    let none = refused(&simulated, report_data());
    assert_refused!(none, Err(SnpError::ProductNotAdmitted(Product::Milan)));
    let turin = self::platform(TURIN_VCEK, &collateral(TURIN_CHAIN), TURIN_TIME).unwrap();
    let chip = verify_report(&evidence(), &turin, &policy(), &report_data());
    assert_refused!(chip, Err(SnpError::Signature));
}

/// Whether a byte of a version 2 report has a meaning of its own to the reader: version, kind of key, and what must be zero.
fn read_before_the_signature(byte: usize) -> bool {
    let tcbs = [0x38, 0x180, 0x1E0, 0x1F0].map(|at: usize| at + 2..at + 6);
    let reserved = [0..4, 0x48..0x50, 0x188..0x1A0, 0x1EB..0x1EC, 0x1EF..0x1F0, 0x1F8..0x2A0];
    byte >= 0x2A0 + 144 || tcbs.into_iter().chain(reserved).any(|range| range.contains(&byte))
}

#[test]
fn one_flipped_bit_anywhere_in_a_real_report_is_refused() {
    let platform = milan();
    for bit in 0..REPORT_LENGTH * 8 {
        let byte = bit / 8;
        let mut bytes = report();
        bytes[byte] ^= 1 << (bit % 8);
        let refused = SnpEvidence::from_report(&bytes, Some(MILAN_VCEK.to_vec()))
            .and_then(|evidence| verify_report(&evidence, &platform, &policy(), &report_data()));
        if read_before_the_signature(byte) {
            assert!(refused.is_err(), "bit {bit}");
        } else {
            assert!(matches!(refused, Err(SnpError::Signature)), "bit {bit}: {refused:?}");
        }
    }
}

#[test]
fn a_report_of_any_other_length_is_refused() {
    let report = report();
    for length in 0..report.len() {
        let refused = SnpEvidence::from_report(&report[..length], None);
        assert!(matches!(refused, Err(SnpError::Report(_))), "{length} bytes");
    }
    let longer = [report.as_slice(), &[0]].concat();
    assert_refused!(SnpEvidence::from_report(&longer, None), Err(SnpError::Report(_)));
}

/// Flips one bit of each byte of a certificate and says where that was refused.
fn flip(
    der: &[u8],
    expected: Part,
    verify: impl Fn(&[u8]) -> Result<chain::SnpPlatform, SnpError>,
) {
    for byte in 0..der.len() {
        let mut other = der.to_vec();
        other[byte] ^= 1 << (byte * 5 % 8);
        match verify(&other) {
            Err(SnpError::Chain { part, .. }) if part == expected => {}
            unexpected => panic!("byte {byte}: {unexpected:?}"),
        }
    }
}

#[test]
fn one_flipped_bit_in_any_byte_of_a_real_certificate_is_refused() {
    let good = collateral(MILAN_CHAIN);
    flip(MILAN_VCEK, Part::Endorsement, |vcek| platform(vcek, &good, MILAN_TIME));
    flip(&good.signer, Part::Signer, |signer| {
        let other = SnpCollateral { signer: signer.to_vec(), ..good.clone() };
        platform(MILAN_VCEK, &other, MILAN_TIME)
    });
    for byte in 0..good.root.len() {
        let mut other = good.clone();
        other.root[byte] ^= 1;
        let refused = platform(MILAN_VCEK, &other, MILAN_TIME);
        assert!(matches!(refused, Err(SnpError::UnknownRoot)), "byte {byte}");
    }
}

#[test]
fn a_certificate_cut_off_anywhere_is_refused() {
    let good = collateral(MILAN_CHAIN);
    for length in 0..MILAN_VCEK.len() {
        let refused = platform(&MILAN_VCEK[..length], &good, MILAN_TIME);
        let part = Part::Endorsement;
        assert!(
            matches!(&refused, Err(SnpError::Chain { part: got, problem: ChainProblem::Malformed(_) }) if *got == part),
            "{length} bytes: {refused:?}"
        );
    }
}

#[test]
fn a_real_chain_counts_within_its_dates_alone() {
    // The VCEK's: 3 April 2023 to 3 April 2030, both at 19:23:43.
    let (from, until) = (1_680_549_823, 1_901_474_623);
    let good = collateral(MILAN_CHAIN);
    for now in [from, until - 1] {
        platform(MILAN_VCEK, &good, now).unwrap();
    }
    let part = Part::Endorsement;
    for now in [from - 1, 1_650_000_000] {
        let refused = platform(MILAN_VCEK, &good, now);
        assert_refused!(
            refused,
            Err(SnpError::Chain { part: got, problem: ChainProblem::NotYetValid(at) })
                if got == part && at == from
        );
    }
    for now in [until, until + 1, u64::MAX] {
        let refused = platform(MILAN_VCEK, &good, now);
        assert_refused!(
            refused,
            Err(SnpError::Chain { problem: ChainProblem::Expired(at), .. }) if now > 2_000_000_000 || at == until
        );
    }
    let refused = platform(MILAN_VCEK, &good, 0);
    assert_refused!(
        refused,
        Err(SnpError::Chain { part: Part::Root, problem: ChainProblem::NotYetValid(_) })
    );
}

#[test]
fn chains_of_two_products_do_not_mix() {
    let (milan, turin) = (collateral(MILAN_CHAIN), collateral(TURIN_CHAIN));
    let refused = platform(MILAN_VCEK, &turin, TURIN_TIME);
    assert_refused!(
        refused,
        Err(SnpError::Chain { part: Part::Endorsement, problem: ChainProblem::Issuer })
    );
    let mixed = SnpCollateral { root: turin.root, ..milan };
    let refused = platform(MILAN_VCEK, &mixed, TURIN_TIME);
    assert_refused!(
        refused,
        Err(SnpError::Chain { part: Part::Signer, problem: ChainProblem::Issuer })
    );
}

#[test]
fn a_real_report_leads_to_its_certificate() {
    let bare = SnpEvidence::from_report(&report(), None).unwrap();
    // Version 2 tells Milan and Genoa apart no more than their firmware does.
    assert_refused!(bare.product(), Err(SnpError::UnknownProduct));
    assert_refused!(kds::missing_certificate(kds::AMD_KDS, &bare), Err(SnpError::UnknownProduct));
    assert_eq!(evidence().product().unwrap(), Product::Milan);
    assert_eq!(kds::missing_certificate(kds::AMD_KDS, &evidence()).unwrap(), None);
    assert_eq!(
        kds::vcek_url(kds::AMD_KDS, Product::Milan, bare.chip_id(), &bare.reported_tcb()),
        "https://kdsintf.amd.com/vcek/v1/Milan/\
         d49554ec717f4e5b0fe6b143bcf0405bd7ae304727edf46603f2a76aef6a3abc\
         15d7af38db757039029f0efacfd08e244324884738c72b082e2f87a44d541eb6\
         ?blSPL=03&teeSPL=00&snpSPL=08&ucodeSPL=115"
    );
}
