//! The databases opened by RocksDB alone, with the options that view and vault left in their folders.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use rocksdb::{Cache, DB, Env, Options, ReadOptions};
use sesame_domain::AssetId;

use crate::{
    decision::Question,
    synthetic::{asset, assets_of, requester},
};

/// As large as the view's own.
const CACHE_BYTES: usize = 256 << 20;

pub(crate) struct Bare {
    index: DB,
    vault: DB,
}

impl Bare {
    pub(crate) fn open(folder: &Path) -> anyhow::Result<Self> {
        Ok(Self { index: open(&folder.join("index"))?, vault: open(&folder.join("vault"))? })
    }

    /// The keys of a decision: one get and five seeks in the index, three seeks in the vault, a new iterator for each.
    pub(crate) fn seek(&self, question: &Question) -> anyhow::Result<Duration> {
        let (app, data) = assets_of(question.number);
        let (app, data) = (asset(app), asset(data));
        let pair = |asset: AssetId| [asset.0.0, question.enclave.id().0.0].concat();
        let rows = [
            ("tasks", question.task.0.to_vec()),
            ("assets", app.0.to_vec()),
            ("authorizations", pair(app)),
            ("assets", data.0.to_vec()),
            ("authorizations", pair(data)),
        ];
        let secret = |asset: AssetId| [[1].as_slice(), asset.0.as_slice()].concat();
        let of = requester(question.number);
        let named = [[2].as_slice(), of.as_slice(), &[8], b"password"].concat();
        let secrets = [secret(app), named, secret(data)];
        let start = Instant::now();
        let snapshot = self.index.snapshot();
        snapshot.get_cf(self.index.cf_handle("meta").expect("it is there"), b"cursor")?;
        for (table, key) in rows {
            let mut options = ReadOptions::default();
            options.set_snapshot(&snapshot);
            options.set_prefix_same_as_start(true);
            seek(&self.index, table, &[key, vec![0; 8]].concat(), options)?;
        }
        for key in secrets {
            seek(&self.vault, "records", &key, ReadOptions::default())?;
        }
        Ok(start.elapsed())
    }
}

fn seek(db: &DB, table: &str, key: &[u8], options: ReadOptions) -> anyhow::Result<()> {
    let mut cursor = db.raw_iterator_cf_opt(db.cf_handle(table).expect("it is there"), options);
    cursor.seek(key);
    anyhow::ensure!(std::hint::black_box(cursor.value()).is_some(), "there is such a row");
    Ok(())
}

fn open(folder: &Path) -> anyhow::Result<DB> {
    let cache = Cache::new_lru_cache(CACHE_BYTES);
    let (options, families) = Options::load_latest(folder, Env::new()?, true, cache)?;
    Ok(DB::open_cf_descriptors_read_only(&options, folder, families, false)?)
}
