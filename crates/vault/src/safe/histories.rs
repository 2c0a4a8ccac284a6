//! Random histories of several writers against a model: versions rise by one and never fall, what was acknowledged is there, what
//! is opened is what was pushed under that version, while keys rotate and vaults are opened again. For every store.
//!
//! `SESAME_TEST_ALL=1` tells more of them, `SESAME_TEST_SEED=N` the one that a failure named: what each writer tries is repeated,
//! though not how they take turns.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use sesame_domain::{Resource, SecretId};

use super::*;
use crate::{
    decision::wanted,
    testing::{
        EPOCH, Ground, World, asset_secret, metadata, owner_of, plaintext, requester,
        requester_secret, who,
    },
};

const WRITERS: u64 = 4;
const STEPS: usize = 40;

/// Says which history it was that failed.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("SESAME_TEST_SEED={}", self.0);
        }
    }
}

/// What a version is: a value, or none for a tombstone.
type Versions = BTreeMap<u64, Option<Vec<u8>>>;

/// A secret, and what is known of it beside the vault.
struct Kept {
    secret: SecretId,
    resource: Resource,
    /// The highest version that was acknowledged.
    newest: AtomicU64,
    acknowledged: Mutex<Versions>,
}

impl Kept {
    fn all() -> [Self; 3] {
        let of = |secret, resource| Self {
            secret,
            resource,
            newest: AtomicU64::new(0),
            acknowledged: Mutex::default(),
        };
        [
            of(asset_secret(1), Resource::AppSecret),
            of(requester_secret("a"), Resource::RequesterSecret(1)),
            of(requester_secret("ab"), Resource::RequesterSecret(5)),
        ]
    }

    fn metadata(&self, version: u64) -> Metadata {
        match self.secret {
            SecretId::Asset(_) => metadata(owner_of(1), EPOCH, version),
            SecretId::Requester(..) | SecretId::Iexec(_) => metadata(requester(), 0, version),
        }
    }

    fn removal(&self, version: u64) -> Removal {
        Removal { secret: self.secret.clone(), epoch: self.metadata(version).epoch, version }
    }

    /// No version is acknowledged twice.
    fn acknowledge(&self, version: u64, value: Option<Vec<u8>>) {
        let before = self.acknowledged.lock().unwrap().insert(version, value);
        assert_eq!(before, None, "{} version {version} was written twice", self.secret);
        self.newest.fetch_max(version, Ordering::SeqCst);
    }
}

/// The replicas of one vault; one of them where the store is one process's.
struct Replicas<'a> {
    at: &'a Location,
    keys: &'a KeySource,
    vaults: Vec<RwLock<Option<Vault>>>,
}

impl<'a> Replicas<'a> {
    fn open(at: &'a Location, keys: &'a KeySource, number: usize) -> Self {
        let vaults = (0..number).map(|_| RwLock::default()).collect();
        let replicas = Self { at, keys, vaults };
        (0..number).for_each(|number| replicas.reopen(number));
        replicas
    }

    fn reopen(&self, number: usize) {
        let mut vault = self.vaults[number].write().unwrap();
        *vault = None;
        *vault = Some(Vault::open(self.at, self.keys, 31337, who(1)).unwrap());
    }

    fn with<T>(&self, number: usize, work: impl FnOnce(&Vault) -> T) -> T {
        work(self.vaults[number].read().unwrap().as_ref().unwrap())
    }
}

/// One who tries what comes to their mind.
struct Writer<'a> {
    number: u64,
    random: StdRng,
    replicas: &'a Replicas<'a>,
    kept: &'a [Kept; 3],
    worlds: [World; 3],
    values: u64,
}

impl Writer<'_> {
    fn step(&mut self) {
        let replica = self.random.random_range(0..self.replicas.vaults.len());
        let which = self.random.random_range(0..self.kept.len());
        match self.random.random_range(0..100) {
            0..45 => self.push(replica, which),
            45..60 => self.remove(replica, which),
            60..90 => self.read(replica, which),
            90..96 => self.rotate(replica),
            _ => self.replicas.reopen(replica),
        }
    }

    /// The newest version, which is never below one that was acknowledged.
    fn newest(&self, vault: &Vault, kept: &Kept) -> u64 {
        let acknowledged = kept.newest.load(Ordering::SeqCst);
        let newest = vault.newest_version(&kept.secret).unwrap();
        assert!(newest >= acknowledged, "{} fell from {acknowledged} to {newest}", kept.secret);
        newest
    }

    /// Mostly the next version; sometimes another, which is refused.
    fn version(&mut self, newest: u64) -> u64 {
        match self.random.random_range(0..10) {
            0 => newest,
            1 => newest + 2,
            _ => newest + 1,
        }
    }

    fn push(&mut self, replica: usize, which: usize) {
        let (replicas, kept) = (self.replicas, &self.kept[which]);
        replicas.with(replica, |vault| {
            let newest = self.newest(vault, kept);
            let version = self.version(newest);
            self.values += 1;
            let mut value =
                format!("{} {version} {} {} ", kept.secret, self.number, self.values).into_bytes();
            value.resize(value.len() + self.random.random_range(0..2000), b'.');
            let push = Push {
                secret: kept.secret.clone(),
                metadata: kept.metadata(version),
                value: plaintext(&value),
            };
            match vault.push(push) {
                Ok(pushed) => {
                    assert_eq!((pushed.version, pushed.size), (version, value.len() as u64));
                    kept.acknowledge(version, Some(value));
                }
                Err(error) => refused(&error, newest, version),
            }
        });
    }

    fn remove(&mut self, replica: usize, which: usize) {
        let (replicas, kept) = (self.replicas, &self.kept[which]);
        replicas.with(replica, |vault| {
            let newest = self.newest(vault, kept);
            let version = self.version(newest);
            match vault.remove(&kept.removal(version)) {
                Ok(()) => kept.acknowledge(version, None),
                Err(VaultError::Missing) => {}
                Err(error) => refused(&error, newest, version),
            }
        });
    }

    /// What is opened is what was pushed under that version.
    fn read(&mut self, replica: usize, which: usize) {
        let (replicas, kept, world) = (self.replicas, &self.kept[which], &mut self.worlds[which]);
        replicas.with(replica, |vault| {
            let acknowledged = kept.newest.load(Ordering::SeqCst);
            let question = wanted(kept.resource, &world.head);
            world.secrets = vault.look_up(&question).unwrap();
            let Ok(release) = world.authorize() else { return };
            match vault.open_release(release).as_deref() {
                Ok([opened]) => {
                    assert!(opened.version >= acknowledged, "an older version was released");
                    let begin = format!("{} {} ", kept.secret, opened.version).into_bytes();
                    assert!(opened.value.expose().starts_with(&begin), "another's value");
                }
                // Another writer was faster.
                Err(VaultError::Missing) => {}
                other => panic!("{other:?}"),
            }
        });
    }

    fn rotate(&self, replica: usize) {
        match self.replicas.with(replica, |vault| vault.rotate_key(None, |_| {})) {
            Ok(_) | Err(VaultError::KeysChanging) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// A write may be refused because another one came first, or because it was none that could follow.
fn refused(error: &VaultError, seen: u64, version: u64) {
    if matches!(error, VaultError::KeysChanging) {
        return;
    }
    let VaultError::VersionConflict { newest, got } = error else { panic!("{error}") };
    assert_eq!(*got, version);
    assert!(*newest >= seen, "the newest version fell from {seen} to {newest}");
    assert_ne!(newest + 1, version, "the next version was refused");
}

/// What is left in the end is what the model says, for each vault and for one that is opened then.
fn is_what_was_acknowledged(replicas: &Replicas<'_>, kept: &[Kept; 3], worlds: &mut [World; 3]) {
    for number in 0..replicas.vaults.len() {
        replicas.with(number, |vault| {
            let mut live = 0;
            for (kept, world) in kept.iter().zip(worlds.iter_mut()) {
                let acknowledged = kept.acknowledged.lock().unwrap();
                let versions: Vec<u64> = acknowledged.keys().copied().collect();
                let newest = vault.newest_version(&kept.secret).unwrap();
                assert_eq!(versions, (1..=newest).collect::<Vec<_>>(), "{}", kept.secret);
                world.secrets = vault.look_up(&wanted(kept.resource, &world.head)).unwrap();
                let value = world.authorize().ok().map(|release| {
                    let opened = vault.open_release(release).unwrap();
                    assert_eq!(opened[0].version, newest);
                    opened[0].value.expose().to_vec()
                });
                let expected = acknowledged.last_key_value();
                assert_eq!(value, expected.and_then(|(_, value)| value.clone()), "{}", kept.secret);
                live += u64::from(value.is_some());
            }
            let tally = vault.check(|_| {}).unwrap();
            assert_eq!((tally.records, tally.damaged), (live, Vec::new()));
        });
    }
}

/// One history at a place where there is no vault yet, told by this many replicas of it.
pub(crate) fn tell(at: &Location, keys: &KeySource, replicas: usize, seed: u64) {
    let _told = Seed(seed);
    let (kept, replicas) = (Kept::all(), Replicas::open(at, keys, replicas));
    let worlds = kept.each_ref().map(|kept| World::new(kept.resource));
    std::thread::scope(|scope| {
        for number in 0..WRITERS {
            let (replicas, kept, worlds) = (&replicas, &kept, worlds.clone());
            scope.spawn(move || {
                let random = StdRng::seed_from_u64(seed * WRITERS + number);
                let mut writer = Writer { number, random, replicas, kept, worlds, values: 0 };
                (0..STEPS).for_each(|_| writer.step());
            });
        }
    });
    let mut worlds = worlds;
    is_what_was_acknowledged(&replicas, &kept, &mut worlds);
    (0..replicas.vaults.len()).for_each(|number| replicas.reopen(number));
    is_what_was_acknowledged(&replicas, &kept, &mut worlds);
}

/// Which histories are told: so many, or all of them, or the one that is asked for.
#[expect(clippy::disallowed_methods, reason = "tests have no configuration")]
pub(crate) fn seeds(some: u64, all: u64) -> Vec<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("SESAME_TEST_SEED") {
        return vec![seed];
    }
    (0..if number("SESAME_TEST_ALL") == Some(1) { all } else { some }).collect()
}

#[test]
fn in_postgres_versions_never_fall_and_nothing_is_lost() {
    for seed in seeds(3, 100) {
        let ground = Ground::of("on_postgres");
        tell(&ground.records, &ground.keys, 3, seed);
    }
}

#[test]
fn in_rocksdb_versions_never_fall_and_nothing_is_lost() {
    for seed in seeds(6, 300) {
        let folder = tempfile::tempdir().unwrap();
        let [records, keys] = ["vault", "keys"].map(|name| folder.path().join(name));
        tell(&Location::Folder(records), &KeySource::Folder(keys), 1, seed);
    }
}
