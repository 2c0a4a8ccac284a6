//! What the service counts and measures, in the OpenMetrics text format. Labels are names of ours and templates of routes: none
//! holds anything that a caller chose.

mod decisions;
mod requests;
mod standing;
mod vault;

use std::sync::{Arc, atomic::AtomicU64};

use prometheus_client::{
    encoding::text::{encode_eof, encode_registry},
    metrics::{gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use sesame_indexer::Metrics as IndexMetrics;

pub(crate) use self::standing::Standing;
use self::{decisions::Decisions, requests::Requests, standing::Gauges, vault::Operations};
use crate::collateral::Fetches;

/// A label with a name of ours.
pub(crate) type Named = [(&'static str, &'static str); 1];
/// Two of them.
pub(crate) type Pair = [(&'static str, &'static str); 2];
/// A number that is never negative: of blocks, bytes, seconds.
pub(crate) type Amount = Gauge<u64, AtomicU64>;

/// Numbers of one running service.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    /// Those of the program around it.
    program: Arc<Registry>,
    pub(crate) index: IndexMetrics,
    pub(crate) requests: Requests,
    pub(crate) decisions: Decisions,
    pub(crate) vault: Operations,
    pub(crate) collateral: Fetches,
    /// How long a receipt takes until it is on disk, its wait for others included.
    pub(crate) receipts: Histogram,
    /// Until when the TLS certificate is good.
    pub(crate) tls_not_after: Gauge,
    gauges: Gauges,
}

impl Metrics {
    pub(crate) fn new(program: Arc<Registry>) -> Self {
        let mut registry = Registry::with_prefix("sesame");
        let index = IndexMetrics::default();
        index.register(&mut registry);
        let receipts = short();
        let help = "How long a receipt takes until it is on disk";
        registry.register_with_unit("receipt_append", help, Unit::Seconds, receipts.clone());
        let tls_not_after = Gauge::default();
        let help = "Until when the TLS certificate is good, since 1970; 0 without TLS";
        let name = "tls_certificate_not_after";
        registry.register_with_unit(name, help, Unit::Seconds, tls_not_after.clone());
        Self {
            program,
            index,
            requests: Requests::register(&mut registry),
            decisions: Decisions::register(&mut registry),
            vault: Operations::register(&mut registry),
            collateral: Fetches::register(&mut registry),
            receipts,
            tls_not_after,
            gauges: Gauges::register(&mut registry),
            registry,
        }
    }

    /// Everything, as text.
    pub(crate) fn text(&self, standing: &Standing) -> Result<String, std::fmt::Error> {
        self.gauges.set(standing);
        let mut text = String::new();
        encode_registry(&mut text, &self.registry)?;
        encode_registry(&mut text, &self.program)?;
        encode_eof(&mut text)?;
        Ok(text)
    }
}

/// Half a millisecond to half a minute: what a database, a disk or a module takes.
fn short() -> Histogram {
    let buckets = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5];
    Histogram::new(buckets.into_iter().chain([1.0, 2.5, 5.0, 10.0, 30.0]))
}

#[cfg(test)]
mod tests;
