//! Blocks go in whole, come out whole, and nothing else gets in.

use alloy_primitives::U256;
use sesame_domain::{ChainEvent, Deal, OrderUse, TaskStatus};

use super::*;
use crate::{
    BothViews, Snapshot,
    testing::{
        self, ROWS, Scratch, at, authorized, block, block_on, bought_by, deal, enclave, matched,
        of_poco, order, purchased, registered, row, task, transferred, who, word,
    },
};

fn id() -> AssetId {
    testing::asset(1)
}

fn registration() -> Vec<ChainEvent> {
    vec![registered(id()), transferred(id(), Address::ZERO, who(1))]
}

fn snapshot(scratch: &Scratch) -> Snapshot<'_> {
    scratch.view().snapshot().unwrap().unwrap()
}

/// Refused, by this name, and not a byte has changed.
fn check_refused(scratch: &Scratch, act: impl Fn(&View) -> Result<(), WriteError>, expected: &str) {
    let before = scratch.dump();
    let refused = act(scratch.view()).unwrap_err();
    assert_eq!(refused.to_string(), expected);
    assert_eq!(scratch.dump(), before, "{expected}");
}

fn cause(error: &WriteError) -> Option<&ProjectError> {
    match error {
        WriteError::Contradiction { source, .. } => Some(source),
        WriteError::Read(_)
        | WriteError::NotNext { .. }
        | WriteError::BelowConfirmed { .. }
        | WriteError::Poisoned => None,
    }
}

#[test]
fn a_new_mirror_knows_nothing() {
    let scratch = Scratch::new();
    assert_eq!(scratch.view().cursor().unwrap(), None);
    assert!(scratch.view().snapshot().unwrap().is_none());
    assert_eq!(scratch.view().header(0).unwrap(), None);
    scratch.view().apply(&[]).unwrap();
    scratch.view().confirm(5).unwrap();
    scratch.view().unwind(5).unwrap();
    assert_eq!(scratch.view().cursor().unwrap(), None);
}

#[test]
fn the_first_block_may_be_any_and_is_confirmed() {
    let scratch = Scratch::at_ten();
    let first = block(10, Vec::new()).block;
    assert_eq!(scratch.view().cursor().unwrap(), Some(Cursor { head: first, confirmed: first }));
    assert_eq!(scratch.view().header(10).unwrap(), Some(first));
    assert_eq!(scratch.view().header(9).unwrap(), None);
}

#[test]
fn only_the_next_block_is_taken() {
    let scratch = Scratch::at_ten();
    for number in [1, 9, 10, 12, u64::MAX] {
        check_refused(
            &scratch,
            |view| view.apply(&[block(number, registration())]),
            &format!("block {number} does not follow the mirror's head 10"),
        );
    }
}

#[test]
fn a_gap_within_a_batch_refuses_the_whole_batch() {
    let scratch = Scratch::at_ten();
    let blocks = [block(11, registration()), block(12, Vec::new()), block(14, Vec::new())];
    check_refused(
        &scratch,
        |view| view.apply(&blocks),
        "block 14 does not follow the mirror's head 12",
    );
    let blocks = [block(11, registration()), block(11, Vec::new())];
    check_refused(
        &scratch,
        |view| view.apply(&blocks),
        "block 11 does not follow the mirror's head 11",
    );
}

#[test]
fn a_contradiction_refuses_the_whole_batch_and_names_the_block() {
    let scratch = Scratch::at_ten();
    scratch.view().apply(&[block(11, registration())]).unwrap();
    let cases = [
        (registered(id()), ProjectError::AssetExists(id())),
        (
            transferred(testing::asset(9), who(1), who(2)),
            ProjectError::AssetUnknown(testing::asset(9)),
        ),
        (ChainEvent::TaskStarted { task: task(9) }, ProjectError::TaskUnknown(task(9))),
        (purchased(task(1), order()), ProjectError::TaskExists(task(1))),
        (ChainEvent::TaskStarted { task: task(2) }, ProjectError::TaskEnded(task(2))),
    ];
    for (event, expected) in cases {
        let blocks = [
            block(12, vec![purchased(task(1), order()), purchased(task(2), order())]),
            block(13, vec![ChainEvent::TaskCancelled { task: task(2) }, event]),
        ];
        let before = scratch.dump();
        let refused = scratch.view().apply(&blocks).unwrap_err();
        assert_eq!(refused.to_string(), "the events of block 13 contradict the mirror");
        assert_eq!(cause(&refused), Some(&expected));
        assert_eq!(scratch.dump(), before);
    }
    scratch.view().apply(&[block(12, Vec::new())]).unwrap();
}

#[test]
fn later_events_of_a_block_build_on_earlier_ones() {
    let scratch = Scratch::at_ten();
    let mut events = registration();
    events.extend([
        transferred(id(), who(1), who(2)),
        authorized(id(), enclave(1), 1),
        ChainEvent::EnclaveRevoked { asset: id(), enclave: enclave(1) },
        authorized(id(), enclave(1), 2),
        purchased(task(1), order()),
        ChainEvent::TaskStarted { task: task(1) },
        ChainEvent::GrantRevoked { task: task(1), index: 9 },
    ]);
    scratch.view().apply(&[block(11, events)]).unwrap();
    let facts =
        snapshot(&scratch).facts(task(1), None, sesame_domain::Resource::AppSecret).unwrap().head;
    let app = facts.app.asset.unwrap();
    assert_eq!((app.owner, app.epoch), (who(2), 1));
    assert_eq!(facts.app.authorization.unwrap().serial, 2);
    assert_eq!(facts.task.unwrap().as_ref(), &row(TaskStatus::Started, &[9]));
}

#[test]
fn a_batch_of_blocks_is_the_same_as_block_after_block() {
    let blocks = [
        block(11, registration()),
        block(12, vec![transferred(id(), who(1), who(2)), purchased(task(1), order())]),
        block(13, Vec::new()),
        block(
            14,
            vec![ChainEvent::TaskStarted { task: task(1) }, transferred(id(), who(2), who(3))],
        ),
    ];
    let (at_once, in_turn) = (Scratch::at_ten(), Scratch::at_ten());
    at_once.view().apply(&blocks).unwrap();
    for block in blocks {
        in_turn.view().apply(&[block]).unwrap();
    }
    assert_eq!(at_once.dump_of(&ROWS), in_turn.dump_of(&ROWS));
    at_once.view().unwind(11).unwrap();
    in_turn.view().unwind(11).unwrap();
    assert_eq!(at_once.dump_of(&ROWS), in_turn.dump_of(&ROWS));
}

#[test]
fn journals_fold_every_event_in_order() {
    let scratch = Scratch::at_ten();
    let blocks = [block(11, registration()), block(12, vec![authorized(id(), enclave(1), 1)])];
    scratch.view().apply(&blocks).unwrap();
    scratch.view().apply(&[block(13, vec![transferred(id(), who(1), who(2))])]).unwrap();
    let mut events = registration();
    events.push(transferred(id(), who(1), who(2)));
    let expected = events
        .into_iter()
        .fold(Journal::default(), |journal, event| journal.fold(&at(event).journal.unwrap().1));
    let snapshot = snapshot(&scratch);
    assert_eq!(snapshot.journal(Registry::Assets).unwrap(), expected);
    assert_eq!(snapshot.journal(Registry::Whitelist).unwrap().sequence(), 1);
    assert_eq!(snapshot.journal(Registry::Tasks).unwrap(), Journal::default());
}

#[test]
fn unwinding_leaves_no_trace() {
    let scratch = Scratch::at_ten();
    scratch.view().apply(&[block(11, registration())]).unwrap();
    let before = scratch.dump();
    let blocks = [
        block(12, vec![transferred(id(), who(1), who(2)), purchased(task(1), order())]),
        block(13, vec![authorized(id(), enclave(1), 1)]),
        block(14, vec![ChainEvent::EnclaveRevoked { asset: id(), enclave: enclave(1) }]),
    ];
    scratch.view().apply(&blocks).unwrap();
    scratch.view().unwind(11).unwrap();
    assert_eq!(scratch.dump(), before);
    scratch.view().unwind(11).unwrap();
    assert_eq!(scratch.dump(), before);
    let mut other = block_on(1, 12, vec![purchased(task(1), order())]);
    check_refused(
        &scratch,
        |view| view.apply(&[other.clone()]),
        "block 12 does not follow the mirror's head 11",
    );
    other.block.parent = block(11, Vec::new()).block.hash;
    scratch.view().apply(&[other]).unwrap();
}

#[test]
fn unwinding_below_the_confirmed_block_is_refused() {
    let scratch = Scratch::at_ten();
    let blocks: Vec<_> = (11..=15).map(|number| block(number, Vec::new())).collect();
    scratch.view().apply(&blocks).unwrap();
    scratch.view().confirm(13).unwrap();
    for to in [0, 10, 12] {
        let expected = format!("cannot unwind to block {to}: block 13 is confirmed");
        check_refused(&scratch, |view| view.unwind(to), &expected);
    }
    scratch.view().unwind(13).unwrap();
    assert_eq!(snapshot(&scratch).head().number, 13);
}

#[test]
fn unwinding_to_where_the_mirror_has_not_been_does_nothing() {
    let scratch = Scratch::at_ten();
    scratch.view().apply(&[block(11, registration())]).unwrap();
    let before = scratch.dump();
    for to in [11, 12, u64::MAX] {
        scratch.view().unwind(to).unwrap();
        assert_eq!(scratch.dump(), before, "{to}");
    }
}

#[test]
fn the_confirmed_block_goes_forward_to_the_head_and_never_back() {
    let scratch = Scratch::at_ten();
    let blocks: Vec<_> = (11..=15).map(|number| block(number, Vec::new())).collect();
    scratch.view().apply(&blocks).unwrap();
    for (asked, got) in [(12, 12), (11, 12), (0, 12), (12, 12), (14, 14), (99, 15), (u64::MAX, 15)]
    {
        scratch.view().confirm(asked).unwrap();
        let confirmed = snapshot(&scratch).confirmed();
        assert_eq!(confirmed, block(got, Vec::new()).block, "asked for {asked}");
    }
}

#[test]
fn undo_lists_vanish_once_confirmed() {
    let scratch = Scratch::at_ten();
    let changes = (11..=16).map(|number| {
        let events =
            if number == 11 { registration() } else { vec![transferred(id(), who(1), who(1))] };
        block(number, events)
    });
    scratch.view().apply(&changes.collect::<Vec<_>>()).unwrap();
    let kept = || {
        let keys = scratch.dump_of(&[UNDO]).into_iter();
        keys.map(|(_, key, _)| u64::from_be_bytes(key.try_into().unwrap())).collect::<Vec<_>>()
    };
    assert_eq!(kept(), [11, 12, 13, 14, 15, 16]);
    scratch.view().confirm(13).unwrap();
    assert_eq!(kept(), [14, 15, 16]);
    scratch.view().unwind(15).unwrap();
    assert_eq!(kept(), [14, 15]);
    scratch.view().confirm(15).unwrap();
    assert_eq!(kept(), [0; 0]);
}

#[test]
fn everything_survives_closing() {
    let mut scratch = Scratch::at_ten();
    scratch.view().apply(&[block(11, registration()), block(12, Vec::new())]).unwrap();
    scratch.view().confirm(11).unwrap();
    let before = scratch.dump();
    scratch.reopen();
    assert_eq!(scratch.dump(), before);
    scratch.view().apply(&[block(13, vec![transferred(id(), who(1), who(2))])]).unwrap();
    scratch.reopen();
    scratch.view().unwind(12).unwrap();
    assert_eq!(scratch.dump(), before);
}

#[test]
fn after_a_failed_write_the_handle_refuses() {
    let mut scratch = Scratch::at_ten();
    scratch.view().apply(&[block(11, Vec::new())]).unwrap();
    scratch.view().poisoned.store(true, Ordering::SeqCst);
    let expected = WriteError::Poisoned.to_string();
    check_refused(&scratch, |view| view.apply(&[block(12, registration())]), &expected);
    check_refused(&scratch, |view| view.unwind(10), &expected);
    check_refused(&scratch, |view| view.confirm(11), &expected);
    scratch.reopen();
    scratch.view().apply(&[block(12, registration())]).unwrap();
}

/// Overwrites every row of a table with something that is no row.
fn damage(scratch: &Scratch, table: &'static str, garbage: &[u8]) {
    for (_, key, _) in scratch.dump_of(&[table]) {
        if table != META || key == META_CURSOR {
            scratch.view().db.put_cf(scratch.view().family(table), key, garbage).unwrap();
        }
    }
}

fn check_damaged<T: std::fmt::Debug>(read: Result<T, impl Into<WriteError>>, expected: &str) {
    match read.map_err(Into::into) {
        Err(WriteError::Read(ReadError::Damaged { table })) => assert_eq!(table, expected),
        other => panic!("{expected}: {other:?}"),
    }
}

#[test]
fn a_damaged_row_is_a_named_error_wherever_it_is_read() {
    let busy = || {
        let scratch = Scratch::at_ten();
        let mut events = registration();
        events.extend([authorized(id(), enclave(1), 1), purchased(task(1), order())]);
        scratch.view().apply(&[block(11, events)]).unwrap();
        scratch
    };
    for garbage in [&[][..], &[1], &[2, 3], &[0, 0], b"\x01not a row at all"] {
        for table in [Assets::NAME, Authorizations::NAME, Tasks::NAME] {
            let scratch = busy();
            damage(&scratch, table, garbage);
            let facts = snapshot(&scratch).facts(task(1), None, sesame_domain::Resource::Bundle);
            check_damaged(facts, table);
        }
        let scratch = busy();
        damage(&scratch, Journals::NAME, garbage);
        check_damaged(snapshot(&scratch).journal(Registry::Assets), Journals::NAME);
        let next = [block(12, vec![transferred(id(), who(1), who(2))])];
        check_damaged(scratch.view().apply(&next), Journals::NAME);

        let scratch = busy();
        damage(&scratch, HEADERS, garbage);
        check_damaged(scratch.view().header(11), HEADERS);
        check_damaged(snapshot(&scratch).header(11), HEADERS);

        let scratch = busy();
        damage(&scratch, META, garbage);
        check_damaged(scratch.view().cursor(), META);
        check_damaged(scratch.view().snapshot().map(|_| ()), META);
        check_damaged(scratch.view().apply(&[block(12, Vec::new())]), META);
    }
    for garbage in [&[0][..], &[7, 0], &[0, 40, 1], &[255, 1, 1]] {
        let scratch = busy();
        damage(&scratch, UNDO, garbage);
        check_damaged(scratch.view().unwind(10), UNDO);
        // What should be gone is hidden, and nothing is written over it.
        assert_eq!(scratch.view().cursor().unwrap().unwrap().head.number, 10, "{garbage:?}");
        let next = block(11, Vec::new());
        let refused = scratch.view().apply(&[next]).unwrap_err();
        assert!(matches!(refused, WriteError::Poisoned), "{garbage:?}: {refused}");
    }
}

#[test]
fn undo_lists_come_back_as_they_went() {
    let mut undo = Vec::new();
    push_undo::<Assets>(&mut undo, &[1; 40]);
    push_undo::<Authorizations>(&mut undo, &[2; 72]);
    push_undo::<Tasks>(&mut undo, &[3; 40]);
    push_undo::<Journals>(&mut undo, &[4; 9]);
    let expected: Vec<(&str, &[u8])> = vec![
        (Assets::NAME, &[1; 40]),
        (Authorizations::NAME, &[2; 72]),
        (Tasks::NAME, &[3; 40]),
        (Journals::NAME, &[4; 9]),
    ];
    assert_eq!(undo_entries(&undo).unwrap(), expected);
    assert_eq!(undo_entries(&[]).unwrap(), []);
    for length in 1..undo.len() {
        let whole = [42, 116, 158].contains(&length);
        assert_eq!(undo_entries(&undo[..length]).is_ok(), whole, "{length} bytes");
    }
}

/// Killed between hiding what a reorg undid and removing it.
#[test]
fn an_interrupted_unwinding_is_finished_when_the_mirror_opens() {
    let mut scratch = Scratch::at_ten();
    let before = scratch.dump();
    scratch.view().apply(&[block(11, registration()), block(12, Vec::new())]).unwrap();
    let ground = block(10, Vec::new()).block;

    scratch.view().hide(Cursor { head: ground, confirmed: ground }, 12).unwrap();

    assert_eq!(snapshot(&scratch).head(), ground);
    assert_eq!(snapshot(&scratch).asset(id()).unwrap().head, None);
    assert_eq!(snapshot(&scratch).header(12).unwrap(), None);
    assert_ne!(scratch.dump(), before);
    scratch.reopen();
    assert_eq!(scratch.dump(), before);
}

/// A block of what contracts without a journal say.
fn poco(number: u64, events: Vec<ChainEvent>) -> BlockEvents {
    BlockEvents { events: events.into_iter().map(of_poco).collect(), ..block(number, Vec::new()) }
}

fn consumed(volume: u64) -> ChainEvent {
    ChainEvent::OrderConsumed { order: word(8), volume: U256::from(volume) }
}

#[test]
fn a_deals_task_lives_and_is_undone_with_its_orders() {
    let scratch = Scratch::at_ten();
    let born = [registration(), vec![matched(), consumed(3)]].concat();
    scratch.view().apply(&[poco(11, born)]).unwrap();
    let before = scratch.dump();
    let bought = bought_by(deal(), task(1), order());
    let started = ChainEvent::TaskStarted { task: task(1) };
    let signed = ChainEvent::OrderPresigned { order: word(8), by: who(1) };
    scratch.view().apply(&[poco(12, vec![bought, started, consumed(4), signed])]).unwrap();
    let revealing = ChainEvent::TaskRevealing { task: task(1) };
    let closed = ChainEvent::OrderClosed { order: word(8) };
    scratch.view().apply(&[poco(13, vec![revealing, closed])]).unwrap();

    let row = snapshot(&scratch).task(task(1)).unwrap().head.unwrap();
    let app = snapshot(&scratch).asset(id()).unwrap().head.unwrap();
    assert_eq!((row.status, row.deal.as_deref()), (TaskStatus::Revealing, Some(&deal())));
    assert_eq!((&row.app.uri, row.app.digest), (&app.uri, app.digest), "filled in");
    let presigned_by = Some(who(1));
    let used = OrderUse { consumed: U256::from(7), closed: true, presigned_by };
    let order_use = snapshot(&scratch).order_use(word(8)).unwrap();
    assert_eq!(order_use, BothViews { head: used, confirmed: OrderUse::default() });
    assert_eq!(snapshot(&scratch).order_use(word(9)).unwrap(), BothViews::default());
    for registry in Registry::ALL {
        assert_eq!(snapshot(&scratch).journal(registry).unwrap(), Journal::default());
    }

    scratch.view().unwind(11).unwrap();
    assert_eq!(scratch.dump(), before);
    assert_eq!(snapshot(&scratch).task(task(1)).unwrap(), BothViews::default());
    let used = OrderUse { consumed: U256::from(3), ..OrderUse::default() };
    assert_eq!(snapshot(&scratch).order_use(word(8)).unwrap().head, used);
}

#[test]
fn a_task_of_another_deal_than_was_made_is_refused() {
    let scratch = Scratch::at_ten();
    scratch.view().apply(&[poco(11, vec![matched()])]).unwrap();
    for deal in [Deal { size: 4, ..deal() }, Deal { first: 1, ..deal() }] {
        let before = scratch.dump();
        let bought = bought_by(deal, task(1), order());
        let refused = scratch.view().apply(&[poco(12, vec![bought])]).unwrap_err();
        assert_eq!(cause(&refused), Some(&ProjectError::OtherDeal(task(1))));
        assert_eq!(scratch.dump(), before);
    }
}

#[test]
fn tasks_of_others_are_no_concern_of_a_mirror_without_journals() {
    let scratch = Scratch::at_ten();
    let expired = ChainEvent::TaskExpired { task: task(9) };
    scratch.view().apply(&[poco(11, vec![expired.clone()])]).unwrap();
    assert_eq!(snapshot(&scratch).task(task(9)).unwrap(), BothViews::default());
    let (rows, untouched) = (scratch.dump_of(&ROWS), Scratch::at_ten());
    untouched.view().apply(&[block(11, Vec::new())]).unwrap();
    assert_eq!(rows, untouched.dump_of(&ROWS), "not even a tombstone");
    let refused = scratch.view().apply(&[block(12, vec![expired])]).unwrap_err();
    assert_eq!(cause(&refused), Some(&ProjectError::TaskUnknown(task(9))), "ours are all known");
}
