//! What the mirror counts, for whoever watches it.

use prometheus_client::{
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

use crate::error::RoundError;

/// A label with a name of ours: of a check, say.
type Named = [(&'static str, &'static str); 1];

/// Counters of one mirror. A clone counts with the original.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    failures: Family<Named, Counter>,
    lies: Counter,
    reorgs: Counter,
    undone: Counter,
    blocks: Counter,
    events: Counter,
    proofs: Counter,
}

impl Metrics {
    /// Publishes them under `index_…`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("index");
        let failures = "Rounds with the nodes that ended in a failed check or without an answer";
        registry.register("failures", failures, self.failures.clone());
        let lies = "Rounds that ended in a failed check: what a node said does not hold together";
        registry.register("lies", lies, self.lies.clone());
        registry.register("reorgs", "Reorgs that were followed", self.reorgs.clone());
        registry.register("undone_blocks", "Blocks undone by reorgs", self.undone.clone());
        registry.register("blocks", "Blocks mirrored", self.blocks.clone());
        registry.register("events", "Events mirrored", self.events.clone());
        registry.register("proofs", "Proofs of all journals that held; where contracts keep none, looks at how they name each other", self.proofs.clone());
    }

    /// A round ended in this way.
    pub(crate) fn failed(&self, error: &RoundError) {
        self.failures.get_or_create(&[("check", error.name())]).inc();
        if error.is_lie() {
            self.lies.inc();
        }
    }

    pub(crate) fn undid(&self, blocks: u64) {
        self.reorgs.inc();
        self.undone.inc_by(blocks);
    }

    pub(crate) fn mirrored(&self, blocks: u64, events: u64) {
        self.blocks.inc_by(blocks);
        self.events.inc_by(events);
    }

    pub(crate) fn proved(&self) {
        self.proofs.inc();
    }
}
