//! The one constructor of [`VerifiedEnclave`].

use alloy_primitives::Address;
use sesame_domain::{EnclaveId, TeeKind};
use sesame_protocol::{jwk::Jwk, rcar};

use crate::evidence::Evidence;

/// Evidence does not count.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttestationError {
    /// No verifier for this TEE is built in.
    #[error("evidence of a TEE `{0}` cannot be verified by this program")]
    UnsupportedTee(String),
    /// The document is not evidence of its kind.
    #[error("the evidence is malformed")]
    Malformed(#[source] serde_json::Error),
    /// The operator admits no enclaves of this kind.
    #[error("the operator does not admit enclaves of a simulated TEE")]
    KindNotAdmitted,
    /// The quote of a simulated TEE does not count.
    #[cfg(feature = "simulated")]
    #[error(transparent)]
    Simulated(#[from] crate::simulated::QuoteError),
}

/// Which enclaves the operator admits at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    simulated_root: Option<Address>,
}

impl Policy {
    /// Enclaves of real hardware alone.
    #[must_use]
    pub const fn hardware_only() -> Self {
        Self { simulated_root: None }
    }

    /// Also enclaves of the simulated TEE whose root key has this address. **Insecure:** whoever holds that key is any
    /// enclave it likes.
    #[cfg(feature = "simulated")]
    #[must_use]
    pub const fn insecure_trusting_simulated(root: Address) -> Self {
        Self { simulated_root: Some(root) }
    }

    /// Whether simulated enclaves are admitted.
    #[must_use]
    pub const fn admits_simulated(&self) -> bool {
        self.simulated_root.is_some()
    }

    /// Whether enclaves of this kind are admitted.
    #[must_use]
    pub const fn admits(&self, kind: TeeKind) -> bool {
        match kind {
            TeeKind::Simulated => self.admits_simulated(),
            TeeKind::Sgx | TeeKind::Tdx | TeeKind::Snp => true,
        }
    }
}

/// An enclave whose evidence was checked, with the key that only it holds. Made by [`verify`], or from a token that was
/// issued for one.
#[derive(Debug, Clone)]
pub struct VerifiedEnclave {
    id: EnclaveId,
    kind: TeeKind,
    key: Jwk,
}

impl VerifiedEnclave {
    /// The enclave.
    #[must_use]
    pub const fn id(&self) -> EnclaveId {
        self.id
    }

    /// Its technology, by its root of trust.
    #[must_use]
    pub const fn kind(&self) -> TeeKind {
        self.kind
    }

    /// The key that was attested: answers are encrypted to it.
    #[must_use]
    pub const fn key(&self) -> &Jwk {
        &self.key
    }

    /// Only for a token that this crate signed.
    pub(crate) const fn from_token(id: EnclaveId, kind: TeeKind, key: Jwk) -> Self {
        Self { id, kind, key }
    }
}

/// Verifies that evidence is genuine, admitted, and about `key` and `nonce`.
///
/// # Errors
/// When it is not; the error says which check failed.
pub fn verify(
    evidence: &Evidence,
    nonce: &str,
    key: Jwk,
    policy: &Policy,
) -> Result<VerifiedEnclave, AttestationError> {
    let report_data = rcar::report_data(nonce, &key);
    let (kind, measurement) = match evidence {
        Evidence::Simulated(quote) => {
            let root = policy.simulated_root.ok_or(AttestationError::KindNotAdmitted)?;
            (TeeKind::Simulated, verify_simulated(quote, root, &report_data)?)
        }
    };
    Ok(VerifiedEnclave { id: sesame_domain::enclave_id(kind, &measurement), kind, key })
}

#[cfg(feature = "simulated")]
fn verify_simulated(
    quote: &sesame_protocol::evidence::SimulatedEvidence,
    root: Address,
    report_data: &[u8; 64],
) -> Result<Vec<u8>, AttestationError> {
    Ok(crate::simulated::verify_quote(quote, root, report_data)?)
}

#[cfg(not(feature = "simulated"))]
const fn verify_simulated(
    _: &sesame_protocol::evidence::SimulatedEvidence,
    _: Address,
    _: &[u8; 64],
) -> Result<Vec<u8>, AttestationError> {
    Err(AttestationError::KindNotAdmitted)
}

#[cfg(test)]
mod tests;
