//! What only a database can do to its clients: conflict, vanish, change hands, keep silent about a commit.

use std::{
    io::{Read, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rcgen::{CertificateParams, KeyPair};

use super::*;
use crate::{
    safe::{Location, Push, Removal, Vault},
    server::{PASSWORD, Postgres as Server},
    testing::{EPOCH, asset_secret, metadata, owner_of, places, plaintext, server, who},
};

fn vault_at(url: &str, folder: &std::path::Path) -> Result<Vault, VaultError> {
    let (_, keys) = places(folder);
    Vault::open(&Location::Postgres(Box::new(url.parse().unwrap())), &keys, 31337, who(1))
}

fn push(vault: &Vault, byte: u8, version: u64) -> Result<Metadata, VaultError> {
    let metadata = metadata(owner_of(byte), EPOCH, version);
    vault.push(Push { secret: asset_secret(byte), metadata, value: plaintext(b"value") })
}

fn newest(vault: &Vault, byte: u8) -> Result<u64, VaultError> {
    vault.newest_version(&asset_secret(byte))
}

fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(30), "in vain: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// A database of its own on the shared server.
fn fresh() -> (Arc<Server>, String, String) {
    let (server, name) = (server(), format!("vault_{:x}", rand::random::<u64>()));
    let url = server.database(&name);
    (server, name, url)
}

#[test]
fn a_write_that_cannot_be_serialized_is_done_again() {
    let server = Server::start_with(&["log_min_messages=error"], &[]);
    let (url, folder) = (server.database("vault"), tempfile::tempdir().unwrap());
    let vault = vault_at(&url, folder.path()).unwrap();
    assert!(!server.said().contains("could not serialize access"));
    thread::scope(|scope| {
        // Holds the row of the keys, changed, until the writer waits for it.
        let other = Database::at(&url.parse().unwrap()).unwrap();
        let mut client = other.connection().unwrap();
        let transaction = other.step(serializable(&mut client)).unwrap();
        let touch = "UPDATE vault_facts SET value = value WHERE name = 'keys'";
        other.step(async { Ok(transaction.execute(touch, &[]).await?) }).unwrap();
        let writer = scope.spawn(|| push(&vault, 1, 1));
        eventually("the writer waits", || {
            let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
            server.query(waiting).unwrap() == "1"
        });
        other.step(async { Ok(transaction.commit().await?) }).unwrap();
        writer.join().unwrap().unwrap();
    });
    assert!(server.said().contains("could not serialize access"), "{}", server.said());
    assert_eq!(newest(&vault, 1).unwrap(), 1);
}

/// Two statements go out together, and whichever answer is looked at first decides: the second's says only that the first failed.
#[test]
fn a_statement_behind_one_that_failed_is_no_answer() {
    let (_server, _, url) = fresh();
    let database = Database::at(&url.parse().unwrap()).unwrap();
    let tries = AtomicUsize::new(0);
    let done = database.run(async |client, doubt| {
        assert!(!doubt, "a transaction that failed did nothing");
        let transaction = serializable(client).await?;
        if tries.fetch_add(1, Ordering::Relaxed) == 0 {
            transaction.execute("SELECT 1 / 0", &[]).await.unwrap_err();
        }
        Ok(transaction.query_one("SELECT 1", &[]).await?.get::<_, i32>(0))
    });
    assert_eq!((done.unwrap(), tries.into_inner()), (1, 2));
}

#[test]
fn of_many_first_openers_each_finds_the_same_vault() {
    let (server, name, url) = fresh();
    let folder = tempfile::tempdir().unwrap();
    thread::scope(|scope| {
        for byte in 0..8 {
            let (url, folder) = (&url, folder.path());
            scope.spawn(move || push(&vault_at(url, folder).unwrap(), byte, 1).unwrap());
        }
    });
    let count = server.query_in(&name, "SELECT count(*) FROM vault_records");
    assert_eq!(count.unwrap(), "8");
    assert_eq!(server.query_in(&name, "SELECT version FROM vault_schema").unwrap(), "1");
    assert!(vault_at(&url, folder.path()).unwrap().check(|_| {}).unwrap().damaged.is_empty());
}

#[test]
fn tables_of_a_later_version_are_refused_and_left_alone() {
    let (server, name, url) = fresh();
    let folder = tempfile::tempdir().unwrap();
    drop(vault_at(&url, folder.path()).unwrap());
    server.query_in(&name, "UPDATE vault_schema SET version = 9").unwrap();
    let refused = vault_at(&url, folder.path()).unwrap_err();
    assert!(matches!(refused, VaultError::NewerSchema { found: 9, known: 1 }), "{refused:?}");
    assert_eq!(server.query_in(&name, "SELECT version FROM vault_schema").unwrap(), "9");
}

#[test]
fn a_role_that_may_make_no_tables_is_enough_where_they_are() {
    let (server, name, url) = fresh();
    let folder = tempfile::tempdir().unwrap();
    let role = format!("sesame_{name}");
    let restricted = url.replace("//postgres:", &format!("//{role}:"));
    server.query(&format!("CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'")).unwrap();
    let refused = vault_at(&restricted, folder.path()).unwrap_err();
    assert!(matches!(refused, VaultError::Database(_)), "{refused:?}");
    drop(vault_at(&url, folder.path()).unwrap());
    let all = "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO";
    server.query_in(&name, &format!("{all} {role}")).unwrap();
    let vault = vault_at(&restricted, folder.path()).unwrap();
    push(&vault, 1, 1).unwrap();
}

#[test]
fn without_its_database_a_vault_says_so_and_nothing_old_and_heals() {
    let mut server = Server::start();
    let (url, folder) = (server.database("vault"), tempfile::tempdir().unwrap());
    let vault = vault_at(&url, folder.path()).unwrap();
    push(&vault, 1, 1).unwrap();
    server.kill();
    // Its processes answer until they notice, and what they answer is true.
    eventually("the last of them ends", || newest(&vault, 1).is_err());
    for refused in
        [newest(&vault, 1).map(drop), push(&vault, 1, 2).map(drop), vault.check(|_| {}).map(drop)]
    {
        let refused = refused.unwrap_err();
        assert!(matches!(refused, VaultError::Unavailable { .. }), "{refused:?}");
        assert!(!format!("{refused:?} {refused}").contains("owl"), "{refused:?}");
    }
    let refused = vault_at(&url, folder.path()).unwrap_err();
    assert!(matches!(refused, VaultError::Unavailable { .. }), "{refused:?}");
    server.start_again();
    assert_eq!(newest(&vault, 1).unwrap(), 1);
    push(&vault, 1, 2).unwrap();
}

/// A wrong password does not become a right one.
#[test]
fn a_wrong_password_is_refused_at_once_and_not_told() {
    let (_server, _, url) = fresh();
    let folder = tempfile::tempdir().unwrap();
    let refused = vault_at(&url.replace("owl", "cat"), folder.path()).unwrap_err();
    assert!(matches!(refused, VaultError::Database(_)), "{refused:?}");
    assert!(!format!("{refused:?} {refused}").contains("cat is not"), "{refused:?}");
}

/// When a relay cuts the connection: before the database hears of a commit, or before its answer is heard.
#[derive(Clone, Copy)]
enum Cut {
    Before,
    After,
}

/// Relays to the server, and cuts as many commits as there are `left`. Gives its port.
fn relay(to: u16, cut: Cut, left: Arc<AtomicUsize>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let server = TcpStream::connect(("127.0.0.1", to)).unwrap();
            let left = left.clone();
            thread::spawn(move || relay_one(client, server, cut, &left));
        }
    });
    port
}

fn relay_one(mut client: TcpStream, mut server: TcpStream, cut: Cut, left: &AtomicUsize) {
    let (mut back, mut answers) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    thread::spawn(move || std::io::copy(&mut answers, &mut back));
    let mut bytes = [0; 1 << 16];
    while let Ok(read @ 1..) = client.read(&mut bytes) {
        let said = &bytes[..read];
        let commits = said.windows(6).any(|window| window == b"COMMIT");
        if commits
            && left
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
                .is_ok()
        {
            client.shutdown(Shutdown::Both).unwrap();
            if matches!(cut, Cut::After) {
                server.write_all(said).unwrap();
            }
            break;
        }
        if server.write_all(said).is_err() {
            break;
        }
    }
    // The server hears the end after all that was said.
    let _ = server.shutdown(Shutdown::Write);
    let _ = client.shutdown(Shutdown::Both);
}

#[test]
fn a_commit_whose_answer_is_lost_is_looked_up_before_it_is_answered() {
    for cut in [Cut::Before, Cut::After] {
        let (server, name, url) = fresh();
        let left = Arc::new(AtomicUsize::new(0));
        let port = relay(server.port(), cut, left.clone());
        let cut_url = url.replace(&format!(":{}/", server.port()), &format!(":{port}/"));
        let folder = tempfile::tempdir().unwrap();
        let vault = vault_at(&cut_url, folder.path()).unwrap();
        let cut_next = |commits| left.store(commits, Ordering::SeqCst);

        cut_next(1);
        push(&vault, 1, 1).unwrap();
        cut_next(3);
        push(&vault, 1, 2).unwrap();
        assert_eq!(left.load(Ordering::SeqCst), if matches!(cut, Cut::After) { 2 } else { 0 });
        cut_next(1);
        let refused = push(&vault, 1, 2);
        assert!(
            matches!(refused, Err(VaultError::VersionConflict { newest: 2, got: 2 })),
            "{refused:?}"
        );
        cut_next(1);
        let removal = Removal { secret: asset_secret(1), epoch: EPOCH, version: 3 };
        vault.remove(&removal).unwrap();
        cut_next(1);
        vault.rotate_key(None, |_| {}).unwrap();
        cut_next(0);
        push(&vault, 1, 4).unwrap();
        assert_eq!(vault.check(|_| {}).unwrap().damaged, Vec::<String>::new());
        let versions = server.query_in(&name, "SELECT array_agg(version) FROM vault_records");
        assert_eq!(versions.unwrap(), "{4}");
    }
}

/// What was written and then replaced by somebody else, before its writer could look: the writer is not told that it failed.
#[test]
fn a_write_whose_fate_cannot_be_known_is_told_as_that() {
    let (_server, _, url) = fresh();
    let folder = tempfile::tempdir().unwrap();
    let vault = vault_at(&url, folder.path()).unwrap();
    for version in 1..=3 {
        push(&vault, 1, version).unwrap();
    }
    let database = Database::at(&url.parse().unwrap()).unwrap();
    let record = vault.store.record(&asset_secret(1), 3).unwrap().unwrap();
    let (secret, keys) = (asset_secret(1), vault.store.fact(KEYS).unwrap().unwrap());
    let value = record.value.unwrap();
    let write = |version| Write {
        secret: &secret,
        version,
        record: Some((&record.header, &value)),
        superseded: &[],
        keys: &keys,
    };
    let doubted =
        |version| database.run(async |client, _| put(client, &write(version), true).await);
    assert_eq!(doubted(3).unwrap(), Written::Done, "these very bytes");
    let unknown = doubted(2).unwrap_err();
    assert!(matches!(unknown, VaultError::Unavailable { .. }), "{unknown:?}");
    assert_eq!(doubted(5).unwrap(), Written::NotNext { newest: 3 });
}

#[test]
fn a_commit_waits_for_the_disk_whatever_the_role_prefers() {
    let (server, name, url) = fresh();
    server.query(&format!("ALTER DATABASE {name} SET synchronous_commit = off")).unwrap();
    let database = Database::at(&url.parse().unwrap()).unwrap();
    let setting = database.run(async |client, _| {
        Ok(client.query_one("SHOW synchronous_commit", &[]).await?.try_get::<_, String>(0)?)
    });
    assert_eq!(setting.unwrap(), "on");
    let careless = Server::start_with(&["fsync=off"], &[]);
    let folder = tempfile::tempdir().unwrap();
    let refused = vault_at(&careless.database("vault"), folder.path()).unwrap_err();
    assert!(format!("{refused:?}").contains("does not sync"), "{refused:?}");
}

#[test]
fn tls_is_of_the_host_and_root_that_are_expected() {
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["localhost".into()]).unwrap().self_signed(&key).unwrap();
    let files = [("server.crt", certificate.pem()), ("server.key", key.serialize_pem())];
    let files = files.each_ref().map(|(name, text)| (*name, text.as_str()));
    let server = Server::start_with(&["ssl=on"], &files);
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root.pem");
    std::fs::write(&root, certificate.pem()).unwrap();
    let named = server.database("vault").replace("127.0.0.1", "localhost");
    let rooted = format!("sslmode=verify-full&sslrootcert={}", root.display());

    let vault = vault_at(&format!("{named}?{rooted}"), folder.path()).unwrap();
    push(&vault, 1, 1).unwrap();
    let encrypted = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'sesame'";
    assert_eq!(server.query(encrypted).unwrap(), "t");
    assert_eq!(
        newest(&vault_at(&format!("{named}?sslmode=require"), folder.path()).unwrap(), 1).unwrap(),
        1
    );

    let elsewhere = named.replace("localhost", "127.0.0.1");
    for url in [format!("{elsewhere}?{rooted}"), format!("{named}?sslmode=verify-full")] {
        let refused = vault_at(&url, folder.path()).unwrap_err();
        assert!(
            format!("{refused:?}").contains("InvalidCertificate")
                || matches!(refused, VaultError::NoRoots { .. }),
            "{refused:?}"
        );
    }
    let nowhere = format!("{named}?sslmode=verify-full&sslrootcert=/nowhere.pem");
    assert!(matches!(vault_at(&nowhere, folder.path()), Err(VaultError::NoRoots { .. })));
    // A server without TLS is not spoken to.
    let (_plain, _, url) = fresh();
    assert!(vault_at(&format!("{url}?sslmode=require"), folder.path()).is_err());
}
