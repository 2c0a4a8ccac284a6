//! A chain with very many events.

use sesame_chain::Deployment;
use sesame_domain::EnclaveId;
use sesame_tests::Node;

use crate::owner::Owner;

const ASSETS: usize = 16;
const ENCLAVES: u8 = 64;
/// Transactions of 64 events each in a block.
const BATCHES: usize = 8;

pub(crate) struct Events {
    pub(crate) node: Node,
    pub(crate) deployment: Deployment,
}

impl Events {
    /// `count` authorizations at least, 512 in a block: each of 16 apps lets 64 enclaves near it, again and again, on new terms.
    ///
    /// Few pairs keep the node's state small; for the mirror every one is a new row, since rows are versioned by block.
    pub(crate) async fn emit(count: usize) -> anyhow::Result<Self> {
        let node = Node::start_with(&["--gas-limit", "1000000000"]);
        let deployment = node.deploy().await;
        let mut owner = Owner::new(&node, &deployment, ASSETS as u64).await?;
        let _: serde_json::Value = node.call("evm_setAutomine", (false,)).await;
        let batches = count.div_ceil(usize::from(ENCLAVES));
        for batch in 0..batches {
            let asset = owner.asset(batch);
            let pairs = (1..=ENCLAVES).map(|enclave| (asset, EnclaveId([enclave; 32].into())));
            let not_after = u64::MAX - (batch / ASSETS) as u64;
            owner.authorize_all(&pairs.collect::<Vec<_>>(), not_after).await;
            if batch % BATCHES == BATCHES - 1 || batch == batches - 1 {
                let _: serde_json::Value = node.call("evm_mine", [(); 0]).await;
            }
        }
        node.mine(2).await;
        Ok(Self { node, deployment })
    }
}
