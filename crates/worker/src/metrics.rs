//! What the worker counts and measures, in the OpenMetrics text format. No label holds anything that somebody else chose.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus_client::{
    encoding::text::{encode_eof, encode_registry},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};
use sesame_chain::ChainError;
use tokio::net::TcpListener;

use crate::{
    WorkerError,
    book::Counts,
    error::{TRANSACTION_FAILURES, transaction_failure},
};

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Ended = [(&'static str, &'static str); 2];
type Step = [(&'static str, &'static str); 1];
type Reason = [(&'static str, &'static str); 1];
type Height = Gauge<u64, AtomicU64>;

/// Numbers of one running worker. A clone counts with the original.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    registry: Arc<Registry>,
    /// Those of the program around it.
    program: Arc<Registry>,
    tasks: Family<Ended, Counter>,
    attempts: Counter,
    retries: Counter,
    running: Gauge,
    queued: Gauge,
    waiting: Gauge,
    steps: Family<Step, Histogram, fn() -> Histogram>,
    last_block: Height,
    node_failures: Counter,
    failed_transactions: Family<Reason, Counter>,
    draining: Gauge,
}

/// 50 ms to 27 minutes.
fn buckets() -> Histogram {
    Histogram::new(exponential_buckets(0.05, 2.0, 16))
}

impl Metrics {
    pub(crate) fn new(program: Arc<Registry>) -> Self {
        let mut registry = Registry::with_prefix("sesame_worker");
        let tasks = Family::default();
        let steps = Family::new_with_constructor(buckets as fn() -> Histogram);
        let (attempts, retries, node_failures) =
            (Counter::default(), Counter::default(), Counter::default());
        let (running, queued, waiting) = (Gauge::default(), Gauge::default(), Gauge::default());
        let last_block = Height::default();
        registry.register("tasks", "Tasks that ended here, by how and why", tasks.clone());
        registry.register("attempts", "Runs of tasks that were begun", attempts.clone());
        let help = "Attempts that failed and are followed by another";
        registry.register("retries", help, retries.clone());
        registry.register("running", "Tasks that run now", running.clone());
        registry.register("queued", "Tasks that wait for their turn", queued.clone());
        let help = "Tasks that wait to be tried again";
        registry.register("waiting", help, waiting.clone());
        let help = "How long the steps of a run take, each from the end of the one before";
        registry.register_with_unit("step", help, Unit::Seconds, steps.clone());
        let help = "Last block that was searched for tasks";
        registry.register("last_block", help, last_block.clone());
        let help = "Questions for new tasks that the node did not answer";
        registry.register("node_failures", help, node_failures.clone());
        let (failed_transactions, draining) = (Family::default(), Gauge::default());
        let help = "Transactions that came to nothing, by why";
        registry.register("failed_transactions", help, failed_transactions.clone());
        let help = "1 while no task begins and running ones end";
        registry.register("draining", help, draining.clone());
        let new = Self {
            registry: Arc::new(registry),
            program,
            tasks,
            attempts,
            retries,
            running,
            queued,
            waiting,
            steps,
            last_block,
            node_failures,
            failed_transactions,
            draining,
        };
        new.begin_at_zero();
        new
    }

    /// A counter that starts with its first event hides that event from whoever asks for increases.
    fn begin_at_zero(&self) {
        for outcome in ["completed", "over"] {
            drop(self.tasks.get_or_create(&[("outcome", outcome), ("code", "none")]));
        }
        for reason in TRANSACTION_FAILURES {
            drop(self.failed_transactions.get_or_create(&[("reason", reason)]));
        }
    }

    /// A task ended: `completed`, `over`, `failed` or `interrupted`, for the reason of this code.
    pub(crate) fn ended(&self, outcome: &'static str, code: &'static str) {
        self.tasks.get_or_create(&[("outcome", outcome), ("code", code)]).inc();
    }

    pub(crate) fn began(&self) {
        self.attempts.inc();
    }

    pub(crate) fn tries_again(&self) {
        self.retries.inc();
    }

    pub(crate) fn took(&self, step: &'static str, time: Duration) {
        self.steps.get_or_create(&[("step", step)]).observe(time.as_secs_f64());
    }

    pub(crate) fn searched(&self, block: u64) {
        self.last_block.set(block);
    }

    pub(crate) fn node_failed(&self) {
        self.node_failures.inc();
    }

    /// What was asked of the chain failed: a transaction, maybe.
    pub(crate) fn transaction_failed(&self, error: &ChainError) {
        if let Some(reason) = transaction_failure(error) {
            self.failed_transactions.get_or_create(&[("reason", reason)]).inc();
        }
    }

    pub(crate) fn drains(&self) {
        self.draining.set(1);
    }

    pub(crate) fn stand(&self, counts: Counts) {
        let number = |count| i64::try_from(count).unwrap_or(i64::MAX);
        self.running.set(number(counts.running));
        self.queued.set(number(counts.queued));
        self.waiting.set(number(counts.waiting));
    }

    fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode_registry(&mut text, &self.registry)?;
        encode_registry(&mut text, &self.program)?;
        encode_eof(&mut text)?;
        Ok(text)
    }

    /// Serves them at `address` under `/metrics`, as long as the future is polled.
    ///
    /// # Errors
    /// When nobody can listen there.
    pub(crate) async fn serve(
        &self,
        address: SocketAddr,
    ) -> Result<impl Future<Output = ()> + use<>, WorkerError> {
        let failed = |source| WorkerError::Metrics { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        tracing::info!("metrics at http://{address}/metrics");
        let router = Router::new().route("/metrics", get(answer)).with_state(self.clone());
        Ok(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::warn!(%error, "metrics are not served any more");
            }
        })
    }
}

async fn answer(State(metrics): State<Metrics>) -> Response {
    match metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::B256;

    use super::*;

    #[test]
    fn the_names_are_those_of_the_readme() {
        let metrics = Metrics::new(Arc::default());
        metrics.ended("failed", "denied");
        metrics.took("attested", Duration::from_millis(70));
        metrics.began();
        metrics.tries_again();
        metrics.node_failed();
        metrics.searched(7);
        let waited = Duration::from_secs(9);
        metrics.transaction_failed(&ChainError::NotMined { transaction: B256::ZERO, waited });
        metrics.drains();
        metrics.stand(Counts { queued: 1, waiting: 2, running: 3 });
        let text = metrics.text().unwrap();
        for line in [
            r#"sesame_worker_tasks_total{outcome="failed",code="denied"} 1"#,
            "sesame_worker_attempts_total 1",
            "sesame_worker_retries_total 1",
            "sesame_worker_running 3",
            "sesame_worker_queued 1",
            "sesame_worker_waiting 2",
            "sesame_worker_last_block 7",
            "sesame_worker_node_failures_total 1",
            r#"sesame_worker_failed_transactions_total{reason="not_mined"} 1"#,
            r#"sesame_worker_failed_transactions_total{reason="rejected"} 0"#,
            "sesame_worker_draining 1",
            r#"sesame_worker_step_seconds_count{step="attested"} 1"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
            let name = line.split(['{', ' ']).next().unwrap();
            let name = name.trim_end_matches("_count");
            assert!(include_str!("../README.md").contains(name), "the README lacks {name}");
        }
    }
}
