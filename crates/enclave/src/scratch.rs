//! A private folder in memory, gone with whoever holds it.

use std::{
    fs::{DirBuilder, File, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::harden::Kernel;

/// Where the kernel keeps files in memory.
const MEMORY: &str = "/dev/shm";

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

/// A folder of mode 0700 in memory, removed with all it holds when it is dropped.
#[derive(Debug)]
pub struct Scratch(TempDir);

impl Scratch {
    /// Makes one.
    ///
    /// # Errors
    /// When `/dev/shm` is missing, not writable or not in memory. Gramine does not say what a file system is: there its
    /// manifest, which is measured, vouches for it.
    pub fn create(kernel: Kernel) -> Result<Self, ScratchError> {
        if kernel == Kernel::Linux && !is_in_memory(MEMORY)? {
            return Err(ScratchError::OnDisk);
        }
        Ok(Self(
            tempfile::Builder::new()
                .prefix("sesame-")
                .permissions(Permissions::from_mode(0o700))
                .tempdir_in(MEMORY)?,
        ))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
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
}
