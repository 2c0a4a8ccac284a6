//! One task from the chain to the chain.

use std::time::{Duration, SystemTime};

use sesame_chain::{ChainError, Contracts, PurchasedTask, Report};
use sesame_domain::{AssetSnapshot, TaskId, TaskStatus};
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

/// The longest that an app may take to arrive: a server that trickles must not keep a worker from its other tasks.
const APP_TIME: Duration = Duration::from_secs(600);

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
            config.allowed.check(purchase)?;
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
    let app = fetch_app(&purchase.app, app_time(order.deadline, now())).await?;
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

/// How long the app may take to arrive: not past the task's deadline, and never longer than [`APP_TIME`].
fn app_time(deadline: u64, now: u64) -> Duration {
    Duration::from_secs(deadline.saturating_sub(now)).min(APP_TIME)
}

async fn fetch_app(app: &AssetSnapshot, limit: Duration) -> Result<Vec<u8>, TaskError> {
    let http = content::http().map_err(TaskError::App)?;
    let mut bytes = Vec::new();
    let fetched = content::fetch(&http, &app.uri, app.digest, MAX_APP, &mut bytes);
    let fetched = tokio::time::timeout(limit, fetched).await;
    fetched.map_err(|_| TaskError::SlowApp { limit })?.map_err(TaskError::App)?;
    Ok(bytes)
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

#[cfg(test)]
mod tests {
    use alloy::primitives::{Address, B256};
    use sesame_domain::AssetId;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;
    use crate::testing::purchase;

    #[test]
    fn an_app_has_ten_minutes_and_no_longer_than_the_task() {
        for (deadline, now, seconds) in [
            (1000, 999, 1),
            (1000, 1000, 0),
            (1000, 2000, 0),
            (1600, 1000, 600),
            (u64::MAX, 0, 600),
        ] {
            assert_eq!(app_time(deadline, now), Duration::from_secs(seconds), "{deadline} {now}");
        }
    }

    /// Every chunk comes before the patience with a silent server ends.
    #[tokio::test]
    async fn a_server_that_trickles_is_left() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap();
        let trickle = async {
            let (mut peer, _) = server.accept().await.unwrap();
            assert!(peer.read(&mut [0; 1024]).await.unwrap() > 0, "it asks first");
            let head = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n";
            peer.write_all(head).await.unwrap();
            while peer.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            std::future::pending::<()>().await;
        };
        let mut app = purchase(AssetId(B256::ZERO), Address::ZERO).app;
        app.uri = format!("http://{address}/app");
        let limit = Duration::from_millis(300);
        let error = tokio::select! {
            fetched = fetch_app(&app, limit) => fetched.unwrap_err(),
            () = trickle => unreachable!("it trickles on"),
        };
        assert!(matches!(error, TaskError::SlowApp { .. }), "{error}");
        assert!(!error.is_retryable());
    }
}
