//! Questions to the contracts, as the newest block answers them.

use std::{fmt, time::Duration};

use alloy::{
    primitives::{Address, B256, U256},
    providers::{DynProvider, Provider, ProviderBuilder},
    transports::http::reqwest,
};
use sesame_domain::{
    AssetId, AssetKind, Authorization, Block, EnclaveId, Journal, Order, Registry, TaskId,
    TaskStatus,
};
use url::Url;

use crate::{
    ChainError, Deployment,
    abi::{
        assets::{IAssetRegistry::IAssetRegistryInstance, IERC721::IERC721Instance},
        currency::IERC20::IERC20Instance,
        journal::IJournal::IJournalInstance,
        tasks::ITaskRegistry::ITaskRegistryInstance,
        whitelist::IEnclaveWhitelist::IEnclaveWhitelistInstance,
    },
    convert,
};

/// How long a node may take to accept a connection.
const CONNECTING: Duration = Duration::from_secs(10);

/// How long a node may take to answer: one that is stopped or cut off keeps its connections open and says nothing.
const ANSWERING: Duration = Duration::from_secs(30);

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

/// What a task holds of its requester's money.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Escrow {
    /// The ERC-20; zero for the native coin.
    pub currency: Address,
    /// How much of it, in its smallest unit.
    pub amount: U256,
}

/// One deployment's contracts behind one node, for reading.
#[derive(Clone)]
pub struct Reader {
    pub(crate) node: Url,
    pub(crate) http: reqwest::Client,
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
        let http =
            reqwest::Client::builder().connect_timeout(CONNECTING).timeout(ANSWERING).build();
        let http = http.map_err(|error| ChainError::NoClient(error.to_string()))?;
        let provider = ProviderBuilder::new().connect_reqwest(http.clone(), node.clone()).erased();
        let reader = Self { node, http, provider, deployment: deployment.clone() };
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

    /// The hash of the chain's first block, which tells it from others of the same id.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn genesis(&self) -> Result<B256, ChainError> {
        let block = self.provider.get_block_by_number(0.into()).await;
        let block = block.map_err(|error| self.failed(error))?;
        let none = || ChainError::Malformed("the node has no first block".to_owned());
        Ok(block.ok_or_else(none)?.header.hash)
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
        convert::kind(kind).map_err(|error| ChainError::Malformed(error.to_string()))
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

    /// The authorization of a pair as it was last written, and whether it was not revoked since; none when there never was
    /// one. It holds only in the epoch that it names.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn authorization_of(
        &self,
        asset: AssetId,
        enclave: EnclaveId,
    ) -> Result<Option<(Authorization, bool)>, ChainError> {
        let answer = self.whitelist().authorizationOf(asset.to_u256(), enclave.0).call().await;
        let written = answer.map_err(|error| self.refused(error))?;
        let (epoch, serial) = (written.epoch, written.serial);
        let terms = convert::terms(written.terms);
        Ok((serial != 0).then_some((Authorization { epoch, serial, terms }, written.active)))
    }

    /// What an order costs by the terms of now: the prices of its app and data, and the worker's reward.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn cost_of(&self, order: &Order) -> Result<U256, ChainError> {
        let assets = std::iter::once(order.app).chain(order.data.iter().copied());
        let prices = assets.map(|asset| self.authorization_of(asset, order.enclave));
        let prices = futures::future::try_join_all(prices).await?;
        Ok(prices.into_iter().flatten().fold(order.reward, |cost, (authorization, _)| {
            cost.saturating_add(authorization.terms.price)
        }))
    }

    /// What an account can withdraw in a currency, zero for the native coin.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn credit_of(&self, account: Address, currency: Address) -> Result<U256, ChainError> {
        let answer = self.tasks().creditOf(account, currency).call().await;
        answer.map_err(|error| self.refused(error))
    }

    /// What a task holds in escrow; nothing once it has ended.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn escrow_of(&self, task: TaskId) -> Result<Escrow, ChainError> {
        let answer = self.tasks().escrowOf(task.0).call().await;
        let escrow = answer.map_err(|error| self.refused(error))?;
        Ok(Escrow { currency: escrow.currency, amount: escrow.amount })
    }

    /// The journal of a registry.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn journal_of(&self, registry: Registry) -> Result<Journal, ChainError> {
        let address = match registry {
            Registry::Assets => self.deployment.asset_registry,
            Registry::Whitelist => self.deployment.enclave_whitelist,
            Registry::Tasks => self.deployment.task_registry,
        };
        let answer = IJournalInstance::new(address, self.provider.clone()).journal().call().await;
        let answer = answer.map_err(|error| self.refused(error))?;
        let mut word = B256::right_padding_from(answer.hash.as_slice());
        word.0[24..].copy_from_slice(&answer.sequence.to_be_bytes());
        Ok(Journal(word))
    }

    /// What an account has of a currency, zero for the native coin, in its smallest unit.
    ///
    /// # Errors
    /// When the node does not answer, or the currency is no ERC-20.
    pub async fn balance_of(
        &self,
        account: Address,
        currency: Address,
    ) -> Result<U256, ChainError> {
        if currency.is_zero() {
            return self.provider.get_balance(account).await.map_err(|error| self.failed(error));
        }
        let answer = self.erc20(currency).balanceOf(account).call().await;
        answer.map_err(|error| self.refused(error))
    }

    /// How much of an ERC-20 the task registry may take from an account for what it buys.
    ///
    /// # Errors
    /// When the node does not answer, or the currency is no ERC-20.
    pub async fn allowance_of(
        &self,
        account: Address,
        currency: Address,
    ) -> Result<U256, ChainError> {
        let registry = self.deployment.task_registry;
        let answer = self.erc20(currency).allowance(account, registry).call().await;
        answer.map_err(|error| self.refused(error))
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

    pub(crate) fn erc20(&self, currency: Address) -> IERC20Instance<DynProvider> {
        IERC20Instance::new(currency, self.provider.clone())
    }

    pub(crate) fn failed(&self, error: alloy::transports::TransportError) -> ChainError {
        ChainError::from_transport(&self.node, error)
    }

    pub(crate) fn refused(&self, error: alloy::contract::Error) -> ChainError {
        ChainError::from_contract(&self.node, error)
    }
}
