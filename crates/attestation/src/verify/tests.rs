//! Evidence counts under a root that the operator trusts, for the key and the challenge that it was made for, or not at all.

use serde_json::{Value, json};
use sesame_protocol::{evidence::QuoteEvidence, jwe::EnclaveKey};

use super::*;

const NONCE: &str = "bm9uY2U";
const NOW: u64 = 1_750_415_547;
const REAL: &[u8] = include_bytes!("../../../../tests/fixtures/evidence/tdx_quote");

fn key() -> Jwk {
    EnclaveKey::random().public().clone()
}

/// The quote of a real TD, about somebody else's key.
fn real() -> Value {
    json!(QuoteEvidence::new(REAL))
}

fn real_collateral() -> Collateral {
    let json = include_bytes!("../../../../tests/fixtures/evidence/tdx_quote_collateral.json");
    Collateral::Dcap(Arc::new(DcapCollateral::from_json(json).unwrap()))
}

#[test]
fn only_tees_with_a_verifier_are_parsed() {
    let others =
        ["", "sample", "azsnpvtpm", "aztdxvtpm", "cca", "csv", "se", "tpm", "TDX", "tdx ", "SNP"];
    for tee in others {
        match Evidence::parse(tee, &real()) {
            Err(AttestationError::UnsupportedTee(name)) => assert_eq!(name, tee),
            other => panic!("{tee}: {other:?}"),
        }
    }
    assert!(Evidence::parse("tdx", &real()).is_ok());
}

#[test]
fn a_quote_is_of_the_tee_that_was_announced() {
    let parsed = Evidence::parse("sgx", &real());
    assert!(matches!(parsed, Err(AttestationError::WrongTee)), "{parsed:?}");
}

#[test]
fn a_document_of_another_shape_is_malformed() {
    for case in [json!(null), json!("quote"), json!([]), json!({}), json!({"quote": 1})] {
        let parsed = Evidence::parse("tdx", &case);
        assert!(matches!(parsed, Err(AttestationError::Malformed(_))), "{case}: {parsed:?}");
    }
    for text in ["~", "AQ-_", "AQI"] {
        let parsed = Evidence::parse("tdx", &json!({"quote": text}));
        assert!(matches!(parsed, Err(AttestationError::NotBase64)), "{text}: {parsed:?}");
    }
    for text in ["", "AQID"] {
        let parsed = Evidence::parse("tdx", &json!({"quote": text}));
        let malformed = matches!(parsed, Err(AttestationError::Dcap(DcapError::Malformed(_))));
        assert!(malformed, "{text}: {parsed:?}");
    }
}

#[test]
fn a_real_quote_about_another_key_is_refused_for_that_alone() {
    let verifier = Verifier::new(Policy::hardware_only());
    let evidence = Evidence::parse("tdx", &real()).unwrap();
    let refused = verifier.verify(&evidence, &real_collateral(), NONCE, key(), NOW);
    assert!(matches!(refused, Err(AttestationError::WrongReportData)), "{refused:?}");
}

#[test]
fn real_evidence_names_its_collateral_and_is_refused_without() {
    let verifier = Verifier::new(Policy::hardware_only());
    let evidence = Evidence::parse("tdx", &real()).unwrap();
    let Needs::Collateral(platform) = verifier.needs(&evidence).unwrap() else {
        panic!("it is real")
    };
    assert_eq!(platform.to_string(), "tdx-b0c06f000000-platform");
    match verifier.verify(&evidence, &Collateral::Nothing, NONCE, key(), NOW) {
        Err(AttestationError::NoCollateral(missing)) => assert_eq!(missing, platform),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_policy_of_hardware_alone_admits_no_simulated_enclave() {
    let policy = Policy::hardware_only();
    assert!(!policy.admits_simulated());
    assert!(!policy.admits(TeeKind::Simulated));
    for kind in [TeeKind::Sgx, TeeKind::Tdx, TeeKind::Snp] {
        assert!(policy.admits(kind), "{kind:?}");
    }
}

/// A program that is built without the simulated TEE: a quote under such a root, recorded, is refused like any stranger's.
#[test]
fn a_recorded_simulated_quote_is_a_strangers_without_its_root() {
    let recorded = include_bytes!("../../../../tests/fixtures/evidence/simulated_sgx_quote");
    let evidence = Evidence::parse("sgx", &json!(QuoteEvidence::new(recorded))).unwrap();
    let verifier = Verifier::new(Policy::hardware_only());
    for refused in [
        verifier.needs(&evidence).err(),
        verifier.verify(&evidence, &real_collateral(), NONCE, key(), NOW).err(),
    ] {
        let untrusted = matches!(refused, Some(AttestationError::Dcap(DcapError::UntrustedRoot)));
        assert!(untrusted, "{refused:?}");
    }
}

mod snp;

#[cfg(feature = "simulated")]
mod simulated {
    use super::*;
    use crate::simulated::{Imitated, Root as SimulatedRoot, enclave_id_of};

    /// Firmware that any platform has.
    const LEAST: &str = "Milan:bootloader=0,tee=0,snp=0,microcode=0";

    /// What AMD publishes about Milan, but its revocation list, of which there is no copy.
    fn amds_collateral() -> Collateral {
        Collateral::Snp(Arc::new(SnpCollateral::from_kds(snp::CHAIN, &[]).unwrap()))
    }

    fn verifier(root: &SimulatedRoot) -> Verifier {
        Verifier::new(Policy::insecure_trusting_simulated(root.published().clone()))
    }

    fn evidence(root: &SimulatedRoot, tee: Imitated, nonce: &str, key: &Jwk) -> Evidence {
        let document = root.evidence(tee, &[7; 32], rcar::report_data(nonce, key));
        Evidence::parse(&tee.to_string(), &document).unwrap()
    }

    #[test]
    fn honest_evidence_gives_an_enclave_of_its_own_kind() {
        let root = SimulatedRoot::make(NOW);
        let verifier = verifier(&root);
        for tee in Imitated::ALL {
            let key = key();
            let evidence = evidence(&root, tee, NONCE, &key);
            assert_eq!(verifier.needs(&evidence).unwrap(), Needs::Nothing);
            let nothing = Collateral::Nothing;
            let enclave = verifier.verify(&evidence, &nothing, NONCE, key.clone(), NOW).unwrap();
            assert_eq!(enclave.id(), enclave_id_of(tee, &[7; 32]));
            assert_eq!((enclave.kind(), enclave.key()), (TeeKind::Simulated, &key));
            assert!(enclave.platform().is_up_to_date());
        }
        let policy = verifier.policy();
        assert!(policy.admits_simulated() && policy.admits(TeeKind::Simulated));
    }

    /// The root decides the kind: there is no way to say so, so every way of not saying it is tried.
    #[test]
    fn simulated_evidence_is_never_of_kind_1_2_or_3() {
        let root = SimulatedRoot::make(NOW);
        let key = key();
        let padded = |length| {
            let mut measured = vec![7; 32];
            measured.resize(length, 0);
            measured
        };
        let measured = [
            (Imitated::Sgx, padded(32)),
            (Imitated::Tdx, padded(384)),
            (Imitated::Snp, padded(80)),
        ];
        for (tee, measurement) in measured {
            let evidence = evidence(&root, tee, NONCE, &key);
            // Even with real collateral at hand, and whatever the attester announces.
            for collateral in [Collateral::Nothing, real_collateral(), amds_collateral()] {
                let enclave =
                    verifier(&root).verify(&evidence, &collateral, NONCE, key.clone(), NOW);
                let enclave = enclave.unwrap();
                assert_eq!(enclave.kind(), TeeKind::Simulated);
                for kind in [TeeKind::Sgx, TeeKind::Tdx, TeeKind::Snp] {
                    assert_ne!(enclave.id(), sesame_domain::enclave_id(kind, &measurement));
                }
            }
            // Nor announced as another's.
            let document = root.evidence(tee, &[7; 32], rcar::report_data(NONCE, &key));
            for other in Imitated::ALL.into_iter().filter(|other| *other != tee) {
                assert!(
                    Evidence::parse(&other.to_string(), &document).is_err(),
                    "{tee} as {other}"
                );
            }
        }
    }

    /// With every collateral there is, the vendor's own included, and the least minimum of firmware.
    #[test]
    fn those_who_trust_vendors_alone_refuse_it_as_a_strangers() {
        let root = SimulatedRoot::make(NOW);
        let hardware = Verifier::new(snp::admitting(LEAST));
        for tee in Imitated::ALL {
            let key = key();
            let evidence = evidence(&root, tee, NONCE, &key);
            let own = Collateral::Snp(Arc::new(root.published().snp.clone()));
            for collateral in [own, real_collateral()] {
                let refused = hardware.verify(&evidence, &collateral, NONCE, key.clone(), NOW);
                let refused = refused.unwrap_err();
                let right = match (&evidence, &collateral) {
                    (Evidence::Dcap(_), _) => {
                        matches!(refused, AttestationError::Dcap(DcapError::UntrustedRoot))
                    }
                    (Evidence::Snp(_), Collateral::Snp(_)) => {
                        matches!(refused, AttestationError::Snp(SnpError::UnknownRoot))
                    }
                    (Evidence::Snp(_), _) => matches!(refused, AttestationError::NoCollateral(_)),
                };
                assert!(right, "{tee}: {refused}");
            }
            // AMD's chain says nothing about the chip.
            let refused = hardware.verify(&evidence, &amds_collateral(), NONCE, key, NOW);
            assert!(refused.is_err(), "{tee}");
        }
    }

    /// What the simulated platform has to have is asked of no platform of AMD's, and what is asked of AMD's not of it.
    #[test]
    fn minima_of_firmware_are_of_one_root() {
        let root = SimulatedRoot::make(NOW);
        let policy = || Policy::insecure_trusting_simulated(root.published().clone());
        let refused = Verifier::new(policy()).needs(&snp::real(Some(snp::VCEK))).unwrap_err();
        let none = matches!(refused, AttestationError::Snp(SnpError::ProductNotAdmitted(_)));
        assert!(none, "{refused}");
        let out_of_reach = "Milan:bootloader=255,tee=255,snp=255,microcode=255";
        let verifier = Verifier::new(policy().admitting_snp(vec![out_of_reach.parse().unwrap()]));
        let (key, nothing) = (key(), Collateral::Nothing);
        let evidence = evidence(&root, Imitated::Snp, NONCE, &key);
        let enclave = verifier.verify(&evidence, &nothing, NONCE, key, NOW).unwrap();
        // So it is for the sessions that were opened.
        let state = enclave.platform();
        verifier.policy().admits_platform(enclave.kind(), state).unwrap();
        verifier.policy().admits_platform(TeeKind::Snp, state).unwrap_err();
        snp::admitting(LEAST).admits_platform(TeeKind::Simulated, state).unwrap_err();
        snp::admitting(LEAST).admits_platform(TeeKind::Snp, state).unwrap();
    }

    /// AMD's root at the end of a simulated chain is AMD's, and has not signed it.
    #[test]
    fn a_simulated_chain_under_amds_name_is_broken() {
        let root = SimulatedRoot::make(NOW);
        let mut published = root.published().clone();
        let Collateral::Snp(real) = amds_collateral() else { panic!("it is AMD's") };
        published.snp.root = real.root.clone();
        let verifier = Verifier::new(
            Policy::insecure_trusting_simulated(published)
                .admitting_snp(vec![LEAST.parse().unwrap()]),
        );
        let key = key();
        let evidence = evidence(&root, Imitated::Snp, NONCE, &key);
        let refused = verifier.verify(&evidence, &Collateral::Nothing, NONCE, key, NOW);
        let refused = refused.unwrap_err();
        let broken = matches!(
            refused,
            AttestationError::Snp(SnpError::Chain {
                part: snp::Part::Signer,
                problem: snp::ChainProblem::Issuer,
            })
        );
        assert!(broken, "{refused:?}");
    }

    /// One bit of a report, or of the certificate with it: whatever it is then, it is not what was signed.
    #[test]
    fn an_altered_report_is_refused() {
        let (root, key) = (SimulatedRoot::make(NOW), key());
        let verifier = verifier(&root);
        let Evidence::Snp(genuine) = evidence(&root, Imitated::Snp, NONCE, &key) else {
            panic!("it is SNP")
        };
        let certificate = genuine.certificate().unwrap().to_vec();
        let refused = |report: &[u8], certificate: Option<Vec<u8>>| {
            let Ok(altered) = SnpEvidence::from_report(report, certificate) else { return true };
            let altered = Evidence::Snp(Box::new(altered));
            verifier.verify(&altered, &Collateral::Nothing, NONCE, key.clone(), NOW).is_err()
        };
        assert!(!refused(genuine.report(), Some(certificate.clone())));
        for at in 0..genuine.report().len() {
            let mut report = *genuine.report();
            report[at] ^= 1 << (at % 8);
            assert!(refused(&report, Some(certificate.clone())), "byte {at} of the report");
        }
        for at in 0..certificate.len() {
            let mut other = certificate.clone();
            other[at] ^= 1 << (at % 8);
            assert!(refused(genuine.report(), Some(other)), "byte {at} of the certificate");
        }
        assert!(refused(genuine.report(), None), "without its certificate");
        assert!(refused(genuine.report(), Some(snp::VCEK.to_vec())), "with a real one");
    }

    /// Intel's root at the end of a simulated chain makes a verifier take it for Intel's, and refuse it.
    #[test]
    fn a_simulated_chain_under_intels_name_is_broken() {
        let root = SimulatedRoot::make(NOW);
        let key = key();
        let quote = root.evidence(Imitated::Tdx, &[7; 32], rcar::report_data(NONCE, &key));
        let quote: QuoteEvidence = serde_json::from_value(quote).unwrap();
        let forged = with_intels_root(&quote.bytes().unwrap());
        let evidence = Evidence::parse("tdx", &json!(QuoteEvidence::new(&forged))).unwrap();
        let verifier = verifier(&root);
        assert!(matches!(verifier.needs(&evidence), Ok(Needs::Collateral(Platform::Dcap(_)))));
        let refused = verifier.verify(&evidence, &real_collateral(), NONCE, key, NOW);
        let broken = matches!(refused, Err(AttestationError::Dcap(DcapError::BrokenChain(_))));
        assert!(broken, "{refused:?}");
    }

    /// The last certificate of the chain, which no signature covers, replaced by Intel's root.
    fn with_intels_root(quote: &[u8]) -> Vec<u8> {
        let begin = b"-----BEGIN CERTIFICATE-----";
        let last = |bytes: &[u8]| bytes.windows(begin.len()).rposition(|at| at == begin).unwrap();
        let end = REAL.iter().rposition(|byte| *byte == b'-').unwrap() + 1;
        let root = &REAL[last(REAL)..end];
        let at = last(quote);
        let mut forged = [&quote[..at], root].concat();
        let grown = i64::try_from(forged.len()).unwrap() - i64::try_from(quote.len()).unwrap();
        // Lengths, little-endian: of all that follows the report, of the certification data, of the chain in it.
        let chain = quote.windows(begin.len()).position(|window| window == begin).unwrap();
        for place in [632, 632 + 4 + 128 + 2, chain - 4] {
            let field: [u8; 4] = forged[place..place + 4].try_into().unwrap();
            let length = i64::from(u32::from_le_bytes(field)) + grown;
            forged[place..place + 4].copy_from_slice(&u32::try_from(length).unwrap().to_le_bytes());
        }
        forged
    }

    #[test]
    fn evidence_under_another_root_is_refused() {
        let (root, other, key) = (SimulatedRoot::make(NOW), SimulatedRoot::make(NOW), key());
        let verify = |tee, collateral: &Collateral| {
            let evidence = evidence(&other, tee, NONCE, &key);
            verifier(&root).verify(&evidence, collateral, NONCE, key.clone(), NOW).unwrap_err()
        };
        for tee in [Imitated::Sgx, Imitated::Tdx] {
            let refused = verify(tee, &Collateral::Nothing);
            let untrusted = matches!(refused, AttestationError::Dcap(DcapError::UntrustedRoot));
            assert!(untrusted, "{tee}: {refused:?}");
        }
        let refused = verify(Imitated::Snp, &Collateral::Nothing);
        assert!(matches!(refused, AttestationError::NoCollateral(_)), "{refused:?}");
        let own = Collateral::Snp(Arc::new(other.published().snp.clone()));
        let refused = verify(Imitated::Snp, &own);
        let unknown = matches!(refused, AttestationError::Snp(SnpError::UnknownRoot));
        assert!(unknown, "{refused:?}");
    }

    #[test]
    fn evidence_for_another_challenge_or_key_is_refused() {
        let root = SimulatedRoot::make(NOW);
        let (verifier, key) = (verifier(&root), key());
        let check = |evidence: &Evidence, key: &Jwk| match verifier.verify(
            evidence,
            &Collateral::Nothing,
            NONCE,
            key.clone(),
            NOW,
        ) {
            Err(AttestationError::WrongReportData) => {}
            other => panic!("{other:?}"),
        };
        let other = Jwk::new(*key.p256().unwrap(), sesame_protocol::jwk::ES256);
        for tee in Imitated::ALL {
            for nonce in ["", "bm9uY2", "bm9uY2V", "bm9uY2U="] {
                check(&evidence(&root, tee, nonce, &key), &key);
            }
            check(&evidence(&root, tee, NONCE, &super::key()), &key);
            check(&evidence(&root, tee, NONCE, &key), &other);
        }
    }
}
