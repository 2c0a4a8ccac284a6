//! Sealing keys in the vault, the same in either store.

use super::*;
use crate::testing::Ground;

const NOW: u64 = 1_800_000_000;

fn add(vault: &Vault, byte: u8, now: u64, opens_until: u64) {
    vault.add_sealing_key(B256::repeat_byte(byte), &[byte; 32], now, opens_until).unwrap();
}

/// Public half, retirement, and whether it still opens.
fn listed(vault: &Vault) -> Vec<(u8, Option<Retired>, bool)> {
    let keys = vault.sealing_keys().unwrap().into_iter();
    keys.map(|key| {
        let byte = key.public[0];
        if let Some(secret) = &key.secret {
            assert_eq!(**secret, [byte; 32]);
        }
        (byte, key.retired, key.secret.is_some())
    })
    .collect()
}

fn retired(at: u64, opens_until: u64) -> Option<Retired> {
    Some(Retired { at, opens_until })
}

#[test]
fn the_key_before_opens_for_a_while_and_its_public_half_stays() {
    let ground = Ground::of(module_path!());
    let vault = ground.open().unwrap();
    assert_eq!(listed(&vault), []);
    vault.first_sealing_key(B256::repeat_byte(1), &[1; 32], NOW).unwrap();
    vault.first_sealing_key(B256::repeat_byte(9), &[9; 32], NOW).unwrap();
    assert_eq!(listed(&vault), [(1, None, true)]);
    add(&vault, 2, NOW + 10, NOW + 20);
    let first = (1, retired(NOW + 10, NOW + 20), true);
    assert_eq!(listed(&vault), [(2, None, true), first]);
    add(&vault, 3, NOW + 20, NOW + 30);
    let first = (1, retired(NOW + 10, NOW + 20), false);
    let second = (2, retired(NOW + 20, NOW + 30), true);
    assert_eq!(listed(&vault), [(3, None, true), second, first]);
}

#[test]
fn a_retirement_at_once_forgets_every_older_private_half() {
    let ground = Ground::of(module_path!());
    let vault = ground.open().unwrap();
    add(&vault, 1, NOW, NOW);
    add(&vault, 2, NOW + 1, NOW + 100);
    add(&vault, 3, NOW + 2, NOW + 2);
    let opens: Vec<bool> = listed(&vault).into_iter().map(|(.., opens)| opens).collect();
    assert_eq!(opens, [true, false, false]);
}

#[test]
fn they_change_key_with_the_vault() {
    let ground = Ground::of(module_path!());
    let first = ground.open().unwrap();
    add(&first, 1, NOW, NOW);
    add(&first, 2, NOW + 1, NOW + 100);
    let before = first.ring().sealing().id();
    first.rotate_key(None, |_| {}).unwrap();
    drop(first);
    std::fs::remove_file(ground.folder.path().join(format!("keys/vault-{before}.key"))).unwrap();
    let opened = ground.open().unwrap();
    assert!(listed(&opened).iter().all(|(.., opens)| *opens));
}

#[test]
fn one_that_was_altered_or_swapped_does_not_open() {
    let ground = Ground::of(module_path!());
    let vault = ground.open().unwrap();
    add(&vault, 1, NOW, NOW);
    add(&vault, 2, NOW + 1, NOW + 100);
    let (fact, keys) = vault.kept_sealing_keys().unwrap();
    let forge = |change: fn(&mut Vec<Kept>)| {
        let mut forged = keys.clone();
        change(&mut forged);
        vault.store.change_facts(&[], &[(SEALING, Some(&encode(&forged)))]).unwrap();
        let refused = vault.sealing_keys();
        assert!(matches!(refused, Err(VaultError::Damaged)), "{refused:?}");
    };
    forge(|keys| keys[0].wrapped[20] ^= 1);
    forge(|keys| keys[0].public = B256::repeat_byte(7));
    forge(|keys| {
        let first = keys[0].wrapped.clone();
        keys[0].wrapped = std::mem::replace(&mut keys[1].wrapped, first);
    });
    vault.store.change_facts(&[], &[(SEALING, fact.as_deref())]).unwrap();
    assert_eq!(listed(&vault).len(), 2);
}
