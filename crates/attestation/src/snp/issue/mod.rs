//! A simulated AMD: roots, chains, revocation lists and signed reports of the real form, under keys of our own.
//!
//! It has the names, extensions and algorithms of AMD's chains, so the very same verifier reads them, and no key of
//! AMD's, so all that it vouches for is of kind 255. Its RSA keys have 2048 bits where AMD's have 4096: the verifier
//! takes 2048 to 8192, since a root is known byte for byte and answers for every key below it, and the longer ones
//! take far longer to make.

mod certificates;
mod reports;

use std::ops::Range;

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rsa::KeySize,
    signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, RsaKeyPair},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[cfg(test)]
pub(crate) use certificates::extension;
pub(crate) use certificates::{Authority, Fields};
pub use reports::SimulatedPlatform;

use super::{
    chain::SnpCollateral,
    endorsement,
    evidence::SigningKey,
    product::{Product, Tcb},
};

/// Something could not be issued.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IssueError {
    /// A name, date or number has no place in a certificate.
    #[error("this cannot be written into a certificate")]
    Certificate(#[from] x509_cert::der::Error),
    /// The cryptographic library failed.
    #[error("the key could not be made or used")]
    Key(#[from] aws_lc_rs::error::Unspecified),
    /// The saved keys are not those of a simulated AMD.
    #[error("the saved keys are malformed")]
    Saved(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The report has a part that cannot be written.
    #[error("the report cannot be written")]
    Report(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A simulated AMD for one product: the root, and a signer for each kind of key.
#[derive(Debug)]
pub struct SimulatedAmd {
    product: Product,
    root: Authority,
    ask: Authority,
    asvk: Authority,
}

/// What [`SimulatedAmd::save`] writes: private keys in PKCS#8 and certificates in DER.
#[derive(Serialize, Deserialize)]
struct Saved {
    product: String,
    authorities: [(alloy_primitives::Bytes, alloy_primitives::Bytes); 3],
}

impl SimulatedAmd {
    /// Makes keys and certificates that hold for this time, in seconds since 1970.
    ///
    /// # Errors
    /// When the time has no place in a certificate.
    pub fn generate(product: Product, holds: Range<u64>) -> Result<Self, IssueError> {
        let key = || RsaKeyPair::generate(KeySize::Rsa2048);
        let name = format!("ARK-{product}");
        let root = Authority::issue(&Fields::authority(&name, 1, holds.clone())?, key()?, None)?;
        let signer = |name: String, serial| {
            let fields = Fields::authority(&name, serial, holds.clone())?;
            Authority::issue(&fields, key()?, Some(&root))
        };
        let ask = signer(format!("SEV-{product}"), 2)?;
        let asvk = signer(format!("SEV-VLEK-{product}"), 3)?;
        Ok(Self { product, root, ask, asvk })
    }

    /// The product that it simulates.
    #[must_use]
    pub const fn product(&self) -> Product {
        self.product
    }

    /// The root's certificate (ARK) in DER, to be trusted by whoever wants to.
    #[must_use]
    pub fn root_certificate(&self) -> &[u8] {
        self.root.certificate()
    }

    /// What its key distribution service would serve for this kind of key: with a revocation list that holds for this
    /// time and names these serial numbers (the ASK has 2, the ASVK 3).
    ///
    /// # Errors
    /// When the time has no place in a list.
    pub fn collateral(
        &self,
        key: SigningKey,
        revoked: &[u8],
        holds: Range<u64>,
    ) -> Result<SnpCollateral, IssueError> {
        Ok(SnpCollateral {
            signer: self.signer(key).certificate().to_vec(),
            root: self.root.certificate().to_vec(),
            revoked: self.root.revoke(revoked, Some(holds.end), holds.start)?,
            endorsement: None,
        })
    }

    /// A platform whose reports are signed by this kind of key, certified for this time.
    ///
    /// # Errors
    /// When the time has no place in a certificate.
    pub fn platform(
        &self,
        signing_key: SigningKey,
        chip_id: [u8; 64],
        tcb: Tcb,
        holds: Range<u64>,
    ) -> Result<SimulatedPlatform, IssueError> {
        let key = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING)?;
        let fields = Fields::endorsement(self.product, signing_key, &chip_id, tcb, holds)?;
        let certificate = self.signer(signing_key).certify(&fields, &key)?;
        Ok(SimulatedPlatform::new(self.product, signing_key, chip_id, tcb, key, certificate))
    }

    /// The keys, to be kept by whoever simulates; they are as secret as the simulation is to be trusted.
    ///
    /// # Errors
    /// When the cryptographic library fails.
    pub fn save(&self) -> Result<Value, IssueError> {
        let [root, ask, asvk] = [&self.root, &self.ask, &self.asvk].map(|authority| {
            let key = AsDer::<Pkcs8V1Der<'_>>::as_der(authority.key())?;
            Ok::<_, IssueError>((
                key.as_ref().to_vec().into(),
                authority.certificate().to_vec().into(),
            ))
        });
        let authorities = [root?, ask?, asvk?];
        let saved = Saved { product: self.product.name().to_owned(), authorities };
        serde_json::to_value(saved).map_err(|error| IssueError::Saved(error.into()))
    }

    /// From what [`Self::save`] gave.
    ///
    /// # Errors
    /// When it is something else.
    pub fn load(saved: &Value) -> Result<Self, IssueError> {
        let Saved { product, authorities } =
            Saved::deserialize(saved).map_err(|error| IssueError::Saved(error.into()))?;
        let product = Product::of_certificate(&product)
            .ok_or_else(|| IssueError::Saved("unknown product".into()))?;
        let [root, ask, asvk] = authorities.map(|(key, certificate)| {
            let key = RsaKeyPair::from_pkcs8(&key);
            let key = key.map_err(|error| IssueError::Saved(error.to_string().into()))?;
            Authority::read(key, certificate.to_vec())
        });
        Ok(Self { product, root: root?, ask: ask?, asvk: asvk? })
    }

    pub(crate) const fn signer(&self, key: SigningKey) -> &Authority {
        match key {
            SigningKey::Vcek => &self.ask,
            SigningKey::Vlek => &self.asvk,
        }
    }

    #[cfg(test)]
    pub(crate) const fn root(&self) -> &Authority {
        &self.root
    }
}
