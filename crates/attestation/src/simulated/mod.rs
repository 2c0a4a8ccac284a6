//! The simulated TEE: what its quoting process measures, and when its quotes count.
//!
//! A quote is worth what its root is worth: a key in a file. Everything else is as with hardware: the quoting process
//! measures the bytes that it runs, and nothing that its host can change afterwards.

use alloy_primitives::Address;
use sesame_domain::{EnclaveId, TeeKind, enclave_id};
use sesame_protocol::{
    evidence::{SIMULATED_FORMAT, SimulatedEvidence},
    signature::SignatureError,
};
use sha2::{Digest, Sha256};

/// The kind that the quoting process imitates: SGX, with a measurement of 32 bytes.
pub const IMITATES: u8 = TeeKind::Sgx as u8;

const TAG: &[u8] = b"sesame simulated measurement v1";

/// A simulated quote does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuoteError {
    /// The document is of another format.
    #[error("the evidence is of format `{0}`, not `{SIMULATED_FORMAT}`")]
    WrongFormat(String),
    /// The quote imitates no known technology, or has a measurement that this one cannot have.
    #[error("kind {imitates} has no measurement of {length} bytes")]
    WrongShape {
        /// The kind that the quote imitates.
        imitates: u8,
        /// The length of its measurement.
        length: usize,
    },
    /// The signature is malformed.
    #[error("the quote's signature is malformed")]
    Signature(#[from] SignatureError),
    /// Another root than the trusted one signed, or what was signed was altered.
    #[error("the quote is signed by {got}, not by the trusted root {expected}")]
    WrongRoot {
        /// The root that the operator trusts.
        expected: Address,
        /// Who signed what arrived, or says so.
        got: Address,
    },
    /// The quote is about another key or another challenge.
    #[error("the quote is about other report data")]
    WrongReportData,
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
pub fn enclave_id_of(measurement: &[u8; 32]) -> EnclaveId {
    enclave_id(TeeKind::Simulated, &inner(IMITATES, measurement))
}

/// Checks a quote under the trusted root and gives the measurement that enters the enclave id: the imitated kind's byte, then
/// what that kind would measure.
///
/// # Errors
/// When anything about the quote is not as it should be.
pub fn verify_quote(
    evidence: &SimulatedEvidence,
    root: Address,
    report_data: &[u8; 64],
) -> Result<Vec<u8>, QuoteError> {
    if evidence.format != SIMULATED_FORMAT {
        return Err(QuoteError::WrongFormat(evidence.format.clone()));
    }
    let (imitates, length) = (evidence.imitates, evidence.measurement.len());
    if !matches!((imitates, length), (1, 32) | (2, 384) | (3, 80)) {
        return Err(QuoteError::WrongShape { imitates, length });
    }
    for got in [evidence.root, evidence.recover_root()?] {
        if got != root {
            return Err(QuoteError::WrongRoot { expected: root, got });
        }
    }
    if evidence.report_data != *report_data {
        return Err(QuoteError::WrongReportData);
    }
    Ok(inner(imitates, &evidence.measurement))
}

fn inner(imitates: u8, measurement: &[u8]) -> Vec<u8> {
    [&[imitates], measurement].concat()
}

#[cfg(test)]
mod tests;
