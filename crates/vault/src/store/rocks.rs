//! Records in RocksDB, for one process; every write is synced before it is acknowledged.
//!
//! | table | key | value |
//! | --- | --- | --- |
//! | `records` | a key | a record |
//! | `values` | a key | nonce ‖ ciphertext ‖ tag |
//! | `meta` | name | a fact |

use std::{
    hash::{BuildHasher, RandomState},
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use alloy_primitives::Address;
use rocksdb::{
    ColumnFamily, ColumnFamilyDescriptor, DB, DBIteratorWithThreadMode, Direction, FlushOptions,
    IteratorMode, Options, Snapshot, WriteBatch, WriteOptions,
};
use sesame_domain::{SecretId, SecretName};

use super::{
    Entry, Fact, Facts, Found, KEYS, Moment, Record, Rewrapped, Store, Values, Write, Written,
    codec,
};
use crate::{
    error::VaultError,
    record::{Header, Metadata},
};

const RECORDS: &str = "records";
const VALUES: &str = "values";
const META: &str = "meta";

/// How many secrets can be written at a time; RocksDB syncs those of one moment together.
const LANES: usize = 256;

/// The store of one process.
#[derive(Debug)]
pub(crate) struct Rocks {
    db: DB,
    writing: Writing,
}

/// Reading what a write depends on and writing it is one step.
#[derive(Debug)]
struct Writing {
    /// Held shared by whoever writes a secret, since that depends on the vault's keys; alone by whoever writes anything else.
    keys: RwLock<()>,
    /// Held for the versions of the secrets that share a lane.
    lanes: [Mutex<()>; LANES],
    hash: RandomState,
}

impl Writing {
    fn new() -> Self {
        let lanes = std::array::from_fn(|_| Mutex::default());
        Self { keys: RwLock::default(), lanes, hash: RandomState::new() }
    }

    /// Nobody writes anything else.
    fn all(&self) -> RwLockWriteGuard<'_, ()> {
        self.keys.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody else writes this secret, nor the vault's facts.
    fn one(&self, secret: &SecretId) -> (RwLockReadGuard<'_, ()>, MutexGuard<'_, ()>) {
        let lane = self.hash.hash_one(secret) % LANES as u64;
        let lane = usize::try_from(lane).ok().and_then(|lane| self.lanes.get(lane));
        let lane = lane.expect("a remainder is below what it is divided by");
        (
            self.keys.read().unwrap_or_else(PoisonError::into_inner),
            lane.lock().unwrap_or_else(PoisonError::into_inner),
        )
    }
}

impl Rocks {
    pub(crate) fn open(path: &Path) -> Result<Self, VaultError> {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_paranoid_checks(true);
        let mut values = Options::default();
        values.set_enable_blob_files(true);
        values.set_min_blob_size(64 << 10);
        values.set_enable_blob_gc(true);
        let families =
            [(RECORDS, Options::default()), (VALUES, values), (META, Options::default())];
        let families = families.map(|(name, own)| ColumnFamilyDescriptor::new(name, own));
        let db = DB::open_cf_descriptors(&options, path, families)?;
        Ok(Self { db, writing: Writing::new() })
    }

    /// The records whose keys begin with `prefix`, from `start` on.
    fn from<'a>(
        &'a self,
        start: &[u8],
        prefix: &'a [u8],
    ) -> impl Iterator<Item = Result<(Box<[u8]>, Entry), VaultError>> + 'a {
        let start = IteratorMode::From(start, Direction::Forward);
        self.db
            .iterator_cf(self.family(RECORDS), start)
            .take_while(move |item| item.as_ref().map_or(true, |(key, _)| key.starts_with(prefix)))
            .map(|item| {
                let (key, record) = item?;
                let version = key.last_chunk::<8>().ok_or(VaultError::Damaged)?;
                let version = !u64::from_be_bytes(*version);
                Ok((key, Entry { version, header: codec::decode(&record)? }))
            })
    }

    /// Without the log and its syncs: nothing is durable before [`Self::flush`].
    pub(super) fn load(&self, batch: WriteBatch) -> Result<(), VaultError> {
        let mut options = WriteOptions::default();
        options.disable_wal(true);
        Ok(self.db.write_opt(batch, &options)?)
    }

    pub(super) fn add_fact(&self, batch: &mut WriteBatch, name: &str, value: &[u8]) {
        batch.put_cf(self.family(META), name, value);
    }

    /// Makes everything durable that was loaded.
    pub(super) fn flush(&self) -> Result<(), VaultError> {
        let mut options = FlushOptions::default();
        options.set_wait(true);
        let families = [RECORDS, VALUES, META].map(|name| self.family(name));
        Ok(self.db.flush_cfs_opt(&families, &options)?)
    }

    fn write(&self, batch: WriteBatch) -> Result<(), VaultError> {
        let mut options = WriteOptions::default();
        options.set_sync(true);
        Ok(self.db.write_opt(batch, &options)?)
    }

    pub(super) fn put_record(
        &self,
        batch: &mut WriteBatch,
        key: &[u8],
        record: Option<(&Header, &[u8])>,
    ) {
        batch.put_cf(self.family(RECORDS), key, codec::encode(record.map(|(header, _)| header)));
        if let Some((_, value)) = record {
            batch.put_cf(self.family(VALUES), key, value);
        }
    }

    fn family(&self, name: &str) -> &ColumnFamily {
        self.db.cf_handle(name).expect("every table was opened with the database")
    }
}

impl Store for Rocks {
    fn fact(&self, name: &str) -> Result<Option<Vec<u8>>, VaultError> {
        Ok(self.db.get_cf(self.family(META), name)?)
    }

    fn change_facts(&self, before: &[Fact<'_>], after: &[Fact<'_>]) -> Result<bool, VaultError> {
        let _writing = self.writing.all();
        for (name, value) in before {
            if self.fact(name)?.as_deref() != *value {
                return Ok(false);
            }
        }
        let mut batch = WriteBatch::default();
        for (name, value) in after {
            match value {
                Some(value) => batch.put_cf(self.family(META), name, value),
                None => batch.delete_cf(self.family(META), name),
            }
        }
        self.write(batch).map(|()| true)
    }

    fn entries(&self, secret: &SecretId) -> Result<Vec<Entry>, VaultError> {
        let prefix = codec::secret(secret);
        self.from(&prefix, &prefix).map(|item| Ok(item?.1)).collect()
    }

    fn newest(&self, secret: &SecretId) -> Result<Option<Entry>, VaultError> {
        let prefix = codec::secret(secret);
        let newest = self.from(&prefix, &prefix).next().transpose()?;
        Ok(newest.map(|(_, entry)| entry))
    }

    fn named_by(
        &self,
        requester: Address,
        after: Option<&SecretName>,
        limit: usize,
    ) -> Result<Vec<(SecretName, Metadata)>, VaultError> {
        let all = codec::named_by(requester);
        let mut start = all.clone();
        if let Some(name) = after {
            // Past every version of that secret.
            start = codec::secret(&SecretId::Requester(requester, name.clone()));
            start.extend([0xff; 9]);
        }
        let (mut found, mut last) = (Vec::new(), None);
        for item in self.from(&start, &all) {
            let (key, entry) = item?;
            let (SecretId::Requester(_, name), _) = codec::parse_key(&key)? else {
                return Err(VaultError::Damaged);
            };
            if last.as_ref() == Some(&name) {
                continue;
            }
            last = Some(name.clone());
            if let Some(metadata) = entry.into_metadata() {
                found.push((name, metadata));
                if found.len() == limit {
                    break;
                }
            }
        }
        Ok(found)
    }

    fn record(&self, secret: &SecretId, version: u64) -> Result<Option<Record>, VaultError> {
        let key = codec::key(secret, version);
        // A write between the two reads would leave one half of a record.
        let moment = self.db.snapshot();
        let Some(record) = moment.get_cf(self.family(RECORDS), &key)? else { return Ok(None) };
        let Some(header) = codec::decode(&record)? else { return Ok(None) };
        Ok(Some(Record { header, value: moment.get_cf(self.family(VALUES), &key)? }))
    }

    fn put(&self, write: &Write<'_>) -> Result<Written, VaultError> {
        let _writing = self.writing.one(write.secret);
        if self.fact(KEYS)?.as_deref() != Some(write.keys) {
            return Ok(Written::KeysChanged);
        }
        let newest = self.newest(write.secret)?.map_or(0, |entry| entry.version);
        if newest.checked_add(1) != Some(write.version) {
            return Ok(Written::NotNext { newest });
        }
        let mut batch = WriteBatch::default();
        for version in write.superseded {
            let key = codec::key(write.secret, *version);
            batch.delete_cf(self.family(RECORDS), &key);
            batch.delete_cf(self.family(VALUES), &key);
        }
        self.put_record(&mut batch, &codec::key(write.secret, write.version), write.record);
        self.write(batch).map(|()| Written::Done)
    }

    fn rewrap(&self, headers: &[Rewrapped]) -> Result<(), VaultError> {
        let _writing = self.writing.all();
        let mut batch = WriteBatch::default();
        for Rewrapped { secret, version, before, after } in headers {
            let key = codec::key(secret, *version);
            let there = self.db.get_cf(self.family(RECORDS), &key)?;
            if there == Some(codec::encode(Some(before))) {
                batch.put_cf(self.family(RECORDS), key, codec::encode(Some(after)));
            }
        }
        self.write(batch)
    }

    fn walk(
        &self,
        values: Values,
        each: &mut dyn FnMut(Found) -> Result<(), VaultError>,
    ) -> Result<(), VaultError> {
        self.moment()?.walk(values, each)
    }

    fn moment(&self) -> Result<Box<dyn Moment + '_>, VaultError> {
        Ok(Box::new(Then { rocks: self, then: self.db.snapshot() }))
    }

    #[cfg(test)]
    fn forge(
        &self,
        secret: &SecretId,
        version: u64,
        record: Option<(&Header, &[u8])>,
    ) -> Result<(), VaultError> {
        let mut batch = WriteBatch::default();
        self.put_record(&mut batch, &codec::key(secret, version), record);
        self.write(batch)
    }
}

/// What was in it when the snapshot was taken.
struct Then<'a> {
    rocks: &'a Rocks,
    then: Snapshot<'a>,
}

impl Moment for Then<'_> {
    fn facts(&mut self) -> Result<Facts, VaultError> {
        let mut facts = Facts::new();
        for fact in self.then.iterator_cf(self.rocks.family(META), IteratorMode::Start) {
            let (name, value) = fact?;
            let name = String::from_utf8(name.into()).map_err(|_| VaultError::Damaged)?;
            facts.insert(name, value.into());
        }
        Ok(facts)
    }

    fn walk(
        &mut self,
        values: Values,
        each: &mut dyn FnMut(Found) -> Result<(), VaultError>,
    ) -> Result<(), VaultError> {
        let all = |family| -> DBIteratorWithThreadMode<'_, DB> {
            self.then.iterator_cf(self.rocks.family(family), IteratorMode::Start)
        };
        for item in all(RECORDS) {
            let (key, record) = item?;
            let record = codec::parse_key(&key).and_then(|(secret, version)| {
                Ok((secret, Entry { version, header: codec::decode(&record)? }))
            });
            // A value that cannot be read is none: whoever needs it says so.
            let value = match values {
                Values::Read => self.then.get_cf(self.rocks.family(VALUES), &key).ok().flatten(),
                Values::Left => None,
            };
            each(Found { key: key.into(), record: record.ok(), value })?;
        }
        if values == Values::Left {
            return Ok(());
        }
        for item in all(VALUES) {
            let (key, _) = item?;
            let record = self.then.get_cf(self.rocks.family(RECORDS), &key)?;
            if !matches!(record.as_deref().map(codec::decode), Some(Ok(Some(_)) | Err(_))) {
                each(Found { key: key.into(), record: None, value: None })?;
            }
        }
        Ok(())
    }
}
