//! The safe: puts secrets in, and opens them for a release.

use std::{
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
};

use alloy_primitives::{Address, B256};
use sesame_domain::{Resource, SecretId, SecretName};
use sesame_protocol::bundle::Omitted;

use crate::{
    decision::{Release, ReleasedItem, Secrets, Wanted},
    error::VaultError,
    keys::{KeyId, KeySource, Keys, ring::Ring},
    record::{self, Home, Metadata},
    secret::Plaintext,
    store::{
        Draft, Entry, Existing, KEYS, Record, Store, Write, Written, draft,
        postgres::{DatabaseUrl, Postgres},
        rocks::Rocks,
    },
};

pub(crate) const ORIGIN: &str = "origin";
pub(crate) const IDENTITY: &str = "identity";

/// Versions of one secret, for different contents, that are kept; the oldest goes when there are more.
pub(crate) const LIVE_VERSIONS: usize = 64;

/// How often a write is tried again when the vault's keys change under it.
pub(crate) const TRIES: usize = 8;

/// Where a vault's records are kept.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Location {
    /// A folder of RocksDB, for one process.
    Folder(PathBuf),
    /// Tables of a PostgreSQL database, for any number of processes.
    Postgres(Box<DatabaseUrl>),
}

impl Location {
    /// Whether there is a vault.
    ///
    /// # Errors
    /// When the database does not say.
    pub fn holds_a_vault(&self) -> Result<bool, VaultError> {
        match self {
            // RocksDB writes this file last when it makes a database.
            Self::Folder(path) => Ok(path.join("CURRENT").exists() || draft::waits(path)),
            Self::Postgres(url) => Postgres::has_fact(url, ORIGIN),
        }
    }

    fn open(&self) -> Result<Box<dyn Store>, VaultError> {
        match self {
            Self::Folder(path) => {
                draft::finish(path)?;
                Ok(Box::new(Rocks::open(path)?))
            }
            Self::Postgres(url) => Ok(Box::new(Postgres::open(url)?)),
        }
    }

    /// What is there; of a folder, nobody else may have it open.
    pub(crate) fn existing(&self) -> Result<Existing, VaultError> {
        match self {
            Self::Folder(path) => draft::existing(path),
            Self::Postgres(url) => Ok(Existing::Store(Box::new(Postgres::open(url)?))),
        }
    }

    /// Contents for the place of what is there.
    pub(crate) fn draft(&self, existing: Existing) -> Result<Box<dyn Draft>, VaultError> {
        match self {
            Self::Folder(path) => Ok(Box::new(draft::Folder::begin(path, existing)?)),
            Self::Postgres(url) => Ok(Box::new(Postgres::draft(url)?)),
        }
    }

    /// Where the vault is kept that a restore replaced; nowhere if it was in a database.
    pub(crate) fn aside(&self) -> Option<PathBuf> {
        match self {
            Self::Folder(path) => Some(draft::aside(path)),
            Self::Postgres(_) => None,
        }
    }
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder(path) => path.display().fmt(f),
            Self::Postgres(url) => url.fmt(f),
        }
    }
}

/// A secret to keep.
#[derive(Debug)]
pub struct Push {
    /// Which secret.
    pub secret: SecretId,
    /// Everything about it but its size, which is the value's.
    pub metadata: Metadata,
    /// The value.
    pub value: Plaintext,
}

/// A secret to forget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// Which secret.
    pub secret: SecretId,
    /// The asset's epoch in which it is removed; 0 for a requester's.
    pub epoch: u64,
    /// One above the newest version.
    pub version: u64,
}

/// One opened secret of a release.
#[derive(Debug)]
pub struct Opened {
    /// What the enclave asked for.
    pub resource: Resource,
    /// Which version it got.
    pub version: u64,
    /// The secret.
    pub value: Plaintext,
}

/// The key-encryption key that a vault seals with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyInUse {
    /// Its name.
    pub key: KeyId,
    /// Where it lives, in words.
    pub place: String,
    /// Where the next one will live, in the same words.
    pub next: String,
}

/// Sealed records, and the keys that open them.
#[derive(Debug)]
pub struct Vault {
    pub(crate) store: Box<dyn Store>,
    pub(crate) home: Home,
    pub(crate) keys: Box<dyn Keys>,
    ring: RwLock<Arc<Ring>>,
}

impl Vault {
    /// Opens the vault at a location for one chain and asset registry. It is made on the first run, with a new key-encryption key;
    /// a vault that exists never gets one by itself.
    ///
    /// # Errors
    /// When the store fails, belongs elsewhere, or the key is missing or another one.
    pub fn open(
        at: &Location,
        keys: &KeySource,
        chain_id: u64,
        registry: Address,
    ) -> Result<Self, VaultError> {
        let (store, keys) = (at.open()?, keys.open()?);
        let home = Home { chain_id, registry };
        let origin = home.origin();
        if store.fact(ORIGIN)?.is_none() {
            let first = Ring::of(keys.make()?, &origin)?;
            let facts = [(ORIGIN, Some(origin.as_slice())), (KEYS, Some(first.fact()))];
            // Where another process made it meanwhile, its key counts.
            store.change_facts(&[(ORIGIN, None)], &facts)?;
        }
        home.check(&store.fact(ORIGIN)?.ok_or(VaultError::Damaged)?)?;
        let ring = Ring::read(store.as_ref(), keys.as_ref(), &origin)?;
        Ok(Self { store, home, keys, ring: RwLock::new(ring.into()) })
    }

    /// The same of a vault that is there; none is made.
    ///
    /// # Errors
    /// As [`Self::open`], or when there is no such vault.
    pub fn open_existing(
        at: &Location,
        keys: &KeySource,
        chain_id: u64,
        registry: Address,
    ) -> Result<Self, VaultError> {
        if !at.holds_a_vault()? {
            return Err(VaultError::NoVault { path: at.to_string() });
        }
        Self::open(at, keys, chain_id, registry)
    }

    /// Makes the vault the one of this SMS identity, if it is nobody's yet.
    ///
    /// # Errors
    /// [`VaultError::OtherIdentity`] if it is another's, or the store fails.
    pub fn belongs_to(&self, identity: Address) -> Result<(), VaultError> {
        let ours = (IDENTITY, Some(identity.as_slice()));
        self.store.change_facts(&[(IDENTITY, None)], &[ours])?;
        match self.store.fact(IDENTITY)? {
            Some(kept) if kept == identity.as_slice() => Ok(()),
            Some(kept) => Err(VaultError::OtherIdentity {
                identity: Address::try_from(kept.as_slice()).map_err(|_| VaultError::Damaged)?,
            }),
            None => Err(VaultError::Damaged),
        }
    }

    /// The key that new secrets are sealed with.
    #[must_use]
    pub fn key_in_use(&self) -> KeyInUse {
        let ring = self.ring();
        let key = ring.sealing();
        KeyInUse { key: key.id(), place: key.place(), next: self.keys.place() }
    }

    /// Whether the store answers. Blocks for as long as it takes to.
    ///
    /// # Errors
    /// When it does not, or has lost what every vault has.
    pub fn reach(&self) -> Result<(), VaultError> {
        self.home.check(&self.store.fact(ORIGIN)?.ok_or(VaultError::Damaged)?)
    }

    /// Whether the key that seals can be used, wherever it is computed. Blocks as [`Self::reach`] does.
    ///
    /// # Errors
    /// When it cannot.
    pub fn try_key(&self) -> Result<(), VaultError> {
        self.ring().try_sealing(&self.home.origin())
    }

    /// The keys as this process knows them.
    pub(crate) fn ring(&self) -> Arc<Ring> {
        self.ring.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The keys as the store names them: others may have changed them.
    pub(crate) fn read_ring(&self) -> Result<Arc<Ring>, VaultError> {
        let ring = Arc::new(Ring::read(&*self.store, &*self.keys, &self.home.origin())?);
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = ring.clone();
        Ok(ring)
    }

    /// Keeps a secret; durable when this returns.
    ///
    /// # Errors
    /// When its version is not one above the newest, its epoch is over, or the store fails.
    pub fn push(&self, push: Push) -> Result<Metadata, VaultError> {
        let size = push.value.expose().len() as u64;
        let metadata = Metadata { size, ..push.metadata };
        let mut ring = self.ring();
        for _ in 0..TRIES {
            let (header, sealed) = record::seal(
                self.home,
                &push.secret,
                metadata.clone(),
                &push.value,
                ring.sealing(),
            )?;
            let record = Some((&header, sealed.as_slice()));
            if self.write(&push.secret, metadata.epoch, metadata.version, record, &ring)? {
                return Ok(metadata);
            }
            ring = self.read_ring()?;
        }
        Err(VaultError::KeysChanging)
    }

    /// Forgets every version of a secret, leaving a tombstone so that versions never fall.
    ///
    /// # Errors
    /// When there is nothing to forget, the version is not one above the newest, the epoch is over, or the store fails.
    pub fn remove(&self, removal: &Removal) -> Result<(), VaultError> {
        let mut ring = self.ring();
        for _ in 0..TRIES {
            if self.newest(&removal.secret)?.is_none() {
                return Err(VaultError::Missing);
            }
            if self.write(&removal.secret, removal.epoch, removal.version, None, &ring)? {
                return Ok(());
            }
            ring = self.read_ring()?;
        }
        Err(VaultError::KeysChanging)
    }

    /// Writes a version and forgets what it supersedes; false if the vault's keys are others by now.
    fn write(
        &self,
        secret: &SecretId,
        epoch: u64,
        version: u64,
        record: Option<(&record::Header, &[u8])>,
        ring: &Ring,
    ) -> Result<bool, VaultError> {
        let entries = self.store.entries(secret)?;
        // What the store takes follows the newest that it has by then: only so are these all the entries that there are.
        let newest = entries.first().map_or(0, |entry| entry.version);
        if newest.checked_add(1) != Some(version) {
            return Err(VaultError::VersionConflict { newest, got: version });
        }
        // Whoever owned it when this was sent may have sold it since, and the next owner was here first.
        if let Some(record::Header { metadata, .. }) =
            entries.first().and_then(|entry| entry.header.as_ref())
            && metadata.epoch > epoch
        {
            return Err(VaultError::EpochOver { newest: metadata.epoch, got: epoch });
        }
        let superseded = superseded(&entries, record.map(|(header, _)| &header.metadata));
        let write = Write { secret, version, record, superseded: &superseded, keys: ring.fact() };
        match self.store.put(&write)? {
            Written::Done => Ok(true),
            Written::KeysChanged => Ok(false),
            Written::NotNext { newest } => {
                Err(VaultError::VersionConflict { newest, got: version })
            }
        }
    }

    /// What is known of a secret's newest version; none if there is none or it was removed.
    ///
    /// # Errors
    /// When the store fails.
    pub fn newest(&self, secret: &SecretId) -> Result<Option<Metadata>, VaultError> {
        Ok(self.store.newest(secret)?.and_then(Entry::into_metadata))
    }

    /// The secrets that a requester named, past the one named `after`, at most `limit` of them. Removed ones are left out.
    ///
    /// # Errors
    /// When the store fails.
    pub fn named_by(
        &self,
        requester: Address,
        after: Option<&SecretName>,
        limit: usize,
    ) -> Result<Vec<(SecretName, Metadata)>, VaultError> {
        self.store.named_by(requester, after, limit)
    }

    /// The newest version's number, tombstones included; 0 if there never was one.
    ///
    /// # Errors
    /// When the store fails.
    pub fn newest_version(&self, secret: &SecretId) -> Result<u64, VaultError> {
        Ok(self.store.newest(secret)?.map_or(0, |entry| entry.version))
    }

    /// What there is for each secret that a question needs.
    ///
    /// # Errors
    /// When the store fails.
    pub fn look_up(&self, wanted: &[Wanted]) -> Result<Secrets, VaultError> {
        let found = wanted
            .iter()
            .map(|wanted| Ok((wanted.resource, self.newest_for(&wanted.secret, wanted.content)?)));
        Ok(Secrets(found.collect::<Result<_, VaultError>>()?))
    }

    /// The newest version, or the newest one that opens this content. A tombstone hides everything before it.
    fn newest_for(
        &self,
        secret: &SecretId,
        content: Option<B256>,
    ) -> Result<Option<Metadata>, VaultError> {
        let Some(content) = content else { return self.newest(secret) };
        let entries = self.store.entries(secret)?.into_iter().map_while(Entry::into_metadata);
        Ok(entries.into_iter().find(|metadata| metadata.content_digest == content))
    }

    /// Opens what a release allows. Spends the release.
    ///
    /// # Errors
    /// When a record is gone since, was altered, or the store fails.
    pub fn open_release(&self, release: Release) -> Result<Vec<Opened>, VaultError> {
        release.items.iter().map(|item| self.open_item(item)).collect()
    }

    /// Opens as many of the first secrets of a release as have `bytes` together, and gives the rest by digest only: these are
    /// opened before, one at a time, so that never more than `bytes` or one secret is in the clear. Spends the release.
    ///
    /// # Errors
    /// As [`Self::open_release`].
    pub fn open_within(
        &self,
        release: Release,
        bytes: u64,
    ) -> Result<(Vec<Opened>, Vec<Omitted>), VaultError> {
        let (fitting, rest) = release.split(bytes);
        let omit = |item| {
            let Opened { resource, version, value } = self.open_item(item)?;
            Ok(Omitted::new(resource, version, value.expose()))
        };
        let omitted = rest.iter().map(omit).collect::<Result<_, VaultError>>()?;
        let opened = fitting.iter().map(|item| self.open_item(item)).collect::<Result<_, _>>()?;
        Ok((opened, omitted))
    }

    fn open_item(&self, item: &ReleasedItem) -> Result<Opened, VaultError> {
        let value = self.open_version(&item.secret, item.version)?;
        Ok(Opened { resource: item.resource, version: item.version, value })
    }

    pub(crate) fn open_version(
        &self,
        secret: &SecretId,
        version: u64,
    ) -> Result<Plaintext, VaultError> {
        let Record { header, value } =
            self.store.record(secret, version)?.ok_or(VaultError::Missing)?;
        let sealed = value.ok_or(VaultError::Damaged)?;
        let open = |ring: &Ring| record::open(self.home, secret, &header, &sealed, ring);
        match open(&self.ring()) {
            // Another process may have changed the keys.
            Err(VaultError::UnknownKey(_)) => open(&*self.read_ring()?),
            opened => opened,
        }
    }
}

/// The versions that go when one is written: those for the same content, all of them when it is a tombstone, and the oldest when
/// there would be more than [`LIVE_VERSIONS`].
fn superseded(entries: &[Entry], by: Option<&Metadata>) -> Vec<u64> {
    let goes = |entry: &Entry| match (by, &entry.header) {
        (Some(by), Some(header)) => header.metadata.content_digest == by.content_digest,
        (None, _) | (_, None) => true,
    };
    let (mut gone, live): (Vec<_>, Vec<_>) = entries.iter().partition(|entry| goes(entry));
    gone.extend(live.into_iter().skip(LIVE_VERSIONS - 1));
    gone.into_iter().map(|entry| entry.version).collect()
}

#[cfg(test)]
mod histories;
#[cfg(test)]
mod tests;
#[cfg(test)]
#[path = "safe/tests.rs"]
#[expect(clippy::duplicate_mod, reason = "the same tests, on the other store")]
mod tests_on_postgres;
