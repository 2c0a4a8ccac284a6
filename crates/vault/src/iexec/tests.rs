//! Pushes, replacements and their replays, challenges, and what a deal opens. For both stores.

use std::{sync::Barrier, thread};

use sesame_domain::TaskId;

use super::*;
use crate::{
    decision::deal::{DealAsked, authorize_challenge, authorize_session},
    testing::{
        DEAL_APP, DEAL_DATASET, Ground, NOW, deal_asked, deal_claim, deal_facts, deal_worker,
        plaintext, requester, scheduler, the_task, vault_in, who, word,
    },
};

fn name() -> Web2Name {
    "iexec-result-dropbox-token".parse().unwrap()
}

fn web2() -> IexecSecret {
    IexecSecret::Web2(requester(), name())
}

fn signed(signature: u8, value: &[u8]) -> Signed {
    Signed { owner: requester(), signature: word(signature), now: NOW, value: plaintext(value) }
}

fn grant(task: TaskId) -> ChallengeGrant {
    let (asked, head) = (DealAsked { task, ..deal_asked() }, deal_facts(100));
    authorize_challenge(&asked, &head, &head, Some(scheduler())).unwrap()
}

fn release(vault: &Vault) -> DealRelease {
    let (issued, _) = vault.challenge(&grant(the_task()), NOW).unwrap();
    let head = deal_facts(100);
    authorize_session(&deal_asked(), &head, &head, &deal_claim(issued)).unwrap()
}

fn opened(vault: &Vault, secret: &IexecSecret) -> Option<Vec<u8>> {
    let opened = vault.open_for_deal(&release(vault), secret).unwrap();
    opened.map(|opened| opened.value.expose().to_vec())
}

#[test]
fn what_is_pushed_first_stays() {
    let ground = Ground::of(module_path!());
    let vault = ground.open().unwrap();
    for secret in [
        IexecSecret::Dataset(DEAL_DATASET),
        IexecSecret::App(DEAL_APP),
        IexecSecret::Requester(requester(), "a".parse().unwrap()),
        web2(),
    ] {
        assert_eq!(opened(&vault, &secret), None);
        assert!(vault.create(secret.clone(), signed(1, b"first")).unwrap());
        assert!(!vault.create(secret.clone(), signed(1, b"first")).unwrap());
        assert!(!vault.create(secret.clone(), signed(2, b"second")).unwrap());
        assert_eq!(opened(&vault, &secret).unwrap(), b"first");
    }
    let counts = IexecCounts { datasets: 1, compute: 2, web2: 1, challenges: 1 };
    assert_eq!(vault.count_iexec().unwrap(), counts);
}

#[test]
fn a_value_is_replaced_and_its_signature_is_used_up() {
    let ground = Ground::of(module_path!());
    let vault = ground.open().unwrap();
    let replace = |signature, value: &[u8]| {
        let replaced = vault.replace(&name(), &signed(signature, value)).unwrap();
        (replaced, opened(&vault, &web2()))
    };
    assert_eq!(replace(1, b"one"), (Replacement::Absent, None));
    assert!(vault.create(web2(), signed(1, b"one")).unwrap());
    let held = |value: &[u8]| Some(value.to_vec());
    assert_eq!(replace(1, b"one"), (Replacement::Unchanged, held(b"one")));
    assert_eq!(replace(2, b"two"), (Replacement::Done, held(b"two")));
    assert_eq!(replace(2, b"two"), (Replacement::Unchanged, held(b"two")));
    // What was there before does not come back by what was recorded then.
    assert_eq!(replace(1, b"one"), (Replacement::Replayed, held(b"two")));
    assert_eq!(replace(3, b"three"), (Replacement::Done, held(b"three")));
    for old in [1, 2] {
        assert_eq!(replace(old, b"old"), (Replacement::Replayed, held(b"three")));
    }
    // The same value, signed anew.
    assert_eq!(replace(4, b"one"), (Replacement::Done, held(b"one")));
    assert_eq!(vault.count_iexec().unwrap().web2, 1);
}

#[test]
fn a_signature_stays_used_up_when_the_vault_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let vault = vault_in(folder.path());
    assert!(vault.create(web2(), signed(1, b"one")).unwrap());
    assert_eq!(vault.replace(&name(), &signed(2, b"two")).unwrap(), Replacement::Done);
    drop(vault);
    let vault = vault_in(folder.path());
    assert_eq!(vault.replace(&name(), &signed(1, b"one")).unwrap(), Replacement::Replayed);
}

/// A crash between the two writes leaves the value in force, to be replaced by the next attempt.
#[test]
fn a_value_whose_signature_is_used_up_can_still_be_replaced() {
    let ground = Ground::of(module_path!());
    let vault = ground.open().unwrap();
    assert!(vault.create(web2(), signed(1, b"one")).unwrap());
    let present = vault.newest(&SecretId::Iexec(web2())).unwrap().unwrap();
    vault.spend(&present, NOW).unwrap();
    assert_eq!(vault.replace(&name(), &signed(1, b"one")).unwrap(), Replacement::Unchanged);
    assert_eq!(vault.replace(&name(), &signed(2, b"two")).unwrap(), Replacement::Done);
    assert_eq!(vault.replace(&name(), &signed(1, b"one")).unwrap(), Replacement::Replayed);
}

#[test]
fn replacements_at_once_all_count_and_none_comes_back() {
    let ground = Ground::of(module_path!());
    let vault = ground.open().unwrap();
    assert!(vault.create(web2(), signed(0, b"0")).unwrap());
    let barrier = Barrier::new(4);
    thread::scope(|scope| {
        for number in 1..=4_u8 {
            let (vault, barrier) = (&vault, &barrier);
            scope.spawn(move || {
                barrier.wait();
                let replaced = vault.replace(&name(), &signed(number, &[number])).unwrap();
                assert_eq!(replaced, Replacement::Done);
            });
        }
    });
    let present = opened(&vault, &web2()).unwrap()[0];
    for number in 0..=4_u8 {
        let again = vault.replace(&name(), &signed(number, b"again")).unwrap();
        let expected =
            if number == present { Replacement::Unchanged } else { Replacement::Replayed };
        assert_eq!(again, expected, "{number}, and {present} is there");
    }
}

#[test]
fn a_challenge_is_made_once_for_each_task() {
    let ground = Ground::of(module_path!());
    let vault = ground.open().unwrap();
    assert_eq!(vault.issued(the_task()).unwrap(), None);
    let (first, made) = vault.challenge(&grant(the_task()), NOW).unwrap();
    assert!(made);
    assert_eq!(vault.challenge(&grant(the_task()), NOW + 1).unwrap(), (first, false));
    assert_eq!(vault.issued(the_task()).unwrap(), Some(first));
    let (second, _) = vault.challenge(&grant(TaskId(word(9))), NOW).unwrap();
    assert_ne!(first, second);
    let key = opened(&vault, &IexecSecret::Challenge(the_task())).unwrap();
    let signer = Signer::from_bytes(&key.try_into().unwrap()).unwrap();
    assert_eq!(signer.address(), first);
}

#[test]
fn a_deal_opens_nothing_of_others() {
    let ground = Ground::of(module_path!());
    let vault = ground.open().unwrap();
    let strangers = IexecSecret::Dataset(who(9));
    assert!(vault.create(strangers.clone(), signed(1, b"stranger's")).unwrap());
    vault.challenge(&grant(TaskId(word(9))), NOW).unwrap();
    for secret in [strangers, IexecSecret::Challenge(TaskId(word(9))), IexecSecret::Spent(word(1))]
    {
        let refused = vault.open_for_deal(&release(&vault), &secret);
        assert!(matches!(refused, Err(VaultError::NotReleased)), "{secret}: {refused:?}");
    }
    let tokens = IexecSecret::Web2(deal_worker(), name());
    assert_eq!(opened(&vault, &tokens), None);
}
