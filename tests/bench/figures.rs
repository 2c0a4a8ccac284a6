//! Figures: which are asked for, how they are printed, samples and their quantiles.

use std::time::Duration;

/// What was asked for.
#[derive(Debug)]
pub(crate) struct Figures {
    /// Only what is done in under a minute.
    pub(crate) quick: bool,
    /// How long a soak takes.
    pub(crate) minutes: u64,
    /// These alone; all when empty.
    pub(crate) names: Vec<String>,
}

impl Figures {
    /// Whether any of these is asked for.
    pub(crate) fn want(&self, names: &[&str]) -> bool {
        self.names.is_empty() || names.iter().any(|name| self.names.iter().any(|own| own == name))
    }

    /// Prints one figure, if it is asked for.
    #[expect(clippy::print_stdout, reason = "figures are this program's output")]
    pub(crate) fn print(&self, name: &str, value: f64, unit: &str) {
        if self.want(&[name]) {
            println!("bench {name} {value:.2} {unit}");
        }
    }
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

    /// One in a thousand takes longer, microseconds.
    pub(crate) fn p999(&self) -> f64 {
        self.quantile(0.999)
    }

    /// The longest, microseconds.
    pub(crate) fn worst(&self) -> f64 {
        self.quantile(1.0)
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
