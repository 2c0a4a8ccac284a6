//! The quoting process of the simulated TEE.
//!
//! It copies launcher and app once into sealed memory, measures the copies, starts the launcher from its copy with the app's
//! copy at hand and an empty environment, and quotes for that child alone. What it cannot give is what only hardware gives:
//! its root is a file, and the host's administrator can read all memory.

mod relay;
mod root_file;

use std::{
    io,
    os::fd::AsRawFd,
    path::PathBuf,
    process::{Command, Stdio},
};

use alloy_primitives::Address;
use sesame_attestation::simulated::{Imitated, measure};

pub use root_file::{RootFileError, load_or_create, public_folder};

use self::relay::{Quoter, relay};
use crate::{
    harden::{HardenError, Kernel, harden},
    sealed::{Sealed, SealedError},
};

/// The simulated TEE cannot run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TeeError {
    /// The root is no good.
    #[error(transparent)]
    RootFile(#[from] RootFileError),
    /// Launcher or app cannot be copied into sealed memory.
    #[error(transparent)]
    Sealed(#[from] SealedError),
    /// The kernel refused a protection.
    #[error(transparent)]
    Harden(#[from] HardenError),
    /// The launcher cannot be started or spoken with.
    #[error("cannot run the launcher")]
    Launcher(#[source] io::Error),
}

/// What to run.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The technology that is imitated.
    pub tee: Imitated,
    /// The file of the root.
    pub root_key: PathBuf,
    /// The launcher: measured.
    pub launcher: PathBuf,
    /// The app: measured.
    pub app: PathBuf,
    /// The SMS that the launcher is told to trust: measured.
    pub sms_identity: Address,
    /// The host's arguments for the launcher: not measured, so the launcher believes nothing of them.
    pub host_args: Vec<String>,
}

/// Runs a launcher and its app to their end, and gives the launcher's exit code.
///
/// This process's standard input and output are the host's side of the channel.
///
/// # Errors
/// When the launcher cannot be measured or started.
pub fn run(launch: &Launch) -> Result<u8, TeeError> {
    harden(Kernel::Linux)?;
    let root = load_or_create(&launch.root_key)?;
    let (launcher, launcher_bytes) = Sealed::copy_of(&launch.launcher, "launcher")?;
    let (app, app_bytes) = Sealed::copy_of(&launch.app, "app")?;
    let measurement = measure(&launcher_bytes, &app_bytes, launch.sms_identity);
    drop((launcher_bytes, app_bytes));

    let child = Command::new(launcher.path())
        .arg("run")
        .args(["--tee", &format!("simulated-{}", launch.tee)])
        .args(["--sms-identity", &launch.sms_identity.to_string()])
        .args(["--app-fd", &app.file().as_raw_fd().to_string()])
        .args(&launch.host_args)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(TeeError::Launcher)?;
    let status =
        relay(child, &Quoter { root, tee: launch.tee, measurement }).map_err(TeeError::Launcher)?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX))
}
