//! Another vault in the place of a folder's: filled beside it, and swapped by renaming.
//!
//! | folder | what it is |
//! | --- | --- |
//! | `vault` | the vault |
//! | `vault.draft` | a vault that is being filled: it counts for nothing, and the next restore removes it |
//! | `vault.new` | filled and durable: from now on it is the one that counts |
//! | `vault.before` | the one that it replaced, kept until somebody removes it |
//!
//! Whoever opens the vault and finds a `vault.new` goes on where a killed process was, so that no moment leaves half of anything.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
};

use rocksdb::WriteBatch;
use rustix::{
    fs::{FlockOperation, fcntl_lock},
    io::Errno,
};
use sesame_domain::SecretId;

use super::{Draft, Existing, Facts, codec, rocks::Rocks};
use crate::{
    error::{BackupError, VaultError},
    record::Header,
};

const DRAFT: &str = "draft";
const NEW: &str = "new";
const BEFORE: &str = "before";

/// Bytes that are written at once.
const BATCH: usize = 4 << 20;

/// A vault beside the one that it will replace.
pub(crate) struct Folder {
    path: PathBuf,
    /// Keeps others out of the vault that is there.
    existing: Existing,
    filled: Rocks,
    batch: WriteBatch,
    /// Goes after the database in it was closed.
    _draft: Removed,
}

/// A folder that is removed in the end, unless it has another name by then.
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        // Else the next restore does.
        let _ = remove(&self.0);
    }
}

impl fmt::Debug for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Folder").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Folder {
    pub(crate) fn begin(path: &Path, existing: Existing) -> Result<Self, VaultError> {
        let before = beside(path, BEFORE);
        if !matches!(existing, Existing::Nothing) && before.exists() {
            return Err(BackupError::Aside { path: shown(&before) }.into());
        }
        let draft = beside(path, DRAFT);
        free(&draft)?;
        remove(&draft)?;
        let filled = Rocks::open(&draft)?;
        let (path, batch) = (path.to_owned(), WriteBatch::default());
        Ok(Self { path, existing, filled, batch, _draft: Removed(draft) })
    }

    fn write(&mut self) -> Result<(), VaultError> {
        self.filled.load(std::mem::take(&mut self.batch))
    }
}

impl Draft for Folder {
    fn add(
        &mut self,
        secret: &SecretId,
        version: u64,
        record: Option<(&Header, &[u8])>,
    ) -> Result<(), VaultError> {
        self.filled.put_record(&mut self.batch, &codec::key(secret, version), record);
        if self.batch.size_in_bytes() >= BATCH { self.write() } else { Ok(()) }
    }

    fn publish(mut self: Box<Self>, facts: &Facts) -> Result<(), VaultError> {
        for (name, value) in facts {
            self.filled.add_fact(&mut self.batch, name, value);
        }
        self.write()?;
        self.filled.flush()?;
        let Self { path, existing, filled, _draft, .. } = *self;
        drop(filled);
        let (draft, new) = (beside(&path, DRAFT), beside(&path, NEW));
        let renamed = sync(&draft).and_then(|()| fs::rename(&draft, &new));
        renamed.and_then(|()| sync(parent(&path))).map_err(BackupError::Folder)?;
        // Its files must not be touched by paths that are another's by then.
        drop(existing);
        finish(&path)
    }
}

/// What is in a folder where a vault would be.
pub(crate) fn existing(path: &Path) -> Result<Existing, VaultError> {
    finish(path)?;
    free(path)?;
    let empty = match fs::read_dir(path) {
        Ok(mut files) => files.next().is_none(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    if empty {
        return Ok(Existing::Nothing);
    }
    // Opening a folder that lost its `CURRENT` would make another vault in it.
    let store = path.join("CURRENT").exists().then(|| Rocks::open(path));
    Ok(match store {
        Some(Ok(store)) => Existing::Store(Box::new(store)),
        Some(Err(_)) | None => Existing::Unreadable,
    })
}

/// Whether a filled vault waits for its place.
pub(crate) fn waits(path: &Path) -> bool {
    beside(path, NEW).exists()
}

/// Puts a filled vault into its place, if one waits for it.
pub(crate) fn finish(path: &Path) -> Result<(), VaultError> {
    if !waits(path) {
        return Ok(());
    }
    let _kept = free(path)?;
    // One that is empty is nothing to put aside.
    let _ = fs::remove_dir(path);
    let changed = match fs::rename(path, beside(path, BEFORE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => fs::rename(beside(path, NEW), path).and_then(|()| sync(parent(path))),
    };
    Ok(changed.map_err(BackupError::Folder)?)
}

/// Where the vault lies that was replaced, if one was.
pub(crate) fn aside(path: &Path) -> PathBuf {
    beside(path, BEFORE)
}

/// Nobody has the database of this folder open. RocksDB says so by the same lock: for as long as the file is kept, nobody can.
fn free(path: &Path) -> Result<Option<File>, VaultError> {
    let file = match OpenOptions::new().read(true).write(true).open(path.join("LOCK")) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(BackupError::Folder(error).into()),
    };
    match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(Errno::AGAIN | Errno::ACCESS) => Err(BackupError::InUse { path: shown(path) }.into()),
        Err(error) => Err(BackupError::Folder(error.into()).into()),
    }
}

fn remove(folder: &Path) -> Result<(), VaultError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(BackupError::Folder(error).into())
        }
        _ => Ok(()),
    }
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// `<path>.<suffix>`.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(suffix);
    path.with_file_name(name)
}

fn parent(path: &Path) -> &Path {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or_else(|| Path::new("."))
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
