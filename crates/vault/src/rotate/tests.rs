//! At every moment of a rotation the vault opens whole, and it takes and gives secrets all the while.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
};

use sesame_domain::SecretId;

use super::*;
use crate::{
    error::KeyError,
    safe::Push,
    testing::{Ground, metadata, plaintext, who},
};

const RECORDS: u64 = 600;

struct Scratch(Ground);

impl Scratch {
    fn filled() -> Self {
        let scratch = Self(Ground::of(module_path!()));
        let vault = scratch.open().unwrap();
        for number in 0..RECORDS {
            push(&vault, number, 1);
        }
        scratch
    }

    fn keys(&self) -> PathBuf {
        self.0.folder.path().join("keys")
    }

    fn file(&self, key: KeyId) -> PathBuf {
        self.keys().join(format!("vault-{key}.key"))
    }

    fn open(&self) -> Result<Vault, VaultError> {
        self.0.open()
    }

    /// Dies after the first write of new headers. Gives the key before and the new one.
    fn die_in_the_middle(&self) -> (KeyId, KeyId) {
        let vault = self.open().unwrap();
        let before = vault.ring().sealing().id();
        let died = catch_unwind(AssertUnwindSafe(|| {
            vault.rotate_key(None, |_| std::panic::resume_unwind(Box::new(())))
        }));
        assert!(died.is_err());
        (before, vault.ring().sealing().id())
    }

    fn is_whole(&self, records: u64) {
        is_whole(&self.open().unwrap(), records);
    }
}

fn is_whole(vault: &Vault, records: u64) {
    let tally = vault.check(|_| {}).unwrap();
    assert_eq!((tally.records, tally.damaged), (records, Vec::new()));
}

fn push(vault: &Vault, number: u64, version: u64) {
    let secret = SecretId::Requester(who(2), format!("n{number}").parse().unwrap());
    let metadata = metadata(who(2), 0, version);
    vault.push(Push { secret, metadata, value: plaintext(b"value") }).unwrap();
}

#[test]
fn the_new_key_opens_everything_and_the_old_one_nothing() {
    let scratch = Scratch::filled();
    let vault = scratch.open().unwrap();
    let before = vault.ring().sealing().id();
    let Rotated { records, key } = vault.rotate_key(None, |_| {}).unwrap();
    assert_eq!(records, RECORDS);
    assert_ne!(key, before);
    is_whole(&vault, RECORDS);
    drop(vault);
    fs::remove_file(scratch.file(before)).unwrap();
    scratch.is_whole(RECORDS);
    fs::remove_file(scratch.file(key)).unwrap();
    let refused = scratch.open();
    assert!(matches!(refused, Err(VaultError::Key(KeyError::Missing { .. }))), "{refused:?}");
}

#[test]
fn a_rotation_that_died_leaves_a_whole_vault_and_goes_on() {
    let scratch = Scratch::filled();
    let (before, key) = scratch.die_in_the_middle();
    scratch.is_whole(RECORDS);
    assert_eq!(scratch.die_in_the_middle(), (key, key), "the same rotation");
    let vault = scratch.open().unwrap();
    push(&vault, RECORDS, 1);
    push(&vault, 0, 2);
    is_whole(&vault, RECORDS + 1);
    let rotated = vault.rotate_key(None, |_| {}).unwrap();
    assert_eq!(rotated, Rotated { records: RECORDS + 1, key });
    drop(vault);
    fs::remove_file(scratch.file(before)).unwrap();
    scratch.is_whole(RECORDS + 1);
}

#[test]
fn both_keys_are_needed_while_they_change() {
    let scratch = Scratch::filled();
    let (before, key) = scratch.die_in_the_middle();
    for gone in [before, key] {
        let kept = fs::read(scratch.file(gone)).unwrap();
        fs::remove_file(scratch.file(gone)).unwrap();
        let refused = scratch.open();
        let missing =
            matches!(&refused, Err(VaultError::Key(KeyError::Missing { id, .. })) if *id == gone);
        assert!(missing, "{refused:?}");
        fs::write(scratch.file(gone), kept).unwrap();
        let own = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(scratch.file(gone), own).unwrap();
    }
    scratch.is_whole(RECORDS);
}

#[test]
fn a_key_that_was_made_before_is_taken_up_by_name() {
    let scratch = Scratch::filled();
    let vault = scratch.open().unwrap();
    let made = vault.make_key().unwrap();
    is_whole(&vault, RECORDS);
    assert_ne!(vault.ring().sealing().id(), made);
    assert_eq!(
        vault.rotate_key(Some(made), |_| {}).unwrap(),
        Rotated { records: RECORDS, key: made }
    );
    is_whole(&vault, RECORDS);
    let unknown = "0011223344556677".parse().unwrap();
    let refused = vault.rotate_key(Some(unknown), |_| {});
    assert!(matches!(refused, Err(VaultError::Key(KeyError::Missing { .. }))), "{refused:?}");
    is_whole(&vault, RECORDS);
}

/// A writer that seals under the key before is refused by the store and seals again: nothing stays under a key that goes.
#[test]
fn what_is_pushed_while_keys_change_is_under_the_new_key_in_the_end() {
    let scratch = Scratch::filled();
    let vault = scratch.open().unwrap();
    let pushed = AtomicU64::new(0);
    let mut rotated = Vec::new();
    std::thread::scope(|scope| {
        let (vault, pushed) = (&vault, &pushed);
        let running = scope.spawn(move || {
            while pushed.load(Ordering::Relaxed) < 300 {
                let number = pushed.fetch_add(1, Ordering::Relaxed);
                push(vault, RECORDS + number, 1);
                push(vault, number, 2);
            }
        });
        while !running.is_finished() {
            rotated.push(vault.rotate_key(None, |_| {}).unwrap().key);
        }
    });
    let last = vault.rotate_key(None, |_| {}).unwrap().key;
    drop(vault);
    for key in rotated {
        fs::remove_file(scratch.file(key)).unwrap();
    }
    let vault = scratch.open().unwrap();
    assert_eq!(vault.ring().sealing().id(), last);
    is_whole(&vault, RECORDS + 300);
}
