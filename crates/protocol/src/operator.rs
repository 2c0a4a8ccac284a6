//! What an operator asks of a running service, by HTTP over the socket in its data folder, which its owner alone may open.
//!
//! Every question is a `POST` of one JSON document; the answer is a JSON document a line, each a [`Line`], the last of which is
//! neither [`Line::Progress`] nor [`Line::Part`].

use alloy_primitives::B256;
use serde::{Deserialize, Serialize};

use crate::base64url;

/// The socket's name in the data folder.
pub const SOCKET: &str = "operator.sock";

/// Reads every record again: [`Checked`].
pub const CHECK: &str = "vault/check";

/// Makes a key-encryption key and uses it for nothing yet: [`KeyMade`].
pub const MAKE_KEY: &str = "vault/make-key";

/// Puts the vault under another key-encryption key: [`RotateKey`], [`KeyRotated`].
pub const ROTATE_KEY: &str = "vault/rotate-key";

/// Takes another key into use for owners to seal to: [`RotateSealingKey`], [`SealingKeyRotated`].
pub const ROTATE_SEALING_KEY: &str = "vault/rotate-sealing-key";

/// Takes a backup of the vault, in [`Line::Part`]s: [`BackedUp`].
pub const BACKUP: &str = "vault/backup";

/// A line of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Line<T> {
    /// How many records are done.
    Progress(u64),
    /// The next bytes of what was asked for.
    Part(Part),
    /// All is done.
    Done(T),
    /// It cannot go on, and why.
    Failed(String),
}

/// Some bytes, in base64url.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part(String);

impl Part {
    /// Encodes them.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self(base64url::encode(bytes))
    }

    /// Decodes them; none if it is no base64url.
    #[must_use]
    pub fn bytes(&self) -> Option<Vec<u8>> {
        base64url::decode(&self.0).ok()
    }
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Checked {
    /// Versions whose value was opened and authenticated.
    pub records: u64,
    /// Bytes of these values.
    pub bytes: u64,
    /// Tombstones.
    pub tombstones: u64,
    /// What does not authenticate: a secret and its version, or a key of the store.
    pub damaged: Vec<String>,
}

/// The name of a key that was made: 16 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyMade {
    /// Its name.
    pub key: String,
}

/// Under which key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RotateKey {
    /// The name of a key that was made before; none for a new one.
    pub to: Option<String>,
}

/// What a rotation did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyRotated {
    /// Records under the new key.
    pub records: u64,
    /// The new key's name.
    pub key: String,
}

/// For how long the key before still opens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RotateSealingKey {
    /// Seconds; 0 if it was stolen.
    pub overlap: u64,
}

/// The key that owners seal to now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SealingKeyRotated {
    /// Its public half, X25519.
    pub key: B256,
    /// Since when, seconds since 1970.
    pub issued_at: u64,
}

/// A backup that was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackedUp {
    /// When, seconds since 1970.
    pub created_at: u64,
    /// Versions of secrets in it.
    pub records: u64,
    /// Bytes of their values, in the clear.
    pub bytes: u64,
    /// Tombstones.
    pub tombstones: u64,
    /// The names of the keys that it takes to restore it.
    pub keys: Vec<String>,
}
