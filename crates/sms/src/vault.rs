//! Where a service's vault is, and its upkeep: is it whole, and other keys for it. A service that runs is asked to do it, through
//! the socket in its data folder; where none runs, the vault is opened here.

use std::{
    io,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};
use sesame_chain::Deployment;
use sesame_protocol::operator::{
    self, Checked, KeyMade, KeyRotated, Line, RotateKey, RotateSealingKey, SealingKeyRotated,
};
use sesame_vault::{Rotated, Tally, Vault, VaultError};

pub use sesame_vault::{Hsm, KeyId, KeySource, Location};

use crate::{clock, sealing};

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

    /// The same with keys in an HSM; those that are elsewhere by now are still found there.
    #[must_use]
    pub fn moving_to(self, hsm: Hsm) -> Self {
        let keys = KeySource::Either(KeySource::Pkcs11(hsm).into(), self.keys.into());
        Self { keys, ..self }
    }

    /// The same with keys where they would be without that HSM; those that are in it by now are still found there.
    #[must_use]
    pub fn leaving(self, hsm: Hsm) -> Self {
        let keys = KeySource::Either(self.keys.into(), KeySource::Pkcs11(hsm).into());
        Self { keys, ..self }
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

/// The vault cannot be looked after.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpkeepError {
    /// No service runs, and the vault says why not.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The service that runs says why not.
    #[error("{0}")]
    Refused(String),
    /// Its socket cannot be opened.
    #[error("cannot ask the service that runs, at {socket}: be the user that it runs as")]
    Socket {
        /// Where.
        socket: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It gives no whole answer.
    #[error(
        "the service that runs gave no answer to its end; what was asked for may be done: look before you ask again"
    )]
    Answer(#[from] reqwest::Error),
    /// It gives an answer of another kind.
    #[error("the service that runs is of another version")]
    Version(#[from] serde_json::Error),
    /// The work here died.
    #[error("the work died")]
    Died(#[from] tokio::task::JoinError),
}

/// The vault of one service, wherever it is open.
#[derive(Debug)]
pub struct Upkeep {
    /// Where the service's socket is, if it runs.
    pub data_dir: PathBuf,
    /// Where the vault is, if no service runs.
    pub places: Places,
    /// Whose vault it is.
    pub deployment: Deployment,
}

impl Upkeep {
    /// Reads every record again and authenticates it; `progress` hears how many are done.
    ///
    /// # Errors
    /// When there is no vault, its key is another, or the store cannot be read.
    pub async fn check(self, progress: impl Told) -> Result<Checked, UpkeepError> {
        self.work(operator::CHECK, (), progress, |vault, tell| {
            vault.check(|tally| tell(tally.records)).map(checked)
        })
        .await
    }

    /// Makes a key-encryption key where the vault's keys live, and uses it for nothing yet: [`Self::rotate_key`] takes it up by
    /// name.
    ///
    /// # Errors
    /// As [`Self::check`], or when no key can be made.
    pub async fn make_key(self) -> Result<KeyMade, UpkeepError> {
        self.work(operator::MAKE_KEY, (), |_| {}, |vault, _| vault.make_key().map(made)).await
    }

    /// Wraps every data key anew, under the key `to` or a new one, or goes on where an earlier run was killed; `progress` hears how
    /// many are done.
    ///
    /// # Errors
    /// As [`Self::check`], or when a record opens with none of the vault's keys.
    pub async fn rotate_key(
        self,
        to: Option<KeyId>,
        progress: impl Told,
    ) -> Result<KeyRotated, UpkeepError> {
        let asked = RotateKey { to: to.map(|key| key.to_string()) };
        self.work(operator::ROTATE_KEY, asked, progress, move |vault, tell| {
            vault.rotate_key(to, tell).map(rotated)
        })
        .await
    }

    /// Takes another key into use for owners to seal to; the one before opens for `overlap` seconds.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub async fn rotate_sealing_key(self, overlap: u64) -> Result<SealingKeyRotated, UpkeepError> {
        let asked = RotateSealingKey { overlap };
        self.work(
            operator::ROTATE_SEALING_KEY,
            asked,
            |_| {},
            move |vault, _| {
                let now = clock::now();
                let key = sealing::rotate(vault, now, overlap)?;
                Ok(SealingKeyRotated { key, issued_at: now })
            },
        )
        .await
    }

    /// Has the service do it that runs, or does it here.
    async fn work<T: DeserializeOwned + Send + 'static>(
        self,
        path: &str,
        asked: impl Serialize,
        mut progress: impl Told,
        here: impl FnOnce(&Vault, &mut dyn FnMut(u64)) -> Result<T, VaultError> + Send + 'static,
    ) -> Result<T, UpkeepError> {
        if let Some(running) = Running::find(&self.data_dir)? {
            return running.ask(path, &asked, progress).await;
        }
        let work = move || here(&self.places.open_existing(&self.deployment)?, &mut progress);
        Ok(tokio::task::spawn_blocking(work).await??)
    }
}

/// Hears how many records are done.
pub trait Told: FnMut(u64) + Send + 'static {}

impl<F: FnMut(u64) + Send + 'static> Told for F {}

/// The socket of a service that runs.
struct Running(PathBuf);

impl Running {
    fn find(data_dir: &Path) -> Result<Option<Self>, UpkeepError> {
        let socket = data_dir.join(operator::SOCKET);
        match UnixStream::connect(&socket) {
            Ok(_) => Ok(Some(Self(socket))),
            // Nothing was ever there, or a service that was killed left it.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                ) =>
            {
                Ok(None)
            }
            Err(source) => {
                Err(UpkeepError::Socket { socket: socket.display().to_string(), source })
            }
        }
    }

    async fn ask<T: DeserializeOwned>(
        self,
        path: &str,
        asked: &impl Serialize,
        mut progress: impl FnMut(u64),
    ) -> Result<T, UpkeepError> {
        let client = reqwest::Client::builder().unix_socket(self.0).build()?;
        let request = client.post(format!("http://operator/{path}")).json(asked);
        let mut answer = request.send().await?.error_for_status()?;
        let mut text = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            text.extend_from_slice(&chunk);
            while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = text.drain(..=end).collect();
                match serde_json::from_slice(&line)? {
                    Line::Progress(records) => progress(records),
                    Line::Done(done) => return Ok(done),
                    Line::Failed(reason) => return Err(UpkeepError::Refused(reason)),
                }
            }
        }
        Err(UpkeepError::Refused("the service stopped before it was done: ask again".into()))
    }
}

pub(crate) fn checked(tally: Tally) -> Checked {
    let Tally { records, bytes, tombstones, damaged } = tally;
    Checked { records, bytes, tombstones, damaged }
}

pub(crate) fn made(key: KeyId) -> KeyMade {
    KeyMade { key: key.to_string() }
}

pub(crate) fn rotated(rotated: Rotated) -> KeyRotated {
    KeyRotated { records: rotated.records, key: rotated.key.to_string() }
}
