//! What the quoting process measures, and which enclave that is.

use alloy_primitives::Address;
use sesame_domain::{EnclaveId, Imitated, TeeKind, enclave_id};
use sha2::{Digest, Sha256};

const TAG: &[u8] = b"sesame simulated measurement v1";

/// What the quoting process measures: the launcher's and the app's bytes, and the SMS that the launcher is told to trust.
///
/// SHA-256 over a tag and, for each part, its length (8 bytes, big-endian) and its SHA-256; the SMS is its 20 bytes.
#[must_use]
pub fn measure(launcher: &[u8], app: &[u8], sms: Address) -> [u8; 32] {
    let mut measurement = Sha256::new_with_prefix(TAG);
    for part in [launcher, app, sms.as_slice()] {
        measurement.update((part.len() as u64).to_be_bytes());
        measurement.update(Sha256::digest(part));
    }
    measurement.finalize().into()
}

/// The enclave id of a measurement of [`measure`]: MRENCLAVE of SGX, the first 32 bytes of TDX's MRTD or of SEV-SNP's MEASUREMENT.
/// All other registers, and HOST_DATA, are zero.
#[must_use]
pub fn enclave_id_of(tee: Imitated, measurement: &[u8; 32]) -> EnclaveId {
    let length = match tee {
        Imitated::Sgx => 32,
        Imitated::Tdx => 384,
        Imitated::Snp => 80,
    };
    let mut inner = [&[TeeKind::from(tee) as u8], measurement.as_slice()].concat();
    inner.resize(1 + length, 0);
    enclave_id(TeeKind::Simulated, &inner)
}

#[cfg(test)]
mod tests {
    use alloy_primitives::hex;

    use super::*;

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
        for (tee, kind, zeros) in [
            (Imitated::Sgx, TeeKind::Sgx, 0),
            (Imitated::Tdx, TeeKind::Tdx, 384 - 32),
            (Imitated::Snp, TeeKind::Snp, 80 - 32),
        ] {
            let measured = [measurement.as_slice(), &vec![0; zeros]].concat();
            let inner = [&[kind as u8], measured.as_slice()].concat();
            let id = enclave_id_of(tee, &measurement);
            assert_eq!(id, enclave_id(TeeKind::Simulated, &inner), "{tee}");
            assert_ne!(id, enclave_id(kind, &measured), "{tee}");
        }
    }
}
