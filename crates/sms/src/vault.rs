//! The vault of a stopped service: is it whole?

use std::path::Path;

use sesame_chain::Deployment;
use sesame_vault::{Vault, VaultError};

pub use sesame_vault::Tally;

/// Opens the vault as the service does, but makes none.
fn open(data_dir: &Path, deployment: &Deployment) -> Result<Vault, VaultError> {
    Vault::open_existing(
        &data_dir.join("vault"),
        &data_dir.join("keys/vault.key"),
        deployment.chain_id,
        deployment.asset_registry,
    )
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
