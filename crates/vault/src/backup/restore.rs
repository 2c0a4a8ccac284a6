//! A backup put in the place of a vault: verified to its end, compared with what is there, and only then anything changes.

use std::{
    fmt,
    fs::File,
    io::{BufReader, Seek},
    path::{Path, PathBuf},
};

use age::stream::StreamReader;
use alloy_primitives::Address;
use sesame_domain::SecretId;

use super::{
    Backup,
    contents::{Head, Item, Reader},
    envelope::Envelope,
    ring,
};
use crate::{
    error::{BackupError, VaultError},
    keys::{KeySource, Keys, ring::Ring},
    record::Home,
    safe::{IDENTITY, Location, ORIGIN},
    sealing,
    store::{Entry, Existing, Found, Store, Values},
};

/// Secrets that a refusal names.
const NAMED: usize = 5;

/// Where a backup is restored, and what may be there.
#[derive(Debug, Clone)]
pub struct Restore {
    /// Where the vault is, or will be.
    pub at: Location,
    /// The keys that the backup was made under; it holds none.
    pub keys: KeySource,
    /// EIP-155 chain id that it must be for.
    pub chain_id: u64,
    /// Asset registry that it must be for.
    pub registry: Address,
    /// The SMS that it must be of.
    pub identity: Address,
    /// Whether a vault that is there, and is another, may be replaced.
    pub replace: bool,
}

/// What a restore did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Restored {
    /// There was no vault, or an empty one.
    Made(Backup),
    /// The vault held exactly that; it is as it was.
    Unchanged(Backup),
    /// It took the place of another vault.
    Replaced {
        /// The backup.
        backup: Backup,
        /// What was there.
        there: Replaced,
        /// Where that is kept now, until somebody removes it; nowhere if it was in a database.
        aside: Option<PathBuf>,
    },
}

/// A vault that is, or would be, replaced by an older one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Replaced {
    /// What it holds: versions of secrets and tombstones.
    pub records: u64,
    /// Secrets of it that are newer than the backup, or not in it, removed ones included.
    pub lost: u64,
    /// Some of these.
    pub such_as: Vec<String>,
    /// Whether it cannot be read to its end, so that there may be more.
    pub unreadable: bool,
}

impl fmt::Display for Replaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { records, lost, such_as, unreadable } = self;
        if *unreadable {
            f.write_str("there is a vault that cannot be read, so nobody can tell what is newer in it than the backup")?;
        } else {
            write!(f, "there is another vault, with {records} records")?;
        }
        match lost {
            0 if *unreadable => Ok(()),
            0 => f.write_str(", none of them newer than the backup"),
            _ => write!(
                f,
                ": {lost} of its secrets are newer than the backup or not in it, and would be lost, such as {}",
                such_as.join(", ")
            ),
        }
    }
}

impl Restore {
    /// Verifies a backup as [`Self::run`] does, and says what it holds; changes nothing.
    ///
    /// # Errors
    /// As [`Self::run`], whatever there is where it would go.
    pub fn verify(&self, file: &Path, mut progress: impl FnMut(u64)) -> Result<Backup, VaultError> {
        let (keys, file) = (self.keys.open()?, File::open(file).map_err(BackupError::Read)?);
        let mut opened = self.open(&file, &*keys)?;
        while opened.next()?.is_some() {
            progress(opened.records());
        }
        Ok(opened.backup())
    }

    /// Makes the vault what the backup says, after all of it was verified: every record opens under the keys at hand, nothing is
    /// missing and nothing comes after. Killed at any moment, the vault is the one before or the restored one; run again, it goes
    /// on. `progress` hears how many records are verified, and after that how many are written.
    ///
    /// # Errors
    /// When the backup is refused, a key is missing, another vault is there that may not be replaced, or something fails: then
    /// the vault is as it was.
    pub fn run(&self, file: &Path, mut progress: impl FnMut(u64)) -> Result<Restored, VaultError> {
        let (keys, file) = (self.keys.open()?, File::open(file).map_err(BackupError::Read)?);
        let existing = self.at.existing()?;
        let mut opened = self.open(&file, &*keys)?;
        let found = opened.compare(&existing, self.home(), &mut progress)?;
        let (head, backup) = (opened.head.clone(), opened.backup());
        let there = match found {
            Beside::Same => return Ok(Restored::Unchanged(backup)),
            Beside::Other(there) if !self.replace => {
                return Err(BackupError::WouldReplace { there }.into());
            }
            Beside::Other(there) => Some(there),
            Beside::Nothing => None,
        };
        let mut draft = self.at.draft(existing)?;
        let mut again = self.open(&file, &*keys)?;
        while let Some(item) = again.next()? {
            let record = item.header.as_ref().map(|header| (header, item.value.as_slice()));
            draft.add(&item.secret, item.version, record)?;
            progress(again.records());
        }
        if again.head != head || again.backup() != backup {
            return Err(BackupError::Altered.into());
        }
        draft.publish(&head.facts)?;
        Ok(match there {
            Some(there) => Restored::Replaced { backup, there, aside: self.at.aside() },
            None => Restored::Made(backup),
        })
    }

    const fn home(&self) -> Home {
        Home { chain_id: self.chain_id, registry: self.registry }
    }

    /// From the beginning of the file on.
    fn open<'f>(&self, mut file: &'f File, keys: &dyn Keys) -> Result<Opened<'f>, VaultError> {
        file.rewind().map_err(BackupError::Read)?;
        let (home, input) = (self.home(), BufReader::new(file));
        let (head, reader) = Reader::begin(Envelope { home, keys }.open(input)?)?;
        if head.facts.get(ORIGIN) != Some(&home.origin()) {
            return Err(BackupError::OtherOrigin.into());
        }
        if let Some(kept) = head.facts.get(IDENTITY) {
            let identity = Address::try_from(kept.as_slice()).map_err(|_| BackupError::Altered)?;
            if identity != self.identity {
                return Err(BackupError::OtherIdentity { identity }.into());
            }
        }
        let ring = ring(&head.facts, home, |fact, origin| Ring::named(fact, keys, origin))?;
        sealing::check(&head.facts, home, &ring)?;
        Ok(Opened { home, ring, head, reader })
    }
}

/// A backup that is read, every record opened on the way.
struct Opened<'f> {
    home: Home,
    ring: Ring,
    head: Head,
    reader: Reader<StreamReader<BufReader<&'f File>>>,
}

/// What is where a backup would go.
enum Beside {
    Nothing,
    Same,
    Other(Replaced),
}

impl Opened<'_> {
    fn next(&mut self) -> Result<Option<Item>, VaultError> {
        let item = self.reader.next()?;
        if let Some(item) = &item {
            item.authenticated(self.home, &self.ring)?;
        }
        Ok(item)
    }

    /// Records and tombstones that were read.
    const fn records(&self) -> u64 {
        let contents = self.reader.contents();
        contents.records + contents.tombstones
    }

    fn backup(&self) -> Backup {
        Backup {
            created_at: self.head.created_at,
            keys: self.ring.names(),
            contents: *self.reader.contents(),
        }
    }

    /// Reads it to its end, beside what is there.
    fn compare(
        &mut self,
        existing: &Existing,
        home: Home,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Beside, VaultError> {
        let Existing::Store(store) = existing else {
            while self.next()?.is_some() {
                progress(self.records());
            }
            let unreadable = Replaced { unreadable: true, ..Replaced::default() };
            return Ok(match existing {
                Existing::Unreadable => Beside::Other(unreadable),
                Existing::Nothing | Existing::Store(_) => Beside::Nothing,
            });
        };
        if let Some(origin) = store.fact(ORIGIN)? {
            home.check(&origin)?;
        }
        let facts = store.moment()?.facts()?;
        let mut comparison = Comparison::new(self)?;
        comparison.walk(&**store, progress)?;
        let (there, same) = comparison.end(progress)?;
        Ok(match there {
            _ if same && facts == self.head.facts => Beside::Same,
            Replaced { records: 0, unreadable: false, .. } => Beside::Nothing,
            there => Beside::Other(there),
        })
    }
}

/// A store and a backup, walked side by side in the order of their keys.
struct Comparison<'a, 'f> {
    backup: &'a mut Opened<'f>,
    /// The backup's first record past those of the store that were seen.
    next: Option<Item>,
    /// The secret of the backup's record before that.
    last: Option<SecretId>,
    /// The secret of the store's newest record that was seen.
    seen: Option<SecretId>,
    there: Replaced,
    same: bool,
}

impl<'a, 'f> Comparison<'a, 'f> {
    fn new(backup: &'a mut Opened<'f>) -> Result<Self, VaultError> {
        let next = backup.next()?;
        let there = Replaced::default();
        Ok(Self { backup, next, last: None, seen: None, there, same: true })
    }

    /// A store that fails is one that cannot be read; a backup that fails is refused.
    fn walk(&mut self, store: &dyn Store, progress: &mut dyn FnMut(u64)) -> Result<(), VaultError> {
        let mut refused = None;
        let walked = store.walk(Values::Read, &mut |found| {
            progress(self.backup.records());
            self.beside(found).map_err(|error| {
                refused = Some(error);
                VaultError::Damaged
            })
        });
        self.there.unreadable |= walked.is_err();
        self.same &= walked.is_ok();
        refused.map_or(Ok(()), Err)
    }

    fn beside(&mut self, found: Found) -> Result<(), VaultError> {
        self.there.records += 1;
        let Some((secret, Entry { version, header })) = found.record else {
            self.there.unreadable = true;
            self.same = false;
            return Ok(());
        };
        let mut twin = None;
        while let Some(item) = self.next.take_if(|item| item.key() <= found.key) {
            self.last = Some(item.secret.clone());
            self.same &= twin.is_none();
            twin = Some(item);
            self.next = self.backup.next()?;
        }
        self.same &= twin.is_some_and(|item| {
            item.key() == found.key
                && item.header == header
                && item.value == found.value.unwrap_or_default()
        });
        let newest = self.seen.as_ref() != Some(&secret);
        if newest && self.last.as_ref() != Some(&secret) {
            self.there.lost += 1;
            if self.there.such_as.len() < NAMED {
                self.there.such_as.push(format!("{secret} version {version}"));
            }
        }
        self.seen = Some(secret);
        Ok(())
    }

    fn end(mut self, progress: &mut dyn FnMut(u64)) -> Result<(Replaced, bool), VaultError> {
        while self.next.take().is_some() {
            self.same = false;
            self.next = self.backup.next()?;
            progress(self.backup.records());
        }
        Ok((self.there, self.same))
    }
}
