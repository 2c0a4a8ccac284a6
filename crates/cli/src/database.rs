//! The database that the vault is in, if it is in one.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use sesame_sms::vault::{DatabaseUrl, Location, Places};
use zeroize::Zeroizing;

/// The URL itself; never an argument, since arguments are seen by every user of the machine.
const URL_VARIABLE: &str = "SESAME_VAULT_URL";

#[derive(Debug, Args)]
pub(crate) struct DatabaseArgs {
    /// Keep the vault's records in PostgreSQL and not in the data folder, so that several services can share them: a file, readable
    /// by its owner alone, that holds postgres://user:password@host:port/database?sslmode=verify-full (or disable, require;
    /// sslrootcert=FILE for roots of your own). The environment's SESAME_VAULT_URL may hold the same. Every service that shares a
    /// vault needs the same keys/identity.key, keys/token.key and keys/vault-*.key.
    #[arg(long, value_name = "FILE")]
    vault_url_file: Option<PathBuf>,
}

impl DatabaseArgs {
    /// Where the vault is of the service with this data folder.
    pub(crate) fn places(&self, data_dir: &Path) -> anyhow::Result<Places> {
        let mut places = Places::in_folder(data_dir);
        if let Some(url) = self.url()? {
            places.records = Location::Postgres(url.into());
        }
        Ok(places)
    }

    #[expect(clippy::disallowed_methods, reason = "clap would also take the URL as an argument")]
    fn url(&self) -> anyhow::Result<Option<DatabaseUrl>> {
        if let Some(path) = &self.vault_url_file {
            return Ok(Some(DatabaseUrl::read(path)?));
        }
        let Ok(url) = std::env::var(URL_VARIABLE).map(Zeroizing::new) else { return Ok(None) };
        url.parse().map(Some).with_context(|| format!("{URL_VARIABLE} cannot be used"))
    }
}
