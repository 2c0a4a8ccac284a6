//! The key-encryption keys of one vault: one, or two while they change.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    error::{KeyError, VaultError},
    keys::file::KeyFile,
    record,
    store::rocks::Store,
};

/// Empty text under the key that every record was sealed with, or may be while keys change.
const KEY_CHECK: &str = "key_check";

/// The same under the key to come; there while keys change.
const NEXT_CHECK: &str = "next_key_check";

/// The key that seals, and while keys change the one before it.
#[derive(Debug)]
pub(crate) struct Ring {
    newest: KeyFile,
    older: Option<KeyFile>,
}

impl Ring {
    /// The keys of the vault in `store`, whose key is in `file` and the one to come beside it. A vault without any gets one.
    pub(crate) fn open(store: &Store, file: &Path, origin: &[u8]) -> Result<Self, VaultError> {
        let fits =
            |key: &KeyFile, check: &[u8]| record::decrypt(key.bytes(), check, origin).is_ok();
        let Some(check) = store.meta(KEY_CHECK)? else {
            let newest = KeyFile::load_or_create(file)?;
            store.set_meta(KEY_CHECK, &record::encrypt(newest.bytes(), &[], origin)?)?;
            return Ok(Self { newest, older: None });
        };
        let key = KeyFile::load(file)?;
        let next = next(file);
        if let Some(next_check) = store.meta(NEXT_CHECK)? {
            let newest = KeyFile::load(&next)?;
            return if fits(&key, &check) && fits(&newest, &next_check) {
                Ok(Self { newest, older: Some(key) })
            } else {
                Err(VaultError::WrongKey)
            };
        }
        if fits(&key, &check) {
            return Ok(Self { newest: key, older: None });
        }
        // Killed when all was done but this.
        match KeyFile::load(&next) {
            Ok(newest) if fits(&newest, &check) => {
                replace(&next, file)?;
                Ok(Self { newest, older: None })
            }
            _ => Err(VaultError::WrongKey),
        }
    }

    /// From now on a new key seals, and the one before still opens. Does nothing where keys are changing already.
    pub(crate) fn begin(
        self,
        store: &Store,
        file: &Path,
        origin: &[u8],
    ) -> Result<Self, VaultError> {
        if self.older.is_some() {
            return Ok(self);
        }
        let newest = KeyFile::load_or_create(&next(file))?;
        store.set_meta(NEXT_CHECK, &record::encrypt(newest.bytes(), &[], origin)?)?;
        Ok(Self { newest, older: Some(self.newest) })
    }

    /// Forgets the older key: nothing is under it any more.
    pub(crate) fn finish(
        self,
        store: &Store,
        file: &Path,
        origin: &[u8],
    ) -> Result<Self, VaultError> {
        let check = record::encrypt(self.newest.bytes(), &[], origin)?;
        store.replace_meta(KEY_CHECK, &check, NEXT_CHECK)?;
        replace(&next(file), file)?;
        Ok(Self { older: None, ..self })
    }

    /// What seals.
    pub(crate) const fn newest(&self) -> &KeyFile {
        &self.newest
    }

    /// What may open, the likelier first.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &KeyFile> {
        std::iter::once(&self.newest).chain(&self.older)
    }
}

#[cfg(test)]
impl From<KeyFile> for Ring {
    fn from(newest: KeyFile) -> Self {
        Self { newest, older: None }
    }
}

/// Where the key to come lies.
fn next(file: &Path) -> PathBuf {
    file.with_extension("next")
}

fn replace(next: &Path, file: &Path) -> Result<(), KeyError> {
    let failed = |source| KeyError::File { path: file.display().to_string(), source };
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    fs::rename(next, file)
        .and_then(|()| fs::File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all())
        .map_err(|error: io::Error| failed(error))
}
