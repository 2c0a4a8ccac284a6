//! Every table with its key and value.
//!
//! | table | key | value |
//! | --- | --- | --- |
//! | `assets` | asset (32) ‖ !block (8) | [`Asset`] |
//! | `authorizations` | asset (32) ‖ enclave (32) ‖ !block (8) | [`Authorization`], or a tombstone |
//! | `tasks` | task (32) ‖ !block (8) | [`Task`] |
//! | `orders` | hash of an order (32) ‖ !block (8) | [`OrderUse`] |
//! | `deals` | deal (32) ‖ !block (8) | [`DealMatch`] |
//! | `journals` | registry (1) ‖ !block (8) | [`Journal`] |
//! | `holdings` | owner (20) ‖ asset (32) ‖ !block (8) | nothing while the owner has the asset, or a tombstone |
//! | `headers` | block (8) | [`Block`](sesame_domain::Block) |
//! | `undo` | block (8) | the versioned keys that the block wrote |
//! | `meta` | name | schema, origin, cursor, proven block, newest block ever confirmed, newest block hidden, the mark of the last write |
//!
//! Numbers are big-endian. `!block` is the bitwise complement, so that the newest version comes first and "the entity
//! after block B" is the first key at or past `entity ‖ !B`. A versioned value opens with a tag: 0 tombstone, 1 a row.

use alloy_primitives::{Address, B256};
use rocksdb::{BlockBasedOptions, Cache, ColumnFamilyDescriptor, Options, SliceTransform};
use sesame_domain::{
    Asset, AssetId, Authorization, DealMatch, EnclaveId, Journal, OrderUse, Registry, Task, TaskId,
};

use crate::{
    codec::{Held, Row},
    error::ReadError,
};

/// Rises when a key or value changes its shape; an index of another version is rebuilt.
pub const SCHEMA_VERSION: u32 = 4;

pub(crate) const HEADERS: &str = "headers";
pub(crate) const UNDO: &str = "undo";
pub(crate) const META: &str = "meta";

pub(crate) const META_SCHEMA: &[u8] = b"schema";
pub(crate) const META_ORIGIN: &[u8] = b"origin";
pub(crate) const META_CURSOR: &[u8] = b"cursor";
pub(crate) const META_PROVEN: &[u8] = b"proven";
pub(crate) const META_HIDDEN: &[u8] = b"hidden";
pub(crate) const META_SETTLED: &[u8] = b"settled";

/// `write ‖ count (8)`: every write removes the mark of the one before it and leaves its own. So there is one mark, unless a write
/// was lost whose successor was kept.
pub(crate) const META_MARK: &[u8] = b"write";

const TOMBSTONE: u8 = 0;
const ROW: u8 = 1;

/// A table whose entities are versioned by block.
pub(crate) trait Table {
    const NAME: &'static str;
    /// Bytes of the key before the block.
    const ENTITY_LENGTH: usize;
    type Key: Copy;
    type Row: Row;

    fn entity(key: Self::Key) -> Vec<u8>;
}

pub(crate) struct Assets;
pub(crate) struct Authorizations;
pub(crate) struct Tasks;
pub(crate) struct Orders;
pub(crate) struct Deals;
pub(crate) struct Journals;
pub(crate) struct Holdings;

impl Table for Assets {
    const NAME: &'static str = "assets";
    const ENTITY_LENGTH: usize = 32;
    type Key = AssetId;
    type Row = Asset;

    fn entity(key: AssetId) -> Vec<u8> {
        key.0.to_vec()
    }
}

impl Table for Authorizations {
    const NAME: &'static str = "authorizations";
    const ENTITY_LENGTH: usize = 64;
    type Key = (AssetId, EnclaveId);
    type Row = Authorization;

    fn entity((asset, enclave): Self::Key) -> Vec<u8> {
        [asset.0.0, enclave.0.0].concat()
    }
}

impl Table for Tasks {
    const NAME: &'static str = "tasks";
    const ENTITY_LENGTH: usize = 32;
    type Key = TaskId;
    type Row = Task;

    fn entity(key: TaskId) -> Vec<u8> {
        key.0.to_vec()
    }
}

impl Table for Orders {
    const NAME: &'static str = "orders";
    const ENTITY_LENGTH: usize = 32;
    type Key = B256;
    type Row = OrderUse;

    fn entity(key: B256) -> Vec<u8> {
        key.to_vec()
    }
}

impl Table for Deals {
    const NAME: &'static str = "deals";
    const ENTITY_LENGTH: usize = 32;
    type Key = B256;
    type Row = DealMatch;

    fn entity(key: B256) -> Vec<u8> {
        key.to_vec()
    }
}

impl Table for Journals {
    const NAME: &'static str = "journals";
    const ENTITY_LENGTH: usize = 1;
    type Key = Registry;
    type Row = Journal;

    fn entity(key: Registry) -> Vec<u8> {
        vec![key as u8]
    }
}

impl Table for Holdings {
    const NAME: &'static str = "holdings";
    const ENTITY_LENGTH: usize = 52;
    type Key = (Address, AssetId);
    type Row = Held;

    fn entity((owner, asset): Self::Key) -> Vec<u8> {
        [owner.as_slice(), asset.0.as_slice()].concat()
    }
}

/// The tables whose entities are versioned by block, by their number in an undo list.
pub(crate) const VERSIONED: [&str; 7] = [
    Assets::NAME,
    Authorizations::NAME,
    Tasks::NAME,
    Orders::NAME,
    Deals::NAME,
    Journals::NAME,
    Holdings::NAME,
];

/// Every table there is.
pub(crate) const TABLES: [&str; 10] = [
    Assets::NAME,
    Authorizations::NAME,
    Tasks::NAME,
    Orders::NAME,
    Deals::NAME,
    Journals::NAME,
    Holdings::NAME,
    HEADERS,
    UNDO,
    META,
];

/// `entity ‖ !block`.
pub(crate) fn versioned_key(mut entity: Vec<u8>, block: u64) -> Vec<u8> {
    entity.extend_from_slice(&(!block).to_be_bytes());
    entity
}

/// The block of a versioned key.
pub(crate) fn block_of(key: &[u8]) -> Option<u64> {
    let tail = key.last_chunk::<8>()?;
    Some(!u64::from_be_bytes(*tail))
}

/// The key under which the write of this number leaves its mark.
pub(crate) fn mark(write: u64) -> Vec<u8> {
    [META_MARK, &write.to_be_bytes()].concat()
}

pub(crate) fn encode_version<R: Row>(row: Option<&R>) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    match row {
        None => out.push(TOMBSTONE),
        Some(row) => {
            out.push(ROW);
            row.encode(&mut out);
        }
    }
    out
}

pub(crate) fn decode_version<T: Table>(value: &[u8]) -> Result<Option<T::Row>, ReadError> {
    match value.split_first() {
        Some((&TOMBSTONE, [])) => Ok(None),
        Some((&ROW, rest)) => decode_row(T::NAME, rest).map(Some),
        _ => Err(ReadError::Damaged { table: T::NAME }),
    }
}

pub(crate) fn decode_row<R: Row>(table: &'static str, mut bytes: &[u8]) -> Result<R, ReadError> {
    match R::decode(&mut bytes) {
        Ok(row) if bytes.is_empty() => Ok(row),
        _ => Err(ReadError::Damaged { table }),
    }
}

/// The column families, tuned for versioned seeks: blooms over the entity, so that what is absent costs next to nothing.
pub(crate) fn column_families(cache: &Cache) -> Vec<ColumnFamilyDescriptor> {
    vec![
        versioned::<Assets>(cache),
        versioned::<Authorizations>(cache),
        versioned::<Tasks>(cache),
        versioned::<Orders>(cache),
        versioned::<Deals>(cache),
        versioned::<Journals>(cache),
        versioned::<Holdings>(cache),
        ColumnFamilyDescriptor::new(HEADERS, buffered()),
        ColumnFamilyDescriptor::new(UNDO, buffered()),
        ColumnFamilyDescriptor::new(META, buffered()),
    ]
}

/// What is written and not yet in a file, of one table. All are written out together when the first is full. A limit on all
/// together would count what they merely set aside, and be reached by every block.
const WRITE_BUFFER_BYTES: usize = 16 << 20;

fn buffered() -> Options {
    let mut options = Options::default();
    options.set_write_buffer_size(WRITE_BUFFER_BYTES);
    options
}

fn versioned<T: Table>(cache: &Cache) -> ColumnFamilyDescriptor {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    blocks.set_bloom_filter(10.0, false);
    blocks.set_whole_key_filtering(false);
    let mut options = buffered();
    options.set_block_based_table_factory(&blocks);
    options.set_compression_type(rocksdb::DBCompressionType::Lz4);
    options.set_prefix_extractor(SliceTransform::create_fixed_prefix(T::ENTITY_LENGTH));
    options.set_memtable_prefix_bloom_ratio(0.1);
    ColumnFamilyDescriptor::new(T::NAME, options)
}
