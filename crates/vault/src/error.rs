//! What can go wrong with the safe.

use std::io;

use crate::{backup::restore::Replaced, keys::KeyId, store::postgres::UrlError};

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
        /// It refused the PIN. A token counts that, and locks itself: another attempt is for a person to make.
        of_pin: bool,
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
    /// The vault was made by a later version.
    #[error(
        "the vault's records are of format {found}, and this program knows them up to {known}: start a newer one"
    )]
    NewerFormat {
        /// The records' format.
        found: u8,
        /// The newest that is known here.
        known: u8,
    },
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
    /// The database refuses what it was asked.
    #[error("the vault's database failed")]
    Database(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The database does not answer, or not in time.
    #[error(
        "the vault's database does not answer: a write may have been done nevertheless, look before you try again"
    )]
    Unavailable {
        /// Which one, without a password; not for strangers.
        place: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The URL of the database cannot be used.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// No root certificates to check the database's by.
    #[error("there are no root certificates in {path}, to check the database's certificate by")]
    NoRoots {
        /// Where they were looked for.
        path: String,
    },
    /// The tables are those of a later version.
    #[error(
        "the vault's tables are of version {found}, and this program knows them up to {known}: start a newer one"
    )]
    NewerSchema {
        /// The tables' version.
        found: usize,
        /// The newest that is known here.
        known: usize,
    },
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
    /// A write of an owner after whom another one wrote.
    #[error("epoch {got} is over: there is a version of epoch {newest}")]
    EpochOver {
        /// The newest epoch of a version.
        newest: u64,
        /// The epoch of the write.
        got: u64,
    },
    /// A backup cannot be made, or restored.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The decision does not release it.
    #[error("the decision does not release this secret")]
    NotReleased,
    /// There is nothing to remove.
    #[error("there is no such secret")]
    Missing,
}

/// A backup cannot be made, or restored. Where one is refused, nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// It cannot be written.
    #[error("cannot write the backup")]
    Write(#[source] io::Error),
    /// It cannot be read.
    #[error("cannot read the backup")]
    Read(#[source] io::Error),
    /// What it would hold could not be restored.
    #[error(
        "{record} does not authenticate, so no backup of it can be made: `sesame vault check` lists what is damaged; have the \
         owners push it again, or remove it"
    )]
    Damaged {
        /// A secret and its version, or a key of the store.
        record: String,
    },
    /// It is none, or its first bytes are not what they were.
    #[error("this is no backup of a vault that this version knows, or its beginning was altered")]
    NotOne,
    /// It is not what was written.
    #[error("the backup was altered, cut off or put together from several: use another copy")]
    Altered,
    /// It is of a vault for another chain or asset registry.
    #[error("the backup is of the vault of another chain or asset registry")]
    OtherOrigin,
    /// It is of another SMS.
    #[error(
        "the backup is of the vault of the SMS {identity}: restore it beside the identity.key of that one"
    )]
    OtherIdentity {
        /// Whose it is.
        identity: alloy_primitives::Address,
    },
    /// There is another vault where it should go.
    #[error("{there}; say --replace to put the backup in its place")]
    WouldReplace {
        /// What is there, and what of it would be lost.
        there: Replaced,
    },
    /// A vault that was replaced before lies where this one would be put aside.
    #[error("{path} is there already, the vault that an earlier restore replaced: move it away")]
    Aside {
        /// Where.
        path: String,
    },
    /// A service runs on it, or another restore.
    #[error("{path} is in use: stop the service first")]
    InUse {
        /// What.
        path: String,
    },
    /// The folders cannot be changed.
    #[error("cannot put the restored vault into place")]
    Folder(#[source] io::Error),
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
