//! One task from the chain to the chain.

use std::{
    fs, io,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use sesame_chain::{ChainError, Contracts, PurchasedTask, Report};
use sesame_domain::{AssetSnapshot, TaskId, TaskStatus};
use sesame_enclave::{channel::Step, content};
use sesame_protocol::results::SignedResult;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};
use url::Url;

use crate::{
    Config, TaskError,
    folder::Folder,
    launch::{Launch, launch},
    metrics::Metrics,
    pause::backoff,
};

/// No app is larger.
const MAX_APP: u64 = 1 << 30;

/// The longest that an app may take to arrive: a server that trickles must not keep a worker from its other tasks.
const APP_TIME: Duration = Duration::from_secs(600);

/// How long the TEE of an earlier run may take to end once its worker is gone.
const LEFTOVER: Duration = Duration::from_secs(30);

/// The pause before a node is asked once more that knows no such task.
const SECOND_THOUGHT: Duration = Duration::from_secs(2);

/// How often the chain is asked whether a running task is still to be run.
const WATCH: Duration = Duration::from_secs(5);

/// How a task went that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Outcome {
    /// Its result is on the chain.
    Completed,
    /// There was nothing to do: it had ended.
    Ended(TaskStatus),
}

/// What every run of a worker needs.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) config: Config,
    pub(crate) contracts: Contracts,
    pub(crate) metrics: Metrics,
    /// Ends all runs at once.
    pub(crate) stop: CancellationToken,
}

impl Host {
    pub(crate) fn new(config: Config, contracts: Contracts) -> Self {
        let metrics = Metrics::new(config.program.clone());
        Self { config, contracts, metrics, stop: CancellationToken::new() }
    }

    pub(crate) fn folder(&self, task: TaskId) -> Folder {
        Folder::of(&self.config.work_dir, task)
    }

    /// Waits for work that can be dropped at any moment.
    async fn unless_stopped<T>(
        &self,
        work: impl Future<Output = Result<T, TaskError>>,
    ) -> Result<T, TaskError> {
        self.stop.run_until_cancelled(work).await.unwrap_or(Err(TaskError::Stopped))
    }
}

/// Runs a task that was found on the chain. Its result is kept in its folder even when the chain has it.
pub(crate) async fn run_purchase(
    host: &Host,
    purchase: &PurchasedTask,
) -> Result<Outcome, TaskError> {
    let task = purchase.id;
    let folder = host.folder(task);
    let status = host.unless_stopped(check(host, purchase)).await?;
    if status.is_final() {
        return Ok(Outcome::Ended(status));
    }
    let kept = folder.result().map_err(TaskError::Folder)?;
    let result = match kept {
        // Even if a reorg undid the start: the chain is then told of that again, and of this result.
        Some(result) => {
            info!(task.id = %task, "task {task} has its result from an earlier run");
            result
        }
        None => match produce(host, purchase, status, &folder).await {
            Ok(result) => result,
            Err(error) => {
                folder.give_up();
                let TaskError::Over(status) = error else { return Err(error) };
                return Ok(Outcome::Ended(status));
            }
        },
    };
    folder.sweep();
    let begun = Instant::now();
    let deadline = purchase.order.deadline;
    let reported = report(host, Bought::of(purchase), deadline, &result);
    let outcome = host.unless_stopped(reported).await?;
    if outcome == Outcome::Completed {
        host.metrics.took("reported", begun.elapsed());
        info!(task.id = %task, result.digest = %result.digest, "task {task} completed");
    }
    Ok(outcome)
}

/// What the chain says of the task, if it is one that this worker may run.
async fn check(host: &Host, purchase: &PurchasedTask) -> Result<TaskStatus, TaskError> {
    let order = &purchase.order;
    let bought = Bought::of(purchase);
    let contracts = &host.contracts;
    let facts = known(bought, || contracts.task(bought.task), || head(contracts)).await?;
    if facts.worker != host.contracts.account() {
        return Err(TaskError::NotOurs);
    }
    if order.sms != host.config.sms_identity {
        return Err(TaskError::WrongSms);
    }
    if !facts.status.is_final() && now() > order.deadline {
        return Err(TaskError::Overdue { deadline: order.deadline });
    }
    Ok(facts.status)
}

/// Which task, and how high the chain has to be to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bought {
    pub(crate) task: TaskId,
    pub(crate) block: u64,
}

impl Bought {
    pub(crate) fn of(purchase: &PurchasedTask) -> Self {
        Self { task: purchase.id, block: purchase.block.number }
    }
}

/// How a task stands that was found on the chain.
pub(crate) async fn status_of(
    contracts: &Contracts,
    bought: Bought,
) -> Result<TaskStatus, TaskError> {
    known(bought, || contracts.task_status(bought.task), || head(contracts)).await
}

async fn head(contracts: &Contracts) -> Result<u64, ChainError> {
    Ok(contracts.head().await?.number)
}

/// What the chain says of a task that was found on it. That there is no such task is believed only of a node that has got to the
/// block of its purchase, and says so twice: others are behind, and a reorg goes on for a moment.
async fn known<T, Asked, Seen>(
    bought: Bought,
    ask: impl Fn() -> Asked,
    head: impl Fn() -> Seen,
) -> Result<T, TaskError>
where
    Asked: Future<Output = Result<Option<T>, ChainError>>,
    Seen: Future<Output = Result<u64, ChainError>>,
{
    for asked in 0..2 {
        if let Some(found) = ask().await? {
            return Ok(found);
        }
        let head = head().await?;
        if head < bought.block {
            return Err(TaskError::Behind { head, block: bought.block });
        }
        if asked == 0 {
            tokio::time::sleep(SECOND_THOUGHT).await;
        }
    }
    Err(TaskError::Unknown)
}

/// Everything up to the result. Nothing is written to the chain before what would run is known to be the pinned enclave.
async fn produce(
    host: &Host,
    purchase: &PurchasedTask,
    status: TaskStatus,
    folder: &Folder,
) -> Result<SignedResult, TaskError> {
    let (task, order) = (purchase.id, &purchase.order);
    host.config.allowed.check(purchase)?;
    let vacated = async { folder.vacated(LEFTOVER).await.map_err(TaskError::Leftover) };
    host.unless_stopped(vacated).await?;
    folder.renew().map_err(TaskError::Folder)?;
    host.metrics.began();
    let steps = Steps::new(host, task);
    let (gateways, time) = (&host.config.options.ipfs_gateways, app_time(order.deadline, now()));
    host.unless_stopped(fetch_app(folder, &purchase.app, gateways, time)).await?;
    steps.done("fetched");
    check_enclave(host, purchase, folder).await?;
    steps.done("measured");
    if status == TaskStatus::Purchased {
        host.unless_stopped(start(&host.contracts, task)).await?;
        steps.done("started");
    }
    let launched = &Launch {
        config: &host.config,
        task,
        deadline: order.deadline,
        folder,
        progress: &|step| steps.done(name(step)),
    };
    debug!(task.id = %task, order.deadline, "task {task} launched");
    let result = launch(launched, now, called_off(host, Bought::of(purchase))).await?;
    keep(folder, &result).await;
    Ok(result)
}

/// The enclave that would run is the pinned one.
async fn check_enclave(
    host: &Host,
    purchase: &PurchasedTask,
    folder: &Folder,
) -> Result<(), TaskError> {
    let (tee, sms, copy) = (host.config.tee.clone(), host.config.sms_identity, folder.app());
    let measured = tokio::task::spawn_blocking(move || {
        let app = fs::read(copy).map_err(TaskError::Folder)?;
        tee.enclave_id(&app, sms)
    });
    let got = measured.await.map_err(|error| TaskError::Tee(error.into()))??;
    if got == purchase.order.enclave {
        Ok(())
    } else {
        Err(TaskError::WrongEnclave { expected: purchase.order.enclave, got })
    }
}

/// Keeps the result so that the task is not run again, whatever happens to this process. One that cannot be kept is reported
/// all the same.
async fn keep(folder: &Folder, result: &SignedResult) {
    let (folder, result) = (folder.clone(), result.clone());
    let kept = tokio::task::spawn_blocking(move || folder.keep_result(&result)).await;
    if let Err(error) = kept.unwrap_or_else(|error| Err(io::Error::other(error))) {
        warn!(%error, "cannot keep the result: a worker that is killed now runs the task again");
    }
}

/// How long the app may take to arrive: not past the task's deadline, and never longer than [`APP_TIME`].
fn app_time(deadline: u64, now: u64) -> Duration {
    Duration::from_secs(deadline.saturating_sub(now)).min(APP_TIME)
}

async fn fetch_app(
    folder: &Folder,
    app: &AssetSnapshot,
    gateways: &[Url],
    limit: Duration,
) -> Result<(), TaskError> {
    let fetcher = content::Fetcher::new(gateways).map_err(TaskError::App)?;
    let mut copy = folder.new_app().map_err(TaskError::Folder)?;
    let fetched = fetcher.fetch(&app.uri, app.digest, MAX_APP, &mut copy);
    let fetched = tokio::time::timeout(limit, fetched).await;
    fetched.map_err(|_| TaskError::SlowApp { limit })?.map_err(TaskError::App)?;
    Ok(())
}

/// Reports how a run goes: each step with its time since the one before.
struct Steps<'a> {
    host: &'a Host,
    task: TaskId,
    since: Mutex<Instant>,
}

impl<'a> Steps<'a> {
    fn new(host: &'a Host, task: TaskId) -> Self {
        Self { host, task, since: Mutex::new(Instant::now()) }
    }

    fn done(&self, step: &'static str) {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        let took = since.elapsed();
        *since = Instant::now();
        self.host.metrics.took(step, took);
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        info!(task.id = %self.task, took_ms, "task {} {step}", self.task);
    }
}

const fn name(step: Step) -> &'static str {
    match step {
        Step::Attested => "attested",
        Step::Released => "released",
        Step::Prepared => "prepared",
        Step::Ran => "ran",
    }
}

/// Ready with the reason once a running task is not to be run any more. One whose start a reorg undid is started again.
async fn called_off(host: &Host, bought: Bought) -> TaskError {
    let task = bought.task;
    let watched = async {
        loop {
            tokio::time::sleep(WATCH).await;
            match status_of(&host.contracts, bought).await {
                Ok(status) if status.is_final() => return TaskError::Over(status),
                Ok(TaskStatus::Purchased) => {
                    if let Err(error) = start(&host.contracts, task).await {
                        debug!(task.id = %task, %error, "task {task} cannot be started again");
                    }
                }
                Err(TaskError::Unknown) => return TaskError::Unknown,
                Ok(_) | Err(_) => {}
            }
        }
    };
    host.stop.run_until_cancelled(watched).await.unwrap_or(TaskError::Stopped)
}

async fn start(contracts: &Contracts, task: TaskId) -> Result<(), TaskError> {
    match contracts.start(task).await {
        Ok(mined) => {
            debug!(task.id = %task, block.number = mined.block.number, "task {task} is started");
            Ok(())
        }
        // An earlier attempt's transaction may have come late.
        Err(error) => match contracts.task_status(task).await? {
            Some(TaskStatus::Started) => Ok(()),
            Some(status) if status.is_final() => Err(TaskError::Over(status)),
            _ => Err(error.into()),
        },
    }
}

/// Reports the result until the chain has it or takes it no more.
async fn report(
    host: &Host,
    bought: Bought,
    deadline: u64,
    result: &SignedResult,
) -> Result<Outcome, TaskError> {
    let task = bought.task;
    let mut attempts = 0;
    loop {
        let error = match report_once(&host.contracts, bought, result).await {
            Err(error @ (TaskError::Chain(_) | TaskError::Behind { .. })) => error,
            ended => return ended,
        };
        if !error.is_retryable() {
            return Err(error);
        }
        if let TaskError::Chain(error) = &error {
            host.metrics.transaction_failed(error);
        }
        if now() > deadline {
            return Err(TaskError::Overdue { deadline });
        }
        attempts += 1;
        debug!(task.id = %task, %error, "task {task}: the chain does not take the result yet");
        tokio::time::sleep(backoff(attempts)).await;
    }
}

async fn report_once(
    contracts: &Contracts,
    bought: Bought,
    result: &SignedResult,
) -> Result<Outcome, TaskError> {
    let task = bought.task;
    let status = status_of(contracts, bought).await?;
    if status == TaskStatus::Completed {
        return Ok(Outcome::Completed);
    }
    if status.is_final() {
        return Ok(Outcome::Ended(status));
    }
    if status == TaskStatus::Purchased {
        // A reorg undid the start.
        start(contracts, task).await?;
    }
    match contracts.complete(task, report_of(result)).await {
        Ok(_) => Ok(Outcome::Completed),
        // An earlier transaction may have come late.
        Err(error) => match contracts.task_status(task).await? {
            Some(TaskStatus::Completed) => Ok(Outcome::Completed),
            _ => Err(error.into()),
        },
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

    /// What a node answers one after the other, each with its head; gives what is made of it.
    async fn answers(answers: &[(Option<u8>, u64)]) -> Result<u8, TaskError> {
        let asked = std::cell::Cell::new(0);
        let bought = Bought { task: TaskId::default(), block: 7 };
        let ask = || {
            asked.set(asked.get() + 1);
            std::future::ready(Ok(answers[asked.get() - 1].0))
        };
        let head = || std::future::ready(Ok(answers[asked.get() - 1].1));
        let known = known(bought, ask, head).await;
        assert_eq!(asked.get(), answers.len());
        known
    }

    #[tokio::test]
    async fn one_node_that_is_behind_drops_no_task() {
        assert_eq!(answers(&[(Some(1), 0)]).await.unwrap(), 1, "what is known needs no proof");
        assert_eq!(answers(&[(None, 7), (Some(2), 7)]).await.unwrap(), 2);
        for behind in [&[(None, 6)][..], &[(None, 9), (None, 6)]] {
            let error = answers(behind).await.unwrap_err();
            assert!(matches!(error, TaskError::Behind { head: 6, block: 7 }), "{error}");
            assert!(error.is_retryable());
        }
        let gone = answers(&[(None, 7), (None, 8)]).await.unwrap_err();
        assert!(matches!(gone, TaskError::Unknown), "{gone}");
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
        let work_dir = tempfile::tempdir().unwrap();
        let folder = Folder::of(work_dir.path(), TaskId::default());
        folder.renew().unwrap();
        let limit = Duration::from_millis(300);
        let error = tokio::select! {
            fetched = fetch_app(&folder, &app, &[], limit) => fetched.unwrap_err(),
            () = trickle => unreachable!("it trickles on"),
        };
        assert!(matches!(error, TaskError::SlowApp { .. }), "{error}");
        assert!(!error.is_retryable());
    }
}
