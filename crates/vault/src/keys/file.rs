//! A key in a file: 32 random bytes in hexadecimal, readable by its owner alone.

use std::{
    fmt,
    fs::{self, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

use zeroize::Zeroizing;

use crate::error::KeyError;

/// A key read from a file.
pub struct KeyFile(Zeroizing<[u8; 32]>);

impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyFile(32 bytes)")
    }
}

impl KeyFile {
    /// Reads the key.
    ///
    /// # Errors
    /// When the file is missing, readable by others, or not a key.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let shown = || path.display().to_string();
        let failed = |source| KeyError::File { path: shown(), source };
        let mode = fs::metadata(path).map_err(failed)?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(KeyError::Exposed { path: shown() });
        }
        let text = Zeroizing::new(fs::read_to_string(path).map_err(failed)?);
        let mut key = Zeroizing::new([0; 32]);
        hex::decode_to_slice(text.trim(), key.as_mut_slice())
            .map_err(|_| KeyError::Malformed { path: shown() })?;
        Ok(Self(key))
    }

    /// Reads the key, making a random one if there is no such file. Two makers end with one key.
    ///
    /// # Errors
    /// As [`KeyFile::load`], or when the file cannot be made.
    pub fn load_or_create(path: &Path) -> Result<Self, KeyError> {
        if !path.exists() {
            create(path)
                .map_err(|source| KeyError::File { path: path.display().to_string(), source })?;
        }
        Self::load(path)
    }

    /// The key itself. Every use deserves a look in review.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Durable before it is visible: a key that sealed something must not be lost to a power cut.
fn create(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or_else(|| Path::new("."));
    fs::create_dir_all(folder)?;
    let draft = path.with_extension(format!("draft-{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    let key = Zeroizing::new(rand::random::<[u8; 32]>());
    let text = Zeroizing::new(hex::encode(key.as_slice()));
    writeln!(file, "{}", text.as_str())?;
    file.sync_all()?;
    let linked = fs::hard_link(&draft, path);
    fs::remove_file(&draft)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => fs::File::open(folder)?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys/kek.key");
        let made = KeyFile::load_or_create(&path).unwrap();
        let again = KeyFile::load_or_create(&path).unwrap();
        assert_eq!(made.bytes(), again.bytes());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn exposed_malformed_and_missing_keys_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kek.key");
        assert!(matches!(KeyFile::load(&path), Err(KeyError::File { .. })));
        KeyFile::load_or_create(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(KeyFile::load(&path), Err(KeyError::Exposed { .. })));
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "abc").unwrap();
        assert!(matches!(KeyFile::load(&path), Err(KeyError::Malformed { .. })));
    }
}
