//! What an enclave is, as far as a whitelist is concerned.

use std::{fmt, str::FromStr};

use alloy_primitives::{B256, U256, keccak256};

use crate::EnclaveId;

/// The technology behind an enclave, decided by the root of trust that vouches for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum TeeKind {
    /// Intel SGX; the measurement is MRENCLAVE, 32 bytes.
    Sgx = 1,
    /// Intel TDX; MRTD, MRCONFIGID, MROWNER, MROWNERCONFIG and RTMR0 to RTMR3, 384 bytes.
    Tdx = 2,
    /// AMD SEV-SNP; MEASUREMENT and HOST_DATA, 80 bytes.
    Snp = 3,
    /// Anything under a root that is not the vendor's: the kind that it imitates, then the measurement.
    Simulated = 255,
}

/// The kind that a simulated enclave imitates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Imitated {
    /// Intel SGX.
    #[default]
    Sgx,
    /// Intel TDX.
    Tdx,
    /// AMD SEV-SNP.
    Snp,
}

impl Imitated {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Sgx, Self::Tdx, Self::Snp];
}

/// A text names no kind that is imitated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is none of `sgx`, `tdx` and `snp`")]
pub struct UnknownTee(pub String);

impl From<Imitated> for TeeKind {
    fn from(imitated: Imitated) -> Self {
        match imitated {
            Imitated::Sgx => Self::Sgx,
            Imitated::Tdx => Self::Tdx,
            Imitated::Snp => Self::Snp,
        }
    }
}

impl fmt::Display for Imitated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sgx => "sgx",
            Self::Tdx => "tdx",
            Self::Snp => "snp",
        })
    }
}

impl FromStr for Imitated {
    type Err = UnknownTee;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|imitated| imitated.to_string() == text);
        found.ok_or_else(|| UnknownTee(text.to_owned()))
    }
}

/// `keccak256(abi.encode(uint8 teeKind, bytes measurement))`.
#[must_use]
pub fn enclave_id(kind: TeeKind, measurement: &[u8]) -> EnclaveId {
    let word = |n: usize| B256::from(U256::from(n));
    let mut preimage = Vec::with_capacity(96 + measurement.len().next_multiple_of(32));
    preimage.extend_from_slice(word(kind as usize).as_slice());
    preimage.extend_from_slice(word(64).as_slice());
    preimage.extend_from_slice(word(measurement.len()).as_slice());
    preimage.extend_from_slice(measurement);
    preimage.resize(96 + measurement.len().next_multiple_of(32), 0);
    EnclaveId(keccak256(preimage))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that start with the kind and grow by seven, as the expected ids were computed with `cast abi-encode` and `keccak`.
    fn measurement(kind: TeeKind, length: usize) -> Vec<u8> {
        (0..length).map(|at| u8::try_from((at * 7 + kind as usize) % 256).unwrap()).collect()
    }

    fn check(kind: TeeKind, length: usize, expected: &str) {
        let id = enclave_id(kind, &measurement(kind, length));
        assert_eq!(id.to_string(), expected, "{kind:?}, {length} bytes");
    }

    #[test]
    fn ids_are_those_that_solidity_would_compute() {
        use TeeKind::{Sgx, Simulated, Snp, Tdx};

        check(Sgx, 0, "0xd0d56fb725de6864c5219d41e7cdd2557301a353abf350f06d887582614feb61");
        check(Sgx, 32, "0x5118227f5e266b87f1a0a236263ac58e6c27b24ea809f6ad7c78a4d30c44cee2");
        check(Sgx, 33, "0xac84d4eded1eb3cef67c4ff9302c65bb11ed39aaffd1ee958471c5ae14d29fd7");
        check(Tdx, 384, "0x8816734dccbdbc9a072986ee4cdfa5a6444685659964475c770b4aa423592cad");
        check(Snp, 80, "0x14f60cfe6e08b091b6552dfc65b51f4ef88f7200f2365a5d312b146fdf50e1b6");
        check(Simulated, 33, "0xa64aa44c04b55aedcb76a2525bc0a559ed72ef33ff5505ac9a6f4abe54b7af7c");
    }

    #[test]
    fn only_what_is_imitated_has_a_name() {
        for imitated in Imitated::ALL {
            assert_eq!(imitated.to_string().parse(), Ok(imitated));
        }
        for name in ["", "SGX", "sgx ", "sev-snp", "simulated", "1"] {
            assert_eq!(name.parse::<Imitated>(), Err(UnknownTee(name.to_owned())));
        }
    }

    #[test]
    fn kind_length_and_every_bit_tell_enclaves_apart() {
        let base = measurement(TeeKind::Sgx, 32);
        let mut seen = std::collections::HashSet::new();
        for kind in [TeeKind::Sgx, TeeKind::Tdx, TeeKind::Snp, TeeKind::Simulated] {
            assert!(seen.insert(enclave_id(kind, &base)), "{kind:?}");
        }
        for padded in 33..=64 {
            let mut longer = base.clone();
            longer.resize(padded, 0);
            assert!(seen.insert(enclave_id(TeeKind::Sgx, &longer)), "padded to {padded}");
        }
        for bit in 0..256 {
            let mut altered = base.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert!(seen.insert(enclave_id(TeeKind::Sgx, &altered)), "bit {bit}");
        }
    }
}
