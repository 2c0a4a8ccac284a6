//! What is kept of a simulated root: the keys that quote, and what verifiers are given.

use std::{collections::BTreeMap, sync::Arc};

use alloy_primitives::{Bytes, hex};
use p256::ecdsa::SigningKey;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sesame_protocol::evidence::QuoteEvidence;
use zeroize::{ZeroizeOnDrop, Zeroizing};

use super::{Dcap, Imitated, Published, Quoting, Vendor};
use crate::snp::issue::SimulatedPlatform;

/// A document holds no simulated root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it holds no simulated root")]
pub struct RootError;

/// One simulated root, of Intel's technologies and AMD's. Whoever has it is any enclave it likes, under this root.
#[derive(Debug, Clone)]
pub struct Root {
    pub(super) quoting: Quoting,
    pub(super) snp: Arc<SimulatedPlatform>,
    pub(super) published: Published,
}

/// [`Root`] at rest.
#[derive(Serialize, Deserialize, ZeroizeOnDrop)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    platform_key: String,
    attestation_key: String,
    #[zeroize(skip)]
    certificates: String,
    snp_key: String,
    #[zeroize(skip)]
    published: BTreeMap<String, Bytes>,
}

impl Root {
    /// Makes a root, valid from the day before `now` (seconds since 1970) for twenty years.
    #[must_use]
    pub fn make(now: u64) -> Self {
        Vendor::make(now).root()
    }

    /// The evidence for this measurement and report data, as an attester sends it.
    ///
    /// # Panics
    /// When the operating system gives no randomness.
    #[must_use]
    pub fn evidence(&self, tee: Imitated, measurement: &[u8; 32], report_data: [u8; 64]) -> Value {
        let quote = |tee| self.quoting.quote(tee, measurement, report_data);
        match tee {
            Imitated::Sgx => json!(QuoteEvidence::new(&quote(Dcap::Sgx))),
            Imitated::Tdx => json!(QuoteEvidence::new(&quote(Dcap::Tdx))),
            Imitated::Snp => {
                let mut launched = [0; 48];
                launched.iter_mut().zip(measurement).for_each(|(to, from)| *to = *from);
                let report = self.snp.quote(launched, [0; 32], report_data);
                report.expect("the simulated platform can be told").to_json()
            }
        }
    }

    /// What verifiers are given.
    #[must_use]
    pub const fn published(&self) -> &Published {
        &self.published
    }

    /// The root as a document, keys and all.
    ///
    /// # Panics
    /// Never: it is text, and the keys can be written.
    #[must_use]
    pub fn to_json(&self) -> Zeroizing<Vec<u8>> {
        let key = |key: &SigningKey| hex::encode(key.to_bytes());
        let snp_key = self.snp.private_key().expect("a key can be written");
        let files = self.published.files().into_iter();
        let document = Document {
            platform_key: key(&self.quoting.platform),
            attestation_key: key(&self.quoting.attestation),
            certificates: self.quoting.chain.clone(),
            snp_key: hex::encode(snp_key.as_ref()),
            published: files.map(|(name, bytes)| (name, bytes.into())).collect(),
        };
        Zeroizing::new(serde_json::to_vec(&document).expect("a root is text"))
    }

    /// Reads a document of [`Self::to_json`].
    ///
    /// # Errors
    /// When it is something else; the error does not show it.
    pub fn from_json(bytes: &[u8]) -> Result<Self, RootError> {
        let document: Document = serde_json::from_slice(bytes).map_err(|_| RootError)?;
        let key = |text: &str| {
            let bytes = Zeroizing::new(hex::decode(text).map_err(|_| RootError)?);
            SigningKey::from_slice(&bytes).map_err(|_| RootError)
        };
        let quoting = Quoting {
            platform: key(&document.platform_key)?,
            attestation: key(&document.attestation_key)?,
            chain: document.certificates.clone(),
        };
        let files = document.published.iter();
        let files = files.map(|(name, bytes)| (name.clone(), bytes.to_vec()));
        let published = Published::from_files(&files.collect()).map_err(|_| RootError)?;
        let snp_key = Zeroizing::new(hex::decode(&document.snp_key).map_err(|_| RootError)?);
        let certificate = published.snp.endorsement.clone().unwrap_or_default();
        let snp = SimulatedPlatform::load(&snp_key, certificate).map_err(|_| RootError)?;
        Ok(Self { quoting, snp: Arc::new(snp), published })
    }
}
