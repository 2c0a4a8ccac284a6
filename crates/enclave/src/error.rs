//! Why a run gave no result.

use std::{io, time::Duration};

use alloy_primitives::B256;

use crate::{
    app::AppError,
    args::ArgsError,
    channel::{ChannelError, Failure},
    content::ContentError,
    decrypt::DecryptError,
    evidence::EvidenceError,
    harden::HardenError,
    output::OutputError,
    params::ParamsError,
    release::ReleaseError,
    scratch::ScratchError,
    sealed::SealedError,
    store::StoreError,
};

/// The code of a run that took too long before its app.
pub const PREPARE_LIMIT: &str = "prepare_limit";

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
    /// There is no TEE here of the kind that the launcher is told to be in.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
    /// The app cannot be copied into memory that stays what was measured.
    #[error(transparent)]
    Sealed(#[from] SealedError),
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
    /// What comes before the app took longer than the host gives it.
    #[error("the app could not start within {} s, which is as long as this host waits", limit.as_secs())]
    Slow {
        /// How long.
        limit: Duration,
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
    /// The memory-backed folder is full.
    #[error(
        "/dev/shm is full: it holds decrypted data, input files and results that will be encrypted; give it more (mount -o remount,size=…, or --shm-size for a container), or run fewer tasks at a time"
    )]
    MemoryFull,
    /// The disk of the task's folder is full.
    #[error(
        "the disk of the folder for tasks is full: encrypted content and results are kept there"
    )]
    DiskFull,
    /// The host's folder for results cannot be used.
    #[error("cannot use the folder for results")]
    WorkDir(#[source] io::Error),
    /// The app gave no result.
    #[error(transparent)]
    App(#[from] AppError),
    /// What the app put out is no result.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The result cannot be packed or encrypted.
    #[error("cannot pack the result")]
    Pack(#[source] io::Error),
    /// The result cannot be sent to where it should lie.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Whether there is no room left, or none that this user may have.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl LaunchError {
    /// What became of a file in memory.
    pub(crate) fn memory(error: io::Error) -> Self {
        if is_full(&error) { Self::MemoryFull } else { Self::Memory(error) }
    }

    /// What became of an input file, which goes straight into memory.
    pub(crate) fn input_file(n: u32, source: ContentError) -> Self {
        if let ContentError::Keep(error) = source {
            return Self::memory(error);
        }
        Self::InputFile { n, source }
    }

    /// What became of encrypted content, which goes to the disk.
    pub(crate) fn content(n: u32, source: ContentError) -> Self {
        if matches!(&source, ContentError::Keep(error) if is_full(error)) {
            return Self::DiskFull;
        }
        Self::Content { n, source }
    }

    /// What became of decrypted content, which goes into memory.
    pub(crate) fn decrypt(n: u32, source: DecryptError) -> Self {
        if let DecryptError::Keep(error) = source {
            return Self::memory(error);
        }
        Self::Decrypt { n, source }
    }

    /// What became of the app, whose output is in memory or on the disk.
    pub(crate) fn app(error: AppError, in_memory: bool) -> Self {
        match (error, in_memory) {
            (AppError::NoRoom, true) => Self::MemoryFull,
            (AppError::NoRoom, false) => Self::DiskFull,
            (error, _) => Self::App(error),
        }
    }

    /// What became of a packed result, which goes to the disk.
    pub(crate) fn pack(error: io::Error) -> Self {
        if is_full(&error) { Self::DiskFull } else { Self::Pack(error) }
    }

    /// A stable name.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoVerb | Self::Args(_) => "bad_arguments",
            Self::Harden(_) | Self::Runtime(_) => "kernel_refused",
            Self::Evidence(_) => "no_evidence",
            Self::Stopped => "stopped",
            Self::Channel(_) => "channel_broken",
            Self::Release(error) => error.code(),
            Self::Overdue { .. } => "deadline_passed",
            Self::Slow { .. } => PREPARE_LIMIT,
            Self::WrongApp { .. } => "wrong_app",
            Self::KeyMissing { .. } => "bundle_refused",
            Self::Params(_) => "params_refused",
            Self::InputFile { .. } => "input_unavailable",
            Self::Content { source: ContentError::WrongDigest { .. }, .. } => "data_altered",
            Self::Content { .. } => "data_unavailable",
            Self::Decrypt { source: DecryptError::Swapped(_), .. } => "data_altered",
            Self::Decrypt { .. } => "data_does_not_open",
            Self::MemoryFull => "memory_full",
            Self::DiskFull => "disk_full",
            Self::Scratch(_) | Self::Memory(_) | Self::Sealed(_) => "no_private_memory",
            Self::WorkDir(_) => "no_folder_for_results",
            Self::App(error) => match error {
                AppError::NoSandbox(_) | AppError::Cgroup(_) => "no_sandbox",
                AppError::Start(_) => "app_does_not_start",
                AppError::Code(_) | AppError::Signal(_) => "app_failed",
                AppError::TimeLimit => "time_limit",
                AppError::HostTimeLimit(_) => "host_time_limit",
                AppError::CpuLimit => "cpu_limit",
                AppError::MemoryLimit => "memory_limit",
                AppError::OutputLimit => "output_limit",
                AppError::NoRoom => "disk_full",
            },
            Self::Output(_) => "output_refused",
            Self::Pack(_) => "result_not_packed",
            Self::Store(_) => "result_not_stored",
        }
    }

    /// Whether another run may fare better though nothing was mended.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            // Other tasks that run here may end.
            Self::Stopped | Self::MemoryFull | Self::DiskFull | Self::Slow { .. } => true,
            Self::Release(error) => error.is_retryable(),
            Self::Content { source, .. } | Self::InputFile { source, .. } => source.is_retryable(),
            Self::Store(error) => error.is_retryable(),
            Self::NoVerb
            | Self::Args(_)
            | Self::Evidence(_)
            | Self::Sealed(_)
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
            | Self::Output(_)
            | Self::Pack(_) => false,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_full_is_told_by_where_it_is() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let other = || io::Error::from(io::ErrorKind::PermissionDenied);
        let code = |error: LaunchError| error.code();
        assert_eq!(code(LaunchError::memory(full())), "memory_full");
        assert_eq!(code(LaunchError::decrypt(1, DecryptError::Keep(full()))), "memory_full");
        assert_eq!(code(LaunchError::input_file(1, ContentError::Keep(full()))), "memory_full");
        assert_eq!(code(LaunchError::content(1, ContentError::Keep(full()))), "disk_full");
        assert_eq!(code(LaunchError::pack(full())), "disk_full");
        assert_eq!(code(LaunchError::memory(other())), "no_private_memory");
        assert_eq!(code(LaunchError::content(1, ContentError::Keep(other()))), "data_unavailable");
        assert_eq!(code(LaunchError::pack(other())), "result_not_packed");
        assert!(LaunchError::MemoryFull.is_retryable() && LaunchError::DiskFull.is_retryable());
        assert!(!LaunchError::pack(other()).is_retryable());
    }
}
