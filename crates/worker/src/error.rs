//! Why a worker stops, and why a task gave no result.

use std::{io, path::PathBuf, time::Duration};

use alloy::primitives::Address;
use sesame_chain::ChainError;
use sesame_domain::{AssetId, EnclaveId};
use sesame_enclave::{
    channel::{Failure, Step},
    content::ContentError,
};

/// The worker cannot work at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// The node or the deployment is not the right one.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The folder for tasks cannot be made.
    #[error("cannot make {}", path.display())]
    WorkDir {
        /// Which folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A task gave no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// The chain knows no such task: it never did, or a reorg undid the purchase.
    #[error("the chain knows no such task")]
    Unknown,
    /// The order names another worker.
    #[error("the order names another worker")]
    NotOurs,
    /// The order names another SMS than this worker's enclaves trust.
    #[error("the order names another SMS than this worker's")]
    WrongSms,
    /// The app is not among those that this worker runs.
    #[error("this worker does not run the app {0}")]
    AppNotAllowed(AssetId),
    /// The requester is not among those that this worker runs tasks for.
    #[error("this worker runs nothing for the requester {0}")]
    RequesterNotAllowed(Address),
    /// The task is past its deadline.
    #[error("the task's deadline {deadline} has passed")]
    Overdue {
        /// Seconds since 1970.
        deadline: u64,
    },
    /// The app cannot be had, or is not the registered one.
    #[error("the app cannot be had")]
    App(#[source] ContentError),
    /// The app's server keeps the worker waiting.
    #[error("the app could not be had within {} s", limit.as_secs())]
    SlowApp {
        /// How long the worker waited.
        limit: Duration,
    },
    /// Launcher, app and SMS together are not the enclave that the task is pinned to.
    #[error("what would run here is enclave {got}, the task is pinned to {expected}")]
    WrongEnclave {
        /// The pinned one.
        expected: EnclaveId,
        /// The one here.
        got: EnclaveId,
    },
    /// This build knows no TEE.
    #[error("this build has no TEE to run tasks in")]
    NoTee,
    /// The chain does not answer or refuses.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The task's folder cannot be used.
    #[error("cannot use the task's folder")]
    Folder(#[source] io::Error),
    /// The TEE cannot be started or spoken with.
    #[error("cannot run the TEE")]
    Tee(#[source] io::Error),
    /// The TEE asked for a second key, or said what it may not.
    #[error("the TEE broke the protocol: {0}")]
    Protocol(&'static str),
    /// The TEE ended without a word.
    #[error("the TEE ended without a result after {after:?}")]
    Silent {
        /// The last step that it reported.
        after: Option<Step>,
    },
    /// The TEE says why there is no result.
    #[error("the run failed: {}: {}", .0.code, .0.detail)]
    Failed(Failure),
}

impl TaskError {
    /// Whether another attempt may fare better though nothing was mended.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::App(error) => error.is_retryable(),
            // The status is read anew by each attempt, so a transaction that comes late is found.
            Self::Chain(error) => {
                error.is_retryable() || matches!(error, ChainError::NotMined { .. })
            }
            Self::Tee(_) | Self::Silent { .. } => true,
            Self::Failed(failure) => failure.retryable,
            Self::Unknown
            | Self::NotOurs
            | Self::WrongSms
            | Self::AppNotAllowed(_)
            | Self::RequesterNotAllowed(_)
            | Self::Overdue { .. }
            | Self::SlowApp { .. }
            | Self::WrongEnclave { .. }
            | Self::NoTee
            | Self::Folder(_)
            | Self::Protocol(_) => false,
        }
    }
}
