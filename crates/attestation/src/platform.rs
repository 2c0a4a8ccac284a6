//! A small bounded memory of platforms whose certification was verified.
//!
//! What certifies a platform (certificate chain, revocation lists, collateral) is the same in every quote of it and costs
//! far more to verify than the quote itself. So the verified result is remembered under a 32-byte hash of *all* bytes it
//! rests on, the roots of trust among them, and for as long as all of them hold.
//!
//! ```
//! # use sesame_attestation::PlatformCache;
//! # use std::num::NonZeroUsize;
//! let cache = PlatformCache::<String>::new(NonZeroUsize::new(1024).unwrap());
//! let verify = || Ok::<_, ()>(("what was verified".to_owned(), 1_000..2_000));
//! let platform = cache.get_or_verify([7; 32], 1_500, verify)?;   // verified, and remembered
//! let warm = cache.get_or_verify([7; 32], 1_999, || Err(()))?;   // remembered
//! assert!(cache.get_or_verify([7; 32], 2_000, || Err(())).is_err()); // over: asked again
//! # Ok::<(), ()>(())
//! ```
//!
//! - `T` is what the verification yields; it is shared as `Arc<T>` and never changed.
//! - The clock is an argument, in seconds since 1970; an answer is remembered for the half-open span that comes with it,
//!   and a clock that was set back does not stretch it.
//! - Failures are not remembered: only what verified takes up room, so nobody fills the cache with rubbish.
//! - When full, the platform that was not asked for the longest makes room.
//! - Callers check what varies from quote to quote every time, after they got the platform from here.

use std::{
    num::NonZeroUsize,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use lru::LruCache;

/// Verified platforms by the hash of what certifies them: bounded, and none longer than it holds.
pub struct PlatformCache<T> {
    entries: Mutex<LruCache<[u8; 32], Entry<T>>>,
}

struct Entry<T> {
    platform: Arc<T>,
    /// Seconds since 1970.
    holds: Range<u64>,
}

impl<T> std::fmt::Debug for PlatformCache<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PlatformCache").field("platforms", &self.len()).finish_non_exhaustive()
    }
}

impl<T> PlatformCache<T> {
    /// An empty cache of at most `capacity` platforms.
    #[must_use]
    pub fn new(capacity: NonZeroUsize) -> Self {
        Self { entries: Mutex::new(LruCache::new(capacity)) }
    }

    /// How many platforms are remembered, those included whose time is over and that nobody asked for since.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries().len()
    }

    /// Whether no platform is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The platform of this hash, if it was verified before and that still holds `now`.
    #[must_use]
    pub fn get(&self, hash: &[u8; 32], now: u64) -> Option<Arc<T>> {
        let mut entries = self.entries();
        let entry = entries.get(hash)?;
        if entry.holds.contains(&now) {
            return Some(Arc::clone(&entry.platform));
        }
        entries.pop(hash);
        None
    }

    /// The platform of this hash: remembered, or verified now by `verify`, which also says from which second on and until
    /// before which second its result holds.
    ///
    /// No lock is held while `verify` runs, so two first quotes of one platform may both be verified; that is only time.
    ///
    /// # Errors
    /// Those of `verify`.
    pub fn get_or_verify<E>(
        &self,
        hash: [u8; 32],
        now: u64,
        verify: impl FnOnce() -> Result<(T, Range<u64>), E>,
    ) -> Result<Arc<T>, E> {
        if let Some(platform) = self.get(&hash, now) {
            return Ok(platform);
        }
        let (platform, holds) = verify()?;
        let platform = Arc::new(platform);
        if holds.contains(&now) {
            self.entries().put(hash, Entry { platform: Arc::clone(&platform), holds });
        }
        Ok(platform)
    }

    /// Every change is one call on the map, so a thread that panicked left it whole.
    fn entries(&self) -> MutexGuard<'_, LruCache<[u8; 32], Entry<T>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn cache(capacity: usize) -> PlatformCache<u32> {
        PlatformCache::new(NonZeroUsize::new(capacity).unwrap())
    }

    fn put(cache: &PlatformCache<u32>, hash: u8, platform: u32, holds: Range<u64>) {
        let now = holds.start;
        let verified =
            cache.get_or_verify([hash; 32], now, || Ok::<_, Infallible>((platform, holds)));
        assert_eq!(verified, Ok(Arc::new(platform)));
    }

    fn seen(cache: &PlatformCache<u32>, hash: u8, now: u64) -> Option<u32> {
        cache.get(&[hash; 32], now).map(|platform| *platform)
    }

    #[test]
    fn a_platform_is_verified_once_while_it_holds() {
        let cache = cache(2);
        put(&cache, 1, 10, 100..200);
        for now in [100, 150, 199] {
            let again = cache.get_or_verify([1; 32], now, || Err("verified again"));
            assert_eq!(again, Ok(Arc::new(10)));
        }
    }

    #[test]
    fn one_bit_of_the_hash_is_another_platform() {
        let cache = cache(2);
        put(&cache, 0, 10, 100..200);
        for bit in 0..256 {
            let mut other = [0; 32];
            other[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(cache.get(&other, 150), None, "bit {bit}");
        }
    }

    #[test]
    fn it_is_forgotten_at_its_expiry_and_before_its_time() {
        for now in [0, 99, 200, 201, u64::MAX] {
            let cache = cache(2);
            put(&cache, 1, 10, 100..200);
            assert_eq!(cache.get_or_verify([1; 32], now, || Err("asked")), Err("asked"), "{now}");
            assert!(cache.is_empty(), "{now}");
        }
    }

    #[test]
    fn failures_and_what_does_not_hold_now_are_not_remembered() {
        let cache = cache(2);
        assert_eq!(cache.get_or_verify([1; 32], 150, || Err("no")), Err("no"));
        let late = cache.get_or_verify([1; 32], 200, || Ok::<_, Infallible>((10, 100..200)));
        assert_eq!(late, Ok(Arc::new(10)));
        assert_eq!(seen(&cache, 1, 150), None);
    }

    #[test]
    fn the_one_not_asked_for_the_longest_makes_room() {
        let cache = cache(2);
        put(&cache, 1, 10, 100..200);
        put(&cache, 2, 20, 100..200);
        assert_eq!(seen(&cache, 1, 150), Some(10));
        put(&cache, 3, 30, 100..200);
        assert_eq!(cache.len(), 2);
        assert_eq!([1, 2, 3].map(|hash| seen(&cache, hash, 150)), [Some(10), None, Some(30)]);
        for hash in 4..=255 {
            put(&cache, hash, 0, 100..200);
            assert_eq!(cache.len(), 2);
        }
    }
}
