//! Connections to the database, and what is done when it does not do what it was asked.
//!
//! What conflicted with others is done again; so is what was under way when a connection died, by somebody who is told that it may
//! have been done already. All of that for a moment only: then whoever asked hears that the database does not answer. Nothing is
//! remembered of an answer, so the next question is answered by the database or not at all.

use std::{
    fmt,
    time::{Duration, Instant},
};

use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime,
};
use rand::Rng;
use tokio::time::{sleep, timeout};
use tokio_postgres::{NoTls, error::SqlState};

use super::{tls, url::DatabaseUrl};
use crate::error::VaultError;

/// Connections of one process.
const CONNECTIONS: usize = 16;
/// Threads that move bytes between them and whoever asks.
const THREADS: usize = 2;
/// How long one attempt may take, or a connection to become free.
const ATTEMPT: Duration = Duration::from_secs(10);
/// No attempt begins later than this.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often something is done again.
const TRIES: u32 = 16;
/// Pauses between attempts are random, up to this and never longer than [`LONGEST`].
const PAUSE: Duration = Duration::from_millis(4);
const LONGEST: Duration = Duration::from_millis(250);

/// What is asked of a new connection: that the server syncs, and that it does before it says so.
const DURABLE: &str = "\
    SELECT coalesce(current_setting('fsync', true), 'on') = 'on', \
        CASE WHEN current_setting('synchronous_commit', true) IN ('off', 'local') \
            THEN set_config('synchronous_commit', 'on', false) END";

pub(super) type Client = deadpool_postgres::ClientWrapper;

/// Why an attempt came to nothing.
#[derive(Debug)]
pub(super) enum Failure {
    /// There was no connection.
    Pool(PoolError),
    /// The database said no, or the connection died.
    Sql(tokio_postgres::Error),
    /// It took too long.
    Slow,
    /// It was written earlier and went with a later version, or it never was.
    Unknown,
    /// What was read is not what it should be.
    Vault(VaultError),
}

/// What may be done about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Remedy {
    /// Nothing happened: again.
    Again,
    /// It may have happened: again, and look.
    AgainInDoubt,
    /// The database does not answer.
    GiveUp,
    /// It will not get better.
    None,
}

impl From<PoolError> for Failure {
    fn from(error: PoolError) -> Self {
        Self::Pool(error)
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<VaultError> for Failure {
    fn from(error: VaultError) -> Self {
        Self::Vault(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pool(error) => error.fmt(f),
            Self::Sql(error) => error.fmt(f),
            Self::Slow => write!(f, "no answer within {} s", ATTEMPT.as_secs()),
            Self::Unknown => {
                f.write_str("whether it was written is not known: look before you try again")
            }
            Self::Vault(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Pool(error) => error.source(),
            Self::Sql(error) => error.source(),
            Self::Vault(error) => error.source(),
            Self::Slow | Self::Unknown => None,
        }
    }
}

impl Failure {
    fn remedy(&self) -> Remedy {
        match self {
            Self::Sql(error) => remedy(error),
            Self::Slow => Remedy::AgainInDoubt,
            // No connection, so nothing was asked of it.
            Self::Pool(
                PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)),
            ) => {
                if remedy(error) == Remedy::None {
                    Remedy::None
                } else {
                    Remedy::Again
                }
            }
            Self::Pool(PoolError::Timeout(_)) | Self::Unknown => Remedy::GiveUp,
            Self::Pool(_) | Self::Vault(_) => Remedy::None,
        }
    }
}

fn remedy(error: &tokio_postgres::Error) -> Remedy {
    let Some(code) = error.code() else { return Remedy::AgainInDoubt };
    if [
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::T_R_DEADLOCK_DETECTED,
        // Two wrote the same row at the same time: the next look says who was first.
        SqlState::UNIQUE_VIOLATION,
        // Or made the same table.
        SqlState::DUPLICATE_TABLE,
        // Of two statements sent together the first failed; the second's answer was looked at before.
        SqlState::IN_FAILED_SQL_TRANSACTION,
    ]
    .contains(code)
    {
        return Remedy::Again;
    }
    let (unknown, demoted) =
        (SqlState::T_R_STATEMENT_COMPLETION_UNKNOWN, SqlState::READ_ONLY_SQL_TRANSACTION);
    // Connections that failed, resources that ran out, and servers that start, stop or crash.
    let passes = ["08", "53", "57P"].iter().any(|class| code.code().starts_with(class));
    if passes || *code == unknown || *code == demoted { Remedy::AgainInDoubt } else { Remedy::None }
}

/// A database that is asked from threads that may block.
pub(super) struct Database {
    pool: Pool,
    /// Taken when it ends.
    runtime: Option<tokio::runtime::Runtime>,
    place: String,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Database({})", self.place)
    }
}

impl Database {
    /// Connects to nothing yet.
    pub(super) fn at(url: &DatabaseUrl) -> Result<Self, VaultError> {
        let settings = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let config = url.config.clone();
        let manager = match tls::connector(&url.tls)? {
            Some(tls) => Manager::from_config(config, tls, settings),
            None => Manager::from_config(config, NoTls, settings),
        };
        let pool = Pool::builder(manager)
            .max_size(CONNECTIONS)
            .timeouts(deadpool_postgres::Timeouts {
                wait: Some(ATTEMPT),
                create: Some(ATTEMPT),
                recycle: Some(ATTEMPT),
            })
            .runtime(Runtime::Tokio1)
            .post_create(Hook::async_fn(|client, _| Box::pin(is_durable(client))))
            .build()
            .map_err(|error| VaultError::Database(error.into()))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("vault-database")
            .enable_all()
            .build()
            .map_err(|error| VaultError::Database(error.into()))?;
        Ok(Self { pool, runtime: Some(runtime), place: url.to_string() })
    }

    /// Does some work on a connection, again where that helps. The work hears whether an earlier attempt may have done it already.
    pub(super) fn run<T>(
        &self,
        work: impl AsyncFn(&mut Client, bool) -> Result<T, Failure>,
    ) -> Result<T, VaultError> {
        self.block_on(async {
            let (begun, mut doubt) = (Instant::now(), false);
            let mut tried = 0;
            loop {
                let failure = match self.attempt(&work, doubt).await {
                    Ok(done) => return Ok(done),
                    Err(failure) => failure,
                };
                let remedy = failure.remedy();
                doubt |= remedy == Remedy::AgainInDoubt;
                tried += 1;
                let again = matches!(remedy, Remedy::Again | Remedy::AgainInDoubt);
                if !again || tried == TRIES || begun.elapsed() > PATIENCE {
                    return Err(self.error(failure));
                }
                let longest = PAUSE.saturating_mul(1 << tried).min(LONGEST);
                let pause = rand::rng().random_range(Duration::ZERO..longest);
                sleep(pause).await;
            }
        })
    }

    async fn attempt<T>(
        &self,
        work: &impl AsyncFn(&mut Client, bool) -> Result<T, Failure>,
        doubt: bool,
    ) -> Result<T, Failure> {
        let mut client = self.pool.get().await?;
        let done = timeout(ATTEMPT, work(&mut client, doubt)).await.unwrap_or(Err(Failure::Slow));
        if done.as_ref().is_err_and(|failure| failure.remedy() != Remedy::Again) {
            // Whatever state it is in, nobody else gets it.
            drop(Object::take(client));
        }
        done
    }

    /// A connection of one's own, for what takes many steps.
    pub(super) fn connection(&self) -> Result<Object, VaultError> {
        self.step(async { Ok(self.pool.get().await?) })
    }

    /// One step on a connection of one's own. It is not tried again.
    pub(super) fn step<T>(
        &self,
        step: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, VaultError> {
        self.block_on(step).map_err(|failure| self.error(failure))
    }

    fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.as_ref().expect("it is there until this ends").block_on(work)
    }

    fn error(&self, failure: Failure) -> VaultError {
        match (failure.remedy(), failure) {
            (_, Failure::Vault(error)) => error,
            (Remedy::None, failure) => VaultError::Database(failure.into()),
            (_, failure) => {
                VaultError::Unavailable { place: self.place.clone(), source: failure.into() }
            }
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // An async caller may not wait for threads.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn is_durable(client: &mut Client) -> Result<(), HookError> {
    let row = client.query_one(DURABLE, &[]).await.map_err(HookError::Backend)?;
    match row.try_get(0).map_err(HookError::Backend)? {
        true => Ok(()),
        false => Err(HookError::message("the server does not sync what it writes: set fsync = on")),
    }
}
