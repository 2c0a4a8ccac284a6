//! What is kept of a simulated root: the keys that quote, and what verifiers are given.

use std::collections::BTreeMap;

use alloy_primitives::hex;
use p256::ecdsa::SigningKey;
use serde::{Deserialize, Serialize};
use sesame_protocol::evidence::QuoteEvidence;
use zeroize::{ZeroizeOnDrop, Zeroizing};

use super::{Imitated, Published, Quoting, Vendor};

/// A document holds no simulated root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it holds no simulated root")]
pub struct RootError;

/// One simulated root. Whoever has it is any enclave it likes, under this root.
#[derive(Debug, Clone)]
pub struct Root {
    pub(super) quoting: Quoting,
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
    #[zeroize(skip)]
    published: BTreeMap<String, String>,
}

impl Root {
    /// Makes a root, valid from the day before `now` (seconds since 1970) for twenty years.
    #[must_use]
    pub fn make(now: u64) -> Self {
        Vendor::make(now).root()
    }

    /// The evidence for this measurement and report data, as an attester sends it.
    #[must_use]
    pub fn evidence(
        &self,
        tee: Imitated,
        measurement: &[u8; 32],
        report_data: [u8; 64],
    ) -> QuoteEvidence {
        QuoteEvidence::new(&self.quoting.quote(tee, measurement, report_data))
    }

    /// What verifiers are given.
    #[must_use]
    pub const fn published(&self) -> &Published {
        &self.published
    }

    /// The root as a document, keys and all.
    ///
    /// # Panics
    /// Never: it is text.
    #[must_use]
    pub fn to_json(&self) -> Zeroizing<Vec<u8>> {
        let key = |key: &SigningKey| hex::encode(key.to_bytes());
        let files = self.published.files().into_iter();
        let document = Document {
            platform_key: key(&self.quoting.platform),
            attestation_key: key(&self.quoting.attestation),
            certificates: self.quoting.chain.clone(),
            published: files
                .map(|(name, bytes)| (name, String::from_utf8_lossy(&bytes).into_owned()))
                .collect(),
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
        let files = files.map(|(name, text)| (name.clone(), text.clone().into_bytes()));
        let published = Published::from_files(&files.collect()).map_err(|_| RootError)?;
        Ok(Self { quoting, published })
    }
}
