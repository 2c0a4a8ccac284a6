//! The worker's folder: one worker at a time, a folder per task, and how far the chain is done.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use alloy::primitives::{Address, B256};
use serde::{Deserialize, Serialize};
use sesame_domain::TaskId;

use crate::{WorkerError, folder::Folder};

/// The file whose lock says that a worker works here.
const LOCK: &str = "lock";

/// The file that says how far the chain is done.
const SEEN: &str = "seen.json";

/// How many blocks have to be done before that is written down again.
const STEP: u64 = 128;

/// The folder, this worker's as long as this value lives.
#[derive(Debug)]
pub(crate) struct WorkDir {
    path: PathBuf,
    seen: Option<Seen>,
    _lock: File,
}

/// Whose tasks of which chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Whose {
    pub(crate) chain_id: u64,
    /// The hash of the first block: chains for development have the same id.
    pub(crate) genesis: B256,
    pub(crate) task_registry: Address,
    pub(crate) worker: Address,
}

/// How far the chain is done: every task that was bought before `block` and names this worker needs nothing any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    #[serde(flatten)]
    whose: Whose,
    block: u64,
}

impl WorkDir {
    /// Makes the folder if there is none, and takes it.
    ///
    /// # Errors
    /// When it cannot be made, or another worker has it.
    pub(crate) fn take(path: &Path) -> Result<Self, WorkerError> {
        let failed = |source| WorkerError::WorkDir { path: path.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        let mut options = OpenOptions::new();
        let lock = options.write(true).create(true).truncate(false).mode(0o600);
        let lock = lock.open(path.join(LOCK)).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(WorkerError::InUse { path: path.to_owned() });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        // What cannot be read is looked for on the chain again.
        let seen = fs::read(path.join(SEEN)).ok();
        let seen = seen.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        // Containers and enclaves are told of it from elsewhere.
        let path = path.canonicalize().map_err(failed)?;
        Ok(Self { path, seen, _lock: lock })
    }

    /// Where it is, from anywhere.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The block to look from: `first`, or as far as an earlier run got.
    pub(crate) fn resume(&self, whose: Whose, first: u64) -> u64 {
        let seen = self.seen.as_ref().filter(|seen| seen.whose == whose);
        seen.map_or(first, |seen| seen.block.max(first))
    }

    /// Every task that was bought before `block` needs nothing any more. Written down now and then, or at once if `now`.
    pub(crate) fn done(&mut self, whose: Whose, block: u64, now: bool) {
        let written = self.resume(whose, 0);
        if block == written || (!now && block.abs_diff(written) < STEP) {
            return;
        }
        let seen = Seen { whose, block };
        match self.write(&seen) {
            Ok(()) => self.seen = Some(seen),
            // More of the chain is read again then, and nothing else is lost.
            Err(error) => tracing::debug!(%error, "cannot write down how far the chain is done"),
        }
    }

    fn write(&self, seen: &Seen) -> io::Result<()> {
        let new = self.path.join(format!("{SEEN}.new"));
        fs::write(&new, serde_json::to_vec(seen)?)?;
        fs::rename(new, self.path.join(SEEN))
    }

    /// Removes what killed runs left and no task needs: copies of apps, and results that were half written.
    pub(crate) fn sweep(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            if let Some(task) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) {
                self.folder(task).sweep();
            }
        }
        Ok(())
    }

    fn folder(&self, task: TaskId) -> Folder {
        Folder::of(&self.path, task)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOSE: Whose = Whose {
        chain_id: 31337,
        genesis: B256::repeat_byte(1),
        task_registry: Address::repeat_byte(3),
        worker: Address::repeat_byte(9),
    };

    #[test]
    fn a_folder_is_one_workers_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        let first = WorkDir::take(&path).unwrap();
        let second = WorkDir::take(&path).unwrap_err();
        assert!(matches!(second, WorkerError::InUse { .. }), "{second}");
        drop(first);
        let again = WorkDir::take(&folder.path().join("a/../a/b")).unwrap();
        assert_eq!(again.path(), path.canonicalize().unwrap(), "absolute, and the shortest way");
        let no_folder = folder.path().join("file");
        fs::write(&no_folder, "").unwrap();
        let error = WorkDir::take(&no_folder).unwrap_err();
        assert!(matches!(error, WorkerError::WorkDir { .. }), "{error}");
    }

    #[test]
    fn how_far_the_chain_is_done_outlives_the_worker() {
        let folder = tempfile::tempdir().unwrap();
        let mut seen = 5;
        for (block, at_once, expected) in
            // A few blocks are not worth a write.
            [
                (50, false, 5),
                (50, true, 50),
                (5000, false, 5000),
                (4990, false, 5000),
                (7, false, 7),
            ]
        {
            let mut work_dir = WorkDir::take(folder.path()).unwrap();
            assert_eq!(work_dir.resume(WHOSE, 5), seen);
            work_dir.done(WHOSE, block, at_once);
            drop(work_dir);
            seen = WorkDir::take(folder.path()).unwrap().resume(WHOSE, 5);
            assert_eq!(seen, expected, "{block}");
        }
    }

    #[test]
    fn another_chain_registry_or_account_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let mut work_dir = WorkDir::take(folder.path()).unwrap();
        work_dir.done(WHOSE, 5000, true);
        for other in [
            Whose { chain_id: 1, ..WHOSE },
            Whose { genesis: B256::repeat_byte(7), ..WHOSE },
            Whose { task_registry: Address::repeat_byte(7), ..WHOSE },
            Whose { worker: Address::repeat_byte(7), ..WHOSE },
        ] {
            assert_eq!(work_dir.resume(other, 5), 5);
        }
        assert_eq!(work_dir.resume(WHOSE, 5), 5000);
        assert_eq!(work_dir.resume(WHOSE, 6000), 6000, "nothing was bought before the contracts");
    }

    #[test]
    fn half_a_file_begins_anew() {
        for half in ["", "{", "{}", r#"{"block":7}"#] {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join(SEEN), half).unwrap();
            let work_dir = WorkDir::take(folder.path()).unwrap();
            assert_eq!(work_dir.resume(WHOSE, 5), 5, "{half}");
        }
    }

    #[test]
    fn what_killed_runs_left_is_removed_and_results_stay() {
        let folder = tempfile::tempdir().unwrap();
        let work_dir = WorkDir::take(folder.path()).unwrap();
        let task = work_dir.folder(TaskId::default());
        task.renew().unwrap();
        for name in ["app", "result.json", "result.json.new", "stdout.txt"] {
            fs::write(task.path().join(name), "x").unwrap();
        }
        fs::write(folder.path().join("a note"), "x").unwrap();
        work_dir.sweep().unwrap();
        fs::remove_dir(task.tee()).unwrap();
        let mut left: Vec<_> = fs::read_dir(task.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["result.json", "stdout.txt"]);
        assert!(folder.path().join("a note").exists());
    }
}
