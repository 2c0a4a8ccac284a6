//! A task that is allowed everything, for the tests to spoil.

use std::{
    path::Path,
    sync::{Arc, LazyLock, Mutex, PoisonError, Weak},
};

use alloy_primitives::{Address, B256, U256};
use sesame_attestation::{
    Collateral, Evidence, Policy, VerifiedEnclave, Verifier, WorkerProof,
    simulated::{Imitated, Root},
};
use sesame_domain::{
    Asset, AssetId, AssetKind, AssetSnapshot, Authorization, Block, Deal, EnclaveId, Facts, Grant,
    Order, Resource, SecretId, Standing, Task, TaskId, TaskStatus, Terms,
};
use sesame_protocol::{
    jwe::EnclaveKey, rcar, signature::Signer, typed::Domain, voucher::SignedVoucher,
};
use tempfile::TempDir;
use zeroize::Zeroizing;

use crate::{
    decision::{
        Asked, Claim, Denials, Release, Secrets, authorize,
        deal::{DealAsked, SessionClaim},
        explain,
    },
    error::VaultError,
    keys::KeySource,
    record::Metadata,
    safe::{Location, Vault},
    secret::Plaintext,
    server::Postgres,
};

pub(crate) const NOW: u64 = 10_000;
pub(crate) const DEADLINE: u64 = 20_000;
pub(crate) const EPOCH: u64 = 3;

pub(crate) fn word(byte: u8) -> B256 {
    B256::repeat_byte(byte)
}

pub(crate) fn who(byte: u8) -> Address {
    Address::repeat_byte(byte)
}

pub(crate) fn asset(byte: u8) -> AssetId {
    AssetId(word(byte))
}

/// Who owns asset `byte`.
pub(crate) fn owner_of(byte: u8) -> Address {
    who(byte.wrapping_add(0x40))
}

/// The content of asset `byte` at purchase.
pub(crate) fn content_of(byte: u8) -> B256 {
    word(0x80 + byte)
}

pub(crate) fn requester() -> Address {
    who(0x20)
}

pub(crate) fn requester_secret(name: &str) -> SecretId {
    SecretId::Requester(requester(), name.parse().unwrap())
}

pub(crate) fn asset_secret(byte: u8) -> SecretId {
    SecretId::Asset(asset(byte))
}

pub(crate) fn sms() -> Address {
    who(0x21)
}

pub(crate) fn the_task() -> TaskId {
    TaskId(word(0x30))
}

fn signer(byte: u8) -> Signer {
    Signer::from_bytes(&[byte; 32]).unwrap()
}

/// The order's worker.
pub(crate) fn worker() -> Address {
    signer(2).address()
}

/// The proof of worker `byte` for a run of `task` with this enclave's key.
pub(crate) fn vouched(byte: u8, task: TaskId, enclave: &VerifiedEnclave) -> WorkerProof {
    let domain = Domain { chain_id: 31337, asset_registry: who(0x22) };
    let key = enclave.key().thumbprint();
    let voucher = SignedVoucher::sign(task, sms(), key, NOW, &domain, &signer(byte));
    WorkerProof::verify(&voucher, &domain, sms(), key, NOW).unwrap()
}

/// A simulated enclave with a measurement of this byte, its evidence verified.
pub(crate) fn attested(measurement: u8) -> VerifiedEnclave {
    /// One platform for all tests, and the verifier that trusts it.
    static TRUSTED: LazyLock<(Root, Verifier)> = LazyLock::new(|| {
        let root = Root::make(NOW);
        let policy = Policy::insecure_trusting_simulated(root.published().clone());
        (root, Verifier::new(policy))
    });
    let (root, verifier) = &*TRUSTED;
    let key = EnclaveKey::random().public().clone();
    let report_data = rcar::report_data("nonce", &key);
    let document = root.evidence(Imitated::Sgx, &[measurement; 32], report_data);
    let evidence = Evidence::parse("sgx", &document).unwrap();
    verifier.verify(&evidence, &Collateral::Nothing, "nonce", key, NOW).unwrap()
}

/// A place for one vault, of either kind. Gone when dropped.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) folder: TempDir,
    pub(crate) records: Location,
    pub(crate) keys: KeySource,
    /// The server that the records are at, and the name of their database.
    pub(crate) server: Option<(Arc<Postgres>, String)>,
}

impl Ground {
    /// In PostgreSQL for a module whose name ends so, and in a folder for any other: one file of tests is two modules.
    pub(crate) fn of(module: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (records, keys) = places(folder.path());
        if !module.ends_with("on_postgres") {
            return Self { folder, records, keys, server: None };
        }
        let server = server();
        let database = format!("vault_{:x}", rand::random::<u64>());
        let records = Location::Postgres(Box::new(server.database(&database).parse().unwrap()));
        Self { folder, records, keys, server: Some((server, database)) }
    }

    pub(crate) fn open(&self) -> Result<Vault, VaultError> {
        Vault::open(&self.records, &self.keys, 31337, who(1))
    }
}

/// One server for all tests of this process that run at a time.
pub(crate) fn server() -> Arc<Postgres> {
    static RUNNING: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());
    let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    running.upgrade().unwrap_or_else(|| {
        let server = Arc::new(Postgres::start());
        *running = Arc::downgrade(&server);
        server
    })
}

/// Where a vault in this folder is.
pub(crate) fn places(folder: &Path) -> (Location, KeySource) {
    let [records, keys] = ["vault", "keys"].map(|name| folder.join(name));
    (Location::Folder(records), KeySource::Folder(keys))
}

/// The vault in this folder.
pub(crate) fn vault_in(folder: &Path) -> Vault {
    let (records, keys) = places(folder);
    Vault::open(&records, &keys, 31337, who(1)).unwrap()
}

pub(crate) fn plaintext(bytes: &[u8]) -> Plaintext {
    Zeroizing::new(bytes.to_vec()).into()
}

/// What is known of a secret that this owner pushed in this epoch.
pub(crate) fn metadata(owner: Address, epoch: u64, version: u64) -> Metadata {
    Metadata {
        owner,
        epoch,
        version,
        transferable: false,
        content_digest: B256::ZERO,
        sealed_digest: word(0x50),
        updated_at: NOW,
        size: 6,
    }
}

/// Who asks for what, and what both views and the vault say.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) asked: Asked,
    pub(crate) head: Facts,
    pub(crate) confirmed: Facts,
    pub(crate) secrets: Secrets,
    pub(crate) worker: WorkerProof,
    pub(crate) enclave: VerifiedEnclave,
}

impl World {
    /// App 1, protected data 2 and 3, secrets `a` (index 1) and `ab` (index 5): everything is as it must be.
    pub(crate) fn new(resource: Resource) -> Self {
        let enclave = attested(7);
        let task = Arc::new(task(enclave.id()));
        let at = |number| Block {
            number,
            hash: word(u8::try_from(number).unwrap()),
            parent: word(u8::try_from(number - 1).unwrap()),
            timestamp: NOW,
        };
        let facts = |at| Facts {
            at,
            changed_at: 99,
            task: Some(Arc::clone(&task)),
            app: standing(1, AssetKind::App),
            data: data_of(resource),
        };
        let pushed_by = |owner, epoch| Some(metadata(owner, epoch, 1));
        let secrets = vec![
            (Resource::AppSecret, pushed_by(owner_of(1), EPOCH)),
            (Resource::RequesterSecret(1), pushed_by(requester(), 0)),
            (Resource::RequesterSecret(5), pushed_by(requester(), 0)),
            (Resource::ProtectedData(1), pushed_by(owner_of(2), EPOCH)),
            (Resource::ProtectedData(2), pushed_by(owner_of(3), EPOCH)),
        ];
        Self {
            asked: Asked { task: the_task(), resource, sms: sms(), now: NOW },
            head: facts(at(100)),
            confirmed: Facts { changed_at: 0, ..facts(at(90)) },
            secrets: Secrets(secrets),
            worker: vouched(2, the_task(), &enclave),
            enclave,
        }
    }

    pub(crate) fn authorize(&self) -> Result<Release, Denials> {
        let Self { asked, head, confirmed, secrets, worker, enclave } = self;
        authorize(asked, head, confirmed, secrets, worker, enclave)
    }

    pub(crate) fn explain(&self, claim: Option<Claim>) -> Result<(), Denials> {
        explain(&self.asked, &self.head, &self.confirmed, &self.secrets, claim)
    }

    /// What the vault says of one resource.
    pub(crate) fn secret(&mut self, of: Resource) -> &mut Option<Metadata> {
        &mut self.secrets.0.iter_mut().find(|(resource, _)| *resource == of).unwrap().1
    }

    /// The same change in both views.
    pub(crate) fn both(mut self, change: impl Fn(&mut Facts)) -> Self {
        change(&mut self.head);
        change(&mut self.confirmed);
        self
    }
}

fn data_of(resource: Resource) -> Vec<(u32, Standing)> {
    let all = [1, 2].map(|n| (n, standing(u8::try_from(n).unwrap() + 1, AssetKind::ProtectedData)));
    all.into_iter()
        .filter(|(n, _)| resource == Resource::Bundle || resource == Resource::ProtectedData(*n))
        .collect()
}

fn standing(byte: u8, kind: AssetKind) -> Standing {
    let asset_row = Asset {
        kind,
        owner: owner_of(byte),
        epoch: EPOCH,
        digest: content_of(byte),
        uri: String::new(),
    };
    let word = Authorization { epoch: EPOCH, serial: 1, terms: Terms::default() };
    Standing { id: asset(byte), asset: Some(asset_row), authorization: Some(word) }
}

fn task(enclave: EnclaveId) -> Task {
    let snapshot = |byte| AssetSnapshot {
        uri: String::new(),
        digest: content_of(byte),
        epoch: EPOCH,
        serial: 1,
        price: U256::ZERO,
    };
    let grant = |index, name: &str| Grant { index, name: name.parse().unwrap() };
    let order = Order {
        app: asset(1),
        enclave,
        data: vec![asset(2), asset(3)],
        grants: vec![grant(1, "a"), grant(5, "ab")],
        worker: worker(),
        sms: sms(),
        beneficiary: Address::ZERO,
        deadline: DEADLINE,
        currency: Address::ZERO,
        reward: U256::ZERO,
        max_cost: U256::ZERO,
        params: String::new(),
    };
    Task {
        requester: requester(),
        status: TaskStatus::Started,
        order,
        app: snapshot(1),
        data: vec![snapshot(2), snapshot(3)],
        revoked_grants: Default::default(),
        deal: None,
    }
}

/// The task of some facts, to be changed.
pub(crate) fn task_of(facts: &mut Facts) -> &mut Task {
    Arc::make_mut(facts.task.as_mut().unwrap())
}

/// The terms of the app, or of protected data `n`.
pub(crate) fn terms_of(standing: &mut Standing) -> &mut Terms {
    &mut standing.authorization.as_mut().unwrap().terms
}

/// Who owns the workerpool of [`deal_facts`].
pub(crate) fn scheduler() -> Address {
    who(0x60)
}

/// Who may have the result of [`deal_facts`]'s task.
pub(crate) fn beneficiary() -> Address {
    who(0x61)
}

/// The worker that asks for a session of it.
pub(crate) fn deal_worker() -> Address {
    who(0x62)
}

/// The app and the dataset of it: contracts.
pub(crate) const DEAL_APP: Address = Address::repeat_byte(0x63);
pub(crate) const DEAL_DATASET: Address = Address::repeat_byte(0x64);

/// An active task of a deal for TDX, as the view at block `number` has it: secret `a` under index 1.
pub(crate) fn deal_facts(number: u64) -> Facts {
    let deal = Deal {
        id: word(0x31),
        index: 4,
        first: 3,
        size: 2,
        tag: B256::with_last_byte(0x9),
        workerpool: who(0x65),
        scheduler: scheduler(),
        callback: Address::ZERO,
        start_time: NOW - 100,
    };
    let mut task = task(EnclaveId::default());
    task.order.app = DEAL_APP.into();
    task.order.data = vec![DEAL_DATASET.into()];
    task.order.grants.truncate(1);
    task.order.worker = Address::ZERO;
    task.order.sms = Address::ZERO;
    task.order.beneficiary = beneficiary();
    task.data.truncate(1);
    task.deal = Some(Box::new(deal));
    let at = Block { number, hash: word(1), parent: word(0), timestamp: NOW };
    Facts { at, changed_at: number.min(99), task: Some(Arc::new(task)), ..Facts::default() }
}

/// What a worker asks with whom the scheduler vouches for, for the challenge that was issued.
pub(crate) fn deal_claim(issued: Address) -> SessionClaim {
    SessionClaim {
        worker: deal_worker(),
        challenge: issued,
        issued: Some(issued),
        scheduler: Some(scheduler()),
    }
}

/// The question about [`the_task`].
pub(crate) fn deal_asked() -> DealAsked {
    DealAsked { task: the_task(), now: NOW }
}
