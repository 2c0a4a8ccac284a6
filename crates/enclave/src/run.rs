//! One run, from a fresh key to a result.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use alloy_primitives::B256;
use sesame_protocol::{
    bundle::Bundle,
    results::{SignedResult, TaskDomain, TaskResult},
};
use sha2::{Digest, Sha256};
use url::Url;

use crate::{
    Launch, LaunchError,
    app::{self, App},
    channel::{Channel, Step, ToHost},
    output,
    prepare::prepare,
    release::{Released, release},
};

/// Runs the task and gives the result for the host.
///
/// # Errors
/// When there is no result. Nothing that was decrypted is left then, nor after success, nor when the future is dropped.
pub async fn run<W: Write>(
    launch: &Launch,
    channel: &mut Channel<W>,
) -> Result<ToHost, LaunchError> {
    let released = release(launch, left(launch.deadline), channel).await?;
    let Released { bundle, digest: bundle_digest, result_key, certificate } = released;
    let tasks = TaskDomain { chain_id: bundle.chain_id, task_registry: bundle.task_registry };
    channel.tell(&ToHost::Progress(Step::Released))?;
    check_app(&launch.app, &bundle)?;

    let work_dir = launch.work_dir.canonicalize().map_err(LaunchError::WorkDir)?;
    let output = output_folder(&work_dir).map_err(LaunchError::WorkDir)?;
    let deadline = bundle.order.deadline;
    let prepared = within(deadline, prepare(&bundle, &output)).await??;
    drop(bundle);
    channel.tell(&ToHost::Progress(Step::Prepared))?;

    let app = App {
        program: &launch.app,
        args: prepared.args.clone(),
        environment: &prepared.environment,
        folder: &prepared.home,
        logs: &work_dir,
    };
    app::run(&app, left(deadline)).await?;
    drop(prepared);
    channel.tell(&ToHost::Progress(Step::Ran))?;

    let digest = output::digest(&output)?;
    let uri = Url::from_file_path(&output)
        .map_err(|()| LaunchError::WorkDir(io::ErrorKind::InvalidInput.into()))?;
    let result = TaskResult {
        task: launch.task.0,
        bundleDigest: bundle_digest,
        resultDigest: digest,
        resultUri: uri.into(),
    };
    Ok(ToHost::Result(SignedResult {
        digest,
        enclave_signature: tasks.sign_result(&result, &result_key),
        uri: result.resultUri,
        key: result_key.address(),
        sms_signature: certificate,
    }))
}

/// The copy that was measured must be what the app's owner registered for this task.
fn check_app(app: &Path, bundle: &Bundle) -> Result<(), LaunchError> {
    let mut digest = Sha256::new();
    let mut file = File::open(app).map_err(LaunchError::Memory)?;
    io::copy(&mut file, &mut digest).map_err(LaunchError::Memory)?;
    let got = B256::from_slice(&digest.finalize());
    if got == bundle.app.digest {
        Ok(())
    } else {
        Err(LaunchError::WrongApp { expected: bundle.app.digest, got })
    }
}

fn output_folder(work_dir: &Path) -> io::Result<PathBuf> {
    let output = work_dir.join("out");
    match fs::remove_dir_all(&output) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    DirBuilder::new().mode(0o700).create(&output)?;
    Ok(output)
}

async fn within<T>(deadline: u64, work: impl Future<Output = T>) -> Result<T, LaunchError> {
    let late = |_| LaunchError::Overdue { deadline };
    tokio::time::timeout(left(deadline), work).await.map_err(late)
}

/// The time up to a deadline. A TEE's clock is its host's: the SMS checks the deadline with its own.
fn left(deadline: u64) -> Duration {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or(Duration::MAX);
    Duration::from_secs(deadline).saturating_sub(now)
}
