//! The root of the simulated TEE: a secp256k1 key in a file, made on first use.

use std::{
    fs,
    io::{self, ErrorKind, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use alloy_primitives::{Address, hex};
use rand::{TryRngCore, rngs::OsRng};
use sesame_protocol::signature::Signer;
use zeroize::Zeroizing;

/// The root's key is no good.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RootKeyError {
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
    /// The file holds no key.
    #[error("{} holds no secp256k1 key in hexadecimal", .0.display())]
    NotAKey(PathBuf),
    /// The file beside the key holds no address.
    #[error("{} holds no address", .0.display())]
    NotAnAddress(PathBuf),
}

/// The key in `path`, made if there is none. The address, which verifiers are told to trust, is written to `<path>.pub`.
///
/// Of several processes that come first at the same time, one makes the key and all use it.
///
/// # Errors
/// When the file cannot be used or others can read it.
pub fn load_or_create(path: &Path) -> Result<Signer, RootKeyError> {
    if !exists(path)? {
        create(path).map_err(failed(path))?;
    }
    let key = load(path)?;
    let public = public_file(path);
    if !exists(&public)? {
        let address = format!("{}\n", key.address());
        place(&public, address.as_bytes(), 0o644).map_err(failed(&public))?;
    }
    Ok(key)
}

/// Where the address of the key in `path` is.
#[must_use]
pub fn public_file(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".pub");
    name.into()
}

/// Reads a root's address, as [`load_or_create`] writes it.
///
/// # Errors
/// When the file cannot be read or holds something else.
pub fn read_public(file: &Path) -> Result<Address, RootKeyError> {
    let text = fs::read_to_string(file).map_err(failed(file))?;
    text.trim().parse().map_err(|_| RootKeyError::NotAnAddress(file.to_owned()))
}

fn load(path: &Path) -> Result<Signer, RootKeyError> {
    let mode = fs::metadata(path).map_err(failed(path))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(RootKeyError::OpenToOthers(path.to_owned()));
    }
    let text = Zeroizing::new(fs::read_to_string(path).map_err(failed(path))?);
    let mut key = Zeroizing::new([0; 32]);
    hex::decode_to_slice(text.trim(), &mut *key)
        .ok()
        .and_then(|()| Signer::from_bytes(&key).ok())
        .ok_or_else(|| RootKeyError::NotAKey(path.to_owned()))
}

fn create(path: &Path) -> io::Result<()> {
    let mut key = Zeroizing::new([0; 32]);
    loop {
        OsRng.try_fill_bytes(&mut *key).map_err(io::Error::other)?;
        if Signer::from_bytes(&key).is_ok() {
            break;
        }
    }
    let text = Zeroizing::new(hex::encode(*key));
    place(path, text.as_bytes(), 0o600)
}

/// Writes a whole file at once, unless there is one already.
fn place(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut file = tempfile::Builder::new()
        .permissions(fs::Permissions::from_mode(mode))
        .tempfile_in(folder.unwrap_or(Path::new(".")))?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Err(error) if error.error.kind() != ErrorKind::AlreadyExists => Err(error.error),
        _ => Ok(()),
    }
}

fn exists(path: &Path) -> Result<bool, RootKeyError> {
    path.try_exists().map_err(failed(path))
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> RootKeyError {
    move |source| RootKeyError::Io { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_use_makes_the_key_and_all_later_ones_find_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("root");
        let makers: Vec<_> = (0..8)
            .map(|_| {
                let path = path.clone();
                std::thread::spawn(move || load_or_create(&path).unwrap().address())
            })
            .collect();
        let first = load_or_create(&path).unwrap().address();
        for maker in makers {
            assert_eq!(maker.join().unwrap(), first);
        }
        assert_eq!(read_public(&public_file(&path)).unwrap(), first);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "no other file stays");
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("root");
        load_or_create(&path).unwrap();
        for mode in [0o640, 0o604, 0o660, 0o644] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let refused = load_or_create(&path);
            assert!(matches!(refused, Err(RootKeyError::OpenToOthers(_))), "{mode:o}");
        }
    }

    #[test]
    fn what_is_no_key_is_refused_and_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("root");
        for bad in ["", "xyz", &"0".repeat(64), &"ff".repeat(32), &"ab".repeat(33)] {
            place_anew(&path, bad);
            let error = load_or_create(&path).unwrap_err();
            assert!(matches!(error, RootKeyError::NotAKey(_)), "{bad}");
            assert!(bad.is_empty() || !format!("{error} {error:?}").contains(bad), "{error}");
        }
        assert!(matches!(read_public(&path), Err(RootKeyError::NotAnAddress(_))));
    }

    fn place_anew(path: &Path, text: &str) {
        let _ = fs::remove_file(path);
        place(path, text.as_bytes(), 0o600).unwrap();
    }
}
