//! A private folder in memory, gone with whoever holds it.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::{
        ffi::OsStrExt,
        fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::harden::Kernel;

/// Where the kernel keeps files in memory.
const MEMORY: &str = "/dev/shm";

/// What the names of folders in it begin with.
const PREFIX: &str = "sesame-run-";

/// The same in Gramine, where folders have no lock: nobody takes such a one for left behind.
const UNLOCKED: &str = "sesame-gramine-";

/// The magic numbers of `tmpfs` and `ramfs`.
const IN_MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];

/// There is no private folder in memory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScratchError {
    /// `/dev/shm` is on a disk.
    #[error("{MEMORY} is not in memory")]
    OnDisk,
    /// A folder or file cannot be made.
    #[error("cannot write to the memory-backed folder")]
    Io(#[from] io::Error),
}

/// A folder of mode 0700 in memory, removed with all it holds when it is dropped. Its lock says that somebody holds it: what a
/// launcher that was killed left behind is removed by the next one.
#[derive(Debug)]
pub struct Scratch {
    folder: TempDir,
    _lock: Option<File>,
}

impl Scratch {
    /// Makes one.
    ///
    /// # Errors
    /// When `/dev/shm` is missing, not writable or not in memory. Gramine does not say what a file system is, and keeps no
    /// locks: there its manifest, which is measured, vouches for the place, and what stays is encrypted.
    pub fn create(kernel: Kernel) -> Result<Self, ScratchError> {
        match kernel {
            Kernel::Linux if !is_in_memory(MEMORY)? => Err(ScratchError::OnDisk),
            Kernel::Linux => {
                sweep(Path::new(MEMORY))?;
                Ok(Self::locked(Path::new(MEMORY))?)
            }
            Kernel::Gramine => Ok(Self::unlocked(Path::new(MEMORY))?),
        }
    }

    fn locked(memory: &Path) -> io::Result<Self> {
        loop {
            let folder = new_folder(memory, PREFIX)?;
            // Before it has its lock, somebody may take it for one that was left.
            let lock = match File::open(folder.path()) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                lock => lock?,
            };
            lock.lock()?;
            if folder.path().exists() {
                return Ok(Self { folder, _lock: Some(lock) });
            }
        }
    }

    fn unlocked(memory: &Path) -> io::Result<Self> {
        Ok(Self { folder: new_folder(memory, UNLOCKED)?, _lock: None })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Makes a folder of mode 0700 inside.
    ///
    /// # Errors
    /// When it cannot be made or is there already.
    pub fn folder(&self, name: &str) -> Result<PathBuf, ScratchError> {
        let path = self.path().join(name);
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is removed by the next launcher, which tells if it cannot.
        let _ = remove(self.folder.path());
    }
}

fn new_folder(memory: &Path, prefix: &str) -> io::Result<TempDir> {
    let private = Permissions::from_mode(0o700);
    tempfile::Builder::new().prefix(prefix).permissions(private).tempdir_in(memory)
}

/// Removes this user's folders that nobody holds.
fn sweep(memory: &Path) -> io::Result<()> {
    let own = rustix::process::geteuid().as_raw();
    for entry in fs::read_dir(memory)? {
        let entry = entry?;
        let named = entry.file_name().as_bytes().starts_with(PREFIX.as_bytes());
        // An error says that another launcher was faster.
        let Ok(about) = entry.metadata() else { continue };
        if !named || !about.is_dir() || about.uid() != own {
            continue;
        }
        let Ok(lock) = File::open(entry.path()) else { continue };
        if lock.try_lock().is_ok() {
            // What cannot be removed now keeps no task from its own memory.
            let _ = remove(&entry.path());
        }
    }
    Ok(())
}

/// Removes a folder with all it holds, also what an app has closed to everybody.
///
/// # Errors
/// When something in it stays.
pub fn remove(folder: &Path) -> io::Result<()> {
    let removed = match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_up(folder)?;
            fs::remove_dir_all(folder)
        }
        removed => removed,
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Lets this user into a folder and all below it. Links are not followed.
fn open_up(folder: &Path) -> io::Result<()> {
    fs::set_permissions(folder, Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_up(&entry.path())?;
        }
    }
    Ok(())
}

fn is_in_memory(path: &str) -> io::Result<bool> {
    let kind = rustix::fs::statfs(path)?.f_type;
    Ok(u64::try_from(kind).is_ok_and(|kind| IN_MEMORY.contains(&kind)))
}

/// Opens a new file of mode 0600.
///
/// # Errors
/// When it cannot be made or is there already.
pub fn new_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Writes a new file of mode 0600.
///
/// # Errors
/// When it cannot be made or is there already.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    new_file(path)?.write_all(bytes)
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicBool, Ordering},
        thread,
    };

    use super::*;

    #[test]
    fn nobody_else_can_look_and_nothing_stays() {
        let scratch = Scratch::create(Kernel::Linux).unwrap();
        let folder = scratch.folder("secrets").unwrap();
        let file = folder.join("one");
        write(&file, b"value").unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(scratch.path()), mode(&folder), mode(&file)), (0o700, 0o700, 0o600));
        assert!(write(&file, b"again").is_err(), "files are never overwritten");
        assert!(scratch.folder("secrets").is_err(), "nor folders reused");

        let path = scratch.path().to_owned();
        drop(scratch);
        assert!(!path.exists());
    }

    /// A bug: a folder that another launcher took for one that was left, before its own could lock it, failed the task.
    #[test]
    fn a_folder_is_made_however_many_launchers_begin_at_once() {
        let memory = tempfile::tempdir().unwrap();
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let sweeping = scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    sweep(memory.path()).unwrap();
                }
            });
            let make = |_| Ok(Scratch::locked(memory.path())?.path().exists());
            let made: io::Result<Vec<bool>> = (0..2000).map(make).collect();
            done.store(true, Ordering::Relaxed);
            sweeping.join().unwrap();
            assert!(made.unwrap().iter().all(|there| *there));
        });
    }

    #[test]
    fn what_a_killed_launcher_left_is_removed_and_what_is_held_is_not() {
        let memory = tempfile::tempdir().unwrap();
        let held = Scratch::locked(memory.path()).unwrap();
        let unlocked = Scratch::unlocked(memory.path()).unwrap();
        let left = new_folder(memory.path(), PREFIX).unwrap().keep();
        fs::create_dir_all(left.join("in/deep")).unwrap();
        write(&left.join("in/deep/data"), b"decrypted").unwrap();
        let closed = Permissions::from_mode(0o0);
        fs::set_permissions(left.join("in/deep"), closed).unwrap();
        let others = memory.path().join("others");
        fs::create_dir(&others).unwrap();
        let link = memory.path().join(format!("{PREFIX}link"));
        std::os::unix::fs::symlink(&others, &link).unwrap();
        sweep(memory.path()).unwrap();
        assert!(!left.exists() && held.path().exists() && others.exists());
        assert!(unlocked.path().exists(), "it may be held by a launcher that can keep no lock");
        assert!(fs::symlink_metadata(&link).is_ok(), "links are not followed");
        let path = held.path().to_owned();
        drop(held);
        assert!(!path.exists());
    }
}
