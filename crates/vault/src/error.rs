//! What can go wrong with the safe.

/// A key file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// It cannot be read or made.
    #[error("cannot use the key file {path}")]
    File {
        /// Which file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Others than its owner may read it.
    #[error("the key file {path} can be read by others than its owner: chmod 600 it")]
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
}

/// The safe refuses, or is broken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// The key-encryption key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The key file holds another key than the vault was made with.
    #[error("the key file does not hold the key that this vault was made with")]
    WrongKey,
    /// The vault belongs to another chain or registry.
    #[error("this vault belongs to another chain or asset registry")]
    OtherOrigin,
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
