//! How a backfill tells people that it moves: a bar on a terminal, otherwise a line every few seconds.

use std::{
    io::IsTerminal,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

const LINE_EVERY: Duration = Duration::from_secs(2);
const BAR: &str = "{bar:30} block {pos} of {len}  {msg}";

/// One backfill, from its first range to its last.
#[derive(Debug)]
pub(crate) struct Progress {
    begun: Instant,
    line: Option<Instant>,
    blocks: u64,
    events: u64,
    bar: Option<ProgressBar>,
}

impl Progress {
    pub(crate) fn begin(now: Instant) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template(BAR).expect("the template is well formed");
            ProgressBar::new(0).with_style(style)
        });
        Self { begun: now, line: None, blocks: 0, events: 0, bar }
    }

    /// So many more blocks and events are mirrored; the newest is `at`, the chain's `to`.
    pub(crate) fn step(&mut self, now: Instant, blocks: u64, events: u64, at: u64, to: u64) {
        self.blocks += blocks;
        self.events += events;
        let rates = Rates::of(self.blocks, self.events, now - self.begun, to.saturating_sub(at));
        if let Some(bar) = &self.bar {
            bar.set_length(to);
            bar.set_position(at);
            bar.set_message(rates.to_string());
        } else if self.line.is_none_or(|line| now - line >= LINE_EVERY) {
            self.line = Some(now);
            tracing::info!(
                index.at = at,
                index.to = to,
                "catching up: block {at} of {to}, {rates}"
            );
        }
    }

    /// The backfill is done.
    pub(crate) fn end(&self, now: Instant) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let (blocks, events, took) = (self.blocks, self.events, now - self.begun);
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        tracing::info!(took_ms, "caught up: {blocks} blocks, {events} events");
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Rates {
    blocks: u64,
    events: u64,
    left_s: Option<u64>,
}

impl Rates {
    fn of(blocks: u64, events: u64, took: Duration, left: u64) -> Self {
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
        let per_s = |count: u64| count.saturating_mul(1000) / millis;
        let left_s = left.saturating_mul(millis).checked_div(blocks.saturating_mul(1000));
        Self { blocks: per_s(blocks), events: per_s(events), left_s }
    }
}

impl std::fmt::Display for Rates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { blocks, events, left_s } = self;
        write!(f, "{blocks} blocks/s, {events} events/s")?;
        left_s.map_or(Ok(()), |left| write!(f, ", {left} s left"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_per_second_and_the_rest_follows() {
        let rates = Rates::of(1000, 500, Duration::from_secs(2), 4000);
        assert_eq!(rates.to_string(), "500 blocks/s, 250 events/s, 8 s left");
        let none = Rates::of(0, 0, Duration::ZERO, 10);
        assert_eq!(none.to_string(), "0 blocks/s, 0 events/s");
    }
}
