//! The whole vault in one file: encrypted and authenticated as a whole, of one moment, taken beside pushes and releases.
//!
//! A backup is an age file (age-encryption.org/v1) whose file key is wrapped by the vault's key-encryption key (`envelope.rs`), so
//! it never holds what opens it, and a key in an HSM stays there. Inside are the vault's facts and, in the order of their keys, all
//! records as they lie at rest, each still sealed under its data key (`contents.rs`). age's stream ends in a chunk that says it is
//! the last, each chunk counts, and no two files share a key: what is cut off, moved, altered or spliced does not open.

mod contents;
mod envelope;
pub(crate) mod restore;

use std::io::{Read, Write};

use crate::{
    check::{authenticate, named},
    error::{BackupError, VaultError},
    keys::{KeyId, ring::Ring},
    record::{Header, Home},
    safe::Vault,
    sealing,
    store::{Entry, Facts, Found, KEYS, Values},
};
use contents::{Head, Item, Reader, Writer};
use envelope::Envelope;

/// What is in a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// When it was taken, seconds since 1970.
    pub created_at: u64,
    /// The key-encryption keys that it takes to restore it, the one that opens the file first.
    pub keys: Vec<KeyId>,
    /// What the vault held.
    pub contents: Contents,
}

/// How much there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Contents {
    /// Versions of secrets.
    pub records: u64,
    /// Bytes of their values, in the clear.
    pub bytes: u64,
    /// Tombstones.
    pub tombstones: u64,
}

impl Vault {
    /// Writes everything that the vault holds at this moment, after authenticating it; `progress` hears what is written. `now` is
    /// in seconds since 1970. Takes as much memory as one record, and writers wait for nothing.
    ///
    /// # Errors
    /// [`BackupError::Damaged`] when a record does not authenticate, or when the store, a key or the output fails. What was
    /// written by then is no backup.
    pub fn backup(
        &self,
        out: impl Write,
        now: u64,
        mut progress: impl FnMut(&Contents),
    ) -> Result<Backup, VaultError> {
        let mut moment = self.store.moment()?;
        let facts = moment.facts()?;
        let ring = ring(&facts, self.home, |fact, origin| Ring::named(fact, &*self.keys, origin))?;
        sealing::check(&facts, self.home, &ring)?;
        let sealed = Envelope { home: self.home, keys: &*self.keys }.seal(ring.sealing(), out)?;
        let mut writer = Writer::begin(sealed, &Head { created_at: now, facts })?;
        moment.walk(Values::Read, &mut |found| {
            let (item, bytes) = item(self.home, &ring, found)?;
            writer.add(&item, bytes)?;
            progress(writer.contents());
            Ok(())
        })?;
        let (sealed, contents) = writer.end()?;
        sealed.finish().and_then(|mut out| out.flush()).map_err(BackupError::Write)?;
        Ok(Backup { created_at: now, keys: ring.names(), contents })
    }
}

/// The keys that these facts name.
fn ring(
    facts: &Facts,
    home: Home,
    named: impl FnOnce(Vec<u8>, &[u8]) -> Result<Ring, VaultError>,
) -> Result<Ring, VaultError> {
    named(facts.get(KEYS).ok_or(VaultError::Damaged)?.clone(), &home.origin())
}

/// What a backup has of a record, and the bytes of its value.
fn item(home: Home, ring: &Ring, found: Found) -> Result<(Item, u64), VaultError> {
    let Found { key, record, value } = found;
    let Some((secret, Entry { version, header })) = record else {
        return Err(BackupError::Damaged { record: named(&key) }.into());
    };
    let item = Item { secret, version, header, value: value.unwrap_or_default() };
    let bytes = item.authenticated(home, ring)?;
    Ok((item, bytes))
}

impl Item {
    /// How many bytes its value has, which is opened; a tombstone's has none.
    fn authenticated(&self, home: Home, ring: &Ring) -> Result<u64, VaultError> {
        let Self { secret, version, header, value } = self;
        let Some(header) = header else { return Ok(0) };
        let record: (_, _, &Header) = (secret, *version, header);
        let bytes = authenticate(home, ring, record, Some(value))?;
        let damaged = || BackupError::Damaged { record: format!("{secret} version {version}") };
        Ok(bytes.ok_or_else(damaged)?)
    }
}

/// Reads what is inside a backup, without its encryption, and writes it again, opening no record. For fuzzers: what can be read
/// has one spelling.
///
/// # Errors
/// When it is not what [`Vault::backup`] writes.
pub fn rewrite(contents: impl Read, out: impl Write) -> Result<Contents, VaultError> {
    let (head, mut reader) = Reader::begin(contents)?;
    let mut writer = Writer::begin(out, &head)?;
    while let Some(item) = reader.next()? {
        let bytes = item.header.as_ref().map_or(0, |header| header.metadata.size);
        writer.add(&item, bytes)?;
    }
    Ok(writer.end()?.1)
}

#[cfg(test)]
mod tests;
