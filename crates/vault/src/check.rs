//! Reading everything again: does each record authenticate?

use sesame_domain::SecretId;

use crate::{
    error::VaultError,
    keys::ring::Ring,
    record::{self, Header, Home},
    safe::Vault,
    store::{Entry, Found, Values},
};

/// What a check has found so far.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tally {
    /// Versions whose value was opened and authenticated.
    pub records: u64,
    /// Bytes of these values.
    pub bytes: u64,
    /// Tombstones. They hold nothing that could be authenticated.
    pub tombstones: u64,
    /// What does not authenticate, cannot be read, or belongs to nothing: a secret and its version, or a key of the store.
    pub damaged: Vec<String>,
}

impl Vault {
    /// Opens every value and keeps none; `progress` hears of each record.
    ///
    /// # Errors
    /// When the store cannot be read any further.
    pub fn check(&self, mut progress: impl FnMut(&Tally)) -> Result<Tally, VaultError> {
        let mut tally = Tally::default();
        self.store.walk(Values::Read, &mut |found| {
            self.count(found, &mut tally)?;
            progress(&tally);
            Ok(())
        })?;
        Ok(tally)
    }

    fn count(&self, found: Found, tally: &mut Tally) -> Result<(), VaultError> {
        match found {
            Found { key, record: None, .. } => tally.damaged.push(named(&key)),
            Found { record: Some((_, Entry { header: None, .. })), .. } => tally.tombstones += 1,
            Found {
                record: Some((secret, Entry { version, header: Some(header) })),
                value,
                ..
            } => {
                let record = (&secret, version, &header);
                match authenticate(self.home, &self.ring(), record, value.as_deref())? {
                    Some(bytes) => {
                        tally.records += 1;
                        tally.bytes += bytes;
                    }
                    None => tally.damaged.push(format!("{secret} version {version}")),
                }
            }
        }
        Ok(())
    }
}

/// How many bytes a record's value has; none if it does not authenticate.
pub(crate) fn authenticate(
    home: Home,
    ring: &Ring,
    (secret, version, header): (&SecretId, u64, &Header),
    sealed: Option<&[u8]>,
) -> Result<Option<u64>, VaultError> {
    let Some(sealed) = sealed.filter(|_| header.metadata.version == version) else {
        return Ok(None);
    };
    match record::open(home, secret, header, sealed, ring) {
        Ok(value) => Ok(Some(value.expose().len() as u64)),
        Err(VaultError::Damaged | VaultError::UnknownKey(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(crate) fn named(key: &[u8]) -> String {
    format!("key {}", hex::encode(key))
}

#[cfg(test)]
mod tests;
#[cfg(test)]
#[path = "check/tests.rs"]
#[expect(clippy::duplicate_mod, reason = "the same tests, on the other store")]
mod tests_on_postgres;
