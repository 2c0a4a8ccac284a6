//! Evidence as it arrives, unverified.

use serde::Deserialize;
use serde_json::Value;
use sesame_protocol::evidence::SimulatedEvidence;

use crate::verify::AttestationError;

/// What an attester sent, parsed and not yet verified.
#[derive(Debug, Clone)]
pub enum Evidence {
    /// A quote of the simulated TEE; the protocol's tee `sample`.
    Simulated(SimulatedEvidence),
}

impl Evidence {
    /// Reads the evidence of the attester's `tee` (its name in the protocol).
    ///
    /// # Errors
    /// When no verifier for that TEE is built in, or the document is malformed.
    pub fn parse(tee: &str, evidence: &Value) -> Result<Self, AttestationError> {
        match tee {
            "sample" => SimulatedEvidence::deserialize(evidence)
                .map(Self::Simulated)
                .map_err(AttestationError::Malformed),
            other => Err(AttestationError::UnsupportedTee(other.to_owned())),
        }
    }
}
