//! What is counted of collateral.

use prometheus_client::{
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use sesame_attestation::Platform;

use super::{Fetched, Reason, Shelf};

/// Counters of what was asked for. A clone counts with the original.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fetches(Family<[(&'static str, &'static str); 2], Counter>);

impl Fetches {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let new = Self::default();
        for vendor in ["intel", "amd"] {
            drop(new.0.get_or_create(&[("vendor", vendor), ("result", "ok")]));
        }
        let help = "Questions for collateral, by the vendor and what came of them";
        registry.register("collateral_fetches", help, new.0.clone());
        new
    }

    pub(super) fn count(&self, platform: Platform, result: &Result<Fetched, Reason>) {
        let result = result.as_ref().err().map_or("ok", Reason::name);
        self.0.get_or_create(&[("vendor", vendor(platform)), ("result", result)]).inc();
    }
}

/// What is kept of one vendor's collateral.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeptOf {
    pub(crate) vendor: &'static str,
    /// Platforms that there is something of.
    pub(crate) platforms: usize,
    /// When the oldest of it was fetched, and when the first of it expires, seconds since 1970.
    pub(crate) oldest: Option<(u64, u64)>,
}

impl Shelf {
    /// The same, counting here.
    pub(crate) fn counting(self, fetches: Fetches) -> Self {
        Self { fetches, ..self }
    }

    /// What is kept now, failures left out.
    pub(crate) fn standing(&self) -> Vec<KeptOf> {
        let shelf = self.shelf();
        let of = |name| {
            let of_vendor = shelf.iter().filter(|(platform, _)| vendor(**platform) == name);
            let held: Vec<_> = of_vendor
                .filter_map(|(_, kept)| Some((kept.at, kept.result.as_ref().ok()?.until)))
                .collect();
            let (at, until) = (held.iter().map(|(at, _)| at), held.iter().map(|(_, until)| until));
            let oldest = at.min().copied().zip(until.min().copied());
            KeptOf { vendor: name, platforms: held.len(), oldest }
        };
        ["intel", "amd"].into_iter().map(of).collect()
    }
}

const fn vendor(platform: Platform) -> &'static str {
    match platform {
        Platform::Dcap(_) => "intel",
        Platform::Snp(_) => "amd",
    }
}
