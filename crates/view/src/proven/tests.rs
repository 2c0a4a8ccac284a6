//! What was proven stays, what was not can be taken back.

use sesame_domain::ChainEvent;

use crate::testing::{ROWS, Scratch, asset, block, registered, transferred, who};

fn events(number: u64) -> Vec<ChainEvent> {
    match number {
        11 => vec![registered(asset(1)), transferred(asset(1), who(0), who(1))],
        _ => vec![transferred(asset(1), who(1), who(1))],
    }
}

/// Blocks 11 to 20, each with events, proven from block 10 on.
fn at_twenty() -> Scratch {
    let scratch = Scratch::at_ten();
    scratch.view().prove(10).unwrap();
    let blocks: Vec<_> = (11..=20).map(|number| block(number, events(number))).collect();
    scratch.view().apply(&blocks).unwrap();
    scratch
}

#[test]
fn confirmed_blocks_can_be_retracted_down_to_the_proven_one() {
    let scratch = at_twenty();
    scratch.view().confirm(13).unwrap();
    scratch.view().prove(13).unwrap();
    scratch.view().confirm(18).unwrap();
    let fresh = Scratch::at_ten();
    let blocks: Vec<_> = (11..=14).map(|number| block(number, events(number))).collect();
    fresh.view().apply(&blocks).unwrap();

    scratch.view().retract(14).unwrap();

    assert_eq!(scratch.dump_of(&ROWS), fresh.dump_of(&ROWS));
    let cursor = scratch.view().cursor().unwrap().unwrap();
    assert_eq!((cursor.head.number, cursor.confirmed.number), (14, 14));
    assert_eq!(scratch.view().proven().unwrap().unwrap().number, 13);
    assert_eq!(scratch.view().settled().unwrap().unwrap(), block(18, Vec::new()).block);
}

#[test]
fn below_the_proven_block_there_is_only_starting_anew() {
    let scratch = at_twenty();
    scratch.view().confirm(15).unwrap();
    scratch.view().prove(15).unwrap();

    scratch.view().retract(14).unwrap();

    assert_eq!(scratch.view().cursor().unwrap(), None);
    assert_eq!(scratch.view().proven().unwrap(), None);
    assert_eq!(scratch.dump_of(&ROWS), []);
    assert_eq!(scratch.view().settled().unwrap().unwrap().number, 15);
}

#[test]
fn only_confirmed_blocks_are_proven_and_never_back() {
    let scratch = at_twenty();
    assert!(scratch.view().prove(12).is_err());
    scratch.view().confirm(16).unwrap();
    for (asked, got) in [(12, 12), (11, 12), (16, 16)] {
        scratch.view().prove(asked).unwrap();
        assert_eq!(scratch.view().proven().unwrap().unwrap().number, got, "asked for {asked}");
    }
}

#[test]
fn what_was_settled_is_forgotten_once_it_is_proven_again() {
    let scratch = at_twenty();
    scratch.view().confirm(18).unwrap();
    scratch.view().retract(12).unwrap();
    let blocks: Vec<_> = (13..=20).map(|number| block(number, events(number))).collect();
    scratch.view().apply(&blocks).unwrap();
    scratch.view().confirm(19).unwrap();
    scratch.view().prove(19).unwrap();
    assert_eq!(scratch.view().settled().unwrap(), None);
}
