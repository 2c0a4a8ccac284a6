//! Measurements tell every byte apart, and only one quote of many counts.

use alloy_primitives::{Bytes, hex};
use sesame_protocol::signature::Signer;

use super::*;

const REPORT_DATA: [u8; 64] = [5; 64];

fn root() -> Signer {
    Signer::from_bytes(&[1; 32]).unwrap()
}

fn quote() -> SimulatedEvidence {
    SimulatedEvidence::quote(
        IMITATES,
        &measure(b"launcher", b"app", Address::ZERO),
        REPORT_DATA,
        &root(),
    )
}

fn check(evidence: &SimulatedEvidence) -> Result<Vec<u8>, QuoteError> {
    verify_quote(evidence, root().address(), &REPORT_DATA)
}

#[test]
fn one_bit_of_any_part_changes_the_measurement() {
    let parts = (b"launcher".to_vec(), b"app".to_vec(), Address::repeat_byte(7));
    let base = measure(&parts.0, &parts.1, parts.2);
    let mut seen = std::collections::BTreeSet::from([base]);
    for bit in 0..8 * 8 {
        let mut launcher = parts.0.clone();
        launcher[bit / 8] ^= 1 << (bit % 8);
        assert!(seen.insert(measure(&launcher, &parts.1, parts.2)), "launcher, bit {bit}");
    }
    for bit in 0..3 * 8 {
        let mut app = parts.1.clone();
        app[bit / 8] ^= 1 << (bit % 8);
        assert!(seen.insert(measure(&parts.0, &app, parts.2)), "app, bit {bit}");
    }
    for bit in 0..20 * 8 {
        let mut sms = parts.2;
        sms.0[bit / 8] ^= 1 << (bit % 8);
        assert!(seen.insert(measure(&parts.0, &parts.1, sms)), "SMS, bit {bit}");
    }
}

#[test]
fn parts_neither_swap_nor_flow_into_each_other() {
    let sms = Address::ZERO;
    assert_ne!(measure(b"ab", b"c", sms), measure(b"a", b"bc", sms));
    assert_ne!(measure(b"a", b"b", sms), measure(b"b", b"a", sms));
    assert_ne!(measure(b"", b"a", sms), measure(b"a", b"", sms));
}

#[test]
fn the_measurement_and_the_id_are_these() {
    let measurement = measure(b"launcher", b"app", Address::repeat_byte(0x11));
    let by_hand = Sha256::digest(
        [
            TAG,
            &hex!("0000000000000008"),
            &Sha256::digest("launcher"),
            &hex!("0000000000000003"),
            &Sha256::digest("app"),
            &hex!("0000000000000014"),
            &Sha256::digest([0x11; 20]),
        ]
        .concat(),
    );
    assert_eq!(measurement, *by_hand);
    let inner = [&[1], measurement.as_slice()].concat();
    assert_eq!(enclave_id_of(&measurement), enclave_id(TeeKind::Simulated, &inner));
    assert_ne!(enclave_id_of(&measurement), enclave_id(TeeKind::Sgx, &measurement));
}

#[test]
fn an_honest_quote_counts() {
    let measurement = measure(b"launcher", b"app", Address::ZERO);
    assert_eq!(check(&quote()), Ok([&[1], measurement.as_slice()].concat()));
}

#[test]
fn other_report_data_is_refused() {
    for bit in 0..64 * 8 {
        let mut other = REPORT_DATA;
        other[bit / 8] ^= 1 << (bit % 8);
        let refused = verify_quote(&quote(), root().address(), &other);
        assert_eq!(refused, Err(QuoteError::WrongReportData), "bit {bit}");
    }
    // The host cannot write the report data that the verifier waits for into somebody else's quote.
    let mut replayed = SimulatedEvidence::quote(IMITATES, &[0; 32], [6; 64], &root());
    replayed.report_data = REPORT_DATA.into();
    assert!(matches!(check(&replayed), Err(QuoteError::WrongRoot { .. })));
}

#[test]
fn another_root_is_refused_whatever_it_says() {
    let other = Signer::from_bytes(&[2; 32]).unwrap();
    let mut forged = SimulatedEvidence::quote(IMITATES, &[0; 32], REPORT_DATA, &other);
    assert!(matches!(check(&forged), Err(QuoteError::WrongRoot { .. })));
    forged.root = root().address();
    assert!(matches!(check(&forged), Err(QuoteError::WrongRoot { .. })));
    let mut renamed = quote();
    renamed.root = other.address();
    assert!(matches!(check(&renamed), Err(QuoteError::WrongRoot { .. })));
}

#[test]
fn an_altered_measurement_is_refused() {
    let mut altered = quote();
    altered.measurement = Bytes::copy_from_slice(&[0; 32]);
    assert!(matches!(check(&altered), Err(QuoteError::WrongRoot { .. })));
}

#[test]
fn other_formats_and_shapes_are_refused() {
    let mut other = quote();
    other.format = "sesame-simulated/2".to_owned();
    assert!(matches!(check(&other), Err(QuoteError::WrongFormat(_))));
    for (imitates, length) in
        [(0, 32), (1, 31), (1, 33), (2, 32), (3, 32), (4, 32), (255, 32), (1, 0)]
    {
        let odd = SimulatedEvidence::quote(imitates, &vec![0; length], REPORT_DATA, &root());
        assert_eq!(check(&odd), Err(QuoteError::WrongShape { imitates, length }));
    }
}

#[test]
fn a_malformed_signature_is_refused() {
    let mut odd = quote();
    odd.signature[64] = 9;
    assert!(matches!(check(&odd), Err(QuoteError::Signature(_))));
}
