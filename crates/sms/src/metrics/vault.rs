//! What the vault is asked for, how long it takes, and what comes of it.

use std::time::Instant;

use prometheus_client::{
    metrics::{family::Family, histogram::Histogram},
    registry::{Registry, Unit},
};
use sesame_vault::{KeyError, VaultError};

use super::{Pair, short};

/// Durations of operations of the vault.
#[derive(Debug)]
pub(crate) struct Operations(Family<Pair, Histogram, fn() -> Histogram>);

impl Operations {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let new = Self(Family::new_with_constructor(short as fn() -> Histogram));
        for operation in ["push", "replace", "delete", "look_up", "open"] {
            drop(new.0.get_or_create(&[("operation", operation), ("result", "ok")]));
        }
        let help = "How long the vault takes, by what it is asked for and what comes of it";
        registry.register_with_unit("vault_operation", help, Unit::Seconds, new.0.clone());
        new
    }

    /// Does it, and measures.
    pub(crate) fn time<T>(
        &self,
        operation: &'static str,
        work: impl FnOnce() -> Result<T, VaultError>,
    ) -> Result<T, VaultError> {
        let begun = Instant::now();
        let done = work();
        let labels = [("operation", operation), ("result", done.as_ref().err().map_or("ok", name))];
        self.0.get_or_create(&labels).observe(begun.elapsed().as_secs_f64());
        done
    }
}

/// What went wrong, in one of few words.
const fn name(error: &VaultError) -> &'static str {
    if matches!(error, VaultError::VersionConflict { .. }) {
        "version_conflict"
    } else if matches!(error, VaultError::EpochOver { .. }) {
        "wrong_epoch"
    } else if matches!(error, VaultError::Missing) {
        "absent"
    } else if matches!(error, VaultError::Unavailable { .. }) {
        "vault_unavailable"
    } else if matches!(error, VaultError::Key(KeyError::Token { .. })) {
        "keys_unavailable"
    } else {
        "failed"
    }
}
