//! Opening a mirror: is it whole, ours, and of this program's schema?
//!
//! Writes are not synced one by one, since the chain has everything that a power cut takes. The log's tail may be torn then, and
//! RocksDB goes on from the last write before the tear (`DBRecoveryMode::PointInTime`). Tables are written out of the log all at
//! once (`atomic_flush`), so that they never disagree about how far they are. What RocksDB does not see is a hole of zeros
//! between good writes of its log: the marks tell.

use std::{
    num::NonZeroUsize,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64},
    },
    thread,
};

use rocksdb::{
    Cache, DB, DBRecoveryMode, DEFAULT_COLUMN_FAMILY_NAME, Direction, IteratorMode, Options,
    WriteBatch,
};

use crate::{
    error::{OpenError, ReadError},
    schema::{
        self, META, META_CURSOR, META_MARK, META_ORIGIN, META_SCHEMA, SCHEMA_VERSION, TABLES,
    },
    write::{Origin, View},
};

const CACHE_BYTES: usize = 256 << 20;
/// What an opening mirror reads again at most, whatever its tables left in memory.
const LOG_BYTES: u64 = 64 << 20;

impl View {
    /// Opens the mirror in the folder `path`, making it when there is none. What it gives is the mirror after some write and all
    /// writes before it.
    ///
    /// # Errors
    /// When the folder is used by another process, is damaged, or holds a mirror of another schema or origin.
    pub fn open(path: &Path, origin: &Origin) -> Result<Self, OpenError> {
        if let Some(found) = foreign_schema(path) {
            check_schema(found, path)?;
        }
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_max_background_jobs(2);
        options.set_max_file_opening_threads(opening_threads());
        options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
        options.set_atomic_flush(true);
        options.set_max_total_wal_size(LOG_BYTES);
        let cache = Cache::new_lru_cache(CACHE_BYTES);
        let db = DB::open_cf_descriptors(&options, path, schema::column_families(&cache))
            .map_err(|source| refusal(path, source))?;
        let (poisoned, writes) = (AtomicBool::new(false), AtomicU64::new(0));
        let mut view = Self { db, pruned: Mutex::default(), poisoned, writes };
        let found = view.check(path, origin)?;
        view.writes = AtomicU64::new(found);
        view.clear().map_err(OpenError::Unfinished)?;
        Ok(view)
    }

    /// Gives the number of the last write.
    fn check(&self, path: &Path, origin: &Origin) -> Result<u64, OpenError> {
        let meta = self.family(META);
        let get = |name| self.db.get_cf(meta, name).map_err(ReadError::from);
        let damaged = |what| OpenError::Damaged { path: path.display().to_string(), what };
        let marks = self.marks()?;
        let Some(schema) = get(META_SCHEMA)? else {
            if !marks.is_empty() || get(META_CURSOR)?.is_some() {
                return Err(damaged("it does not say of which schema it is"));
            }
            return self.begin(origin);
        };
        let schema = schema.as_slice().try_into().map(u32::from_be_bytes);
        check_schema(schema.map_err(|_| damaged("its schema is no number"))?, path)?;
        if get(META_ORIGIN)? != Some(origin.to_bytes()) {
            return Err(OpenError::OtherOrigin { path: path.display().to_string() });
        }
        match marks.as_slice() {
            [Some(last)] => Ok(*last),
            _ => Err(damaged("a write in its middle is missing")),
        }
    }

    fn begin(&self, origin: &Origin) -> Result<u64, OpenError> {
        let meta = self.family(META);
        let mut batch = WriteBatch::default();
        batch.put_cf(meta, META_SCHEMA, SCHEMA_VERSION.to_be_bytes());
        batch.put_cf(meta, META_ORIGIN, origin.to_bytes());
        batch.put_cf(meta, schema::mark(0), b"");
        self.db.write(batch).map_err(ReadError::from)?;
        Ok(0)
    }

    /// The numbers of the writes that left a mark; none where a mark has no number.
    fn marks(&self) -> Result<Vec<Option<u64>>, ReadError> {
        let from = IteratorMode::From(META_MARK, Direction::Forward);
        let mut marks = Vec::new();
        for row in self.db.iterator_cf(self.family(META), from) {
            let (key, _) = row?;
            let Some(number) = key.strip_prefix(META_MARK) else { break };
            marks.push(number.try_into().ok().map(u64::from_be_bytes));
        }
        Ok(marks)
    }
}

/// RocksDB would start sixteen threads for each table, even for an empty one.
fn opening_threads() -> i32 {
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    i32::try_from(cores).unwrap_or(i32::MAX).min(16)
}

fn check_schema(found: u32, path: &Path) -> Result<(), OpenError> {
    let (expected, path) = (SCHEMA_VERSION, path.display().to_string());
    match found.cmp(&expected) {
        std::cmp::Ordering::Less => Err(OpenError::OlderSchema { found, expected, path }),
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Greater => Err(OpenError::NewerSchema { found, expected, path }),
    }
}

/// The schema of an index whose tables are not ours. RocksDB would refuse to open it, or add ours to it, before it says so.
fn foreign_schema(path: &Path) -> Option<u32> {
    let options = Options::default();
    let mut tables = DB::list_cf(&options, path).ok()?;
    tables.retain(|name| name != DEFAULT_COLUMN_FAMILY_NAME);
    let ours = |name: &String| TABLES.contains(&name.as_str());
    if tables.len() == TABLES.len() && tables.iter().all(ours) {
        return None;
    }
    let db = DB::open_cf_for_read_only(&options, path, [META], false).ok()?;
    let schema = db.get_cf(db.cf_handle(META)?, META_SCHEMA).ok()??;
    schema.as_slice().try_into().ok().map(u32::from_be_bytes)
}

fn refusal(path: &Path, source: rocksdb::Error) -> OpenError {
    let path = path.display().to_string();
    let locked = ["While lock file", "lock hold by current process"];
    if locked.iter().any(|words| source.as_ref().contains(words)) {
        return OpenError::InUse { path };
    }
    OpenError::Database { path, source }
}

#[cfg(test)]
mod tests;
