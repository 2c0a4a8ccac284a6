//! Where a service's vault is, and its upkeep: is it whole, and another key for it.

use std::path::Path;

use sesame_chain::Deployment;
use sesame_vault::{Vault, VaultError};

pub use sesame_vault::{KeyId, KeySource, Location, Rotated, Tally};

/// Where records and key-encryption keys of one vault are.
#[derive(Debug, Clone)]
pub struct Places {
    /// The sealed records.
    pub records: Location,
    /// The keys that open them.
    pub keys: KeySource,
}

impl Places {
    /// In the data folder: `vault/` and `keys/`.
    #[must_use]
    pub fn in_folder(data_dir: &Path) -> Self {
        Self {
            records: Location::Folder(data_dir.join("vault")),
            keys: KeySource::Folder(data_dir.join("keys")),
        }
    }

    pub(crate) fn hold_a_vault(&self) -> bool {
        self.records.holds_a_vault()
    }

    /// Opens the vault, or makes it.
    pub(crate) fn open(&self, deployment: &Deployment) -> Result<Vault, VaultError> {
        Vault::open(&self.records, &self.keys, deployment.chain_id, deployment.asset_registry)
    }

    /// Opens the vault as the service does, but makes none.
    fn open_existing(&self, deployment: &Deployment) -> Result<Vault, VaultError> {
        let (chain, registry) = (deployment.chain_id, deployment.asset_registry);
        Vault::open_existing(&self.records, &self.keys, chain, registry)
    }
}

/// Makes a key where the vault's keys live, and uses it for nothing yet: [`rotate_key`] takes it up by name.
///
/// # Errors
/// As [`check`], or when no key can be made.
pub fn make_key(places: &Places, deployment: &Deployment) -> Result<KeyId, VaultError> {
    places.open_existing(deployment)?.make_key()
}

/// Wraps every data key anew, under the key `to` or a new one, or goes on where an earlier run was killed; `progress` hears how
/// many are done.
///
/// # Errors
/// As [`check`], or when a record opens with none of the vault's keys.
pub fn rotate_key(
    places: &Places,
    deployment: &Deployment,
    to: Option<KeyId>,
    progress: impl FnMut(u64),
) -> Result<Rotated, VaultError> {
    places.open_existing(deployment)?.rotate_key(to, progress)
}

/// Reads every record again and authenticates it; `progress` hears of each.
///
/// # Errors
/// When there is no vault, its key is another, or the store cannot be read or is used by a service that runs.
pub fn check(
    places: &Places,
    deployment: &Deployment,
    progress: impl FnMut(&Tally),
) -> Result<Tally, VaultError> {
    places.open_existing(deployment)?.check(progress)
}
