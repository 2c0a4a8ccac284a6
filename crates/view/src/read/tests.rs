//! One reading: what both views say, at one moment, whatever is written meanwhile.

use alloy_primitives::Address;
use sesame_domain::{BlockEvents, ChainEvent, TaskStatus};

use super::*;
use crate::testing::{
    self, Scratch, authorized, block, enclave, order, purchased, registered, row, task,
    transferred, who,
};

fn id() -> AssetId {
    testing::asset(1)
}

/// Blocks from 11 on, of which those up to `confirmed` are confirmed.
fn world(confirmed: u64, blocks: Vec<Vec<ChainEvent>>) -> Scratch {
    let scratch = Scratch::at_ten();
    let blocks: Vec<BlockEvents> =
        (11..).zip(blocks).map(|(number, events)| block(number, events)).collect();
    scratch.view().apply(&blocks).unwrap();
    scratch.view().confirm(confirmed).unwrap();
    scratch
}

fn facts_of(scratch: &Scratch, resource: Resource) -> BothViews<Facts> {
    scratch.view().snapshot().unwrap().unwrap().facts(task(1), None, resource).unwrap()
}

fn born() -> Vec<ChainEvent> {
    vec![
        registered(id()),
        transferred(id(), Address::ZERO, who(1)),
        authorized(id(), enclave(1), 1),
        purchased(task(1), order()),
    ]
}

fn revoked() -> ChainEvent {
    ChainEvent::EnclaveRevoked { asset: id(), enclave: enclave(1) }
}

#[test]
fn an_unknown_task_has_no_facts_but_the_blocks() {
    let scratch = world(11, vec![born(), Vec::new()]);
    let snapshot = scratch.view().snapshot().unwrap().unwrap();
    let facts = snapshot.facts(task(2), Some(enclave(1)), Resource::Bundle).unwrap();
    let head = Facts { at: block(12, Vec::new()).block, ..Facts::default() };
    let confirmed = Facts { at: block(11, Vec::new()).block, ..Facts::default() };
    assert_eq!(facts, BothViews { head, confirmed });
}

#[test]
fn what_is_confirmed_stands_in_both_views() {
    let facts = facts_of(&world(12, vec![born(), Vec::new()]), Resource::AppSecret);
    assert_eq!(facts.head.task.as_deref(), Some(&row(TaskStatus::Purchased, &[])));
    assert_eq!(facts.head.task, facts.confirmed.task);
    assert_eq!(facts.head.app, facts.confirmed.app);
    assert_eq!(facts.head.changed_at, 11);
}

#[test]
fn a_grant_stands_at_the_head_alone_until_it_is_confirmed() {
    let blocks = vec![born(), vec![authorized(id(), enclave(1), 2)]];
    let waiting = facts_of(&world(11, blocks.clone()), Resource::AppSecret);
    let serial = |facts: &Facts| facts.app.authorization.as_ref().map(|word| word.serial);
    assert_eq!((serial(&waiting.head), serial(&waiting.confirmed)), (Some(2), Some(1)));
    assert_eq!(waiting.head.changed_at, 12);
    let settled = facts_of(&world(12, blocks), Resource::AppSecret);
    assert_eq!((serial(&settled.head), serial(&settled.confirmed)), (Some(2), Some(2)));
}

#[test]
fn a_revocation_stands_at_the_head_at_once() {
    let facts = facts_of(&world(11, vec![born(), vec![revoked()]]), Resource::AppSecret);
    assert_eq!(facts.head.app.authorization, None);
    assert!(facts.confirmed.app.authorization.is_some());
    assert_eq!(facts.head.changed_at, 12);
}

#[test]
fn a_task_not_confirmed_is_unknown_to_the_confirmed_view() {
    let mut blocks = vec![born(), Vec::new()];
    let purchase = blocks[0].pop().unwrap();
    blocks[1].push(purchase);
    let facts = facts_of(&world(11, blocks), Resource::Bundle);
    assert!(facts.head.task.is_some());
    assert_eq!(facts.confirmed.task, None);
    assert!(facts.confirmed.app.asset.is_some(), "the app was confirmed before");
}

#[test]
fn each_resource_brings_its_own_protected_data() {
    let scratch = world(11, vec![born()]);
    let numbers = |resource| {
        let facts = facts_of(&scratch, resource);
        let of =
            |facts: &Facts| facts.data.iter().map(|(n, data)| (*n, data.id)).collect::<Vec<_>>();
        assert_eq!(of(&facts.head), of(&facts.confirmed));
        of(&facts.head)
    };
    let (first, second) = ((1, testing::asset(2)), (2, testing::asset(3)));
    assert_eq!(numbers(Resource::Bundle), [first, second]);
    assert_eq!(numbers(Resource::ProtectedData(1)), [first]);
    assert_eq!(numbers(Resource::ProtectedData(2)), [second]);
    assert_eq!(numbers(Resource::ProtectedData(3)), []);
    assert_eq!(numbers(Resource::ProtectedData(0)), []);
    assert_eq!(numbers(Resource::AppSecret), []);
    assert_eq!(numbers(Resource::RequesterSecret(1)), []);
}

#[test]
fn the_question_may_be_about_another_enclave_than_the_tasks() {
    let scratch = world(11, vec![born()]);
    let snapshot = scratch.view().snapshot().unwrap().unwrap();
    let word = |enclave| {
        let facts = snapshot.facts(task(1), enclave, Resource::AppSecret).unwrap();
        facts.head.app.authorization.is_some()
    };
    assert!(word(None));
    assert!(word(Some(enclave(1))));
    assert!(!word(Some(enclave(2))));
}

#[test]
fn a_snapshot_does_not_see_what_is_written_after_it() {
    let scratch = world(11, vec![born()]);
    let before = scratch.view().snapshot().unwrap().unwrap();
    let facts = before.facts(task(1), None, Resource::Bundle).unwrap();
    let sold = transferred(id(), who(1), who(2));
    scratch.view().apply(&[block(12, vec![revoked(), sold])]).unwrap();
    scratch.view().confirm(12).unwrap();
    assert_eq!(before.facts(task(1), None, Resource::Bundle).unwrap(), facts);
    assert_eq!(before.head().number, 11);
    assert_eq!(before.header(12).unwrap(), None);
    assert_eq!(before.journal(Registry::Whitelist).unwrap().sequence(), 1);
    assert_eq!(scratch.view().snapshot().unwrap().unwrap().head().number, 12);
}

#[test]
fn the_past_reads_as_it_was_then() {
    let sold = transferred(id(), who(1), who(2));
    let scratch = world(13, vec![born(), vec![revoked()], vec![sold], Vec::new()]);
    let owner = |number| {
        let snapshot = scratch.view().snapshot().unwrap().unwrap();
        let then = snapshot.back_to(number).unwrap()?;
        assert_eq!((then.head().number, then.confirmed().number), (number, number));
        let facts = then.facts(task(1), None, Resource::AppSecret).unwrap();
        assert_eq!(facts.head.app, facts.confirmed.app);
        let app = facts.head.app;
        Some((app.asset.map(|asset| asset.owner), app.authorization.is_some()))
    };
    assert_eq!(owner(9), None);
    assert_eq!(owner(10), Some((None, false)));
    assert_eq!(owner(11), Some((Some(who(1)), true)));
    assert_eq!(owner(12), Some((Some(who(1)), false)));
    assert_eq!(owner(13), Some((Some(who(2)), false)));
    assert_eq!(owner(14), Some((Some(who(2)), false)));
    assert_eq!(owner(15), None);
}

#[test]
fn an_asset_reads_in_both_views() {
    let scratch = world(11, vec![born(), vec![transferred(id(), who(1), who(2))]]);
    let snapshot = scratch.view().snapshot().unwrap().unwrap();
    let both = snapshot.asset(id()).unwrap();
    let owner = |asset: Option<Asset>| asset.map(|asset| (asset.owner, asset.epoch));
    assert_eq!(owner(both.head), Some((who(2), 1)));
    assert_eq!(owner(both.confirmed), Some((who(1), 0)));
    assert_eq!(snapshot.asset(testing::asset(9)).unwrap(), BothViews::default());
}

#[test]
fn neighbours_in_the_table_are_not_mistaken_for_the_entity() {
    let scratch =
        world(11, vec![vec![registered(testing::asset(2)), registered(testing::asset(4))]]);
    let snapshot = scratch.view().snapshot().unwrap().unwrap();
    for (byte, known) in [(1, false), (2, true), (3, false), (4, true), (5, false)] {
        let both = snapshot.asset(testing::asset(byte)).unwrap();
        assert_eq!(both.head.is_some(), known, "{byte}");
    }
}

/// What an owner has follows every sale, there and back, through a reorg as well.
#[test]
fn holdings_are_what_an_owner_has_at_the_head() {
    let sold = |from, to| transferred(id(), who(from), who(to));
    let other = || transferred(testing::asset(2), Address::ZERO, who(1));
    let scratch = world(
        11,
        vec![
            [born(), vec![registered(testing::asset(2)), other()]].concat(),
            vec![sold(1, 2)],
            vec![sold(2, 3), sold(3, 1)],
            vec![sold(1, 3)],
        ],
    );
    let held = |owner: u8| {
        let snapshot = scratch.view().snapshot().unwrap().unwrap();
        let all = snapshot.holdings(who(owner), None, 9).unwrap();
        for (place, asset) in all.iter().enumerate() {
            let rest = snapshot.holdings(who(owner), Some(*asset), 9).unwrap();
            assert_eq!(rest, all[place + 1..], "past {asset}");
            assert_eq!(snapshot.holdings(who(owner), None, place + 1).unwrap(), all[..=place]);
        }
        all.iter().map(|asset| asset.0[0]).collect::<Vec<_>>()
    };
    assert_eq!([held(0), held(1), held(2), held(3)], [vec![], vec![2], vec![], vec![1]]);
    scratch.view().unwind(13).unwrap();
    assert_eq!([held(0), held(1), held(2), held(3)], [vec![], vec![1, 2], vec![], vec![]]);
    scratch.view().unwind(12).unwrap();
    assert_eq!([held(0), held(1), held(2), held(3)], [vec![], vec![2], vec![1], vec![]]);
}
