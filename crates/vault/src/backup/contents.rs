//! What is inside a backup: a head, the records, a tail, and nothing after it.
//!
//! | item | bytes |
//! | --- | --- |
//! | head | 1, RLP of (time, list of (name, fact)) by rising names |
//! | record | 2, RLP of (key, record) as the store spells them (`store/codec.rs`), length of the value (4) ‖ value |
//! | tail | 3, RLP of (records, bytes, tombstones) |
//!
//! Each RLP comes after its length (4 bytes, big-endian). Keys rise, so that nothing comes twice.

use std::io::{Read, Write};

use alloy_rlp::{Decodable, Encodable, RlpDecodable, RlpEncodable};
use sesame_domain::SecretId;

use super::{Contents, envelope::unread};
use crate::{
    error::{BackupError, VaultError},
    record::Header,
    store::{Facts, codec},
};

const HEAD: u8 = 1;
const RECORD: u8 = 2;
const TAIL: u8 = 3;

/// Longest RLP of an item. A record's has a few hundred bytes, a head's as many for each sealing key that there ever was.
const LONGEST: u32 = 1 << 20;

/// Longest sealed value: the greatest secret, 4 MiB, with nonce and tag.
const LONGEST_VALUE: u32 = (4 << 20) + 28;

/// What comes first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) created_at: u64,
    pub(super) facts: Facts,
}

/// A version of a secret as it lies at rest, or a tombstone.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) secret: SecretId,
    pub(super) version: u64,
    /// None for a tombstone.
    pub(super) header: Option<Header>,
    /// Nonce ‖ ciphertext ‖ tag; empty for a tombstone.
    pub(super) value: Vec<u8>,
}

impl Item {
    pub(super) fn key(&self) -> Vec<u8> {
        codec::key(&self.secret, self.version)
    }
}

#[derive(RlpEncodable, RlpDecodable)]
struct HeadRow {
    created_at: u64,
    facts: Vec<FactRow>,
}

#[derive(RlpEncodable, RlpDecodable)]
struct FactRow {
    name: String,
    value: Vec<u8>,
}

#[derive(RlpEncodable, RlpDecodable)]
struct RecordRow {
    key: Vec<u8>,
    record: Vec<u8>,
}

#[derive(RlpEncodable, RlpDecodable)]
struct TailRow {
    records: u64,
    bytes: u64,
    tombstones: u64,
}

impl From<&Contents> for TailRow {
    fn from(contents: &Contents) -> Self {
        let Contents { records, bytes, tombstones } = *contents;
        Self { records, bytes, tombstones }
    }
}

impl Contents {
    fn count(&mut self, item: &Item, bytes: u64) {
        match item.header {
            Some(_) => {
                self.records += 1;
                self.bytes = self.bytes.saturating_add(bytes);
            }
            None => self.tombstones += 1,
        }
    }
}

/// Writes items.
pub(super) struct Writer<W> {
    out: W,
    contents: Contents,
}

impl<W: Write> Writer<W> {
    pub(super) fn begin(out: W, head: &Head) -> Result<Self, VaultError> {
        let facts = head.facts.iter();
        let facts = facts.map(|(name, value)| FactRow { name: name.clone(), value: value.clone() });
        let mut writer = Self { out, contents: Contents::default() };
        let row = HeadRow { created_at: head.created_at, facts: facts.collect() };
        writer.row(HEAD, &row)?;
        Ok(writer)
    }

    /// Adds a record with so many bytes in the clear.
    pub(super) fn add(&mut self, item: &Item, bytes: u64) -> Result<(), VaultError> {
        let record = codec::encode(item.header.as_ref());
        self.row(RECORD, &RecordRow { key: item.key(), record })?;
        self.sized(&item.value)?;
        self.contents.count(item, bytes);
        Ok(())
    }

    pub(super) const fn contents(&self) -> &Contents {
        &self.contents
    }

    pub(super) fn end(mut self) -> Result<(W, Contents), VaultError> {
        self.row(TAIL, &TailRow::from(&self.contents))?;
        Ok((self.out, self.contents))
    }

    fn row(&mut self, kind: u8, row: &impl Encodable) -> Result<(), VaultError> {
        self.out.write_all(&[kind]).map_err(BackupError::Write)?;
        self.sized(&alloy_rlp::encode(row))
    }

    fn sized(&mut self, bytes: &[u8]) -> Result<(), VaultError> {
        let length = u32::try_from(bytes.len()).map_err(|_| VaultError::Damaged)?;
        let written = self.out.write_all(&length.to_be_bytes());
        Ok(written.and_then(|()| self.out.write_all(bytes)).map_err(BackupError::Write)?)
    }
}

/// Reads items and refuses whatever [`Writer`] would not write.
pub(super) struct Reader<R> {
    input: R,
    contents: Contents,
    /// The newest record's.
    key: Vec<u8>,
    ended: bool,
}

impl<R: Read> Reader<R> {
    pub(super) fn begin(input: R) -> Result<(Head, Self), VaultError> {
        let contents = Contents::default();
        let mut reader = Self { input, contents, key: Vec::new(), ended: false };
        let HEAD = reader.kind()? else { return Err(altered()) };
        let HeadRow { created_at, facts } = reader.row()?;
        if !facts.is_sorted_by(|a, b| a.name < b.name) {
            return Err(altered());
        }
        let facts = facts.into_iter().map(|FactRow { name, value }| (name, value)).collect();
        Ok((Head { created_at, facts }, reader))
    }

    /// The next record; none at the end, when everything was there.
    pub(super) fn next(&mut self) -> Result<Option<Item>, VaultError> {
        if self.ended {
            return Ok(None);
        }
        match self.kind()? {
            RECORD => {
                let item = self.record()?;
                let bytes = item.header.as_ref().map_or(0, |header| header.metadata.size);
                self.contents.count(&item, bytes);
                Ok(Some(item))
            }
            TAIL => self.tail().map(|()| None),
            _ => Err(altered()),
        }
    }

    /// What was read so far.
    pub(super) const fn contents(&self) -> &Contents {
        &self.contents
    }

    fn record(&mut self) -> Result<Item, VaultError> {
        let RecordRow { key, record } = self.row()?;
        let value = self.sized(LONGEST_VALUE)?;
        let parsed = codec::parse_key(&key).and_then(|key| Ok((key, codec::decode(&record)?)));
        let ((secret, version), header) = parsed.map_err(|_| altered())?;
        let one_spelling = codec::encode(header.as_ref()) == record;
        if key <= self.key || !one_spelling || header.is_none() != value.is_empty() {
            return Err(altered());
        }
        self.key = key;
        Ok(Item { secret, version, header, value })
    }

    fn tail(&mut self) -> Result<(), VaultError> {
        let TailRow { records, bytes, tombstones } = self.row()?;
        let whole = self.contents == Contents { records, bytes, tombstones };
        let more = self.input.read(&mut [0]).map_err(unread)?;
        if !whole || more != 0 {
            return Err(altered());
        }
        self.ended = true;
        Ok(())
    }

    fn kind(&mut self) -> Result<u8, VaultError> {
        let mut kind = [0];
        self.input.read_exact(&mut kind).map_err(unread)?;
        let [kind] = kind;
        Ok(kind)
    }

    fn row<T: Decodable + Encodable>(&mut self) -> Result<T, VaultError> {
        let bytes = self.sized(LONGEST)?;
        let row = T::decode(&mut bytes.as_slice()).map_err(|_| altered())?;
        if alloy_rlp::encode(&row) == bytes { Ok(row) } else { Err(altered()) }
    }

    fn sized(&mut self, longest: u32) -> Result<Vec<u8>, VaultError> {
        let mut length = [0; 4];
        self.input.read_exact(&mut length).map_err(unread)?;
        let length = u32::from_be_bytes(length);
        if length > longest {
            return Err(altered());
        }
        let mut bytes = Vec::new();
        // Not all at once: a length is no reason to believe that so much comes.
        let read = (&mut self.input).take(length.into()).read_to_end(&mut bytes).map_err(unread)?;
        if read as u64 == u64::from(length) { Ok(bytes) } else { Err(altered()) }
    }
}

fn altered() -> VaultError {
    BackupError::Altered.into()
}
