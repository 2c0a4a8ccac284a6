//! Why a run gave no result.

use std::io;

use alloy_primitives::B256;

use crate::{
    app::AppError,
    args::ArgsError,
    channel::{ChannelError, Failure},
    content::ContentError,
    decrypt::DecryptError,
    harden::HardenError,
    output::OutputError,
    params::ParamsError,
    release::ReleaseError,
    scratch::ScratchError,
};

/// A run gave no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// The first argument is not `run`.
    #[error("the first argument must be `run`")]
    NoVerb,
    /// The arguments are not what a launcher takes.
    #[error(transparent)]
    Args(#[from] ArgsError),
    /// The kernel refused a protection.
    #[error(transparent)]
    Harden(#[from] HardenError),
    /// The process cannot wait for anything.
    #[error("the kernel refused to wait for events")]
    Runtime(#[source] io::Error),
    /// The host or a signal ended the run.
    #[error("the run was stopped")]
    Stopped,
    /// The host or the quoting process does not keep to the protocol.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// The SMS released nothing.
    #[error(transparent)]
    Release(#[from] ReleaseError),
    /// The deadline came before the app could start.
    #[error("the deadline {deadline} has passed")]
    Overdue {
        /// Seconds since 1970.
        deadline: u64,
    },
    /// The app here is not the registered one.
    #[error("the app's SHA-256 is {got}, not {expected} as registered")]
    WrongApp {
        /// What the bundle says.
        expected: B256,
        /// What was measured.
        got: B256,
    },
    /// The bundle lacks the key of a protected data that the task declares.
    #[error("the bundle has no key for protected data {n}")]
    KeyMissing {
        /// From 1.
        n: u32,
    },
    /// The task asks for what cannot be given.
    #[error("the order's params")]
    Params(#[from] ParamsError),
    /// An input file cannot be had.
    #[error("input file {n}")]
    InputFile {
        /// From 1.
        n: u32,
        /// Why.
        #[source]
        source: ContentError,
    },
    /// The content of a protected data cannot be had, or is not the registered one.
    #[error("protected data {n}")]
    Content {
        /// From 1.
        n: u32,
        /// Why.
        #[source]
        source: ContentError,
    },
    /// A protected data does not open.
    #[error("protected data {n}")]
    Decrypt {
        /// From 1.
        n: u32,
        /// Why.
        #[source]
        source: DecryptError,
    },
    /// There is no memory to keep files in.
    #[error(transparent)]
    Scratch(#[from] ScratchError),
    /// A file in memory cannot be read or written.
    #[error("cannot use files in memory")]
    Memory(#[source] io::Error),
    /// The host's folder for results cannot be used.
    #[error("cannot use the folder for results")]
    WorkDir(#[source] io::Error),
    /// The app gave no result.
    #[error(transparent)]
    App(#[from] AppError),
    /// The output folder has no digest.
    #[error(transparent)]
    Output(#[from] OutputError),
}

impl LaunchError {
    /// A stable name.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoVerb | Self::Args(_) => "bad_arguments",
            Self::Harden(_) | Self::Runtime(_) => "kernel_refused",
            Self::Stopped => "stopped",
            Self::Channel(_) => "channel_broken",
            Self::Release(error) => error.code(),
            Self::Overdue { .. } => "deadline_passed",
            Self::WrongApp { .. } => "wrong_app",
            Self::KeyMissing { .. } => "bundle_refused",
            Self::Params(_) => "params_refused",
            Self::InputFile { .. } => "input_unavailable",
            Self::Content { source: ContentError::WrongDigest { .. }, .. } => "data_altered",
            Self::Content { .. } => "data_unavailable",
            Self::Decrypt { .. } => "data_does_not_open",
            Self::Scratch(_) | Self::Memory(_) => "no_private_memory",
            Self::WorkDir(_) => "no_folder_for_results",
            Self::App(AppError::TimeLimit) => "time_limit",
            Self::App(AppError::Start(_)) => "app_does_not_start",
            Self::App(AppError::Code(_) | AppError::Signal(_)) => "app_failed",
            Self::Output(_) => "output_refused",
        }
    }

    /// Whether another run may fare better though nothing was mended.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Stopped => true,
            Self::Release(error) => error.is_retryable(),
            Self::Content { source, .. } | Self::InputFile { source, .. } => source.is_retryable(),
            Self::NoVerb
            | Self::Args(_)
            | Self::Harden(_)
            | Self::Runtime(_)
            | Self::Channel(_)
            | Self::Overdue { .. }
            | Self::WrongApp { .. }
            | Self::KeyMissing { .. }
            | Self::Params(_)
            | Self::Decrypt { .. }
            | Self::Scratch(_)
            | Self::Memory(_)
            | Self::WorkDir(_)
            | Self::App(_)
            | Self::Output(_) => false,
        }
    }

    /// The failure as the host is told it: causes in one line, and the reasons of a refusal.
    #[must_use]
    pub fn to_failure(&self) -> Failure {
        use std::error::Error as _;

        let mut detail = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            let text = error.to_string();
            if !detail.contains(&text) {
                detail = format!("{detail}: {text}");
            }
            cause = error.source();
        }
        let reasons = if let Self::Release(error) = self { error.reasons() } else { &[] };
        Failure {
            code: self.code().to_owned(),
            detail,
            retryable: self.is_retryable(),
            reasons: reasons.to_vec(),
        }
    }
}
