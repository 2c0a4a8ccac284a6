//! Records in RocksDB; every write is synced before it is acknowledged.
//!
//! | table | key | value |
//! | --- | --- | --- |
//! | `records` | secret ‖ !version (8) | a header (RLP) after the byte 1, or the byte 0 for a tombstone |
//! | `values` | secret ‖ !version (8) | nonce ‖ ciphertext ‖ tag |
//! | `meta` | name | origin, key check |
//!
//! `secret` is 1 ‖ asset (32), or 2 ‖ requester (20) ‖ length of the name (1) ‖ name.

use std::path::Path;

use alloy_primitives::{Address, B256};
use alloy_rlp::Decodable;
use rocksdb::{ColumnFamily, DB, Direction, IteratorMode, Options, WriteBatch, WriteOptions};
use sesame_domain::{AssetId, SecretId, SecretName};

use crate::{error::VaultError, record::Header};

const RECORDS: &str = "records";
const VALUES: &str = "values";
const META: &str = "meta";

const ASSET: u8 = 1;
const REQUESTER: u8 = 2;

const TOMBSTONE: u8 = 0;
const RECORD: u8 = 1;

/// One version of a secret.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) version: u64,
    /// None for a tombstone.
    pub(crate) header: Option<Header>,
}

/// What lies under one key.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) key: Box<[u8]>,
    /// None if it is no record of ours.
    pub(crate) record: Option<(SecretId, Entry)>,
}

#[derive(Debug)]
pub(crate) struct Store {
    db: DB,
}

impl Store {
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
        let families = families.map(|(name, own)| rocksdb::ColumnFamilyDescriptor::new(name, own));
        Ok(Self { db: DB::open_cf_descriptors(&options, path, families)? })
    }

    pub(crate) fn meta(&self, name: &str) -> Result<Option<Vec<u8>>, VaultError> {
        Ok(self.db.get_cf(self.family(META), name)?)
    }

    pub(crate) fn set_meta(&self, name: &str, value: &[u8]) -> Result<(), VaultError> {
        let mut batch = WriteBatch::default();
        batch.put_cf(self.family(META), name, value);
        self.write(batch)
    }

    /// Sets one and removes another, as one.
    pub(crate) fn replace_meta(
        &self,
        name: &str,
        value: &[u8],
        gone: &str,
    ) -> Result<(), VaultError> {
        let mut batch = WriteBatch::default();
        batch.put_cf(self.family(META), name, value);
        batch.delete_cf(self.family(META), gone);
        self.write(batch)
    }

    /// Replaces the headers of records, as one synced batch.
    pub(crate) fn put_headers(
        &self,
        headers: &[(SecretId, u64, Header)],
    ) -> Result<(), VaultError> {
        let mut batch = WriteBatch::default();
        for (secret, version, header) in headers {
            batch.put_cf(self.family(RECORDS), key(secret, *version), encode(header));
        }
        self.write(batch)
    }

    /// The versions of a secret, newest first.
    pub(crate) fn entries<'a>(
        &'a self,
        secret: &SecretId,
    ) -> impl Iterator<Item = Result<Entry, VaultError>> + 'a {
        let prefix = prefix(secret);
        let start = IteratorMode::From(&prefix, Direction::Forward);
        self.db
            .iterator_cf(self.family(RECORDS), start)
            .take_while(move |item| item.as_ref().map_or(true, |(key, _)| key.starts_with(&prefix)))
            .map(|item| {
                let (key, value) = item?;
                let version = key.last_chunk::<8>().ok_or(VaultError::Damaged)?;
                let header = decode(&value)?;
                Ok(Entry { version: !u64::from_be_bytes(*version), header })
            })
    }

    /// The newest version of each secret that a requester named, past the one named `after`.
    pub(crate) fn newest_of<'a>(
        &'a self,
        requester: Address,
        after: Option<&SecretName>,
    ) -> impl Iterator<Item = Result<(SecretName, Entry), VaultError>> + 'a {
        let all = [[REQUESTER].as_slice(), requester.as_slice()].concat();
        let start = match after {
            None => all.clone(),
            // Past every version of that secret.
            Some(name) => {
                let named = prefix(&SecretId::Requester(requester, name.clone()));
                [named.as_slice(), &[0xff; 9]].concat()
            }
        };
        let mut last = None;
        self.db
            .iterator_cf(self.family(RECORDS), IteratorMode::From(&start, Direction::Forward))
            .take_while(move |item| item.as_ref().map_or(true, |(key, _)| key.starts_with(&all)))
            .filter_map(move |item| {
                let read = item.map_err(VaultError::from).and_then(|(key, value)| {
                    let (secret, version) = secret_of(&key)?;
                    let SecretId::Requester(_, name) = secret else {
                        return Err(VaultError::Damaged);
                    };
                    Ok((name, Entry { version, header: decode(&value)? }))
                });
                match read {
                    Ok((name, _)) if last.as_ref() == Some(&name) => None,
                    Ok((name, entry)) => {
                        last = Some(name.clone());
                        Some(Ok((name, entry)))
                    }
                    Err(error) => Some(Err(error)),
                }
            })
    }

    /// Every record, tombstones included.
    pub(crate) fn records(&self) -> impl Iterator<Item = Result<Found, VaultError>> + '_ {
        self.db.iterator_cf(self.family(RECORDS), IteratorMode::Start).map(|item| {
            let (key, value) = item?;
            let entry = secret_of(&key).and_then(|(secret, version)| {
                Ok((secret, Entry { version, header: decode(&value)? }))
            });
            Ok(Found { key, record: entry.ok() })
        })
    }

    /// The keys of values that no record is about.
    pub(crate) fn orphans(&self) -> impl Iterator<Item = Result<Box<[u8]>, VaultError>> + '_ {
        self.db.iterator_cf(self.family(VALUES), IteratorMode::Start).filter_map(|item| {
            let key = match item {
                Ok((key, _)) => key,
                Err(error) => return Some(Err(error.into())),
            };
            match self.db.get_cf(self.family(RECORDS), &key) {
                Ok(Some(record)) if record.first() == Some(&RECORD) => None,
                Ok(_) => Some(Ok(key)),
                Err(error) => Some(Err(error.into())),
            }
        })
    }

    pub(crate) fn header(
        &self,
        secret: &SecretId,
        version: u64,
    ) -> Result<Option<Header>, VaultError> {
        let value = self.db.get_cf(self.family(RECORDS), key(secret, version))?;
        Ok(value.map(|value| decode(&value)).transpose()?.flatten())
    }

    pub(crate) fn value(
        &self,
        secret: &SecretId,
        version: u64,
    ) -> Result<Option<Vec<u8>>, VaultError> {
        Ok(self.db.get_cf(self.family(VALUES), key(secret, version))?)
    }

    /// Writes a version (a tombstone without a header) and forgets the values of `superseded` ones, as one synced batch.
    pub(crate) fn put(
        &self,
        secret: &SecretId,
        version: u64,
        record: Option<(&Header, &[u8])>,
        superseded: &[u64],
    ) -> Result<(), VaultError> {
        let mut batch = WriteBatch::default();
        for version in superseded {
            batch.delete_cf(self.family(RECORDS), key(secret, *version));
            batch.delete_cf(self.family(VALUES), key(secret, *version));
        }
        let key = key(secret, version);
        match record {
            None => batch.put_cf(self.family(RECORDS), &key, [TOMBSTONE]),
            Some((header, value)) => {
                batch.put_cf(self.family(RECORDS), &key, encode(header));
                batch.put_cf(self.family(VALUES), &key, value);
            }
        }
        self.write(batch)
    }

    fn write(&self, batch: WriteBatch) -> Result<(), VaultError> {
        let mut options = WriteOptions::default();
        options.set_sync(true);
        Ok(self.db.write_opt(batch, &options)?)
    }

    fn family(&self, name: &str) -> &ColumnFamily {
        self.db.cf_handle(name).expect("every table was opened with the database")
    }
}

fn encode(header: &Header) -> Vec<u8> {
    let mut encoded = vec![RECORD];
    alloy_rlp::Encodable::encode(header, &mut encoded);
    encoded
}

fn decode(value: &[u8]) -> Result<Option<Header>, VaultError> {
    match value.split_first() {
        Some((&TOMBSTONE, [])) => Ok(None),
        Some((&RECORD, mut rest)) => match Header::decode(&mut rest) {
            Ok(header) if rest.is_empty() => Ok(Some(header)),
            _ => Err(VaultError::Damaged),
        },
        _ => Err(VaultError::Damaged),
    }
}

/// Which version of which secret a key is about.
fn secret_of(key: &[u8]) -> Result<(SecretId, u64), VaultError> {
    let (secret, version) = key.split_last_chunk::<8>().ok_or(VaultError::Damaged)?;
    let secret = match secret {
        [ASSET, asset @ ..] => {
            let asset = asset.try_into().map_err(|_| VaultError::Damaged)?;
            SecretId::Asset(AssetId(B256::new(asset)))
        }
        [REQUESTER, rest @ ..] => {
            let (address, name) = rest.split_first_chunk::<20>().ok_or(VaultError::Damaged)?;
            let (length, name) = name.split_first().ok_or(VaultError::Damaged)?;
            let name = std::str::from_utf8(name).map_err(|_| VaultError::Damaged)?;
            let name: SecretName = name.parse().map_err(|_| VaultError::Damaged)?;
            if usize::from(*length) != name.as_str().len() {
                return Err(VaultError::Damaged);
            }
            SecretId::Requester(Address::from(*address), name)
        }
        _ => return Err(VaultError::Damaged),
    };
    Ok((secret, !u64::from_be_bytes(*version)))
}

fn prefix(secret: &SecretId) -> Vec<u8> {
    match secret {
        SecretId::Asset(asset) => [[ASSET].as_slice(), asset.0.as_slice()].concat(),
        SecretId::Requester(address, name) => {
            let name = name.as_str().as_bytes();
            let length = u8::try_from(name.len()).expect("a name has at most 64 bytes");
            [[REQUESTER].as_slice(), address.as_slice(), &[length], name].concat()
        }
    }
}

fn key(secret: &SecretId, version: u64) -> Vec<u8> {
    [prefix(secret), (!version).to_be_bytes().to_vec()].concat()
}
