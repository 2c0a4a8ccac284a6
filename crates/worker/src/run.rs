//! One task from the chain to the chain.

use std::time::{Duration, SystemTime};

use sesame_chain::{ChainError, Contracts, PurchasedTask, Report};
use sesame_domain::{TaskId, TaskStatus};
use sesame_enclave::content;
use sesame_protocol::results::SignedResult;
use tracing::{debug, info};

use crate::{
    Config, TaskError,
    folder::Folder,
    launch::{Launch, launch},
};

/// No app is larger.
const MAX_APP: u64 = 1 << 30;

/// How long to wait before the chain is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// How a task went that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// Its result is on the chain.
    Completed,
    /// There was nothing to do: it had ended.
    Ended(TaskStatus),
}

/// Runs one task and returns when its result is on the chain.
///
/// # Errors
/// When there is no result, or the chain does not take it.
pub async fn run_task(config: &Config, task: TaskId) -> Result<Outcome, TaskError> {
    let contracts =
        Contracts::connect(&config.rpc_url, &config.deployment, config.account.clone()).await?;
    let purchase = contracts.purchase_of(task).await?.ok_or(TaskError::Unknown)?;
    run_purchase(config, &contracts, &purchase).await
}

/// Runs a task that was found on the chain.
pub(crate) async fn run_purchase(
    config: &Config,
    contracts: &Contracts,
    purchase: &PurchasedTask,
) -> Result<Outcome, TaskError> {
    let (task, order) = (purchase.id, &purchase.order);
    let facts = contracts.task(task).await?.ok_or(TaskError::Unknown)?;
    if facts.worker != contracts.account() {
        return Err(TaskError::NotOurs);
    }
    if order.sms != config.sms_identity {
        return Err(TaskError::WrongSms);
    }
    if facts.status.is_final() {
        return Ok(Outcome::Ended(facts.status));
    }
    if now() > order.deadline {
        return Err(TaskError::Overdue { deadline: order.deadline });
    }
    let folder = Folder::of(&config.work_dir, task);
    let kept = folder.result().map_err(TaskError::Folder)?;
    let result = match kept.filter(|_| facts.status == TaskStatus::Started) {
        Some(result) => result,
        None => {
            let result = produce(config, contracts, purchase, facts.status, &folder).await;
            if result.is_err() {
                folder.tidy();
            }
            result?
        }
    };
    report(contracts, task, order.deadline, &result).await?;
    folder.tidy();
    info!(task.id = %task, result.digest = %result.digest, "task {task} completed");
    Ok(Outcome::Completed)
}

/// Everything up to the result. Nothing is written to the chain before what would run is known to be the pinned enclave.
async fn produce(
    config: &Config,
    contracts: &Contracts,
    purchase: &PurchasedTask,
    status: TaskStatus,
    folder: &Folder,
) -> Result<SignedResult, TaskError> {
    let (task, order) = (purchase.id, &purchase.order);
    folder.renew().map_err(TaskError::Folder)?;
    let http = content::http().map_err(TaskError::App)?;
    let mut app = Vec::new();
    content::fetch(&http, &purchase.app.uri, purchase.app.digest, MAX_APP, &mut app)
        .await
        .map_err(TaskError::App)?;
    let (tee, sms, copy) = (config.tee.clone(), config.sms_identity, folder.app());
    let got = tokio::task::spawn_blocking(move || {
        std::fs::write(copy, &app).map_err(TaskError::Folder)?;
        tee.enclave_id(&app, sms)
    })
    .await
    .map_err(|error| TaskError::Tee(error.into()))??;
    if got != order.enclave {
        return Err(TaskError::WrongEnclave { expected: order.enclave, got });
    }
    if status == TaskStatus::Purchased {
        start(contracts, task).await?;
    }
    let (deadline, launched) =
        (order.deadline, &Launch { config, task, deadline: order.deadline, folder });
    debug!(task.id = %task, deadline, "task {task} launched");
    let result = launch(launched, now).await?;
    folder.keep_result(&result).map_err(TaskError::Folder)?;
    Ok(result)
}

async fn start(contracts: &Contracts, task: TaskId) -> Result<(), TaskError> {
    match contracts.start(task).await {
        Ok(mined) => {
            info!(task.id = %task, block.number = mined.block.number, "task {task} started");
            Ok(())
        }
        // An earlier attempt's transaction may have come late.
        Err(error) => match contracts.task_status(task).await? {
            Some(TaskStatus::Started) => Ok(()),
            _ => Err(error.into()),
        },
    }
}

/// Reports the result until the chain has it or takes it no more.
async fn report(
    contracts: &Contracts,
    task: TaskId,
    deadline: u64,
    result: &SignedResult,
) -> Result<(), TaskError> {
    loop {
        let Err(error) = contracts.complete(task, report_of(result)).await else {
            return Ok(());
        };
        if matches!(contracts.task_status(task).await, Ok(Some(TaskStatus::Completed))) {
            return Ok(());
        }
        let later = error.is_retryable() || matches!(error, ChainError::NotMined { .. });
        if !later || now() > deadline {
            return Err(error.into());
        }
        debug!(task.id = %task, %error, "task {task}: the chain does not take the result yet");
        tokio::time::sleep(PAUSE).await;
    }
}

fn report_of(result: &SignedResult) -> Report {
    Report {
        digest: result.digest,
        uri: result.uri.clone(),
        key: result.key,
        enclave_signature: result.enclave_signature.clone(),
        sms_signature: result.sms_signature.to_vec().into(),
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(u64::MAX, |since| since.as_secs())
}
