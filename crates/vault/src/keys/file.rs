//! A key in a file: 32 random bytes in hexadecimal, readable by its owner alone.

use std::{
    fmt,
    fs::{self, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use alloy_primitives::{U256, keccak256};
use zeroize::Zeroizing;

use super::{Kek, KeyId, Keys};
use crate::{
    error::KeyError,
    record::{decrypt, encrypt},
};

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
        let text = read_own(path)?;
        let mut key = Zeroizing::new([0; 32]);
        hex::decode_to_slice(text.trim(), key.as_mut_slice())
            .map_err(|_| KeyError::Malformed { path: path.display().to_string() })?;
        Ok(Self(key))
    }

    /// Reads the key, making a random one if there is no such file. Two makers end with one key.
    ///
    /// # Errors
    /// As [`KeyFile::load`], or when the file cannot be made.
    pub fn load_or_create(path: &Path) -> Result<Self, KeyError> {
        if !path.exists() {
            Self::random().save(path)?;
        }
        Self::load(path)
    }

    fn random() -> Self {
        Self(Zeroizing::new(rand::random()))
    }

    /// Durable before it is visible: a key that sealed something must not be lost to a power cut. A file that is there stays.
    fn save(&self, path: &Path) -> Result<(), KeyError> {
        write(path, self)
            .map_err(|source| KeyError::File { path: path.display().to_string(), source })
    }

    /// The key itself. Every use deserves a look in review.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The text of a file that nobody but its owner may read.
pub(super) fn read_own(path: &Path) -> Result<Zeroizing<String>, KeyError> {
    let shown = || path.display().to_string();
    let failed = |source| KeyError::File { path: shown(), source };
    let mode = fs::metadata(path).map_err(failed)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(KeyError::Exposed { path: shown() });
    }
    Ok(Zeroizing::new(fs::read_to_string(path).map_err(failed)?))
}

fn write(path: &Path, key: &KeyFile) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or_else(|| Path::new("."));
    fs::create_dir_all(folder)?;
    let draft = path.with_extension(format!("draft-{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    let text = Zeroizing::new(hex::encode(key.0.as_slice()));
    writeln!(file, "{}", text.as_str())?;
    file.sync_all()?;
    drop(file);
    let linked = fs::hard_link(&draft, path);
    fs::remove_file(&draft)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => fs::File::open(folder)?.sync_all(),
    }
}

/// A folder of key-encryption keys: `vault-<name>.key`.
#[derive(Debug)]
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    fn file(&self, id: KeyId) -> PathBuf {
        self.0.join(format!("vault-{id}.key"))
    }

    fn software(&self, key: KeyFile) -> Software {
        Software { key, place: self.place() }
    }
}

impl Keys for Folder {
    fn make(&self) -> Result<Box<dyn Kek>, KeyError> {
        let key = KeyFile::random();
        key.save(&self.file(id(&key)))?;
        Ok(Box::new(self.software(key)))
    }

    fn find(&self, wanted: KeyId) -> Result<Box<dyn Kek>, KeyError> {
        let path = self.file(wanted);
        if !path.exists() {
            return Err(KeyError::Missing { id: wanted, place: path.display().to_string() });
        }
        let key = KeyFile::load(&path)?;
        if id(&key) != wanted {
            return Err(KeyError::Misnamed { path: path.display().to_string() });
        }
        Ok(Box::new(self.software(key)))
    }

    fn place(&self) -> String {
        format!("the folder {}", self.0.display())
    }
}

/// A key-encryption key in this process's memory.
#[derive(Debug)]
struct Software {
    key: KeyFile,
    place: String,
}

impl Kek for Software {
    fn id(&self) -> KeyId {
        id(&self.key)
    }

    fn place(&self) -> String {
        self.place.clone()
    }

    fn wrap(&self, value: &[u8], aad: &[u8]) -> Result<Vec<u8>, KeyError> {
        encrypt(self.key.bytes(), value, aad).map_err(|_| KeyError::Refused)
    }

    fn unwrap(&self, wrapped: &[u8], aad: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        decrypt(self.key.bytes(), wrapped, aad).map_err(|_| KeyError::Refused)
    }
}

/// Says which key it is, and nothing more: 32 random bytes cannot be guessed.
fn id(key: &KeyFile) -> KeyId {
    let tagged =
        Zeroizing::new([b"sesame key-encryption key".as_slice(), key.0.as_slice()].concat());
    let [word, ..] = U256::from_be_bytes(keccak256(&*tagged).0).into_limbs();
    KeyId(word.to_be_bytes().into())
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
    fn a_folder_finds_its_keys_by_name_and_no_others() {
        let folder = tempfile::tempdir().unwrap();
        let keys = Folder(folder.path().join("keys"));
        let (one, two) = (keys.make().unwrap(), keys.make().unwrap());
        assert_ne!(one.id(), two.id());
        let wrapped = one.wrap(b"data key", b"bound").unwrap();
        let found = keys.find(one.id()).unwrap();
        assert_eq!(*found.unwrap(&wrapped, b"bound").unwrap(), b"data key");
        assert!(matches!(found.unwrap(&wrapped, b"other"), Err(KeyError::Refused)));
        assert!(matches!(two.unwrap(&wrapped, b"bound"), Err(KeyError::Refused)));
        fs::copy(keys.file(two.id()), keys.file(one.id())).unwrap();
        assert!(matches!(keys.find(one.id()), Err(KeyError::Misnamed { .. })));
        fs::remove_file(keys.file(one.id())).unwrap();
        assert!(matches!(keys.find(one.id()), Err(KeyError::Missing { .. })));
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
