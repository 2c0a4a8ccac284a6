//! What of an app's output counts, and its digest.
//!
//! The file `computed.json` in the output folder says what counts, as iExec's apps write it:
//!
//! | `computed.json` | what counts | digest |
//! | --- | --- | --- |
//! | none | the whole folder | Sesame's own, below |
//! | `{"deterministic-output-path": "…"}`, a file | that file | SHA-256 of it |
//! | the same, a folder | the files below it | Keccak-256 of their SHA-256, one after the other in the order of the bytes of their paths; names are not in it |
//! | `{"callback-data": "0x…"}` | those bytes | Keccak-256 of them |
//!
//! With both keys the path counts, since orders here name no contract to call back. Other keys are passed over. The path is
//! absolute, below `IEXEC_OUT` or iExec's own name for it, `/iexec_out`, or relative to it.
//!
//! Sesame's own digest is SHA-256 over `sesame-output-1` and, for each file in the order of its path's bytes: the length of the
//! path relative to the folder (8 bytes, big-endian), the path, the length of the content (8 bytes), the SHA-256 of the content.
//! Folders count by the files in them. Anything that is neither a file nor a folder is refused: following a link would let an
//! app put a file of its host into the result.

use std::{
    fs,
    io::{self, Read},
    os::unix::ffi::OsStrExt,
    path::{Component, Path, PathBuf},
};

use alloy_primitives::{B256, Bytes, keccak256};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::pack::open_own;

const TAG: &[u8] = b"sesame-output-1";

/// The file that says what counts.
pub const COMPUTED: &str = "computed.json";

/// What iExec calls the output folder.
const IEXEC_OUT: &str = "/iexec_out";

/// No `computed.json` is longer.
const MAX_COMPUTED: u64 = 4 << 20;

/// The output cannot be a result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    /// A link, socket, pipe or device is in the folder.
    #[error("{} is neither a file nor a folder", .0.display())]
    NotAFile(PathBuf),
    /// `computed.json` is no JSON object, or longer than 4 MiB.
    #[error("computed.json is not a JSON object of at most 4 MiB")]
    Computed(#[source] Option<serde_json::Error>),
    /// `computed.json` says neither what counts.
    #[error("computed.json has neither deterministic-output-path nor callback-data")]
    NothingComputed,
    /// What should be bytes is not.
    #[error("callback-data in computed.json is not hexadecimal")]
    CallbackData,
    /// The path leads out of the folder.
    #[error("the deterministic-output-path `{}` is not inside IEXEC_OUT", .0.display())]
    Outside(PathBuf),
    /// There is nothing at the path.
    #[error("there is no file at the deterministic-output-path `{}`", .0.display())]
    Missing(PathBuf),
    /// A file or folder cannot be read.
    #[error("cannot read the output folder")]
    Io(#[from] io::Error),
}

/// What of an output folder counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Counted {
    /// Everything in it.
    Folder,
    /// What is at this path, relative to the folder.
    Path(PathBuf),
    /// These bytes.
    Callback(Bytes),
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Computed {
    deterministic_output_path: Option<PathBuf>,
    callback_data: Option<String>,
}

impl Counted {
    /// What the app says that counts. `seen` is where the app saw the folder.
    ///
    /// # Errors
    /// When `computed.json` is there and cannot be followed, or anything in the folder is neither a file nor a folder.
    pub fn find(folder: &Path, seen: &Path) -> Result<Self, OutputError> {
        let files = files(folder)?;
        let Some(computed) = read_computed(folder, &files)? else { return Ok(Self::Folder) };
        match computed {
            Computed { deterministic_output_path: Some(path), .. } => {
                let inside =
                    inside(&path, seen).ok_or_else(|| OutputError::Outside(path.clone()))?;
                let found = files.iter().any(|file| file.starts_with(&inside));
                if found { Ok(Self::Path(inside)) } else { Err(OutputError::Missing(path)) }
            }
            Computed { callback_data: Some(text), .. } => callback(&text).map(Self::Callback),
            Computed { .. } => Err(OutputError::NothingComputed),
        }
    }

    /// What counts in a folder whose digest is known, whatever the app called the folder: nothing, if nothing in it has that
    /// digest.
    ///
    /// # Errors
    /// As [`Counted::find`], but for a path that is not there.
    pub fn with_digest(folder: &Path, expected: B256) -> Result<Option<Self>, OutputError> {
        let files = files(folder)?;
        let computed = read_computed(folder, &files)?;
        let candidates = match computed {
            None => vec![Self::Folder],
            Some(Computed { deterministic_output_path: Some(path), .. }) => tails(&path)
                .filter(|tail| files.iter().any(|file| file.starts_with(tail)))
                .map(Self::Path)
                .collect(),
            Some(Computed { callback_data: Some(text), .. }) => {
                vec![Self::Callback(callback(&text)?)]
            }
            Some(Computed { .. }) => return Err(OutputError::NothingComputed),
        };
        for counted in candidates {
            if counted.digest(folder)? == expected {
                return Ok(Some(counted));
            }
        }
        Ok(None)
    }

    /// The digest of what counts in `folder`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn digest(&self, folder: &Path) -> Result<B256, OutputError> {
        match self {
            Self::Folder => digest(folder),
            Self::Callback(bytes) => Ok(keccak256(bytes)),
            Self::Path(path) if folder.join(path).is_dir() => {
                let mut hashes = Vec::new();
                for file in files(folder)?.iter().filter(|file| file.starts_with(path)) {
                    hashes.extend(digest_file(&folder.join(file))?.1);
                }
                Ok(keccak256(hashes))
            }
            Self::Path(path) => Ok(digest_file(&folder.join(path))?.1),
        }
    }
}

fn read_computed(folder: &Path, files: &[PathBuf]) -> Result<Option<Computed>, OutputError> {
    if !files.iter().any(|file| file == Path::new(COMPUTED)) {
        return Ok(None);
    }
    let mut text = Vec::new();
    open_own(&folder.join(COMPUTED))?.take(MAX_COMPUTED + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MAX_COMPUTED {
        return Err(OutputError::Computed(None));
    }
    let computed = serde_json::from_slice(&text);
    computed.map(Some).map_err(|error| OutputError::Computed(Some(error)))
}

fn callback(text: &str) -> Result<Bytes, OutputError> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    hex::decode(digits).map(Bytes::from).map_err(|_| OutputError::CallbackData)
}

/// The path relative to the output folder, if it leads there by plain names alone.
fn inside(path: &Path, seen: &Path) -> Option<PathBuf> {
    let below = [seen, Path::new(IEXEC_OUT)].iter().find_map(|root| path.strip_prefix(root).ok());
    let below = below.or_else(|| path.is_relative().then_some(path))?;
    let plain =
        |component: Component<'_>| matches!(component, Component::Normal(_) | Component::CurDir);
    below
        .components()
        .all(plain)
        .then(|| below.components().filter(|component| *component != Component::CurDir).collect())
}

/// The ends of a path, longest first, the empty one last.
fn tails(path: &Path) -> impl Iterator<Item = PathBuf> {
    let names: Vec<_> = path
        .components()
        .filter_map(|component| {
            if let Component::Normal(name) = component { Some(name.to_owned()) } else { None }
        })
        .collect();
    (0..=names.len()).map(move |from| names.iter().skip(from).collect())
}

/// Sesame's digest of all files below `folder`.
///
/// # Errors
/// When something in the folder is neither a file nor a folder, or cannot be read.
pub fn digest(folder: &Path) -> Result<B256, OutputError> {
    let mut listing = Sha256::new_with_prefix(TAG);
    for file in files(folder)? {
        let path = file.as_os_str().as_bytes();
        let (length, content) = digest_file(&folder.join(&file))?;
        listing.update((path.len() as u64).to_be_bytes());
        listing.update(path);
        listing.update(length.to_be_bytes());
        listing.update(content);
    }
    Ok(B256::from_slice(&listing.finalize()))
}

/// All files below `folder`, relative to it, in the order of their paths' bytes.
///
/// # Errors
/// When something in the folder is neither a file nor a folder, or cannot be read.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>, OutputError> {
    let mut files = Vec::new();
    collect(folder, Path::new(""), &mut files)?;
    files.sort_by(|a, b| a.as_os_str().as_bytes().cmp(b.as_os_str().as_bytes()));
    Ok(files)
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
    let mut file = open_own(path)?;
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

    const SEEN: &str = "/dev/shm/sesame-x/out";

    fn counted(computed: &str, more: &[(&str, &str)]) -> Result<(Counted, B256), OutputError> {
        let folder = folder(&[&[(COMPUTED, computed)], more].concat());
        let counted = Counted::find(folder.path(), Path::new(SEEN))?;
        let digest = counted.digest(folder.path())?;
        let found = Counted::with_digest(folder.path(), digest)?;
        assert_eq!(found.as_ref(), Some(&counted), "who knows the digest alone finds the same");
        assert_eq!(Counted::with_digest(folder.path(), B256::ZERO)?, None);
        Ok((counted, digest))
    }

    fn path(path: &str) -> String {
        format!(r#"{{"deterministic-output-path":"{path}"}}"#)
    }

    fn sha256(text: &str) -> B256 {
        B256::from_slice(&Sha256::digest(text))
    }

    #[test]
    fn a_file_that_counts_has_its_own_digest() {
        for written in [
            &format!("{SEEN}/a/b.txt"),
            "/iexec_out/a/b.txt",
            "a/b.txt",
            "./a/./b.txt",
            "/iexec_out/a//b.txt",
        ] {
            let (counted, digest) =
                counted(&path(written), &[("a/b.txt", "one"), ("c", "two")]).unwrap();
            assert_eq!(counted, Counted::Path("a/b.txt".into()), "{written}");
            assert_eq!(digest, sha256("one"), "{written}");
        }
        // What else an app writes into it is its own affair, and a path goes before a call back.
        let more =
            r#"{"deterministic-output-path":"c","callback-data":"0x07","extracted":{"a":1}}"#;
        assert_eq!(counted(more, &[("c", "two")]).unwrap().1, sha256("two"));
    }

    #[test]
    fn a_folder_that_counts_has_the_digest_of_its_files_in_order() {
        let files =
            [("d/b", "two"), ("d/a", "one"), ("d/c/z", "three"), ("e", "other"), ("da", "x")];
        let hashes = [sha256("one"), sha256("two"), sha256("three")].concat();
        for written in ["d", "d/", "/iexec_out/d"] {
            assert_eq!(counted(&path(written), &files).unwrap().1, keccak256(&hashes), "{written}");
        }
        let (whole, digest) = counted(&path("/iexec_out"), &[("z", "last")]).unwrap();
        assert_eq!(whole, Counted::Path("".into()));
        let own = sha256(&path("/iexec_out"));
        assert_eq!(digest, keccak256([own, sha256("last")].concat()));
    }

    #[test]
    fn callback_data_counts_by_its_bytes() {
        for text in ["0x0102ff", "0102FF"] {
            let (counted, digest) =
                counted(&format!(r#"{{"callback-data":"{text}"}}"#), &[]).unwrap();
            assert_eq!(counted, Counted::Callback(vec![1, 2, 0xff].into()));
            assert_eq!(digest, keccak256([1, 2, 0xff]));
        }
        let none = counted(r#"{"callback-data":"0x"}"#, &[]).unwrap();
        assert_eq!(none.1, keccak256([]));
    }

    #[test]
    fn without_a_word_of_the_app_the_folder_counts() {
        let folder = folder(&[("a", "one"), ("d/computed.json", "not the one")]);
        let counted = Counted::find(folder.path(), Path::new(SEEN)).unwrap();
        assert_eq!(counted, Counted::Folder);
        assert_eq!(counted.digest(folder.path()).unwrap(), digest(folder.path()).unwrap());
    }

    #[test]
    fn a_word_that_cannot_be_followed_is_refused_by_name() {
        let refused = |computed: &str| counted(computed, &[("a/b", "one")]).unwrap_err();
        for escape in [
            "..",
            "../out/a/b",
            "a/../../x",
            "/iexec_out/../etc/passwd",
            "/etc/passwd",
            "/",
            "/iexec_outer/a",
            &format!("{SEEN}/../in/data"),
            &format!("{SEEN}x/a"),
        ] {
            let error = refused(&path(escape));
            assert!(matches!(error, OutputError::Outside(_)), "{escape}: {error}");
            assert!(error.to_string().contains(escape), "{error}");
        }
        for missing in ["c", "a/b/c", "a/bb", "/iexec_out/c"] {
            assert!(matches!(refused(&path(missing)), OutputError::Missing(_)), "{missing}");
        }
        for nothing in ["{}", r#"{"deterministic-output-path":null}"#, r#"{"path":"a/b"}"#] {
            assert!(matches!(refused(nothing), OutputError::NothingComputed), "{nothing}");
        }
        for no_bytes in ["0x0", "0xgg", "hello", "0x 01"] {
            let computed = format!(r#"{{"callback-data":"{no_bytes}"}}"#);
            assert!(matches!(refused(&computed), OutputError::CallbackData), "{no_bytes}");
        }
        let long = format!(r#"{{"deterministic-output-path":"a","x":"{}"}}"#, "x".repeat(4 << 20));
        for malformed in ["", "a/b", "{", "[]", "null", r#"{"callback-data":7}"#, &long] {
            let error = refused(malformed);
            assert!(matches!(error, OutputError::Computed(_)), "{error}");
        }
    }

    #[test]
    fn a_link_on_the_way_is_refused() {
        for link in ["linked", COMPUTED] {
            let folder = folder(&[("a/b", "one")]);
            if link != COMPUTED {
                fs::write(folder.path().join(COMPUTED), path("linked/b")).unwrap();
            }
            std::os::unix::fs::symlink("a", folder.path().join(link)).unwrap();
            let error = Counted::find(folder.path(), Path::new(SEEN)).unwrap_err();
            assert!(matches!(error, OutputError::NotAFile(_)), "{error}");
        }
    }

    #[test]
    fn a_folder_without_a_file_is_missing() {
        let folder = folder(&[(COMPUTED, &path("empty"))]);
        fs::create_dir(folder.path().join("empty")).unwrap();
        let error = Counted::find(folder.path(), Path::new(SEEN)).unwrap_err();
        assert!(matches!(error, OutputError::Missing(_)), "{error}");
    }
}
