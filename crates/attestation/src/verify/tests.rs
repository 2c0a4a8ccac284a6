//! Evidence counts under the root that the operator trusts, for the key and the challenge that it was made for, or not at
//! all.

use serde_json::{Value, json};
use sesame_protocol::{evidence::SimulatedEvidence, jwe::EnclaveKey, signature::Signer};

use super::*;

const NONCE: &str = "bm9uY2U";

fn root() -> Signer {
    Signer::from_bytes(&[1; 32]).unwrap()
}

fn key() -> Jwk {
    EnclaveKey::random().public().clone()
}

/// A quote of the root for this key, as JSON.
fn quote_for(nonce: &str, key: &Jwk) -> Value {
    let report_data = rcar::report_data(nonce, key);
    serde_json::to_value(SimulatedEvidence::quote(1, &[7; 32], report_data, &root())).unwrap()
}

fn check(
    evidence: &Value,
    key: &Jwk,
    policy: &Policy,
) -> Result<VerifiedEnclave, AttestationError> {
    verify(&Evidence::parse("sample", evidence)?, NONCE, key.clone(), policy)
}

#[test]
fn only_tees_with_a_verifier_are_parsed() {
    let evidence = quote_for(NONCE, &key());
    let others = [
        "",
        "sgx",
        "tdx",
        "snp",
        "azsnpvtpm",
        "aztdxvtpm",
        "cca",
        "csv",
        "se",
        "tpm",
        "Sample",
        "sample ",
    ];
    for tee in others {
        match Evidence::parse(tee, &evidence) {
            Err(AttestationError::UnsupportedTee(name)) => assert_eq!(name, tee),
            other => panic!("{tee}: {other:?}"),
        }
    }
    assert!(Evidence::parse("sample", &evidence).is_ok());
}

#[test]
fn a_document_of_another_shape_is_malformed() {
    let evidence = quote_for(NONCE, &key());
    let with = |member: &str, value: Value| {
        let mut altered = evidence.clone();
        altered[member] = value;
        altered
    };
    let cases = [
        json!(null),
        json!("quote"),
        json!([]),
        json!({}),
        json!({"svn": "1", "report_data": ""}),
        with("format", json!(1)),
        with("imitates", json!(256)),
        with("imitates", json!("1")),
        with("measurement", json!("0x0")),
        with("measurement", json!([700])),
        with("reportData", json!(format!("0x{}", "00".repeat(63)))),
        with("root", json!("0x00")),
        with("signature", json!(format!("0x{}", "00".repeat(64)))),
        with("kind", json!("hardware")),
    ];
    for case in cases {
        let parsed = Evidence::parse("sample", &case);
        assert!(matches!(parsed, Err(AttestationError::Malformed(_))), "{case}: {parsed:?}");
    }
}

#[test]
fn a_policy_of_hardware_alone_admits_no_simulated_enclave() {
    let (key, policy) = (key(), Policy::hardware_only());
    let refused = check(&quote_for(NONCE, &key), &key, &policy);
    assert!(matches!(refused, Err(AttestationError::KindNotAdmitted)), "{refused:?}");
    assert!(!policy.admits_simulated());
    assert!(!policy.admits(TeeKind::Simulated));
    for kind in [TeeKind::Sgx, TeeKind::Tdx, TeeKind::Snp] {
        assert!(policy.admits(kind), "{kind:?}");
    }
}

#[cfg(feature = "simulated")]
mod simulated {
    use alloy_primitives::hex;

    use super::*;
    use crate::simulated::QuoteError;

    fn policy() -> Policy {
        Policy::insecure_trusting_simulated(root().address())
    }

    fn refused(evidence: &Value, key: &Jwk, policy: &Policy) -> QuoteError {
        match check(evidence, key, policy) {
            Err(AttestationError::Simulated(error)) => error,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn honest_evidence_gives_an_enclave_of_its_own_kind() {
        let key = key();
        let enclave = check(&quote_for(NONCE, &key), &key, &policy()).unwrap();
        let measured = [&[1][..], &[7; 32]].concat();
        assert_eq!(enclave.id(), sesame_domain::enclave_id(TeeKind::Simulated, &measured));
        assert_ne!(enclave.id(), sesame_domain::enclave_id(TeeKind::Sgx, &[7; 32]));
        assert_eq!((enclave.kind(), enclave.key()), (TeeKind::Simulated, &key));
        assert!(policy().admits_simulated() && policy().admits(TeeKind::Simulated));
    }

    #[test]
    fn each_imitated_kind_has_its_own_id() {
        let key = key();
        let report_data = rcar::report_data(NONCE, &key);
        let mut seen = std::collections::HashSet::new();
        for (imitates, length) in [(1, 32), (2, 384), (3, 80)] {
            let quote = SimulatedEvidence::quote(imitates, &vec![0; length], report_data, &root());
            let evidence = serde_json::to_value(quote).unwrap();
            let enclave = check(&evidence, &key, &policy()).unwrap();
            assert_eq!(enclave.kind(), TeeKind::Simulated);
            assert!(seen.insert(enclave.id()));
        }
    }

    #[test]
    fn evidence_under_another_root_is_refused() {
        let key = key();
        let other = Policy::insecure_trusting_simulated(Address::repeat_byte(9));
        let error = refused(&quote_for(NONCE, &key), &key, &other);
        let expected =
            QuoteError::WrongRoot { expected: Address::repeat_byte(9), got: root().address() };
        assert_eq!(error, expected);
    }

    #[test]
    fn evidence_for_another_challenge_is_refused() {
        let key = key();
        for nonce in ["", "bm9uY2", "bm9uY2V", "bm9uY2U="] {
            let error = refused(&quote_for(nonce, &key), &key, &policy());
            assert_eq!(error, QuoteError::WrongReportData, "{nonce}");
        }
    }

    #[test]
    fn evidence_for_another_key_is_refused() {
        let error = refused(&quote_for(NONCE, &key()), &key(), &policy());
        assert_eq!(error, QuoteError::WrongReportData);
    }

    #[test]
    fn the_same_key_for_another_algorithm_is_another_key() {
        let key = key();
        let other = Jwk::new(*key.public_key(), sesame_protocol::jwk::ES256);
        let error = refused(&quote_for(NONCE, &key), &other, &policy());
        assert_eq!(error, QuoteError::WrongReportData);
    }

    #[test]
    fn one_flipped_bit_anywhere_in_the_quote_refuses() {
        let key = key();
        let evidence = quote_for(NONCE, &key);
        for member in ["measurement", "reportData", "root", "signature"] {
            let bytes = hex::decode(evidence[member].as_str().unwrap()).unwrap();
            for bit in 0..bytes.len() * 8 {
                let mut altered = bytes.clone();
                altered[bit / 8] ^= 1 << (bit % 8);
                // The recovery id is written as 0 and 1 too: the same signature.
                if member == "signature" && matches!(altered[64], 0 | 1) {
                    continue;
                }
                let mut forged = evidence.clone();
                forged[member] = json!(hex::encode_prefixed(altered));
                assert!(check(&forged, &key, &policy()).is_err(), "{member}, bit {bit}");
            }
        }
    }

    #[test]
    fn imitating_something_else_after_signing_refuses() {
        let key = key();
        for imitates in [0, 2, 3, 4, 255] {
            let mut forged = quote_for(NONCE, &key);
            forged["imitates"] = json!(imitates);
            let error = refused(&forged, &key, &policy());
            let expected = QuoteError::WrongShape { imitates, length: 32 };
            assert_eq!(error, expected);
        }
    }
}
