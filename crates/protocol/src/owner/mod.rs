//! The owner's signed requests: pushing, deleting and asking for a secret.
//!
//! A request is signed in one header, [`AUTHORIZATION_HEADER`]: base64url without padding of a JSON document. The resource is
//! not in it, since the path says which it is: signatures are checked against the path that was asked for. Nor is the SMS:
//! each SMS checks removals and queries against its own identity, and an update names the sealing key, so that what was
//! signed for one SMS is worth nothing at another.

use std::fmt;

use alloy_primitives::{Address, B256, keccak256};
use serde::{Deserialize, Serialize};
use sesame_domain::SecretId;
use zeroize::Zeroizing;

use crate::{
    base64url::{parse_header, to_header},
    sealing::{self, SEALING_OVERHEAD, SealingError, SealingKey},
    signature::{OwnerSignature, SignatureError, Signer},
    typed::{Domain, SecretQuery, SecretRemoval, SecretUpdate},
};

pub use crate::base64url::{HeaderError, MAX_HEADER_BYTES};

/// `Sesame-Authorization`: the header of every signed owner request, in the lower case that HTTP libraries ask for.
pub const AUTHORIZATION_HEADER: &str = "sesame-authorization";

/// `Sesame-Secret`: the response header that holds [`SecretMetadata`].
pub const METADATA_HEADER: &str = "sesame-secret";

/// The content type of a sealed body.
pub const SEALED_CONTENT_TYPE: &str = "application/octet-stream";

/// The largest secret, in bytes (4096 kB).
pub const MAX_SECRET_BYTES: usize = 4_194_304;

/// The largest sealed body, in bytes.
pub const MAX_SEALED_BYTES: usize = MAX_SECRET_BYTES + SEALING_OVERHEAD;

/// A signed request does not fit its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OwnerError {
    /// The value is empty or longer than [`MAX_SECRET_BYTES`].
    #[error("a secret has 1 to {MAX_SECRET_BYTES} bytes, not {0}")]
    WrongLength(usize),
    /// The body is not the one whose Keccak-256 was signed.
    #[error("the body hashes to {got}, but {signed} was signed")]
    WrongDigest {
        /// What the owner signed.
        signed: B256,
        /// What the body hashes to.
        got: B256,
    },
    /// The body was sealed to another key than the one that should open it.
    #[error("the body is sealed to {signed}, not to {ours}")]
    WrongKey {
        /// The key that the owner signed.
        signed: B256,
        /// The key at hand.
        ours: B256,
    },
    /// The body cannot be sealed or opened.
    #[error(transparent)]
    Sealing(#[from] SealingError),
}

/// `PUT`: a new version of a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignedUpdate {
    /// Who owns the secret, as the owner believes.
    pub owner: Address,
    /// The asset's epoch; 0 for a requester's secret.
    pub epoch: u64,
    /// The version that this update makes: one more than the last.
    pub version: u64,
    /// Whether the secret stays valid when the asset is sold.
    pub transferable: bool,
    /// SHA-256 of the content that a key opens; zero for anything but protected data.
    pub content_digest: B256,
    /// Keccak-256 of the sealed body.
    pub sealed_digest: B256,
    /// The sealing key of the SMS.
    pub sms_key: B256,
    /// Last second at which the SMS may accept the update.
    pub deadline: u64,
    /// The owner's signature over [`SecretUpdate`].
    pub signature: OwnerSignature,
}

impl SignedUpdate {
    /// Seals `value` to `update.smsKey` and signs the update. `update.sealedDigest` is replaced by the body's.
    ///
    /// Returns the header's document and the request's body.
    ///
    /// # Errors
    ///
    /// If the value is empty or too large, or the sealing key is none.
    pub fn seal(
        update: SecretUpdate,
        value: &[u8],
        domain: &Domain,
        owner: &Signer,
    ) -> Result<(Self, Vec<u8>), OwnerError> {
        if !(1..=MAX_SECRET_BYTES).contains(&value.len()) {
            return Err(OwnerError::WrongLength(value.len()));
        }
        let body = sealing::seal(update.smsKey, update.sealing_info(), value)?;
        let update = SecretUpdate { sealedDigest: keccak256(&body), ..update };
        let signature = owner.sign_hash(domain.signing_hash(&update));
        Ok((Self::new(update, signature), body))
    }

    /// An update with a signature made elsewhere, by a wallet or for a contract.
    #[must_use]
    pub fn new(update: SecretUpdate, signature: impl Into<OwnerSignature>) -> Self {
        Self {
            owner: update.owner,
            epoch: update.epoch,
            version: update.version,
            transferable: update.transferable,
            content_digest: update.contentDigest,
            sealed_digest: update.sealedDigest,
            sms_key: update.smsKey,
            deadline: update.deadline,
            signature: signature.into(),
        }
    }

    /// What was signed, if the request is about `resource`.
    #[must_use]
    pub fn message(&self, resource: &SecretId) -> SecretUpdate {
        SecretUpdate {
            resource: resource.to_string(),
            owner: self.owner,
            epoch: self.epoch,
            version: self.version,
            transferable: self.transferable,
            contentDigest: self.content_digest,
            sealedDigest: self.sealed_digest,
            smsKey: self.sms_key,
            deadline: self.deadline,
        }
    }

    /// The hash of what was signed, if the request is about `resource`.
    #[must_use]
    pub fn hash(&self, resource: &SecretId, domain: &Domain) -> B256 {
        domain.signing_hash(&self.message(resource))
    }

    /// Whose key signed, if the request is about `resource`. Compare it with the owner: anything altered recovers a stranger.
    ///
    /// # Errors
    ///
    /// If the signature is no key's.
    pub fn verify(&self, resource: &SecretId, domain: &Domain) -> Result<Address, SignatureError> {
        self.signature.signer(self.hash(resource, domain))
    }

    /// Opens the request's body. Call [`Self::verify`] first: this proves nothing about who sent it.
    ///
    /// # Errors
    ///
    /// If the body is not the signed one, is sealed to another key, was sealed for another resource, owner, epoch or
    /// version, or holds a value of a length out of bounds.
    pub fn open(
        &self,
        resource: &SecretId,
        body: &[u8],
        key: &SealingKey,
    ) -> Result<Zeroizing<Vec<u8>>, OwnerError> {
        let got = keccak256(body);
        if got != self.sealed_digest {
            return Err(OwnerError::WrongDigest { signed: self.sealed_digest, got });
        }
        if key.public() != self.sms_key {
            return Err(OwnerError::WrongKey { signed: self.sms_key, ours: key.public() });
        }
        let value = key.open(self.message(resource).sealing_info(), body)?;
        if !(1..=MAX_SECRET_BYTES).contains(&value.len()) {
            return Err(OwnerError::WrongLength(value.len()));
        }
        Ok(value)
    }
}

/// `DELETE`: the secret goes; its version rises and stays as a tombstone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignedRemoval {
    /// Who owns the secret, as the owner believes.
    pub owner: Address,
    /// The asset's epoch; 0 for a requester's secret.
    pub epoch: u64,
    /// The version that the removal makes: one more than the last.
    pub version: u64,
    /// Last second at which the SMS may accept the removal.
    pub deadline: u64,
    /// The owner's signature over [`SecretRemoval`].
    pub signature: OwnerSignature,
}

impl SignedRemoval {
    /// Signs a removal.
    #[must_use]
    pub fn sign(removal: &SecretRemoval, domain: &Domain, owner: &Signer) -> Self {
        Self {
            owner: removal.owner,
            epoch: removal.epoch,
            version: removal.version,
            deadline: removal.deadline,
            signature: owner.sign_hash(domain.signing_hash(removal)).into(),
        }
    }

    /// What was signed, if the request is about `resource` and made of `sms`.
    #[must_use]
    pub fn message(&self, resource: &SecretId, sms: Address) -> SecretRemoval {
        SecretRemoval {
            resource: resource.to_string(),
            owner: self.owner,
            sms,
            epoch: self.epoch,
            version: self.version,
            deadline: self.deadline,
        }
    }

    /// The hash of what was signed, if the request is about `resource` and made of `sms`.
    #[must_use]
    pub fn hash(&self, resource: &SecretId, sms: Address, domain: &Domain) -> B256 {
        domain.signing_hash(&self.message(resource, sms))
    }

    /// Whose key signed, if the request is about `resource` and made of `sms`, the verifier's own identity.
    ///
    /// # Errors
    ///
    /// If the signature is no key's.
    pub fn verify(
        &self,
        resource: &SecretId,
        sms: Address,
        domain: &Domain,
    ) -> Result<Address, SignatureError> {
        self.signature.signer(self.hash(resource, sms, domain))
    }
}

/// `HEAD`: what does the vault have? The answer is [`SecretMetadata`], never a value. And `GET` of [`owned_by`]: what does
/// an owner have there? The answer is a [`SecretPage`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignedQuery {
    /// Who owns the secret, as the owner believes.
    pub owner: Address,
    /// Last second at which the SMS may answer.
    pub deadline: u64,
    /// The owner's signature over [`SecretQuery`].
    pub signature: OwnerSignature,
}

impl SignedQuery {
    /// Signs a query.
    #[must_use]
    pub fn sign(query: &SecretQuery, domain: &Domain, owner: &Signer) -> Self {
        Self {
            owner: query.owner,
            deadline: query.deadline,
            signature: owner.sign_hash(domain.signing_hash(query)).into(),
        }
    }

    /// What was signed, if the request is about `resource` and made of `sms`.
    #[must_use]
    pub fn message(&self, resource: &impl fmt::Display, sms: Address) -> SecretQuery {
        SecretQuery {
            resource: resource.to_string(),
            owner: self.owner,
            sms,
            deadline: self.deadline,
        }
    }

    /// The hash of what was signed, if the request is about `resource` and made of `sms`.
    #[must_use]
    pub fn hash(&self, resource: &impl fmt::Display, sms: Address, domain: &Domain) -> B256 {
        domain.signing_hash(&self.message(resource, sms))
    }

    /// Whose key signed, if the request is about `resource` and made of `sms`, the verifier's own identity.
    ///
    /// # Errors
    ///
    /// If the signature is no key's.
    pub fn verify(
        &self,
        resource: &impl fmt::Display,
        sms: Address,
        domain: &Domain,
    ) -> Result<Address, SignatureError> {
        self.signature.signer(self.hash(resource, sms, domain))
    }
}

/// What the vault says about a secret without showing it.
///
/// `PUT` and `DELETE` answer it as JSON; `HEAD` in the header [`METADATA_HEADER`]. `ETag` is [`Self::etag`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct SecretMetadata {
    /// The secret's path under `/v1`.
    pub resource: String,
    /// Who pushed it.
    pub owner: Address,
    /// In which epoch of the asset; 0 for a requester's secret.
    pub epoch: u64,
    /// The newest version.
    pub version: u64,
    /// Whether it stays valid when the asset is sold.
    pub transferable: bool,
    /// The value's length in bytes; 0 once deleted.
    pub size: u64,
    /// SHA-256 of the content that a key opens; zero for anything but protected data.
    pub content_digest: B256,
    /// Keccak-256 of the sealed body as it was pushed; zero once deleted.
    pub sealed_digest: B256,
    /// When the version was written, seconds since 1970.
    pub updated_at: u64,
}

/// The path under `/v1` that lists the secrets of an owner.
#[must_use]
pub fn owned_by(owner: Address) -> String {
    format!("owners/{}/secrets", owner.to_string().to_lowercase())
}

/// Some of an owner's secrets: first those that the owner named, then those of the assets that it owns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct SecretPage {
    /// The newest version of each.
    pub secrets: Vec<SecretMetadata>,
    /// What to ask for as `after` to get more; none at the end. A page may hold nothing and yet not be the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl SecretMetadata {
    /// The version as an entity tag (RFC 9110, section 8.8.3), in quotes.
    #[must_use]
    pub fn etag(&self) -> String {
        format!("\"{}\"", self.version)
    }
}

macro_rules! header_document {
    ($($document:ty),*) => {$(
        impl $document {
            /// The document as a header's value.
            #[must_use]
            pub fn to_header(&self) -> String {
                to_header(self)
            }

            /// Reads the document from a header's value.
            ///
            /// # Errors
            ///
            /// If the value is too long, is not base64url without padding, or holds other JSON.
            pub fn parse(header: &str) -> Result<Self, HeaderError> {
                parse_header(header)
            }
        }
    )*};
}

header_document!(SignedUpdate, SignedRemoval, SignedQuery, SecretMetadata);

#[cfg(test)]
mod tests;
