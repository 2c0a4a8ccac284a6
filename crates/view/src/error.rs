//! What can go wrong with the mirror.

use sesame_domain::{AssetId, TaskId};

/// The mirror cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process writes it.
    #[error("the index at {path} is in use: is another `sesame serve` running on it?")]
    InUse {
        /// Which folder.
        path: String,
    },
    /// RocksDB refused: a file is missing, damaged or not writable.
    #[error(
        "cannot open the index at {path}; if it is damaged, delete that folder and start again to rebuild it from the chain"
    )]
    Database {
        /// Which folder.
        path: String,
        /// Why.
        #[source]
        source: rocksdb::Error,
    },
    /// A write in the middle of its history is missing, or what every index has: a disk did not keep what it had acknowledged, or
    /// kept what came later. What is left may say anything.
    #[error(
        "the index at {path} is damaged: {what}; delete that folder and start again to rebuild it from the chain"
    )]
    Damaged {
        /// Which folder.
        path: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Written by an older version of the schema: it can be rebuilt from the chain, and nothing else can be done with it.
    #[error(
        "the index at {path} has schema {found}, this program writes schema {expected}; `sesame serve` rebuilds it from the chain"
    )]
    OlderSchema {
        /// What stands in the folder.
        found: u32,
        /// What this program writes.
        expected: u32,
        /// Which folder.
        path: String,
    },
    /// Written by a newer program, which may be wanted back.
    #[error(
        "the index at {path} has schema {found}, this program writes schema {expected}: use the newer program, \
         or delete that folder and start again to rebuild the index from the chain"
    )]
    NewerSchema {
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
    /// The undoing of a reorg was interrupted, and cannot be finished.
    #[error("what a reorg left in the index cannot be removed")]
    Unfinished(#[source] WriteError),
    /// What it holds cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// The mirror cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// RocksDB failed.
    #[error("the index cannot be read; if it is damaged, delete it to rebuild it from the chain")]
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
    /// A task of another deal than was made.
    #[error("the deal of task {0} is not the one that was made")]
    OtherDeal(TaskId),
    /// Something happened to a task after its end.
    #[error("task {0} has ended")]
    TaskEnded(TaskId),
}
