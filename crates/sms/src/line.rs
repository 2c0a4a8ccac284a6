//! A line in front of what only so many may use at a time. It takes a burst, and stays short however many come: controlled delay.
//!
//! While a place was free a moment ago, whoever comes waits patiently. Once there were always others who waited, or somebody waited
//! in vain, the line serves nobody: it makes every answer late by as much and gives no more of them, so that who comes then waits
//! for a moment only.
//! Nichols and Jacobson, "Controlling Queue Delay", ACM Queue 10(5), 2012; for servers Maurer, "Fail at Scale", ACM Queue 13(8),
//! 2015.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};

/// A line stays when no place was free for so long: what piles up while a disk pauses for a moment is worked off by then.
const LONG: Duration = Duration::from_millis(500);
/// A line stays when the last who waited in vain left no longer ago.
const LATELY: Duration = Duration::from_millis(100);
/// How long it is waited for a place in a line that stays.
const MOMENT: Duration = Duration::from_millis(5);

/// Places, and who waits for one, first come, first served.
#[derive(Debug)]
pub(crate) struct Line {
    places: Arc<Semaphore>,
    /// How long it is waited for a place in a burst.
    patience: Duration,
    seen: Mutex<Seen>,
}

/// What tells how the line is.
#[derive(Debug)]
struct Seen {
    /// When somebody last found a place free.
    free: Instant,
    /// When somebody last waited in vain.
    in_vain: Option<Instant>,
}

/// The right to be worked on, until it is dropped.
#[derive(Debug)]
#[must_use = "the place is free again when this is dropped"]
pub(crate) struct Place(#[expect(dead_code, reason = "held, not read")] OwnedSemaphorePermit);

impl Line {
    /// In front of so many places.
    pub(crate) fn new(places: usize, patience: Duration) -> Self {
        let places = Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS)));
        let seen = Mutex::new(Seen { free: Instant::now(), in_vain: None });
        Self { places, patience, seen }
    }

    /// Places that nobody has.
    pub(crate) fn free(&self) -> usize {
        self.places.available_permits()
    }

    /// A place; or none, where it is not one's turn soon.
    pub(crate) async fn enter(&self) -> Option<Place> {
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            self.seen().free = Instant::now();
            return Some(Place(place));
        }
        let patience = if self.seen().stays() { MOMENT } else { self.patience };
        let Ok(place) = timeout(patience, self.places.clone().acquire_owned()).await else {
            self.seen().in_vain = Some(Instant::now());
            return None;
        };
        place.ok().map(Place)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn stays(&self) -> bool {
        self.free.elapsed() > LONG || self.in_vain.is_some_and(|left| left.elapsed() < LATELY)
    }
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;
    use tokio::time::{advance, sleep};

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(50);

    /// How long it was waited for a place, and whether there was one.
    async fn waited(line: &Line) -> (Duration, bool) {
        let begun = Instant::now();
        let place = line.enter().await;
        (begun.elapsed(), place.is_some())
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_waited_for_in_its_order() {
        let line = Line::new(2, PATIENCE);
        let begun = Instant::now();
        let served = join_all((0..8).map(async |_| {
            let place = line.enter().await;
            let at = begun.elapsed().as_millis();
            sleep(Duration::from_millis(10)).await;
            place.map(|_| at)
        }));
        let at: Vec<_> = served.await.into_iter().flatten().collect();
        assert_eq!(at, [0, 0, 10, 10, 20, 20, 30, 30]);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_longer_than_their_patience() {
        let line = Line::new(1, PATIENCE);
        let held = line.enter().await;
        let (took, served) = waited(&line).await;
        assert!(!served && took >= PATIENCE && took < 2 * PATIENCE, "{took:?}");
        drop(held);
        assert_eq!(waited(&line).await, (Duration::ZERO, true));
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_that_stays_is_waited_in_for_a_moment_only() {
        let line = Line::new(1, PATIENCE);
        let held = line.enter().await;
        advance(LONG + Duration::from_millis(1)).await;
        let (took, served) = waited(&line).await;
        assert!(!served && took >= MOMENT && took < 2 * MOMENT, "{took:?}");

        drop(held);
        let _held = line.enter().await.unwrap();
        let (took, _) = waited(&line).await;
        assert!(took < 2 * MOMENT, "somebody has just waited in vain: {took:?}");
        advance(LATELY).await;
        line.seen().free = Instant::now();
        let (took, _) = waited(&line).await;
        assert!(took >= PATIENCE, "it is a burst again: {took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_piled_up_in_a_pause_is_worked_off() {
        let line = Line::new(1, PATIENCE);
        let held = line.enter().await;
        advance(LONG - PATIENCE).await;
        let working = async {
            sleep(PATIENCE / 2).await;
            drop(held);
        };
        let ((), (took, served)) = tokio::join!(working, waited(&line));
        assert!(served && took >= PATIENCE / 2, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_leaves_the_line() {
        let line = Line::new(1, PATIENCE);
        let held = line.enter().await;
        assert!(!waited(&line).await.1);
        drop(held);
        assert_eq!(line.free(), 1);
    }
}
