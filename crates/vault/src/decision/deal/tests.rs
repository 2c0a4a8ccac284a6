//! Every reason for a refusal, at the head alone, at the confirmed block alone and at both.

use sesame_domain::Web2Name;

use super::*;
use crate::testing::{
    DEADLINE, DEAL_APP, DEAL_DATASET, NOW, beneficiary, deal_asked, deal_claim, deal_facts,
    deal_worker, requester, scheduler, task_of, the_task, who,
};

const ISSUED: Address = Address::repeat_byte(0x70);

type Change = fn(&mut Facts);

fn deal_of(facts: &mut Facts) -> &mut Deal {
    task_of(facts).deal.as_mut().unwrap()
}

fn facts(changed: bool, number: u64, change: Change) -> Facts {
    let mut facts = deal_facts(number);
    if changed {
        change(&mut facts);
    }
    facts
}

/// What all three questions are answered; explain asks nobody for a signature.
fn reasons(asked: &DealAsked, head: &Facts, confirmed: &Facts) -> Vec<DealDenial> {
    let session = authorize_session(asked, head, confirmed, &deal_claim(ISSUED)).err();
    let challenge = authorize_challenge(asked, head, confirmed, Some(scheduler())).err();
    let explained = explain_deal(asked, head, confirmed).err();
    assert_eq!(session, challenge);
    assert_eq!(session, explained);
    session.unwrap_or_default()
}

/// What is wrong at the head is refused whatever the confirmed block says; what is wrong there alone has to wait.
fn check(change: Change, name: &str, expected: &[DealDenial]) {
    let asked = deal_asked();
    for in_both in [true, false] {
        let (head, confirmed) = (facts(true, 100, change), facts(in_both, 90, change));
        assert_eq!(reasons(&asked, &head, &confirmed), expected);
        assert_eq!(expected[0].name(), name);
    }
    let waits = [DealDenial::NotYetConfirmed { block: 99, confirmed: 90 }];
    let (head, confirmed) = (facts(false, 100, change), facts(true, 90, change));
    assert_eq!(reasons(&asked, &head, &confirmed), waits);
    assert_eq!(waits[0].name(), "EXECUTION_NOT_AUTHORIZED_GET_CHAIN_TASK_FAILED");
}

fn release() -> DealRelease {
    let (head, confirmed) = (deal_facts(100), deal_facts(90));
    authorize_session(&deal_asked(), &head, &confirmed, &deal_claim(ISSUED)).unwrap()
}

#[test]
fn an_active_task_of_a_deal_that_is_signed_for_is_released() {
    let release = release();
    assert_eq!((release.worker(), release.deal().index), (deal_worker(), 4));
    assert_eq!((release.head().number, release.confirmed().number), (100, 90));
    assert!(reasons(&deal_asked(), &deal_facts(100), &deal_facts(90)).is_empty());
}

#[test]
fn an_unknown_task_is_the_only_reason() {
    let name = "EXECUTION_NOT_AUTHORIZED_GET_CHAIN_TASK_FAILED";
    check(|facts| facts.task = None, name, &[DealDenial::TaskUnknown]);
    // One of our own registries is of no deal.
    check(|facts| task_of(facts).deal = None, name, &[DealDenial::TaskUnknown]);
}

#[test]
fn a_task_must_be_active() {
    let name = "EXECUTION_NOT_AUTHORIZED_TASK_NOT_ACTIVE";
    let ended = |status| [DealDenial::NotRunning(Denial::TaskEnded { status })];
    check(
        |facts| task_of(facts).status = TaskStatus::Revealing,
        name,
        &ended(TaskStatus::Revealing),
    );
    check(
        |facts| task_of(facts).status = TaskStatus::Completed,
        name,
        &ended(TaskStatus::Completed),
    );
    check(|facts| task_of(facts).status = TaskStatus::Expired, name, &ended(TaskStatus::Expired));
    check(
        |facts| task_of(facts).status = TaskStatus::Purchased,
        name,
        &[DealDenial::NotRunning(Denial::TaskNotStarted)],
    );
}

#[test]
fn the_final_deadline_counts_though_nobody_claims() {
    let (head, confirmed) = (deal_facts(100), deal_facts(90));
    let late = [DealDenial::NotRunning(Denial::TaskExpired { deadline: DEADLINE })];
    let at = |now| reasons(&DealAsked { now, ..deal_asked() }, &head, &confirmed);
    assert!(at(DEADLINE).is_empty());
    assert_eq!(at(DEADLINE + 1), late);
    // Whichever clock says so.
    let mut ahead = head.clone();
    ahead.at.timestamp = DEADLINE + 1;
    assert_eq!(reasons(&DealAsked { now: NOW, ..deal_asked() }, &ahead, &confirmed), late);
    assert_eq!(late[0].name(), "EXECUTION_NOT_AUTHORIZED_TASK_NOT_ACTIVE");
}

#[test]
fn a_deal_must_have_begun() {
    let name = "EXECUTION_NOT_AUTHORIZED_GET_CHAIN_DEAL_FAILED";
    check(|facts| deal_of(facts).start_time = 0, name, &[DealDenial::DealUnknown]);
}

#[test]
fn a_tag_must_name_a_tee() {
    let tag = B256::with_last_byte(1);
    let name = "EXECUTION_NOT_AUTHORIZED_NO_MATCH_ONCHAIN_TYPE";
    check(|facts| deal_of(facts).tag = B256::with_last_byte(1), name, &[DealDenial::NoTee { tag }]);
}

#[test]
fn the_owner_of_the_workerpool_must_have_signed() {
    let (head, confirmed) = (deal_facts(100), deal_facts(90));
    let expected = vec![DealDenial::NotSigned { scheduler: scheduler() }];
    assert_eq!(expected[0].name(), "EXECUTION_NOT_AUTHORIZED_INVALID_SIGNATURE");
    for signer in [None, Some(Address::ZERO), Some(deal_worker()), Some(requester())] {
        let claim = SessionClaim { scheduler: signer, ..deal_claim(ISSUED) };
        let session = authorize_session(&deal_asked(), &head, &confirmed, &claim);
        assert_eq!(session.unwrap_err(), expected);
        let challenge = authorize_challenge(&deal_asked(), &head, &confirmed, signer);
        assert_eq!(challenge.unwrap_err(), expected);
    }
}

#[test]
fn a_session_is_for_the_challenge_that_was_issued() {
    let (head, confirmed) = (deal_facts(100), deal_facts(90));
    for issued in [None, Some(Address::ZERO), Some(who(0x71))] {
        let claim = SessionClaim { issued, ..deal_claim(ISSUED) };
        let refused = authorize_session(&deal_asked(), &head, &confirmed, &claim).unwrap_err();
        assert_eq!(refused, [DealDenial::WrongChallenge { issued }]);
        assert_eq!(refused[0].name(), "EXECUTION_NOT_AUTHORIZED_INVALID_SIGNATURE");
    }
}

#[test]
fn the_first_of_several_reasons_is_that_of_the_first_check() {
    let (mut head, confirmed) = (deal_facts(100), deal_facts(90));
    task_of(&mut head).status = TaskStatus::Completed;
    *deal_of(&mut head) = Deal { tag: B256::ZERO, start_time: 0, ..deal_of(&mut head).clone() };
    let claim = SessionClaim { scheduler: None, issued: None, ..deal_claim(ISSUED) };
    let refused = authorize_session(&deal_asked(), &head, &confirmed, &claim).unwrap_err();
    let names: Vec<_> = refused.iter().map(DealDenial::name).collect();
    assert_eq!(
        names,
        [
            "EXECUTION_NOT_AUTHORIZED_TASK_NOT_ACTIVE",
            "EXECUTION_NOT_AUTHORIZED_GET_CHAIN_DEAL_FAILED",
            "EXECUTION_NOT_AUTHORIZED_NO_MATCH_ONCHAIN_TYPE",
            "EXECUTION_NOT_AUTHORIZED_INVALID_SIGNATURE",
            "EXECUTION_NOT_AUTHORIZED_INVALID_SIGNATURE",
        ]
    );
    assert!(refused.iter().all(|denial| !denial.to_string().is_empty()));
}

#[test]
fn a_release_covers_what_the_deal_gives_and_nothing_else() {
    let release = release().with_bulk(vec![who(0x66)]);
    let name: Web2Name = "token".parse().unwrap();
    let web2 = |owner| IexecSecret::Web2(owner, name.clone());
    let of_requester = |owner, name: &str| IexecSecret::Requester(owner, name.parse().unwrap());
    for covered in [
        IexecSecret::Dataset(DEAL_DATASET),
        IexecSecret::Dataset(who(0x66)),
        IexecSecret::App(DEAL_APP),
        of_requester(requester(), "a"),
        web2(requester()),
        web2(beneficiary()),
        web2(deal_worker()),
        web2(scheduler()),
        IexecSecret::Challenge(the_task()),
    ] {
        assert!(release.covers(&covered), "{covered}");
    }
    for other in [
        IexecSecret::Dataset(DEAL_APP),
        IexecSecret::Dataset(who(0x67)),
        IexecSecret::App(DEAL_DATASET),
        of_requester(requester(), "ab"),
        of_requester(deal_worker(), "a"),
        web2(who(0x68)),
        web2(Address::ZERO),
        IexecSecret::Challenge(TaskId::default()),
        IexecSecret::Spent(B256::ZERO),
    ] {
        assert!(!release.covers(&other), "{other}");
    }
}
