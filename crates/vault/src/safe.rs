//! The safe: puts secrets in, and opens them for a release.

use std::{
    path::Path,
    sync::{Mutex, PoisonError},
};

use alloy_primitives::{Address, B256};
use sesame_domain::{Resource, SecretId, SecretName};
use sesame_protocol::bundle::Omitted;

use crate::{
    decision::{Release, ReleasedItem, Secrets, Wanted},
    error::VaultError,
    keys::{file::KeyFile, ring::Ring},
    record::{self, Home, Metadata},
    secret::Plaintext,
    store::rocks::Store,
};

const ORIGIN: &str = "origin";

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

/// Sealed records, and the key that opens them.
#[derive(Debug)]
pub struct Vault {
    pub(crate) store: Store,
    pub(crate) keys: Ring,
    pub(crate) home: Home,
    /// Reading the newest version and writing the next one is one step.
    writing: Mutex<()>,
}

impl Vault {
    /// Opens the vault in the folder `path` for one chain and asset registry, with the key-encryption key in `key_file`. Both
    /// are made on the first run; a vault that exists never gets a new key.
    ///
    /// # Errors
    /// When the store fails, belongs elsewhere, or the key is missing or another one.
    pub fn open(
        path: &Path,
        key_file: &Path,
        chain_id: u64,
        registry: Address,
    ) -> Result<Self, VaultError> {
        let store = Store::open(path)?;
        let home = Home { chain_id, registry };
        let origin = home.origin();
        match store.meta(ORIGIN)? {
            Some(stored) if stored != origin => return Err(VaultError::OtherOrigin),
            // A vault that exists never gets a new key.
            Some(_) if !key_file.exists() => drop(KeyFile::load(key_file)?),
            Some(_) | None => {}
        }
        let keys = Ring::open(&store, key_file, &origin)?;
        store.set_meta(ORIGIN, &origin)?;
        Ok(Self { store, keys, home, writing: Mutex::new(()) })
    }

    /// The same of a vault that is there; none is made.
    ///
    /// # Errors
    /// As [`Self::open`], or when there is no such vault.
    pub fn open_existing(
        path: &Path,
        key_file: &Path,
        chain_id: u64,
        registry: Address,
    ) -> Result<Self, VaultError> {
        // RocksDB writes this file last when it makes a database.
        if !path.join("CURRENT").exists() {
            return Err(VaultError::NoVault { path: path.display().to_string() });
        }
        Self::open(path, key_file, chain_id, registry)
    }

    /// Keeps a secret; durable when this returns.
    ///
    /// # Errors
    /// When its version is not one above the newest, or the store fails.
    pub fn push(&self, push: Push) -> Result<Metadata, VaultError> {
        let size = push.value.expose().len() as u64;
        let metadata = Metadata { size, ..push.metadata };
        let (header, sealed) =
            record::seal(self.home, &push.secret, metadata.clone(), &push.value, &self.keys)?;
        drop(push.value);
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let superseded = self.follows(&push.secret, metadata.version, |older| {
            older.content_digest == metadata.content_digest
        })?;
        self.store.put(&push.secret, metadata.version, Some((&header, &sealed)), &superseded)?;
        Ok(metadata)
    }

    /// Forgets every version of a secret, leaving a tombstone so that versions never fall.
    ///
    /// # Errors
    /// When there is nothing to forget, the version is not one above the newest, or the store fails.
    pub fn remove(&self, removal: &Removal) -> Result<(), VaultError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.newest(&removal.secret)?.is_none() {
            return Err(VaultError::Missing);
        }
        let superseded = self.follows(&removal.secret, removal.version, |_| true)?;
        self.store.put(&removal.secret, removal.version, None, &superseded)
    }

    /// Checks that `version` is the next one and lists the older ones that it supersedes.
    fn follows(
        &self,
        secret: &SecretId,
        version: u64,
        supersedes: impl Fn(&Metadata) -> bool,
    ) -> Result<Vec<u64>, VaultError> {
        let entries = self.store.entries(secret).collect::<Result<Vec<_>, _>>()?;
        let newest = entries.first().map_or(0, |entry| entry.version);
        if newest.checked_add(1) != Some(version) {
            return Err(VaultError::VersionConflict { newest, got: version });
        }
        let superseded = entries.iter().filter(|entry| {
            entry.header.as_ref().is_none_or(|header| supersedes(&header.metadata))
        });
        Ok(superseded.map(|entry| entry.version).collect())
    }

    /// What is known of a secret's newest version; none if there is none or it was removed.
    ///
    /// # Errors
    /// When the store fails.
    pub fn newest(&self, secret: &SecretId) -> Result<Option<Metadata>, VaultError> {
        let newest = self.store.entries(secret).next().transpose()?;
        Ok(newest.and_then(|entry| entry.header).map(|header| header.metadata))
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
        let newest = self.store.newest_of(requester, after);
        let kept = newest.filter_map(|entry| match entry {
            Ok((name, entry)) => entry.header.map(|header| Ok((name, header.metadata))),
            Err(error) => Some(Err(error)),
        });
        kept.take(limit).collect()
    }

    /// The newest version's number, tombstones included; 0 if there never was one.
    ///
    /// # Errors
    /// When the store fails.
    pub fn newest_version(&self, secret: &SecretId) -> Result<u64, VaultError> {
        let newest = self.store.entries(secret).next().transpose()?;
        Ok(newest.map_or(0, |entry| entry.version))
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
        for entry in self.store.entries(secret) {
            let Some(header) = entry?.header else { return Ok(None) };
            if content.is_none_or(|digest| digest == header.metadata.content_digest) {
                return Ok(Some(header.metadata));
            }
        }
        Ok(None)
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
        let header = self.store.header(&item.secret, item.version)?;
        let header = header.ok_or(VaultError::Missing)?;
        let sealed = self.store.value(&item.secret, item.version)?;
        let sealed = sealed.ok_or(VaultError::Damaged)?;
        let value = record::open(self.home, &item.secret, &header, &sealed, &self.keys)?;
        Ok(Opened { resource: item.resource, version: item.version, value })
    }
}

#[cfg(test)]
mod tests;
