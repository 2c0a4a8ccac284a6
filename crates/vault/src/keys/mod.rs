//! Key-encryption keys: where they live, and which of them a vault uses.

pub(crate) mod file;
pub(crate) mod pkcs11;
pub(crate) mod ring;

use std::{fmt, path::PathBuf, str::FromStr};

use alloy_primitives::FixedBytes;
use zeroize::Zeroizing;

use self::{file::Folder, pkcs11::Hsm};
use crate::error::KeyError;

/// The name of a key-encryption key: 8 bytes that tell nothing of it; 16 hexadecimal digits as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId(pub(crate) FixedBytes<8>);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl FromStr for KeyId {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let mut id = [0; 8];
        hex::decode_to_slice(text, &mut id).map_err(|_| KeyError::NoName)?;
        Ok(Self(id.into()))
    }
}

/// Where a vault's key-encryption keys live.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum KeySource {
    /// In files of a folder, `vault-<name>.key`, each 32 bytes in hexadecimal, readable by its owner alone.
    Folder(PathBuf),
    /// In a token of a hardware security module, which they never leave.
    Pkcs11(Hsm),
    /// In either, while they move: new ones are made in the first.
    Either(Box<Self>, Box<Self>),
}

impl KeySource {
    pub(crate) fn open(&self) -> Result<Box<dyn Keys>, KeyError> {
        match self {
            Self::Folder(path) => Ok(Box::new(Folder(path.clone()))),
            Self::Pkcs11(hsm) => Ok(Box::new(pkcs11::keys(hsm.clone()))),
            Self::Either(first, second) => Ok(Box::new(Either(first.open()?, second.open()?))),
        }
    }
}

/// A place that makes and finds key-encryption keys.
pub(crate) trait Keys: fmt::Debug + Send + Sync {
    /// A new key, durable where it lives.
    fn make(&self) -> Result<Box<dyn Kek>, KeyError>;

    /// The key of that name, or [`KeyError::Missing`].
    fn find(&self, id: KeyId) -> Result<Box<dyn Kek>, KeyError>;

    /// Where it makes them, for people.
    fn place(&self) -> String;
}

/// Two places, while keys move from the second to the first.
#[derive(Debug)]
struct Either(Box<dyn Keys>, Box<dyn Keys>);

impl Keys for Either {
    fn make(&self) -> Result<Box<dyn Kek>, KeyError> {
        self.0.make()
    }

    fn find(&self, id: KeyId) -> Result<Box<dyn Kek>, KeyError> {
        match self.0.find(id) {
            Err(KeyError::Missing { place: first, .. }) => match self.1.find(id) {
                Err(KeyError::Missing { place, .. }) => {
                    Err(KeyError::Missing { id, place: format!("{first} or {place}") })
                }
                found => found,
            },
            found => found,
        }
    }

    fn place(&self) -> String {
        self.0.place()
    }
}

/// A key-encryption key: AES-256-GCM, wherever it is computed.
pub(crate) trait Kek: fmt::Debug + Send + Sync {
    fn id(&self) -> KeyId;

    /// Where it lives, for people; as [`Keys::place`].
    fn place(&self) -> String;

    /// Nonce (12) ‖ ciphertext ‖ tag (16).
    fn wrap(&self, value: &[u8], aad: &[u8]) -> Result<Vec<u8>, KeyError>;

    /// What was wrapped with this associated data, or [`KeyError::Refused`].
    fn unwrap(&self, wrapped: &[u8], aad: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError>;
}
