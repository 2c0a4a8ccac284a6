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

/// A header whose receipts root is that of these receipts, and the receipts as a node gives them.
fn with_receipts() -> (VerifiedHeader, Vec<Receipt>) {
    let logs = |index| vec![log(index), log(index + 1)];
    let receipts: Vec<Receipt> = (0..3)
        .map(|place: u64| TransactionReceipt {
            inner: AnyReceiptEnvelope {
                // An old one, Ethereum's newest kind, and one that Arbitrum alone knows.
                r#type: [0, 2, 0x6a][place as usize],
                inner: consensus::ReceiptWithBloom::from(consensus::Receipt {
                    status: true.into(),
                    cumulative_gas_used: 21_000 * (place + 1),
                    logs: logs(2 * place),
                }),
            },
            transaction_hash: topic(place as u8),
            transaction_index: Some(place),
            block_hash: None,
            block_number: Some(7),
            gas_used: 21_000,
            effective_gas_price: 1,
            blob_gas_used: None,
            blob_gas_price: None,
            from: CONTRACT,
            to: None,
            contract_address: None,
        })
        .collect();
    let receipts_root =
        calculate_receipt_root(&receipts.iter().cloned().map(envelope).collect::<Vec<_>>());
    let inner = consensus::Header { receipts_root, ..header(7).inner };
    (VerifiedHeader::check(&Header::new(inner)).unwrap(), receipts)
}

#[test]
fn receipts_under_the_root_are_the_logs() {
    let (header, receipts) = with_receipts();
    let logs = header.logs_of(receipts.clone(), &[CONTRACT]).unwrap();
    assert_eq!(logs.len(), 6);
    assert!(logs.iter().all(|log| log.block_hash == Some(header.block().hash)));
    assert_eq!(
        logs.iter().map(|log| log.log_index).collect::<Vec<_>>(),
        (0..6).map(Some).collect::<Vec<_>>()
    );
    assert_eq!(header.logs_of(receipts, &[Address::ZERO]), Ok(Vec::new()));
}

#[test]
fn receipts_omitted_added_or_reordered_are_a_lie() {
    let (header, receipts) = with_receipts();
    let refused = |change: &dyn Fn(&mut Vec<Receipt>)| {
        let mut receipts = receipts.clone();
        change(&mut receipts);
        assert_eq!(header.logs_of(receipts, &[CONTRACT]), Err(Lie::ReceiptsRoot { number: 7 }));
    };
    refused(&|receipts| drop(receipts.pop()));
    refused(&|receipts| receipts.push(receipts[0].clone()));
    refused(&|receipts| receipts.swap(0, 1));
    refused(&Vec::clear);
}

#[test]
fn the_bloom_promises_what_is_watched_until_it_came() {
    let header = verified(7);
    let watched = |address, byte| [Watched { address, topics: vec![topic(byte)] }];
    assert!(header.promises_more(&watched(CONTRACT, 1), &[]));
    assert!(!header.promises_more(&watched(CONTRACT, 1), &[log(0)]));
    assert!(header.promises_more(&watched(CONTRACT, 2), &[log(0)]), "topic 2 came second only");
    assert!(!header.promises_more(&watched(CONTRACT, 9), &[]));
    assert!(!header.promises_more(&watched(Address::ZERO, 1), &[]));
    assert!(!header.bloom_is_full());
}

/// A chain's state with one contract whose storage holds the journal alone.
fn proven(journal: B256) -> (VerifiedHeader, EIP1186AccountProofResponse) {
    let slot = Journal::slot();
    let (storage_hash, storage) =
        trie(slot.as_slice(), alloy_rlp::encode(alloy::primitives::U256::from_be_bytes(journal.0)));
    let account = TrieAccount {
        nonce: 1,
        balance: Default::default(),
        storage_root: storage_hash,
        code_hash: topic(0xcc),
    };
    let (state_root, nodes) = trie(CONTRACT.as_slice(), alloy_rlp::encode(account));
    let proof = EIP1186AccountProofResponse {
        address: CONTRACT,
        balance: Default::default(),
        code_hash: topic(0xcc),
        nonce: 1,
        storage_hash,
        account_proof: nodes,
        storage_proof: vec![alloy::rpc::types::EIP1186StorageProof {
            key: alloy::serde::JsonStorageKey::Hash(slot),
            value: journal.into(),
            proof: storage,
        }],
    };
    let header = consensus::Header { state_root, ..header(7).inner };
    (VerifiedHeader::check(&Header::new(header)).unwrap(), proof)
}

/// The root of a trie with one leaf, and the leaf's node.
fn trie(key: &[u8], value: Vec<u8>) -> (B256, Vec<Bytes>) {
    let path = Nibbles::unpack(keccak256(key));
    let mut builder = alloy_trie::HashBuilder::default()
        .with_proof_retainer(alloy_trie::proof::ProofRetainer::new(vec![path]));
    builder.add_leaf(path, &value);
    let root = builder.root();
    let nodes = builder.take_proof_nodes().into_nodes_sorted();
    (root, nodes.into_iter().map(|(_, node)| node).collect())
}

#[test]
fn a_journal_is_believed_only_with_its_proof() {
    let registry = Registry::Tasks;
    let invalid = Err(Lie::ProofInvalid { number: 7, registry });
    let (header, proof) = proven(topic(0x42));
    assert_eq!(header.journal(registry, CONTRACT, &proof), Ok(Journal(topic(0x42))));
    assert_eq!(header.journal(registry, Address::ZERO, &proof), invalid, "another contract's");
    let changes: [fn(&mut EIP1186AccountProofResponse); 7] = [
        |proof| proof.nonce += 1,
        |proof| proof.storage_hash = EMPTY_ROOT_HASH,
        |proof| proof.storage_proof[0].value = Default::default(),
        |proof| proof.storage_proof[0].value += alloy::primitives::U256::from(1),
        |proof| proof.storage_proof[0].proof.clear(),
        |proof| proof.storage_proof.clear(),
        |proof| proof.account_proof.clear(),
    ];
    for (place, change) in changes.into_iter().enumerate() {
        let mut proof = proof.clone();
        change(&mut proof);
        assert_eq!(header.journal(registry, CONTRACT, &proof), invalid, "change {place}");
    }
}
