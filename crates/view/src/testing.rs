//! What the tests of this crate share: a small world, chains of blocks, and a look at every byte of a mirror.

use std::{collections::BTreeSet, path::Path};

use alloy_primitives::{Address, B256, U256, keccak256};
use rocksdb::{IteratorMode, ReadOptions};
use sesame_domain::{
    AssetId, AssetKind, AssetSnapshot, Block, BlockEvents, ChainEvent, Deal, EnclaveId, EventAt,
    Grant, LogImage, Order, Registry, Task, TaskId, TaskStatus, Terms,
};
use tempfile::TempDir;

use crate::{
    Contracts, Origin, View,
    schema::{
        Assets, Authorizations, Deals, HEADERS, Journals, META_MARK, Orders, TABLES, Table, Tasks,
    },
};

pub(crate) const ROWS: [&str; 7] = [
    Assets::NAME,
    Authorizations::NAME,
    Tasks::NAME,
    Orders::NAME,
    Deals::NAME,
    Journals::NAME,
    HEADERS,
];

pub(crate) fn word(byte: u8) -> B256 {
    B256::repeat_byte(byte)
}

pub(crate) fn who(byte: u8) -> Address {
    Address::repeat_byte(byte)
}

pub(crate) fn asset(byte: u8) -> AssetId {
    AssetId(word(byte))
}

pub(crate) fn enclave(byte: u8) -> EnclaveId {
    EnclaveId(word(byte))
}

pub(crate) fn task(byte: u8) -> TaskId {
    TaskId(word(byte))
}

pub(crate) fn origin() -> Origin {
    let contracts = Contracts::Native([who(1), who(2), who(3)]);
    Origin { chain_id: 31337, first_block: 1, contracts }
}

/// A row as it lies in the database: table, key, value.
pub(crate) type Raw = (&'static str, Vec<u8>, Vec<u8>);

/// A mirror in a folder of its own.
pub(crate) struct Scratch {
    pub(crate) view: Option<View>,
    folder: TempDir,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let view = Some(View::open(folder.path(), &origin()).unwrap());
        Self { view, folder }
    }

    /// A mirror whose first block, confirmed, is number 10.
    pub(crate) fn at_ten() -> Self {
        let scratch = Self::new();
        scratch.view().apply(&[block(10, Vec::new())]).unwrap();
        scratch
    }

    pub(crate) fn view(&self) -> &View {
        self.view.as_ref().unwrap()
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn close(&mut self) {
        self.view = None;
    }

    pub(crate) fn reopen(&mut self) {
        self.close();
        self.view = Some(View::open(self.path(), &origin()).unwrap());
    }

    /// The whole mirror, byte by byte; all but how often it was written.
    pub(crate) fn dump(&self) -> Vec<Raw> {
        self.dump_of(&TABLES)
    }

    pub(crate) fn dump_of(&self, tables: &[&'static str]) -> Vec<Raw> {
        dump(self.view(), tables).unwrap()
    }
}

/// The rows of some tables, without the marks of the writes.
pub(crate) fn dump(view: &View, tables: &[&'static str]) -> Result<Vec<Raw>, rocksdb::Error> {
    let mut rows = Vec::new();
    for table in tables {
        let mut options = ReadOptions::default();
        options.set_total_order_seek(true);
        for row in view.db.iterator_cf_opt(view.family(table), options, IteratorMode::Start) {
            let (key, value) = row?;
            if !key.starts_with(META_MARK) {
                rows.push((*table, key.into_vec(), value.into_vec()));
            }
        }
    }
    Ok(rows)
}

/// A block of a chain on which every hash follows from the number and the fork.
pub(crate) fn block_on(fork: u8, number: u64, events: Vec<ChainEvent>) -> BlockEvents {
    let hash = |number: u64| keccak256([&[fork], number.to_be_bytes().as_slice()].concat());
    BlockEvents {
        block: Block {
            number,
            hash: hash(number),
            parent: hash(number - 1),
            timestamp: 1000 + 12 * (number % 10_000),
        },
        events: events.into_iter().map(at).collect(),
    }
}

pub(crate) fn block(number: u64, events: Vec<ChainEvent>) -> BlockEvents {
    block_on(0, number, events)
}

/// The event with an image that its content determines, if a registry of ours says it.
pub(crate) fn at(event: ChainEvent) -> EventAt {
    let data_hash = keccak256(format!("{event:?}"));
    let image = LogImage { timestamp: 7, topics: [data_hash; 4], data_hash };
    EventAt { journal: registry(&event).map(|registry| (registry, image)), event }
}

/// The event as contracts without a journal say it.
pub(crate) fn of_poco(event: ChainEvent) -> EventAt {
    EventAt { journal: None, event }
}

fn registry(event: &ChainEvent) -> Option<Registry> {
    Some(match event {
        ChainEvent::TaskPurchased { deal: Some(_), .. } => return None,
        ChainEvent::AssetRegistered { .. }
        | ChainEvent::ContentSet { .. }
        | ChainEvent::AssetTransferred { .. } => Registry::Assets,
        ChainEvent::EnclaveAuthorized { .. } | ChainEvent::EnclaveRevoked { .. } => {
            Registry::Whitelist
        }
        ChainEvent::TaskPurchased { .. }
        | ChainEvent::TaskStarted { .. }
        | ChainEvent::TaskCompleted { .. }
        | ChainEvent::TaskCancelled { .. }
        | ChainEvent::TaskExpired { .. }
        | ChainEvent::TaskSettled { .. }
        | ChainEvent::GrantRevoked { .. } => Registry::Tasks,
        ChainEvent::TaskRevealing { .. }
        | ChainEvent::DealMatched { .. }
        | ChainEvent::OrderConsumed { .. }
        | ChainEvent::OrderClosed { .. }
        | ChainEvent::OrderPresigned { .. } => return None,
    })
}

pub(crate) fn registered(id: AssetId) -> ChainEvent {
    ChainEvent::AssetRegistered {
        asset: id,
        kind: AssetKind::App,
        digest: word(0xd1),
        uri: "ipfs://first".to_owned(),
    }
}

pub(crate) fn transferred(id: AssetId, from: Address, to: Address) -> ChainEvent {
    ChainEvent::AssetTransferred { asset: id, from, to }
}

pub(crate) fn authorized(id: AssetId, enclave: EnclaveId, serial: u64) -> ChainEvent {
    ChainEvent::EnclaveAuthorized { asset: id, enclave, epoch: 0, serial, terms: terms(serial) }
}

pub(crate) fn terms(seed: u64) -> Terms {
    Terms {
        not_before: seed,
        not_after: seed + 1,
        app: asset(3),
        requester: who(4),
        sms: who(5),
        max_tasks: u64::MAX,
        currency: who(6),
        price: U256::MAX,
    }
}

pub(crate) fn snapshot(epoch: u64) -> AssetSnapshot {
    AssetSnapshot {
        uri: format!("https://example.org/{epoch}"),
        digest: word(0xd2),
        epoch,
        serial: epoch + 1,
        price: U256::from(epoch),
    }
}

/// An order for app 1 in enclave 1, with two protected data and two grants.
pub(crate) fn order() -> Order {
    Order {
        app: asset(1),
        enclave: enclave(1),
        data: vec![asset(2), asset(3)],
        grants: vec![grant(1, "a"), grant(9, &"z".repeat(64))],
        worker: who(10),
        sms: who(11),
        beneficiary: who(12),
        deadline: u64::MAX,
        currency: who(13),
        reward: U256::from(1) << 200,
        max_cost: U256::MAX,
        params: "--flag \u{e9}\0".to_owned(),
    }
}

fn grant(index: u32, name: &str) -> Grant {
    Grant { index, name: name.parse().unwrap() }
}

pub(crate) fn purchased(id: TaskId, order: Order) -> ChainEvent {
    let data = (1..).take(order.data.len()).map(snapshot).collect();
    ChainEvent::TaskPurchased {
        task: id,
        requester: who(20),
        order: Box::new(order),
        app: snapshot(0),
        data,
        deal: None,
    }
}

/// A run, number 2, of a deal of three, for app 1 with protected data 2 and 3.
pub(crate) fn deal() -> Deal {
    let request = word(0x55);
    let id = keccak256([request.0, B256::ZERO.0].concat());
    Deal {
        id,
        index: 2,
        first: 0,
        size: 3,
        tag: B256::with_last_byte(9),
        workerpool: who(30),
        scheduler: who(31),
        callback: who(32),
        start_time: 1000,
    }
}

/// The making of [`deal`].
pub(crate) fn matched() -> ChainEvent {
    ChainEvent::DealMatched { deal: deal().id, request: word(0x55), volume: 3 }
}

/// What [`purchased`] says, of a run of this deal.
pub(crate) fn bought_by(deal: Deal, id: TaskId, order: Order) -> ChainEvent {
    let mut bought = purchased(id, order);
    if let ChainEvent::TaskPurchased { deal: of, .. } = &mut bought {
        *of = Some(Box::new(deal));
    }
    bought
}

/// What [`purchased`] makes, in this state.
pub(crate) fn row(status: TaskStatus, revoked: &[u32]) -> Task {
    Task {
        requester: who(20),
        status,
        order: order(),
        app: snapshot(0),
        data: vec![snapshot(1), snapshot(2)],
        revoked_grants: BTreeSet::from_iter(revoked.iter().copied()),
        deal: None,
    }
}
