//! What goes into the safe comes out for a release alone, once it is in it stays in, and once it is out it is gone.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use alloy_primitives::keccak256;
use sesame_domain::SecretName;
use sha2::{Digest, Sha256};

use super::*;
use crate::{
    decision::wanted,
    error::KeyError,
    testing::{
        EPOCH, Ground, World, asset_secret, content_of, metadata, owner_of, plaintext, requester,
        requester_secret, task_of, who, word,
    },
};

const CHAIN: u64 = 31337;
const LARGEST: usize = 4 << 20;

/// A vault of its own.
struct Scratch {
    vault: Option<Vault>,
    ground: Ground,
}

impl Scratch {
    fn new() -> Self {
        let mut scratch = Self { vault: None, ground: Ground::of(module_path!()) };
        scratch.vault = Some(scratch.open().unwrap());
        scratch
    }

    fn is_shared(&self) -> bool {
        self.ground.server.is_some()
    }

    /// The file of its one key.
    fn key(&self) -> PathBuf {
        let mut files = fs::read_dir(self.ground.folder.path().join("keys")).unwrap();
        files.next().unwrap().unwrap().path()
    }

    fn open(&self) -> Result<Vault, VaultError> {
        self.open_for(CHAIN, who(1))
    }

    fn open_for(&self, chain: u64, registry: Address) -> Result<Vault, VaultError> {
        Vault::open(&self.ground.records, &self.ground.keys, chain, registry)
    }

    fn close(&mut self) {
        self.vault = None;
    }

    fn reopen(&mut self) {
        self.close();
        self.vault = Some(self.open().unwrap());
    }

    fn vault(&self) -> &Vault {
        self.vault.as_ref().unwrap()
    }

    fn push(&self, secret: &SecretId, version: u64, value: &[u8]) -> Result<Metadata, VaultError> {
        let (owner, epoch) = match secret {
            SecretId::Asset(asset) => (owner_of(asset.0[0]), EPOCH),
            SecretId::Requester(address, _) => (*address, 0),
            SecretId::Iexec(_) => (owner_of(0), 0),
        };
        self.push_as(secret, metadata(owner, epoch, version), value)
    }

    fn push_as(
        &self,
        secret: &SecretId,
        metadata: Metadata,
        value: &[u8],
    ) -> Result<Metadata, VaultError> {
        let push = Push { secret: secret.clone(), metadata, value: plaintext(value) };
        self.vault().push(push)
    }

    fn remove(&self, secret: &SecretId, version: u64) -> Result<(), VaultError> {
        self.remove_in(EPOCH, secret, version)
    }

    fn remove_in(&self, epoch: u64, secret: &SecretId, version: u64) -> Result<(), VaultError> {
        self.vault().remove(&Removal { secret: secret.clone(), epoch, version })
    }

    /// The release of one resource, as the world allows it.
    fn release(&self, resource: Resource) -> Option<Release> {
        let mut world = World::new(resource);
        world.secrets = self.vault().look_up(&wanted(resource, &world.head)).unwrap();
        world.authorize().ok()
    }

    /// What the enclave gets of one resource; nothing if it is denied.
    fn get(&self, resource: Resource) -> Option<Vec<u8>> {
        let release = self.release(resource)?;
        let opened = self.vault().open_release(release).unwrap();
        assert_eq!(opened.len(), 1);
        Some(opened[0].value.expose().to_vec())
    }
}

fn app() -> SecretId {
    asset_secret(1)
}

fn conflict(result: Result<impl std::fmt::Debug, VaultError>) -> (u64, u64) {
    match result {
        Err(VaultError::VersionConflict { newest, got }) => (newest, got),
        other => panic!("expected a conflict of versions: {other:?}"),
    }
}

fn epoch_over(result: Result<impl std::fmt::Debug, VaultError>) -> (u64, u64) {
    match result {
        Err(VaultError::EpochOver { newest, got }) => (newest, got),
        other => panic!("expected an epoch that is over: {other:?}"),
    }
}

fn is_missing(result: Result<impl std::fmt::Debug, VaultError>) -> bool {
    matches!(result, Err(VaultError::Missing))
}

#[test]
fn a_secret_comes_out_as_it_went_in() {
    let scratch = Scratch::new();
    let pushed = scratch.push(&app(), 1, b"secret").unwrap();
    assert_eq!(pushed, Metadata { size: 6, ..metadata(owner_of(1), EPOCH, 1) });
    assert_eq!(scratch.vault().newest(&app()).unwrap(), Some(pushed));
    assert_eq!(scratch.get(Resource::AppSecret).unwrap(), b"secret");
}

#[test]
fn the_size_is_that_of_the_value_whatever_was_said() {
    let scratch = Scratch::new();
    let lie = Metadata { size: 999, ..metadata(owner_of(1), EPOCH, 1) };
    assert_eq!(scratch.push_as(&app(), lie, b"four").unwrap().size, 4);
    assert_eq!(scratch.get(Resource::AppSecret).unwrap(), b"four");
}

#[test]
fn any_bytes_of_any_size_come_back() {
    let scratch = Scratch::new();
    let values = [
        vec![0],
        (0..=u8::MAX).collect(),
        vec![0xff; (64 << 10) - 1],
        vec![0xee; 64 << 10],
        (0..LARGEST).map(|at| u8::try_from(at % 251).unwrap()).collect(),
    ];
    for (version, value) in (1..).zip(values) {
        scratch.push(&app(), version, &value).unwrap();
        let got = scratch.get(Resource::AppSecret).unwrap();
        assert!(got == value, "{} bytes", value.len());
    }
}

/// A bundle of five secrets: `app`, `first`, `fifth`, and one byte each for two protected data.
fn five_secrets() -> Scratch {
    let scratch = Scratch::new();
    scratch.push(&app(), 1, b"app").unwrap();
    scratch.push(&requester_secret("a"), 1, b"older").unwrap();
    scratch.push(&requester_secret("a"), 2, b"first").unwrap();
    scratch.push(&requester_secret("ab"), 1, b"fifth").unwrap();
    for byte in [2, 3] {
        let content_digest = content_of(byte);
        let metadata = Metadata { content_digest, ..metadata(owner_of(byte), EPOCH, 1) };
        scratch.push_as(&asset_secret(byte), metadata, &[byte]).unwrap();
    }
    scratch
}

#[test]
fn a_bundle_opens_every_secret_under_its_own_resource() {
    let scratch = five_secrets();
    let opened = scratch.vault().open_release(scratch.release(Resource::Bundle).unwrap()).unwrap();
    let opened: Vec<_> = opened.iter().map(|one| (one.resource, one.value.expose())).collect();
    let expected: [(_, &[u8]); 5] = [
        (Resource::AppSecret, b"app"),
        (Resource::RequesterSecret(1), b"first"),
        (Resource::RequesterSecret(5), b"fifth"),
        (Resource::ProtectedData(1), &[2]),
        (Resource::ProtectedData(2), &[3]),
    ];
    assert_eq!(opened, expected);
}

#[test]
fn what_does_not_fit_is_known_by_its_digest() {
    let scratch = five_secrets();
    let all: [(_, _, &[u8]); 5] = [
        (Resource::AppSecret, 1, b"app"),
        (Resource::RequesterSecret(1), 2, b"first"),
        (Resource::RequesterSecret(5), 1, b"fifth"),
        (Resource::ProtectedData(1), 1, &[2]),
        (Resource::ProtectedData(2), 1, &[3]),
    ];
    for (bytes, fitting) in
        [(0, 0), (2, 0), (3, 1), (7, 1), (8, 2), (12, 2), (13, 3), (14, 4), (15, 5), (u64::MAX, 5)]
    {
        let release = scratch.release(Resource::Bundle).unwrap();
        let (opened, omitted) = scratch.vault().open_within(release, bytes).unwrap();
        let opened: Vec<_> =
            opened.iter().map(|one| (one.resource, one.version, one.value.expose())).collect();
        assert_eq!(opened, all[..fitting], "{bytes} bytes");
        let expected = all[fitting..].iter().map(|(of, version, value)| {
            let digest = B256::new(Sha256::digest(value).into());
            Omitted { resource: *of, version: *version, digest }
        });
        assert_eq!(omitted, expected.collect::<Vec<_>>(), "{bytes} bytes");
    }
}

#[test]
fn what_does_not_fit_and_is_gone_or_altered_refuses_the_whole() {
    let scratch = five_secrets();
    let store = &scratch.vault().store;
    let key = asset_secret(3);
    let header = store.record(&key, 1).unwrap().unwrap().header;
    let release = scratch.release(Resource::Bundle).unwrap();
    store.forge(&key, 1, Some((&header, &[0; 29]))).unwrap();
    let refused = scratch.vault().open_within(release, 3);
    assert!(matches!(refused, Err(VaultError::Damaged)), "{refused:?}");
    let release = scratch.release(Resource::Bundle).unwrap();
    scratch.remove(&key, 2).unwrap();
    assert!(is_missing(scratch.vault().open_within(release, 3)));
}

#[test]
fn versions_rise_by_one() {
    let scratch = Scratch::new();
    for got in [0, 2, u64::MAX] {
        assert_eq!(conflict(scratch.push(&app(), got, b"no")), (0, got));
    }
    scratch.push(&app(), 1, b"one").unwrap();
    for got in [0, 1, 3, u64::MAX] {
        assert_eq!(conflict(scratch.push(&app(), got, b"no")), (1, got));
    }
    scratch.push(&app(), 2, b"two").unwrap();
    assert_eq!(conflict(scratch.push(&app(), 2, b"no")), (2, 2));
    assert_eq!(scratch.get(Resource::AppSecret).unwrap(), b"two");
}

/// A writer whose version is two above the newest, until another writer makes it the next one: what that one wrote goes too.
#[test]
fn a_version_that_was_too_early_when_it_set_out_supersedes_all_before_it() {
    let scratch = Scratch::new();
    for number in 0..100 {
        let secret = requester_secret(&format!("n{number}"));
        let push = |version| match scratch.push(&secret, version, b"value") {
            Ok(_) => true,
            Err(VaultError::VersionConflict { .. }) => false,
            Err(error) => panic!("{error}"),
        };
        std::thread::scope(|scope| {
            scope.spawn(|| while !push(2) {});
            assert!(push(1));
        });
        let entries = scratch.vault().store.entries(&secret).unwrap();
        let versions: Vec<u64> = entries.iter().map(|entry| entry.version).collect();
        assert_eq!(versions, [2]);
    }
}

/// What is superseded while it is read is there or not, but never damaged.
#[test]
fn a_record_that_goes_while_it_is_read_is_whole_or_missing() {
    let scratch = Scratch::new();
    let newest = || scratch.vault().newest_version(&app()).unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for version in 1..=300 {
                scratch.push(&app(), version, b"value").unwrap();
            }
        });
        while !writer.is_finished() {
            let record = scratch.vault().store.record(&app(), newest()).unwrap();
            assert!(record.is_none_or(|record| record.value.is_some()));
        }
    });
}

#[test]
fn what_never_was_cannot_be_removed() {
    let scratch = Scratch::new();
    assert!(is_missing(scratch.remove(&app(), 0)));
    assert!(is_missing(scratch.remove(&app(), 1)));
    assert_eq!(scratch.vault().newest_version(&app()).unwrap(), 0);
    assert_eq!(scratch.vault().newest(&app()).unwrap(), None);
}

#[test]
fn a_tombstone_hides_everything_before_it() {
    let scratch = Scratch::new();
    scratch.push(&app(), 1, b"one").unwrap();
    scratch
        .push_as(
            &app(),
            Metadata { content_digest: word(9), ..metadata(owner_of(1), EPOCH, 2) },
            b"two",
        )
        .unwrap();
    for got in [0, 1, 2, 4] {
        assert_eq!(conflict(scratch.remove(&app(), got)), (2, got));
    }
    scratch.remove(&app(), 3).unwrap();
    assert_eq!(scratch.vault().newest(&app()).unwrap(), None);
    assert_eq!(scratch.vault().newest_version(&app()).unwrap(), 3);
    assert_eq!(scratch.get(Resource::AppSecret), None);
    assert!(is_missing(scratch.remove(&app(), 4)));
    for version in 1..=3 {
        assert!(scratch.vault().store.record(&app(), version).unwrap().is_none());
    }
}

/// A bug: what a seller had sent before a sale, and a store that hung had kept from coming down, came down on what the buyer had pushed
/// since, with the number that follows.
#[test]
fn who_sold_it_replaces_and_removes_nothing_of_the_next_owners() {
    let mut scratch = Scratch::new();
    let of = |who, epoch, version| metadata(owner_of(who), epoch, version);
    scratch.push_as(&app(), of(1, EPOCH, 1), b"the seller's").unwrap();
    scratch.push_as(&app(), of(2, EPOCH + 1, 2), b"the buyer's").unwrap();
    scratch.reopen();

    let carried = Metadata { transferable: true, ..of(1, EPOCH, 3) };
    let other_content = Metadata { content_digest: word(9), ..of(1, EPOCH, 3) };
    for late in [of(1, EPOCH, 3), of(1, 0, 3), carried, other_content] {
        assert_eq!(epoch_over(scratch.push_as(&app(), late, b"late")).0, EPOCH + 1);
    }
    assert_eq!(epoch_over(scratch.remove_in(EPOCH, &app(), 3)), (EPOCH + 1, EPOCH));
    let kept = scratch.vault().newest(&app()).unwrap().unwrap();
    assert_eq!((kept.version, kept.epoch, kept.owner), (2, EPOCH + 1, owner_of(2)));

    scratch.push_as(&app(), of(2, EPOCH + 1, 3), b"the buyer's next").unwrap();
    scratch.remove_in(EPOCH + 2, &app(), 4).unwrap();
}

#[test]
fn numbering_goes_on_after_a_removal() {
    let mut scratch = Scratch::new();
    scratch.push(&app(), 1, b"one").unwrap();
    scratch.remove(&app(), 2).unwrap();
    scratch.reopen();
    for got in [1, 2, 4] {
        assert_eq!(conflict(scratch.push(&app(), got, b"no")), (2, got));
    }
    scratch.push(&app(), 3, b"three").unwrap();
    assert_eq!(scratch.get(Resource::AppSecret).unwrap(), b"three");
    scratch.remove(&app(), 4).unwrap();
    scratch.push(&app(), 5, b"five").unwrap();
    assert_eq!(scratch.vault().newest_version(&app()).unwrap(), 5);
}

#[test]
fn a_superseded_value_is_gone() {
    let scratch = Scratch::new();
    scratch.push(&app(), 1, b"one").unwrap();
    scratch.push(&app(), 2, b"two").unwrap();
    assert!(scratch.vault().store.record(&app(), 1).unwrap().is_none());
    assert_eq!(scratch.vault().store.entries(&app()).unwrap().len(), 1);
}

#[test]
fn keys_of_different_content_live_side_by_side() {
    let scratch = Scratch::new();
    let key = asset_secret(2);
    let push = |version, content_digest, value: &[u8]| {
        let metadata = Metadata { content_digest, ..metadata(owner_of(2), EPOCH, version) };
        scratch.push_as(&key, metadata, value).unwrap();
    };
    let get = || scratch.get(Resource::ProtectedData(1));
    push(1, word(9), b"of other content");
    assert_eq!(get(), None);
    push(2, content_of(2), b"of the content bought");
    push(3, word(9), b"of other content, again");
    push(4, word(10), b"of newer content");
    assert_eq!(get().unwrap(), b"of the content bought");
    let versions = scratch.vault().store.entries(&key).unwrap();
    let versions = versions.into_iter().map(|entry| entry.version);
    assert_eq!(versions.collect::<Vec<_>>(), [4, 3, 2], "1 was superseded by 3");
    push(5, content_of(2), b"of the content bought, again");
    assert_eq!(get().unwrap(), b"of the content bought, again");
    scratch.remove(&key, 6).unwrap();
    assert_eq!(get(), None);
    push(7, word(9), b"after the tombstone");
    assert_eq!(get(), None, "a tombstone is not looked behind");
}

#[test]
fn of_too_many_contents_the_oldest_goes() {
    let scratch = Scratch::new();
    let (key, most) = (asset_secret(2), LIVE_VERSIONS as u64);
    for version in 1..=most + 2 {
        let content_digest = B256::with_last_byte(u8::try_from(version).unwrap());
        let metadata = Metadata { content_digest, ..metadata(owner_of(2), EPOCH, version) };
        scratch.push_as(&key, metadata, b"key").unwrap();
    }
    let entries = scratch.vault().store.entries(&key).unwrap();
    let versions: Vec<_> = entries.into_iter().map(|entry| entry.version).collect();
    assert_eq!(versions, (3..=most + 2).rev().collect::<Vec<_>>());
    assert!(scratch.vault().store.record(&key, 2).unwrap().is_none());
}

#[test]
fn secrets_do_not_run_into_each_other() {
    let scratch = Scratch::new();
    let name = |text: &str| text.parse::<SecretName>().unwrap();
    let longest = "x".repeat(64);
    let mut secrets = vec![asset_secret(1), asset_secret(2), asset_secret(0), asset_secret(0xff)];
    for text in ["a", "ab", "b", "aa", "A", "0", "-", "_", longest.as_str(), &longest[1..]] {
        secrets.push(requester_secret(text));
        secrets.push(SecretId::Requester(who(0x21), name(text)));
        secrets.push(SecretId::Requester(Address::ZERO, name(text)));
    }
    for (version, secret) in (1_u8..).zip(&secrets) {
        for write in 1..=u64::from(version % 3 + 1) {
            scratch.push(secret, write, &[version]).unwrap();
        }
    }
    for (version, secret) in (1_u8..).zip(&secrets) {
        let newest = u64::from(version % 3 + 1);
        assert_eq!(scratch.vault().newest_version(secret).unwrap(), newest, "{secret}");
        assert_eq!(scratch.vault().store.entries(secret).unwrap().len(), 1, "{secret}");
    }
    scratch
        .remove(
            &requester_secret("a"),
            scratch.vault().newest_version(&requester_secret("a")).unwrap() + 1,
        )
        .unwrap();
    let left = secrets.iter().filter(|secret| scratch.vault().newest(secret).unwrap().is_some());
    assert_eq!(left.count(), secrets.len() - 1);
}

#[test]
fn everything_survives_closing() {
    let mut scratch = Scratch::new();
    let large = vec![7; LARGEST];
    scratch.push(&app(), 1, b"one").unwrap();
    scratch.push(&requester_secret("a"), 1, &large).unwrap();
    scratch.push(&requester_secret("ab"), 1, b"gone").unwrap();
    scratch.remove(&requester_secret("ab"), 2).unwrap();
    let newest = scratch.vault().newest(&app()).unwrap();
    scratch.reopen();
    assert_eq!(scratch.vault().newest(&app()).unwrap(), newest);
    assert_eq!(scratch.get(Resource::AppSecret).unwrap(), b"one");
    assert!(scratch.get(Resource::RequesterSecret(1)).unwrap() == large);
    assert_eq!(scratch.get(Resource::RequesterSecret(5)), None);
    assert_eq!(scratch.vault().newest_version(&requester_secret("ab")).unwrap(), 2);
}

#[test]
fn another_key_is_refused() {
    let mut scratch = Scratch::new();
    scratch.push(&app(), 1, b"one").unwrap();
    scratch.close();
    let key = scratch.key();
    let good = fs::read(&key).unwrap();
    fs::write(&key, "11".repeat(32)).unwrap();
    assert!(matches!(scratch.open(), Err(VaultError::Key(KeyError::Misnamed { .. }))));
    fs::write(&key, "no key").unwrap();
    assert!(matches!(scratch.open(), Err(VaultError::Key(KeyError::Malformed { .. }))));
    fs::write(&key, good).unwrap();
    scratch.reopen();
    assert_eq!(scratch.get(Resource::AppSecret).unwrap(), b"one");
}

#[test]
fn a_vault_that_exists_never_gets_a_new_key() {
    let mut scratch = Scratch::new();
    scratch.close();
    let key = scratch.key();
    let good = fs::read(&key).unwrap();
    fs::remove_file(&key).unwrap();
    assert!(matches!(scratch.open(), Err(VaultError::Key(KeyError::Missing { .. }))));
    assert!(!key.exists());
    fs::create_dir_all(key.parent().unwrap()).unwrap();
    fs::write(&key, good).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(&key, mode).unwrap();
    scratch.reopen();
}

#[test]
fn a_vault_of_another_chain_or_registry_is_refused() {
    let mut scratch = Scratch::new();
    scratch.close();
    for (chain, registry) in [(1, who(1)), (CHAIN, who(2)), (CHAIN, Address::ZERO), (0, who(1))] {
        let refused = scratch.open_for(chain, registry);
        assert!(matches!(refused, Err(VaultError::OtherOrigin)), "{chain}, {registry}");
    }
    scratch.reopen();
}

#[test]
fn a_folder_has_one_handle_and_a_database_many() {
    let scratch = Scratch::new();
    let second = scratch.open();
    if !scratch.is_shared() {
        return assert!(matches!(second, Err(VaultError::Store(_))));
    }
    scratch.push(&app(), 1, b"one").unwrap();
    assert_eq!(second.unwrap().newest_version(&app()).unwrap(), 1);
}

#[test]
fn of_concurrent_pushes_of_a_version_one_wins() {
    let scratch = Scratch::new();
    for version in 1..=5 {
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let push = |byte: u8| {
                let scratch = &scratch;
                scope.spawn(move || (byte, scratch.push(&app(), version, &[byte; 32])))
            };
            let threads: Vec<_> = (0..8).map(push).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let (won, lost): (Vec<_>, Vec<_>) =
            outcomes.into_iter().partition(|(_, outcome)| outcome.is_ok());
        assert_eq!((won.len(), lost.len()), (1, 7));
        for (_, outcome) in lost {
            assert_eq!(conflict(outcome), (version, version));
        }
        assert_eq!(scratch.get(Resource::AppSecret).unwrap(), [won[0].0; 32]);
    }
}

#[test]
fn concurrent_pushes_of_different_secrets_all_win() {
    let scratch = Scratch::new();
    std::thread::scope(|scope| {
        for byte in 0..8_u8 {
            let scratch = &scratch;
            scope.spawn(move || {
                for version in 1..=5 {
                    scratch.push(&asset_secret(byte), version, &[byte]).unwrap();
                }
            });
        }
    });
    for byte in 0..8 {
        assert_eq!(scratch.vault().newest_version(&asset_secret(byte)).unwrap(), 5);
    }
}

#[test]
fn a_release_of_what_was_removed_or_replaced_since_opens_nothing() {
    let scratch = Scratch::new();
    scratch.push(&app(), 1, b"one").unwrap();
    let release = scratch.release(Resource::AppSecret).unwrap();
    scratch.push(&app(), 2, b"two").unwrap();
    assert!(is_missing(scratch.vault().open_release(release)));
    let release = scratch.release(Resource::AppSecret).unwrap();
    scratch.remove(&app(), 3).unwrap();
    assert!(is_missing(scratch.vault().open_release(release)));
    assert!(scratch.release(Resource::AppSecret).is_none());
}

#[test]
fn a_release_opens_nothing_if_one_secret_of_it_is_gone() {
    let scratch = Scratch::new();
    scratch.push(&requester_secret("a"), 1, b"a").unwrap();
    scratch.push(&requester_secret("ab"), 1, b"ab").unwrap();
    let mut world = World::new(Resource::Bundle).both(|facts| {
        task_of(facts).order.data.clear();
        facts.data.clear();
    });
    world.secrets = scratch.vault().look_up(&wanted(Resource::Bundle, &world.head)).unwrap();
    let release = world.authorize().unwrap();
    assert_eq!(release.items().len(), 2);
    scratch.remove(&requester_secret("ab"), 2).unwrap();
    assert!(is_missing(scratch.vault().open_release(release)));
}

#[test]
fn records_swapped_within_the_store_do_not_open() {
    let scratch = Scratch::new();
    let (mine, theirs) = (app(), asset_secret(9));
    scratch.push(&mine, 1, b"mine").unwrap();
    scratch.push(&theirs, 1, b"theirs").unwrap();
    let store = &scratch.vault().store;
    let header = |secret| store.record(secret, 1).unwrap().unwrap().header;
    let value = |secret| store.record(secret, 1).unwrap().unwrap().value.unwrap();
    let check = |forged: record::Header, altered: Vec<u8>| {
        let good = (header(&mine), value(&mine));
        store.forge(&mine, 1, Some((&forged, &altered))).unwrap();
        let release = scratch.release(Resource::AppSecret).unwrap();
        let opened = scratch.vault().open_release(release);
        assert!(matches!(opened, Err(VaultError::Damaged)), "{opened:?}");
        store.forge(&mine, 1, Some((&good.0, &good.1))).unwrap();
    };
    check(header(&mine), value(&theirs));
    let mut lifted = header(&theirs);
    lifted.metadata.owner = owner_of(1);
    check(lifted.clone(), value(&theirs));
    check(lifted, value(&mine));
    let mut raised = header(&mine);
    raised.metadata.transferable = true;
    check(raised, value(&mine));
    check(header(&mine), Vec::new());
    assert_eq!(scratch.get(Resource::AppSecret).unwrap(), b"mine");
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| {
            if path.is_dir() { files(&path) } else { vec![(path.clone(), fs::read(path).unwrap())] }
        })
        .collect()
}

#[test]
fn no_file_of_the_store_holds_a_secret_or_the_key_in_the_clear() {
    const MARKER: &[u8] = b"the owl flies at midnight";
    let mut scratch = Scratch::new();
    scratch.push(&app(), 1, MARKER).unwrap();
    let canary = keccak256("what the scan must find");
    let known = Metadata { sealed_digest: canary, ..metadata(owner_of(1), EPOCH, 2) };
    scratch.push_as(&app(), known, &MARKER.repeat(10)).unwrap();
    scratch.push(&requester_secret("a"), 1, &MARKER.repeat(LARGEST / MARKER.len())).unwrap();
    scratch.push(&requester_secret("ab"), 1, MARKER).unwrap();
    scratch.remove(&requester_secret("ab"), 2).unwrap();
    scratch.reopen();
    assert_eq!(scratch.get(Resource::AppSecret).unwrap(), MARKER.repeat(10));
    scratch.close();
    let hex_key = fs::read_to_string(scratch.key()).unwrap();
    let key = hex::decode(hex_key.trim()).unwrap();
    let files = match &scratch.ground.server {
        None => files(&scratch.ground.folder.path().join("vault")),
        Some((server, _)) => files(&server.files_at_rest()),
    };
    if !scratch.is_shared() {
        let names: BTreeSet<_> = files.iter().filter_map(|(path, _)| path.extension()).collect();
        assert!(names.len() > 1, "logs and tables: {names:?}");
    }
    assert!(files.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() > LARGEST);
    let holds = |needle: &[u8]| {
        files.iter().any(|(_, bytes)| bytes.windows(needle.len()).any(|window| window == needle))
    };
    assert!(holds(canary.as_slice()), "the scan finds what is there");
    assert!(!holds(&MARKER[..12]), "a secret in the clear");
    assert!(!holds(&key), "the key");
    assert!(!holds(hex_key.trim().as_bytes()), "the key in hexadecimal");
}

#[test]
fn nothing_prints_a_secret() {
    let push = Push {
        secret: requester_secret("a"),
        metadata: metadata(requester(), 0, 1),
        value: plaintext(b"owl"),
    };
    let printed = format!("{push:?}");
    assert!(printed.contains("Plaintext(3 bytes)"), "{printed}");
    assert!(!printed.contains("owl") && !printed.contains("111, 119, 108"), "{printed}");
}
