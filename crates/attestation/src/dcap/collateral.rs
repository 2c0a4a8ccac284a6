//! What Intel publishes about platforms of one kind: revocation lists, TCB info, the quoting enclave's identity.

use dcap_qvl::QuoteCollateralV3;
use ring::digest::{Context, SHA256};
use serde::Deserialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use x509_cert::{certificate::Rfc5280, crl::CertificateList, der::Decode as _};

/// Collateral cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CollateralError {
    /// The document is not the JSON that it should be.
    #[error("the collateral is malformed: {0}")]
    Malformed(String),
    /// A part of it does not say until when it counts.
    #[error("the collateral does not say until when its {0} counts")]
    NoExpiry(&'static str),
}

/// The collateral of one [`super::DcapPlatform`]. Unverified: the verifier checks every signature in it.
#[derive(Debug, Clone)]
pub struct DcapCollateral {
    library: QuoteCollateralV3,
    digest: [u8; 32],
    until: u64,
}

/// What TCB info and QE identity have in common.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Dated {
    next_update: String,
}

impl DcapCollateral {
    /// Takes collateral as the library `dcap-qvl` holds it. The platform's own chain comes from each quote, never from here.
    ///
    /// # Errors
    /// When a part does not say until when it counts.
    pub fn new(mut library: QuoteCollateralV3) -> Result<Self, CollateralError> {
        library.pck_certificate_chain = None;
        let until = [
            expiry_of_json(&library.tcb_info, "TCB info")?,
            expiry_of_json(&library.qe_identity, "QE identity")?,
            expiry_of_list(&library.root_ca_crl, "root CA's revocation list")?,
            expiry_of_list(&library.pck_crl, "PCK revocation list")?,
        ];
        let until = until.into_iter().min().unwrap_or_default();
        Ok(Self { digest: digest(&library), library, until })
    }

    /// Reads the JSON of [`QuoteCollateralV3`]: texts as they are, bytes in hexadecimal.
    ///
    /// # Errors
    /// When it is something else.
    pub fn from_json(bytes: &[u8]) -> Result<Self, CollateralError> {
        let library = serde_json::from_slice(bytes);
        Self::new(library.map_err(|error| CollateralError::Malformed(error.to_string()))?)
    }

    /// The same JSON.
    ///
    /// # Panics
    /// Never: it is text.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(&self.library).expect("collateral is text and bytes")
    }

    /// When the first part expires by its own word, seconds since 1970: it counts before that second.
    #[must_use]
    pub const fn until(&self) -> u64 {
        self.until
    }

    pub(super) const fn library(&self) -> &QuoteCollateralV3 {
        &self.library
    }

    /// Tells this collateral from every other.
    pub(super) const fn digest(&self) -> &[u8; 32] {
        &self.digest
    }
}

fn digest(collateral: &QuoteCollateralV3) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    let parts: [&[u8]; 9] = [
        collateral.pck_crl_issuer_chain.as_bytes(),
        &collateral.root_ca_crl,
        &collateral.pck_crl,
        collateral.tcb_info_issuer_chain.as_bytes(),
        collateral.tcb_info.as_bytes(),
        &collateral.tcb_info_signature,
        collateral.qe_identity_issuer_chain.as_bytes(),
        collateral.qe_identity.as_bytes(),
        &collateral.qe_identity_signature,
    ];
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    digest
}

fn expiry_of_json(text: &str, what: &'static str) -> Result<u64, CollateralError> {
    let dated: Dated = serde_json::from_str(text)
        .map_err(|error| CollateralError::Malformed(format!("{what}: {error}")))?;
    let date = OffsetDateTime::parse(&dated.next_update, &Rfc3339).ok();
    date.and_then(|date| u64::try_from(date.unix_timestamp()).ok())
        .ok_or(CollateralError::NoExpiry(what))
}

fn expiry_of_list(der: &[u8], what: &'static str) -> Result<u64, CollateralError> {
    let list = CertificateList::<Rfc5280>::from_der(der)
        .map_err(|error| CollateralError::Malformed(format!("{what}: {error}")))?;
    let date = list.tbs_cert_list.next_update.ok_or(CollateralError::NoExpiry(what))?;
    Ok(date.to_unix_duration().as_secs())
}
