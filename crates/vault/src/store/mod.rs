//! Where records live: what a store has to be, and the stores there are.

pub(crate) mod codec;
pub(crate) mod draft;
pub(crate) mod postgres;
pub(crate) mod rocks;

use std::{collections::BTreeMap, fmt};

use alloy_primitives::Address;
use sesame_domain::{SecretId, SecretName};

use crate::{
    error::VaultError,
    record::{Header, Metadata},
};

/// One version of a secret.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) version: u64,
    /// None for a tombstone.
    pub(crate) header: Option<Header>,
}

impl Entry {
    pub(crate) fn into_metadata(self) -> Option<Metadata> {
        Some(self.header?.metadata)
    }
}

/// A version that is kept.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) header: Header,
    /// Nonce ‖ ciphertext ‖ tag; none if the store lost it.
    pub(crate) value: Option<Vec<u8>>,
}

/// A version to write, and what must hold for it to be written.
#[derive(Debug)]
pub(crate) struct Write<'a> {
    pub(crate) secret: &'a SecretId,
    /// One above the newest, or nothing is written.
    pub(crate) version: u64,
    /// What is kept; none for a tombstone.
    pub(crate) record: Option<(&'a Header, &'a [u8])>,
    /// Versions that are forgotten with it.
    pub(crate) superseded: &'a [u64],
    /// The fact [`KEYS`] as the writer knows it: if it is another by now, nothing is written.
    pub(crate) keys: &'a [u8],
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    /// It is durable.
    Done,
    /// Its version does not follow the newest one.
    NotNext { newest: u64 },
    /// The vault's keys changed under it.
    KeysChanged,
}

/// What lies under one key.
#[derive(Debug)]
pub(crate) struct Found {
    /// As [`codec::key`] makes it.
    pub(crate) key: Vec<u8>,
    /// None if it is no record of ours.
    pub(crate) record: Option<(SecretId, Entry)>,
    /// As [`Record::value`]; none also if values were not asked for.
    pub(crate) value: Option<Vec<u8>>,
}

/// Whether a walk over the records brings their values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Values {
    Read,
    Left,
}

/// A new header for a record, and the one that it replaces.
#[derive(Debug)]
pub(crate) struct Rewrapped {
    pub(crate) secret: SecretId,
    pub(crate) version: u64,
    pub(crate) before: Header,
    pub(crate) after: Header,
}

/// The fact that names the vault's key-encryption keys: one name for all stores, since every write depends on it.
pub(crate) const KEYS: &str = "keys";

/// A fact by name, and what it says; none if it is not there.
pub(crate) type Fact<'a> = (&'a str, Option<&'a [u8]>);

/// All facts, by name.
pub(crate) type Facts = BTreeMap<String, Vec<u8>>;

/// What a store held at one moment, while it goes on.
pub(crate) trait Moment {
    /// All facts.
    fn facts(&mut self) -> Result<Facts, VaultError>;

    /// As [`Store::walk`], at the moment of the facts.
    fn walk(
        &mut self,
        values: Values,
        each: &mut dyn FnMut(Found) -> Result<(), VaultError>,
    ) -> Result<(), VaultError>;
}

/// Contents that will take the place of all that a store holds: none of them is there before [`Self::publish`], and all of them
/// are after it, whenever the process dies. Nobody else writes meanwhile, and a draft that is dropped leaves no trace.
///
/// RocksDB fills a folder of its own (`draft.rs`). In a database that has transactions, a draft is one: it locks the tables against
/// writers, deletes every row, inserts, and publishing commits.
pub(crate) trait Draft {
    /// Adds a version, or a tombstone. Every one comes once, in the order of keys.
    fn add(
        &mut self,
        secret: &SecretId,
        version: u64,
        record: Option<(&Header, &[u8])>,
    ) -> Result<(), VaultError>;

    /// Makes it and these facts the store's contents, durably.
    fn publish(self: Box<Self>, facts: &Facts) -> Result<(), VaultError>;
}

/// What is where contents are to be restored.
#[derive(Debug)]
pub(crate) enum Existing {
    Nothing,
    Store(Box<dyn Store>),
    /// Something that cannot be opened.
    Unreadable,
}

/// A durable store of sealed records. Whatever returns without an error is on disk; whatever a method changes, it changes as one.
pub(crate) trait Store: fmt::Debug + Send + Sync {
    /// A fact about the vault, by name.
    fn fact(&self, name: &str) -> Result<Option<Vec<u8>>, VaultError>;

    /// Sets and removes facts if all of `before` still holds; tells whether it did.
    fn change_facts(&self, before: &[Fact<'_>], after: &[Fact<'_>]) -> Result<bool, VaultError>;

    /// The versions of a secret, newest first, tombstones included.
    fn entries(&self, secret: &SecretId) -> Result<Vec<Entry>, VaultError>;

    /// The newest version of a secret.
    fn newest(&self, secret: &SecretId) -> Result<Option<Entry>, VaultError>;

    /// The newest version of each secret that a requester named and did not remove, past the one named `after`, at most `limit`.
    fn named_by(
        &self,
        requester: Address,
        after: Option<&SecretName>,
        limit: usize,
    ) -> Result<Vec<(SecretName, Metadata)>, VaultError>;

    /// One version; none if there is none or it is a tombstone.
    fn record(&self, secret: &SecretId, version: u64) -> Result<Option<Record>, VaultError>;

    /// Writes a version and forgets those that it supersedes.
    fn put(&self, write: &Write<'_>) -> Result<Written, VaultError>;

    /// Replaces headers where they still are what they were; the others are left alone.
    fn rewrap(&self, headers: &[Rewrapped]) -> Result<(), VaultError>;

    /// Shows everything there is at one moment, in the order of keys: tombstones, and what belongs to nothing, included.
    fn walk(
        &self,
        values: Values,
        each: &mut dyn FnMut(Found) -> Result<(), VaultError>,
    ) -> Result<(), VaultError>;

    /// Everything as it is now: a snapshot, or a transaction that sees none of what others commit after it began.
    fn moment(&self) -> Result<Box<dyn Moment + '_>, VaultError>;

    /// Writes what no vault would, for tests that alter what lies at rest.
    #[cfg(test)]
    fn forge(
        &self,
        secret: &SecretId,
        version: u64,
        record: Option<(&Header, &[u8])>,
    ) -> Result<(), VaultError>;
}
