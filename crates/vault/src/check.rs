//! Reading everything again: does each record authenticate?

use crate::{
    error::VaultError,
    record,
    safe::Vault,
    store::rocks::{Entry, Found},
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
        for record in self.store.records() {
            match record? {
                Found { key, record: None } => tally.damaged.push(named(&key)),
                Found { record: Some((_, Entry { header: None, .. })), .. } => {
                    tally.tombstones += 1
                }
                Found {
                    record: Some((secret, Entry { version, header: Some(header) })), ..
                } => {
                    let same = header.metadata.version == version;
                    let value = self.store.value(&secret, version).ok().flatten();
                    let opened = value.filter(|_| same).and_then(|sealed| {
                        record::open(self.home, &secret, &header, &sealed, &self.keys).ok()
                    });
                    match opened {
                        Some(value) => {
                            tally.records += 1;
                            tally.bytes += value.expose().len() as u64;
                        }
                        None => tally.damaged.push(format!("{secret} version {version}")),
                    }
                }
            }
            progress(&tally);
        }
        for key in self.store.orphans() {
            tally.damaged.push(named(&key?));
        }
        Ok(tally)
    }
}

fn named(key: &[u8]) -> String {
    format!("key {}", hex::encode(key))
}

#[cfg(test)]
mod tests;
