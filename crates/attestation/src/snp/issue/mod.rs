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
    rsa::KeySize,
    signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, RsaKeyPair},
};

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
    /// A saved key is not the one that the certificate is for.
    #[error("the saved key is malformed, or not the certificate's")]
    Saved,
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
