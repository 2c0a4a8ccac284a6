//! What the service counts and measures, in the OpenMetrics text format. No label holds anything that a caller chose.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    encoding::text,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};
use sesame_indexer::Metrics as IndexMetrics;

type Decided = [(&'static str, &'static str); 1];

/// Numbers of one running service.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    pub(crate) index: IndexMetrics,
    decisions: Family<Decided, Counter>,
    head: Height,
    confirmed: Height,
    proven: Height,
    lag: Height,
    head_age: Height,
    ready: Gauge,
    pub(crate) tls_not_after: Gauge,
}

type Height = Gauge<u64, AtomicU64>;

/// How the index stands at the moment of asking.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Standing {
    /// Heights; zero before there is such a block.
    pub(crate) head: u64,
    pub(crate) confirmed: u64,
    pub(crate) proven: u64,
    /// Blocks that the index is behind.
    pub(crate) lag: u64,
    /// Seconds since the head's timestamp.
    pub(crate) head_age: u64,
    pub(crate) ready: bool,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("sesame"),
            index: IndexMetrics::default(),
            decisions: Family::default(),
            head: Height::default(),
            confirmed: Height::default(),
            proven: Height::default(),
            lag: Height::default(),
            head_age: Height::default(),
            ready: Gauge::default(),
            tls_not_after: Gauge::default(),
        };
        metrics.index.register(&mut metrics.registry);
        let registry = &mut metrics.registry;
        let decisions = "Decisions about attested enclaves, those on unknown tasks included";
        registry.register("decisions", decisions, metrics.decisions.clone());
        registry.register("index_head", "Newest block mirrored", metrics.head.clone());
        let confirmed = "Newest block deep enough for grants";
        registry.register("index_confirmed", confirmed, metrics.confirmed.clone());
        let proven = "Newest block at which the journals were proven";
        registry.register("index_proven", proven, metrics.proven.clone());
        registry.register("index_lag_blocks", "Blocks still to mirror", metrics.lag.clone());
        let age = "Age of the newest block's timestamp";
        registry.register_with_unit("index_head_age", age, Unit::Seconds, metrics.head_age.clone());
        let ready = "1 when the service may answer yes, else 0";
        registry.register("ready", ready, metrics.ready.clone());
        let help = "Until when the TLS certificate is good, seconds since 1970; 0 without TLS";
        let name = "tls_not_after_timestamp";
        registry.register_with_unit(name, help, Unit::Seconds, metrics.tls_not_after.clone());
        metrics
    }

    /// A decision was made: `released` or `denied`.
    pub(crate) fn decided(&self, released: bool) {
        let decision = if released { "released" } else { "denied" };
        self.decisions.get_or_create(&[("decision", decision)]).inc();
    }

    /// Everything, as text.
    pub(crate) fn text(&self, standing: Standing) -> Result<String, std::fmt::Error> {
        self.head.set(standing.head);
        self.confirmed.set(standing.confirmed);
        self.proven.set(standing.proven);
        self.lag.set(standing.lag);
        self.head_age.set(standing.head_age);
        self.ready.set(i64::from(standing.ready));
        let mut text = String::new();
        text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
