//! Where evidence is verified: so many at a time, off the async threads, and so many waiting.
//!
//! Whoever asks to be verified is a stranger, and verification is the dearest thing that a stranger can ask for. Beyond what may
//! wait the answer is `busy` at once, and it is `busy` where it is not one's turn soon ([`Line`]); nothing is spent on either.

use std::{sync::Arc, time::Duration};

use tokio::sync::Semaphore;

use crate::{
    line::Line,
    problem::{ApiError, Code},
    service::holding,
};

/// How long a burst of enclaves is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// A bounded pool. It owns no threads: it bounds how many of the runtime's blocking threads it uses.
#[derive(Debug)]
pub(crate) struct Pool {
    /// One permit for each that is verified or waits.
    places: Arc<Semaphore>,
    /// One place for each that is verified.
    running: Line,
    /// How many there are of both.
    most: [usize; 2],
}

/// How much there is to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Load {
    /// Verified now.
    pub(crate) running: usize,
    /// Waiting for that.
    pub(crate) waiting: usize,
    /// As many as both may be together.
    pub(crate) limit: usize,
}

impl Pool {
    pub(crate) fn new(running: usize, waiting: usize) -> Self {
        let most = [running.saturating_add(waiting), running];
        let places = Arc::new(Semaphore::new(most[0].min(Semaphore::MAX_PERMITS)));
        Self { places, running: Line::new(running, PATIENCE), most }
    }

    pub(crate) fn load(&self) -> Load {
        let [limit, most] = self.most;
        let taken = limit.saturating_sub(self.places.available_permits());
        let running = most.saturating_sub(self.running.free());
        Load { running, waiting: taken.saturating_sub(running), limit }
    }

    /// Runs the work when it is its turn, if that is soon.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let place = self.places.clone().try_acquire_owned().map_err(|_| busy())?;
        let turn = self.running.enter().await.ok_or_else(busy)?;
        holding((place, turn), work).await
    }
}

fn busy() -> ApiError {
    ApiError::new(Code::Busy, "Too many enclaves are being verified: attest again in a moment.")
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio_util::task::TaskTracker;

    use super::*;

    /// A bug: whoever asked for a release and hung up got its turn back while the work went on.
    #[tokio::test]
    async fn a_turn_is_held_until_the_work_ends_whoever_hangs_up() {
        let (tasks, turns) = (TaskTracker::new(), Arc::new(Semaphore::new(1)));
        let (begin, begun) = mpsc::channel::<()>();
        let (end, ended) = mpsc::channel::<()>();
        let turn = turns.clone().try_acquire_owned().unwrap();
        let caller = tasks.spawn(holding(turn, move || {
            begin.send(()).map_err(|error| ApiError::internal(&error))?;
            ended.recv().map_err(|error| ApiError::internal(&error))
        }));
        tokio::task::spawn_blocking(move || begun.recv().unwrap()).await.unwrap();
        caller.abort();
        assert!(caller.await.unwrap_err().is_cancelled());
        assert_eq!(turns.available_permits(), 0);
        end.send(()).unwrap();
        while turns.available_permits() == 0 {
            tokio::task::yield_now().await;
        }
    }

    /// The work that a caller walked away from still counts, until it ends.
    #[tokio::test]
    async fn beyond_its_places_the_pool_is_busy_until_one_ends() {
        let (tasks, pool) = (TaskTracker::new(), Arc::new(Pool::new(1, 1)));
        let (end, ended) = mpsc::channel::<()>();
        let work = move || ended.recv().map_err(|error| ApiError::internal(&error));
        let first = tasks.spawn({
            let pool = pool.clone();
            async move { pool.run(work).await }
        });
        while pool.running.free() > 0 {
            tokio::task::yield_now().await;
        }
        let second = tasks.spawn({
            let pool = pool.clone();
            async move { pool.run(|| Ok(2)).await }
        });
        while pool.places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        first.abort();
        assert_eq!(pool.load(), Load { running: 1, waiting: 1, limit: 2 });
        let refused = pool.run(|| Ok(3)).await.unwrap_err();
        assert!(format!("{refused:?}").contains("Busy"), "{refused:?}");

        end.send(()).unwrap();
        assert_eq!(second.await.unwrap().unwrap(), 2);
        assert_eq!(pool.run(|| Ok(4)).await.unwrap(), 4);
        assert_eq!(pool.load(), Load { running: 0, waiting: 0, limit: 2 });
    }
}
