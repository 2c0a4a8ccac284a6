//! Whatever is altered at rest is named, and nothing else.

use alloy_primitives::Address;
use rocksdb::{DB, Options};
use sesame_domain::SecretId;

use super::*;
use crate::{
    safe::{Push, Removal},
    testing::{Ground, metadata, plaintext, who},
};

/// Bytes that lie in one of the vault's tables.
type Raw = (Vec<u8>, Vec<u8>);

fn secret(name: &str) -> SecretId {
    SecretId::Requester(who(2), name.parse().unwrap())
}

/// Three secrets and a tombstone, closed.
fn filled() -> Ground {
    let ground = Ground::of(module_path!());
    let vault = ground.open().unwrap();
    for name in ["a", "b", "c", "gone"] {
        let owner: Address = who(2);
        let push = Push {
            secret: secret(name),
            metadata: metadata(owner, 0, 1),
            value: plaintext(b"value"),
        };
        vault.push(push).unwrap();
    }
    vault.remove(&Removal { secret: secret("gone"), epoch: 0, version: 2 }).unwrap();
    ground
}

/// Changes what lies in a table behind the vault's back.
fn alter(ground: &Ground, table: &str, change: impl FnOnce(&mut Vec<Raw>)) {
    if let Some((server, database)) = &ground.server {
        return alter_in_postgres(|query| server.query_in(database, query).unwrap(), table, change);
    }
    let names = ["default", "records", "values", "meta"];
    let db = DB::open_cf(&Options::default(), ground.folder.path().join("vault"), names).unwrap();
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

/// The same of one table that holds both.
fn alter_in_postgres(
    ask: impl Fn(&str) -> String,
    table: &str,
    change: impl FnOnce(&mut Vec<Raw>),
) {
    let column = if table == "records" { "header" } else { "value" };
    let order = "ORDER BY secret, version DESC";
    let found = ask(&format!(
        "SELECT encode(secret, 'hex'), version, encode({column}, 'hex') FROM vault_records \
            WHERE {column} IS NOT NULL {order}"
    ));
    let rows = found.lines().map(|line| {
        let [secret, version, value] = line.split('|').collect::<Vec<_>>().try_into().unwrap();
        let version: i64 = version.parse().unwrap();
        let key = [hex::decode(secret).unwrap(), (!version).to_be_bytes().to_vec()].concat();
        (key, hex::decode(value).unwrap())
    });
    let mut rows: Vec<Raw> = rows.collect();
    change(&mut rows);
    ask(&match table {
        "records" => "UPDATE vault_records SET header = ''".to_owned(),
        _ => format!("UPDATE vault_records SET {column} = NULL"),
    });
    for (key, value) in rows {
        let (secret, version) = key.split_last_chunk::<8>().unwrap();
        let (secret, version) = (hex::encode(secret), !i64::from_be_bytes(*version));
        let value = hex::encode(value);
        ask(&match table {
            "records" => format!(
                "INSERT INTO vault_records VALUES ('\\x{secret}', {version}, '\\x{value}') \
                    ON CONFLICT (secret, version) DO UPDATE SET header = excluded.header"
            ),
            _ => format!(
                "UPDATE vault_records SET value = '\\x{value}' \
                    WHERE secret = '\\x{secret}' AND version = {version}"
            ),
        });
    }
}

fn damaged(ground: &Ground) -> Vec<String> {
    ground.open().unwrap().check(|_| {}).unwrap().damaged
}

#[test]
fn a_whole_vault_is_counted() {
    let ground = filled();
    let mut heard = 0;
    let tally = ground.open().unwrap().check(|_| heard += 1).unwrap();
    let expected = Tally { records: 3, bytes: 15, tombstones: 1, damaged: Vec::new() };
    assert_eq!((tally, heard), (expected, 4));
}

#[test]
fn every_kind_of_damage_is_named() {
    let names = |names: &[&str]| -> Vec<String> {
        names.iter().map(|name| format!("{} version 1", secret(name))).collect()
    };
    let check = |table: &str, change: fn(&mut Vec<Raw>), expected: &[&str]| {
        let ground = filled();
        alter(&ground, table, change);
        assert_eq!(damaged(&ground), names(expected), "{table}");
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
        let ground = filled();
        alter(&ground, "records", change);
        let damaged = damaged(&ground);
        assert!(!damaged.is_empty() && damaged[0].starts_with("key 0"), "{damaged:?}");
    }
}

#[test]
fn none_is_made_where_there_is_none() {
    let Ground { folder, records, keys, server: _server } = Ground::of(module_path!());
    let refused = Vault::open_existing(&records, &keys, 31337, who(1));
    assert!(matches!(refused, Err(VaultError::NoVault { .. })), "{refused:?}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
