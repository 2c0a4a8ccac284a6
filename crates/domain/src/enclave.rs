//! What an enclave is, as far as a whitelist is concerned.

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
