//! At every moment of a rotation the vault opens whole.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
};

use sesame_domain::SecretId;
use tempfile::TempDir;

use super::*;
use crate::{
    error::KeyError,
    safe::Push,
    testing::{metadata, plaintext, who},
};

const CHAIN: u64 = 31337;
const RECORDS: u64 = 600;

struct Scratch(TempDir);

impl Scratch {
    fn filled() -> Self {
        let scratch = Self(tempfile::tempdir().unwrap());
        let vault = scratch.open().unwrap();
        for number in 0..RECORDS {
            push(&vault, number, 1);
        }
        scratch
    }

    fn key(&self) -> PathBuf {
        self.0.path().join("vault.key")
    }

    fn next(&self) -> PathBuf {
        self.0.path().join("vault.next")
    }

    fn open(&self) -> Result<Vault, VaultError> {
        Vault::open(&self.0.path().join("vault"), &self.key(), CHAIN, who(1))
    }

    fn rotate(&self) -> Result<u64, VaultError> {
        self.open()?.rotate_key(&self.key(), |_| {})
    }

    /// Dies after the first write of new headers.
    fn die_in_the_middle(&self) {
        let vault = self.open().unwrap();
        let died = catch_unwind(AssertUnwindSafe(|| {
            vault.rotate_key(&self.key(), |_| std::panic::resume_unwind(Box::new(())))
        }));
        assert!(died.is_err());
    }

    fn is_whole(&self, records: u64) {
        let tally = self.open().unwrap().check(|_| {}).unwrap();
        assert_eq!((tally.records, tally.damaged), (records, Vec::new()));
    }
}

fn push(vault: &Vault, number: u64, version: u64) {
    let secret = SecretId::Requester(who(2), format!("n{number}").parse().unwrap());
    let metadata = metadata(who(2), 0, version);
    vault.push(Push { secret, metadata, value: plaintext(b"value") }).unwrap();
}

#[test]
fn the_new_key_opens_everything_and_the_old_one_nothing() {
    let scratch = Scratch::filled();
    let old = fs::read(scratch.key()).unwrap();
    assert_eq!(scratch.rotate().unwrap(), RECORDS);
    assert_ne!(fs::read(scratch.key()).unwrap(), old);
    assert!(!scratch.next().exists());
    scratch.is_whole(RECORDS);

    fs::write(scratch.key(), old).unwrap();
    assert!(matches!(scratch.open(), Err(VaultError::WrongKey)));
}

#[test]
fn a_rotation_that_died_leaves_a_whole_vault_and_goes_on() {
    let scratch = Scratch::filled();
    for _ in 0..2 {
        scratch.die_in_the_middle();
        scratch.is_whole(RECORDS);
    }
    let vault = scratch.open().unwrap();
    push(&vault, RECORDS, 1);
    push(&vault, 0, 2);
    drop(vault);
    scratch.is_whole(RECORDS + 1);
    assert_eq!(scratch.rotate().unwrap(), RECORDS + 1);
    scratch.is_whole(RECORDS + 1);
    assert!(!scratch.next().exists());
}

#[test]
fn a_rotation_that_died_between_store_and_file_is_finished_when_the_vault_opens() {
    let scratch = Scratch::filled();
    let old = fs::read(scratch.key()).unwrap();
    scratch.rotate().unwrap();
    let new = fs::read(scratch.key()).unwrap();
    fs::rename(scratch.key(), scratch.next()).unwrap();
    fs::write(scratch.key(), old).unwrap();
    fs::set_permissions(scratch.key(), fs::metadata(scratch.next()).unwrap().permissions())
        .unwrap();

    scratch.is_whole(RECORDS);
    assert_eq!(fs::read(scratch.key()).unwrap(), new);
    assert!(!scratch.next().exists());
}

#[test]
fn both_keys_are_needed_while_they_change() {
    let scratch = Scratch::filled();
    scratch.die_in_the_middle();
    let (key, next) = (scratch.key(), scratch.next());
    let (old, new) = (fs::read(&key).unwrap(), fs::read(&next).unwrap());

    fs::write(&next, &old).unwrap();
    assert!(matches!(scratch.open(), Err(VaultError::WrongKey)));
    fs::write(&next, &new).unwrap();
    fs::write(&key, &new).unwrap();
    assert!(matches!(scratch.open(), Err(VaultError::WrongKey)));
    fs::remove_file(&key).unwrap();
    assert!(matches!(scratch.open(), Err(VaultError::Key(KeyError::File { .. }))));
    fs::rename(&next, &key).unwrap();
    assert!(scratch.open().is_err());
    assert!(!next.exists(), "a vault that exists never gets a new key");
}

/// A key made by a run that died at once is taken up, and means nothing before.
#[test]
fn a_key_that_nothing_is_under_is_taken_up() {
    let scratch = Scratch::filled();
    crate::keys::file::KeyFile::load_or_create(&scratch.next()).unwrap();
    let next = fs::read(scratch.next()).unwrap();
    scratch.is_whole(RECORDS);
    scratch.rotate().unwrap();
    assert_eq!(fs::read(scratch.key()).unwrap(), next);
    scratch.is_whole(RECORDS);
}
