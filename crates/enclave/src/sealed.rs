//! Executables in memory that nobody can change any more.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::AsRawFd,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{MemfdFlags, SealFlags},
    io::Errno,
};

/// No launcher and no app is larger.
const MAX_BYTES: u64 = 1 << 30;

/// A file cannot be copied into sealed memory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealedError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is too large.
    #[error("{} is larger than {MAX_BYTES} bytes", .0.display())]
    TooLarge(PathBuf),
    /// The kernel gives no sealed memory.
    #[error("the kernel gives no sealed memory")]
    Memory(#[source] io::Error),
}

/// A copy of a file in sealed memory.
#[derive(Debug)]
pub struct Sealed(File);

impl Sealed {
    /// Reads a file once; gives the sealed copy and the very bytes that are in it.
    ///
    /// # Errors
    /// When the file cannot be read or the kernel gives no sealed memory.
    pub fn copy_of(path: &Path, name: &str) -> Result<(Self, Vec<u8>), SealedError> {
        let unreadable = |source| SealedError::Unreadable { path: path.to_owned(), source };
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(unreadable)?;
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(SealedError::TooLarge(path.to_owned()));
        }
        let sealed = Self::of(&bytes, name).map_err(SealedError::Memory)?;
        Ok((sealed, bytes))
    }

    fn of(bytes: &[u8], name: &str) -> io::Result<Self> {
        // Inherited by the child on purpose: a script is opened once more, by its interpreter.
        let flags = MemfdFlags::ALLOW_SEALING;
        let descriptor = match rustix::fs::memfd_create(name, flags | MemfdFlags::EXEC) {
            Err(Errno::INVAL) => rustix::fs::memfd_create(name, flags)?,
            other => other?,
        };
        let mut file = File::from(descriptor);
        file.write_all(bytes)?;
        rustix::fs::fcntl_add_seals(
            &file,
            SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL,
        )?;
        Ok(Self(file))
    }

    /// The memory as a file.
    #[must_use]
    pub const fn file(&self) -> &File {
        &self.0
    }

    /// The copy's path, for this process and for children that inherit its descriptors.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.0.as_raw_fd()).into()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;

    use super::*;

    #[test]
    fn nobody_can_change_a_sealed_copy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app");
        std::fs::write(&path, "#!/bin/sh\necho one\n").unwrap();
        let (sealed, bytes) = Sealed::copy_of(&path, "app").unwrap();
        std::fs::write(&path, "#!/bin/sh\necho two\n").unwrap();

        assert_eq!(bytes, b"#!/bin/sh\necho one\n");
        let output = std::process::Command::new(sealed.path()).output().unwrap();
        assert_eq!(output.stdout, b"one\n");

        let mut opened = OpenOptions::new().write(true).open(sealed.path()).unwrap();
        assert!(opened.write_all(b"#!/bin/sh\n").is_err());
        assert!(opened.set_len(0).is_err());
        assert!(opened.set_len(1 << 20).is_err());
        assert!(rustix::fs::fcntl_add_seals(sealed.file(), SealFlags::FUTURE_WRITE).is_err());
        assert_eq!(std::fs::read(sealed.path()).unwrap(), bytes);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for path in ["/nowhere/at/all", "/tmp"] {
            let error = Sealed::copy_of(Path::new(path), "app").unwrap_err();
            assert!(matches!(error, SealedError::Unreadable { .. }), "{error}");
        }
    }
}
