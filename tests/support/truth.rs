//! An honest index beside the one that a story is about.

use std::{collections::HashMap, path::Path, sync::Arc, time::Duration};

use alloy::primitives::B256;
use sesame_chain::Deployment;
use sesame_domain::{Block, Registry};
use sesame_indexer::{Backfill, Confirmation, Decoder, Family, Metrics, Mirror, Nodes, Pulse};
use sesame_view::{Contracts, History, Origin, Snapshot, View};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{Node, eventually};

/// An index that follows an honest node when it is told to, and remembers what forks that lost had said.
#[derive(Debug)]
pub struct Truth {
    /// The index.
    pub view: Arc<View>,
    deployment: Deployment,
    orphans: HashMap<B256, B256>,
}

impl Truth {
    /// How deep a block must be for it.
    pub const CONFIRMATIONS: u64 = 8;

    /// An index in this folder, empty if there is none.
    ///
    /// # Panics
    /// When it cannot be opened.
    #[must_use]
    pub fn at(folder: &Path, deployment: &Deployment) -> Self {
        let view = Arc::new(View::open(folder, &Self::origin(deployment)).expect("an index"));
        Self { view, deployment: deployment.clone(), orphans: HashMap::new() }
    }

    /// What an index of the deployment mirrors.
    #[must_use]
    pub fn origin(deployment: &Deployment) -> Origin {
        let Deployment { chain_id, first_block, .. } = *deployment;
        let contracts = Contracts::Native(deployment.contracts().map(|(address, _)| address));
        Origin { chain_id, first_block, contracts }
    }

    /// Follows the node until it has caught up, then stops.
    ///
    /// # Panics
    /// When it does not catch up.
    pub async fn follow(&self, node: &Node) {
        let mirror = self.mirror(node, watch::Sender::new(Pulse::default())).await;
        let (stop, head) = (CancellationToken::new(), node.head().await);
        let running = TaskTracker::new().spawn(mirror.run(stop.clone()));
        eventually("the mirror has caught up", async || {
            assert!(!running.is_finished(), "the mirror stopped");
            let cursor = self.view.cursor().expect("an index");
            cursor.filter(|cursor| cursor.head.hash == head.hash).map(drop)
        })
        .await;
        stop.cancel();
        running.await.expect("the mirror does not panic").expect("the mirror stops well");
    }

    /// What follows the node.
    ///
    /// # Panics
    /// When the node's URL is none.
    pub async fn mirror(&self, node: &Node, pulse: watch::Sender<Pulse>) -> Mirror {
        let contracts = self.deployment.contracts();
        let addresses = contracts.map(|(address, _)| address);
        Mirror {
            nodes: Nodes::new(&[node.url()], None, &addresses).await.expect("a node"),
            view: self.view.clone(),
            family: Family::Native(Decoder::new(&self.deployment)),
            chain_id: self.deployment.chain_id,
            contracts: contracts.to_vec(),
            first_block: self.deployment.first_block,
            confirmation: Confirmation::Blocks(Self::CONFIRMATIONS),
            prove_every: 8,
            history: History::All,
            backfill: Backfill::Logs,
            poll: Duration::from_millis(5),
            heads: Vec::new(),
            metrics: Metrics::default(),
            pulse,
        }
    }

    /// Remembers what the node's newest `depth` blocks say, which are about to be replaced.
    pub async fn remember(&mut self, node: &Node, depth: u64) {
        self.follow(node).await;
        let truth = snapshot(&self.view);
        for number in (0..depth).filter_map(|back| truth.head().number.checked_sub(back)) {
            if let Some(block) = header(&truth, number) {
                self.orphans.insert(block.hash, digest(&truth, number));
            }
        }
    }

    /// The index says after block `number` what that very block says, on the chain as it stands or on a fork that lost.
    ///
    /// # Panics
    /// When it does not.
    pub fn agrees_at(&self, index: &View, number: u64) {
        let (ours, truth) = (snapshot(index), snapshot(&self.view));
        let block = header(&ours, number).unwrap_or_else(|| panic!("no block {number}"));
        let got = digest(&ours, number);
        if header(&truth, number) == Some(block) {
            assert_eq!(events(&ours, number), events(&truth, number), "events by block {number}");
            assert_eq!(got, digest(&truth, number), "the rows after block {number}");
        } else {
            let expected = self.orphans.get(&block.hash);
            assert_eq!(Some(&got), expected, "the rows after block {number}, which is no more");
        }
    }

    /// The same of every block that the index has, where an event was.
    ///
    /// # Panics
    /// When it does not.
    pub fn agrees(&self, index: &View) {
        let ours = snapshot(index);
        let (mut last, head) = (None, ours.head().number);
        for number in self.deployment.first_block.saturating_sub(1)..=head {
            let these = Some(events(&ours, number));
            if these != last || number == head {
                self.agrees_at(index, number);
            }
            last = these;
        }
    }
}

fn snapshot(view: &View) -> Snapshot<'_> {
    view.snapshot().expect("an index").expect("an index with blocks")
}

fn header(snapshot: &Snapshot<'_>, number: u64) -> Option<Block> {
    snapshot.header(number).expect("an index")
}

fn digest(snapshot: &Snapshot<'_>, number: u64) -> B256 {
    snapshot.digest(number).expect("an index").expect("a block of the index")
}

/// How many events of each registry were mirrored up to a block.
fn events(snapshot: &Snapshot<'_>, number: u64) -> [u64; 3] {
    let count = |registry| snapshot.journal_at(registry, number).expect("an index").sequence();
    Registry::ALL.map(count)
}
