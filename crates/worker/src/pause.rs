//! Pauses between attempts.

use std::time::Duration;

use rand::Rng;

/// The longest pause between two attempts.
const LONGEST: Duration = Duration::from_secs(60);

/// 1, 2, 4 … 60 seconds, jittered.
pub(crate) fn backoff(attempts: u32) -> Duration {
    let pause = Duration::from_secs(2_u64.saturating_pow(attempts.saturating_sub(1)));
    jittered(pause.min(LONGEST))
}

/// Between half of it and all of it, so that many workers do not come at the same moment.
pub(crate) fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(rand::rng().random_range(0.5..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_never_vanish() {
        for attempts in [1, 2, 3, 7, 100, u32::MAX] {
            let longest = Duration::from_secs(2_u64.saturating_pow(attempts - 1)).min(LONGEST);
            for _ in 0..20 {
                let pause = backoff(attempts);
                assert!(pause >= longest / 2 && pause <= longest, "{attempts}: {pause:?}");
            }
        }
    }
}
