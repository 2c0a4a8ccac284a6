//! Evidence as the SNP attester of Confidential Containers produces it, unverified.
//!
//! The document is that of crate `attester` in `confidential-containers/guest-components`
//! (`attestation-agent/attester/src/snp/mod.rs`, read in August 2026), and of its counterpart in `trustee`
//! (`deps/verifier/src/snp/mod.rs`): an object of `attestation_report`, which is crate `sev`'s `AttestationReport` as
//! serde writes it, and `cert_chain`, its certificate table or null. Crate `sev` writes the same document in version 6.3,
//! which the attester links, and in version 8, which is linked here.
//!
//! So the report arrives as fields, not as the bytes that were signed. It is written back into bytes, and only what is
//! read from *those* is ever used: a field that is no part of the bytes can say what it likes.
//!
//! Crate `sev` tells the form of firmware versions by the CPUID in a report, and before version 3 by the form of CHIP_ID.
//! So it cannot read a report of version 2 whose chip is masked, and such ones are refused.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sev::{
    firmware::{
        guest::AttestationReport,
        host::{CertTableEntry, CertType},
    },
    parser::ByteParser,
};

use super::{
    certificate::Certificate,
    endorsement,
    error::{Part, SnpError},
    product::{Product, Tcb},
};

/// The length of a report (AMD 56860, section 7.3), in bytes.
pub const REPORT_LENGTH: usize = 1184;

/// The first byte of a report's signature; what is signed ends before it.
pub(crate) const SIGNED_LENGTH: usize = 0x2A0;

/// A number of R or S in a signature: little-endian, with room to spare.
const SCALAR_LENGTH: usize = 72;

/// The kind of key that signs a report (SIGNING_KEY in its KEY_INFO).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SigningKey {
    /// Versioned Chip Endorsement Key: derived from a secret of the chip and the firmware's versions. AMD's key distribution
    /// service gives its certificate to whoever names both.
    Vcek,
    /// Versioned Loaded Endorsement Key: given by AMD to a provider, who loads it into its machines. Its certificate
    /// comes with the evidence: AMD's service gives it to the provider alone.
    Vlek,
}

impl std::fmt::Display for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Vcek => "VCEK",
            Self::Vlek => "VLEK",
        })
    }
}

/// The document of an attester.
#[derive(Serialize, Deserialize)]
struct Document {
    attestation_report: AttestationReport,
    cert_chain: Option<Vec<CertTableEntry>>,
}

/// What an SNP attester sent: a report and perhaps certificates, parsed and not verified.
#[derive(Debug, Clone)]
pub struct SnpEvidence {
    bytes: [u8; REPORT_LENGTH],
    report: AttestationReport,
    signing_key: SigningKey,
    certificate: Option<Vec<u8>>,
}

impl SnpEvidence {
    /// Reads an attester's document.
    ///
    /// # Errors
    /// When it is not of that form, or its report is of a kind that this program does not know.
    pub fn parse(document: &Value) -> Result<Self, SnpError> {
        let Document { attestation_report, cert_chain } =
            Document::deserialize(document).map_err(SnpError::Document)?;
        let bytes = attestation_report.to_bytes().map_err(SnpError::Report)?;
        Self::new(&bytes, cert_chain.unwrap_or_default())
    }

    /// Reads a report as the firmware gave it, with a certificate of the key that signed it if the host had one: what Linux
    /// gives as `outblob` (`configfs-tsm`).
    ///
    /// # Errors
    /// When it is no report, or one of a kind that this program does not know.
    pub fn from_report(report: &[u8], certificate: Option<Vec<u8>>) -> Result<Self, SnpError> {
        let mut evidence = Self::new(report, Vec::new())?;
        evidence.certificate = certificate;
        Ok(evidence)
    }

    fn new(bytes: &[u8], table: Vec<CertTableEntry>) -> Result<Self, SnpError> {
        let report = AttestationReport::from_bytes(bytes).map_err(SnpError::Report)?;
        if !(2..=5).contains(&report.version) {
            return Err(SnpError::Version(report.version));
        }
        let written = report.to_bytes().map_err(SnpError::Report)?;
        if written != bytes {
            return Err(SnpError::Reserved("fields"));
        }
        let signing_key = match report.key_info.signing_key() {
            0 => SigningKey::Vcek,
            1 => SigningKey::Vlek,
            other => return Err(SnpError::NoSigningKey(other)),
        };
        let certificate = only_certificate(table, signing_key)?;
        Ok(Self { bytes: written, report, signing_key, certificate })
    }

    /// The document that an attester would send for it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let kind = match self.signing_key {
            SigningKey::Vcek => CertType::VCEK,
            SigningKey::Vlek => CertType::VLEK,
        };
        let entry = |certificate: &Vec<u8>| vec![CertTableEntry::new(kind, certificate.clone())];
        let document = Document {
            attestation_report: self.report,
            cert_chain: self.certificate.as_ref().map(entry),
        };
        // Numbers and lists of them always have a form in JSON.
        serde_json::to_value(document).unwrap_or_default()
    }

    /// The report, as it was signed.
    #[must_use]
    pub const fn report(&self) -> &[u8; REPORT_LENGTH] {
        &self.bytes
    }

    /// The kind of key that the report says signed it.
    #[must_use]
    pub const fn signing_key(&self) -> SigningKey {
        self.signing_key
    }

    /// The certificate of that key, in DER, if it came with the report.
    #[must_use]
    pub fn certificate(&self) -> Option<&[u8]> {
        self.certificate.as_deref()
    }

    /// The chip that the report names; zeros if the platform masks it.
    #[must_use]
    pub const fn chip_id(&self) -> &[u8; 64] {
        &self.report.chip_id
    }

    /// The firmware that the report says its key was derived from.
    #[must_use]
    pub fn reported_tcb(&self) -> Tcb {
        self.report.reported_tcb.into()
    }

    /// The product to fetch collateral for. Reports before version 3 do not tell it, so their certificate is asked.
    ///
    /// # Errors
    /// When neither tells a known product.
    pub fn product(&self) -> Result<Product, SnpError> {
        if let Some(product) = self.processor()? {
            return Ok(product);
        }
        if self.report.reported_tcb.fmc.is_some() {
            return Ok(Product::Turin);
        }
        let certificate = self.certificate().ok_or(SnpError::UnknownProduct)?;
        let certificate = Certificate::parse(Part::Endorsement, certificate)?;
        endorsement::product(&certificate).map_err(|problem| certificate.refuse(problem))
    }

    /// The product by the report's CPUID; none before version 3.
    pub(crate) fn processor(&self) -> Result<Option<Product>, SnpError> {
        let (Some(family), Some(model)) = (self.report.cpuid_fam_id, self.report.cpuid_mod_id)
        else {
            return Ok(None);
        };
        Product::of_processor(family, model).map(Some).ok_or(SnpError::UnknownProduct)
    }

    /// The report's fields.
    pub(crate) const fn fields(&self) -> &AttestationReport {
        &self.report
    }

    /// The bytes that are signed.
    pub(crate) fn signed(&self) -> &[u8] {
        self.bytes.get(..SIGNED_LENGTH).unwrap_or_default()
    }

    /// R and S, each in 48 big-endian bytes; none if one is longer than a number of P-384 can be.
    pub(crate) fn signature(&self) -> Option<[u8; 96]> {
        let mut fixed = [0; 96];
        let (r, s) = fixed.split_at_mut(48);
        let signature = &self.report.signature;
        for (number, to) in [(signature.r(), r), (signature.s(), s)] {
            let (low, high) = number.split_at(48);
            if high != [0; SCALAR_LENGTH - 48] {
                return None;
            }
            to.copy_from_slice(low);
            to.reverse();
        }
        Some(fixed)
    }
}

/// The certificate of this kind of key. Others in the table are not looked at: the rest of the chain is collateral, which
/// comes from AMD and not from the host.
fn only_certificate(
    table: Vec<CertTableEntry>,
    key: SigningKey,
) -> Result<Option<Vec<u8>>, SnpError> {
    let wanted = match key {
        SigningKey::Vcek => CertType::VCEK,
        SigningKey::Vlek => CertType::VLEK,
    };
    let mut found = table.into_iter().filter(|entry| entry.cert_type == wanted);
    let first = found.next().map(|entry| entry.data);
    if found.next().is_some() {
        return Err(SnpError::TwoCertificates(key));
    }
    Ok(first)
}
