//! A synthetic index: assets, authorizations and started tasks in numbers that no test chain reaches, and the vault beside it.

use alloy_primitives::{Address, B256, U256};
use sesame_domain::{
    AssetId, AssetKind, AssetSnapshot, Block, BlockEvents, ChainEvent, EventAt, Grant, LogImage,
    Order, Registry, SecretId, TaskId, Terms,
};
use sesame_vault::{Metadata, Push, Vault};
use sesame_view::View;
use zeroize::Zeroizing;

use crate::actors::{Actors, NOW};

pub(crate) const ASSETS: u64 = 10_000;
const PAIRS: u64 = ASSETS / 2;
const REQUESTERS: u64 = 100;
const EVENTS_A_BLOCK: usize = 1_000;
/// Blocks written at once.
const BLOCKS: usize = 16;

/// How much there is; every one of the 10,000 assets authorizes every enclave.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) enclaves: u64,
    pub(crate) tasks: u64,
}

impl Size {
    /// How many blocks its events fill.
    pub(crate) const fn blocks(self) -> u64 {
        (ASSETS * (2 + self.enclaves) + 2 * self.tasks) / EVENTS_A_BLOCK as u64 + 2
    }
}

fn id(space: u8, number: u64) -> B256 {
    alloy_primitives::keccak256([[space].as_slice(), &number.to_be_bytes()].concat())
}

/// Even assets are apps, odd ones protected data.
pub(crate) fn asset(number: u64) -> AssetId {
    AssetId(id(1, number))
}

fn owner(number: u64) -> Address {
    Address::from_word(id(2, number))
}

pub(crate) fn task(number: u64) -> TaskId {
    TaskId(id(3, number))
}

pub(crate) fn requester(task: u64) -> Address {
    Address::from_word(id(6, task % REQUESTERS))
}

/// The numbers of a task's app and protected data.
pub(crate) const fn assets_of(task: u64) -> (u64, u64) {
    let pair = task % PAIRS;
    (pair * 2, pair * 2 + 1)
}

/// The number of the enclave that a task is pinned to.
pub(crate) const fn enclave_of(task: u64, enclaves: u64) -> u64 {
    (task / PAIRS + task) % enclaves
}

/// Writes the index onto `ground`, oldest block first.
pub(crate) fn write(
    view: &View,
    ground: &[Block],
    size: Size,
    actors: &Actors,
) -> anyhow::Result<()> {
    let mut blocks = Blocks { view, ground: ground.iter(), full: Vec::new(), events: Vec::new() };
    blocks.flush()?;
    blocks.write()?;
    view.prove(0)?;
    for number in 0..ASSETS {
        blocks.register(number)?;
    }
    for number in 0..ASSETS {
        for enclave in &actors.enclaves {
            blocks.say(
                Registry::Whitelist,
                ChainEvent::EnclaveAuthorized {
                    asset: asset(number),
                    enclave: enclave.id(),
                    epoch: 0,
                    serial: 1,
                    terms: Terms::default(),
                },
            )?;
        }
    }
    for number in 0..size.tasks {
        blocks.say(Registry::Tasks, purchase(number, actors))?;
        blocks.say(Registry::Tasks, ChainEvent::TaskStarted { task: task(number) })?;
    }
    blocks.finish()?;
    let head = view.cursor()?.expect("blocks were written").head.number;
    view.confirm(head)?;
    Ok(view.prove(head)?)
}

fn purchase(number: u64, actors: &Actors) -> ChainEvent {
    let snapshot = |asset: u64| AssetSnapshot {
        uri: format!("https://example.org/content/{asset}"),
        digest: id(4, asset),
        epoch: 0,
        serial: 1,
        price: U256::ZERO,
    };
    let (app, data) = assets_of(number);
    let enclaves = actors.enclaves.len() as u64;
    let enclave = usize::try_from(enclave_of(number, enclaves)).unwrap_or_default();
    let order = Order {
        app: asset(app),
        enclave: actors.enclaves.get(enclave).expect("there are that many").id(),
        data: vec![asset(data)],
        grants: vec![Grant { index: 1, name: "password".parse().expect("a name") }],
        worker: actors.worker(),
        sms: actors.sms,
        beneficiary: Address::ZERO,
        deadline: u64::MAX,
        currency: Address::ZERO,
        reward: U256::ZERO,
        max_cost: U256::ZERO,
        params: "--fast".to_owned(),
    };
    ChainEvent::TaskPurchased {
        task: task(number),
        requester: requester(number),
        order: Box::new(order),
        app: snapshot(app),
        data: vec![snapshot(data)],
        deal: None,
    }
}

struct Blocks<'a> {
    view: &'a View,
    ground: std::slice::Iter<'a, Block>,
    full: Vec<BlockEvents>,
    events: Vec<EventAt>,
}

impl Blocks<'_> {
    fn register(&mut self, number: u64) -> anyhow::Result<()> {
        let kind = if number.is_multiple_of(2) { AssetKind::App } else { AssetKind::ProtectedData };
        let (asset, to, digest) = (asset(number), owner(number), id(4, number));
        let uri = format!("https://example.org/content/{number}");
        self.say(Registry::Assets, ChainEvent::AssetRegistered { asset, kind, digest, uri })?;
        let from = Address::ZERO;
        self.say(Registry::Assets, ChainEvent::AssetTransferred { asset, from, to })
    }

    fn say(&mut self, registry: Registry, event: ChainEvent) -> anyhow::Result<()> {
        let image = LogImage { timestamp: NOW, topics: [B256::ZERO; 4], data_hash: B256::ZERO };
        self.events.push(EventAt { journal: Some((registry, image)), event });
        if self.events.len() == EVENTS_A_BLOCK { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        let Some(block) = self.ground.next() else { anyhow::bail!("too few blocks") };
        let events = std::mem::take(&mut self.events);
        self.full.push(BlockEvents { block: *block, events });
        if self.full.len() == BLOCKS { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> anyhow::Result<()> {
        Ok(self.view.apply(&std::mem::take(&mut self.full))?)
    }

    /// The chain's last blocks, which hold nothing, as well.
    fn finish(mut self) -> anyhow::Result<()> {
        self.flush()?;
        while self.ground.len() > 0 {
            self.flush()?;
        }
        self.write()
    }
}

/// A secret for every requester, app and protected data that the tasks name.
pub(crate) fn fill(vault: &Vault) -> anyhow::Result<()> {
    let push = |secret: SecretId, owner: Address, content_digest: B256| {
        let value = Zeroizing::new(b"correct horse".to_vec()).into();
        let metadata = Metadata {
            owner,
            epoch: 0,
            version: 1,
            transferable: false,
            content_digest,
            sealed_digest: B256::ZERO,
            updated_at: NOW,
            size: 0,
        };
        vault.push(Push { secret, metadata, value }).map(drop)
    };
    for number in 0..ASSETS {
        let digest = if number % 2 == 0 { B256::ZERO } else { id(4, number) };
        push(SecretId::Asset(asset(number)), owner(number), digest)?;
    }
    for number in 0..REQUESTERS {
        let requester = requester(number);
        push(SecretId::Requester(requester, "password".parse()?), requester, B256::ZERO)?;
    }
    Ok(())
}
