//! One run, from a fresh key to a result.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
    time::{Duration, SystemTime},
};

use alloy_primitives::B256;
use sesame_protocol::{
    bundle::Bundle,
    results::{SignedResult, TaskDomain, TaskResult},
};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, timeout_at};

use crate::{
    Launch, LaunchError,
    app::{self, App},
    channel::{Channel, Step, ToHost},
    deliver::{Delivered, deliver},
    prepare::prepare,
    release::{ReleaseError, Released, release},
};

/// No app is prepared and no result tried to be stored for longer, whatever the deadline.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Runs the task and gives the result for the host.
///
/// # Errors
/// When there is no result. Nothing that was decrypted is left then, nor after success, nor when the future is dropped.
pub async fn run<W: Write>(
    launch: &Launch,
    channel: &mut Channel<W>,
) -> Result<ToHost, LaunchError> {
    let attester = launch.attester()?;
    let ready_by = Instant::now() + launch.options.prepare_time.min(LONGEST);
    let patience = left(launch.deadline).min(launch.options.prepare_time);
    let released = release(launch, &attester, patience, channel).await;
    let released = released.map_err(|error| {
        let of_preparing =
            matches!(error, ReleaseError::Overdue) && !left(launch.deadline).is_zero();
        if of_preparing { launch.too_slow() } else { error.into() }
    })?;
    let Released { bundle, digest: bundle_digest, result_key, certificate } = released;
    let tasks = TaskDomain { chain_id: bundle.chain_id, task_registry: bundle.task_registry };
    channel.tell(&ToHost::Progress(Step::Released))?;
    let app = launch.settle_app()?;
    let program = app.path();
    check_app(&program, &bundle)?;

    let work_dir = launch.work_dir.canonicalize().map_err(LaunchError::WorkDir)?;
    let deadline = bundle.order.deadline;
    let options = &launch.options;
    let around = (launch.platform.kernel(), &launch.confinement.sandbox);
    let prepared = within(deadline, prepare(&bundle, options, around, &work_dir));
    let prepared = timeout_at(ready_by, prepared).await.map_err(|_| launch.too_slow())???;
    drop(bundle);
    channel.tell(&ToHost::Progress(Step::Prepared))?;

    let app = App {
        program: &program,
        args: prepared.args.clone(),
        environment: &prepared.environment,
        secrets: &prepared.secrets,
        folders: &prepared.folders,
        network: prepared.network,
        logs: &prepared.logs,
    };
    let ran = app::run(&app, &launch.confinement, left(deadline)).await;
    ran.map_err(|error| LaunchError::app(error, prepared.result_key.is_some()))?;
    channel.tell(&ToHost::Progress(Step::Ran))?;

    let until = Instant::now() + left(deadline).min(LONGEST);
    let delivered = deliver(launch.task, prepared, options, &work_dir, until);
    let Delivered { digest, uri } = within(deadline, delivered).await??;
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

impl Launch {
    const fn too_slow(&self) -> LaunchError {
        LaunchError::Slow { limit: self.options.prepare_time }
    }
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

async fn within<T>(deadline: u64, work: impl Future<Output = T>) -> Result<T, LaunchError> {
    let late = |_| LaunchError::Overdue { deadline };
    tokio::time::timeout(left(deadline), work).await.map_err(late)
}

/// The time up to a deadline. A TEE's clock is its host's: the SMS checks the deadline with its own.
fn left(deadline: u64) -> Duration {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or(Duration::MAX);
    Duration::from_secs(deadline).saturating_sub(now)
}
