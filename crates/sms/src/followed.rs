//! Which contracts a service follows: our own, or iExec's. What of the service depends on that is said here.

use alloy_primitives::{Address, B256};
use sesame_chain::Deployment;
use sesame_iexec::poco;
use sesame_indexer::{Decoder, Family};
use sesame_view::{Contracts, Origin};

/// The contracts that a service follows. One instance serves one chain, and one family of contracts.
#[derive(Debug, Clone)]
pub enum Followed {
    /// Our own registries: owners and enclaves are served.
    Native(Deployment),
    /// PoCo's hub and registries: iExec's clients, schedulers and workers are served, and nobody else.
    Iexec(poco::Deployment),
}

impl Followed {
    /// Our own registries, if it is these.
    #[must_use]
    pub const fn native(&self) -> Option<&Deployment> {
        match self {
            Self::Native(deployment) => Some(deployment),
            Self::Iexec(_) => None,
        }
    }

    /// EIP-155 id of the chain.
    #[must_use]
    pub const fn chain_id(&self) -> u64 {
        match self {
            Self::Native(deployment) => deployment.chain_id,
            Self::Iexec(deployment) => deployment.chain_id,
        }
    }

    /// The contract that a vault belongs to, and whose name receipts bear: the asset registry, or the hub.
    #[must_use]
    pub const fn home(&self) -> Address {
        match self {
            Self::Native(deployment) => deployment.asset_registry,
            Self::Iexec(deployment) => deployment.hub,
        }
    }

    /// What an index of it mirrors.
    pub(crate) const fn origin(&self) -> Origin {
        match self {
            Self::Native(deployment) => Origin {
                chain_id: deployment.chain_id,
                first_block: deployment.first_block,
                contracts: Contracts::Native([
                    deployment.asset_registry,
                    deployment.enclave_whitelist,
                    deployment.task_registry,
                ]),
            },
            Self::Iexec(deployment) => Origin {
                chain_id: deployment.chain_id,
                first_block: deployment.first_block,
                contracts: Contracts::Poco(deployment.contracts()),
            },
        }
    }

    /// What its logs mean.
    pub(crate) fn family(&self) -> Family {
        match self {
            Self::Native(deployment) => Family::Native(Decoder::new(deployment)),
            Self::Iexec(deployment) => deployment.family(),
        }
    }

    /// The contracts, with the hash of the code that each should have where that is known.
    pub(crate) fn contracts(&self) -> Vec<(Address, Option<B256>)> {
        match self {
            Self::Native(deployment) => deployment.contracts().to_vec(),
            Self::Iexec(deployment) => {
                deployment.contracts().into_iter().map(|address| (address, None)).collect()
            }
        }
    }
}
