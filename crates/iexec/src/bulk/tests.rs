//! Orders that fit a deal, and every way in which one does not.

use std::collections::BTreeSet;

use alloy_primitives::{Address, B256, U256, address};
use sesame_domain::{AssetSnapshot, Deal, EnclaveId, Order, OrderUse, Task, TaskStatus};
use sesame_protocol::signature::Signer;

use super::*;

const CHAIN: u64 = 31337;
const HUB: Address = address!("5907CE3a77e92348Fb919b5a04113881fF7a925d");
const APP: Address = Address::repeat_byte(0xc1);
const WORKERPOOL: Address = Address::repeat_byte(0xe1);
const REQUESTER: Address = Address::repeat_byte(0xa1);
const STRANGER: Address = Address::repeat_byte(0x5a);

fn owner() -> Signer {
    Signer::from_bytes(&[1; 32]).unwrap()
}

fn order() -> DatasetOrder {
    DatasetOrder {
        dataset: address!("00000000000000000000000000000000000a55e7"),
        datasetprice: U256::ZERO,
        volume: U256::from(9_007_199_254_740_991u64),
        tag: B256::with_last_byte(9),
        apprestrict: Address::ZERO,
        workerpoolrestrict: Address::ZERO,
        requesterrestrict: Address::ZERO,
        salt: B256::repeat_byte(0x44),
    }
}

fn task() -> Task {
    let snapshot = AssetSnapshot {
        uri: String::new(),
        digest: B256::ZERO,
        epoch: 0,
        serial: 0,
        price: U256::ZERO,
    };
    Task {
        requester: REQUESTER,
        status: TaskStatus::Started,
        order: Order {
            app: APP.into(),
            enclave: EnclaveId::default(),
            data: Vec::new(),
            grants: Vec::new(),
            worker: Address::ZERO,
            sms: Address::ZERO,
            beneficiary: REQUESTER,
            deadline: 0,
            currency: Address::ZERO,
            reward: U256::ZERO,
            max_cost: U256::ZERO,
            params: String::new(),
        },
        app: snapshot,
        data: Vec::new(),
        revoked_grants: BTreeSet::new(),
        deal: Some(Box::new(Deal {
            id: B256::ZERO,
            index: 0,
            first: 0,
            size: 1,
            tag: B256::with_last_byte(9),
            workerpool: WORKERPOOL,
            scheduler: STRANGER,
            callback: Address::ZERO,
            start_time: 1,
        })),
    }
}

/// Whether the order fits when its owner's key signed it.
fn judge(order: &DatasetOrder, usage: &OrderUse, task: &Task) -> Result<(), Misfit> {
    let hash = order.hash(CHAIN, HUB);
    let signature = owner().sign_hash(hash);
    fits(order, hash, signature.as_slice(), usage, Some(owner().address()), task)
}

fn judged(order: &DatasetOrder) -> Result<(), Misfit> {
    judge(order, &OrderUse::default(), &task())
}

#[test]
fn an_order_without_restrictions_fits() {
    assert_eq!(judged(&order()), Ok(()));
    let used = OrderUse { consumed: order().volume - U256::ONE, ..OrderUse::default() };
    assert_eq!(judge(&order(), &used, &task()), Ok(()));
}

#[test]
fn an_order_of_a_small_volume_is_passed_over() {
    for (volume, fits) in [(0, false), (1, false), (LEAST_VOLUME - 1, false), (LEAST_VOLUME, true)]
    {
        let order = DatasetOrder { volume: U256::from(volume), ..order() };
        let expected = if fits { Ok(()) } else { Err(Misfit::VolumeTooSmall(order.volume)) };
        assert_eq!(judged(&order), expected);
    }
    assert_eq!(judged(&DatasetOrder { volume: U256::MAX, ..order() }), Ok(()));
    assert_eq!(LEAST_VOLUME, 9_007_199_254_740_990);
}

#[test]
fn an_order_that_is_used_up_or_closed_does_not_fit() {
    for consumed in [order().volume, U256::MAX] {
        let usage = OrderUse { consumed, ..OrderUse::default() };
        assert_eq!(judge(&order(), &usage, &task()), Err(Misfit::UsedUp));
    }
    let closed =
        OrderUse { closed: true, presigned_by: Some(owner().address()), ..OrderUse::default() };
    assert_eq!(judge(&order(), &closed, &task()), Err(Misfit::UsedUp));
}

#[test]
fn the_present_owner_signs_or_signed_on_the_chain() {
    let (order, task) = (order(), task());
    let hash = order.hash(CHAIN, HUB);
    let signature = owner().sign_hash(hash);
    let judge =
        |signature: &[u8], usage: &OrderUse, by| fits(&order, hash, signature, usage, by, &task);
    let unused = OrderUse::default();
    let not_signed = |owner| Err(Misfit::NotSigned { owner });
    let by = owner().address();
    // A former owner's signature ends with the sale, and so does what they signed on the chain.
    assert_eq!(judge(signature.as_slice(), &unused, Some(STRANGER)), not_signed(STRANGER));
    let presigned = OrderUse { presigned_by: Some(by), ..unused };
    assert_eq!(judge(&[], &presigned, Some(by)), Ok(()));
    assert_eq!(judge(&[], &presigned, Some(STRANGER)), not_signed(STRANGER));
    assert_eq!(judge(signature.as_slice(), &unused, None), Err(Misfit::DatasetUnknown));
    assert_eq!(judge(&[], &presigned, None), Err(Misfit::DatasetUnknown));
    for bad in [&[][..], &signature[..63], &[0; 64], &[0; 65], &[0xff; 65], &[1; 66]] {
        assert_eq!(judge(bad, &unused, Some(by)), not_signed(by), "{bad:?}");
    }
    let other = owner().sign_hash(order.hash(CHAIN + 1, HUB));
    assert_eq!(judge(other.as_slice(), &unused, Some(by)), not_signed(by));
}

#[test]
fn a_signature_of_64_bytes_is_one() {
    let mut seen = BTreeSet::new();
    for salt in 0..8 {
        let order = DatasetOrder { salt: B256::with_last_byte(salt), ..order() };
        let hash = order.hash(CHAIN, HUB);
        let whole = owner().sign_hash(hash);
        let mut compact = [0; 64];
        compact.copy_from_slice(&whole[..64]);
        compact[32] |= (whole[64] - 27) << 7;
        seen.insert(whole[64]);
        let mut other_v = whole;
        other_v[64] -= 27;
        assert_eq!(signer(hash, other_v.as_slice()), None, "the hub does not take it either");
        assert_eq!(signer(hash, &compact), Some(owner().address()));
        compact[32] ^= 0x80;
        assert_ne!(signer(hash, &compact), Some(owner().address()));
    }
    assert_eq!(seen, [27, 28].into());
}

#[test]
fn a_deal_that_names_a_dataset_takes_no_others() {
    let mut task = task();
    task.order.data = vec![AssetId::default()];
    assert_eq!(judge(&order(), &OrderUse::default(), &task), Err(Misfit::DealHasDataset));
    let mut native = self::task();
    native.deal = None;
    assert_eq!(judge(&order(), &OrderUse::default(), &native), Err(Misfit::NoDeal));
}

#[test]
fn restrictions_hold_for_zero_and_the_very_address() {
    let restricted = |app, workerpool, requester| DatasetOrder {
        apprestrict: app,
        workerpoolrestrict: workerpool,
        requesterrestrict: requester,
        ..order()
    };
    let zero = Address::ZERO;
    assert_eq!(judged(&restricted(APP, WORKERPOOL, REQUESTER)), Ok(()));
    let refused = |what| Err(Misfit::NeedsGroup { what, to: STRANGER });
    assert_eq!(judged(&restricted(STRANGER, zero, zero)), refused(Restriction::App));
    assert_eq!(judged(&restricted(zero, STRANGER, zero)), refused(Restriction::Workerpool));
    assert_eq!(judged(&restricted(zero, zero, STRANGER)), refused(Restriction::Requester));
    // The owner of the workerpool is not the workerpool.
    assert_eq!(judged(&restricted(STRANGER, STRANGER, STRANGER)), refused(Restriction::App));
    for (what, order) in [
        (Restriction::App, restricted(REQUESTER, zero, zero)),
        (Restriction::Workerpool, restricted(zero, APP, zero)),
        (Restriction::Requester, restricted(zero, zero, WORKERPOOL)),
    ] {
        assert!(matches!(judged(&order), Err(Misfit::NeedsGroup { what: at, .. }) if at == what));
    }
}

/// Since PoCo 6.2.0 the framework's bits of a dataset's order say nothing; the bit of a TEE and all others must be the deal's.
#[test]
fn the_tag_of_the_order_is_in_the_deals_but_for_the_framework() {
    let tagged = |tag: u64, deal: u64| {
        let mut task = task();
        task.deal.as_deref_mut().unwrap().tag = U256::from(deal).into();
        let order = DatasetOrder { tag: U256::from(tag).into(), ..order() };
        judge(&order, &OrderUse::default(), &task)
    };
    for (tag, deal) in
        [(0, 0), (0, 9), (1, 9), (3, 9), (5, 9), (9, 9), (0xf, 9), (0x109, 0x109), (2, 0)]
    {
        assert_eq!(tagged(tag, deal), Ok(()), "{tag:x} {deal:x}");
    }
    for (tag, deal, missing) in
        [(1, 0, 1), (9, 8, 1), (0x109, 9, 0x100), (0x19, 9, 0x10), (3, 2, 1), (0x30, 0x10, 0x20)]
    {
        let missing = U256::from(missing).into();
        assert_eq!(tagged(tag, deal), Err(Misfit::Tag { missing }), "{tag:x} {deal:x}");
    }
}

#[test]
fn the_first_reason_is_told_in_the_hubs_order() {
    let mut task = task();
    task.deal.as_deref_mut().unwrap().tag = B256::ZERO;
    task.order.data = vec![AssetId::default()];
    let used = OrderUse { consumed: order().volume, ..OrderUse::default() };
    let restricted = DatasetOrder { requesterrestrict: STRANGER, ..order() };
    let names = |order: &DatasetOrder, usage: &OrderUse, task: &Task| {
        judge(order, usage, task).map_err(|misfit| misfit.name())
    };
    assert_eq!(names(&restricted, &used, &task), Err("used_up"));
    assert_eq!(names(&restricted, &OrderUse::default(), &task), Err("deal_has_dataset"));
    task.order.data.clear();
    assert_eq!(names(&restricted, &OrderUse::default(), &task), Err("needs_group"));
    assert_eq!(names(&order(), &OrderUse::default(), &task), Err("tag"));
}

#[test]
fn a_contract_has_the_last_word_about_two_reasons_alone() {
    let (what, to) = (Restriction::App, STRANGER);
    assert!(Misfit::NotSigned { owner: to }.a_contract_may_say_otherwise());
    assert!(Misfit::NeedsGroup { what, to }.a_contract_may_say_otherwise());
    for misfit in [
        Misfit::Malformed("tag"),
        Misfit::VolumeTooSmall(U256::ONE),
        Misfit::UsedUp,
        Misfit::DatasetUnknown,
        Misfit::NoDeal,
        Misfit::DealHasDataset,
        Misfit::Tag { missing: B256::ZERO },
    ] {
        assert!(!misfit.a_contract_may_say_otherwise(), "{misfit}");
    }
}

const JSON: &str = r#"[{"dataset":"0x00000000000000000000000000000000000A55e7","datasetprice":"0","volume":"9007199254740991",
    "tag":"0x0000000000000000000000000000000000000000000000000000000000000009",
    "apprestrict":"0x0000000000000000000000000000000000000000","workerpoolrestrict":"0x0000000000000000000000000000000000000000",
    "requesterrestrict":"0x0000000000000000000000000000000000000000",
    "salt":"0x4444444444444444444444444444444444444444444444444444444444444444","sign":"0x1234"}]"#;

#[test]
fn a_slice_is_read() {
    let all = orders(JSON.as_bytes());
    assert_eq!(all.len(), 1);
    // The name is what was written, whatever the address is.
    assert_eq!(all[0].dataset, "0x00000000000000000000000000000000000A55e7");
    assert_eq!(all[0].read(), Ok((order(), Bytes::from_static(&[0x12, 0x34]))));
}

#[test]
fn what_is_no_slice_is_empty() {
    for json in ["", "{}", "null", "[1]", r#"["Qm1"]"#, "[{}", r#"[{"volume":7}]"#, r#"[{},null]"#]
    {
        assert_eq!(orders(json.as_bytes()), [], "{json}");
    }
    assert_eq!(orders(&[0xff]), []);
    // What is left out makes an order that does not fit, not a slice that is empty.
    let partly = orders(br#"[{"dataset":"0x1"},{}]"#);
    assert_eq!(partly.len(), 2);
    assert_eq!(partly[0].read(), Err(Misfit::Malformed("dataset")));
}

type Field = fn(&mut SignedOrder) -> &mut String;

#[test]
fn a_field_that_is_not_what_it_should_be_has_a_name() {
    let good = orders(JSON.as_bytes()).remove(0);
    let cases: [(&str, Field, &[&str]); 9] = [
        ("dataset", |order| &mut order.dataset, &["", "0x", "0x00", "x"]),
        ("datasetprice", |order| &mut order.datasetprice, &["-1", "one", "1.5"]),
        ("volume", |order| &mut order.volume, &["-1", "1e3", "x"]),
        ("tag", |order| &mut order.tag, &["", "0x09", "9"]),
        ("apprestrict", |order| &mut order.apprestrict, &["", "0x0"]),
        ("workerpoolrestrict", |order| &mut order.workerpoolrestrict, &["", "0x0"]),
        ("requesterrestrict", |order| &mut order.requesterrestrict, &["", "0x0"]),
        ("salt", |order| &mut order.salt, &["", "0x44"]),
        ("sign", |order| &mut order.sign, &["0x1", "0xzz", "zz"]),
    ];
    for (name, field, values) in cases {
        for value in values {
            let mut bad = good.clone();
            (*value).clone_into(field(&mut bad));
            assert_eq!(bad.read(), Err(Misfit::Malformed(name)), "{name} {value:?}");
        }
    }
}

#[test]
fn the_slice_of_a_task_has_its_absolute_number() {
    let bulk = br#"["QmFirst","QmSecond"]"#;
    assert_eq!(slice_cid(bulk, 0).as_deref(), Some("QmFirst"));
    assert_eq!(slice_cid(bulk, 1).as_deref(), Some("QmSecond"));
    for index in [2, 3, u64::MAX] {
        assert_eq!(slice_cid(bulk, index), None);
    }
    for json in ["", "{}", "[1]", "null", r#"[["Qm1"]]"#, r#"["Qm/../../api"]"#, r#"["Qm?x=1"]"#] {
        assert_eq!(slice_cid(json.as_bytes(), 0), None, "{json}");
    }
}

#[test]
fn a_cid_is_no_path() {
    for good in ["QmW2WQi7j6c7UgJTarActp7tDNikE4B2qXtFCfLPdsgaTQ", "bafkqaaa", "z"] {
        assert!(is_cid(good), "{good}");
    }
    let long = "Q".repeat(129);
    for bad in ["", ".", "..", "Qm/x", "Qm?x", "Qm#x", "Qm%2f", "@evil", "Qm x", "é", &long] {
        assert!(!is_cid(bad), "{bad}");
    }
}
