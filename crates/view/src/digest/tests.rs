//! The digest sees every row, and nothing of how it came there.

use crate::testing::{Scratch, asset, authorized, block, block_on, enclave, registered};

fn digest(scratch: &Scratch, number: u64) -> Option<alloy_primitives::B256> {
    scratch.view().snapshot().unwrap().unwrap().digest(number).unwrap()
}

#[test]
fn one_history_has_one_digest_whatever_the_mirror_went_through() {
    let straight = Scratch::at_ten();
    let blocks = [
        block(11, vec![registered(asset(1)), authorized(asset(1), enclave(1), 1)]),
        block(12, vec![authorized(asset(1), enclave(1), 2)]),
        block(13, Vec::new()),
    ];
    straight.view().apply(&blocks).unwrap();

    let winding = Scratch::at_ten();
    winding.view().apply(&blocks[..1]).unwrap();
    let mut other = block_on(1, 12, vec![authorized(asset(1), enclave(2), 2)]);
    other.block.parent = blocks[0].block.hash;
    winding.view().apply(&[other]).unwrap();
    winding.view().unwind(11).unwrap();
    winding.view().apply(&blocks[1..2]).unwrap();
    let before = digest(&winding, 11);
    winding.view().apply(&blocks[2..]).unwrap();

    for number in 10..=13 {
        assert!(digest(&straight, number).is_some());
        assert_eq!(digest(&straight, number), digest(&winding, number), "block {number}");
    }
    assert_eq!(before, digest(&winding, 11), "later blocks change nothing earlier");
    assert_ne!(digest(&straight, 11), digest(&straight, 12));
    assert_eq!(digest(&straight, 14), None);
    assert_eq!(digest(&straight, 9), None);
}

#[test]
fn another_row_is_another_digest() {
    let of = |serial| {
        let scratch = Scratch::at_ten();
        let events = vec![registered(asset(1)), authorized(asset(1), enclave(1), serial)];
        scratch.view().apply(&[block(11, events)]).unwrap();
        digest(&scratch, 11)
    };
    assert_eq!(of(1), of(1));
    assert_ne!(of(1), of(2));
}
