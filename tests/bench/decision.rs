//! The decision over a million authorizations, and the same reads without it.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use alloy_primitives::{Address, B256, U256};
use rand::{Rng, SeedableRng, rngs::StdRng};
use rocksdb::{BlockBasedOptions, Cache, ColumnFamilyDescriptor, DB, Options, SliceTransform};
use sesame_attestation::{Evidence, Policy, VerifiedEnclave, WorkerProof, simulated, verify};
use sesame_domain::{
    AssetId, AssetKind, AssetSnapshot, Block, BlockEvents, ChainEvent, EnclaveId, EventAt, Grant,
    LogImage, Order, Registry, Resource, SecretId, TaskId, Terms,
};
use sesame_protocol::{
    evidence::SimulatedEvidence, jwe::EnclaveKey, rcar, signature::Signer, typed::Domain,
    voucher::SignedVoucher,
};
use sesame_vault::{Asked, Metadata, Push, Vault, authorize, wanted};
use sesame_view::{Origin, View};
use zeroize::Zeroizing;

use crate::figures::Samples;

const ASSETS: u64 = 10_000;
const ENCLAVES: u64 = 100;
const TASKS: u64 = 10_000;
const EVENTS_A_BLOCK: usize = 1_000;
const NOW: u64 = 1_000_000;
const CHAIN: u64 = 31337;

/// A view of 10,000 assets with 100 authorized enclaves each and 10,000 started tasks, and a vault with what they need.
pub(crate) struct Million {
    index: PathBuf,
    view: Option<View>,
    vault: Vault,
    sms: Address,
    worker: WorkerKey,
    enclave: VerifiedEnclave,
}

struct WorkerKey {
    signer: Signer,
    domain: Domain,
}

fn id(space: u8, number: u64) -> B256 {
    alloy_primitives::keccak256([[space].as_slice(), &number.to_be_bytes()].concat())
}

/// Even assets are apps, odd ones protected data.
fn asset(number: u64) -> AssetId {
    AssetId(id(1, number))
}

fn owner(number: u64) -> Address {
    Address::from_word(id(2, number))
}

fn task(number: u64) -> TaskId {
    TaskId(id(3, number))
}

impl Million {
    pub(crate) fn write(folder: &Path) -> anyhow::Result<Self> {
        let domain = Domain { chain_id: CHAIN, asset_registry: Address::ZERO };
        let signer = Signer::random();
        let enclave = enclave()?;
        let sms = Address::repeat_byte(9);
        let index = folder.join("index");
        let view = View::open(&index, &Origin { chain_id: CHAIN, ..Origin::default() })?;
        write_blocks(&view, enclave.id(), signer.address(), sms)?;
        let vault =
            Vault::open(&folder.join("vault"), &folder.join("vault.key"), CHAIN, Address::ZERO)?;
        fill(&vault)?;
        let worker = WorkerKey { signer, domain };
        Ok(Self { index, view: Some(view), vault, sms, worker, enclave })
    }

    /// Each round: a snapshot, the facts of both views for a bundle of three resources, what the vault has, the decision.
    pub(crate) fn decide(&self, rounds: usize) -> anyhow::Result<Samples> {
        let view = self.view.as_ref().expect("open until the bare seeks");
        let mut random = StdRng::seed_from_u64(1);
        let mut samples = Vec::with_capacity(rounds);
        for _ in 0..rounds {
            let id = task(random.random_range(0..TASKS));
            let proof = self.worker.proof(id, self.sms, &self.enclave)?;
            let asked = Asked { task: id, resource: Resource::Bundle, sms: self.sms, now: NOW };
            let start = Instant::now();
            let snapshot = view.snapshot()?.expect("blocks were written");
            let facts = snapshot.facts(id, Some(self.enclave.id()), Resource::Bundle)?;
            let secrets = self.vault.look_up(&wanted(Resource::Bundle, &facts.head))?;
            let decision =
                authorize(&asked, &facts.head, &facts.confirmed, &secrets, &proof, &self.enclave);
            samples.push(start.elapsed());
            let released = decision.map_err(|denials| anyhow::anyhow!("denied: {denials:?}"))?;
            anyhow::ensure!(released.items().len() == 3, "a bundle of three");
        }
        Ok(Samples::new(samples))
    }

    /// The same keys read without any of our code between: one get, five seeks in the view's tables.
    pub(crate) fn bare_seeks(mut self, rounds: usize) -> anyhow::Result<Samples> {
        drop(self.view.take());
        let db = open_bare(&self.index)?;
        let family = |name: &str| db.cf_handle(name).expect("opened with it");
        let mut random = StdRng::seed_from_u64(1);
        let mut samples = Vec::with_capacity(rounds);
        for _ in 0..rounds {
            let number = random.random_range(0..TASKS);
            let (app, data) = (app_of(number), data_of(number));
            let keys = [
                ("tasks", task(number).0.to_vec()),
                ("assets", asset(app).0.to_vec()),
                ("authorizations", [asset(app).0.0, self.enclave.id().0.0].concat()),
                ("assets", asset(data).0.to_vec()),
                ("authorizations", [asset(data).0.0, self.enclave.id().0.0].concat()),
            ];
            let start = Instant::now();
            let snapshot = db.snapshot();
            snapshot.get_cf(family("meta"), b"cursor")?;
            for (table, key) in keys {
                let mut options = rocksdb::ReadOptions::default();
                options.set_snapshot(&snapshot);
                options.set_prefix_same_as_start(true);
                let mut cursor = db.raw_iterator_cf_opt(family(table), options);
                cursor.seek([key, vec![0; 8]].concat());
                anyhow::ensure!(std::hint::black_box(cursor.value()).is_some(), "it is there");
            }
            samples.push(start.elapsed());
        }
        Ok(Samples::new(samples))
    }
}

impl WorkerKey {
    fn proof(
        &self,
        task: TaskId,
        sms: Address,
        enclave: &VerifiedEnclave,
    ) -> anyhow::Result<WorkerProof> {
        let key = enclave.key().thumbprint();
        let voucher = SignedVoucher::sign(task, sms, key, NOW + 60, &self.domain, &self.signer);
        Ok(WorkerProof::verify(&voucher, &self.domain, sms, key, NOW)?)
    }
}

fn enclave() -> anyhow::Result<VerifiedEnclave> {
    let root = Signer::random();
    let key = EnclaveKey::random();
    let report_data = rcar::report_data("nonce", key.public());
    let quote = SimulatedEvidence::quote(simulated::IMITATES, &[7; 32], report_data, &root);
    let policy = Policy::insecure_trusting_simulated(root.address());
    Ok(verify(&Evidence::Simulated(quote), "nonce", key.public().clone(), &policy)?)
}

fn write_blocks(
    view: &View,
    enclave: EnclaveId,
    worker: Address,
    sms: Address,
) -> anyhow::Result<()> {
    let mut blocks = Blocks { view, next: 0, events: Vec::new() };
    for number in 0..ASSETS {
        let kind = if number % 2 == 0 { AssetKind::App } else { AssetKind::ProtectedData };
        blocks.say(
            Registry::Assets,
            ChainEvent::AssetRegistered {
                asset: asset(number),
                kind,
                digest: id(4, number),
                uri: format!("https://example.org/content/{number}"),
            },
        )?;
        let (asset, to) = (asset(number), owner(number));
        blocks.say(
            Registry::Assets,
            ChainEvent::AssetTransferred { asset, from: Address::ZERO, to },
        )?;
    }
    for number in 0..ASSETS {
        for other in 0..ENCLAVES {
            let enclave = if other == 0 { enclave } else { EnclaveId(id(5, other)) };
            blocks.say(
                Registry::Whitelist,
                ChainEvent::EnclaveAuthorized {
                    asset: asset(number),
                    enclave,
                    epoch: 0,
                    serial: 1,
                    terms: Terms::default(),
                },
            )?;
        }
    }
    for number in 0..TASKS {
        blocks.say(Registry::Tasks, purchase(number, enclave, worker, sms))?;
        blocks.say(Registry::Tasks, ChainEvent::TaskStarted { task: task(number) })?;
    }
    blocks.flush()?;
    let head = view.cursor()?.expect("blocks were written").head.number;
    Ok(view.confirm(head)?)
}

const fn app_of(task: u64) -> u64 {
    task % (ASSETS / 2) * 2
}

const fn data_of(task: u64) -> u64 {
    task % (ASSETS / 2) * 2 + 1
}

fn requester(task: u64) -> Address {
    Address::from_word(id(6, task % 100))
}

fn purchase(number: u64, enclave: EnclaveId, worker: Address, sms: Address) -> ChainEvent {
    let snapshot = |asset: u64| AssetSnapshot {
        uri: format!("https://example.org/content/{asset}"),
        digest: id(4, asset),
        epoch: 0,
        serial: 1,
        price: U256::ZERO,
    };
    let (app, data) = (app_of(number), data_of(number));
    let order = Order {
        app: asset(app),
        enclave,
        data: vec![asset(data)],
        grants: vec![Grant { index: 1, name: "password".parse().expect("a name") }],
        worker,
        sms,
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
    }
}

struct Blocks<'a> {
    view: &'a View,
    next: u64,
    events: Vec<EventAt>,
}

impl Blocks<'_> {
    fn say(&mut self, registry: Registry, event: ChainEvent) -> anyhow::Result<()> {
        let image =
            LogImage { timestamp: self.next, topics: [B256::ZERO; 4], data_hash: B256::ZERO };
        self.events.push(EventAt { registry, image, event });
        if self.events.len() == EVENTS_A_BLOCK { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        let number = self.next;
        let block = Block {
            number,
            hash: id(7, number),
            parent: id(7, number.wrapping_sub(1)),
            timestamp: NOW,
        };
        self.next += 1;
        Ok(self.view.apply(&[BlockEvents { block, events: std::mem::take(&mut self.events) }])?)
    }
}

/// A secret for every requester, app and protected data that the tasks name.
fn fill(vault: &Vault) -> anyhow::Result<()> {
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
    for number in 0..100 {
        let requester = requester(number);
        push(SecretId::Requester(requester, "password".parse()?), requester, B256::ZERO)?;
    }
    Ok(())
}

/// The view's files with the view's own tuning.
fn open_bare(path: &Path) -> anyhow::Result<DB> {
    let cache = Cache::new_lru_cache(256 << 20);
    let versioned = |(name, prefix): (&str, usize)| {
        let mut blocks = BlockBasedOptions::default();
        blocks.set_block_cache(&cache);
        blocks.set_bloom_filter(10.0, false);
        blocks.set_whole_key_filtering(false);
        let mut options = Options::default();
        options.set_block_based_table_factory(&blocks);
        options.set_prefix_extractor(SliceTransform::create_fixed_prefix(prefix));
        options.set_memtable_prefix_bloom_ratio(0.1);
        ColumnFamilyDescriptor::new(name, options)
    };
    let tables = [("assets", 32), ("authorizations", 64), ("tasks", 32), ("journals", 1)];
    let plain = ["headers", "undo", "meta"]
        .map(|name| ColumnFamilyDescriptor::new(name, Options::default()));
    let families = tables.map(versioned).into_iter().chain(plain);
    Ok(DB::open_cf_descriptors(&Options::default(), path, families)?)
}
