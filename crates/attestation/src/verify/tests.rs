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

    fn verifier(root: &SimulatedRoot) -> Verifier {
        Verifier::new(Policy::insecure_trusting_simulated(root.published().clone()))
    }

    fn evidence(root: &SimulatedRoot, tee: Imitated, nonce: &str, key: &Jwk) -> Evidence {
        let quote = root.evidence(tee, &[7; 32], rcar::report_data(nonce, key));
        Evidence::parse(&tee.to_string(), &json!(quote)).unwrap()
    }

    #[test]
    fn honest_evidence_gives_an_enclave_of_its_own_kind() {
        let root = SimulatedRoot::make(NOW);
        let verifier = verifier(&root);
        for tee in [Imitated::Sgx, Imitated::Tdx] {
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
        let measured =
            [(Imitated::Sgx, vec![7; 32]), (Imitated::Tdx, [&[7; 32][..], &[0; 352]].concat())];
        for (tee, measurement) in measured {
            let evidence = evidence(&root, tee, NONCE, &key);
            // Even with real collateral at hand, and whatever the attester announces.
            for collateral in [Collateral::Nothing, real_collateral()] {
                let enclave =
                    verifier(&root).verify(&evidence, &collateral, NONCE, key.clone(), NOW);
                let enclave = enclave.unwrap();
                assert_eq!(enclave.kind(), TeeKind::Simulated);
                for kind in [TeeKind::Sgx, TeeKind::Tdx, TeeKind::Snp] {
                    assert_ne!(enclave.id(), sesame_domain::enclave_id(kind, &measurement));
                }
            }
            let hardware = Verifier::new(Policy::hardware_only());
            let refused = hardware.verify(&evidence, &real_collateral(), NONCE, key.clone(), NOW);
            let untrusted =
                matches!(refused, Err(AttestationError::Dcap(DcapError::UntrustedRoot)));
            assert!(untrusted, "{refused:?}");
            let quote = json!(root.evidence(tee, &[7; 32], rcar::report_data(NONCE, &key)));
            assert!(Evidence::parse("snp", &quote).is_err());
            let other = if tee == Imitated::Sgx { "tdx" } else { "sgx" };
            assert!(matches!(Evidence::parse(other, &quote), Err(AttestationError::WrongTee)));
        }
    }

    /// Intel's root at the end of a simulated chain makes a verifier take it for Intel's, and refuse it.
    #[test]
    fn a_simulated_chain_under_intels_name_is_broken() {
        let root = SimulatedRoot::make(NOW);
        let key = key();
        let quote = root.evidence(Imitated::Tdx, &[7; 32], rcar::report_data(NONCE, &key));
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
        let evidence = evidence(&other, Imitated::Sgx, NONCE, &key);
        let refused = verifier(&root).verify(&evidence, &Collateral::Nothing, NONCE, key, NOW);
        let untrusted = matches!(refused, Err(AttestationError::Dcap(DcapError::UntrustedRoot)));
        assert!(untrusted, "{refused:?}");
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
        for nonce in ["", "bm9uY2", "bm9uY2V", "bm9uY2U="] {
            check(&evidence(&root, Imitated::Sgx, nonce, &key), &key);
        }
        check(&evidence(&root, Imitated::Sgx, NONCE, &super::key()), &key);
        let other = Jwk::new(*key.p256().unwrap(), sesame_protocol::jwk::ES256);
        check(&evidence(&root, Imitated::Sgx, NONCE, &key), &other);
    }
}
