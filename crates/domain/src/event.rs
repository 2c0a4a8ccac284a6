//! What the contracts said, decoded.

use alloy_primitives::{Address, B256, U256};

use crate::{
    AssetId, AssetKind, AssetSnapshot, Block, Deal, EnclaveId, LogImage, Order, TaskId, Terms,
};

/// Which of our own contracts spoke; each has its own journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Registry {
    /// Who owns what.
    Assets = 1,
    /// Which enclaves an owner lets near an asset.
    Whitelist = 2,
    /// What was bought.
    Tasks = 3,
}

impl Registry {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Assets, Self::Whitelist, Self::Tasks];
}

/// One statement of a contract.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of the entities that the events write")]
pub enum ChainEvent {
    /// An asset was registered; its first owner comes with the minting transfer.
    AssetRegistered { asset: AssetId, kind: AssetKind, digest: B256, uri: String },
    /// An asset's content was replaced.
    ContentSet { asset: AssetId, digest: B256, uri: String },
    /// An asset was minted (`from` zero) or changed hands.
    AssetTransferred { asset: AssetId, from: Address, to: Address },
    /// An owner lets an enclave near an asset.
    EnclaveAuthorized { asset: AssetId, enclave: EnclaveId, epoch: u64, serial: u64, terms: Terms },
    /// An owner took that back.
    EnclaveRevoked { asset: AssetId, enclave: EnclaveId },
    /// A task was bought. Of a deal's task the view itself fills in what the assets are, as far as it knows them.
    TaskPurchased {
        task: TaskId,
        requester: Address,
        order: Box<Order>,
        app: AssetSnapshot,
        data: Vec<AssetSnapshot>,
        deal: Option<Box<Deal>>,
    },
    /// Its worker started it; or, of a deal's task, anybody did, or its result was not shown in time.
    TaskStarted { task: TaskId },
    /// Workers agree on the result of a deal's task.
    TaskRevealing { task: TaskId },
    /// Its worker reported the result.
    TaskCompleted { task: TaskId },
    /// Its requester cancelled it.
    TaskCancelled { task: TaskId },
    /// It ran out of time.
    TaskExpired { task: TaskId },
    /// Owners were paid though nobody completed; changes nothing that the decision reads.
    TaskSettled { task: TaskId },
    /// The requester took a secret back.
    GrantRevoked { task: TaskId, index: u32 },
    /// Orders became a deal. The volume is as in [`crate::DealMatch`].
    DealMatched { deal: B256, request: B256, volume: u64 },
    /// So many runs were bought by an order.
    OrderConsumed { order: B256, volume: U256 },
    /// Who signed an order took it back.
    OrderClosed { order: B256 },
    /// An order was signed on the chain.
    OrderPresigned { order: B256, by: Address },
}

/// An event with what the journal folds of its log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventAt {
    /// Whose journal folds what of the log; none of contracts that keep no journal.
    pub journal: Option<(Registry, LogImage)>,
    /// What it said.
    pub event: ChainEvent,
}

/// A block and everything that the contracts said in it, in log order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BlockEvents {
    /// The block.
    pub block: Block,
    /// Its events.
    pub events: Vec<EventAt>,
}
