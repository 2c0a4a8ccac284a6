//! Samples and their quantiles.

use std::time::Duration;

/// Prints one figure.
#[expect(clippy::print_stdout, reason = "figures are this program's output")]
pub(crate) fn print(name: &str, value: f64, unit: &str) {
    println!("bench {name} {value:.2} {unit}");
}

/// How long each round took, sorted.
#[derive(Debug)]
pub(crate) struct Samples(Vec<Duration>);

impl Samples {
    pub(crate) fn new(mut samples: Vec<Duration>) -> Self {
        samples.sort_unstable();
        Self(samples)
    }

    /// Median, microseconds.
    pub(crate) fn p50(&self) -> f64 {
        self.quantile(0.50)
    }

    /// 99th percentile, microseconds.
    pub(crate) fn p99(&self) -> f64 {
        self.quantile(0.99)
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a place in a short list"
    )]
    fn quantile(&self, share: f64) -> f64 {
        let place = (self.0.len().saturating_sub(1) as f64 * share) as usize;
        self.0.get(place).map_or(f64::NAN, |sample| sample.as_secs_f64() * 1e6)
    }
}
