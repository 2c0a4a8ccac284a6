//! Evidence as it arrives, unverified.

use serde::Deserialize;
use serde_json::Value;
use sesame_domain::TeeKind;
use sesame_protocol::evidence::QuoteEvidence;

use crate::{dcap::DcapQuote, snp::SnpEvidence, verify::AttestationError};

/// What an attester sent, parsed and not yet verified.
#[derive(Debug, Clone)]
pub enum Evidence {
    /// A quote of SGX or TDX; the protocol's tees `sgx` and `tdx`.
    Dcap(Box<DcapQuote>),
    /// A report of SEV-SNP; the protocol's tee `snp`.
    Snp(Box<SnpEvidence>),
}

impl Evidence {
    /// Reads the evidence of the attester's `tee` (its name in the protocol).
    ///
    /// # Errors
    /// When no verifier for that TEE is built in, or the document is malformed or of another TEE.
    pub fn parse(tee: &str, evidence: &Value) -> Result<Self, AttestationError> {
        match tee {
            "sgx" => dcap(evidence, TeeKind::Sgx),
            "tdx" => dcap(evidence, TeeKind::Tdx),
            "snp" => Ok(Self::Snp(Box::new(SnpEvidence::parse(evidence)?))),
            other => Err(AttestationError::UnsupportedTee(other.to_owned())),
        }
    }
}

fn dcap(evidence: &Value, tee: TeeKind) -> Result<Evidence, AttestationError> {
    let document = QuoteEvidence::deserialize(evidence).map_err(AttestationError::Malformed)?;
    let quote = DcapQuote::parse(document.bytes().map_err(|_| AttestationError::NotBase64)?)?;
    if quote.tee() != tee {
        return Err(AttestationError::WrongTee);
    }
    Ok(Evidence::Dcap(Box::new(quote)))
}
