//! Upgrades keep what was there, and happen whole or not at all.

use std::sync::Arc;

use super::*;
use crate::{server::Postgres as Server, testing::server};

const FIRST: &str = include_str!("../migrations/001_records_and_facts.sql");
const NOTES: &str = "ALTER TABLE vault_records ADD COLUMN note text";

/// A database of the first version that holds a fact.
fn filled() -> (Arc<Server>, String, Database) {
    let (server, name) = (server(), format!("vault_{:x}", rand::random::<u64>()));
    let database = Database::at(&server.database(&name).parse().unwrap()).unwrap();
    apply(&database, &[FIRST]).unwrap();
    server.query_in(&name, "INSERT INTO vault_facts VALUES ('a', 'b')").unwrap();
    (server, name, database)
}

fn tables(server: &Server, name: &str) -> String {
    let list = "SELECT string_agg(tablename, ' ' ORDER BY tablename) FROM pg_tables \
        WHERE schemaname = 'public'";
    server.query_in(name, list).unwrap()
}

#[test]
fn an_upgrade_keeps_what_was_there_before_it() {
    let (server, name, database) = filled();
    apply(&database, &[FIRST, NOTES]).unwrap();
    let ask = |query| server.query_in(&name, query).unwrap();
    assert_eq!(ask("SELECT version FROM vault_schema"), "2");
    assert_eq!(ask("SELECT version FROM vault_schema_v1"), "1");
    assert_eq!(ask("SELECT count(*) FROM vault_facts_v1 NATURAL JOIN vault_facts"), "1");
    assert_eq!(ask("SELECT count(note) FROM vault_records"), "0");
    assert!(server.query_in(&name, "SELECT note FROM vault_records_v1").is_err());
    // Again: nothing is to be done, and nothing is copied over.
    apply(&database, &[FIRST, NOTES]).unwrap();
    let refused = apply(&database, &[FIRST]).unwrap_err();
    assert!(matches!(refused, VaultError::NewerSchema { found: 2, known: 1 }), "{refused:?}");
}

#[test]
fn an_upgrade_that_fails_changes_nothing() {
    let (server, name, database) = filled();
    apply(&database, &[FIRST, NOTES, "ALTER TABLE nowhere ADD COLUMN note text"]).unwrap_err();
    assert_eq!(tables(&server, &name), "vault_facts vault_records vault_schema");
    assert_eq!(server.query_in(&name, "SELECT version FROM vault_schema").unwrap(), "1");
    apply(&database, &[FIRST]).unwrap();
}
