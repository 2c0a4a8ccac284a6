//! Why a quote does not count.

use crate::tcb::NotAdmitted;

/// A quote does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DcapError {
    /// The bytes are no quote of a version that is understood.
    #[error("the quote is malformed: {0}")]
    Malformed(String),
    /// The quote names its platform instead of carrying its certificates.
    #[error("the quote carries certification data of type {0}, not its certificates (type 5)")]
    NoCertificates(u16),
    /// The quote's certificates are no PCK certificate and its issuers.
    #[error("the quote's certificates cannot be read")]
    UnreadableCertificates,
    /// The quote's own chain ends in another root than those that are trusted.
    #[error("the quote's certificates end in a root that this service does not trust")]
    UntrustedRoot,
    /// A signature between root and quote or collateral does not hold.
    #[error("the certificates of quote or collateral do not lead to the trusted root: {0}")]
    BrokenChain(String),
    /// A certificate on the way to the root was revoked.
    #[error("a certificate of the platform or of its issuers is revoked")]
    Revoked,
    /// A certificate, a revocation list, the TCB info or the quoting enclave's identity is past its time.
    #[error("expired: {0}")]
    Expired(String),
    /// The same, before its time.
    #[error("not valid yet: {0}")]
    NotYetValid(String),
    /// TCB info, quoting enclave's identity or a revocation list is malformed or not signed by whom it must be.
    #[error("the collateral is refused: {0}")]
    Collateral(String),
    /// The collateral is not that of this platform and TEE.
    #[error("the collateral is for another platform: {0}")]
    OtherPlatform(String),
    /// The platform's key did not sign the quoting enclave's report.
    #[error("the platform does not vouch for the quoting enclave")]
    QuotingEnclaveReport,
    /// The quoting enclave did not vouch for the attestation key.
    #[error("the quoting enclave does not vouch for the attestation key")]
    AttestationKey,
    /// The quoting enclave is not Intel's, or too old to be known.
    #[error("the quoting enclave is not the one that its identity describes: {0}")]
    QuotingEnclave(String),
    /// The attestation key did not sign the report.
    #[error("the attestation key did not sign this report")]
    Signature,
    /// No TCB level fits the platform, or its TDX module is not known.
    #[error("the platform's TCB is not known: {0}")]
    UnknownTcb(String),
    /// The platform's TCB level is revoked.
    #[error("the platform's TCB is revoked")]
    RevokedTcb,
    /// The operator does not admit the platform's TCB.
    #[error(transparent)]
    NotAdmitted(#[from] NotAdmitted),
    /// Its memory can be read from outside.
    #[error("it runs in debug mode")]
    Debug,
    /// The TD has attributes that weaken it: profiling, migration, service TDs, reserved bits.
    #[error("the TD's attributes are refused: {0}")]
    Attributes(String),
    /// A configuration that no measurement covers.
    #[error(
        "the SGX enclave has a CONFIGID or CONFIGSVN (KSS), which its MRENCLAVE does not cover"
    )]
    Configured,
    /// What the library said, where nothing above fits.
    #[error("the quote is refused: {0}")]
    Other(String),
}

impl DcapError {
    /// Names the library's refusal. That it refuses does not depend on this: what is not recognised is [`Self::Other`].
    pub(super) fn of(refusal: &str) -> Self {
        let text = || refusal.to_owned();
        let says = |words: &[&str]| words.iter().any(|words| refusal.contains(words));
        if says(&MALFORMED) {
            Self::Malformed(text())
        } else if says(&["CertRevoked"]) {
            Self::Revoked
        } else if says(&["expired", "Expired"]) {
            Self::Expired(text())
        } else if says(&["in the future", "NotValidYet"]) {
            Self::NotYetValid(text())
        } else if says(&COLLATERAL) {
            Self::Collateral(text())
        } else if says(&["Fmspc mismatch", "TCB info in the collateral", "QE Identity id/version"])
        {
            Self::OtherPlatform(text())
        } else if says(&["certificate", "Certificate chain"]) {
            Self::BrokenChain(text())
        } else if says(&["for qe_report"]) {
            Self::QuotingEnclaveReport
        } else if says(&["QE report hash"]) {
            Self::AttestationKey
        } else if says(&["QE "]) {
            Self::QuotingEnclave(text())
        } else if says(&["ISV enclave report signature"]) {
            Self::Signature
        } else if says(&["TCB status is invalid: Revoked"]) {
            Self::RevokedTcb
        } else if says(&["TCB level", "TDX module", "TEE_TCB_SVN2"]) {
            Self::UnknownTcb(text())
        } else if says(&["Debug mode"]) {
            Self::Debug
        } else if says(&["TD ", "SERVTD_EXT", "SEPT_VE_DISABLE", "MR service TD"]) {
            Self::Attributes(text())
        } else {
            Self::Other(text())
        }
    }
}

/// What the library says of quotes that it does not understand.
const MALFORMED: [&str; 6] = [
    "decode quote",
    "DCAP quote version",
    "must have version",
    "QE vendor ID",
    "attestation key type",
    "Unsupported TEE type",
];

/// What the library says of collateral that is malformed or not signed by whom it must be.
const COLLATERAL: [&str; 9] = [
    "for tcb_info",
    "for qe_identity",
    "decode TcbInfo",
    "decode QeIdentity",
    " CRL",
    "CrlSignature",
    "UnknownRevocationStatus",
    "for TCB Info",
    "signer must be",
];

#[cfg(test)]
mod tests {
    use super::*;

    /// A library that words its refusals anew still refuses.
    #[test]
    fn a_refusal_that_is_not_recognised_is_passed_on() {
        let words = "something that nobody has said before";
        assert_eq!(DcapError::of(words), DcapError::Other(words.to_owned()));
    }
}
