//! How fresh the mirror is, for whoever has to refuse when it is not.

use std::{
    fmt,
    time::{Duration, Instant},
};

use sesame_domain::Block;

/// What the mirror is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// No answer from the node yet.
    Starting,
    /// Far behind the node's head.
    Backfilling {
        /// The newest block mirrored.
        at: u64,
        /// The node's head.
        to: u64,
    },
    /// In step with the node.
    Following,
    /// The node does not answer, or its last answer failed a check.
    Failing {
        /// The failed check's name, a colon, and what went wrong.
        reason: String,
    },
}

/// The mirror's word about itself, published after every round with the node.
#[derive(Debug, Clone)]
pub struct Pulse {
    /// What it is doing.
    pub state: State,
    /// When the question was sent whose answer agreed with the mirror's head.
    pub fresh_at: Option<Instant>,
    /// How many blocks were missing when that was last known.
    pub behind: u64,
}

impl Default for Pulse {
    fn default() -> Self {
        Self { state: State::Starting, fresh_at: None, behind: 0 }
    }
}

/// How old the mirror may be before every answer is a refusal.
#[derive(Debug, Clone, Copy)]
pub struct Freshness {
    /// Greatest time since the node last confirmed our head.
    pub max_lag: Duration,
    /// Greatest distance between the head's own timestamp and the clock, either way, seconds.
    pub max_head_age: u64,
}

/// Why the mirror must not be believed now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unready {
    /// Nothing mirrored yet.
    Starting,
    /// Catching up.
    Backfilling {
        /// The newest block mirrored.
        at: u64,
        /// The node's head.
        to: u64,
    },
    /// The node has not confirmed our head for too long.
    Stale {
        /// Seconds since it last did, if ever.
        seconds: Option<u64>,
        /// What the mirror last met.
        reason: String,
    },
    /// The chain itself stands still.
    HeadTooOld {
        /// The head's age in seconds.
        seconds: u64,
        /// What the operator allows, seconds.
        allowed: u64,
    },
    /// The head is of a time that this machine's clock has not reached: the head's age says nothing then, and no deadline passes.
    ClockBehind {
        /// How far ahead the head is, seconds.
        seconds: u64,
        /// What the operator allows, seconds.
        allowed: u64,
    },
}

impl Unready {
    /// The reason's stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Starting => "index_starting",
            Self::Backfilling { .. } => "index_backfilling",
            Self::Stale { .. } => "index_stale",
            Self::HeadTooOld { .. } => "head_too_old",
            Self::ClockBehind { .. } => "clock_behind",
        }
    }
}

impl fmt::Display for Unready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting => f.write_str("the index has not heard from its node yet"),
            Self::Backfilling { at, to } => {
                write!(f, "the index is at block {at} of {to} and catching up")
            }
            Self::Stale { seconds: Some(seconds), reason } => {
                write!(f, "no node confirmed the index for {seconds} s: {reason}")
            }
            Self::Stale { seconds: None, reason } => {
                write!(f, "no node has confirmed the index yet: {reason}")
            }
            Self::HeadTooOld { seconds, allowed } => {
                write!(f, "the newest block is {seconds} s old, at most {allowed} s are allowed")
            }
            Self::ClockBehind { seconds, allowed } => {
                write!(
                    f,
                    "the newest block is {seconds} s ahead of this machine's clock, at most {allowed} s are allowed: set the clock"
                )
            }
        }
    }
}

impl Freshness {
    /// The greatest time from a revocation's block to refusal, whatever becomes of the node: a silent one is believed for
    /// `max_lag`, and one that stands still until its head is older than `max_head_age`.
    #[must_use]
    pub fn bound(&self) -> Duration {
        self.max_lag.max(Duration::from_secs(self.max_head_age))
    }

    /// Whether the mirror may be believed: `now` by the monotonic clock, `wall` in seconds since 1970.
    ///
    /// # Errors
    /// The reason why not.
    pub fn check(
        &self,
        pulse: &Pulse,
        head: Option<Block>,
        now: Instant,
        wall: u64,
    ) -> Result<(), Unready> {
        let head = match (head, &pulse.state) {
            (Some(head), _) => head,
            (None, State::Failing { reason }) => {
                return Err(Unready::Stale { seconds: None, reason: reason.clone() });
            }
            (None, _) => return Err(Unready::Starting),
        };
        match &pulse.state {
            State::Starting => return Err(Unready::Starting),
            State::Backfilling { at, to } => {
                return Err(Unready::Backfilling { at: *at, to: *to });
            }
            State::Following | State::Failing { .. } => {}
        }
        let age = pulse.fresh_at.map(|at| now.saturating_duration_since(at));
        if age.is_none_or(|age| age > self.max_lag) {
            let reason = match &pulse.state {
                State::Failing { reason } => reason.clone(),
                State::Starting | State::Backfilling { .. } | State::Following => {
                    "the node is slow".to_owned()
                }
            };
            return Err(Unready::Stale { seconds: age.map(|age| age.as_secs()), reason });
        }
        let seconds = wall.saturating_sub(head.timestamp);
        if seconds > self.max_head_age {
            return Err(Unready::HeadTooOld { seconds, allowed: self.max_head_age });
        }
        let seconds = head.timestamp.saturating_sub(wall);
        if seconds > self.max_head_age {
            return Err(Unready::ClockBehind { seconds, allowed: self.max_head_age });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRESHNESS: Freshness = Freshness { max_lag: Duration::from_secs(10), max_head_age: 60 };

    fn check(state: State, age: Option<u64>, head_age: u64) -> Option<&'static str> {
        let now = Instant::now() + Duration::from_secs(100);
        let fresh_at = age.map(|age| now - Duration::from_secs(age));
        let head = Block { timestamp: 1000, ..Block::default() };
        FRESHNESS
            .check(&Pulse { state, fresh_at, behind: 0 }, Some(head), now, 1000 + head_age)
            .err()
            .map(|unready| unready.code())
    }

    #[test]
    fn only_a_fresh_following_mirror_is_believed() {
        let failing = || State::Failing { reason: "block_hash".to_owned() };
        assert_eq!(check(State::Following, Some(10), 60), None);
        assert_eq!(check(State::Following, Some(11), 0), Some("index_stale"));
        assert_eq!(check(State::Following, None, 0), Some("index_stale"));
        assert_eq!(check(State::Following, Some(0), 61), Some("head_too_old"));
        assert_eq!(check(failing(), Some(11), 0), Some("index_stale"));
        assert_eq!(check(State::Starting, Some(0), 0), Some("index_starting"));
        let backfilling = State::Backfilling { at: 1, to: 9 };
        assert_eq!(check(backfilling, Some(0), 0), Some("index_backfilling"));
    }

    #[test]
    fn a_clock_that_the_chain_has_overtaken_is_no_measure() {
        let (now, head) = (Instant::now(), Block { timestamp: 5000, ..Block::default() });
        let pulse = Pulse { state: State::Following, fresh_at: Some(now), behind: 0 };
        let at = |wall| FRESHNESS.check(&pulse, Some(head), now, wall);
        assert_eq!(at(5000 - 60), Ok(()));
        assert_eq!(at(5000 - 61), Err(Unready::ClockBehind { seconds: 61, allowed: 60 }));
        assert_eq!(at(0), Err(Unready::ClockBehind { seconds: 5000, allowed: 60 }));
    }

    #[test]
    fn without_a_head_nothing_is_believed() {
        let pulse = Pulse { state: State::Following, fresh_at: Some(Instant::now()), behind: 0 };
        assert_eq!(FRESHNESS.check(&pulse, None, Instant::now(), 0), Err(Unready::Starting));
    }
}
