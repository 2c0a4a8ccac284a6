//! Whether secrets could be opened just now: store and key of the vault are asked in the background, so that nobody who asks
//! whether the service is ready waits for a database or a module.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use sesame_vault::{Vault, VaultError};
use tokio_util::sync::CancellationToken;

use crate::{
    problem::{ApiError, Code, chain},
    service::Shared,
    stack::wiped,
};

/// How often each is asked.
const PERIOD: Duration = Duration::from_secs(5);
/// After how long without an answer it counts as failing.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the vault stands on, as it was last seen.
#[derive(Debug)]
pub(crate) struct Health {
    store: Part,
    key: Part,
}

/// One of the two.
#[derive(Debug)]
struct Part {
    name: &'static str,
    ask: fn(&Vault) -> Result<(), VaultError>,
    last: Mutex<Answer>,
}

#[derive(Debug, Clone, Copy)]
struct Answer {
    good: bool,
    at: Instant,
}

impl Health {
    /// Of a vault that was opened just now.
    pub(crate) fn new(now: Instant) -> Self {
        let last = || Mutex::new(Answer { good: true, at: now });
        Self {
            store: Part { name: "store", ask: Vault::reach, last: last() },
            key: Part { name: "key", ask: Vault::try_key, last: last() },
        }
    }

    /// The store answered lately.
    pub(crate) fn store(&self, now: Instant) -> bool {
        self.store.is_good(now)
    }

    /// The key could be used lately.
    pub(crate) fn key(&self, now: Instant) -> bool {
        self.key.is_good(now)
    }

    /// Secrets could be opened.
    pub(crate) fn check(&self, now: Instant) -> Result<(), ApiError> {
        let again = "Nothing can be released; the service's log says why.";
        match (self.store(now), self.key(now)) {
            (true, true) => Ok(()),
            (false, _) => Err(ApiError::new(Code::VaultUnavailable, again)),
            (true, false) => Err(ApiError::new(Code::KeysUnavailable, again)),
        }
    }

    /// Asks both until it is told to stop. One that keeps silent does not keep the other from being asked.
    pub(crate) async fn keep_asking(service: Shared, stop: CancellationToken) {
        let Self { store, key } = &service.health;
        let asking = async { tokio::join!(store.keep_asking(&service), key.keep_asking(&service)) };
        stop.run_until_cancelled(asking).await;
    }
}

impl Part {
    async fn keep_asking(&self, service: &Shared) {
        loop {
            tokio::time::sleep(PERIOD).await;
            let (ask, asked) = (self.ask, service.clone());
            let answer = tokio::task::spawn_blocking(move || wiped(|| ask(&asked.vault))).await;
            self.take(
                answer
                    .map_err(|error| chain(&error))
                    .and_then(|answer| answer.map_err(|error| chain(&error))),
            );
        }
    }

    /// Remembers, and tells the operator of a change.
    fn take(&self, answer: Result<(), String>) {
        let before = std::mem::replace(
            &mut *self.last(),
            Answer { good: answer.is_ok(), at: Instant::now() },
        );
        match answer {
            Ok(()) if before.good => {}
            Ok(()) => tracing::info!("the vault's {} answers again", self.name),
            Err(reason) if before.good => {
                tracing::error!(reason, "the vault's {} fails: not ready", self.name);
            }
            Err(_) => {}
        }
    }

    fn is_good(&self, now: Instant) -> bool {
        let Answer { good, at } = *self.last();
        good && now.saturating_duration_since(at) <= PERIOD + PATIENCE
    }

    fn last(&self) -> MutexGuard<'_, Answer> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(health: &Health, now: Instant) -> Option<Code> {
        health.check(now).err().map(|error| error.code())
    }

    #[test]
    fn what_fails_or_keeps_silent_is_not_ready() {
        let now = Instant::now();
        let health = Health::new(now);
        assert_eq!(code(&health, now), None);
        assert_eq!(code(&health, now + PERIOD + PATIENCE), None);
        let later = now + PERIOD + PATIENCE + Duration::from_secs(1);
        assert_eq!(code(&health, later), Some(Code::VaultUnavailable), "it keeps silent");

        health.key.take(Err("pulled out".to_owned()));
        assert_eq!(code(&health, now), Some(Code::KeysUnavailable));
        assert_eq!((health.store(now), health.key(now)), (true, false));
        health.store.take(Err("away".to_owned()));
        assert_eq!(code(&health, now), Some(Code::VaultUnavailable));
        health.store.take(Ok(()));
        health.key.take(Ok(()));
        assert_eq!(code(&health, now), None);
    }
}
