//! What can go wrong with the mirror.

use sesame_domain::{AssetId, TaskId};

/// The mirror cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// RocksDB refused: the folder is locked by another process, not writable, or damaged.
    #[error("cannot open the index at {path}: is another `sesame serve` using it?")]
    Database {
        /// Which folder.
        path: String,
        /// Why.
        #[source]
        source: rocksdb::Error,
    },
    /// Written by another version of the schema; delete the folder, the index is rebuilt from the chain.
    #[error(
        "the index has schema {found}, this program writes schema {expected}; delete {path} and start again to rebuild it from the chain"
    )]
    OtherSchema {
        /// What stands in the folder.
        found: u32,
        /// What this program writes.
        expected: u32,
        /// Which folder.
        path: String,
    },
    /// Written for another chain or other contracts.
    #[error(
        "the index at {path} mirrors another chain or other contracts; use another folder, or delete it to rebuild"
    )]
    OtherOrigin {
        /// Which folder.
        path: String,
    },
    /// What it holds cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// The mirror cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// RocksDB failed.
    #[error("the index cannot be read")]
    Database(#[from] rocksdb::Error),
    /// A row does not decode.
    #[error("a row of table {table} is damaged; delete the index to rebuild it from the chain")]
    Damaged {
        /// In which table.
        table: &'static str,
    },
}

/// A block cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// What is there cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The block does not continue the mirror's newest one.
    #[error("block {block} does not follow the mirror's head {head}")]
    NotNext {
        /// The block's number.
        block: u64,
        /// The mirror's head.
        head: u64,
    },
    /// The events contradict what the mirror holds.
    #[error("the events of block {block} contradict the mirror")]
    Contradiction {
        /// The block's number.
        block: u64,
        /// How.
        #[source]
        source: ProjectError,
    },
    /// A reorg would reach below the confirmed block.
    #[error("cannot unwind to block {to}: block {confirmed} is confirmed")]
    BelowConfirmed {
        /// Where to.
        to: u64,
        /// The confirmed block.
        confirmed: u64,
    },
    /// An earlier write failed; the handle refuses until the program is started again.
    #[error("the index failed to write before and refuses to go on; start again")]
    Poisoned,
}

impl From<rocksdb::Error> for WriteError {
    fn from(error: rocksdb::Error) -> Self {
        Self::Read(error.into())
    }
}

/// An event says something that cannot follow from what was said before.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProjectError {
    /// About an asset that was never registered.
    #[error("asset {0} was never registered")]
    AssetUnknown(AssetId),
    /// An asset registered twice.
    #[error("asset {0} was registered before")]
    AssetExists(AssetId),
    /// About a task that was never bought.
    #[error("task {0} was never bought")]
    TaskUnknown(TaskId),
    /// A task bought twice.
    #[error("task {0} was bought before")]
    TaskExists(TaskId),
    /// Something happened to a task after its end.
    #[error("task {0} has ended")]
    TaskEnded(TaskId),
}
