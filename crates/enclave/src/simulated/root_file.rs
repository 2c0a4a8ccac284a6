//! The root of the simulated TEE: a file with keys, made on first use, and a folder with what verifiers are given.

use std::{
    fs,
    io::{self, ErrorKind, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use sesame_attestation::simulated::{Published, Root};
use zeroize::Zeroizing;

/// The root is no good.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RootFileError {
    /// The file cannot be read or made.
    #[error("cannot read or make {}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Others than its owner can read the file.
    #[error("{} is open to others than its owner: its mode must be 0600", .0.display())]
    OpenToOthers(PathBuf),
    /// The file holds no root.
    #[error("{} holds no simulated root", .0.display())]
    NotARoot(PathBuf),
}

/// The root in `path`, made if there is none. What verifiers are told to trust is written to the folder `<path>.pub`.
///
/// Of several processes that come first at the same time, one makes the root and all use it.
///
/// # Errors
/// When the file cannot be used or others can read it.
pub fn load_or_create(path: &Path) -> Result<Root, RootFileError> {
    if !exists(path)? {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or(Duration::ZERO).as_secs();
        place(path, &Root::make(now).to_json()).map_err(failed(path))?;
    }
    let root = load(path)?;
    let public = public_folder(path);
    if !exists(&public)? {
        publish(root.published(), &public).map_err(failed(&public))?;
    }
    Ok(root)
}

/// Where what the root in `path` publishes is.
#[must_use]
pub fn public_folder(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".pub");
    name.into()
}

fn load(path: &Path) -> Result<Root, RootFileError> {
    let mode = fs::metadata(path).map_err(failed(path))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(RootFileError::OpenToOthers(path.to_owned()));
    }
    let document = Zeroizing::new(fs::read(path).map_err(failed(path))?);
    Root::from_json(&document).map_err(|_| RootFileError::NotARoot(path.to_owned()))
}

/// Writes a whole file at once, for its owner alone, unless there is one already.
fn place(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = tempfile::Builder::new()
        .permissions(fs::Permissions::from_mode(0o600))
        .tempfile_in(beside(path))?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Err(error) if error.error.kind() != ErrorKind::AlreadyExists => Err(error.error),
        _ => Ok(()),
    }
}

/// Writes a whole folder at once, unless there is one already.
fn publish(published: &Published, path: &Path) -> io::Result<()> {
    let folder = tempfile::Builder::new()
        .permissions(fs::Permissions::from_mode(0o755))
        .tempdir_in(beside(path))?;
    for (name, bytes) in published.files() {
        fs::write(folder.path().join(name), bytes)?;
    }
    match fs::rename(folder.path(), path) {
        Err(error) if !taken(&error) => Err(error),
        _ => Ok(()),
    }
}

/// Whether there is such a folder already.
fn taken(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists)
}

fn beside(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

fn exists(path: &Path) -> Result<bool, RootFileError> {
    path.try_exists().map_err(failed(path))
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> RootFileError {
    move |source| RootFileError::Io { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_use_makes_the_root_and_all_later_ones_find_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("root");
        let makers: Vec<_> = (0..8)
            .map(|_| {
                let path = path.clone();
                std::thread::spawn(move || load_or_create(&path).unwrap().published().files())
            })
            .collect();
        let first = load_or_create(&path).unwrap().published().files();
        for maker in makers {
            assert_eq!(maker.join().unwrap(), first);
        }
        assert_eq!(Published::read(&public_folder(&path)).unwrap().files(), first);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing else stays");
        assert_eq!(fs::read_dir(public_folder(&path)).unwrap().count(), 6);
    }

    #[test]
    fn what_is_published_is_written_again_when_it_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("root");
        let first = load_or_create(&path).unwrap().published().files();
        fs::remove_dir_all(public_folder(&path)).unwrap();
        load_or_create(&path).unwrap();
        assert_eq!(Published::read(&public_folder(&path)).unwrap().files(), first);
    }

    #[test]
    fn a_root_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("root");
        load_or_create(&path).unwrap();
        for mode in [0o640, 0o604, 0o660, 0o644] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let refused = load_or_create(&path);
            assert!(matches!(refused, Err(RootFileError::OpenToOthers(_))), "{mode:o}");
        }
    }

    #[test]
    fn what_is_no_root_is_refused_and_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("root");
        let spoilt = String::from_utf8(Root::make(0).to_json().to_vec()).unwrap();
        let spoilt = spoilt.replacen("platformKey\":\"", "platformKey\":\"zz", 1);
        for bad in ["", "xyz", "{}", &"ab".repeat(32), &spoilt] {
            let _ = fs::remove_file(&path);
            place(&path, bad.as_bytes()).unwrap();
            let error = load_or_create(&path).unwrap_err();
            assert!(matches!(error, RootFileError::NotARoot(_)), "{bad}");
            assert!(bad.is_empty() || !format!("{error} {error:?}").contains(bad), "{error}");
        }
    }
}
