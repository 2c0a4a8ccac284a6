//! A node's answer hangs together, or is a lie with a name.

use alloy::{
    consensus,
    primitives::{Address, Bytes, LogData},
};

use super::*;

const CONTRACT: Address = Address::repeat_byte(0xaa);

fn topic(byte: u8) -> B256 {
    B256::repeat_byte(byte)
}

/// A header whose bloom knows a contract and the topics 1 and 2.
fn header(number: u64) -> Header {
    let mut bloom = Bloom::default();
    for input in [CONTRACT.as_slice(), topic(1).as_slice(), topic(2).as_slice()] {
        bloom.accrue(BloomInput::Raw(input));
    }
    Header::new(consensus::Header {
        number,
        parent_hash: topic(0x99),
        timestamp: 1_800_000_000,
        logs_bloom: bloom,
        ..consensus::Header::default()
    })
}

fn verified(number: u64) -> VerifiedHeader {
    VerifiedHeader::check(&header(number)).unwrap()
}

fn log(index: u64) -> Log {
    let topics = vec![topic(1), topic(2)];
    let data = LogData::new_unchecked(topics, Bytes::new());
    Log {
        inner: alloy::primitives::Log { address: CONTRACT, data },
        block_hash: Some(header(7).hash),
        block_number: Some(7),
        log_index: Some(index),
        ..Log::default()
    }
}

fn check(logs: &[Log]) -> Result<(), Lie> {
    verified(7).owns(logs)
}

/// The middle one of three logs is spoilt.
fn refused(change: impl FnOnce(&mut Log), expected: Lie) {
    let mut logs = [log(0), log(4), log(9)];
    assert_eq!(check(&logs), Ok(()));
    change(&mut logs[1]);
    assert_eq!(check(&logs), Err(expected));
}

#[test]
fn a_header_that_hashes_to_its_hash_is_kept() {
    let header = header(7);
    let block =
        Block { number: 7, hash: header.hash, parent: topic(0x99), timestamp: 1_800_000_000 };
    assert_eq!(VerifiedHeader::check(&header).unwrap().block(), block);
}

#[test]
fn a_header_altered_anywhere_is_a_lie() {
    let changes: [fn(&mut Header); 9] = [
        |header| header.hash.0[0] ^= 1,
        |header| header.inner.parent_hash.0[31] ^= 1,
        |header| header.inner.timestamp += 1,
        |header| header.inner.logs_bloom.0[0] ^= 1,
        |header| header.inner.state_root.0[0] ^= 1,
        |header| header.inner.receipts_root.0[0] ^= 1,
        |header| header.inner.transactions_root.0[0] ^= 1,
        |header| header.inner.extra_data = Bytes::from_static(b"x"),
        |header| header.inner.base_fee_per_gas = Some(1),
    ];
    for (place, change) in changes.into_iter().enumerate() {
        let mut header = header(7);
        change(&mut header);
        let lie = VerifiedHeader::check(&header).unwrap_err();
        assert_eq!(lie, Lie::BlockHash { number: 7 }, "change {place}");
    }
    let mut moved = header(7);
    moved.inner.number = 8;
    assert_eq!(VerifiedHeader::check(&moved).unwrap_err(), Lie::BlockHash { number: 8 });
}

#[test]
fn blocks_join_by_number_and_parent() {
    let block = |number, parent: u8, hash: u8| Block {
        number,
        hash: topic(hash),
        parent: topic(parent),
        timestamp: 0,
    };
    let parent = block(7, 1, 2);
    assert_eq!(joins(&parent, &block(8, 2, 3)), Ok(()));
    assert_eq!(joins(&parent, &block(8, 1, 3)), Err(Lie::ParentLink { number: 8 }));
    assert_eq!(joins(&parent, &block(9, 2, 3)), Err(Lie::ParentLink { number: 9 }));
    assert_eq!(joins(&parent, &block(7, 2, 3)), Err(Lie::ParentLink { number: 7 }));
    assert_eq!(joins(&parent, &block(0, 2, 3)), Err(Lie::ParentLink { number: 0 }));
}

#[test]
fn a_block_without_logs_owns_none() {
    assert_eq!(check(&[]), Ok(()));
    let silent = Header::new(consensus::Header::default());
    assert_eq!(VerifiedHeader::check(&silent).unwrap().owns(&[]), Ok(()));
}

#[test]
fn a_log_of_another_block_is_a_lie() {
    let lie = Lie::LogOfOtherBlock { number: 7 };
    refused(|log| log.block_hash = Some(header(8).hash), lie);
    refused(|log| log.block_number = Some(8), lie);
    refused(|log| log.block_hash = None, lie);
    refused(|log| log.block_number = None, lie);
}

#[test]
fn logs_out_of_order_are_a_lie() {
    let lie = Lie::LogsOutOfPlace { number: 7 };
    refused(|log| log.log_index = Some(0), lie);
    refused(|log| log.log_index = Some(9), lie);
    refused(|log| log.log_index = Some(10), lie);
    refused(|log| log.log_index = None, lie);
    refused(|log| log.removed = true, lie);
    assert_eq!(check(&[log(3), log(3)]), Err(lie), "a log told twice");
    assert_eq!(check(&[log(0)]), Ok(()), "the first index may be zero");
}

#[test]
fn a_log_that_the_bloom_excludes_is_a_lie() {
    let lie = Lie::LogNotInBloom { number: 7 };
    refused(|log| log.inner.address = Address::repeat_byte(0xbb), lie);
    for place in 0..2 {
        refused(|log| log.inner.data.topics_mut_unchecked()[place] = topic(3), lie);
    }
    refused(|log| log.inner.data.topics_mut_unchecked().push(topic(3)), lie);
}

#[test]
fn a_header_without_a_bloom_owns_no_log() {
    let silent = Header::new(consensus::Header { number: 7, ..consensus::Header::default() });
    let mut log = log(0);
    log.block_hash = Some(silent.hash);
    let refused = VerifiedHeader::check(&silent).unwrap().owns(&[log]);
    assert_eq!(refused, Err(Lie::LogNotInBloom { number: 7 }));
}

#[test]
fn every_lie_has_a_name_and_a_sentence() {
    let lies = [
        (Lie::BlockHash { number: 0 }, "block_hash"),
        (Lie::WrongBlock { asked: 1, got: 0 }, "wrong_block"),
        (Lie::ParentLink { number: 0 }, "parent_link"),
        (Lie::ParentLink { number: 8 }, "parent_link"),
        (Lie::LogOfOtherBlock { number: 0 }, "log_of_other_block"),
        (Lie::LogsOutOfPlace { number: 0 }, "logs_out_of_place"),
        (Lie::LogNotInBloom { number: 0 }, "log_not_in_bloom"),
    ];
    for (lie, name) in lies {
        assert_eq!(lie.name(), name);
        assert!(!lie.to_string().is_empty());
    }
}
