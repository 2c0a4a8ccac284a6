//! The vault of a stopped service: is it whole, and a new key for it.

use std::path::Path;

use sesame_chain::Deployment;
use sesame_vault::{Vault, VaultError};

pub use sesame_vault::Tally;

/// Holds the key-encryption key.
const KEY: &str = "keys/vault.key";

/// Opens the vault as the service does, but makes none.
fn open(data_dir: &Path, deployment: &Deployment) -> Result<Vault, VaultError> {
    Vault::open_existing(
        &data_dir.join("vault"),
        &data_dir.join(KEY),
        deployment.chain_id,
        deployment.asset_registry,
    )
}

/// Makes a new key-encryption key and wraps every data key anew, or goes on where an earlier run was killed; `progress` hears
/// how many are done. Gives the number of records.
///
/// # Errors
/// As [`check`], or when a record opens with neither key.
pub fn rotate_key(
    data_dir: &Path,
    deployment: &Deployment,
    progress: impl FnMut(u64),
) -> Result<u64, VaultError> {
    open(data_dir, deployment)?.rotate_key(&data_dir.join(KEY), progress)
}

/// Reads every record again and authenticates it; `progress` hears of each.
///
/// # Errors
/// When the service runs, there is no vault, its key is another, or the store cannot be read.
pub fn check(
    data_dir: &Path,
    deployment: &Deployment,
    progress: impl FnMut(&Tally),
) -> Result<Tally, VaultError> {
    open(data_dir, deployment)?.check(progress)
}
