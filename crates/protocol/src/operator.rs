//! What an operator asks of a running service, by HTTP over the socket in its data folder, which its owner alone may open.
//!
//! Every question is a `POST` of one JSON document; the answer is a JSON document a line, each a [`Line`], the last of which is
//! not [`Line::Progress`].

use alloy_primitives::B256;
use serde::{Deserialize, Serialize};

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

/// A line of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Line<T> {
    /// How many records are done.
    Progress(u64),
    /// All is done.
    Done(T),
    /// It cannot go on, and why.
    Failed(String),
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
