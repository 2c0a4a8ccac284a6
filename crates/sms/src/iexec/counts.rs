//! How many secrets there are of each kind, for `GET /metrics`.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

use serde::Serialize;
use serde_json::{Value, json};
use sesame_vault::IexecCounts;

use super::Kind;
use crate::service::{Shared, off_thread};

/// What was there at the start, and what came since. Others that share the vault count what they add themselves.
#[derive(Debug, Default)]
pub(super) struct Counts {
    initial: OnceLock<IexecCounts>,
    web2: AtomicU64,
    web3: AtomicU64,
    compute: AtomicU64,
    challenges: AtomicU64,
}

/// The numbers of one kind; −1 where they are not known.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Numbers {
    secrets_type: &'static str,
    initial_count: i64,
    stored_count: i64,
    added_since_start_count: i64,
    /// None is kept in memory.
    cached_secrets_count: i64,
}

impl Counts {
    /// Counts what there is.
    pub(super) async fn begin(&self, service: &Shared) {
        let counting = service.clone();
        let counted = off_thread(move || Ok(counting.vault.count_iexec()?)).await;
        if let Ok(counted) = counted {
            // Nobody else does.
            let _ = self.initial.set(counted);
        }
    }

    pub(super) fn added(&self, kind: Kind) {
        self.since_start(kind).fetch_add(1, Ordering::Relaxed);
    }

    const fn since_start(&self, kind: Kind) -> &AtomicU64 {
        match kind {
            Kind::Web2 => &self.web2,
            Kind::Web3 => &self.web3,
            Kind::Compute => &self.compute,
            Kind::Challenge => &self.challenges,
        }
    }

    /// As iExec's SMS writes them.
    pub(super) fn document(&self) -> Value {
        let of = |secrets_type, kind, initial: fn(&IexecCounts) -> u64| {
            let initial = self.initial.get().map(|counts| number(initial(counts)));
            let added = number(self.since_start(kind).load(Ordering::Relaxed));
            Numbers {
                secrets_type,
                initial_count: initial.unwrap_or(-1),
                stored_count: initial.map_or(-1, |initial| initial.saturating_add(added)),
                added_since_start_count: added,
                cached_secrets_count: 0,
            }
        };
        let challenges = |name| of(name, Kind::Challenge, |counts| counts.challenges);
        json!({ "secretsMetrics": {
            "web2": of("web2", Kind::Web2, |counts| counts.web2),
            "web3": of("web3", Kind::Web3, |counts| counts.datasets),
            "compute": of("compute", Kind::Compute, |counts| counts.compute),
            "TEE challenges": challenges("TEE challenges"),
            "Ethereum Credentials": challenges("Ethereum Credentials"),
        } })
    }
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_counted_yet_is_not_known() {
        let counts = Counts::default();
        counts.added(Kind::Web2);
        let web2 = &counts.document()["secretsMetrics"]["web2"];
        assert_eq!(
            *web2,
            json!({ "secretsType": "web2", "initialCount": -1, "storedCount": -1, "addedSinceStartCount": 1, "cachedSecretsCount": 0 })
        );
    }

    #[test]
    fn each_kind_is_counted_under_its_name() {
        let counts = Counts::default();
        let initial = IexecCounts { datasets: 1, compute: 2, web2: 3, challenges: 4 };
        counts.initial.set(initial).unwrap();
        for kind in [Kind::Web3, Kind::Compute, Kind::Compute, Kind::Challenge] {
            counts.added(kind);
        }
        let document = counts.document();
        for (name, before, added) in [
            ("web2", 3, 0),
            ("web3", 1, 1),
            ("compute", 2, 2),
            ("TEE challenges", 4, 1),
            ("Ethereum Credentials", 4, 1),
        ] {
            let numbers = &document["secretsMetrics"][name];
            assert_eq!(numbers["secretsType"], name);
            assert_eq!(numbers["initialCount"], before, "{name}");
            assert_eq!(numbers["addedSinceStartCount"], added, "{name}");
            assert_eq!(numbers["storedCount"], before + added, "{name}");
        }
    }
}
