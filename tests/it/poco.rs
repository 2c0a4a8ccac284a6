//! PoCo's contracts in the mirror: whatever a node does, the mirror says what the contracts say, or that it cannot tell.

use std::{sync::Arc, time::Duration};

use alloy::{
    primitives::{Address, B256, U256, keccak256},
    sol_types::SolEvent,
};
use sesame_domain::{AssetId, AssetKind, OrderUse, TaskId, TaskStatus};
use sesame_iexec::poco::abi::{IApp, IHub, IRegistry};
use sesame_indexer::{Backfill, Confirmation, Metrics, Mirror, MirrorError, Nodes, Pulse, State};
use sesame_tests::{Liar, PocoChain, Tale, eventually};
use sesame_view::{Contracts, History, Origin, Snapshot, View};
use tempfile::TempDir;
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

alloy::sol! {
    struct DatasetOrder {
        address dataset;
        uint256 datasetprice;
        uint256 volume;
        bytes32 tag;
        address apprestrict;
        address workerpoolrestrict;
        address requesterrestrict;
        bytes32 salt;
        bytes sign;
    }

    struct DatasetOrderOperation {
        DatasetOrder order;
        uint8 operation;
        bytes sign;
    }

    /// What people do beside buying.
    interface IPeople {
        function transferFrom(address from, address to, uint256 tokenId) external;
        function claim(bytes32 taskid) external;
        function manageDatasetOrder(DatasetOrderOperation operation) external;
        function changeRegistries(address apps, address datasets, address workerpools) external;
        function viewConsumed(bytes32 order) external view returns (uint256);
        function owner() external view returns (address);
    }
}

/// The node's account that owns the assets, and the one that owns the contracts.
const OWNER: usize = 0;
const DEPLOYER: usize = 9;

/// Who gets what is sold.
const BUYER: Address = Address::repeat_byte(7);

/// How deep a block must be in these stories.
const DEPTH: u64 = 12;

/// A mirror of its own, from an empty folder.
struct Index {
    view: Arc<View>,
    pulse: watch::Receiver<Pulse>,
    stop: CancellationToken,
    running: JoinHandle<Result<(), MirrorError>>,
    _folder: TempDir,
}

impl Index {
    /// A mirror of the chain by these endpoints, all of which have to agree.
    async fn of(chain: &PocoChain, urls: &[String]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let contracts = chain.deployment.contracts();
        let origin = Origin {
            chain_id: chain.deployment.chain_id,
            first_block: chain.deployment.first_block,
            contracts: Contracts::Poco(contracts),
        };
        let view = Arc::new(View::open(folder.path(), &origin).unwrap());
        let (publisher, pulse) = watch::channel(Pulse::default());
        let mirror = Mirror {
            nodes: Nodes::new(urls, Some(urls.len()), &contracts).await.unwrap(),
            view: view.clone(),
            family: chain.deployment.family(),
            chain_id: chain.deployment.chain_id,
            contracts: contracts.map(|contract| (contract, None)).to_vec(),
            first_block: chain.deployment.first_block,
            confirmation: Confirmation::Blocks(DEPTH),
            prove_every: 4,
            history: History::All,
            // Which this family does not know.
            backfill: Backfill::Logs,
            poll: Duration::from_millis(10),
            heads: Vec::new(),
            metrics: Metrics::default(),
            pulse: publisher,
        };
        let stop = CancellationToken::new();
        let running = TaskTracker::new().spawn(mirror.run(stop.clone()));
        Self { view, pulse, stop, running, _folder: folder }
    }

    /// The mirror has the node's newest block.
    async fn caught_up(&self, chain: &PocoChain) {
        let head = chain.node.head().await;
        eventually("the mirror has caught up", async || {
            assert!(!self.running.is_finished(), "the mirror stopped");
            let cursor = self.view.cursor().unwrap();
            let following = self.pulse.borrow().state == State::Following;
            cursor.filter(|cursor| following && cursor.head.hash == head.hash).map(drop)
        })
        .await;
    }

    /// Why the mirror does not go on.
    async fn refusal(&self) -> String {
        eventually("the mirror refuses", async || match &self.pulse.borrow().state {
            State::Failing { reason } => Some(reason.clone()),
            State::Starting | State::Backfilling { .. } | State::Following => None,
        })
        .await
    }

    /// Why the mirror stopped.
    async fn end(self) -> MirrorError {
        tokio::time::timeout(Duration::from_secs(60), self.running)
            .await
            .unwrap()
            .unwrap()
            .unwrap_err()
    }

    fn snapshot(&self) -> Snapshot<'_> {
        self.view.snapshot().unwrap().unwrap()
    }

    /// All that the mirror says after its newest block.
    fn digest(&self) -> (u64, B256) {
        let snapshot = self.snapshot();
        let number = snapshot.head().number;
        (number, snapshot.digest(number).unwrap().unwrap())
    }

    fn status(&self, task: B256) -> Option<TaskStatus> {
        self.snapshot().task(TaskId(task)).unwrap().head.map(|task| task.status)
    }

    async fn ended(self) {
        self.stop.cancel();
        self.running.await.unwrap().unwrap();
    }
}

/// An honest mirror, built now.
async fn truth(chain: &PocoChain) -> Index {
    let index = Index::of(chain, &[chain.node.url()]).await;
    index.caught_up(chain).await;
    index
}

/// The assets of this registry, in the order in which they were made.
async fn minted(chain: &PocoChain, registry: Address) -> Vec<Address> {
    let logs = chain.logs(registry, IRegistry::Transfer::SIGNATURE_HASH).await;
    let transfers = logs.iter().map(|log| IRegistry::Transfer::decode_log(&log.inner).unwrap());
    let mints = transfers.filter(|transfer| transfer.from.is_zero());
    mints.map(|mint| AssetId::from(mint.tokenId).address().unwrap()).collect()
}

async fn initialized(chain: &PocoChain) -> Vec<B256> {
    let logs = chain.logs(chain.deployment.hub, IHub::TaskInitialize::SIGNATURE_HASH).await;
    logs.iter().map(|log| IHub::TaskInitialize::decode_log(&log.inner).unwrap().taskid).collect()
}

/// The mirror says of assets, tasks and orders what the contracts say.
async fn agrees(chain: &PocoChain, index: &Index) {
    let Registries { kinds, hub } = Registries::of(chain);
    for (registry, kind) in kinds {
        for address in minted(chain, registry).await {
            let row = index.snapshot().asset(address.into()).unwrap().head.unwrap();
            let owner = chain.read(address, &IPeople::ownerCall {}).await;
            assert_eq!((row.kind, row.owner), (kind, owner));
            if kind == AssetKind::App {
                let uri = chain.read(address, &IApp::m_appMultiaddrCall {}).await;
                assert_eq!(row.uri.as_bytes(), uri.as_ref());
            }
        }
    }
    for id in initialized(chain).await {
        let row = index.snapshot().task(TaskId(id)).unwrap().head.unwrap();
        let deal = row.deal.as_deref().unwrap();
        let task = chain.read(hub, &IHub::viewTaskCall { id }).await;
        let expected = [TaskStatus::Started, TaskStatus::Revealing, TaskStatus::Completed]
            .into_iter()
            .chain([TaskStatus::Expired])
            .nth(usize::from(task.status) - 1);
        assert_eq!(Some(row.status), expected);
        assert_eq!((deal.id, U256::from(deal.index)), (task.dealid, task.idx));
        assert_eq!(U256::from(row.order.deadline), task.finalDeadline);
        let told = chain.read(hub, &IHub::viewDealCall { id: deal.id }).await;
        assert_eq!((row.order.app, row.requester), (told.app.pointer.into(), told.requester));
        assert_eq!((deal.tag, deal.scheduler), (told.tag, told.workerpool.owner));
        assert_eq!(row.order.params.as_bytes(), told.params.as_ref());
        let app = index.snapshot().asset(row.order.app).unwrap().head.unwrap();
        assert_eq!((&row.app.uri, row.app.digest), (&app.uri, app.digest));
        assert_eq!(row.order.enclave, deal.enclave(app.digest));
    }
    let matches = chain.logs(hub, IHub::OrdersMatched::SIGNATURE_HASH).await;
    for log in matches {
        let made = IHub::OrdersMatched::decode_log(&log.inner).unwrap();
        for order in [made.appHash, made.datasetHash, made.workerpoolHash, made.requestHash] {
            let consumed = chain.read(hub, &IPeople::viewConsumedCall { order }).await;
            assert_eq!(index.snapshot().order_use(order).unwrap().head.consumed, consumed);
        }
    }
}

struct Registries {
    kinds: [(Address, AssetKind); 3],
    hub: Address,
}

impl Registries {
    fn of(chain: &PocoChain) -> Self {
        let [hub, apps, datasets, workerpools] = chain.deployment.contracts();
        let kinds = [
            (apps, AssetKind::App),
            (datasets, AssetKind::ProtectedData),
            (workerpools, AssetKind::Workerpool),
        ];
        Self { kinds, hub }
    }
}

/// An asset changes hands, and it is told whose it was.
async fn sell(chain: &PocoChain, registry: Address, asset: Address) -> Address {
    let from = chain.read(asset, &IPeople::ownerCall {}).await;
    let token = AssetId::from(asset).to_u256();
    let sale = IPeople::transferFromCall { from, to: BUYER, tokenId: token };
    chain.send(OWNER, registry, &sale).await;
    from
}

/// The owner signs an order on the chain, or takes it back.
async fn manage(chain: &PocoChain, dataset: Address, operation: u8) -> B256 {
    let order = DatasetOrder {
        dataset,
        datasetprice: U256::ZERO,
        volume: U256::from(5),
        tag: B256::ZERO,
        apprestrict: Address::ZERO,
        workerpoolrestrict: Address::ZERO,
        requesterrestrict: Address::ZERO,
        salt: B256::ZERO,
        sign: Default::default(),
    };
    let (topic, hub) = match operation {
        0 => (IHub::SignedDatasetOrder::SIGNATURE_HASH, chain.deployment.hub),
        _ => (IHub::ClosedDatasetOrder::SIGNATURE_HASH, chain.deployment.hub),
    };
    let operation = DatasetOrderOperation { order, operation, sign: Default::default() };
    chain.send(OWNER, hub, &IPeople::manageDatasetOrderCall { operation }).await;
    let logs = chain.logs(hub, topic).await;
    B256::from_slice(&logs.last().unwrap().inner.data.data)
}

#[tokio::test]
async fn followed_or_read_later_the_chain_gives_the_same_mirror() {
    let chain = PocoChain::start();
    let followed = truth(&chain).await;
    chain.fill(5);
    followed.caught_up(&chain).await;
    agrees(&chain, &followed).await;

    let (hub, apps) = (chain.deployment.hub, chain.deployment.app_registry);
    let [app] = minted(&chain, apps).await[..] else { panic!("one app") };
    let [dataset] = minted(&chain, chain.deployment.dataset_registry).await[..] else { panic!() };
    let owner = sell(&chain, apps, app).await;
    let signed = manage(&chain, dataset, 0).await;
    let closed = manage(&chain, dataset, 1).await;
    assert_eq!(signed, closed);
    let tasks = initialized(&chain).await;
    chain.node.mine_at(chain.node.head().await.timestamp + 4000).await;
    chain.send(OWNER, hub, &IPeople::claimCall { taskid: tasks[0] }).await;

    followed.caught_up(&chain).await;
    agrees(&chain, &followed).await;
    assert_eq!(followed.status(tasks[0]), Some(TaskStatus::Expired));
    assert_eq!(followed.status(tasks[1]), Some(TaskStatus::Started));
    let sold = followed.snapshot().asset(app.into()).unwrap().head.unwrap();
    assert_eq!((sold.owner, sold.epoch), (BUYER, 1));
    let expected = OrderUse { consumed: U256::ZERO, closed: true, presigned_by: Some(owner) };
    assert_eq!(followed.snapshot().order_use(signed).unwrap().head, expected);
    let unknown = keccak256("no order");
    assert_eq!(followed.snapshot().order_use(unknown).unwrap().head, OrderUse::default());

    chain.node.mine(50).await;
    followed.caught_up(&chain).await;
    let read = truth(&chain).await;
    assert_eq!(read.digest(), followed.digest());
    followed.ended().await;
    read.ended().await;
}

#[tokio::test]
async fn what_a_reorg_takes_back_was_never_said() {
    let chain = PocoChain::start();
    let index = truth(&chain).await;
    chain.fill(3);
    index.caught_up(&chain).await;
    chain.node.mine(1).await;
    let before = initialized(&chain).await;
    assert!(before.iter().all(|task| index.status(*task).is_some()));
    chain.node.reorg(3).await;
    index.caught_up(&chain).await;
    let after = initialized(&chain).await;
    assert!(after.len() < before.len(), "the reorg took nothing back");
    for task in before {
        assert_eq!(index.status(task).is_some(), after.contains(&task));
    }
    // What was minted first is left.
    let apps = chain.deployment.app_registry;
    let app = minted(&chain, apps).await[0];
    sell(&chain, apps, app).await;
    index.caught_up(&chain).await;
    agrees(&chain, &index).await;
    let read = truth(&chain).await;
    assert_eq!(read.digest(), index.digest());
}

/// A mirror behind this liar, alone, refuses by this name, and says the same as an honest one when the lies end.
async fn refused(chain: &PocoChain, honest: &Index, tale: Tale, name: &str) {
    let liar = Liar::before(chain.node.url(), tale).await;
    let index = Index::of(chain, &[liar.url()]).await;
    let reason = index.refusal().await;
    assert!(reason.starts_with(&format!("{name}: ")), "{tale:?}: {reason}");
    liar.tell(Tale::Truth);
    index.caught_up(chain).await;
    assert_eq!(index.digest(), honest.digest(), "{tale:?} left something behind");
    index.ended().await;
}

#[tokio::test]
async fn a_lie_that_can_be_seen_is_refused_by_its_name() {
    let chain = PocoChain::start();
    chain.fill(3);
    let honest = truth(&chain).await;
    for (tale, name) in [
        (Tale::OmitReceipt, "receipts_root"),
        (Tale::AlterReceipts, "receipts_root"),
        (Tale::AlterHeader, "block_hash"),
        (Tale::AlterAssets, "false_fact"),
        (Tale::NoCalls, "no_state"),
    ] {
        refused(&chain, &honest, tale, name).await;
    }
    // The same from far away.
    chain.node.mine(50).await;
    honest.caught_up(&chain).await;
    for (tale, name) in [
        (Tale::OmitReceipt, "receipts_root"),
        (Tale::AlterReceipts, "receipts_root"),
        (Tale::AlterAssets, "false_fact"),
        (Tale::NoCalls, "no_state"),
    ] {
        refused(&chain, &honest, tale, name).await;
    }
}

/// The tag of a deal is in no log: with one endpoint it is that endpoint's word.
#[tokio::test]
async fn a_lie_that_cannot_be_seen_needs_a_quorum() {
    let chain = PocoChain::start();
    chain.fill(3);
    let honest = truth(&chain).await;
    let liar = Liar::before(chain.node.url(), Tale::AlterDeals).await;
    for urls in [[liar.url(), chain.node.url()], [chain.node.url(), liar.url()]] {
        liar.tell(Tale::AlterDeals);
        let index = Index::of(&chain, &urls).await;
        let reason = index.refusal().await;
        assert!(reason.starts_with("facts_differ: "), "{reason}");
        assert!(initialized(&chain).await.into_iter().all(|task| index.status(task).is_none()));
        liar.tell(Tale::Truth);
        index.caught_up(&chain).await;
        assert_eq!(index.digest(), honest.digest());
        index.ended().await;
    }
}

#[tokio::test]
async fn nodes_that_are_busy_slow_or_strict_cost_time_alone() {
    let chain = PocoChain::start();
    chain.fill(3);
    chain.node.mine(50).await;
    let honest = truth(&chain).await;
    for tale in [Tale::Busy(2), Tale::Limit(1), Tale::OutOfOrder, Tale::Narrow(1)] {
        let liar = Liar::before(chain.node.url(), tale).await;
        let index = Index::of(&chain, &[liar.url()]).await;
        index.caught_up(&chain).await;
        assert_eq!(index.digest(), honest.digest(), "{tale:?}");
        // Ranges of logs, which nothing would prove, are not asked for.
        assert_eq!(liar.asked("eth_getLogs").len(), 0, "{tale:?}");
        index.ended().await;
    }
}

#[tokio::test]
async fn registries_that_are_set_up_anew_stop_the_mirror() {
    let chain = PocoChain::start();
    let index = truth(&chain).await;
    let [hub, apps, datasets, workerpools] = chain.deployment.contracts();
    let swapped = IPeople::changeRegistriesCall { apps: datasets, datasets: apps, workerpools };
    chain.send(DEPLOYER, hub, &swapped).await;
    chain.node.mine(40).await;
    let why = index.end().await;
    let MirrorError::Untied { contract, expected, .. } = why else { panic!("{why}") };
    assert_eq!((contract, expected), (hub, apps));
    // Nor does one start on another manifest than the hub's.
    let why = Index::of(&chain, &[chain.node.url()]).await.end().await;
    assert!(matches!(why, MirrorError::Untied { .. }), "{why}");
    assert!(why.to_string().contains(&apps.to_string()), "{why}");
}
