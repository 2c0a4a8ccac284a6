//! Every event writes its own entity, and what contradicts the past is refused by name.

use alloy_primitives::B256;

use super::*;
use crate::testing::{
    self, authorized, enclave, order, purchased, registered, row, terms, transferred, who, word,
};

fn id() -> AssetId {
    testing::asset(1)
}

fn task_id() -> TaskId {
    testing::task(1)
}

/// The asset after a history of events.
fn asset_after(events: &[ChainEvent]) -> Result<Option<Asset>, ProjectError> {
    events.iter().try_fold(None, |before, event| asset(id(), before, event))
}

/// The task after a purchase and a history of events.
fn task_after(events: &[ChainEvent]) -> Result<Option<Task>, ProjectError> {
    let before = task(task_id(), None, &purchased(task_id(), order()))?;
    events.iter().try_fold(before, |before, event| task(task_id(), before, event))
}

fn check_asset(events: &[ChainEvent], owner: Address, epoch: u64, digest: B256, uri: &str) {
    let expected =
        Asset { kind: sesame_domain::AssetKind::App, owner, epoch, digest, uri: uri.to_owned() };
    assert_eq!(asset_after(events), Ok(Some(expected)), "{events:?}");
}

fn check_task(events: &[ChainEvent], status: TaskStatus, revoked: &[u32]) {
    assert_eq!(task_after(events), Ok(Some(row(status, revoked))), "{events:?}");
}

fn content_set() -> ChainEvent {
    ChainEvent::ContentSet { asset: id(), digest: word(0xd9), uri: "ipfs://next".to_owned() }
}

fn started() -> ChainEvent {
    ChainEvent::TaskStarted { task: task_id() }
}

fn completed() -> ChainEvent {
    ChainEvent::TaskCompleted { task: task_id() }
}

fn cancelled() -> ChainEvent {
    ChainEvent::TaskCancelled { task: task_id() }
}

fn expired() -> ChainEvent {
    ChainEvent::TaskExpired { task: task_id() }
}

fn settled() -> ChainEvent {
    ChainEvent::TaskSettled { task: task_id() }
}

fn revoked(index: u32) -> ChainEvent {
    ChainEvent::GrantRevoked { task: task_id(), index }
}

#[test]
fn an_asset_has_its_last_owner_and_content_and_counts_its_sales() {
    let born = registered(id());
    let minted = transferred(id(), Address::ZERO, who(1));
    let sold = transferred(id(), who(1), who(2));
    let back = transferred(id(), who(2), who(1));
    let to_self = transferred(id(), who(1), who(1));
    let first = (word(0xd1), "ipfs://first");

    check_asset(std::slice::from_ref(&born), Address::ZERO, 0, first.0, first.1);
    check_asset(&[born.clone(), minted.clone()], who(1), 0, first.0, first.1);
    let once = [born.clone(), minted.clone(), sold.clone()];
    check_asset(&once, who(2), 1, first.0, first.1);
    let history = [born.clone(), minted.clone(), sold, back];
    check_asset(&history, who(1), 2, first.0, first.1);
    check_asset(&[born.clone(), minted.clone(), to_self], who(1), 1, first.0, first.1);
    check_asset(&[born, minted, content_set()], who(1), 0, word(0xd9), "ipfs://next");
}

#[test]
fn an_asset_is_registered_once_and_first() {
    assert_eq!(asset_after(&[content_set()]), Err(ProjectError::AssetUnknown(id())));
    let sold = transferred(id(), who(1), who(2));
    assert_eq!(asset_after(&[sold]), Err(ProjectError::AssetUnknown(id())));
    let minted = transferred(id(), Address::ZERO, who(2));
    assert_eq!(asset_after(&[minted]), Err(ProjectError::AssetUnknown(id())));
    let twice = [registered(id()), registered(id())];
    assert_eq!(asset_after(&twice), Err(ProjectError::AssetExists(id())));
}

#[test]
fn an_authorization_is_the_last_word_on_the_pair() {
    let word = authorization(&authorized(id(), enclave(1), 7));
    assert_eq!(word, Some(Authorization { epoch: 0, serial: 7, terms: terms(7) }));
    let revoked = ChainEvent::EnclaveRevoked { asset: id(), enclave: enclave(1) };
    assert_eq!(authorization(&revoked), None);
}

#[test]
fn a_task_goes_through_its_states() {
    use TaskStatus::{Cancelled, Completed, Expired, Purchased, Started};

    check_task(&[], Purchased, &[]);
    check_task(&[started()], Started, &[]);
    check_task(&[started(), completed()], Completed, &[]);
    check_task(&[cancelled()], Cancelled, &[]);
    check_task(&[expired()], Expired, &[]);
    check_task(&[started(), expired()], Expired, &[]);
}

#[test]
fn settling_changes_nothing_even_after_the_end() {
    check_task(&[settled()], TaskStatus::Purchased, &[]);
    check_task(&[started(), settled(), settled()], TaskStatus::Started, &[]);
    check_task(&[started(), expired(), settled()], TaskStatus::Expired, &[]);
}

#[test]
fn revoked_grants_add_up_whatever_the_state() {
    check_task(&[revoked(9)], TaskStatus::Purchased, &[9]);
    check_task(&[revoked(9), started(), revoked(1), revoked(9)], TaskStatus::Started, &[1, 9]);
    check_task(&[cancelled(), revoked(1)], TaskStatus::Cancelled, &[1]);
}

#[test]
fn nothing_follows_the_end_of_a_task() {
    let ends = [vec![started(), completed()], vec![cancelled()], vec![expired()]];
    for end in ends {
        for next in [started(), completed(), cancelled(), expired()] {
            let history = [end.clone(), vec![next]].concat();
            let refused = task_after(&history);
            assert_eq!(refused, Err(ProjectError::TaskEnded(task_id())), "{history:?}");
        }
    }
}

#[test]
fn a_task_is_bought_once_and_first() {
    for event in [started(), completed(), cancelled(), expired(), settled(), revoked(1)] {
        let refused = task(task_id(), None, &event);
        assert_eq!(refused, Err(ProjectError::TaskUnknown(task_id())), "{event:?}");
    }
    let twice = task_after(&[purchased(task_id(), order())]);
    assert_eq!(twice, Err(ProjectError::TaskExists(task_id())));
}

#[test]
fn each_event_names_the_entity_that_it_writes() {
    let about_the_asset = [registered(id()), content_set(), transferred(id(), who(1), who(2))];
    for event in about_the_asset {
        assert_eq!(entity(&event), Entity::Asset(id()), "{event:?}");
    }
    let revoked_pair = ChainEvent::EnclaveRevoked { asset: id(), enclave: enclave(2) };
    for event in [authorized(id(), enclave(2), 1), revoked_pair] {
        assert_eq!(entity(&event), Entity::Authorization(id(), enclave(2)), "{event:?}");
    }
    let about_the_task = [
        purchased(task_id(), order()),
        started(),
        completed(),
        cancelled(),
        expired(),
        settled(),
        revoked(1),
    ];
    for event in about_the_task {
        assert_eq!(entity(&event), Entity::Task(task_id()), "{event:?}");
    }
}
