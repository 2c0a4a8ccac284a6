//! Whatever is altered at rest is named, and nothing else.

use alloy_primitives::Address;
use rocksdb::{DB, Options};
use sesame_domain::SecretId;
use tempfile::TempDir;

use super::*;
use crate::{
    safe::{Push, Removal},
    testing::{metadata, places, plaintext, vault_in, who},
};

/// Bytes that lie in one of the vault's tables.
type Raw = (Vec<u8>, Vec<u8>);

fn open(folder: &TempDir) -> Vault {
    vault_in(folder.path())
}

fn secret(name: &str) -> SecretId {
    SecretId::Requester(who(2), name.parse().unwrap())
}

/// Three secrets and a tombstone, closed.
fn filled() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let vault = open(&folder);
    for name in ["a", "b", "c", "gone"] {
        let owner: Address = who(2);
        let push = Push {
            secret: secret(name),
            metadata: metadata(owner, 0, 1),
            value: plaintext(b"value"),
        };
        vault.push(push).unwrap();
    }
    vault.remove(&Removal { secret: secret("gone"), version: 2 }).unwrap();
    folder
}

/// Changes what lies in a table behind the vault's back.
fn alter(folder: &TempDir, table: &str, change: impl FnOnce(&mut Vec<Raw>)) {
    let names = ["default", "records", "values", "meta"];
    let db = DB::open_cf(&Options::default(), folder.path().join("vault"), names).unwrap();
    let family = db.cf_handle(table).unwrap();
    let rows = db.iterator_cf(family, rocksdb::IteratorMode::Start).map(Result::unwrap);
    let mut rows: Vec<Raw> = rows.map(|(key, value)| (key.into(), value.into())).collect();
    for (key, _) in &rows {
        db.delete_cf(family, key).unwrap();
    }
    change(&mut rows);
    for (key, value) in rows {
        db.put_cf(family, key, value).unwrap();
    }
}

fn damaged(folder: &TempDir) -> Vec<String> {
    open(folder).check(|_| {}).unwrap().damaged
}

#[test]
fn a_whole_vault_is_counted() {
    let folder = filled();
    let mut heard = 0;
    let tally = open(&folder).check(|_| heard += 1).unwrap();
    let expected = Tally { records: 3, bytes: 15, tombstones: 1, damaged: Vec::new() };
    assert_eq!((tally, heard), (expected, 4));
}

#[test]
fn every_kind_of_damage_is_named() {
    let names = |names: &[&str]| -> Vec<String> {
        names.iter().map(|name| format!("{} version 1", secret(name))).collect()
    };
    let check = |table: &str, change: fn(&mut Vec<Raw>), expected: &[&str]| {
        let folder = filled();
        alter(&folder, table, change);
        assert_eq!(damaged(&folder), names(expected), "{table}");
    };
    check("values", |rows| rows[1].1[14] ^= 1, &["b"]);
    check("values", |rows| drop(rows.remove(2)), &["c"]);
    check(
        "values",
        |rows| {
            let first = rows[0].1.clone();
            rows[0].1 = std::mem::replace(&mut rows[1].1, first);
        },
        &["a", "b"],
    );
    check("values", |rows| rows.iter_mut().for_each(|row| row.1.clear()), &["a", "b", "c"]);
    check("records", |rows| rows[0].1[9] ^= 1, &["a"]);
    check(
        "records",
        |rows| {
            let first = rows[0].1.clone();
            rows[0].1 = std::mem::replace(&mut rows[1].1, first);
        },
        &["a", "b"],
    );
}

#[test]
fn what_belongs_to_nothing_is_named_by_its_key() {
    for change in [
        |rows: &mut Vec<Raw>| rows.push((vec![9; 12], vec![1])),
        |rows: &mut Vec<Raw>| drop(rows.remove(0)),
        |rows: &mut Vec<Raw>| rows[0].1.clear(),
    ] {
        let folder = filled();
        alter(&folder, "records", change);
        let damaged = damaged(&folder);
        assert!(!damaged.is_empty() && damaged[0].starts_with("key 0"), "{damaged:?}");
    }
}

#[test]
fn none_is_made_where_there_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let (at, keys) = places(folder.path());
    let refused = Vault::open_existing(&at, &keys, 31337, who(1));
    assert!(matches!(refused, Err(VaultError::NoVault { .. })), "{refused:?}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
