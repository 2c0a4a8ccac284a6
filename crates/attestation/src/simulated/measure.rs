//! What the quoting process measures, and which enclave that is.

use std::{fmt, str::FromStr};

use alloy_primitives::Address;
use sesame_domain::{EnclaveId, TeeKind, enclave_id};
use sha2::{Digest, Sha256};

const TAG: &[u8] = b"sesame simulated measurement v1";

/// The technology that a quoting process imitates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Imitated {
    /// SGX: the measurement is MRENCLAVE.
    #[default]
    Sgx,
    /// TDX: the measurement fills the first 32 bytes of MRTD; all other registers are zero.
    Tdx,
}

/// A text names no technology that is imitated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither `sgx` nor `tdx`")]
pub struct UnknownTee(String);

impl fmt::Display for Imitated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sgx => "sgx",
            Self::Tdx => "tdx",
        })
    }
}

impl FromStr for Imitated {
    type Err = UnknownTee;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Sgx, Self::Tdx]
            .into_iter()
            .find(|tee| tee.to_string() == text)
            .ok_or_else(|| UnknownTee(text.to_owned()))
    }
}

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

/// The enclave id of a measurement of [`measure`].
#[must_use]
pub fn enclave_id_of(tee: Imitated, measurement: &[u8; 32]) -> EnclaveId {
    let inner = match tee {
        Imitated::Sgx => [&[TeeKind::Sgx as u8], measurement.as_slice()].concat(),
        Imitated::Tdx => [&[TeeKind::Tdx as u8], measurement.as_slice(), &[0; 352]].concat(),
    };
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
        let inner = [&[1], measurement.as_slice()].concat();
        let id = enclave_id_of(Imitated::Sgx, &measurement);
        assert_eq!(id, enclave_id(TeeKind::Simulated, &inner));
        assert_ne!(id, enclave_id(TeeKind::Sgx, &measurement));
        assert_ne!(id, enclave_id_of(Imitated::Tdx, &measurement));
    }

    #[test]
    fn only_what_is_imitated_has_a_name() {
        for tee in [Imitated::Sgx, Imitated::Tdx] {
            assert_eq!(tee.to_string().parse(), Ok(tee));
        }
        for name in ["", "SGX", "snp", "simulated"] {
            assert_eq!(name.parse::<Imitated>(), Err(UnknownTee(name.to_owned())));
        }
    }
}
