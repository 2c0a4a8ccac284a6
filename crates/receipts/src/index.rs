//! What finds receipts without reading the log: in RocksDB beside it, derived from it, and never believed over it.
//!
//! | key | value |
//! | --- | --- |
//! | `h` ‖ number (8) | a hash of the tree, in the order of tlog-tiles |
//! | `l` ‖ index (8) | where the line begins (8) |
//! | `t` ‖ task (32) | the index (8) of a receipt by which something of it was released |
//! | `a` ‖ asset (32) ‖ epoch (8) ‖ index (8) | nothing |
//! | `r` ‖ requester (20) ‖ index (8) | nothing |
//! | `c` | how many receipts are in here (8), and where the last one ends (8) |
//! | `o` | the log's name |
//!
//! Numbers are big-endian. The log is the write-ahead log of the index: rows follow the synced lines, without one of their own
//! and without a sync, one batch for the lines of a moment. All are in one table, so what a kill leaves is the index after some
//! batch and all before it, and a start reads what is missing out of the log.

use std::{
    fs,
    path::{Path, PathBuf},
};

use alloy_primitives::{Address, B256};
use rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, Direction, ErrorKind, IteratorMode, Options,
    WriteBatch, WriteOptions,
};
use tlog_tiles::tlog::{Error, Hash, HashReader, stored_hash_count};

use crate::{receipt::Decision, tree::Tree};

/// What it takes of memory, however much it holds: blocks that were read, their tables' own indexes, and rows that are not
/// written out yet, twice.
const CACHE_BYTES: usize = 8 << 20;
const BUFFER_BYTES: usize = 4 << 20;
/// Tables go to the disk in such pieces while they are written: syncs of the log wait for what is not there yet.
const SYNCED_BYTES: u64 = 512 << 10;
/// New rows are merged with at most so much of what is there at once.
const LEVEL_BYTES: u64 = 32 << 20;
/// The tables of which that is made.
const TABLE_BYTES: u64 = 4 << 20;
/// At most so much is written out and merged in a second: answers want the processors too.
const MERGED_BYTES: i64 = 32 << 20;
/// Tables that are open at a time.
const OPEN_TABLES: i32 = 64;

const HASH: u8 = b'h';
const LINE: u8 = b'l';
const TASK: u8 = b't';
const ASSET: u8 = b'a';
const REQUESTER: u8 = b'r';
const CURSOR: &[u8] = b"c";
const ORIGIN: &[u8] = b"o";

/// How far the index is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) size: u64,
    /// Bytes of the log.
    pub(crate) end: u64,
}

#[derive(Debug)]
pub(crate) struct Index {
    db: DB,
    path: PathBuf,
    origin: String,
}

impl Index {
    /// Opens the index of the log of this name. One that is damaged, or of another log, is made anew, empty; not one that cannot
    /// be read now, or is another process's.
    pub(crate) fn open(path: &Path, origin: &str) -> Result<Self, rocksdb::Error> {
        match open(path).and_then(|db| Ok((db.get(ORIGIN)?, db))) {
            Ok((Some(found), db)) if found == origin.as_bytes() => {
                Ok(Self { db, path: path.to_owned(), origin: origin.to_owned() })
            }
            Ok((None | Some(_), db)) => {
                drop(db);
                begin(path, origin)
            }
            Err(error) if error.kind() == ErrorKind::Corruption => begin(path, origin),
            Err(error) => Err(error),
        }
    }

    /// The same index, empty.
    pub(crate) fn emptied(self) -> Result<Self, rocksdb::Error> {
        let Self { db, path, origin } = self;
        drop(db);
        begin(&path, &origin)
    }

    /// `None` if there is nothing in it.
    pub(crate) fn cursor(&self) -> Option<Cursor> {
        let value = self.db.get(CURSOR).ok()??;
        let (size, end) = value.split_first_chunk::<8>()?;
        let end = end.try_into().ok()?;
        Some(Cursor { size: u64::from_be_bytes(*size), end: u64::from_be_bytes(end) })
    }

    /// Where a line begins, as far as is known; that of the next line is where one ends.
    pub(crate) fn start(&self, index: u64) -> Result<Option<u64>, rocksdb::Error> {
        let value = self.db.get(key(LINE, &[], index))?;
        Ok(value.and_then(|value| Some(u64::from_be_bytes(value.as_slice().try_into().ok()?))))
    }

    /// A receipt that may say that something of the task was released.
    pub(crate) fn release(&self, task: B256) -> Result<Option<u64>, rocksdb::Error> {
        let value = self.db.get([&[TASK], task.as_slice()].concat())?;
        Ok(value.and_then(|value| Some(u64::from_be_bytes(value.as_slice().try_into().ok()?))))
    }

    /// Receipts that may be about an asset in one epoch, at most `limit`.
    pub(crate) fn of_asset(
        &self,
        (asset, epoch): (B256, u64),
        from: u64,
        limit: usize,
    ) -> Result<Vec<u64>, rocksdb::Error> {
        self.list(ASSET, &[asset.as_slice(), &epoch.to_be_bytes()].concat(), from, limit)
    }

    /// Receipts that may be about tasks of a requester, at most `limit`.
    pub(crate) fn of_requester(
        &self,
        requester: Address,
        from: u64,
        limit: usize,
    ) -> Result<Vec<u64>, rocksdb::Error> {
        self.list(REQUESTER, requester.as_slice(), from, limit)
    }

    fn list(
        &self,
        kind: u8,
        of: &[u8],
        from: u64,
        limit: usize,
    ) -> Result<Vec<u64>, rocksdb::Error> {
        let first = key(kind, of, from);
        let (prefix, _) = first.split_at(1 + of.len());
        let rows = self.db.iterator(IteratorMode::From(&first, Direction::Forward));
        let ours = rows.map_while(|row| match row {
            Ok((key, _)) => {
                let index = key.strip_prefix(prefix)?.try_into().ok()?;
                Some(Ok(u64::from_be_bytes(index)))
            }
            Err(error) => Some(Err(error)),
        });
        ours.take(limit).collect()
    }

    /// Writes the rows of lines that are in the log.
    pub(crate) fn write(&self, rows: Rows) -> Result<(), rocksdb::Error> {
        let mut options = WriteOptions::default();
        options.disable_wal(true);
        self.db.write_opt(rows.0, &options)
    }

    /// What no log says.
    #[cfg(test)]
    pub(crate) fn alter(&self, rows: WriteBatch) {
        self.db.write(rows).unwrap();
        self.db.flush().unwrap();
    }

    /// Leaves nothing for the next start to read.
    pub(crate) fn flush(&self) -> Result<(), rocksdb::Error> {
        self.db.flush()
    }
}

impl HashReader for Index {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, Error> {
        let found = self.db.multi_get(indexes.iter().map(|index| key(HASH, &[], *index)));
        let hash = |value: Result<Option<Vec<u8>>, _>| {
            let hash = value.ok().flatten()?.try_into().ok()?;
            Some(Hash(hash))
        };
        found.into_iter().map(|value| hash(value).ok_or(Error::IndexesNotInTree)).collect()
    }
}

/// Rows that come together.
#[derive(Default)]
pub(crate) struct Rows(WriteBatch);

impl Rows {
    /// The line that the tree takes next, which ends at `end`, and what it says.
    pub(crate) fn push(&mut self, tree: &mut Tree, line: &str, end: u64, decision: &Decision) {
        let index = tree.size();
        let number = stored_hash_count(index);
        for (number, hash) in (number..).zip(tree.grow(line.as_bytes())) {
            self.0.put(key(HASH, &[], number), hash.0);
        }
        self.0.put(key(LINE, &[], index + 1), end.to_be_bytes());
        if decision.is_release() {
            self.0.put([&[TASK], decision.task.as_slice()].concat(), index.to_be_bytes());
        }
        for (asset, epoch) in &decision.assets {
            let of = [asset.as_slice(), &epoch.to_be_bytes()].concat();
            self.0.put(key(ASSET, &of, index), []);
        }
        self.0.put(key(REQUESTER, decision.requester.as_slice(), index), []);
    }

    /// How far the index is with them.
    pub(crate) fn up_to(mut self, cursor: Cursor) -> Self {
        self.0.put(CURSOR, [cursor.size.to_be_bytes(), cursor.end.to_be_bytes()].concat());
        self
    }

    /// Where the first line begins.
    pub(crate) fn first_line(mut self, start: u64) -> Self {
        self.0.put(key(LINE, &[], 0), start.to_be_bytes());
        self
    }
}

fn key(kind: u8, of: &[u8], number: u64) -> Vec<u8> {
    [&[kind], of, &number.to_be_bytes()].concat()
}

fn begin(path: &Path, origin: &str) -> Result<Index, rocksdb::Error> {
    // What cannot be removed is told by what follows.
    let _ = fs::remove_dir_all(path);
    let db = open(path)?;
    db.put(ORIGIN, origin)?;
    Ok(Index { db, path: path.to_owned(), origin: origin.to_owned() })
}

fn open(path: &Path) -> Result<DB, rocksdb::Error> {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(&Cache::new_lru_cache(CACHE_BYTES));
    blocks.set_cache_index_and_filter_blocks(true);
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_block_based_table_factory(&blocks);
    options.set_write_buffer_size(BUFFER_BYTES);
    options.set_bytes_per_sync(SYNCED_BYTES);
    options.set_max_bytes_for_level_base(LEVEL_BYTES);
    options.set_target_file_size_base(TABLE_BYTES);
    options.set_ratelimiter(MERGED_BYTES, 100_000, 10);
    options.set_max_open_files(OPEN_TABLES);
    options.set_compression_type(DBCompressionType::None);
    options.set_keep_log_file_num(4);
    DB::open(&options, path)
}
