//! Every event writes its own entity, and what contradicts the past is refused by name.

use alloy_primitives::{B256, U256};

use super::*;
use crate::testing::{
    self, authorized, bought_by, deal as the_deal, enclave, matched, order, purchased, registered,
    row, terms, transferred, who, word,
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

fn revealing() -> ChainEvent {
    ChainEvent::TaskRevealing { task: task_id() }
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
    use TaskStatus::{Cancelled, Completed, Expired, Purchased, Revealing, Started};

    check_task(&[started(), revealing()], Revealing, &[]);
    check_task(&[started(), revealing(), started()], Started, &[]);
    check_task(&[started(), revealing(), completed()], Completed, &[]);
    check_task(&[started(), revealing(), expired()], Expired, &[]);
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
        for next in [started(), revealing(), completed(), cancelled(), expired()] {
            let history = [end.clone(), vec![next]].concat();
            let refused = task_after(&history);
            assert_eq!(refused, Err(ProjectError::TaskEnded(task_id())), "{history:?}");
        }
    }
}

#[test]
fn a_task_is_bought_once_and_first() {
    for event in
        [started(), revealing(), completed(), cancelled(), expired(), settled(), revoked(1)]
    {
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
        revealing(),
        completed(),
        cancelled(),
        expired(),
        settled(),
        revoked(1),
    ];
    for event in about_the_task {
        assert_eq!(entity(&event), Entity::Task(task_id()), "{event:?}");
    }
    for event in [consumed(1), ChainEvent::OrderClosed { order: word(8) }, presigned(1)] {
        assert_eq!(entity(&event), Entity::Order(word(8)), "{event:?}");
    }
    assert_eq!(entity(&matched()), Entity::Deal(the_deal().id));
}

fn consumed(volume: u64) -> ChainEvent {
    ChainEvent::OrderConsumed { order: word(8), volume: U256::from(volume) }
}

fn presigned(by: u8) -> ChainEvent {
    ChainEvent::OrderPresigned { order: word(8), by: who(by) }
}

#[test]
fn an_order_is_used_up_closed_and_signed_by_its_last_signer() {
    let used = |events: &[ChainEvent]| {
        events.iter().fold(None, |before, event| Some(super::order(before, event))).unwrap()
    };
    let three = OrderUse { consumed: U256::from(3), ..OrderUse::default() };
    assert_eq!(used(&[consumed(1), consumed(2)]), three);
    let closed = ChainEvent::OrderClosed { order: word(8) };
    let expected = OrderUse { closed: true, presigned_by: Some(who(2)), ..three };
    let history = [presigned(1), consumed(3), closed.clone(), presigned(2)];
    assert_eq!(used(&history), expected);
    let more = ChainEvent::OrderConsumed { order: word(8), volume: U256::MAX };
    assert_eq!(used(&[consumed(1), more]).consumed, U256::MAX, "no number is too great");
    assert_eq!(used(&[closed]), OrderUse { closed: true, ..OrderUse::default() });
}

#[test]
fn a_deal_is_what_its_making_says() {
    assert_eq!(deal(&matched()), Some(DealMatch { request: word(0x55), volume: 3 }));
    assert_eq!(deal(&started()), None);
}

#[test]
fn a_deals_task_is_about_its_assets_as_they_are() {
    let bought = bought_by(the_deal(), task_id(), order());
    let bought = task(task_id(), None, &bought).unwrap().unwrap();
    let asset = |byte: u8| Asset {
        kind: sesame_domain::AssetKind::ProtectedData,
        owner: who(byte),
        epoch: u64::from(byte),
        digest: word(byte),
        uri: format!("/ipfs/{byte}"),
    };
    let (app, known) = (asset(41), asset(43));
    let made = deal(&matched());
    let row = deal_task(task_id(), bought.clone(), made, Some(&app), &[None, Some(known)]).unwrap();
    let told = |snapshot: &AssetSnapshot| (snapshot.uri.clone(), snapshot.digest, snapshot.epoch);
    assert_eq!(told(&row.app), ("/ipfs/41".to_owned(), word(41), 41));
    assert_eq!(row.app.price, bought.app.price);
    assert_eq!(row.data[0], bought.data[0], "what nobody knows is as the event says");
    assert_eq!(told(&row.data[1]), ("/ipfs/43".to_owned(), word(43), 43));
    assert_eq!(row.order.enclave, the_deal().enclave(word(41)));
    assert_ne!(row.order.enclave, EnclaveId::default());

    let unseen = deal_task(task_id(), bought.clone(), None, Some(&app), &[]);
    assert_eq!(unseen.unwrap().app, row.app, "a deal older than the mirror");
    let other = made.map(|made| DealMatch { volume: 4, ..made });
    let refused = deal_task(task_id(), bought, other, Some(&app), &[]);
    assert_eq!(refused, Err(ProjectError::OtherDeal(task_id())));
}
