//! A backup comes back as it was or not at all, and nothing is replaced by what was not verified.

use std::{
    collections::BTreeMap,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use alloy_primitives::{Address, B256};
use rand::{Rng, RngCore, SeedableRng, rngs::StdRng};
use sesame_domain::SecretId;
use tempfile::TempDir;

use super::{
    restore::{Replaced, Restore, Restored},
    *,
};
use crate::{
    error::KeyError,
    record::Metadata,
    safe::{Location, Push, Removal},
    testing::{
        asset_secret, metadata, owner_of, places, plaintext, requester_secret, server, vault_in,
        who,
    },
};

const NOW: u64 = 1_800_000_000;
const CHAIN: u64 = 31337;

/// A vault in a folder of its own, and what belongs to it.
struct Scratch(TempDir);

impl Scratch {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Another folder with the same keys.
    fn with_keys_of(other: &Self) -> Self {
        let scratch = Self::new();
        fs::create_dir(scratch.path("keys")).unwrap();
        for key in fs::read_dir(other.path("keys")).unwrap().map(Result::unwrap) {
            fs::copy(key.path(), scratch.path("keys").join(key.file_name())).unwrap();
        }
        scratch
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn vault(&self) -> Vault {
        let vault = vault_in(self.0.path());
        vault.belongs_to(who(7)).unwrap();
        vault
    }

    fn keys(&self) -> Vec<PathBuf> {
        fs::read_dir(self.path("keys")).unwrap().map(|file| file.unwrap().path()).collect()
    }

    fn to(&self) -> Restore {
        let (at, keys) = places(self.0.path());
        Restore { at, keys, chain_id: CHAIN, registry: who(1), identity: who(7), replace: false }
    }

    fn restore(&self, file: &Path) -> Result<Restored, VaultError> {
        self.to().run(file, |_| {})
    }

    fn replace(&self, file: &Path) -> Result<Restored, VaultError> {
        Restore { replace: true, ..self.to() }.run(file, |_| {})
    }

    fn verify(&self, file: &Path) -> Result<Backup, VaultError> {
        self.to().verify(file, |_| {})
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }
}

fn backed_up(vault: &Vault) -> Vec<u8> {
    let mut file = Vec::new();
    vault.backup(&mut file, NOW, |_| {}).unwrap();
    file
}

fn push(vault: &Vault, secret: &SecretId, version: u64, content: B256, value: &[u8]) {
    let owner = match secret {
        SecretId::Asset(asset) => owner_of(asset.0[0]),
        SecretId::Requester(address, _) => *address,
        SecretId::Iexec(_) => owner_of(0),
    };
    let metadata = Metadata { content_digest: content, ..metadata(owner, 0, version) };
    vault.push(Push { secret: secret.clone(), metadata, value: plaintext(value) }).unwrap();
}

fn push_named(vault: &Vault, name: &str, version: u64, value: &[u8]) {
    push(vault, &requester_secret(name), version, B256::ZERO, value);
}

/// Headers and values by key.
type Records = BTreeMap<Vec<u8>, (Option<Header>, Vec<u8>)>;

/// Everything that lies in it.
fn all(vault: &Vault) -> (Facts, Records) {
    let mut moment = vault.store.moment().unwrap();
    let (facts, mut records) = (moment.facts().unwrap(), BTreeMap::new());
    let each = &mut |found: Found| {
        let (_, entry) = found.record.unwrap();
        records.insert(found.key, (entry.header, found.value.unwrap_or_default()));
        Ok(())
    };
    moment.walk(Values::Read, each).unwrap();
    (facts, records)
}

fn seeded() -> StdRng {
    let seed = rand::random();
    eprintln!("seed {seed}");
    StdRng::seed_from_u64(seed)
}

/// Hundreds of secrets of all sizes and kinds.
fn fill(vault: &Vault, random: &mut StdRng) {
    let mut value = vec![0; 4 << 20];
    random.fill_bytes(&mut value);
    let sizes = [1, 2, 65_507, 65_508, 65_509, 1 << 20, 4 << 20];
    for number in 0..300_usize {
        let random_size = 1 << random.random_range(0..14);
        let size = sizes.get(number).copied().unwrap_or(random_size);
        let secret = match number % 3 {
            0 => asset_secret(u8::try_from(number / 3).unwrap()),
            _ => requester_secret(&format!("n{number}")),
        };
        let versions = random.random_range(1..4);
        for version in 1..=versions {
            let content = B256::repeat_byte(u8::try_from(version).unwrap());
            push(vault, &secret, version, content, &value[..size]);
        }
        if number % 10 == 9 {
            vault.remove(&Removal { secret, epoch: 0, version: versions + 1 }).unwrap();
        }
    }
    for byte in [1, 2] {
        let public = B256::repeat_byte(byte);
        vault.add_sealing_key(public, &[byte; 32], NOW, NOW + 100).unwrap();
    }
}

#[test]
fn what_was_backed_up_comes_back_bit_by_bit() {
    let (mut random, scratch) = (seeded(), Scratch::new());
    let vault = scratch.vault();
    fill(&vault, &mut random);
    let mut heard = 0;
    let mut file = Vec::new();
    let backup = vault.backup(&mut file, NOW, |_| heard += 1).unwrap();
    let tally = vault.check(|_| {}).unwrap();
    let Contents { records, bytes, tombstones } = backup.contents;
    assert_eq!((records, bytes, tombstones), (tally.records, tally.bytes, tally.tombstones));
    assert_eq!((heard, tombstones), (records + tombstones, 30));
    assert_eq!(backup.keys, [vault.ring().sealing().id()]);

    let other = Scratch::with_keys_of(&scratch);
    let file = other.write("backup", &file);
    assert_eq!(other.verify(&file).unwrap(), backup);
    assert!(!other.path("vault").exists(), "verifying makes nothing");
    assert_eq!(other.restore(&file).unwrap(), Restored::Made(backup.clone()));
    assert!(!other.path("vault.draft").exists());
    let restored = other.vault();
    assert_eq!(all(&restored), all(&vault));
    assert_eq!(restored.check(|_| {}).unwrap(), tally);
    assert_eq!(restored.sealing_keys().unwrap().len(), 2);
    // Versions go on from where they were.
    let removed = requester_secret("n29");
    let newest = restored.newest_version(&removed).unwrap();
    assert!(newest > 1);
    push(&restored, &removed, newest + 1, B256::ZERO, b"again");
}

/// Dies after the first write of new headers.
fn die_in_a_rotation(vault: &Vault) {
    let died = catch_unwind(AssertUnwindSafe(|| {
        vault.rotate_key(None, |_| std::panic::resume_unwind(Box::new(())))
    }));
    assert!(died.is_err());
}

#[test]
fn a_backup_from_the_middle_of_a_rotation_needs_both_keys_and_the_rotation_goes_on() {
    let scratch = Scratch::new();
    let vault = scratch.vault();
    for number in 0..600 {
        push_named(&vault, &format!("n{number}"), 1, b"value");
    }
    die_in_a_rotation(&vault);
    push_named(&vault, "new", 1, b"under the new key");
    let file = scratch.write("backup", &backed_up(&vault));
    let before = all(&vault);
    drop(vault);
    let keys = scratch.verify(&file).unwrap().keys;
    assert_eq!(keys.len(), 2);
    for key in scratch.keys() {
        let (kept, text) = (key.with_extension("kept"), key.display().to_string());
        fs::rename(&key, &kept).unwrap();
        let refused = Scratch::with_keys_of(&scratch).restore(&file);
        let Err(VaultError::Key(KeyError::Missing { id, .. })) = refused else {
            panic!("{refused:?}");
        };
        assert!(text.contains(&id.to_string()), "{text} is missing, not {id}");
        fs::rename(&kept, &key).unwrap();
    }
    let other = Scratch::with_keys_of(&scratch);
    other.restore(&file).unwrap();
    let vault = other.vault();
    assert_eq!(all(&vault), before);
    assert_eq!(vault.rotate_key(None, |_| {}).unwrap().records, 601);
    assert_eq!(vault.check(|_| {}).unwrap().damaged, Vec::<String>::new());
}

/// A vault of a few records, and a file of several chunks of it.
fn small() -> (Scratch, Vec<u8>) {
    let scratch = Scratch::new();
    let vault = scratch.vault();
    for name in ["a", "b", "c"] {
        push_named(&vault, name, 1, b"value");
    }
    let file = backed_up(&vault);
    drop(vault);
    (scratch, file)
}

#[test]
fn any_altered_bit_and_any_truncation_is_refused_and_the_vault_stays() {
    let (scratch, genuine) = small();
    let refused = |bytes: &[u8], what: &str| {
        let file = scratch.write("altered", bytes);
        let verified = scratch.verify(&file);
        assert!(verified.is_err(), "{what}: {verified:?}");
    };
    for byte in 0..genuine.len() {
        let mut altered = genuine.clone();
        altered[byte] ^= 1 << (byte % 8);
        refused(&altered, &format!("bit {} of byte {byte}", byte % 8));
        refused(&genuine[..byte], &format!("cut off at {byte}"));
    }
    let before = all(&scratch.vault());
    let altered = scratch.write("altered", &genuine[..genuine.len() - 1]);
    let error = scratch.replace(&altered).unwrap_err();
    assert!(matches!(error, VaultError::Backup(BackupError::Altered)), "{error:?}");
    assert_eq!(all(&scratch.vault()), before);
    assert!(!scratch.path("vault.draft").exists() && !scratch.path("vault.before").exists());
    let file = scratch.write("genuine", &genuine);
    assert!(matches!(scratch.restore(&file).unwrap(), Restored::Unchanged(_)));
}

/// A chunk of age's stream with its tag.
const CHUNK: usize = (64 << 10) + 16;

/// Where the stream begins: after the line of the header's MAC and a nonce.
fn stream(file: &[u8]) -> usize {
    let mac = file.windows(4).position(|part| part == b"--- ").unwrap();
    let line = file[mac..].iter().position(|byte| *byte == b'\n').unwrap();
    mac + line + 1 + 16
}

#[test]
fn chunks_that_are_moved_left_out_doubled_or_of_another_backup_are_refused() {
    let (mut random, scratch) = (seeded(), Scratch::new());
    let vault = scratch.vault();
    let mut value = vec![0; 100_000];
    for name in ["a", "b", "c"] {
        random.fill_bytes(&mut value);
        push_named(&vault, name, 1, &value);
    }
    let (one, two) = (backed_up(&vault), backed_up(&vault));
    drop(vault);
    let parts = |file: &[u8]| {
        let (head, rest) = file.split_at(stream(file));
        let chunks: Vec<_> = rest.chunks(CHUNK).map(<[u8]>::to_vec).collect();
        (head.to_vec(), chunks)
    };
    let ((head, chunks), (other_head, others)) = (parts(&one), parts(&two));
    assert!(chunks.len() > 4 && chunks.len() == others.len());
    let refused = |head: &[u8], chunks: &[Vec<u8>], what: &str| {
        let file = scratch.write("spliced", &[head, &chunks.concat()].concat());
        let verified = scratch.verify(&file);
        let altered = matches!(verified, Err(VaultError::Backup(BackupError::Altered)));
        assert!(altered, "{what}: {verified:?}");
    };
    for at in 0..chunks.len() - 1 {
        let mut moved = chunks.clone();
        moved.swap(at, at + 1);
        refused(&head, &moved, "moved");
        let mut spliced = chunks.clone();
        spliced[at] = others[at].clone();
        refused(&head, &spliced, "of another");
        refused(&head, &[&chunks[..at], &others[at..]].concat(), "the end of another");
        refused(&head, &[&chunks[..=at], &chunks[at..]].concat(), "doubled");
        refused(&head, &[&chunks[..at], &chunks[at + 1..]].concat(), "left out");
        refused(&head, &chunks[..=at], "cut off between chunks");
    }
    refused(&other_head, &chunks, "under the head of another");
    refused(&head, &[&chunks[..], &[vec![0]]].concat(), "with a byte more");
    refused(&head, &[&chunks[..], &chunks[..]].concat(), "twice");
    let both = scratch.write("both", &[one.as_slice(), &two].concat());
    assert!(scratch.verify(&both).is_err());
}

/// What a backup with these contents says, sealed as a genuine one.
fn sealed(scratch: &Scratch, vault: &Vault, contents: &[u8]) -> PathBuf {
    let envelope = Envelope { home: vault.home, keys: &*vault.keys };
    let mut file = Vec::new();
    let mut out = envelope.seal(vault.ring().sealing(), &mut file).unwrap();
    out.write_all(contents).unwrap();
    out.finish().unwrap();
    scratch.write("sealed", &file)
}

/// The contents of a vault, changed on their way into a backup.
fn contents(vault: &Vault, change: impl FnOnce(&mut Head, &mut Vec<Item>)) -> Vec<u8> {
    let (facts, records) = all(vault);
    let mut head = Head { created_at: NOW, facts };
    let mut items = Vec::new();
    for (key, (header, value)) in records {
        let (secret, version) = crate::store::codec::parse_key(&key).unwrap();
        items.push(Item { secret, version, header, value });
    }
    change(&mut head, &mut items);
    let mut writer = Writer::begin(Vec::new(), &head).unwrap();
    for item in &items {
        let bytes = item.header.as_ref().map_or(0, |header| header.metadata.size);
        writer.add(item, bytes).unwrap();
    }
    writer.end().unwrap().0
}

/// Even who has the key cannot have a vault restored that a vault would not be.
#[test]
fn contents_that_no_vault_has_are_refused() {
    let (scratch, _) = small();
    let vault = scratch.vault();
    let verify = |contents: &[u8]| scratch.verify(&sealed(&scratch, &vault, contents));
    let refused = |what: &str, change: fn(&mut Head, &mut Vec<Item>)| {
        let verified = verify(&contents(&vault, change));
        assert!(verified.is_err(), "{what}: {verified:?}");
    };
    let genuine = contents(&vault, |_, _| {});
    assert_eq!(verify(&genuine).unwrap().contents.records, 3);
    refused("a record twice", |_, items| {
        let Item { secret, version, header, value } = &items[0];
        let (secret, header, value) = (secret.clone(), header.clone(), value.clone());
        items.insert(0, Item { secret, version: *version, header, value });
    });
    refused("out of order", |_, items| items.swap(0, 1));
    refused("another's value", |_, items| items[0].value = items[1].value.clone());
    refused("no value", |_, items| items[0].value.clear());
    refused("a tombstone with a value", |_, items| items[0].header = None);
    refused("another version", |_, items| items[0].version += 1);
    refused("another size", |_, items| items[0].header.as_mut().unwrap().metadata.size += 1);
    refused("a value that is altered", |_, items| items[0].value[14] ^= 1);
    refused("no keys", |head, _| drop(head.facts.remove(KEYS)));
    refused("no origin", |head, _| drop(head.facts.remove("origin")));
    refused("another origin", |head, _| head.facts.get_mut("origin").unwrap()[3] ^= 1);
    refused("sealing keys of nobody", |head, _| {
        head.facts.insert("sealing".into(), vec![1]);
    });
    for cut in 0..genuine.len() {
        assert!(verify(&genuine[..cut]).is_err(), "cut off inside, at {cut}");
    }
    for byte in 0..genuine.len() {
        let mut altered = genuine.clone();
        altered[byte] ^= 1 << (byte % 8);
        let Ok(mut rewritten) = verify(&altered) else { continue };
        // The time and the check of a key are anybody's who has the key.
        rewritten.created_at = NOW;
        assert_eq!(rewritten.contents.records, 3, "byte {byte}");
    }
    assert!(verify(&[genuine.as_slice(), &[0]].concat()).is_err(), "something after the end");
    assert!(verify(&[genuine.as_slice(), &genuine].concat()).is_err(), "another after the end");
}

#[test]
fn what_can_be_read_has_one_spelling() {
    let (scratch, _) = small();
    let genuine = contents(&scratch.vault(), |_, _| {});
    for byte in 0..genuine.len() {
        for bit in 0..8 {
            let mut altered = genuine.clone();
            altered[byte] ^= 1 << bit;
            let mut again = Vec::new();
            if rewrite(altered.as_slice(), &mut again).is_ok() {
                assert_eq!(again, altered, "bit {bit} of byte {byte}");
            }
        }
    }
}

#[test]
fn another_key_deployment_or_identity_is_refused_by_its_name() {
    let (scratch, file) = small();
    let file = scratch.write("backup", &file);
    let other = Scratch::with_keys_of(&scratch);
    let wanted = other.to();
    let chain = Restore { chain_id: 1, ..wanted.clone() }.run(&file, |_| {});
    assert!(matches!(chain, Err(VaultError::Backup(BackupError::OtherOrigin))), "{chain:?}");
    let registry = Restore { registry: who(9), ..wanted.clone() }.run(&file, |_| {});
    assert!(matches!(registry, Err(VaultError::Backup(BackupError::OtherOrigin))), "{registry:?}");
    let identity = Restore { identity: who(8), ..wanted }.run(&file, |_| {}).unwrap_err();
    let named = matches!(&identity, VaultError::Backup(BackupError::OtherIdentity { identity }) if *identity == who(7));
    assert!(named, "{identity:?}");

    let [key] = other.keys().try_into().unwrap();
    let stranger = Scratch::new();
    drop(stranger.vault());
    fs::copy(&stranger.keys()[0], &key).unwrap();
    let refused = other.restore(&file);
    assert!(matches!(refused, Err(VaultError::Key(KeyError::Misnamed { .. }))), "{refused:?}");
    fs::remove_file(&key).unwrap();
    let refused = other.restore(&file);
    assert!(matches!(refused, Err(VaultError::Key(KeyError::Missing { .. }))), "{refused:?}");
    let refused = stranger.replace(&file);
    assert!(matches!(refused, Err(VaultError::Key(KeyError::Missing { .. }))), "{refused:?}");
    assert!(!other.path("vault").exists());

    let none = other.write("none", b"not a backup");
    let refused = scratch.restore(&none);
    assert!(matches!(refused, Err(VaultError::Backup(BackupError::NotOne))), "{refused:?}");
    let refused = scratch.restore(&other.path("nowhere"));
    assert!(matches!(refused, Err(VaultError::Backup(BackupError::Read(_)))), "{refused:?}");
}

fn would_replace(result: Result<Restored, VaultError>) -> Replaced {
    match result {
        Err(VaultError::Backup(BackupError::WouldReplace { there })) => there,
        other => panic!("it is not refused: {other:?}"),
    }
}

#[test]
fn a_vault_that_is_newer_is_replaced_when_told_to_alone_and_kept_aside() {
    let (scratch, file) = small();
    let file = scratch.write("backup", &file);
    let vault = scratch.vault();
    push_named(&vault, "b", 2, b"newer");
    push_named(&vault, "new", 1, b"not in it");
    vault.remove(&Removal { secret: requester_secret("c"), epoch: 0, version: 2 }).unwrap();
    let newer = all(&vault);
    drop(vault);
    let there = would_replace(scratch.restore(&file));
    assert_eq!((there.lost, there.such_as.len(), there.unreadable), (3, 3, false));
    let said = there.to_string();
    for name in ["b version 2", "c version 2", "new version 1"] {
        assert!(said.contains(name), "{said}");
    }
    assert!(!said.contains("a version"), "{said}");
    assert_eq!(all(&scratch.vault()), newer);

    let Restored::Replaced { there: same, aside, .. } = scratch.replace(&file).unwrap() else {
        panic!("nothing was replaced");
    };
    let aside = aside.unwrap();
    assert_eq!((same, &aside), (there, &scratch.path("vault.before")));
    assert_eq!(scratch.vault().newest_version(&requester_secret("b")).unwrap(), 1);
    fs::rename(scratch.path("vault"), scratch.path("restored")).unwrap();
    fs::rename(&aside, scratch.path("vault")).unwrap();
    assert_eq!(all(&scratch.vault()), newer);
    fs::rename(scratch.path("restored"), &aside).unwrap();
    let refused = scratch.replace(&file);
    assert!(matches!(refused, Err(VaultError::Backup(BackupError::Aside { .. }))), "{refused:?}");
    assert_eq!(all(&scratch.vault()), newer);
}

#[test]
fn an_older_or_damaged_vault_is_another_vault_and_an_empty_one_is_none() {
    let (scratch, _) = small();
    let older = Scratch::with_keys_of(&scratch);
    let file = scratch.write("older", &backed_up(&scratch.vault()));
    older.restore(&file).unwrap();
    push_named(&scratch.vault(), "b", 2, b"newer");
    let file = scratch.write("backup", &backed_up(&scratch.vault()));
    let there = would_replace(older.restore(&file));
    assert_eq!((there.records, there.lost), (3, 0));
    assert!(there.to_string().ends_with("none of them newer than the backup"), "{there}");

    // One that lost a value is not the same, and is mended.
    let (key, _) = all(&scratch.vault()).1.pop_first().unwrap();
    let (secret, version) = crate::store::codec::parse_key(&key).unwrap();
    let vault = scratch.vault();
    let header = vault.store.record(&secret, version).unwrap().unwrap().header;
    vault.store.forge(&secret, version, Some((&header, b"gone"))).unwrap();
    drop(vault);
    assert_eq!(would_replace(scratch.restore(&file)).lost, 0);
    assert!(matches!(scratch.replace(&file).unwrap(), Restored::Replaced { .. }));
    assert_eq!(scratch.vault().check(|_| {}).unwrap().damaged, Vec::<String>::new());

    // One that cannot be opened at all is never opened, let alone made anew in its folder.
    let broken = Scratch::with_keys_of(&scratch);
    fs::create_dir(broken.path("vault")).unwrap();
    fs::write(broken.path("vault/000009.sst"), "what is left").unwrap();
    assert!(would_replace(broken.restore(&file)).unreadable);
    assert_eq!(fs::read_dir(broken.path("vault")).unwrap().count(), 1);
    broken.replace(&file).unwrap();
    assert!(broken.path("vault.before/000009.sst").exists());
    assert_eq!(all(&broken.vault()), all(&scratch.vault()));

    let empty = Scratch::with_keys_of(&scratch);
    drop(empty.vault());
    assert!(matches!(empty.restore(&file).unwrap(), Restored::Made(_)));
    assert_eq!(all(&empty.vault()), all(&scratch.vault()));
}

#[test]
fn a_restore_that_was_killed_counts_from_the_moment_that_it_was_whole() {
    let (scratch, _) = small();
    let before = all(&scratch.vault());
    let other = Scratch::new();
    push_named(&other.vault(), "another", 1, b"value");
    let [key] = other.keys().try_into().unwrap();
    fs::copy(&key, scratch.path("keys").join(key.file_name().unwrap())).unwrap();
    let prepare = |name: &str| {
        let _ = fs::remove_dir_all(scratch.path("vault.before"));
        let to = scratch.path(name);
        let _ = fs::remove_dir_all(&to);
        fs::create_dir(&to).unwrap();
        for file in fs::read_dir(other.path("vault")).unwrap().map(Result::unwrap) {
            fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    };
    // While it is filled, it counts for nothing.
    prepare("vault.draft");
    assert_eq!(all(&scratch.vault()), before);
    assert!(scratch.path("vault.draft").exists());
    // Whole, it does: the one before is put aside.
    prepare("vault.new");
    let (at, _) = places(scratch.0.path());
    assert!(at.holds_a_vault().unwrap());
    assert_eq!(all(&scratch.vault()), all(&other.vault()));
    fs::rename(scratch.path("vault"), scratch.path("restored")).unwrap();
    fs::rename(scratch.path("vault.before"), scratch.path("vault")).unwrap();
    assert_eq!(all(&scratch.vault()), before);
    // Between the two renames, there is no other.
    fs::rename(scratch.path("restored"), scratch.path("vault.new")).unwrap();
    fs::rename(scratch.path("vault"), scratch.path("vault.before")).unwrap();
    assert!(at.holds_a_vault().unwrap());
    assert_eq!(all(&scratch.vault()), all(&other.vault()));
    assert!(scratch.path("vault.before").exists() && !scratch.path("vault.new").exists());
}

#[test]
fn a_record_that_does_not_authenticate_is_named_and_no_backup_is_made_of_it() {
    let (scratch, _) = small();
    let vault = scratch.vault();
    let secret = requester_secret("b");
    let header = vault.store.record(&secret, 1).unwrap().unwrap().header;
    vault.store.forge(&secret, 1, Some((&header, &[7; 33]))).unwrap();
    let refused = vault.backup(Vec::new(), NOW, |_| {}).unwrap_err();
    assert!(refused.to_string().starts_with(&format!("{secret} version 1 does not")), "{refused}");
}

struct Full;

impl Write for Full {
    fn write(&mut self, _bytes: &[u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_disk_that_is_full_is_told() {
    let (scratch, _) = small();
    let refused = scratch.vault().backup(Full, NOW, |_| {});
    assert!(matches!(refused, Err(VaultError::Backup(BackupError::Write(_)))), "{refused:?}");
}

const VERSIONS: u64 = 40;
const ROTATIONS: usize = 3;
const BACKUPS: usize = 12;

/// `left` is pushed before `right`, always: whatever a backup holds, `left` is as new as `right` or by one newer, and all of it
/// opens, with keys that change meanwhile.
#[test]
fn a_backup_beside_pushes_and_rotations_is_of_one_moment() {
    let scratch = Scratch::new();
    let (vault, mut backups) = (scratch.vault(), Vec::new());
    std::thread::scope(|scope| {
        let vault = &vault;
        let pushing = scope.spawn(move || {
            for version in 1..=VERSIONS {
                for name in ["left", "right"] {
                    push_named(vault, name, version, &[7; 5000]);
                }
                push_named(vault, &format!("n{version}"), 1, b"one more");
            }
        });
        let rotating = scope.spawn(move || {
            for _ in 0..ROTATIONS {
                vault.rotate_key(None, |_| {}).unwrap();
            }
        });
        while !(pushing.is_finished() && rotating.is_finished()) {
            backups.push(backed_up(vault));
            // The first of them and one after all: to restore them takes longer than to make them.
            backups.truncate(BACKUPS);
        }
    });
    backups.push(backed_up(&vault));
    drop(vault);
    eprintln!("{} backups", backups.len());
    let mut seen = Vec::new();
    for file in backups {
        let other = Scratch::with_keys_of(&scratch);
        let file = other.write("backup", &file);
        let Ok(Restored::Made(backup)) = other.restore(&file) else { panic!("not restored") };
        let vault = other.vault();
        let [left, right] =
            ["left", "right"].map(|name| vault.newest_version(&requester_secret(name)).unwrap());
        assert!(left == right || left == right + 1, "left {left}, right {right}");
        let tally = vault.check(|_| {}).unwrap();
        assert_eq!((tally.records, tally.damaged), (backup.contents.records, Vec::new()));
        seen.push(left);
    }
    assert!(seen.is_sorted() && seen.last() == Some(&VERSIONS), "{seen:?}");
}

#[test]
fn what_is_verified_is_what_is_restored_whatever_becomes_of_the_files_name() {
    let (scratch, file) = small();
    let other = Scratch::with_keys_of(&scratch);
    let file = other.write("backup", &file);
    let vault = scratch.vault();
    let before = all(&vault);
    push_named(&vault, "a", 2, b"later");
    let later = backed_up(&vault);
    let restored = other.to().run(&file, |_| {
        let draft = other.write("later", &later);
        fs::rename(draft, other.path("backup")).unwrap();
    });
    assert!(matches!(restored, Ok(Restored::Made(_))), "{restored:?}");
    assert_eq!(all(&other.vault()), before);
}

#[test]
fn a_vault_of_nobody_yet_is_anybodys() {
    let scratch = Scratch::new();
    let vault = vault_in(scratch.0.path());
    let file = scratch.write("backup", &backed_up(&vault));
    drop(vault);
    fs::remove_dir_all(scratch.path("vault")).unwrap();
    let anybody = Restore { identity: Address::repeat_byte(0x99), ..scratch.to() };
    assert!(matches!(anybody.run(&file, |_| {}).unwrap(), Restored::Made(_)));
    assert!(scratch.path("vault").join("CURRENT").exists());
}

#[test]
fn a_vault_moves_into_a_database_and_back() {
    let (scratch, _) = small();
    let vault = scratch.vault();
    let before = all(&vault);
    let file = scratch.write("backup", &backed_up(&vault));
    drop(vault);
    let server = server();
    let url = server.database(&format!("backup_{:x}", rand::random::<u64>()));
    let at = Location::Postgres(Box::new(url.parse().unwrap()));
    let to = Restore { at: at.clone(), ..scratch.to() };
    assert!(matches!(to.run(&file, |_| {}).unwrap(), Restored::Made(_)));
    assert!(matches!(to.run(&file, |_| {}).unwrap(), Restored::Unchanged(_)));
    let shared = Vault::open(&at, &to.keys, CHAIN, who(1)).unwrap();
    assert_eq!(all(&shared), before);

    // What was pushed since is lost only when told to, and a draft that dies changes nothing.
    push_named(&shared, "later", 1, b"later");
    let newer = all(&shared);
    let refused = to.run(&file, |_| {});
    assert!(
        matches!(&refused, Err(VaultError::Backup(BackupError::WouldReplace { there })) if there.lost == 1),
        "{refused:?}"
    );
    drop(at.draft(at.existing().unwrap()).unwrap());
    assert_eq!(all(&shared), newer);
    let back = scratch.write("back", &backed_up(&shared));
    let replaced = Restore { replace: true, ..to }.run(&file, |_| {}).unwrap();
    assert!(matches!(replaced, Restored::Replaced { aside: None, .. }), "{replaced:?}");
    assert_eq!(all(&shared), before);

    let folder = Scratch::with_keys_of(&scratch);
    assert!(matches!(folder.restore(&back).unwrap(), Restored::Made(_)));
    assert_eq!(all(&folder.vault()), newer);
}
