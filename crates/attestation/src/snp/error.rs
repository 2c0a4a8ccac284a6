//! Why evidence of SEV-SNP does not count.

use x509_cert::der::{self, oid::ObjectIdentifier};

use super::{
    evidence::SigningKey,
    product::{Product, Tcb},
};

/// SNP evidence does not count.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnpError {
    /// The document is not what an SNP attester produces.
    #[error("the evidence is not of the form of an SNP attester")]
    Document(#[source] serde_json::Error),
    /// The report is no attestation report, or one that crate `sev` cannot read.
    #[error("the attestation report cannot be read")]
    Report(#[source] std::io::Error),
    /// Bytes or bits that must be zero are not, so they mean something that this program does not know.
    #[error("reserved parts of the report's {0} are set")]
    Reserved(&'static str),
    /// The report is of a version whose meaning this program does not know.
    #[error("reports of version {0} are not known; 2 to 5 are")]
    Version(u32),
    /// The report is signed by another algorithm than ECDSA P-384 with SHA-384.
    #[error("the report's signature algorithm is {0}, not 1 (ECDSA P-384 with SHA-384)")]
    SignatureAlgorithm(u32),
    /// The report is not signed, or by a kind of key that this program does not know.
    #[error("the report says that key {0} signs it; 0 (VCEK) and 1 (VLEK) are known")]
    NoSigningKey(u32),
    /// The platform hides its key: such reports carry no signature.
    #[error("the platform masks its key, so its reports are not signed")]
    KeyMasked,
    /// The processor's product cannot be told from the report, so neither which root should vouch for it.
    #[error(
        "the processor's product is not known; a report of version 2 needs its certificate with it"
    )]
    UnknownProduct,
    /// The certificate of the key that signs the report is missing.
    #[error(
        "the certificate of the report's {0} came neither with the evidence nor with the collateral"
    )]
    NoCertificate(SigningKey),
    /// Two certificates for one key.
    #[error("the evidence holds more than one {0} certificate")]
    TwoCertificates(SigningKey),
    /// The chain of certificates is not one that AMD's key distribution service would serve.
    #[error("the certificate chain is not two certificates in PEM, the signer's and the root's")]
    ChainForm,
    /// The root is not trusted.
    #[error("the chain's root (ARK) is none that this service trusts")]
    UnknownRoot,
    /// A part of the certificate chain does not count.
    #[error("the certificate chain's {part} does not count")]
    Chain {
        /// Which part.
        part: Part,
        /// Why not.
        #[source]
        problem: ChainProblem,
    },
    /// The report, or the certificate of its key, is of another product than the root.
    #[error("the evidence is of a {evidence} processor, the root vouches for {root}")]
    WrongProduct {
        /// The report's, or its certificate's.
        evidence: Product,
        /// The root's.
        root: Product,
    },
    /// The report's signature is not that of the certified key, or what was signed was altered.
    #[error("the report's signature is wrong")]
    Signature,
    /// The report is of another chip than the certificate.
    #[error("the report's chip is not the one that its certificate names")]
    WrongChip,
    /// The report tells another firmware version than the certificate of the key that was derived from it.
    #[error("the report tells firmware ({report}), its certificate ({certificate})")]
    TcbMismatch {
        /// The report's.
        report: Tcb,
        /// The certificate's.
        certificate: Tcb,
    },
    /// The operator admits no enclaves on this product.
    #[error("the operator has stated no minimum firmware for {0}, so none is admitted")]
    ProductNotAdmitted(Product),
    /// Firmware that the operator deems too old.
    #[error("the {which} firmware ({got}) is older than the operator's minimum ({minimum})")]
    TcbTooLow {
        /// Which of the report's versions.
        which: TcbField,
        /// What the report tells.
        got: Tcb,
        /// What the operator asks for.
        minimum: Tcb,
    },
    /// The host may read and write the guest's memory.
    #[error("the guest may be debugged by its host")]
    Debug,
    /// The guest may be moved by a migration agent, which the operator does not allow.
    #[error("the guest may be migrated by an agent, which the operator does not allow")]
    MigrationAgent,
    /// Asked for by software with fewer rights than the guest's most trusted part.
    #[error("the report was asked for at VMPL {0}, not 0")]
    Vmpl(u32),
    /// The report says that it has no author key, and has one.
    #[error("the report has the digest of an author key that it says is not there")]
    AuthorKey,
    /// The report is about another key or another challenge.
    #[error("the report is about other report data")]
    WrongReportData,
}

/// A part of a certificate chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// AMD's root key (ARK).
    Root,
    /// The key between root and platform: ASK for VCEKs, ASVK for VLEKs.
    Signer,
    /// The key that signs reports: VCEK or VLEK.
    Endorsement,
    /// The root's list of revoked certificates.
    RevocationList,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Root => "root (ARK)",
            Self::Signer => "signer (ASK or ASVK)",
            Self::Endorsement => "endorsement key (VCEK or VLEK)",
            Self::RevocationList => "revocation list",
        })
    }
}

/// Why a part of a certificate chain does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainProblem {
    /// It is not DER of its kind.
    #[error("it is malformed")]
    Malformed(#[from] der::Error),
    /// Its signature is not its issuer's.
    #[error("its signature is not its issuer's")]
    Signature,
    /// It says that somebody else issued it.
    #[error("it names another issuer")]
    Issuer,
    /// It is somebody else's, by its own name.
    #[error("it is named `{0}`")]
    Name(String),
    /// Its time has not begun.
    #[error("it holds only from {0} (seconds since 1970)")]
    NotYetValid(u64),
    /// Its time is over.
    #[error("it held until {0} (seconds since 1970)")]
    Expired(u64),
    /// A list that does not say when the next one is due can be as old as it likes.
    #[error("it does not say until when it holds")]
    NoExpiry,
    /// The root has revoked it.
    #[error("it is revoked")]
    Revoked,
    /// It asks to be refused by whoever does not know this extension.
    #[error("it has the critical extension {0}, which is not known here")]
    Critical(ObjectIdentifier),
    /// It may not sign certificates.
    #[error("it may not sign certificates")]
    NotAnAuthority,
    /// Its key is of another kind than it should be.
    #[error("its key is not of the kind that AMD certifies")]
    Key,
    /// What AMD writes into its certificates is missing, twice there, or unreadable.
    #[error("its extension {0} is missing or malformed")]
    Extension(ObjectIdentifier),
}

/// One of the firmware versions that a report tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TcbField {
    /// What runs now.
    Current,
    /// What the signing key was derived from.
    Reported,
    /// What the platform cannot be rolled back below.
    Committed,
    /// What ran when the guest was launched or imported.
    Launch,
    /// The oldest of all, part by part.
    Lowest,
}

impl std::fmt::Display for TcbField {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Current => "current",
            Self::Reported => "reported",
            Self::Committed => "committed",
            Self::Launch => "launch",
            Self::Lowest => "lowest",
        })
    }
}
