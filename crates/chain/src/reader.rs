//! Questions to the contracts, as the newest block answers them.

use std::fmt;

use alloy::{
    primitives::{Address, B256, U256},
    providers::{DynProvider, Provider, ProviderBuilder},
};
use sesame_domain::{AssetId, AssetKind, Block, TaskId, TaskStatus};
use url::Url;

use crate::{
    ChainError, Deployment,
    abi::{
        assets::{IAssetRegistry::IAssetRegistryInstance, IERC721::IERC721Instance},
        tasks::ITaskRegistry::ITaskRegistryInstance,
        whitelist::IEnclaveWhitelist::IEnclaveWhitelistInstance,
    },
    convert,
};

/// Where an asset's content is and its SHA-256.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// Where it is.
    pub uri: String,
    /// SHA-256 of what is there.
    pub digest: B256,
}

/// The facts of a task that the contract keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskFacts {
    /// What became of it.
    pub status: TaskStatus,
    /// Who bought it.
    pub requester: Address,
    /// Who runs it.
    pub worker: Address,
    /// The identity of the SMS that releases its secrets.
    pub sms: Address,
    /// Last second at which it may run.
    pub deadline: u64,
}

/// One deployment's contracts behind one node, for reading.
#[derive(Clone)]
pub struct Reader {
    pub(crate) node: Url,
    pub(crate) provider: DynProvider,
    pub(crate) deployment: Deployment,
}

impl fmt::Debug for Reader {
    /// Shows the node's address without its path, which often holds a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("node", &self.node.origin().ascii_serialization())
            .field("deployment", &self.deployment)
            .finish_non_exhaustive()
    }
}

impl Reader {
    /// Connects to a node and makes sure that the deployment is there.
    ///
    /// # Errors
    /// When the node does not answer, follows another chain, or has other contracts at these addresses.
    pub async fn connect(rpc_url: &str, deployment: &Deployment) -> Result<Self, ChainError> {
        let node: Url = rpc_url.parse()?;
        let provider = ProviderBuilder::new().connect_http(node.clone()).erased();
        let reader = Self { node, provider, deployment: deployment.clone() };
        reader.check().await?;
        Ok(reader)
    }

    async fn check(&self) -> Result<(), ChainError> {
        let got = self.provider.get_chain_id().await.map_err(|error| self.failed(error))?;
        let expected = self.deployment.chain_id;
        if got != expected {
            return Err(ChainError::WrongChain { expected, got });
        }
        let Deployment { asset_registry, enclave_whitelist, task_registry, .. } = self.deployment;
        let (whitelist, tasks) = (self.whitelist(), self.tasks());
        let (assets_of, whitelist_of) = (whitelist.ASSETS(), tasks.WHITELIST());
        let (assets, of_tasks) = tokio::join!(assets_of.call_raw(), whitelist_of.call_raw());
        let points = |answer: Result<alloy::primitives::Bytes, _>, to: Address, from: Address| {
            let answer = answer.map_err(|error| ChainError::from_contract(&self.node, error))?;
            let right = answer.as_ref() == to.into_word().as_slice();
            if right { Ok(()) } else { Err(ChainError::WrongDeployment { address: from }) }
        };
        points(assets, asset_registry, enclave_whitelist)?;
        points(of_tasks, enclave_whitelist, task_registry)
    }

    /// The deployment that this reads.
    #[must_use]
    pub const fn deployment(&self) -> &Deployment {
        &self.deployment
    }

    /// The newest block of the node.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn head(&self) -> Result<Block, ChainError> {
        let block = self
            .provider
            .get_block(alloy::eips::BlockId::latest())
            .await
            .map_err(|error| self.failed(error))?
            .ok_or_else(|| ChainError::Malformed("the node has no newest block".to_owned()))?;
        Ok(Block {
            number: block.header.number,
            hash: block.header.hash,
            parent: block.header.parent_hash,
            timestamp: block.header.timestamp,
        })
    }

    /// How many times an asset changed hands.
    ///
    /// # Errors
    /// When the node does not answer or there is no such asset.
    pub async fn epoch_of(&self, asset: AssetId) -> Result<u64, ChainError> {
        let answer = self.assets().epochOf(asset.to_u256()).call().await;
        answer.map_err(|error| self.refused(error))
    }

    /// Who owns an asset.
    ///
    /// # Errors
    /// When the node does not answer or there is no such asset.
    pub async fn owner_of(&self, asset: AssetId) -> Result<Address, ChainError> {
        let answer = self.tokens().ownerOf(asset.to_u256()).call().await;
        answer.map_err(|error| self.refused(error))
    }

    /// What an asset is.
    ///
    /// # Errors
    /// When the node does not answer or there is no such asset.
    pub async fn kind_of(&self, asset: AssetId) -> Result<AssetKind, ChainError> {
        let answer = self.assets().kindOf(asset.to_u256()).call().await;
        let kind = answer.map_err(|error| self.refused(error))?;
        AssetKind::try_from(kind).map_err(|error| ChainError::Malformed(error.to_string()))
    }

    /// Where an asset's content is and its digest.
    ///
    /// # Errors
    /// When the node does not answer or there is no such asset.
    pub async fn content_of(&self, asset: AssetId) -> Result<Content, ChainError> {
        let answer = self.assets().contentOf(asset.to_u256()).call().await;
        let content = answer.map_err(|error| self.refused(error))?;
        Ok(Content { uri: content.uri, digest: content.digest })
    }

    /// What became of a task; none when there is no such task.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn task_status(&self, task: TaskId) -> Result<Option<TaskStatus>, ChainError> {
        Ok(self.task(task).await?.map(|facts| facts.status))
    }

    /// The facts of a task that the contract keeps; none when there is no such task.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn task(&self, task: TaskId) -> Result<Option<TaskFacts>, ChainError> {
        let answer = self.tasks().taskOf(task.0).call().await;
        let facts = answer.map_err(|error| self.refused(error))?;
        Ok(convert::status(facts.status).map(|status| TaskFacts {
            status,
            requester: facts.requester,
            worker: facts.worker,
            sms: facts.sms,
            deadline: facts.deadline,
        }))
    }

    /// Whether the requester took the grant of this index back.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn is_grant_revoked(&self, task: TaskId, index: u32) -> Result<bool, ChainError> {
        let answer = self.tasks().isGrantRevoked(task.0, index).call().await;
        answer.map_err(|error| self.refused(error))
    }

    /// What an account has, in the chain's smallest unit.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn balance_of(&self, account: Address) -> Result<U256, ChainError> {
        self.provider.get_balance(account).await.map_err(|error| self.failed(error))
    }

    pub(crate) fn assets(&self) -> IAssetRegistryInstance<DynProvider> {
        IAssetRegistryInstance::new(self.deployment.asset_registry, self.provider.clone())
    }

    pub(crate) fn tokens(&self) -> IERC721Instance<DynProvider> {
        IERC721Instance::new(self.deployment.asset_registry, self.provider.clone())
    }

    pub(crate) fn whitelist(&self) -> IEnclaveWhitelistInstance<DynProvider> {
        IEnclaveWhitelistInstance::new(self.deployment.enclave_whitelist, self.provider.clone())
    }

    pub(crate) fn tasks(&self) -> ITaskRegistryInstance<DynProvider> {
        ITaskRegistryInstance::new(self.deployment.task_registry, self.provider.clone())
    }

    pub(crate) fn failed(&self, error: alloy::transports::TransportError) -> ChainError {
        ChainError::from_transport(&self.node, error)
    }

    pub(crate) fn refused(&self, error: alloy::contract::Error) -> ChainError {
        ChainError::from_contract(&self.node, error)
    }
}
