//! The digest of what an app left in its output folder.
//!
//! SHA-256 over `sesame-output-1` and, for each file in the order of its path's bytes: the length of the path relative to
//! the folder (8 bytes, big-endian), the path, the length of the content (8 bytes), the SHA-256 of the content. Folders count
//! by the files in them. Anything that is neither a file nor a folder is refused: following a link would let an app put a
//! file of its host into the result.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::unix::{ffi::OsStrExt, fs::OpenOptionsExt},
    path::{Path, PathBuf},
};

use alloy_primitives::B256;
use rustix::fs::OFlags;
use sha2::{Digest, Sha256};

const TAG: &[u8] = b"sesame-output-1";

/// The output folder has no digest.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    /// A link, socket, pipe or device is in the folder.
    #[error("{} is neither a file nor a folder", .0.display())]
    NotAFile(PathBuf),
    /// A file or folder cannot be read.
    #[error("cannot read the output folder")]
    Io(#[from] io::Error),
}

/// The digest of all files below `folder`.
///
/// # Errors
/// When something in the folder is neither a file nor a folder, or cannot be read.
pub fn digest(folder: &Path) -> Result<B256, OutputError> {
    let mut files = Vec::new();
    collect(folder, Path::new(""), &mut files)?;
    files.sort_by(|a, b| a.as_os_str().as_bytes().cmp(b.as_os_str().as_bytes()));
    let mut listing = Sha256::new_with_prefix(TAG);
    for file in files {
        let path = file.as_os_str().as_bytes();
        let (length, content) = digest_file(&folder.join(&file))?;
        listing.update((path.len() as u64).to_be_bytes());
        listing.update(path);
        listing.update(length.to_be_bytes());
        listing.update(content);
    }
    Ok(B256::from_slice(&listing.finalize()))
}

fn collect(root: &Path, below: &Path, files: &mut Vec<PathBuf>) -> Result<(), OutputError> {
    for entry in fs::read_dir(root.join(below))? {
        let entry = entry?;
        let path = below.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            collect(root, &path, files)?;
        } else if kind.is_file() {
            files.push(path);
        } else {
            return Err(OutputError::NotAFile(path));
        }
    }
    Ok(())
}

fn digest_file(path: &Path) -> io::Result<(u64, B256)> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mut file: File =
        OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    let (mut digest, mut length) = (Sha256::new(), 0);
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = file.read(&mut buffer)?;
        let Some(chunk) = buffer.get(..read).filter(|chunk| !chunk.is_empty()) else {
            return Ok((length, B256::from_slice(&digest.finalize())));
        };
        digest.update(chunk);
        length += read as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        folder
    }

    fn digest_of(files: &[(&str, &str)]) -> B256 {
        digest(folder(files).path()).unwrap()
    }

    #[test]
    fn the_listing_is_what_the_module_says() {
        let mut by_hand = TAG.to_vec();
        for (path, content) in [("a", "one"), ("b/c", "")] {
            by_hand.extend((path.len() as u64).to_be_bytes());
            by_hand.extend(path.as_bytes());
            by_hand.extend((content.len() as u64).to_be_bytes());
            by_hand.extend(Sha256::digest(content));
        }
        let expected = B256::from_slice(&Sha256::digest(&by_hand));
        assert_eq!(digest_of(&[("b/c", ""), ("a", "one")]), expected);
    }

    #[test]
    fn every_difference_shows() {
        let base = digest_of(&[("a", "one"), ("b", "two")]);
        let others: [&[(&str, &str)]; 6] = [
            &[],
            &[("a", "one")],
            &[("a", "onE"), ("b", "two")],
            &[("a", "two"), ("b", "one")],
            &[("a", "one"), ("c", "two")],
            &[("a", "one"), ("b/b", "two")],
        ];
        for other in others {
            assert_ne!(digest_of(other), base, "{other:?}");
        }
    }

    #[test]
    fn a_link_is_refused_even_to_a_file_inside() {
        let folder = folder(&[("a", "one")]);
        std::os::unix::fs::symlink("a", folder.path().join("b")).unwrap();
        assert!(
            matches!(digest(folder.path()), Err(OutputError::NotAFile(path)) if path == Path::new("b"))
        );
    }

    #[test]
    fn a_pipe_does_not_hang_and_a_missing_folder_is_an_error() {
        let folder = folder(&[]);
        let pipe = folder.path().join("pipe");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        assert!(matches!(digest(folder.path()), Err(OutputError::NotAFile(_))));
        assert!(matches!(digest(Path::new("/nowhere")), Err(OutputError::Io(_))));
    }
}
