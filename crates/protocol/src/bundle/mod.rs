//! The bundle: everything that one run needs, signed by the SMS for one enclave key.
//!
//! On the wire it is CBOR (RFC 8949) inside the JWE. The envelope names deployment, task, enclave key and nonce, so that a
//! wrong one is refused by its name; the signature covers them all and the payload's digest.

mod wire;

use std::fmt;

use alloy_primitives::{Address, B256, keccak256};
use sesame_domain::{AssetSnapshot, BlockRef, Order, ParseIdError, Resource, TaskId};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::{
    signature::{SignatureError, Signer, recover},
    typed::{Domain, ReleasedBundle},
};

/// The most bytes of secrets that one bundle carries; what does not fit is listed as omitted and fetched alone.
pub const MAX_BUNDLE_SECRETS: usize = 64 * 1024 * 1024;

/// Everything that one run needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// The task.
    pub task: TaskId,
    /// The chain on which it was bought.
    pub chain_id: u64,
    /// The registry in which it was bought.
    pub task_registry: Address,
    /// The SMS that releases.
    pub sms: Address,
    /// Who bought the task.
    pub requester: Address,
    /// What was ordered.
    pub order: Order,
    /// The app at purchase.
    pub app: AssetSnapshot,
    /// Each of `order.data` at purchase.
    pub data: Vec<AssetSnapshot>,
    /// The secrets, each with the resource that it is.
    pub secrets: Vec<BundledSecret>,
    /// The secrets that did not fit, to be fetched one by one and checked.
    pub omitted: Vec<Omitted>,
    /// The newest block that the release rests on.
    pub head: BlockRef,
    /// The confirmed block that it rests on.
    pub confirmed: BlockRef,
}

/// One secret of a bundle. Its debug form shows the value's length only.
#[derive(Clone, PartialEq, Eq)]
pub struct BundledSecret {
    /// Which resource of the task it is; never [`Resource::Bundle`].
    pub resource: Resource,
    /// The version of the secret.
    pub version: u64,
    /// The value.
    pub value: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for BundledSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BundledSecret")
            .field("resource", &self.resource)
            .field("version", &self.version)
            .field("bytes", &self.value.len())
            .finish_non_exhaustive()
    }
}

/// A secret that did not fit, and what its value must be: an answer that holds one secret is signed by nobody.
///
/// Its debug form hides the digest, from which a value of few possibilities could be guessed.
#[derive(Clone, PartialEq, Eq)]
pub struct Omitted {
    /// Which resource of the task it is; never [`Resource::Bundle`].
    pub resource: Resource,
    /// The version of the secret.
    pub version: u64,
    /// SHA-256 of the value.
    pub digest: B256,
}

impl Omitted {
    /// Leaves a value out of a bundle.
    #[must_use]
    pub fn new(resource: Resource, version: u64, value: &[u8]) -> Self {
        Self { resource, version, digest: digest(value) }
    }

    /// Whether this is the value that was left out.
    #[must_use]
    pub fn is(&self, value: &[u8]) -> bool {
        digest(value).ct_eq(self.digest.as_slice()).into()
    }
}

impl fmt::Debug for Omitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Omitted")
            .field("resource", &self.resource)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

fn digest(value: &[u8]) -> B256 {
    B256::new(Sha256::digest(value).into())
}

/// A bundle cannot be made, or is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The secrets are more than [`MAX_BUNDLE_SECRETS`] bytes.
    #[error("the bundle's secrets have {0} bytes, more than {MAX_BUNDLE_SECRETS}")]
    TooLarge(usize),
    /// Not the CBOR that it should be.
    #[error("the bundle is not the expected CBOR")]
    Malformed(#[source] ciborium::de::Error<std::io::Error>),
    /// Bytes follow the document.
    #[error("bytes follow the bundle")]
    TrailingBytes,
    /// An identifier within is malformed.
    #[error("the bundle holds a malformed identifier")]
    BadId(#[from] ParseIdError),
    /// The bundle is for another task.
    #[error("the bundle is for task {got}, not for {expected}")]
    WrongTask {
        /// The task that was asked for.
        expected: TaskId,
        /// The one it is for.
        got: TaskId,
    },
    /// The bundle is for another enclave key.
    #[error("the bundle is for enclave key {got}, not for {expected}")]
    WrongEnclaveKey {
        /// Our key's thumbprint.
        expected: B256,
        /// The one it is for.
        got: B256,
    },
    /// The bundle answers another attestation.
    #[error("the bundle answers another attestation than ours")]
    WrongNonce,
    /// The signature is malformed.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// Somebody else signed, or what was signed was altered.
    #[error("the bundle is signed by {got}, not by the trusted SMS {expected}")]
    WrongSigner {
        /// The SMS that the enclave trusts.
        expected: Address,
        /// Who signed what arrived.
        got: Address,
    },
    /// The envelope and the payload, or two parts of the payload, say different things.
    #[error("the bundle contradicts itself: {0}")]
    Contradiction(&'static str),
}

/// Signs a bundle for one enclave key and one attestation. `nonce` is [`crate::rcar::nonce_digest`].
///
/// The bytes hold the secrets: they go into the JWE and nowhere else.
///
/// # Errors
///
/// [`BundleError::TooLarge`].
pub fn sign(
    bundle: &Bundle,
    enclave_key: B256,
    nonce: B256,
    domain: &Domain,
    identity: &Signer,
) -> Result<Zeroizing<Vec<u8>>, BundleError> {
    let size: usize = bundle.secrets.iter().map(|secret| secret.value.len()).sum();
    if size > MAX_BUNDLE_SECRETS {
        return Err(BundleError::TooLarge(size));
    }
    let payload = wire::write(&wire::Payload::from(bundle), bundle_room(bundle, size));
    let signature =
        identity.sign_hash(signing_hash(domain, bundle.task, enclave_key, nonce, &payload));
    let room = payload.len() + 1024;
    let envelope = wire::Envelope {
        chain_id: domain.chain_id,
        asset_registry: domain.asset_registry,
        task: bundle.task.0,
        enclave_key,
        nonce,
        payload: wire::Blob(payload),
        signature,
    };
    Ok(wire::write(&envelope, room))
}

/// Opens a bundle that the trusted SMS signed for this task, this enclave key and this attestation.
///
/// # Errors
///
/// For anything else, by name.
pub fn open(
    bytes: &[u8],
    sms: Address,
    task: TaskId,
    enclave_key: B256,
    nonce: B256,
) -> Result<Bundle, BundleError> {
    open_with_digest(bytes, sms, task, enclave_key, nonce).map(|(bundle, _)| bundle)
}

/// The same, with the Keccak-256 of what was signed: what a signed result names. It is salted and safe to publish.
///
/// # Errors
///
/// As [`open`].
pub fn open_with_digest(
    bytes: &[u8],
    sms: Address,
    task: TaskId,
    enclave_key: B256,
    nonce: B256,
) -> Result<(Bundle, B256), BundleError> {
    let envelope: wire::Envelope = wire::read(bytes)?;
    if envelope.task != task.0 {
        return Err(BundleError::WrongTask { expected: task, got: TaskId(envelope.task) });
    }
    if envelope.enclave_key != enclave_key {
        let got = envelope.enclave_key;
        return Err(BundleError::WrongEnclaveKey { expected: enclave_key, got });
    }
    if !bool::from(envelope.nonce.ct_eq(nonce.as_slice())) {
        return Err(BundleError::WrongNonce);
    }
    let domain = Domain { chain_id: envelope.chain_id, asset_registry: envelope.asset_registry };
    let hash = signing_hash(&domain, task, enclave_key, nonce, &envelope.payload.0);
    let got = recover(hash, &envelope.signature)?;
    if got != sms {
        return Err(BundleError::WrongSigner { expected: sms, got });
    }
    let bundle = Bundle::try_from(wire::read::<wire::Payload>(&envelope.payload.0)?)?;
    match contradiction(&bundle, &domain, task, sms) {
        Some(what) => Err(BundleError::Contradiction(what)),
        None => Ok((bundle, keccak256(&envelope.payload.0))),
    }
}

fn contradiction(
    bundle: &Bundle,
    domain: &Domain,
    task: TaskId,
    sms: Address,
) -> Option<&'static str> {
    let secrets = bundle.secrets.iter().map(|secret| secret.resource);
    let mut resources = secrets.chain(bundle.omitted.iter().map(|omitted| omitted.resource));
    if bundle.task != task {
        return Some("the payload is about another task");
    }
    if bundle.chain_id != domain.chain_id {
        return Some("the payload is about another chain");
    }
    if bundle.sms != sms || bundle.order.sms != sms {
        return Some("the order names another SMS");
    }
    if bundle.data.len() != bundle.order.data.len() {
        return Some("the snapshots do not fit the order's data");
    }
    if resources.any(|resource| resource == Resource::Bundle) {
        return Some("a bundle is among its own secrets");
    }
    None
}

fn signing_hash(
    domain: &Domain,
    task: TaskId,
    enclave_key: B256,
    nonce: B256,
    payload: &[u8],
) -> B256 {
    domain.signing_hash(&ReleasedBundle {
        task: task.0,
        enclaveKey: enclave_key,
        nonce,
        payloadDigest: keccak256(payload),
    })
}

/// Room for the payload in one allocation: a buffer that grows leaves copies of the secrets behind.
fn bundle_room(bundle: &Bundle, secrets: usize) -> usize {
    let uris: usize = bundle.data.iter().map(|data| data.uri.len()).sum();
    let omitted = bundle.omitted.len() * 128;
    secrets + uris + omitted + bundle.app.uri.len() + bundle.order.params.len() + 64 * 1024
}

#[cfg(test)]
mod tests;
