//! The past that is kept answers as before; the past that is not kept answers nothing.

use rand::{Rng, SeedableRng, rngs::StdRng};
use sesame_domain::ChainEvent;

use crate::{
    History, WriteError,
    testing::{Scratch, asset, authorized, block, enclave, registered, transferred, who},
};

const ENTITIES: u8 = 5;

fn events(random: &mut StdRng, number: u64) -> Vec<ChainEvent> {
    if number == 11 {
        return (1..=ENTITIES).map(|id| registered(asset(id))).collect();
    }
    let mut one = || {
        let id = asset(random.random_range(1..=ENTITIES));
        match random.random_range(0..3) {
            0 => transferred(id, who(random.random()), who(random.random())),
            1 => authorized(id, enclave(1), number),
            _ => ChainEvent::EnclaveRevoked { asset: id, enclave: enclave(1) },
        }
    };
    vec![one(), one()]
}

/// Two mirrors of the same blocks 11 to `last`, confirmed and proven up to `proven`.
fn twins(seed: u64, last: u64, proven: u64) -> [Scratch; 2] {
    [(); 2].map(|()| {
        let mut random = StdRng::seed_from_u64(seed);
        let scratch = Scratch::at_ten();
        scratch.view().prove(10).unwrap();
        for number in 11..=last {
            scratch.view().apply(&[block(number, events(&mut random, number))]).unwrap();
        }
        scratch.view().confirm(proven).unwrap();
        scratch.view().prove(proven).unwrap();
        scratch
    })
}

fn prune_whole(scratch: &Scratch, history: History) {
    for _ in 0..8 {
        scratch.view().prune(history).unwrap();
    }
}

#[test]
fn what_is_kept_answers_as_before_and_the_rest_not_at_all() {
    for seed in 0..3 {
        let [whole, pruned] = twins(seed, 60, 50);
        prune_whole(&pruned, History::Blocks(10));
        let (whole, pruned) = (whole.view(), pruned.view());
        for number in 10..=60 {
            let digest = pruned.snapshot().unwrap().unwrap().digest(number).unwrap();
            let expected = whole.snapshot().unwrap().unwrap().digest(number).unwrap();
            assert_eq!(digest, expected.filter(|_| number >= 40), "seed {seed}, block {number}");
            let back = pruned.snapshot().unwrap().unwrap().back_to(number).unwrap();
            assert_eq!(back.is_some(), number >= 40, "seed {seed}, block {number}");
        }
    }
}

#[test]
fn the_way_back_to_the_proven_block_stays_open() {
    let [whole, pruned] = twins(7, 60, 50);
    prune_whole(&pruned, History::Blocks(0));
    for scratch in [&whole, &pruned] {
        scratch.view().retract(50).unwrap();
    }
    let digest = |scratch: &Scratch| {
        scratch.view().snapshot().unwrap().unwrap().digest(50).unwrap().unwrap()
    };
    assert_eq!(digest(&pruned), digest(&whole));
    let refused = pruned.view().unwind(49).unwrap_err();
    assert!(matches!(refused, WriteError::BelowConfirmed { .. }), "{refused}");
}

#[test]
fn versions_that_nobody_can_ask_for_are_gone() {
    let [whole, pruned] = twins(3, 200, 200);
    prune_whole(&pruned, History::Blocks(0));
    let rows = |scratch: &Scratch| scratch.dump_of(&["assets", "authorizations", "headers"]).len();
    assert!(rows(&whole) > 400, "{}", rows(&whole));
    // One version of each entity, and one header.
    assert_eq!(rows(&pruned), usize::from(ENTITIES) * 2 + 1);
}

#[test]
fn all_is_kept_unless_told_otherwise() {
    let [whole, pruned] = twins(3, 60, 60);
    prune_whole(&pruned, History::default());
    assert_eq!(whole.dump(), pruned.dump());
}

/// A mirror that starts anew knows nothing of how far the old one was pruned.
#[test]
fn a_mirror_that_was_forgotten_is_not_pruned_by_what_it_was() {
    let [scratch, _] = twins(3, 60, 60);
    prune_whole(&scratch, History::Blocks(0));
    scratch.view().retract(0).unwrap();
    scratch.view().apply(&[block(10, Vec::new())]).unwrap();
    scratch.view().prove(10).unwrap();
    let mut random = StdRng::seed_from_u64(3);
    for number in 11..=30 {
        scratch.view().apply(&[block(number, events(&mut random, number))]).unwrap();
    }
    let [fresh, _] = twins(3, 30, 10);
    scratch.view().prune(History::Blocks(0)).unwrap();
    for number in 10..=30 {
        let digest = |scratch: &Scratch| {
            scratch.view().snapshot().unwrap().unwrap().digest(number).unwrap().unwrap()
        };
        assert_eq!(digest(&scratch), digest(&fresh), "block {number}");
    }
}

#[test]
fn a_history_is_a_number_of_blocks_or_all() {
    assert_eq!("all".parse(), Ok(History::All));
    assert_eq!("128".parse(), Ok(History::Blocks(128)));
    for text in ["", "-1", "some", "1.5"] {
        assert!(text.parse::<History>().is_err(), "{text}");
    }
    assert_eq!(History::Blocks(5).to_string(), "5");
    assert_eq!(History::All.to_string(), "all");
}
