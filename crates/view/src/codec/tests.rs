//! Rows come back as they went, and no bytes whatever make the decoder panic.

use alloy_primitives::{hex, keccak256};
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;
use crate::{
    error::ReadError,
    schema::{self, Assets, Authorizations, Deals, Journals, Orders, Table, Tasks},
    testing::{asset, deal, row, terms, who, word},
};

fn an_asset() -> Asset {
    Asset {
        kind: AssetKind::ProtectedData,
        owner: who(1),
        epoch: u64::MAX,
        digest: word(2),
        uri: "ipfs://é".to_owned(),
    }
}

fn an_authorization() -> Authorization {
    Authorization { epoch: 1, serial: 300, terms: terms(1 << 40) }
}

fn a_task() -> Task {
    row(TaskStatus::Expired, &[1, 9, u32::MAX])
}

fn a_deals_task() -> Task {
    Task { deal: Some(Box::new(deal())), ..row(TaskStatus::Revealing, &[]) }
}

fn an_order() -> OrderUse {
    OrderUse { consumed: U256::MAX, closed: true, presigned_by: Some(who(1)) }
}

fn a_match() -> DealMatch {
    DealMatch { request: word(1), volume: u64::MAX }
}

fn bytes_of<R: Row>(row: &R) -> Vec<u8> {
    schema::encode_version(Some(row))
}

/// There and back; and every prefix, and one byte more, is damage.
fn check<T: Table>(row: &T::Row)
where
    T::Row: PartialEq + std::fmt::Debug,
{
    let bytes = bytes_of(row);
    assert_eq!(schema::decode_version::<T>(&bytes).unwrap().as_ref(), Some(row));
    for length in 0..bytes.len() {
        refuse::<T>(&bytes[..length], &format!("{length} of {} bytes", bytes.len()));
    }
    refuse::<T>(&[bytes.as_slice(), &[0]].concat(), "a byte too many");
}

fn refuse<T: Table>(bytes: &[u8], what: &str) {
    match schema::decode_version::<T>(bytes) {
        Err(ReadError::Damaged { table }) => assert_eq!(table, T::NAME, "{what}"),
        Err(other) => panic!("{what}: {other}"),
        Ok(_) => panic!("{what} decodes as {}", T::NAME),
    }
}

#[test]
fn rows_come_back_whole_and_never_cut() {
    check::<Assets>(&an_asset());
    check::<Assets>(&Asset { uri: String::new(), epoch: 0, ..an_asset() });
    check::<Authorizations>(&an_authorization());
    check::<Authorizations>(&Authorization { epoch: 0, serial: 0, terms: Terms::default() });
    check::<Journals>(&Journal(word(9)));
    check::<Tasks>(&a_task());
    check::<Tasks>(&a_deals_task());
    check::<Orders>(&an_order());
    check::<Orders>(&OrderUse::default());
    check::<Deals>(&a_match());
}

#[test]
fn a_task_without_any_lists_comes_back() {
    let mut task = a_task();
    task.order.data.clear();
    task.order.grants.clear();
    task.order.params.clear();
    task.data.clear();
    task.revoked_grants.clear();
    check::<Tasks>(&task);
}

#[test]
fn the_largest_task_comes_back() {
    let mut task = a_task();
    task.order.data = (1..=16).map(asset).collect();
    task.data = (1..=16).map(crate::testing::snapshot).collect();
    task.order.grants = (1..=32)
        .map(|index| Grant { index, name: format!("{index:064}").parse().unwrap() })
        .collect();
    task.order.params = "p".repeat(100_000);
    task.revoked_grants = (1..=32).collect();
    let bytes = bytes_of(&task);
    assert_eq!(schema::decode_version::<Tasks>(&bytes).unwrap(), Some(task));
}

#[test]
fn every_status_and_kind_comes_back_and_no_other_byte_is_one() {
    for byte in 0..=u8::MAX {
        assert_eq!(status(byte).is_ok(), (1..=6).contains(&byte), "status {byte}");
    }
    for kind in 0..=u8::MAX {
        let mut bytes = Vec::new();
        encode_all!(&mut bytes, kind, who(1), 0_u64, word(1), "");
        let decoded = Asset::decode(&mut bytes.as_slice());
        assert_eq!(decoded.is_ok(), (1..=3).contains(&kind), "kind {kind}");
    }
}

#[test]
fn a_name_that_no_contract_would_take_is_damage() {
    for name in ["", "a b", "../x", &"x".repeat(65)] {
        let mut bytes = Vec::new();
        encode_all!(&mut bytes, 1_u32, name);
        assert!(Grant::decode(&mut bytes.as_slice()).is_err(), "{name}");
    }
}

#[test]
fn a_list_longer_than_its_bytes_is_damage() {
    for length in [1, 2, u64::from(u32::MAX), u64::MAX] {
        let mut bytes = Vec::new();
        encode_all!(&mut bytes, length);
        assert!(decode_list::<u32>(&mut bytes.as_slice()).is_err(), "{length}");
    }
}

#[test]
fn a_tombstone_is_one_byte_and_nothing_else() {
    assert_eq!(schema::encode_version::<Asset>(None), [0]);
    assert_eq!(schema::decode_version::<Assets>(&[0]).unwrap(), None);
    for bad in [&[][..], &[0, 0], &[1], &[2], &[255, 1]] {
        refuse::<Assets>(bad, &hex::encode(bad));
    }
}

#[test]
fn flipped_bits_and_noise_never_panic() {
    let seed = 0x5e5a_3e01;
    let mut rng = StdRng::seed_from_u64(seed);
    let decode = |bytes: &[u8]| {
        let _ = schema::decode_version::<Assets>(bytes);
        let _ = schema::decode_version::<Authorizations>(bytes);
        let _ = schema::decode_version::<Tasks>(bytes);
        let _ = schema::decode_version::<Orders>(bytes);
        let _ = schema::decode_version::<Deals>(bytes);
        let _ = schema::decode_version::<Journals>(bytes);
        let _ = Block::decode(&mut &*bytes);
    };
    let bytes = bytes_of(&a_deals_task());
    for bit in 0..bytes.len() * 8 {
        let mut altered = bytes.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        decode(&altered);
    }
    for _ in 0..20_000 {
        let mut noise = vec![0; rng.random_range(0..200)];
        rng.fill(noise.as_mut_slice());
        if let Some(tag) = noise.first_mut() {
            *tag = 1;
        }
        decode(&noise);
    }
}

/// The rows of this schema written once; if this fails, raise `SCHEMA_VERSION` and take the new digests.
#[test]
fn rows_of_this_schema_are_these_bytes() {
    assert_eq!(schema::SCHEMA_VERSION, 4);
    let digest = |bytes: Vec<u8>| hex::encode(&keccak256(bytes)[..8]);
    let digests = [
        digest(bytes_of(&an_asset())),
        digest(bytes_of(&an_authorization())),
        digest(bytes_of(&a_task())),
        digest(bytes_of(&Journal(word(9)))),
        digest(bytes_of(&a_deals_task())),
        digest(bytes_of(&an_order())),
        digest(bytes_of(&a_match())),
    ];
    assert_eq!(
        digests,
        [
            "90a5053b1fe77d13",
            "e2138c9c4f4f899b",
            "d9cc81b07043d550",
            "cf56d42707ea78a0",
            "47aa5162e95f691d",
            "7c10aa6029f9a1a0",
            "25d7889d3042643b"
        ]
    );
}
