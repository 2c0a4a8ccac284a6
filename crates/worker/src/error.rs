//! Why a worker stops, and why a task gave no result.

use std::{io, net::SocketAddr, path::PathBuf, time::Duration};

use alloy::primitives::Address;
use sesame_chain::ChainError;
use sesame_domain::{AssetId, EnclaveId, TaskStatus};
use sesame_enclave::{
    PREPARE_LIMIT,
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
    /// The folder for tasks cannot be made or used.
    #[error("cannot use {}", path.display())]
    WorkDir {
        /// Which folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another worker works in the folder: two of them would run the same tasks, and remove each other's results.
    #[error("another worker works in {}: give each a folder of its own", path.display())]
    InUse {
        /// Which folder.
        path: PathBuf,
    },
    /// What authorizes to the operator's storage cannot be found.
    #[error("cannot find the authorization for results at {}", path.display())]
    Authorization {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// An enclave of Gramine sees the files of its manifest and the tasks' folders alone.
    #[error(
        "no enclave of Gramine can read the authorization for results: its manifest has no such file"
    )]
    NoAuthorizationInGramine,
    /// The metrics cannot be served there.
    #[error("cannot serve metrics at {address}")]
    Metrics {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// How a worker stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Stopped {
    /// All tasks that ran have ended by themselves.
    Drained,
    /// So many tasks were ended before the chain had their result. A worker that is started again goes on with them.
    Interrupted(usize),
}

/// Whether another attempt is worth it though nothing was mended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    /// It is not.
    Never,
    /// A few are: what broke may be broken for good.
    Few,
    /// As long as the task may run: it passes by itself, or when its operator comes.
    UntilDeadline,
}

/// A task gave no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// The chain knows no such task: it never did, or a reorg undid the purchase.
    #[error("the chain knows no such task")]
    Unknown,
    /// The node has not got to the block of the purchase, and knows no such task.
    #[error("the node is at block {head}, and the task was bought in block {block}")]
    Behind {
        /// The node's newest block.
        head: u64,
        /// The purchase's.
        block: u64,
    },
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
    /// The TEE of an earlier run is still there.
    #[error("the TEE of an earlier run does not end")]
    Leftover(#[source] io::Error),
    /// The task ended on the chain while it ran here: a reorg let its requester cancel it, say.
    #[error("the task ended on the chain meanwhile: {0:?}")]
    Over(TaskStatus),
    /// The worker stops.
    #[error("the worker stops")]
    Stopped,
    /// The code that runs tasks broke down.
    #[error("the worker's own code broke down")]
    BrokeDown,
    /// The TEE says why there is no result.
    #[error("the run failed: {}: {}", .0.code, .0.detail)]
    Failed(Failure),
}

impl TaskError {
    /// Whether another attempt may fare better though nothing was mended.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.again() != Again::Never
    }

    pub(crate) fn again(&self) -> Again {
        let until_deadline = |passes| if passes { Again::UntilDeadline } else { Again::Never };
        match self {
            Self::App(error) => until_deadline(error.is_retryable()),
            Self::Chain(error) => until_deadline(passes(error)),
            Self::Behind { .. } => Again::UntilDeadline,
            // Whoever keeps a run waiting could keep others waiting as long as that.
            Self::Failed(failure) if failure.retryable && failure.code == PREPARE_LIMIT => {
                Again::Few
            }
            Self::Failed(failure) => until_deadline(failure.retryable),
            Self::Tee(_)
            | Self::Silent { .. }
            | Self::Folder(_)
            | Self::Leftover(_)
            | Self::BrokeDown => Again::Few,
            Self::Unknown
            | Self::NotOurs
            | Self::WrongSms
            | Self::AppNotAllowed(_)
            | Self::RequesterNotAllowed(_)
            | Self::Overdue { .. }
            | Self::SlowApp { .. }
            | Self::WrongEnclave { .. }
            | Self::NoTee
            | Self::Over(_)
            | Self::Stopped
            | Self::Protocol(_) => Again::Never,
        }
    }

    /// A stable name, one of few: that of the TEE's failure if it has one that is known.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown_task",
            Self::Behind { .. } => "node_behind",
            Self::NotOurs => "not_ours",
            Self::WrongSms => "wrong_sms",
            Self::AppNotAllowed(_) => "app_not_allowed",
            Self::RequesterNotAllowed(_) => "requester_not_allowed",
            Self::Overdue { .. } => "deadline_passed",
            Self::App(_) => "app_unavailable",
            Self::SlowApp { .. } => "app_slow",
            Self::WrongEnclave { .. } => "wrong_enclave",
            Self::NoTee => "no_tee",
            Self::Chain(ChainError::Refused(_)) => "contract_refused",
            Self::Chain(_) => "chain_unavailable",
            Self::Folder(_) => "folder_unusable",
            Self::Tee(_) => "tee_does_not_start",
            Self::Protocol(_) => "tee_broke_protocol",
            Self::Silent { .. } => "tee_silent",
            Self::Leftover(_) => "tee_left_over",
            Self::Over(_) => "ended_meanwhile",
            Self::Stopped => "worker_stopped",
            Self::BrokeDown => "worker_broke_down",
            Self::Failed(failure) => known_code(&failure.code),
        }
    }
}

/// Whether a node's or a contract's no may turn into a yes by itself, or by a hand that has nothing to do with the task. What
/// the chain says is asked anew by each attempt, so a transaction that comes late is found.
pub(crate) const fn passes(error: &ChainError) -> bool {
    // Whatever a node says for reasons of its own: that it is busy, that it has not caught up, that the account has no coin
    // left.
    matches!(
        error,
        ChainError::Unreachable { .. }
            | ChainError::Rejected { .. }
            | ChainError::Malformed(_)
            | ChainError::NotMined { .. }
            | ChainError::Reverted { .. }
    )
}

/// Why transactions come to nothing, in one of few words.
pub(crate) const TRANSACTION_FAILURES: [&str; 4] = ["not_mined", "rejected", "reverted", "refused"];

/// Which of [`TRANSACTION_FAILURES`] it is; none if the chain was not told, or did not answer.
pub(crate) const fn transaction_failure(error: &ChainError) -> Option<&'static str> {
    if matches!(error, ChainError::NotMined { .. }) {
        Some("not_mined")
    } else if matches!(error, ChainError::Rejected { .. }) {
        Some("rejected")
    } else if matches!(error, ChainError::Reverted { .. }) {
        Some("reverted")
    } else if matches!(error, ChainError::Refused(_)) {
        Some("refused")
    } else {
        None
    }
}

/// What a launcher may say of a failure, as [`sesame_enclave::LaunchError::code`] names it.
const CODES: &[&str] = &[
    "app_does_not_start",
    "app_failed",
    "bad_arguments",
    "bundle_refused",
    "channel_broken",
    "cpu_limit",
    "data_altered",
    "data_does_not_open",
    "data_unavailable",
    "deadline_passed",
    "denied",
    "disk_full",
    "host_time_limit",
    "input_unavailable",
    "kernel_refused",
    "memory_full",
    "memory_limit",
    "no_evidence",
    "no_folder_for_results",
    "no_private_memory",
    "no_sandbox",
    "not_attested",
    "output_limit",
    "output_refused",
    "params_refused",
    PREPARE_LIMIT,
    "result_not_packed",
    "result_not_stored",
    "sms_refused",
    "sms_unavailable",
    "stopped",
    "substituted",
    "time_limit",
    "wrong_app",
];

/// A TEE may say anything; a metric's label may not.
fn known_code(code: &str) -> &'static str {
    CODES.iter().find(|known| **known == code).copied().unwrap_or("other_failure")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A code that a launcher gives and this list lacks would be counted as `other_failure`.
    #[test]
    fn every_code_of_the_launcher_is_known() {
        let sources = [
            include_str!("../../enclave/src/error.rs"),
            include_str!("../../enclave/src/release.rs"),
        ];
        let mut seen = 0;
        for source in sources {
            let body = source.split("fn code(&self)").nth(1).unwrap();
            let body = body.split("\n    }\n").next().unwrap();
            for code in body.split('"').skip(1).step_by(2) {
                assert_eq!(known_code(code), code, "add it to CODES");
                seen += 1;
            }
        }
        assert!(seen > 15, "only {seen} codes");
    }

    #[test]
    fn what_a_tee_makes_up_is_no_label() {
        let failure = |code: &str| {
            TaskError::Failed(Failure {
                code: code.to_owned(),
                detail: String::new(),
                retryable: false,
                reasons: Vec::new(),
            })
        };
        assert_eq!(failure("denied").code(), "denied");
        for code in ["", "Denied", "denied ", "a\nb", &"x".repeat(10_000)] {
            assert_eq!(failure(code).code(), "other_failure", "{code:?}");
        }
    }

    #[test]
    fn who_keeps_a_run_waiting_does_not_do_so_until_the_deadline() {
        let again = |code: &str, retryable| {
            let (code, detail, reasons) = (code.to_owned(), String::new(), Vec::new());
            TaskError::Failed(Failure { code, detail, retryable, reasons }).again()
        };
        assert_eq!(again(PREPARE_LIMIT, true), Again::Few);
        assert_eq!(again(PREPARE_LIMIT, false), Again::Never);
        assert_eq!(again("data_unavailable", true), Again::UntilDeadline);
    }

    #[test]
    fn a_node_that_talks_nonsense_is_asked_again_and_a_contract_that_refuses_is_not() {
        for (error, again) in [
            (ChainError::Malformed("x".into()), Again::UntilDeadline),
            (
                ChainError::Rejected { code: -32000, message: "nonce too low".into() },
                Again::UntilDeadline,
            ),
            (
                ChainError::NotMined { transaction: Default::default(), waited: Duration::ZERO },
                Again::UntilDeadline,
            ),
            (ChainError::WrongChain { expected: 1, got: 2 }, Again::Never),
        ] {
            assert_eq!(TaskError::Chain(error).again(), again);
        }
    }
}
