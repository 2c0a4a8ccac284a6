//! Where a service's vault is, and its upkeep: is it whole, other keys for it, backups of it. A service that runs is asked to do it, through
//! the socket in its data folder; where none runs, the vault is opened here.

use std::{
    io::{self, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};
use sesame_protocol::{
    operator::{
        self, BackedUp, Checked, KeyMade, KeyRotated, Line, RotateKey, RotateSealingKey,
        SealingKeyRotated,
    },
    signature::{SignatureError, Signer},
    status::{KeyProvider, VaultStore},
};
use sesame_vault::{Contents, KeyError, KeyFile, Restore, Rotated, Tally, Vault, VaultError};

pub use sesame_vault::{
    Backup, DatabaseUrl, Hsm, KeyId, KeySource, Location, Replaced, Restored, UrlError,
};

use crate::{clock, followed::Followed, sealing};

/// The file of the identity's key.
pub(crate) const IDENTITY: &str = "identity.key";

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

    /// Where secrets and new keys are, in one word each.
    pub(crate) fn kinds(&self) -> (VaultStore, KeyProvider) {
        let store = match self.records {
            Location::Postgres(_) => VaultStore::Postgres,
            Location::Folder(_) | _ => VaultStore::Rocksdb,
        };
        (store, provider(&self.keys))
    }

    pub(crate) fn hold_a_vault(&self) -> Result<bool, VaultError> {
        self.records.holds_a_vault()
    }

    /// Opens the vault, or makes it.
    pub(crate) fn open(&self, followed: &Followed) -> Result<Vault, VaultError> {
        Vault::open(&self.records, &self.keys, followed.chain_id(), followed.home())
    }

    /// Opens the vault as the service does, but makes none.
    fn open_existing(&self, followed: &Followed) -> Result<Vault, VaultError> {
        let (chain, registry) = (followed.chain_id(), followed.home());
        Vault::open_existing(&self.records, &self.keys, chain, registry)
    }
}

/// Where keys are made.
fn provider(keys: &KeySource) -> KeyProvider {
    match keys {
        KeySource::Pkcs11(_) => KeyProvider::Pkcs11,
        KeySource::Either(first, _) => provider(first),
        KeySource::Folder(_) | _ => KeyProvider::File,
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
    /// It gives bytes that are none.
    #[error("the service that runs sends what cannot be read")]
    Part,
    /// What it gives cannot be written.
    #[error("cannot write the backup")]
    Write(#[source] io::Error),
    /// It runs where it must not.
    #[error("the service runs: stop it first")]
    Runs,
    /// The identity's key cannot be used.
    #[error("a backup holds no keys: put keys/ back from its own backup first")]
    Keys(#[from] KeyError),
    /// The identity's key is none.
    #[error("the identity key is not a secp256k1 key")]
    Identity(#[from] SignatureError),
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
    pub followed: Followed,
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

    /// Writes a backup of everything to `out`; a service that runs goes on meanwhile. `progress` hears how many records are in it.
    ///
    /// # Errors
    /// As [`Self::check`], or when a record does not authenticate, or the output fails. What was written by then is no backup.
    pub async fn backup(
        self,
        mut out: impl Write + Send + 'static,
        mut progress: impl Told,
    ) -> Result<BackedUp, UpkeepError> {
        if let Some(running) = Running::find(&self.data_dir)? {
            return running.ask(operator::BACKUP, &(), progress, out).await;
        }
        let work = move || {
            let vault = self.places.open_existing(&self.followed)?;
            vault.backup(&mut out, clock::now(), |contents| progress(contents.records))
        };
        Ok(backed_up(tokio::task::spawn_blocking(work).await??))
    }

    /// Verifies a backup to its end and puts it in the place of the vault as far as `change` allows. No service may run. The keys,
    /// the identity's among them, must be where they belong: a backup holds none.
    ///
    /// # Errors
    /// When the service runs, the backup is refused, a key is missing, or another vault is there that may not be replaced: then
    /// the vault is as it was.
    pub async fn restore(
        self,
        file: PathBuf,
        change: Change,
        mut progress: impl Told,
    ) -> Result<Restored, UpkeepError> {
        if Running::find(&self.data_dir)?.is_some() {
            return Err(UpkeepError::Runs);
        }
        let work = move || {
            let identity = self.data_dir.join("keys").join(IDENTITY);
            let identity = Signer::from_bytes(KeyFile::load(&identity)?.bytes())?.address();
            let restore = Restore {
                at: self.places.records,
                keys: self.places.keys,
                chain_id: self.followed.chain_id(),
                registry: self.followed.home(),
                identity,
                replace: change == Change::Replace,
            };
            if change == Change::Nothing {
                return Ok(Restored::Unchanged(restore.verify(&file, progress)?));
            }
            Ok(restore.run(&file, &mut progress)?)
        };
        tokio::task::spawn_blocking(work).await?
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
            return running.ask(path, &asked, progress, io::sink()).await;
        }
        let work = move || here(&self.places.open_existing(&self.followed)?, &mut progress);
        Ok(tokio::task::spawn_blocking(work).await??)
    }
}

/// What a restore may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing: the backup is verified and no more.
    Nothing,
    /// It may make a vault where none is, or an empty one.
    Make,
    /// It may replace another vault.
    Replace,
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
        mut out: impl Write,
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
                    Line::Part(part) => {
                        let bytes = part.bytes().ok_or(UpkeepError::Part)?;
                        out.write_all(&bytes).map_err(UpkeepError::Write)?;
                    }
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

pub(crate) fn backed_up(backup: Backup) -> BackedUp {
    let Backup { created_at, keys, contents: Contents { records, bytes, tombstones } } = backup;
    let keys = keys.iter().map(ToString::to_string).collect();
    BackedUp { created_at, records, bytes, tombstones, keys }
}
