//! Logs of PoCo's contracts with what the contracts answer become events, and a false answer becomes none.

use std::collections::BTreeMap;

use alloy::{
    primitives::{Bytes, FixedBytes, LogData, b256, hex, keccak256},
    sol_types::SolValue,
};
use sesame_domain::{AssetId, Deal, DealMatch, Grant, Order};

use super::*;

const HUB: Address = Address::repeat_byte(0xb0);
const APPS: Address = Address::repeat_byte(0xb1);
const DATASETS: Address = Address::repeat_byte(0xb2);
const WORKERPOOLS: Address = Address::repeat_byte(0xb3);

const TIME: u64 = 1_800_000_000;
const MADE: u64 = TIME - 60;

fn who(byte: u8) -> Address {
    Address::repeat_byte(byte)
}

fn word(byte: u8) -> B256 {
    B256::repeat_byte(byte)
}

fn poco() -> Poco {
    Poco::new(Deployment {
        chain_id: 42161,
        first_block: 1,
        hub: HUB,
        app_registry: APPS,
        dataset_registry: DATASETS,
        workerpool_registry: WORKERPOOLS,
    })
}

fn block() -> Block {
    Block { number: 7, hash: word(7), parent: word(6), timestamp: TIME }
}

fn log(address: Address, data: LogData) -> Log {
    Log { inner: alloy::primitives::Log { address, data }, ..Log::default() }
}

/// What contracts answer, by contract and input.
#[derive(Default, Clone)]
struct World(BTreeMap<(Address, Bytes), Bytes>);

impl World {
    fn says<C: SolCall>(&mut self, contract: Address, call: &C, answer: &C::Return) {
        let answer = C::abi_encode_returns(answer);
        self.0.insert((contract, call.abi_encode().into()), answer.into());
    }

    /// The events of some logs, all facts known, and how often facts had to be asked for.
    fn told(&self, logs: &[Log]) -> Result<(Vec<ChainEvent>, usize), DecodeError> {
        let mut facts = Facts::default();
        for asked in 0..10 {
            let events = poco().events(&block(), logs, &mut facts)?;
            let wanted = facts.wanted();
            if wanted.is_empty() {
                return Ok((events, asked));
            }
            for call in wanted {
                assert_eq!(call.at, block().as_ref(), "a fact of another block is asked for");
                let answer = self.0.get(&(call.contract, call.input.clone()));
                let answer = answer.unwrap_or_else(|| panic!("nobody answers {call:?}")).clone();
                facts.learn(call, answer);
            }
        }
        panic!("it never has enough");
    }

    fn events(&self, address: Address, data: LogData) -> Vec<ChainEvent> {
        self.told(&[log(address, data)]).unwrap().0
    }

    /// The log is refused for this reason.
    fn lies(&self, address: Address, data: LogData, reason: &str) {
        match self.told(&[log(address, data)]) {
            Err(DecodeError::FalseFact { what, .. }) => assert_eq!(what, reason),
            other => panic!("{reason}: {other:?}"),
        }
    }
}

fn transfer(from: Address, to: Address, asset: Address) -> LogData {
    IRegistry::Transfer { from, to, tokenId: AssetId::from(asset).to_u256() }.encode_log_data()
}

/// The address that a registry gives to what it makes with these arguments, and its code's hash.
fn made(registry: Address, owner: Address, initialize: &str, arguments: Vec<u8>) -> Address {
    let selector = &keccak256(initialize)[..4];
    let salt = [selector, &arguments, owner.as_slice()].concat();
    registry.create2(keccak256(salt), word(0xc0))
}

const IPFS: [u8; 37] =
    hex!("a5032212207237a7f4091a74ae95514890fa86a2e8a36037c350ea71c06a34c8cbe25a5057");

/// An app and a dataset as two registries made them for owner 1.
fn assets() -> (World, Address, Address) {
    let mut world = World::default();
    let (name, kind, multiaddr) = ("an app", "DOCKER", "registry.example.org/app:1");
    let arguments =
        (name, kind, Bytes::from_static(multiaddr.as_bytes()), word(0xd1), Bytes::new());
    let initialize = "initialize(string,string,bytes,bytes32,bytes)";
    let app = made(APPS, who(1), initialize, arguments.abi_encode_params());
    let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
    world.says(APPS, &IRegistry::proxyCodeHashCall {}, &word(0xc0));
    world.says(app, &abi::IApp::m_appNameCall {}, &bytes(name));
    world.says(app, &abi::IApp::m_appTypeCall {}, &bytes(kind));
    world.says(app, &abi::IApp::m_appMultiaddrCall {}, &bytes(multiaddr));
    world.says(app, &abi::IApp::m_appChecksumCall {}, &word(0xd1));
    world.says(app, &abi::IApp::m_appMREnclaveCall {}, &Bytes::new());

    let arguments = ("data", Bytes::from_static(&IPFS), word(0xd2));
    let initialize = "initialize(string,bytes,bytes32)";
    let dataset = made(DATASETS, who(1), initialize, arguments.abi_encode_params());
    world.says(DATASETS, &IRegistry::proxyCodeHashCall {}, &word(0xc0));
    world.says(dataset, &abi::IDataset::m_datasetNameCall {}, &bytes("data"));
    world.says(dataset, &abi::IDataset::m_datasetMultiaddrCall {}, &Bytes::from_static(&IPFS));
    world.says(dataset, &abi::IDataset::m_datasetChecksumCall {}, &word(0xd2));
    (world, app, dataset)
}

#[test]
fn an_asset_is_registered_when_it_is_minted_and_known_to_be_what_it_was_made_of() {
    let (world, app, dataset) = assets();
    let registered = |asset: Address, kind, digest, uri: &str| {
        let (asset, uri) = (asset.into(), uri.to_owned());
        let (from, to) = (Address::ZERO, who(1));
        vec![
            ChainEvent::AssetRegistered { asset, kind, digest, uri },
            ChainEvent::AssetTransferred { asset, from, to },
        ]
    };
    let minted = |asset| transfer(Address::ZERO, who(1), asset);
    let expected = registered(app, AssetKind::App, word(0xd1), "registry.example.org/app:1");
    assert_eq!(world.events(APPS, minted(app)), expected);
    let uri = "/ipfs/QmW2WQi7j6c7UgJTarActp7tDNikE4B2qXtFCfLPdsgaTQ";
    let expected = registered(dataset, AssetKind::ProtectedData, word(0xd2), uri);
    assert_eq!(world.events(DATASETS, minted(dataset)), expected);
    let expected = registered(who(9), AssetKind::Workerpool, B256::ZERO, "");
    assert_eq!(world.events(WORKERPOOLS, minted(who(9))), expected);
    // All of it is asked for at once.
    let logs = [log(APPS, minted(app)), log(DATASETS, minted(dataset))];
    let (events, asked) = world.told(&logs).unwrap();
    assert_eq!((events.len(), asked), (4, 1));
}

#[test]
fn a_sale_needs_no_fact() {
    let moved = ChainEvent::AssetTransferred { asset: who(9).into(), from: who(1), to: who(2) };
    for registry in [APPS, DATASETS, WORKERPOOLS] {
        let events = World::default().events(registry, transfer(who(1), who(2), who(9)));
        assert_eq!(events, std::slice::from_ref(&moved));
    }
}

#[test]
fn whoever_lies_about_an_asset_is_caught_whatever_the_lie() {
    let (world, app, dataset) = assets();
    for place in world.0.keys() {
        let mut lied = world.clone();
        let answer = lied.0.get_mut(place).unwrap();
        let mut bytes = answer.to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        // Of text the last byte is padding, so that its first is flipped; of no text, the length.
        if let Some(first) = bytes.get_mut(64) {
            *first ^= 1;
        }
        *answer = bytes.into();
        let logs = [
            log(APPS, transfer(Address::ZERO, who(1), app)),
            log(DATASETS, transfer(Address::ZERO, who(1), dataset)),
        ];
        let told = lied.told(&logs);
        assert!(matches!(told, Err(DecodeError::FalseFact { .. })), "{place:?}: {told:?}");
    }
    let reason = "an asset of that content has another address";
    world.lies(APPS, transfer(Address::ZERO, who(2), app), reason);
    let mut lied = world;
    lied.says(dataset, &abi::IDataset::m_datasetChecksumCall {}, &word(0xd3));
    lied.lies(DATASETS, transfer(Address::ZERO, who(1), dataset), reason);
}

#[test]
fn a_token_that_is_no_contract_is_no_asset() {
    let mut data = transfer(Address::ZERO, who(1), who(9));
    data.topics_mut_unchecked()[3].0[11] = 1;
    let told = World::default().told(&[log(WORKERPOOLS, data)]);
    assert!(matches!(told, Err(DecodeError::NoEvent { contract: WORKERPOOLS, .. })), "{told:?}");
}

fn deal_id() -> B256 {
    keccak256([word(0x55).0, B256::from(U256::from(4)).0].concat())
}

fn task_id(index: u64) -> B256 {
    keccak256([deal_id().0, B256::from(U256::from(index)).0].concat())
}

/// Runs 4 to 6, of app 1 with dataset 2 by workerpool 3.
fn a_deal() -> abi::Deal {
    let resource = |byte: u8, price: u64| abi::Resource {
        pointer: who(byte),
        owner: who(byte + 0x10),
        price: U256::from(price),
    };
    let params =
        br#"{"iexec_args":"--sum","iexec_secrets":{"2":"two","0":"none","1":"one","3":"a b"}}"#;
    abi::Deal {
        app: resource(1, 10),
        dataset: resource(2, 20),
        workerpool: resource(3, 30),
        trust: U256::from(1),
        category: U256::ZERO,
        tag: B256::with_last_byte(9),
        requester: who(4),
        beneficiary: who(5),
        callback: who(6),
        params: Bytes::from_static(params),
        startTime: U256::from(MADE),
        botFirst: U256::from(4),
        botSize: U256::from(3),
        workerStake: U256::ZERO,
        schedulerRewardRatio: U256::ZERO,
        sponsor: who(4),
    }
}

fn a_task(index: u64) -> abi::Task {
    abi::Task {
        status: 1,
        dealid: deal_id(),
        idx: U256::from(index),
        timeref: U256::from(300),
        contributionDeadline: U256::from(MADE + 2100),
        revealDeadline: U256::ZERO,
        finalDeadline: U256::from(MADE + 3000),
        consensusValue: B256::ZERO,
        revealCounter: U256::ZERO,
        winnerCounter: U256::ZERO,
        contributors: Vec::new(),
        resultDigest: B256::ZERO,
        results: Bytes::new(),
        resultsTimestamp: U256::ZERO,
        resultsCallback: Bytes::new(),
    }
}

fn initialize(taskid: B256) -> LogData {
    IHub::TaskInitialize { taskid, workerpool: who(3) }.encode_log_data()
}

/// A hub that knows this task, under the id of run 5, and this deal.
fn hub_of(task: &abi::Task, deal: &abi::Deal) -> World {
    let mut world = World::default();
    world.says(HUB, &IHub::viewTaskCall { id: task_id(5) }, task);
    world.says(HUB, &IHub::viewDealCall { id: deal_id() }, deal);
    world
}

#[test]
fn a_task_is_bought_and_started_when_it_is_initialized() {
    let world = hub_of(&a_task(5), &a_deal());
    let (events, asked) = world.told(&[log(HUB, initialize(task_id(5)))]).unwrap();
    let task = TaskId(task_id(5));
    let [bought, started] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((started, asked), (&ChainEvent::TaskStarted { task }, 2));
    let ChainEvent::TaskPurchased { task: id, requester, order, app, data, deal } = bought else {
        panic!("{bought:?}")
    };
    assert_eq!((*id, *requester), (task, who(4)));
    let grant = |index, name: &str| Grant { index, name: name.parse().unwrap() };
    let expected = Order {
        app: who(1).into(),
        enclave: Default::default(),
        data: vec![who(2).into()],
        grants: vec![grant(1, "one"), grant(2, "two")],
        worker: Address::ZERO,
        sms: Address::ZERO,
        beneficiary: who(5),
        deadline: MADE + 3000,
        currency: Address::ZERO,
        reward: U256::from(30),
        max_cost: U256::from(60),
        params: String::from_utf8(a_deal().params.to_vec()).unwrap(),
    };
    assert_eq!(**order, expected);
    assert_eq!((app.price, data.len(), data[0].price), (U256::from(10), 1, U256::from(20)));
    let expected = Deal {
        id: deal_id(),
        index: 5,
        first: 4,
        size: 3,
        tag: B256::with_last_byte(9),
        workerpool: who(3),
        scheduler: who(0x13),
        callback: who(6),
        start_time: MADE,
    };
    assert_eq!(deal.as_deref(), Some(&expected));
    assert!(DealMatch { request: word(0x55), volume: 3 }.fits(&expected));
}

#[test]
fn a_deal_without_dataset_is_about_none() {
    let mut deal = a_deal();
    deal.dataset = abi::Resource { pointer: Address::ZERO, owner: Address::ZERO, price: U256::MAX };
    let events = hub_of(&a_task(5), &deal).events(HUB, initialize(task_id(5)));
    let ChainEvent::TaskPurchased { order, data, .. } = &events[0] else { panic!("{events:?}") };
    assert_eq!((order.data.as_slice(), data.as_slice()), (&[][..], &[][..]));
    assert_eq!(order.max_cost, U256::from(40));
}

#[test]
fn params_that_are_no_text_or_no_object_stop_nobody() {
    for params in [&b"--plain \xff text"[..], b"", b"{\"iexec_secrets\":{\"1\":\"one\"},\"x\":1}"] {
        let deal = abi::Deal { params: Bytes::copy_from_slice(params), ..a_deal() };
        let events = hub_of(&a_task(5), &deal).events(HUB, initialize(task_id(5)));
        let ChainEvent::TaskPurchased { order, .. } = &events[0] else { panic!("{events:?}") };
        assert_eq!(order.grants, []);
        assert_eq!(order.params, String::from_utf8_lossy(params));
    }
}

#[test]
fn numbers_beyond_all_counting_stop_nobody() {
    let huge = U256::from(1) << 200;
    let deal = abi::Deal { botSize: U256::MAX, ..a_deal() };
    let events = hub_of(&a_task(5), &deal).events(HUB, initialize(task_id(5)));
    let ChainEvent::TaskPurchased { deal: Some(bought), .. } = &events[0] else { panic!() };
    assert_eq!(bought.size, u64::MAX);

    let id = keccak256([deal_id().0, B256::from(huge).0].concat());
    let mut world = hub_of(&a_task(5), &deal);
    world.says(HUB, &IHub::viewTaskCall { id }, &abi::Task { idx: huge, ..a_task(5) });
    assert_eq!(world.events(HUB, initialize(id)), [], "nobody can name such a run");

    let event = IHub::OrdersMatched {
        dealid: deal_id(),
        appHash: word(1),
        datasetHash: B256::ZERO,
        workerpoolHash: word(3),
        requestHash: word(0x55),
        volume: U256::MAX,
    };
    let events = world.events(HUB, event.encode_log_data());
    let made = ChainEvent::DealMatched { deal: deal_id(), request: word(0x55), volume: u64::MAX };
    assert_eq!(events[0], made);
}

#[test]
fn whoever_lies_about_a_task_or_deal_is_caught_where_it_can_be_seen() {
    type Lie = fn(&mut abi::Task, &mut abi::Deal);
    let of_run = "the task's deal and number do not hash to its id";
    let outside = "a task was initialized that its deal does not hold";
    let cases: [(Lie, &str); 12] = [
        (|task, _| task.dealid = word(1), of_run),
        (|task, _| task.idx = U256::from(4), of_run),
        (
            |task, _| *task = abi::Task { dealid: B256::ZERO, idx: U256::ZERO, ..task.clone() },
            of_run,
        ),
        (|task, _| task.status = 0, "a task that was initialized is in no state"),
        (
            |_, deal| deal.startTime = U256::ZERO,
            "a task was initialized of a deal that nobody made",
        ),
        (|_, deal| deal.startTime = U256::from(TIME + 1), "a deal was made in the future"),
        (|_, deal| deal.botFirst = U256::from(6), outside),
        (|_, deal| deal.botSize = U256::from(1), outside),
        (|_, deal| deal.botFirst = U256::MAX, outside),
        (|_, deal| deal.workerpool.pointer = who(4), "a task's deal is with another workerpool"),
        (|task, _| task.contributionDeadline = U256::from(1), "a task ends before it begins"),
        (|task, _| task.finalDeadline = U256::from(MADE), "a task ends before it begins"),
    ];
    for (lie, reason) in cases {
        let (mut task, mut deal) = (a_task(5), a_deal());
        lie(&mut task, &mut deal);
        hub_of(&task, &deal).lies(HUB, initialize(task_id(5)), reason);
    }
}

#[test]
fn an_answer_that_is_not_of_the_views_type_is_a_lie() {
    let world = hub_of(&a_task(5), &a_deal());
    let reason = "the answer is not of the view's type";
    for place in world.0.keys() {
        let whole = &world.0[place];
        for bytes in [&whole[..0], &whole[..31], &whole[..whole.len() - 32]] {
            let mut lied = world.clone();
            lied.0.insert(place.clone(), Bytes::copy_from_slice(bytes));
            lied.lies(HUB, initialize(task_id(5)), reason);
        }
    }
    let mut wide = world.clone();
    let place = wide.0.keys().find(|(_, input)| input.starts_with(&[0xb7, 0x48, 0x61, 0xb2]));
    let place = place.unwrap().clone();
    let mut bytes = wide.0[&place].to_vec();
    bytes[32] = 1;
    wide.0.insert(place, bytes.into());
    wide.lies(HUB, initialize(task_id(5)), reason);
}

#[test]
fn a_task_goes_its_way_without_further_facts() {
    let (id, task) = (task_id(5), TaskId(task_id(5)));
    let world = World::default();
    let consensus = IHub::TaskConsensus { taskid: id, consensus: word(1) };
    for (data, expected) in [
        (consensus.encode_log_data(), ChainEvent::TaskRevealing { task }),
        (IHub::TaskReopen { taskid: id }.encode_log_data(), ChainEvent::TaskStarted { task }),
        (
            IHub::TaskFinalize { taskid: id, results: vec![7; 100].into() }.encode_log_data(),
            ChainEvent::TaskCompleted { task },
        ),
        (IHub::TaskClaimed { taskid: id }.encode_log_data(), ChainEvent::TaskExpired { task }),
    ] {
        assert_eq!(world.events(HUB, data), [expected]);
    }
}

#[test]
fn orders_are_consumed_by_what_is_bought() {
    let event = |dataset| IHub::OrdersMatched {
        dealid: word(0xde),
        appHash: word(1),
        datasetHash: dataset,
        workerpoolHash: word(3),
        requestHash: word(4),
        volume: U256::from(3),
    };
    let volume = U256::from(3);
    let consumed = |byte| ChainEvent::OrderConsumed { order: word(byte), volume };
    let made = ChainEvent::DealMatched { deal: word(0xde), request: word(4), volume: 3 };
    let world = World::default();
    let events = world.events(HUB, event(word(2)).encode_log_data());
    let expected = [made.clone(), consumed(1), consumed(2), consumed(3), consumed(4)];
    assert_eq!(events, expected);
    let events = world.events(HUB, event(B256::ZERO).encode_log_data());
    assert_eq!(events, [made, consumed(1), consumed(3), consumed(4)], "no dataset, no order");
}

#[test]
fn orders_are_closed_and_signed() {
    let order = word(8);
    let mut world = World::default();
    let closed = [
        IHub::ClosedAppOrder { appHash: order }.encode_log_data(),
        IHub::ClosedDatasetOrder { datasetHash: order }.encode_log_data(),
        IHub::ClosedWorkerpoolOrder { workerpoolHash: order }.encode_log_data(),
        IHub::ClosedRequestOrder { requestHash: order }.encode_log_data(),
    ];
    for data in closed {
        assert_eq!(world.events(HUB, data), [ChainEvent::OrderClosed { order }]);
    }
    let signed = IHub::SignedDatasetOrder { datasetHash: order }.encode_log_data();
    world.says(HUB, &IHub::viewPresignedCall { id: order }, &who(1));
    let expected = ChainEvent::OrderPresigned { order, by: who(1) };
    assert_eq!(world.events(HUB, signed.clone()), [expected]);
    world.says(HUB, &IHub::viewPresignedCall { id: order }, &Address::ZERO);
    world.lies(HUB, signed, "an order that was signed here has no signer");
}

/// Too few topics, one too many; data cut by a word or a byte, or with a word too many.
fn spoil(good: &LogData) -> Vec<LogData> {
    let (topics, data) = (good.topics(), &good.data);
    let with = |topics: &[B256], data: &[u8]| {
        LogData::new_unchecked(topics.to_vec(), Bytes::copy_from_slice(data))
    };
    let mut spoilt: Vec<_> = (1..topics.len()).map(|count| with(&topics[..count], data)).collect();
    spoilt.push(with(&[topics, &[word(1)]].concat(), data));
    for cut in [1, 32] {
        if let Some(left) = data.len().checked_sub(cut) {
            spoilt.push(with(topics, &data[..left]));
        }
    }
    spoilt.push(with(topics, &[data, [0; 32].as_slice()].concat()));
    spoilt
}

#[test]
fn a_log_that_is_spoilt_is_no_event() {
    let orders = IHub::OrdersMatched {
        dealid: word(0xde),
        appHash: word(1),
        datasetHash: word(2),
        workerpoolHash: word(3),
        requestHash: word(4),
        volume: U256::from(3),
    };
    let finalized = IHub::TaskFinalize { taskid: word(1), results: vec![7; 64].into() };
    let mut cases = vec![
        (HUB, orders.encode_log_data()),
        (HUB, initialize(task_id(5))),
        (HUB, IHub::TaskReopen { taskid: word(1) }.encode_log_data()),
        (HUB, finalized.encode_log_data()),
        (HUB, IHub::ClosedDatasetOrder { datasetHash: word(1) }.encode_log_data()),
        (APPS, transfer(who(1), who(2), who(9))),
    ];
    let mut dirty = initialize(task_id(5));
    let FixedBytes(topic) = &mut dirty.topics_mut_unchecked()[2];
    topic[0] = 0x80;
    let spoilt: Vec<(Address, LogData)> = cases
        .drain(..)
        .flat_map(|(at, good)| spoil(&good).into_iter().map(move |data| (at, data)))
        .chain([(HUB, dirty)])
        .collect();
    for (contract, data) in spoilt {
        let told = World::default().told(&[log(contract, data.clone())]);
        let refused =
            matches!(&told, Err(DecodeError::NoEvent { contract: at, .. }) if *at == contract);
        assert!(refused, "{data:?}: {told:?}");
    }
}

#[test]
fn what_no_view_needs_is_left_out() {
    // Staked tokens move at the hub, with the topic of the registries and the amount in the data.
    let topic = IRegistry::Transfer::SIGNATURE_HASH;
    let staked = LogData::new_unchecked(
        vec![topic, who(1).into_word(), who(2).into_word()],
        U256::from(5).to_be_bytes_vec().into(),
    );
    let other = LogData::new_unchecked(vec![word(0xee)], Bytes::new());
    let world = World::default();
    assert_eq!(world.events(HUB, staked.clone()), []);
    for contract in [HUB, APPS, DATASETS, WORKERPOOLS] {
        assert_eq!(world.events(contract, other.clone()), []);
        assert_eq!(world.events(contract, LogData::default()), []);
    }
    let told = world.told(&[log(APPS, staked)]);
    assert!(matches!(told, Err(DecodeError::NoEvent { contract: APPS, .. })), "{told:?}");
    let told = world.told(&[log(who(9), other)]);
    assert!(matches!(told, Err(DecodeError::OtherContract(at)) if at == who(9)), "{told:?}");
    // The topics of one contract mean nothing at another.
    let claimed = IHub::TaskClaimed { taskid: word(1) }.encode_log_data();
    assert_eq!(world.events(APPS, claimed), []);
}

#[test]
fn the_hub_has_to_name_the_registries() {
    let ties = poco().ties();
    let asked: Vec<String> = ties.iter().map(|tie| tie.input.to_string()).collect();
    assert_eq!(asked, ["0x45b637a9", "0xb1b11d2c", "0x90a0f546"]);
    assert!(ties.iter().all(|tie| tie.contract == HUB));
    let names: Vec<Address> = ties.iter().map(|tie| tie.names).collect();
    assert_eq!(names, [APPS, DATASETS, WORKERPOOLS]);
}

/// As they stand in PoCo's own ABI.
#[test]
fn topics_and_selectors_are_pocos() {
    let watched = poco().watched();
    let transfer = b256!("ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef");
    for (at, registry) in [(1, APPS), (2, DATASETS), (3, WORKERPOOLS)] {
        assert_eq!(watched[at], Watched { address: registry, topics: vec![transfer] });
    }
    let mut expected = [
        b256!("d811b592ed0899225773e8933d8df64bd0b62761a9d7aad4ed5b22735f4610a4"),
        b256!("252992fb0468d68d6a5784ec03214f0d0a362083f2d7ebd157af43b017a22e06"),
        b256!("f6d49bf3e05d33a4bc497d3c793fb5756388bb96b947cf51bb60aaecb0e022e3"),
        b256!("3afe0f24796ce653c6ab1f3e7aba5ce564eece5e82aee724aff28253e829f07b"),
        b256!("78ce8a8bc0fcb704e8ba3b3dbb36aa88002df8038128b4af2f27ef65db665044"),
        b256!("cbc308b5f91040d2659a5201858344b0b583cd2f9e18e8470c2fa052c5b21ff8"),
        b256!("79ce85909be2c590a728d1634ce6ec8a7cbf815260bacc05387890a313da8130"),
        b256!("cf52e3228bc482a6656d8ab56c09888b1c5bf6aaadba0185e96a34836f2bb1d4"),
        b256!("7343f75be43aba524f85326508cd975d016ef7884676377366c69a7c32e30668"),
        b256!("145ad51e4496173bca15e24e7eb46f9ab3a10eea0497e2801a3a6806c06113a3"),
        b256!("582f43f2a741cbe708aae3b8d38a4efc3d09d7e81919697b3ca693f4c444cc05"),
    ];
    let mut topics = watched[0].topics.clone();
    topics.sort();
    expected.sort();
    assert_eq!((watched[0].address, topics), (HUB, expected.to_vec()));

    assert_eq!(IHub::viewDealCall::SELECTOR, hex!("b74861b2"));
    assert_eq!(IHub::viewTaskCall::SELECTOR, hex!("adccf0d5"));
    assert_eq!(IHub::viewPresignedCall::SELECTOR, hex!("d286eb16"));
}

/// A deal and two of its tasks by the ids that iExec's documentation gives them.
#[test]
fn ids_are_pocos() {
    let ids = [
        b256!("a2198913505ba0684e7b9125ca79002c1058535fa2266e5471bd84ae2a18dbf5"),
        b256!("cf61c38d3656d57548ac113ddddca3959b0b3fa4bae50b2232563fd725b5a3fb"),
    ];
    let deal = abi::Deal { botFirst: U256::ZERO, ..a_deal() };
    let mut world = World::default();
    world.says(HUB, &IHub::viewDealCall { id: word(0x33) }, &deal);
    for (id, index) in ids.into_iter().zip(0..) {
        let task = abi::Task { dealid: word(0x33), idx: U256::from(index), ..a_task(0) };
        world.says(HUB, &IHub::viewTaskCall { id }, &task);
        assert_eq!(world.events(HUB, initialize(id)).len(), 2);
    }
}
