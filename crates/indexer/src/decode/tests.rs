//! Every event of the registries becomes its own domain event, and nothing else becomes one.

use alloy::primitives::{Bytes, FixedBytes, LogData, U256, keccak256};
use sesame_chain::abi::{
    assets::IAssetRegistry::{AssetRegistered, ContentSet},
    tasks::{self, ITaskRegistry},
    whitelist::{
        self,
        IEnclaveWhitelist::{EnclaveAuthorized, EnclaveRevoked},
    },
};
use sesame_domain::{AssetId, AssetKind, AssetSnapshot, Grant, Order, Terms};

use super::*;

const TIME: u64 = 1_800_000_000;

fn word(byte: u8) -> B256 {
    B256::repeat_byte(byte)
}

fn who(byte: u8) -> Address {
    Address::repeat_byte(byte)
}

fn number(byte: u8) -> U256 {
    U256::from_be_bytes(word(byte).0)
}

fn asset(byte: u8) -> AssetId {
    AssetId(word(byte))
}

fn deployment() -> Deployment {
    Deployment {
        chain_id: 31337,
        first_block: 1,
        asset_registry: who(0xa1),
        enclave_whitelist: who(0xa2),
        task_registry: who(0xa3),
        code_hashes: None,
    }
}

fn address_of(registry: Registry) -> Address {
    match registry {
        Registry::Assets => who(0xa1),
        Registry::Whitelist => who(0xa2),
        Registry::Tasks => who(0xa3),
    }
}

fn log(address: Address, data: LogData) -> Log {
    Log { inner: alloy::primitives::Log { address, data }, ..Log::default() }
}

fn decode(address: Address, data: LogData) -> Result<Option<EventAt>, DecodeError> {
    Decoder::new(&deployment()).decode(&log(address, data), TIME)
}

/// Decodes to this event with the image that the journal folds; spoilt in any way, and from any other contract, it does not.
fn check(registry: Registry, data: LogData, expected: ChainEvent) {
    let mut topics = [B256::ZERO; 4];
    topics[..data.topics().len()].copy_from_slice(data.topics());
    let image = LogImage { timestamp: TIME, topics, data_hash: keccak256(&data.data) };
    let decoded = decode(address_of(registry), data.clone()).unwrap();
    let journal = Some((registry, image));
    assert_eq!(decoded, Some(EventAt { journal, event: expected.clone() }));
    for spoilt in spoil(&data) {
        refused(registry, spoilt, &expected);
    }
    for other in Registry::ALL.into_iter().filter(|other| *other != registry) {
        refused(other, data.clone(), &expected);
    }
    let stranger = decode(who(9), data);
    assert!(matches!(stranger, Err(DecodeError::OtherContract(at)) if at == who(9)));
}

fn refused(registry: Registry, data: LogData, of: &ChainEvent) {
    let decoded = decode(address_of(registry), data.clone());
    match decoded {
        Err(DecodeError::Malformed { registry: told, .. }) => assert_eq!(told, registry),
        other => panic!("{registry:?}, {of:?} as {data:?}: {other:?}"),
    }
}

/// Too few topics, an unknown first one, one too many; data cut by a word or a byte, or with a word too many.
fn spoil(good: &LogData) -> Vec<LogData> {
    let (topics, data) = (good.topics(), &good.data);
    let with = |topics: &[B256], data: &[u8]| {
        LogData::new_unchecked(topics.to_vec(), Bytes::copy_from_slice(data))
    };
    let mut spoilt: Vec<_> = (0..topics.len()).map(|count| with(&topics[..count], data)).collect();
    let mut other = topics.to_vec();
    other[0].0[0] ^= 1;
    spoilt.push(with(&other, data));
    spoilt.push(with(&[topics, &[word(1)]].concat(), data));
    for cut in [1, 32] {
        if let Some(left) = data.len().checked_sub(cut) {
            spoilt.push(with(topics, &data[..left]));
        }
    }
    spoilt.push(with(topics, &[data, [0; 32].as_slice()].concat()));
    spoilt
}

fn transfer() -> IERC721::Transfer {
    IERC721::Transfer { from: who(1), to: who(2), tokenId: number(3) }
}

fn registered(kind: u8) -> AssetRegistered {
    AssetRegistered {
        assetId: number(1),
        creator: who(2),
        kind,
        digest: word(3),
        salt: word(4),
        uri: "ipfs://app".to_owned(),
    }
}

fn terms() -> Terms {
    Terms {
        not_before: 1,
        not_after: u64::MAX,
        app: asset(3),
        requester: who(4),
        sms: who(5),
        max_tasks: 6,
        currency: who(7),
        price: U256::MAX,
    }
}

fn authorized() -> EnclaveAuthorized {
    EnclaveAuthorized {
        assetId: number(1),
        enclaveId: word(2),
        epoch: 3,
        serial: 4,
        terms: whitelist::Terms::from(&terms()),
    }
}

fn order() -> Order {
    Order {
        app: asset(1),
        enclave: EnclaveId(word(2)),
        data: vec![asset(3), asset(4)],
        grants: vec![
            Grant { index: 1, name: "a".parse().unwrap() },
            Grant { index: u32::MAX, name: "z".repeat(64).parse().unwrap() },
        ],
        worker: who(5),
        sms: who(6),
        beneficiary: who(7),
        deadline: 8,
        currency: who(9),
        reward: U256::from(10),
        max_cost: U256::MAX,
        params: "--flag é".to_owned(),
    }
}

fn snapshot(epoch: u64) -> AssetSnapshot {
    AssetSnapshot {
        uri: "https://example.org".to_owned(),
        digest: word(1),
        epoch,
        serial: 2,
        price: U256::from(3),
    }
}

fn purchased(order: tasks::Order) -> LogData {
    ITaskRegistry::TaskPurchased {
        taskId: word(0x11),
        requester: who(0x12),
        worker: who(5),
        nonce: U256::from(1),
        order,
        app: (&snapshot(1)).into(),
        data: vec![(&snapshot(2)).into(), (&snapshot(3)).into()],
    }
    .encode_log_data()
}

#[test]
fn an_asset_is_registered() {
    for (kind, expected) in [(1, AssetKind::App), (2, AssetKind::ProtectedData)] {
        let event = ChainEvent::AssetRegistered {
            asset: asset(1),
            kind: expected,
            digest: word(3),
            uri: "ipfs://app".to_owned(),
        };
        check(Registry::Assets, registered(kind).encode_log_data(), event);
    }
}

#[test]
fn an_asset_gets_new_content() {
    let log = ContentSet { assetId: number(1), digest: word(2), uri: "ipfs://next".to_owned() };
    let event =
        ChainEvent::ContentSet { asset: asset(1), digest: word(2), uri: "ipfs://next".to_owned() };
    check(Registry::Assets, log.encode_log_data(), event);
}

#[test]
fn an_asset_changes_hands() {
    let event = ChainEvent::AssetTransferred { asset: asset(3), from: who(1), to: who(2) };
    check(Registry::Assets, transfer().encode_log_data(), event);
}

#[test]
fn an_enclave_is_authorized_and_revoked() {
    let (asset, enclave) = (asset(1), EnclaveId(word(2)));
    let event =
        ChainEvent::EnclaveAuthorized { asset, enclave, epoch: 3, serial: 4, terms: terms() };
    check(Registry::Whitelist, authorized().encode_log_data(), event);
    let log = EnclaveRevoked { assetId: number(1), enclaveId: word(2), serial: 4 };
    let event = ChainEvent::EnclaveRevoked { asset, enclave };
    check(Registry::Whitelist, log.encode_log_data(), event);
}

#[test]
fn a_task_is_bought() {
    let event = ChainEvent::TaskPurchased {
        task: TaskId(word(0x11)),
        requester: who(0x12),
        order: Box::new(order()),
        app: snapshot(1),
        data: vec![snapshot(2), snapshot(3)],
        deal: None,
    };
    check(Registry::Tasks, purchased((&order()).into()), event);
}

#[test]
fn a_task_goes_its_way() {
    let (id, task) = (word(1), TaskId(word(1)));
    let check = |data, event| check(Registry::Tasks, data, event);
    check(
        ITaskRegistry::TaskStarted { taskId: id }.encode_log_data(),
        ChainEvent::TaskStarted { task },
    );
    let completed = ITaskRegistry::TaskCompleted {
        taskId: id,
        resultDigest: word(2),
        resultUri: "ipfs://result".to_owned(),
        enclaveKey: who(3),
    };
    check(completed.encode_log_data(), ChainEvent::TaskCompleted { task });
    check(
        ITaskRegistry::TaskCancelled { taskId: id }.encode_log_data(),
        ChainEvent::TaskCancelled { task },
    );
    check(
        ITaskRegistry::TaskExpired { taskId: id }.encode_log_data(),
        ChainEvent::TaskExpired { task },
    );
    check(
        ITaskRegistry::TaskSettled { taskId: id }.encode_log_data(),
        ChainEvent::TaskSettled { task },
    );
    check(
        ITaskRegistry::GrantRevoked { taskId: id, index: 32 }.encode_log_data(),
        ChainEvent::GrantRevoked { task, index: 32 },
    );
}

#[test]
fn what_no_view_needs_is_left_out_of_its_own_registry_alone() {
    let approval = IERC721::Approval { owner: who(1), approved: who(2), tokenId: number(3) };
    let for_all = IERC721::ApprovalForAll { owner: who(1), operator: who(2), approved: true };
    let withdrawn = Withdrawn { account: who(1), currency: who(2), amount: U256::from(3) };
    let cases = [
        (Registry::Assets, approval.encode_log_data()),
        (Registry::Assets, for_all.encode_log_data()),
        (Registry::Tasks, withdrawn.encode_log_data()),
    ];
    for (registry, data) in cases {
        for at in Registry::ALL {
            let decoded = decode(address_of(at), data.clone());
            if at == registry {
                assert_eq!(decoded.unwrap(), None);
            } else {
                assert!(matches!(decoded, Err(DecodeError::Malformed { .. })), "{at:?}");
            }
        }
        let stranger = decode(who(9), data);
        assert!(matches!(stranger, Err(DecodeError::OtherContract(_))));
    }
}

#[test]
fn a_log_without_topics_is_no_event() {
    for registry in Registry::ALL {
        let refused = decode(address_of(registry), LogData::default());
        assert!(matches!(refused, Err(DecodeError::Malformed { .. })), "{registry:?}");
    }
}

#[test]
fn a_kind_that_no_registry_knows_is_impossible() {
    for kind in [0, 3, 255] {
        let refused = decode(who(0xa1), registered(kind).encode_log_data());
        let Err(DecodeError::Impossible { registry, source }) = refused else {
            panic!("{kind}: {refused:?}")
        };
        assert_eq!((registry, source), (Registry::Assets, ParseIdError::NotAKind(kind)));
    }
}

#[test]
fn a_name_that_no_registry_takes_is_impossible() {
    for name in ["", "a b", "é", &"x".repeat(65)] {
        let mut order = tasks::Order::from(&order());
        order.grants[1].name = name.to_owned();
        let refused = decode(who(0xa3), purchased(order));
        let Err(DecodeError::Impossible { registry, source }) = refused else {
            panic!("{name}: {refused:?}")
        };
        assert_eq!((registry, source), (Registry::Tasks, ParseIdError::NotAName));
    }
}

/// A value that is wider than its type is refused, not cut down to it.
fn check_dirty(registry: Registry, good: LogData, topic: usize) {
    let mut dirty = good;
    let FixedBytes(word) = &mut dirty.topics_mut_unchecked()[topic];
    word[0] |= 0x80;
    let decoded = decode(address_of(registry), dirty);
    assert!(matches!(decoded, Err(DecodeError::Malformed { .. })), "{decoded:?}");
}

#[test]
fn a_topic_wider_than_its_type_is_refused() {
    check_dirty(Registry::Assets, transfer().encode_log_data(), 1);
    check_dirty(Registry::Assets, transfer().encode_log_data(), 2);
    check_dirty(Registry::Assets, registered(1).encode_log_data(), 2);
    check_dirty(Registry::Assets, registered(1).encode_log_data(), 3);
    check_dirty(Registry::Tasks, purchased((&order()).into()), 2);
    let revoked = ITaskRegistry::GrantRevoked { taskId: word(1), index: 1 };
    check_dirty(Registry::Tasks, revoked.encode_log_data(), 2);
}

#[test]
fn data_wider_than_its_type_is_refused() {
    for place in [0, 32, 64, 96, 160] {
        let mut data = authorized().encode_log_data();
        let mut bytes = data.data.to_vec();
        bytes[place] |= 0x80;
        data.data = bytes.into();
        let decoded = decode(who(0xa2), data);
        assert!(matches!(decoded, Err(DecodeError::Malformed { .. })), "{place}: {decoded:?}");
    }
}

#[test]
fn text_that_is_not_utf_8_is_read_with_replacements_and_nothing_else_is_forgiven() {
    let good = registered(1).encode_log_data();
    let uri = registered(1).uri;
    let mut data = good.data.to_vec();
    let at = data.windows(uri.len()).position(|window| window == uri.as_bytes()).unwrap();
    data[at] = 0xff;
    let spoiled = LogData::new_unchecked(good.topics().to_vec(), data.clone().into());
    let decoded = decode(address_of(Registry::Assets), spoiled).unwrap().unwrap();
    let ChainEvent::AssetRegistered { uri, .. } = decoded.event else { panic!("{decoded:?}") };
    assert!(uri.starts_with('\u{FFFD}'), "{uri}");
    let (_, image) = decoded.journal.unwrap();
    assert_eq!(image.data_hash, alloy::primitives::keccak256(&data), "folded as it is");
}
