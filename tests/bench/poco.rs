//! A chain of PoCo's with many deals: how fast an index of it is built, and what a session costs that index and a node.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use alloy::{
    primitives::{Address, B256},
    providers::{Provider, RootProvider},
    rpc::types::Filter,
    sol_types::SolEvent,
};
use alloy_primitives::eip191_hash_message;
use anyhow::Context as _;
use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};
use sesame_domain::{Framework, Resource, TaskId};
use sesame_iexec::{
    challenge::{self, signed_by},
    poco::Deployment,
    session::Description,
};
use sesame_indexer::Backfill;
use sesame_protocol::signature::Signer;
use sesame_tests::{Node, ROOT, deploy_poco, now};
use sesame_vault::{DealAsked, SessionClaim, authorize_session};
use sesame_view::{Contracts, Origin, View};

use crate::{
    figures::{Figures, Samples},
    follower::{Followed, Follower, How},
};

pub(crate) const NAMES: &[&str] = &[
    "poco_deals_per_s",
    "iexec_session_p50_us",
    "iexec_eth_call_x6_p50_us",
    "iexec_session_vs_eth_calls",
];

const DEALS: usize = 10_000;
const FEW_DEALS: usize = 200;

/// The enclave challenge that everybody signs for.
const ENCLAVE: Address = Address::repeat_byte(0x22);

alloy::sol! {
    /// What iExec's SMS asks the hub for.
    #[sol(rpc)]
    #[derive(Debug)]
    interface IHub {
        struct Party { address pointer; address owner; uint256 price; }
        struct Deal {
            Party app; Party dataset; Party workerpool; uint256 trust; uint256 category; bytes32 tag; address requester;
            address beneficiary; address callback; string params; uint256 startTime; uint256 botFirst; uint256 botSize;
            uint256 workerStake; uint256 schedulerRewardRatio; address sponsor;
        }
        struct App { address owner; string name; string kind; bytes multiaddr; bytes32 checksum; bytes mrenclave; }
        struct Dataset { address owner; string name; bytes multiaddr; bytes32 checksum; }

        event TaskInitialize(bytes32 indexed taskid, address indexed workerpool);

        function viewTaskABILegacy(bytes32 task) external view returns (
            uint8 status, bytes32 dealid, uint256 idx, uint256 timeref, uint256 contributionDeadline,
            uint256 revealDeadline, uint256 finalDeadline, bytes32 consensusValue, uint256 revealCounter,
            uint256 winnerCounter, address[] contributors, bytes results
        );
        function viewDeal(bytes32 deal) external view returns (Deal deal_);
        function viewApp(address app) external view returns (App app_);
        function viewDataset(address dataset) external view returns (Dataset dataset_);
    }
}

pub(crate) async fn measure(figures: &Figures, root: &Path) -> anyhow::Result<()> {
    let deals = if figures.quick { FEW_DEALS } else { DEALS };
    eprintln!("writing {deals} deals to a chain of PoCo's …");
    let chain = Chain::filled(deals).await?;
    eprintln!("mirroring them …");
    let start = Instant::now();
    let mut follower = chain.follow(&root.join("poco")).await?;
    follower.ready().await?;
    let took = start.elapsed();
    chain.check(&follower.view)?;
    figures.print("poco_deals_per_s", deals as f64 / took.as_secs_f64(), "deals/s");
    eprintln!("asking for sessions …");
    let (indexed, called) =
        chain.sessions(&follower.view, if figures.quick { 500 } else { 5_000 }).await?;
    figures.print("iexec_session_p50_us", indexed.p50(), "us");
    figures.print("iexec_eth_call_x6_p50_us", called.p50(), "us");
    figures.print("iexec_session_vs_eth_calls", called.p50() / indexed.p50(), "ratio");
    follower.stop().await
}

/// A chain of deals, each with one task that was initialized.
struct Chain {
    node: Node,
    deployment: Deployment,
    tasks: Vec<TaskId>,
    /// The worker, and the owner of the workerpool.
    people: [Signer; 2],
}

impl Chain {
    async fn filled(deals: usize) -> anyhow::Result<Self> {
        let node = Node::start_with(&["--no-mining"]);
        let deployment: Deployment = serde_json::from_value(deploy_poco(&node).await)?;
        let hub = deployment.hub;
        let filling = Command::new("node")
            .arg(Path::new(ROOT).join("tests/iexec/fill.mjs"))
            .args([node.url(), hub.to_string(), deals.to_string()])
            .stdout(Stdio::null())
            .status()?;
        anyhow::ensure!(filling.success(), "the chain is not filled: {filling}");
        node.mine(3).await;
        let provider: RootProvider = RootProvider::connect(&node.url()).await?;
        let filter = Filter::new().from_block(0).address(hub);
        let filter = filter.event_signature(IHub::TaskInitialize::SIGNATURE_HASH);
        let logs = provider.get_logs(&filter).await?;
        let tasks = logs.iter().filter_map(|log| log.topics().get(1).copied().map(TaskId));
        let tasks: Vec<_> = tasks.collect();
        anyhow::ensure!(tasks.len() == deals, "{} tasks of {deals} deals", tasks.len());
        // Who has the workerpool, as fill.mjs says, is the first account.
        let people = [Signer::from_bytes(&node.key(1))?, Signer::from_bytes(&node.key(0))?];
        Ok(Self { node, deployment, tasks, people })
    }

    async fn follow(&self, index: &Path) -> anyhow::Result<Follower> {
        let contracts = self.deployment.contracts();
        let origin = Origin {
            chain_id: self.deployment.chain_id,
            first_block: self.deployment.first_block,
            contracts: Contracts::Poco(contracts),
        };
        let family = self.deployment.family();
        let contracts = contracts.map(|contract| (contract, None)).to_vec();
        let how = How { backfill: Backfill::Receipts, ..How::of(&self.node) };
        Follower::follow(index, Followed { origin, family, contracts }, how).await
    }

    /// Every task is there, with its deal.
    fn check(&self, view: &View) -> anyhow::Result<()> {
        let snapshot = view.snapshot()?.context("it mirrored blocks")?;
        for task in &self.tasks {
            let known = snapshot.task(*task)?.confirmed.context("the task was mirrored")?;
            anyhow::ensure!(known.deal.is_some(), "{task} is of a deal");
        }
        Ok(())
    }

    /// Sessions of tasks at random, from the index and from a node in turn, so that both see the same machine.
    async fn sessions(&self, view: &View, rounds: usize) -> anyhow::Result<(Samples, Samples)> {
        let provider: RootProvider = RootProvider::connect(&self.node.url()).await?;
        let hub = IHub::new(self.deployment.hub, &provider);
        let mut tasks = self.tasks.clone();
        tasks.shuffle(&mut StdRng::seed_from_u64(1));
        let (mut indexed, mut called) = (Vec::new(), Vec::new());
        for task in tasks.iter().cycle().take(rounds) {
            let request = Request::signed(*task, &self.people);
            indexed.push(request.by_index(view)?);
            called.push(request.by_calls(&hub).await?);
        }
        Ok((Samples::new(indexed), Samples::new(called)))
    }
}

/// A worker's request for a session, signed by its scheduler as well.
struct Request {
    task: TaskId,
    worker: Address,
    hash: B256,
    by_worker: String,
    by_scheduler: String,
}

impl Request {
    fn signed(task: TaskId, [worker, scheduler]: &[Signer; 2]) -> Self {
        let hash = challenge::session(worker.address(), task, ENCLAVE);
        let sign = |signer: &Signer| signer.sign_hash(eip191_hash_message(hash)).to_string();
        let (by_worker, by_scheduler) = (sign(worker), sign(scheduler));
        Self { task, worker: worker.address(), hash, by_worker, by_scheduler }
    }

    fn is_signed_for(&self, scheduler: Address) -> anyhow::Result<()> {
        let worker = signed_by(self.hash, &self.by_worker, self.worker);
        let signed = worker && signed_by(self.hash, &self.by_scheduler, scheduler);
        anyhow::ensure!(signed, "{} is not signed", self.task);
        Ok(())
    }

    /// As the service does: a snapshot, the facts of both views, two signatures, the decision, and which secrets the session needs.
    fn by_index(&self, view: &View) -> anyhow::Result<Duration> {
        let start = Instant::now();
        let asked = DealAsked { task: self.task, now: now() };
        let snapshot = view.snapshot()?.context("blocks were mirrored")?;
        let facts = snapshot.facts(self.task, None, Resource::Bundle)?;
        let known = facts.head.task.as_ref().and_then(|task| task.deal.as_ref());
        let scheduler = known.context("the task is of a deal")?.scheduler;
        self.is_signed_for(scheduler)?;
        let claim = SessionClaim {
            worker: self.worker,
            challenge: ENCLAVE,
            issued: Some(ENCLAVE),
            scheduler: Some(scheduler),
        };
        let release = authorize_session(&asked, &facts.head, &facts.confirmed, &claim);
        let release = release.map_err(|denials| anyhow::anyhow!("denied: {denials:?}"))?;
        let secrets = Description::of(self.task, release.task(), self.worker)?.secrets(&[]);
        let took = start.elapsed();
        anyhow::ensure!(!secrets.is_empty(), "a session needs secrets");
        Ok(took)
    }

    /// As iExec's SMS does: task and deal for the checks, and both again for the session, with app and dataset. What it remembers, the
    /// category, is not asked for.
    async fn by_calls<P: Provider>(&self, hub: &IHub::IHubInstance<P>) -> anyhow::Result<Duration> {
        let start = Instant::now();
        let task = hub.viewTaskABILegacy(self.task.0).call().await?;
        anyhow::ensure!(task.status == 1, "{} is not active", self.task);
        let deal = hub.viewDeal(task.dealid).call().await?;
        anyhow::ensure!(Framework::of_tag(deal.tag).is_some(), "{} is for no TEE", self.task);
        self.is_signed_for(deal.workerpool.owner)?;
        let task = hub.viewTaskABILegacy(self.task.0).call().await?;
        let deal = hub.viewDeal(task.dealid).call().await?;
        hub.viewApp(deal.app.pointer).call().await?;
        hub.viewDataset(deal.dataset.pointer).call().await?;
        Ok(start.elapsed())
    }
}
