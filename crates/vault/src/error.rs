//! What can go wrong with the safe.

use crate::keys::KeyId;

/// A key cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// It cannot be read or made.
    #[error("cannot use the file {path}")]
    File {
        /// Which file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Others than its owner may read it.
    #[error("the file {path} can be read by others than its owner: chmod 600 it")]
    Exposed {
        /// Which file.
        path: String,
    },
    /// It does not hold 64 hexadecimal digits.
    #[error("the key file {path} does not hold 32 bytes in hexadecimal")]
    Malformed {
        /// Which file.
        path: String,
    },
    /// It holds another key than its name says.
    #[error("the key file {path} does not hold the key that it is named after")]
    Misnamed {
        /// Which file.
        path: String,
    },
    /// A key that the vault needs is not where its keys live.
    #[error(
        "the vault's key {id} is missing: put it back at {place}, from your backup or from the replica that has it"
    )]
    Missing {
        /// Which key.
        id: KeyId,
        /// Where it is looked for.
        place: String,
    },
    /// The token that holds the keys cannot be asked. It passes when the token is back.
    #[error("the token {token} of the HSM cannot be used: {reason}")]
    Token {
        /// Its label.
        token: String,
        /// Why, and what to do.
        reason: String,
    },
    /// A key of a token does not protect what a key-encryption key has to.
    #[error("the key {id} of the HSM's token {token} is refused: {reason}")]
    Unfit {
        /// Which key.
        id: KeyId,
        /// The token's label.
        token: String,
        /// Which of its attributes is not as it must be.
        reason: &'static str,
    },
    /// It does not open what was wrapped: another key's, or altered.
    #[error("the key does not open this")]
    Refused,
    /// What is given as a key's name is none.
    #[error("the name of a key has 16 hexadecimal digits")]
    NoName,
}

/// The safe refuses, or is broken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// The key-encryption key cannot be used.
    #[error(transparent)]
    Key(KeyError),
    /// A key of the vault's name is not the vault's.
    #[error("the key {0} is not the one that this vault was made with")]
    WrongKey(KeyId),
    /// A record is under a key that is none of the vault's.
    #[error("a record is under the key {0}, which is none of this vault's")]
    UnknownKey(KeyId),
    /// The vault was made by a version that kept its records differently.
    #[error(
        "this vault was made by an earlier version, whose records this one cannot read: start that version, or move the vault \
         away and have the owners push again"
    )]
    OldFormat,
    /// Other writers changed the vault's keys again and again.
    #[error("the vault's keys keep changing: try again")]
    KeysChanging,
    /// The vault belongs to another chain or registry.
    #[error("this vault belongs to another chain or asset registry")]
    OtherOrigin,
    /// The vault belongs to another SMS.
    #[error(
        "this vault belongs to the SMS {identity}: start with the identity.key of that one, or with another vault"
    )]
    OtherIdentity {
        /// Whose it is.
        identity: alloy_primitives::Address,
    },
    /// There is none where one is looked for.
    #[error("there is no vault in {path}")]
    NoVault {
        /// Where.
        path: String,
    },
    /// RocksDB failed.
    #[error("the vault's store failed")]
    Store(#[from] rocksdb::Error),
    /// A record was altered or damaged.
    #[error("a record of the vault does not authenticate: it was altered or damaged")]
    Damaged,
    /// A write whose version is not one above the newest.
    #[error("version {got} does not follow the newest version {newest}")]
    VersionConflict {
        /// The newest version, 0 if there is none.
        newest: u64,
        /// The version of the write.
        got: u64,
    },
    /// There is nothing to remove.
    #[error("there is no such secret")]
    Missing,
}

impl From<KeyError> for VaultError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Refused => Self::Damaged,
            KeyError::File { .. }
            | KeyError::Exposed { .. }
            | KeyError::Malformed { .. }
            | KeyError::Misnamed { .. }
            | KeyError::Missing { .. }
            | KeyError::Token { .. }
            | KeyError::Unfit { .. }
            | KeyError::NoName => Self::Key(error),
        }
    }
}
