//! Follows the chain and runs what names this worker.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs::DirBuilder,
    os::unix::fs::DirBuilderExt,
    pin::pin,
    sync::Arc,
    time::Duration,
};

use rand::Rng;
use sesame_chain::{ChainError, Contracts, PurchasedTask};
use sesame_domain::TaskId;
use tokio::{task::JoinSet, time::Instant};
use tracing::{Instrument, error, info, info_span, warn};

use crate::{
    Config, Outcome, TaskError, WorkerError,
    run::{now, run_purchase},
};

/// How many blocks are read again each time, since a reorg may have put other purchases there.
const REORG_MARGIN: u64 = 64;

/// The longest pause between two attempts at a task.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What is known of a task.
#[derive(Debug)]
enum Known {
    /// Runs, or waits for its turn.
    Running { attempts: u32 },
    /// Failed in a way that may pass.
    Waiting { attempts: u32, until: Instant, purchase: Box<PurchasedTask> },
    /// Nothing to do any more.
    Done,
}

type Ended = (Box<PurchasedTask>, Result<Outcome, TaskError>);

/// Runs every task that names the account, some at a time, until `shutdown` is ready; then lets running tasks end.
///
/// # Errors
/// When the node follows another chain, has other contracts, or the folder for tasks cannot be made.
pub async fn run(
    config: Config,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), WorkerError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&config.work_dir)
        .map_err(|source| WorkerError::WorkDir { path: config.work_dir.clone(), source })?;
    let mut shutdown = pin!(shutdown);
    let contracts = tokio::select! {
        contracts = connect(&config) => contracts?,
        () = &mut shutdown => return Ok(()),
    };
    info!(account = %contracts.account(), "worker {} is ready", contracts.account());
    let mut watch = Watch::new(config, contracts);
    loop {
        let pause = watch.poll().await;
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            Some(ended) = watch.running.join_next() => watch.ended(ended),
            () = &mut shutdown => break,
        }
    }
    info!(
        running = watch.running.len(),
        "worker stops; {} tasks run to their end",
        watch.running.len()
    );
    while let Some(ended) = watch.running.join_next().await {
        watch.ended(ended);
    }
    Ok(())
}

async fn connect(config: &Config) -> Result<Contracts, WorkerError> {
    loop {
        let account = config.account.clone();
        match Contracts::connect(&config.rpc_url, &config.deployment, account).await {
            Ok(contracts) => return Ok(contracts),
            Err(error) if error.is_retryable() => {
                warn!(%error, "the node does not answer yet");
                tokio::time::sleep(jittered(config.poll_interval)).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

struct Watch {
    config: Arc<Config>,
    contracts: Contracts,
    next_block: u64,
    known: BTreeMap<TaskId, Known>,
    queue: Vec<(Box<PurchasedTask>, u32)>,
    running: JoinSet<Ended>,
    silent: u32,
}

impl Watch {
    fn new(config: Config, contracts: Contracts) -> Self {
        Self {
            next_block: config.deployment.first_block,
            config: Arc::new(config),
            contracts,
            known: BTreeMap::new(),
            queue: Vec::new(),
            running: JoinSet::new(),
            silent: 0,
        }
    }

    /// Asks the chain for new tasks, starts what may start, and says when to ask again.
    async fn poll(&mut self) -> Duration {
        let found = self.contracts.tasks_for(self.contracts.account(), self.next_block).await;
        match found {
            Ok(found) => {
                self.silent = 0;
                let first = self.config.deployment.first_block;
                self.next_block = found.block.saturating_sub(REORG_MARGIN).max(first);
                for purchase in found.tasks {
                    if let Entry::Vacant(unknown) = self.known.entry(purchase.id) {
                        unknown.insert(Known::Running { attempts: 0 });
                        self.queue.push((Box::new(purchase), 0));
                    }
                }
            }
            Err(error) => self.unanswered(&error),
        }
        self.wake();
        self.fill();
        jittered(self.config.poll_interval * 2_u32.saturating_pow(self.silent.min(5)))
    }

    fn unanswered(&mut self, error: &ChainError) {
        if self.silent == 0 {
            warn!(%error, "cannot ask the chain for tasks");
        }
        self.silent = self.silent.saturating_add(1);
    }

    /// Queues the tasks whose pause is over.
    fn wake(&mut self) {
        let time = Instant::now();
        for known in self.known.values_mut() {
            if let Known::Waiting { attempts, until, purchase } = known
                && *until <= time
            {
                let attempts = *attempts;
                self.queue.push((purchase.clone(), attempts));
                *known = Known::Running { attempts };
            }
        }
    }

    /// Starts queued tasks up to the limit, oldest first.
    fn fill(&mut self) {
        while self.running.len() < self.config.max_parallel.max(1) && !self.queue.is_empty() {
            let (purchase, attempts) = self.queue.remove(0);
            let (config, contracts) = (Arc::clone(&self.config), self.contracts.clone());
            self.known.insert(purchase.id, Known::Running { attempts });
            let span = info_span!("task", task.id = %purchase.id, attempt = attempts + 1);
            self.running.spawn(
                async move {
                    let result = run_purchase(&config, &contracts, &purchase).await;
                    (purchase, result)
                }
                .instrument(span),
            );
        }
    }

    fn ended(&mut self, ended: Result<Ended, tokio::task::JoinError>) {
        let (purchase, result) = match ended {
            Ok(ended) => ended,
            Err(error) => return error!(%error, "a task's run broke down"),
        };
        let id = purchase.id;
        let attempts = match self.known.get(&id) {
            Some(Known::Running { attempts }) => attempts + 1,
            Some(Known::Waiting { .. } | Known::Done) | None => 1,
        };
        let next = match result {
            Ok(Outcome::Completed | Outcome::Ended(_)) => Some(Known::Done),
            // A reorg undid the purchase: should it come again, it is found again.
            Err(TaskError::Unknown) => None,
            Err(error) => {
                let again = error.is_retryable() && now() < purchase.order.deadline;
                log_failure(id, &error, again);
                Some(if again {
                    let until = Instant::now() + backoff(attempts);
                    Known::Waiting { attempts, until, purchase }
                } else {
                    Known::Done
                })
            }
        };
        match next {
            Some(next) => self.known.insert(id, next),
            None => self.known.remove(&id),
        };
        self.fill();
    }
}

/// A refusal is an answer, so it is no error of the worker's.
fn log_failure(id: TaskId, error: &TaskError, again: bool) {
    use std::error::Error as _;

    let reasons = if let TaskError::Failed(failure) = error { &failure.reasons[..] } else { &[] };
    let reasons: Vec<_> = reasons.iter().map(|reason| format!("{reason:?}")).collect();
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    info!(task.id = %id, %error, cause, reasons = reasons.join("; "), again, "task {id} gave no result");
}

/// 1, 2, 4 … 60 seconds, jittered.
fn backoff(attempts: u32) -> Duration {
    let pause = Duration::from_secs(2_u64.saturating_pow(attempts.saturating_sub(1)));
    jittered(pause.min(LONGEST_PAUSE))
}

/// Between half of it and all of it, so that many workers do not come at the same moment.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(rand::rng().random_range(0.5..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_never_vanish() {
        for attempts in [1, 2, 3, 7, 100, u32::MAX] {
            let longest =
                Duration::from_secs(2_u64.saturating_pow(attempts - 1)).min(LONGEST_PAUSE);
            for _ in 0..20 {
                let pause = backoff(attempts);
                assert!(pause >= longest / 2 && pause <= longest, "{attempts}: {pause:?}");
            }
        }
    }
}
