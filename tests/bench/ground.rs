//! A real chain of empty blocks for synthetic events: the index that holds them can be followed and proven like any other.

use alloy::primitives::B256;
use sesame_chain::Deployment;
use sesame_domain::{Block, Journal, Registry};
use sesame_tests::Node;
use sesame_view::{Contracts, Origin, View};

pub(crate) struct Ground {
    pub(crate) node: Node,
    pub(crate) deployment: Deployment,
    /// Every block from genesis.
    pub(crate) blocks: Vec<Block>,
}

impl Ground {
    /// A chain of at least `blocks` blocks, the three contracts in the first.
    pub(crate) async fn lay(blocks: u64) -> anyhow::Result<Self> {
        let node = Node::start();
        let deployment = node.deploy().await;
        node.mine(blocks).await;
        let source = sesame_indexer::Node::new(&node.url(), Vec::new()).await?;
        let headers = source.headers(0, node.head().await.number).await?;
        let blocks = headers.iter().map(sesame_indexer::VerifiedHeader::block).collect();
        Ok(Self { node, deployment, blocks })
    }

    /// What an index of this chain mirrors.
    pub(crate) fn origin(&self) -> Origin {
        origin(&self.deployment)
    }

    /// Makes the chain say what `view` says: the next block proves its journals.
    pub(crate) async fn adopt(&self, view: &View) -> anyhow::Result<()> {
        let snapshot = view.snapshot()?.expect("blocks were written");
        let contracts = self.deployment.contracts();
        for (registry, (contract, _)) in Registry::ALL.into_iter().zip(contracts) {
            let word: B256 = snapshot.journal(registry)?.0;
            let _: bool =
                self.node.call("anvil_setStorageAt", (contract, Journal::slot(), word)).await;
        }
        self.node.mine(4).await;
        Ok(())
    }
}

/// What an index of `deployment` mirrors.
pub(crate) fn origin(deployment: &Deployment) -> Origin {
    let contracts = Contracts::Native(deployment.contracts().map(|(address, _)| address));
    Origin { chain_id: deployment.chain_id, first_block: deployment.first_block, contracts }
}
