//! Follows the chain and runs what names this worker.

use std::{collections::HashMap, pin::pin, sync::Arc, time::Duration};

use alloy::primitives::B256;
use sesame_chain::{ChainError, Contracts, Deployment, PurchasedTask, TasksUpTo};
use sesame_domain::{TaskId, TaskStatus};
use tokio::{
    task::{Id, JoinError, JoinSet},
    time::{Instant, sleep, sleep_until},
};
use tracing::{Instrument, debug, error, info, info_span, warn};

use crate::{
    Config, Stopped, TaskError, WorkerError,
    book::{Book, Ended, Turn},
    pause::{backoff, jittered},
    run::{Host, Outcome, now, run_purchase, status_of},
    work_dir::{Whose, WorkDir},
};

/// How many blocks are read again each time, since a reorg may have put other purchases there; and how many must come after a
/// result before it is deemed to stay.
const REORG_MARGIN: u64 = 64;

/// How many reported tasks are looked at each time.
const CHECKS: usize = 32;

/// Longer than any worker runs.
const EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Runs every task that names the account, some at a time, until `drain` is ready; then lets running tasks end, until `end` is
/// ready as well or [`Config::drain_timeout`] is over. `end` is not polled before.
///
/// # Errors
/// When the node follows another chain or has other contracts, the folder for tasks cannot be made or is another worker's, or
/// nobody can listen where metrics are to be served.
pub async fn run(
    config: Config,
    drain: impl Future<Output = ()> + Send,
    end: impl Future<Output = ()> + Send,
) -> Result<Stopped, WorkerError> {
    let work_dir = WorkDir::take(&config.work_dir)?;
    let config = Config { work_dir: work_dir.path().to_owned(), ..config.settled()? };
    let swept = work_dir.sweep();
    swept.map_err(|source| WorkerError::WorkDir { path: config.work_dir.clone(), source })?;
    let mut drain = pin!(drain);
    let (contracts, genesis) = tokio::select! {
        connected = connect(&config) => connected?,
        () = &mut drain => return Ok(Stopped::Drained),
    };
    let host = Host::new(config, contracts);
    // Ended when it is dropped.
    let mut server = JoinSet::new();
    if let Some(address) = host.config.metrics {
        server.spawn(host.metrics.serve(address).await?);
    }
    info!(account = %host.contracts.account(), "worker {} is ready", host.contracts.account());
    let mut watch = Watch::new(host, work_dir, genesis);
    watch.work(drain).await;
    Ok(watch.drain(end).await)
}

/// The contracts, and which chain they are on.
async fn connect(config: &Config) -> Result<(Contracts, B256), WorkerError> {
    loop {
        let connected = async {
            let account = config.account.clone();
            let contracts =
                Contracts::connect(&config.rpc_url, &config.deployment, account).await?;
            let genesis = contracts.genesis().await?;
            Ok::<_, ChainError>((contracts, genesis))
        };
        match connected.await {
            Ok(connected) => return Ok(connected),
            Err(error) if error.is_retryable() => {
                warn!(%error, "the node does not answer yet");
                sleep(jittered(config.poll_interval)).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// What a run gives: of which purchase, and how it ended.
type Ran = (Arc<PurchasedTask>, Result<Outcome, TaskError>);

/// What the chain says: new tasks, and how reported ones stand; not at all if it does not know them any more.
type Seen = (TasksUpTo, Vec<(TaskId, Option<TaskStatus>)>);

struct Watch {
    host: Arc<Host>,
    work_dir: WorkDir,
    whose: Whose,
    book: Book,
    running: JoinSet<Ran>,
    /// Whose run a task of the runtime is: one that panics says no more than its id.
    runs: HashMap<Id, Arc<PurchasedTask>>,
    next_block: u64,
    head: u64,
    silent: u32,
    interrupted: usize,
}

impl Watch {
    fn new(host: Host, work_dir: WorkDir, genesis: B256) -> Self {
        let Deployment { chain_id, task_registry, first_block, .. } = host.config.deployment;
        let worker = host.contracts.account();
        let whose = Whose { chain_id, genesis, task_registry, worker };
        let next_block = work_dir.resume(whose, first_block);
        info!(block.number = next_block, "looking for tasks from block {next_block} on");
        Self {
            host: Arc::new(host),
            work_dir,
            whose,
            book: Book::default(),
            running: JoinSet::new(),
            runs: HashMap::new(),
            next_block,
            head: 0,
            silent: 0,
            interrupted: 0,
        }
    }

    /// Asks the chain for tasks and runs them, until `drain` is ready. A node that keeps silent holds up neither.
    async fn work(&mut self, mut drain: impl Future<Output = ()> + Unpin) {
        let mut asking = Box::pin(self.ask(Duration::ZERO));
        loop {
            self.fill();
            let wake = self.book.next_wake().unwrap_or_else(|| Instant::now() + EVER);
            tokio::select! {
                seen = &mut asking => {
                    let pause = self.seen(seen);
                    asking = Box::pin(self.ask(pause));
                }
                Some(ran) = self.running.join_next_with_id() => self.ran(ran),
                () = sleep_until(wake) => self.book.wake(Instant::now()),
                () = &mut drain => return,
            }
        }
    }

    /// Lets running tasks end, until `end` is ready or the time for it is over.
    async fn drain(mut self, end: impl Future<Output = ()>) -> Stopped {
        let running = self.running.len();
        self.host.metrics.drains();
        info!(running, "worker stops; {running} tasks run to their end");
        let limit = sleep(self.host.config.drain_timeout.unwrap_or(EVER));
        let (mut end, mut limit) = (pin!(end), pin!(limit));
        let stop = self.host.stop.clone();
        loop {
            tokio::select! {
                ran = self.running.join_next_with_id() => match ran {
                    Some(ran) => self.ran(ran),
                    None => break,
                },
                () = &mut end, if !stop.is_cancelled() => stop.cancel(),
                () = &mut limit, if !stop.is_cancelled() => stop.cancel(),
            }
        }
        self.write_down(true);
        match self.interrupted {
            0 => {
                info!("worker stopped; no task was interrupted");
                Stopped::Drained
            }
            interrupted => {
                warn!(interrupted, "worker stopped; {interrupted} tasks were interrupted");
                Stopped::Interrupted(interrupted)
            }
        }
    }

    /// What the chain says after a pause.
    fn ask(&self, pause: Duration) -> impl Future<Output = Result<Seen, ChainError>> + use<> {
        let (host, from) = (Arc::clone(&self.host), self.next_block);
        let deep = self.book.deep(self.head, REORG_MARGIN, CHECKS);
        async move {
            sleep(pause).await;
            let contracts = &host.contracts;
            let found = contracts.tasks_for(contracts.account(), from).await?;
            let mut statuses = Vec::new();
            for bought in deep {
                match status_of(contracts, bought).await {
                    Ok(status) => statuses.push((bought.task, Some(status))),
                    Err(TaskError::Unknown) => statuses.push((bought.task, None)),
                    Err(TaskError::Chain(error)) => return Err(error),
                    // It is asked again.
                    Err(error) => {
                        debug!(task.id = %bought.task, %error, "a reported task is not seen")
                    }
                }
            }
            Ok((found, statuses))
        }
    }

    /// Takes in what the chain says, and gives when to ask again.
    fn seen(&mut self, seen: Result<Seen, ChainError>) -> Duration {
        let mut pause = self.host.config.poll_interval;
        match seen {
            Ok((found, statuses)) => {
                if self.silent > 0 {
                    info!("the node answers again");
                }
                self.silent = 0;
                self.head = found.head;
                self.host.metrics.searched(found.block);
                self.next_block = next_block(&found, self.host.config.deployment.first_block);
                found.tasks.into_iter().for_each(|purchase| self.found(purchase));
                statuses.into_iter().for_each(|(task, status)| self.reported(task, status));
                if found.block < found.head {
                    pause = Duration::ZERO;
                }
            }
            Err(error) => self.unanswered(&error),
        }
        self.close_overdue();
        self.book.forget(self.next_block, now());
        self.write_down(false);
        jittered(pause * 2_u32.saturating_pow(self.silent.min(5)))
    }

    fn found(&mut self, purchase: PurchasedTask) {
        let task = purchase.id;
        if self.book.found(purchase, now()) {
            // Whatever an earlier worker has of it cannot be reported any more.
            self.host.folder(task).settle();
        }
    }

    fn unanswered(&mut self, error: &ChainError) {
        if self.silent == 0 {
            warn!(%error, "cannot ask the chain for tasks");
        }
        self.host.metrics.node_failed();
        self.silent = self.silent.saturating_add(1);
    }

    /// How a task stands whose result the chain had some blocks ago.
    fn reported(&mut self, task: TaskId, status: Option<TaskStatus>) {
        match status {
            Some(status) if status.is_final() => {
                self.host.folder(task).settle();
                self.book.settled(task);
            }
            Some(_) => {
                warn!(task.id = %task, "a reorg undid the result of task {task}; it is reported again");
                self.book.undone(task);
            }
            None => self.book.vanished(task),
        }
    }

    fn close_overdue(&mut self) {
        for task in self.book.overdue(now()) {
            self.host.metrics.ended("failed", "deadline_passed");
            info!(task.id = %task, "task {task} gave no result: its deadline passed while it waited");
        }
    }

    fn write_down(&mut self, at_once: bool) {
        let block = self.book.resume(self.next_block, now());
        self.work_dir.done(self.whose, block, at_once);
    }

    /// Starts queued tasks up to the limit.
    fn fill(&mut self) {
        while self.running.len() < self.host.config.max_parallel.max(1) {
            let Some(Turn { purchase, attempt }) = self.book.next() else { break };
            let span = info_span!("task", task.id = %purchase.id, attempt);
            let (host, bought) = (Arc::clone(&self.host), Arc::clone(&purchase));
            let run = async move {
                let result = run_purchase(&host, &bought).await;
                (bought, result)
            };
            let run = self.running.spawn(run.instrument(span));
            self.runs.insert(run.id(), purchase);
        }
        self.host.metrics.stand(self.book.counts());
    }

    fn ran(&mut self, ran: Result<(Id, Ran), JoinError>) {
        let Some((purchase, result)) = whose(&mut self.runs, ran) else { return };
        let (task, metrics) = (purchase.id, &self.host.metrics);
        let ended = match &result {
            Ok(outcome) => {
                metrics.ended(outcome_name(*outcome), "none");
                self.after(task, *outcome)
            }
            Err(TaskError::Unknown) => Ended::Unknown,
            Err(TaskError::Stopped) => Ended::Stopped,
            Err(error) => Ended::Failed(error.again()),
        };
        let times = (Instant::now(), now());
        let again = self.book.ended(task, purchase.block, ended, times, backoff);
        match result {
            Ok(_) => {}
            Err(error @ TaskError::Stopped) => {
                self.interrupted += 1;
                metrics.ended("interrupted", error.code());
                info!(task.id = %task, "task {task} was interrupted");
            }
            Err(error) => {
                if let TaskError::Chain(error) = &error {
                    metrics.transaction_failed(error);
                }
                if again {
                    metrics.tries_again();
                } else {
                    metrics.ended("failed", error.code());
                }
                log_failure(task, &error, again);
            }
        }
        metrics.stand(self.book.counts());
    }

    /// A task that has ended on the chain keeps its result here until no reorg can undo that.
    fn after(&self, task: TaskId, outcome: Outcome) -> Ended {
        let folder = self.host.folder(task);
        match outcome {
            Outcome::Completed => Ended::Reported(self.head),
            Outcome::Ended(_) if matches!(folder.result(), Ok(Some(_))) => {
                Ended::Reported(self.head)
            }
            Outcome::Ended(status) => {
                debug!(task.id = %task, ?status, "task {task} had ended");
                folder.sweep();
                Ended::Over
            }
        }
    }
}

/// Whose run it was, and how it ended: also when it panicked.
fn whose(
    runs: &mut HashMap<Id, Arc<PurchasedTask>>,
    ran: Result<(Id, Ran), JoinError>,
) -> Option<Ran> {
    match ran {
        Ok((id, ran)) => {
            runs.remove(&id);
            Some(ran)
        }
        Err(broke) => {
            error!(%broke, "a task's run broke down");
            Some((runs.remove(&broke.id())?, Err(TaskError::BrokeDown)))
        }
    }
}

/// Where to look next: after what was looked at, but for the newest blocks again.
fn next_block(found: &TasksUpTo, first: u64) -> u64 {
    let settled = found.head.saturating_sub(REORG_MARGIN);
    found.block.saturating_add(1).min(settled).max(first)
}

const fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Completed => "completed",
        Outcome::Ended(_) => "over",
    }
}

/// A refusal is an answer, so it is no error of the worker's.
fn log_failure(id: TaskId, error: &TaskError, again: bool) {
    use std::error::Error as _;

    let reasons = if let TaskError::Failed(failure) = error { &failure.reasons[..] } else { &[] };
    let reasons: Vec<_> = reasons.iter().map(|reason| format!("{reason:?}")).collect();
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    let code = error.code();
    info!(task.id = %id, code, %error, cause, reasons = reasons.join("; "), again, "task {id} gave no result");
}

#[cfg(test)]
mod tests {
    use alloy::primitives::Address;
    use sesame_domain::AssetId;

    use super::*;
    use crate::testing::purchase;

    #[tokio::test]
    async fn a_run_that_panics_is_known_by_its_task() {
        let purchase = Arc::new(purchase(AssetId(B256::ZERO), Address::ZERO));
        let mut running = JoinSet::new();
        let run = running.spawn(async { unreachable!("it panics") });
        let mut runs = HashMap::from([(run.id(), Arc::clone(&purchase))]);
        let ran = running.join_next_with_id().await.unwrap();
        let (whose, result) = whose(&mut runs, ran).unwrap();
        assert_eq!(whose, purchase);
        assert!(matches!(result, Err(TaskError::BrokeDown)) && runs.is_empty());
    }

    #[test]
    fn the_newest_blocks_are_read_again_and_a_long_history_in_steps() {
        let next = |block, head| next_block(&TasksUpTo { block, head, tasks: Vec::new() }, 10);
        assert_eq!(next(20_010, 50_000), 20_011);
        assert_eq!(next(50_000, 50_000), 50_000 - REORG_MARGIN);
        assert_eq!(next(49_990, 50_000), 50_000 - REORG_MARGIN);
        assert_eq!(next(30, 30), 10);
        assert_eq!(next(3, 3), 10);
    }
}
