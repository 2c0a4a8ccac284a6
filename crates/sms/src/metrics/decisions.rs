//! What was decided, about attested enclaves and about those that want to be.

use prometheus_client::{
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use sesame_domain::TeeKind;

use super::{Named, Pair};
use crate::problem::Code;

/// Counters of decisions and attestations.
#[derive(Debug)]
pub(crate) struct Decisions {
    decisions: Family<Named, Counter>,
    denials: Family<Named, Counter>,
    attestations: Family<Pair, Counter>,
}

impl Decisions {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let new = Self {
            decisions: Family::default(),
            denials: Family::default(),
            attestations: Family::default(),
        };
        // A counter that starts with its first event hides that event from whoever asks for increases.
        for decision in ["released", "denied"] {
            drop(new.decisions.get_or_create(&[("decision", decision)]));
        }
        for tee in ["sgx", "tdx", "snp", "simulated"] {
            for verdict in ["attested", Code::AttestationRefused.as_str()] {
                drop(new.attestations.get_or_create(&[("tee", tee), ("verdict", verdict)]));
            }
        }
        let help = "Decisions about attested enclaves, those on unknown tasks included";
        registry.register("decisions", help, new.decisions.clone());
        let help = "Reasons of decisions that were a no; one decision may have several";
        registry.register("denials", help, new.denials.clone());
        let help =
            "Attestations, by the TEE that is verified or else claimed, and by their verdict";
        registry.register("attestations", help, new.attestations.clone());
        new
    }

    /// A decision was made: a no if it has reasons.
    pub(crate) fn decided(&self, reasons: &[&'static str]) {
        let decision = if reasons.is_empty() { "released" } else { "denied" };
        self.decisions.get_or_create(&[("decision", decision)]).inc();
        for &reason in reasons {
            self.denials.get_or_create(&[("reason", reason)]).inc();
        }
    }

    /// An enclave attested.
    pub(crate) fn attested(&self, tee: TeeKind) {
        let tee = match tee {
            TeeKind::Sgx => "sgx",
            TeeKind::Tdx => "tdx",
            TeeKind::Snp => "snp",
            TeeKind::Simulated => "simulated",
        };
        self.attestations.get_or_create(&[("tee", tee), ("verdict", "attested")]).inc();
    }

    /// One that claims to run in this TEE did not.
    pub(crate) fn not_attested(&self, claimed: &str, why: Code) {
        let known = ["sgx", "tdx", "snp"].into_iter().find(|known| *known == claimed);
        let tee = known.unwrap_or("other");
        self.attestations.get_or_create(&[("tee", tee), ("verdict", why.as_str())]).inc();
    }
}
