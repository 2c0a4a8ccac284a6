//! Random histories of the three registries, and what a mirror makes of their logs: the same as the contracts say.

mod signed;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use alloy::{
    network::TransactionBuilder,
    primitives::{Address, B256, Bytes, U256},
    rpc::types::{TransactionReceipt, TransactionRequest},
    sol_types::{SolCall, SolEvent},
};
use rand::{Rng, rngs::StdRng, seq::IndexedRandom};
use sesame_chain::{
    Deployment, Reader,
    abi::{
        assets::{IAssetRegistry, IERC721},
        tasks::ITaskRegistry,
        whitelist::IEnclaveWhitelist,
    },
};
use sesame_domain::{
    Asset, AssetId, AssetKind, EnclaveId, Order, Registry, Resource, TaskId, TaskStatus, Terms,
};
use sesame_protocol::{
    results::{TaskDomain, TaskResult},
    signature::Signer,
};
use sesame_tests::{Node, Truth, World, seeded};
use sesame_view::View;
use tempfile::TempDir;

const PEOPLE: usize = 4;
const GAS: u64 = 5_000_000;
const FUNCTIONS: [&str; 16] = [
    "authorize",
    "authorizeBatch",
    "authorizeBySig",
    "cancel",
    "complete",
    "expire",
    "purchase",
    "register",
    "revoke",
    "revokeBatch",
    "revokeBySig",
    "revokeGrant",
    "setContent",
    "settle",
    "start",
    "transferFrom",
];
/// Longer than the contract's claim window.
const EIGHT_DAYS: u64 = 8 * 24 * 3600;

/// A fresh view, fed with the logs of a random history, equals the contracts; so does one that stopped half-way.
#[tokio::test]
async fn replaying_the_logs_equals_asking_the_contracts() {
    let mut random = seeded();
    let (histories, actions) = if all() { (60, 300) } else { (8, 120) };
    let (mut done, mut refused) = (BTreeSet::new(), BTreeSet::new());
    for number in 1..=histories {
        let mut history = History::new(&mut random).await;
        let folder = TempDir::new().unwrap();
        let kept = Truth::at(&folder.path().join("kept"), &history.deployment);
        history.act(actions / 2).await;
        kept.follow(&history.node).await;
        history.check(&kept.view).await;
        // Far enough for the other way in which the mirror asks for logs.
        if number % 2 == 0 {
            history.pass(40).await;
        }
        history.act(actions - actions / 2).await;
        kept.follow(&history.node).await;
        history.check(&kept.view).await;
        let fresh = Truth::at(&folder.path().join("fresh"), &history.deployment);
        fresh.follow(&history.node).await;
        history.check(&fresh.view).await;
        let (succeeded, failed) = history.told();
        done.extend(succeeded);
        refused.extend(failed);
    }
    let done: Vec<_> = done.into_iter().collect();
    assert_eq!(done, FUNCTIONS, "a function that nobody could call was not tried");
    assert!(signed::NEVER.iter().all(|name| refused.contains(name)), "{refused:?}");
}

#[expect(clippy::disallowed_methods, reason = "this is how script/test asks for long campaigns")]
pub(crate) fn all() -> bool {
    std::env::var("SESAME_TEST_ALL").is_ok_and(|all| all == "1")
}

/// A task as its buyer remembers it.
struct Bought {
    id: TaskId,
    requester: Address,
    order: Order,
}

/// One chain, and what a random history did there.
pub(crate) struct History<'a> {
    pub(crate) random: &'a mut StdRng,
    pub(crate) node: Node,
    pub(crate) deployment: Deployment,
    reader: Reader,
    people: Vec<Address>,
    signers: Vec<Signer>,
    sms: Arc<Signer>,
    enclaves: Vec<EnclaveId>,
    assets: Vec<AssetId>,
    tasks: Vec<Bought>,
    /// Calls whose signature was taken.
    used: Vec<Bytes>,
    /// Salts and uris that never come twice.
    count: u64,
    time: u64,
    /// How often each function was called, and how often that was refused.
    calls: BTreeMap<&'static str, (u32, u32)>,
}

/// A transaction that was not sent yet.
struct Action {
    name: &'static str,
    from: Address,
    to: Address,
    value: U256,
    data: Bytes,
    /// What is bought, for who has to remember it.
    order: Option<Order>,
}

impl<'a> History<'a> {
    pub(crate) async fn new(random: &'a mut StdRng) -> Self {
        let node = Node::start();
        let deployment = node.deploy().await;
        let reader = Reader::connect(&node.url(), &deployment).await.unwrap();
        let signer = |index| Signer::from_bytes(&node.key(index)).unwrap();
        let signers: Vec<_> = (0..PEOPLE).map(signer).collect();
        let people = signers.iter().map(Signer::address).collect();
        let time = node.head().await.timestamp;
        let sms = Arc::new(Signer::from_bytes(&[7; 32]).unwrap());
        let enclaves = (1..=2).map(|byte| EnclaveId(B256::repeat_byte(byte))).collect();
        let _: serde_json::Value = node.call("evm_setAutomine", (false,)).await;
        Self {
            random,
            node,
            deployment,
            reader,
            people,
            signers,
            sms,
            enclaves,
            assets: Vec::new(),
            tasks: Vec::new(),
            used: Vec::new(),
            count: 0,
            time,
            calls: BTreeMap::new(),
        }
    }

    /// Does something `times` times, one to three of them in a block.
    pub(crate) async fn act(&mut self, times: usize) {
        let mut left = times;
        while left > 0 {
            let together = self.random.random_range(1..=left.min(3));
            left -= together;
            let mut sent = Vec::new();
            for _ in 0..together {
                let action = self.action().await;
                sent.push((self.send(&action).await, action));
            }
            let jump = match self.random.random_range(0..40) {
                0 => EIGHT_DAYS,
                1..5 => self.random.random_range(100..1000),
                _ => self.random.random_range(1..20),
            };
            self.time += jump;
            self.node.mine_at(self.time).await;
            for (hash, action) in sent {
                self.mined(hash, action).await;
            }
        }
    }

    async fn send(&self, action: &Action) -> B256 {
        let transaction = TransactionRequest::default()
            .with_from(action.from)
            .with_to(action.to)
            .with_value(action.value)
            .with_gas_limit(GAS)
            .with_input(action.data.clone());
        self.node.call("eth_sendTransaction", (transaction,)).await
    }

    async fn mined(&mut self, hash: B256, action: Action) {
        let receipt: Option<TransactionReceipt> =
            self.node.call("eth_getTransactionReceipt", (hash,)).await;
        let receipt = receipt.expect("the transaction is in the block");
        let (calls, refusals) = self.calls.entry(action.name).or_default();
        *calls += 1;
        *refusals += u32::from(!receipt.status());
        if receipt.status() && action.name.ends_with("BySig") {
            self.used.push(action.data);
        }
        for log in receipt.logs() {
            if let Ok(event) = IAssetRegistry::AssetRegistered::decode_log(&log.inner) {
                self.assets.push(event.assetId.into());
            }
            if let Ok(event) = ITaskRegistry::TaskPurchased::decode_log(&log.inner) {
                let order = action.order.clone().expect("it was bought");
                let (id, requester) = (TaskId(event.taskId), event.requester);
                self.tasks.push(Bought { id, requester, order });
            }
        }
    }

    /// Something that somebody might do; usually who may, sometimes who may not.
    async fn action(&mut self) -> Action {
        if self.assets.len() < 3 {
            return self.register();
        }
        match self.random.random_range(0..100) {
            0..6 => self.register(),
            6..12 => self.set_content().await,
            12..18 => self.transfer().await,
            18..34 => self.authorize().await,
            34..40 => self.revoke().await,
            40..50 => self.signed().await,
            50..66 => self.purchase().await,
            _ if self.tasks.is_empty() => self.authorize().await,
            66..76 => {
                let data =
                    |task: &Bought| ITaskRegistry::startCall { taskId: task.id.0 }.abi_encode();
                self.on_task("start", |is, late| is == TaskStatus::Purchased && !late, data).await
            }
            76..79 => {
                let data =
                    |task: &Bought| ITaskRegistry::cancelCall { taskId: task.id.0 }.abi_encode();
                self.on_task("cancel", |is, _| is == TaskStatus::Purchased, data).await
            }
            79..85 => self.complete().await,
            85..91 => self.revoke_grant().await,
            91..95 => self.settle().await,
            _ => {
                let data =
                    |task: &Bought| ITaskRegistry::expireCall { taskId: task.id.0 }.abi_encode();
                self.on_task("expire", |is, late| is == TaskStatus::Purchased && late, data).await
            }
        }
    }

    fn call(&self, name: &'static str, from: Address, to: Registry, data: Vec<u8>) -> Action {
        let to = match to {
            Registry::Assets => self.deployment.asset_registry,
            Registry::Whitelist => self.deployment.enclave_whitelist,
            Registry::Tasks => self.deployment.task_registry,
        };
        Action { name, from, to, value: U256::ZERO, data: data.into(), order: None }
    }

    fn fresh(&mut self) -> B256 {
        self.count += 1;
        B256::from(U256::from(self.count))
    }

    fn somebody(&mut self) -> Address {
        *self.people.choose(self.random).unwrap()
    }

    fn an_asset(&mut self) -> AssetId {
        *self.assets.choose(self.random).unwrap()
    }

    fn an_enclave(&mut self) -> EnclaveId {
        *self.enclaves.choose(self.random).unwrap()
    }

    /// Whoever should do something, or somebody else, one time in twelve.
    fn usually(&mut self, who: Address) -> Address {
        if self.random.random_ratio(1, 12) { self.somebody() } else { who }
    }

    async fn owner_of(&mut self, asset: AssetId) -> Address {
        let owner = self.reader.owner_of(asset).await.unwrap();
        self.usually(owner)
    }

    fn register(&mut self) -> Action {
        let (from, digest, salt) = (self.somebody(), self.fresh(), self.fresh());
        // The first is an app, the second a protected data: a task needs both.
        let kind = match self.assets.len() {
            0 => 1,
            1 => 2,
            _ => self.random.random_range(1..=2),
        };
        let to = self.usually(from);
        let call = IAssetRegistry::registerCall { kind, to, uri: self.uri(), digest, salt };
        self.call("register", from, Registry::Assets, call.abi_encode())
    }

    fn uri(&mut self) -> String {
        format!("https://example.org/{}", "é".repeat(self.random.random_range(1..40)))
    }

    async fn set_content(&mut self) -> Action {
        let (asset, uri, digest) = (self.an_asset(), self.uri(), self.fresh());
        let call = IAssetRegistry::setContentCall { assetId: asset.to_u256(), uri, digest };
        let from = self.owner_of(asset).await;
        self.call("setContent", from, Registry::Assets, call.abi_encode())
    }

    async fn transfer(&mut self) -> Action {
        let (asset, to) = (self.an_asset(), self.somebody());
        let from = self.owner_of(asset).await;
        let call = IERC721::transferFromCall { from, to, tokenId: asset.to_u256() };
        self.call("transferFrom", from, Registry::Assets, call.abi_encode())
    }

    /// One pair, or all enclaves of one asset at once.
    async fn authorize(&mut self) -> Action {
        let asset = self.an_asset();
        let from = self.owner_of(asset).await;
        let app = self.reader.kind_of(asset).await.unwrap() == AssetKind::App;
        if self.random.random_ratio(1, 4) {
            let call = IEnclaveWhitelist::authorizeBatchCall {
                assetIds: vec![asset.to_u256(); self.enclaves.len()],
                enclaveIds: self.enclaves.iter().map(|enclave| enclave.0).collect(),
                terms: (0..self.enclaves.len()).map(|_| (&self.terms(app)).into()).collect(),
            };
            return self.call("authorizeBatch", from, Registry::Whitelist, call.abi_encode());
        }
        let enclave = self.an_enclave();
        let call = IEnclaveWhitelist::authorizeCall {
            assetId: asset.to_u256(),
            enclaveId: enclave.0,
            terms: (&self.terms(app)).into(),
        };
        self.call("authorize", from, Registry::Whitelist, call.abi_encode())
    }

    fn terms(&mut self, app: bool) -> Terms {
        let rarely = |random: &mut StdRng| random.random_ratio(1, 16);
        let mut terms =
            Terms { price: U256::from(self.random.random_range(0..4)), ..Terms::default() };
        if rarely(self.random) {
            terms.not_before = self.time + self.random.random_range(0..200);
        }
        if rarely(self.random) {
            terms.not_after = self.time + self.random.random_range(200..5000);
        }
        if !app && rarely(self.random) {
            terms.app = self.an_asset();
        }
        if rarely(self.random) {
            terms.requester = self.somebody();
        }
        if rarely(self.random) {
            terms.sms = self.sms.address();
        }
        if rarely(self.random) {
            terms.max_tasks = self.random.random_range(1..3);
        }
        terms
    }

    /// Usually one whose authorization holds.
    async fn a_pair(&mut self) -> (AssetId, EnclaveId) {
        let (mut asset, mut enclave) = (self.an_asset(), self.an_enclave());
        for _ in 0..8 {
            if self.holds(asset, enclave).await {
                break;
            }
            (asset, enclave) = (self.an_asset(), self.an_enclave());
        }
        (asset, enclave)
    }

    async fn revoke(&mut self) -> Action {
        let (asset, enclave) = self.a_pair().await;
        let from = self.owner_of(asset).await;
        if self.random.random_ratio(1, 3) {
            let mut enclaves = Vec::new();
            for other in self.enclaves.clone() {
                if other == enclave || self.holds(asset, other).await {
                    enclaves.push(other.0);
                }
            }
            let call = IEnclaveWhitelist::revokeBatchCall {
                assetIds: vec![asset.to_u256(); enclaves.len()],
                enclaveIds: enclaves,
            };
            return self.call("revokeBatch", from, Registry::Whitelist, call.abi_encode());
        }
        let call = IEnclaveWhitelist::revokeCall { assetId: asset.to_u256(), enclaveId: enclave.0 };
        self.call("revoke", from, Registry::Whitelist, call.abi_encode())
    }

    async fn purchase(&mut self) -> Action {
        let (mut apps, mut data) = (Vec::new(), Vec::new());
        let enclave = self.an_enclave();
        for asset in self.assets.clone() {
            // Those that are allowed, and now and then one that is not.
            let allowed = self.holds(asset, enclave).await;
            if !allowed && !self.random.random_ratio(1, 60) {
                continue;
            }
            match self.reader.kind_of(asset).await.unwrap() {
                AssetKind::App => apps.push(asset),
                AssetKind::ProtectedData => data.push(asset),
                AssetKind::Workerpool => unreachable!("another family's"),
            }
        }
        let Some(&app) = apps.choose(self.random) else { return self.authorize().await };
        let data = data.into_iter().filter(|_| self.random.random()).take(3).collect();
        let grants = (1..=self.random.random_range(0..4))
            .map(|index| World::grant(index * 3, &format!("secret-{index}")))
            .collect();
        let mut order = Order {
            app,
            enclave,
            data,
            grants,
            worker: self.somebody(),
            sms: self.sms.address(),
            beneficiary: self.somebody(),
            deadline: self.time + self.random.random_range(20..2000),
            currency: Address::ZERO,
            reward: U256::from(self.random.random_range(0..4)),
            max_cost: U256::from(100),
            params: "π".repeat(self.random.random_range(0..50)),
        };
        let cost = self.reader.cost_of(&order).await.unwrap();
        if self.random.random_ratio(1, 20) {
            order.max_cost = cost.saturating_sub(U256::from(1));
        }
        let call = ITaskRegistry::purchaseCall { order: (&order).into() };
        let from = self.somebody();
        let action = self.call("purchase", from, Registry::Tasks, call.abi_encode());
        Action { value: cost, order: Some(order), ..action }
    }

    async fn holds(&self, asset: AssetId, enclave: EnclaveId) -> bool {
        let epoch = self.reader.epoch_of(asset).await.unwrap();
        let written = self.reader.authorization_of(asset, enclave).await.unwrap();
        written.is_some_and(|(authorization, active)| active && authorization.epoch == epoch)
    }

    /// Something done to a task; usually to one whose status, and whether it is late, fit.
    async fn on_task(
        &mut self,
        name: &'static str,
        fits: fn(TaskStatus, bool) -> bool,
        data: impl Fn(&Bought) -> Vec<u8>,
    ) -> Action {
        let mut places = Vec::new();
        for (place, task) in self.tasks.iter().enumerate() {
            let status = self.reader.task_status(task.id).await.unwrap();
            if status.is_some_and(|is| fits(is, task.order.deadline < self.time)) {
                places.push(place);
            }
        }
        if places.is_empty() && self.random.random_ratio(11, 12) {
            return self.purchase().await;
        }
        let anywhere = self.random.random_range(0..self.tasks.len());
        let place = places.choose(self.random).copied().unwrap_or(anywhere);
        let place = if self.random.random_ratio(1, 12) { anywhere } else { place };
        let task = &self.tasks[place];
        let who = match name {
            "start" | "complete" => task.order.worker,
            _ => task.requester,
        };
        let data = data(task);
        let from = self.usually(who);
        self.call(name, from, Registry::Tasks, data)
    }

    const fn domain(&self) -> TaskDomain {
        let Deployment { chain_id, task_registry, .. } = self.deployment;
        TaskDomain { chain_id, task_registry }
    }

    async fn complete(&mut self) -> Action {
        let (domain, key) = (self.domain(), Signer::from_bytes(&[9; 32]).unwrap());
        let (sms, digest) = (self.sms.clone(), self.fresh());
        let data = |task: &Bought| {
            let result = TaskResult {
                task: task.id.0,
                bundleDigest: B256::repeat_byte(3),
                resultDigest: digest,
                resultUri: "ipfs://result".to_owned(),
            };
            ITaskRegistry::completeCall {
                taskId: task.id.0,
                resultDigest: digest,
                resultUri: result.resultUri.clone(),
                enclaveKey: key.address(),
                enclaveSignature: domain.sign_result(&result, &key),
                smsSignature: domain.certify(task.id, key.address(), &sms).to_vec().into(),
            }
            .abi_encode()
        };
        self.on_task("complete", |is, late| is == TaskStatus::Started && !late, data).await
    }

    async fn settle(&mut self) -> Action {
        let (domain, sms) = (self.domain(), self.sms.clone());
        let data = |task: &Bought| {
            let signature = Bytes::from(domain.released(task.id, &sms).to_vec());
            ITaskRegistry::settleCall { taskId: task.id.0, smsSignature: signature }.abi_encode()
        };
        self.on_task("settle", |is, _| is == TaskStatus::Started, data).await
    }

    async fn revoke_grant(&mut self) -> Action {
        let index = self.random.random_range(1..4) * 3;
        let data = |task: &Bought| {
            ITaskRegistry::revokeGrantCall { taskId: task.id.0, index }.abi_encode()
        };
        self.on_task("revokeGrant", |is, _| !is.is_final(), data).await
    }

    /// Blocks in which nothing happens.
    pub(crate) async fn pass(&mut self, blocks: u64) {
        self.node.mine(blocks).await;
        self.time = self.time.max(self.node.head().await.timestamp);
    }

    /// Replaces the newest blocks; what only they knew is forgotten.
    pub(crate) async fn reorg(&mut self, depth: u64) {
        self.node.reorg(depth).await;
        let (mut assets, mut tasks) = (Vec::new(), Vec::new());
        for asset in self.assets.drain(..) {
            if self.reader.owner_of(asset).await.is_ok() {
                assets.push(asset);
            }
        }
        for task in self.tasks.drain(..) {
            if matches!(self.reader.task_status(task.id).await, Ok(Some(_))) {
                tasks.push(task);
            }
        }
        (self.assets, self.tasks) = (assets, tasks);
        self.time = self.time.max(self.node.head().await.timestamp);
    }

    /// The view says of everything what the contracts say.
    async fn check(&self, view: &View) {
        let (snapshot, reader) = (view.snapshot().unwrap().unwrap(), &self.reader);
        for registry in Registry::ALL {
            let asked = reader.journal_of(registry).await.unwrap();
            assert_eq!(snapshot.journal(registry).unwrap(), asked, "{registry:?}");
        }
        for &id in &self.assets {
            let content = reader.content_of(id).await.unwrap();
            let asked = Asset {
                kind: reader.kind_of(id).await.unwrap(),
                owner: reader.owner_of(id).await.unwrap(),
                epoch: reader.epoch_of(id).await.unwrap(),
                digest: content.digest,
                uri: content.uri,
            };
            assert_eq!(snapshot.asset(id).unwrap().head, Some(asked), "asset {id}");
            for &enclave in &self.enclaves {
                let asked = reader.authorization_of(id, enclave).await.unwrap();
                let asked =
                    asked.and_then(|(authorization, active)| active.then_some(authorization));
                let seen = snapshot.authorization(id, enclave).unwrap().head;
                assert_eq!(seen, asked, "asset {id}, enclave {enclave}");
            }
        }
        for bought in &self.tasks {
            let seen = snapshot.facts(bought.id, None, Resource::Bundle).unwrap().head;
            let seen = seen.task.unwrap_or_else(|| panic!("task {} is unknown", bought.id));
            let asked = reader.task(bought.id).await.unwrap().unwrap();
            assert_eq!(seen.status, asked.status, "task {}", bought.id);
            assert_eq!(seen.requester, asked.requester);
            assert_eq!((seen.order.worker, seen.order.sms), (asked.worker, asked.sms));
            assert_eq!(seen.order.deadline, asked.deadline);
            assert_eq!(seen.order, bought.order);
            for grant in &bought.order.grants {
                let revoked = reader.is_grant_revoked(bought.id, grant.index).await.unwrap();
                assert_eq!(seen.revoked_grants.contains(&grant.index), revoked, "{}", bought.id);
            }
            // What was bought for is what is held, until somebody is paid.
            let held = reader.escrow_of(bought.id).await.unwrap().amount;
            if seen.status == TaskStatus::Purchased {
                let prices = seen.data.iter().chain([&seen.app]).map(|asset| asset.price);
                assert_eq!(prices.fold(seen.order.reward, |sum, price| sum + price), held);
            } else if seen.status.is_final() {
                assert!(held.is_zero(), "task {} has ended", bought.id);
            }
        }
    }

    /// What was done at least once, and what was refused at least once.
    #[expect(clippy::print_stdout, reason = "who reads a failure wants to know what happened")]
    fn told(&self) -> (Vec<&'static str>, Vec<&'static str>) {
        let (assets, tasks) = (self.assets.len(), self.tasks.len());
        println!("{assets} assets, {tasks} tasks; (calls, refusals): {:?}", self.calls);
        let names = |chosen: fn(u32, u32) -> bool| {
            let calls = self.calls.iter().filter(|(_, (calls, refused))| chosen(*calls, *refused));
            calls.map(|(name, _)| *name).collect()
        };
        (names(|calls, refused| refused < calls), names(|_, refused| refused > 0))
    }
}
