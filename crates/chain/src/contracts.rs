//! The transactions of owners, requesters and workers.

use std::{ops::Deref, sync::Arc, time::Duration};

use alloy::{
    contract::SolCallBuilder,
    network::EthereumWallet,
    primitives::{Address, B256, Bytes, U256},
    providers::{DynProvider, Provider, ProviderBuilder},
    signers::local::PrivateKeySigner,
    sol_types::{SolCall, SolEvent},
};
use sesame_domain::{AssetId, AssetKind, BlockRef, EnclaveId, Order, TaskId, Terms};
use tokio::sync::Mutex;

use crate::{
    ChainError, Content, Deployment, Reader,
    abi::{assets::IAssetRegistry, tasks::ITaskRegistry, whitelist::IEnclaveWhitelist},
    transaction::Line,
};

/// For how long a transaction is waited for unless [`Contracts::with_timeout`] says otherwise.
const TIMEOUT: Duration = Duration::from_secs(180);

/// For how long a transaction is left alone before it is sent again with higher fees.
const PATIENCE: Duration = Duration::from_secs(45);

/// A task's result, as its worker reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Says which result; how it is made is the launcher's (`crates/enclave/README.md`).
    pub digest: B256,
    /// Where the result is.
    pub uri: String,
    /// The address of the result key born in the TEE.
    pub key: Address,
    /// The result key's word: bundle digest (32) ‖ signature (65).
    pub enclave_signature: Bytes,
    /// The SMS's word for the result key.
    pub sms_signature: Bytes,
}

/// What a transaction did, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mined<T> {
    /// What it gave, read from its events.
    pub result: T,
    /// Which transaction.
    pub transaction: B256,
    /// The block that it is in; a reorg may still move it.
    pub block: BlockRef,
}

impl<T> Mined<T> {
    fn map<U>(self, f: impl FnOnce(T) -> U) -> Mined<U> {
        Mined { result: f(self.result), transaction: self.transaction, block: self.block }
    }
}

/// One deployment's contracts behind one node, for one account. It is a [`Reader`] that can also sign.
///
/// Every transaction waits until it is in a block. Clones share the account's line: their transactions are handed to
/// the node one after the other, so that no two take the same nonce. One that stays out of the blocks is sent again with
/// higher fees, in the same place of the line.
#[derive(Debug, Clone)]
pub struct Contracts {
    reader: Reader,
    pub(crate) account: Address,
    pub(crate) line: Arc<Mutex<Line>>,
    pub(crate) timeout: Duration,
    pub(crate) patience: Duration,
}

impl Deref for Contracts {
    type Target = Reader;

    fn deref(&self) -> &Reader {
        &self.reader
    }
}

impl Contracts {
    /// Connects to a node and makes sure that the deployment is there.
    ///
    /// # Errors
    /// When the node does not answer, follows another chain, or has other contracts at these addresses.
    pub async fn connect(
        rpc_url: &str,
        deployment: &Deployment,
        signer: PrivateKeySigner,
    ) -> Result<Self, ChainError> {
        let account = signer.address();
        let mut reader = Reader::connect(rpc_url, deployment).await?;
        // The nonce is asked for anew each time: one that was counted here would leave a gap after every refusal.
        reader.provider = ProviderBuilder::new()
            .disable_recommended_fillers()
            .with_gas_estimation()
            .with_simple_nonce_management()
            .with_chain_id(deployment.chain_id)
            .wallet(EthereumWallet::from(signer))
            .connect_reqwest(reader.http.clone(), reader.node.clone())
            .erased();
        let line = Arc::default();
        Ok(Self { reader, account, line, timeout: TIMEOUT, patience: PATIENCE })
    }

    /// Waits for each transaction up to `timeout`, 180 s by default.
    #[must_use]
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sends a transaction that is not in a block after `patience` again with higher fees, 45 s by default.
    #[must_use]
    pub const fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The account that signs.
    #[must_use]
    pub const fn account(&self) -> Address {
        self.account
    }

    /// Registers an app of the account's own.
    ///
    /// # Errors
    /// When the contract refuses or the node does not answer.
    pub async fn register_app(
        &self,
        content: &Content,
        salt: B256,
    ) -> Result<Mined<AssetId>, ChainError> {
        self.register(AssetKind::App, content, salt).await
    }

    /// Registers a protected data of the account's own.
    ///
    /// # Errors
    /// When the contract refuses or the node does not answer.
    pub async fn register_data(
        &self,
        content: &Content,
        salt: B256,
    ) -> Result<Mined<AssetId>, ChainError> {
        self.register(AssetKind::ProtectedData, content, salt).await
    }

    async fn register(
        &self,
        kind: AssetKind,
        content: &Content,
        salt: B256,
    ) -> Result<Mined<AssetId>, ChainError> {
        let assets = self.assets();
        let uri = content.uri.clone();
        let call = assets.register(kind as u8, self.account, uri, content.digest, salt);
        let event = self.send_for::<_, IAssetRegistry::AssetRegistered>(call).await?;
        Ok(event.map(|event| event.assetId.into()))
    }

    /// Replaces an asset's uri and digest.
    ///
    /// # Errors
    /// When the contract refuses or the node does not answer.
    pub async fn set_content(
        &self,
        asset: AssetId,
        content: &Content,
    ) -> Result<Mined<()>, ChainError> {
        let assets = self.assets();
        self.send(assets.setContent(asset.to_u256(), content.uri.clone(), content.digest)).await
    }

    /// Gives an asset to another account, which ends all its authorizations.
    ///
    /// # Errors
    /// When the contract refuses or the node does not answer.
    pub async fn transfer(&self, asset: AssetId, to: Address) -> Result<Mined<()>, ChainError> {
        let tokens = self.tokens();
        let owner = self.owner_of(asset).await?;
        self.send(tokens.transferFrom(owner, to, asset.to_u256())).await
    }

    /// Lets an enclave near an asset; gives the authorization's serial.
    ///
    /// # Errors
    /// When the contract refuses or the node does not answer.
    pub async fn authorize(
        &self,
        asset: AssetId,
        enclave: EnclaveId,
        terms: &Terms,
    ) -> Result<Mined<u64>, ChainError> {
        let whitelist = self.whitelist();
        let call = whitelist.authorize(asset.to_u256(), enclave.0, terms.into());
        let event = self.send_for::<_, IEnclaveWhitelist::EnclaveAuthorized>(call).await?;
        Ok(event.map(|event| event.serial))
    }

    /// Takes an authorization back; gives the serial that is revoked.
    ///
    /// # Errors
    /// When the contract refuses or the node does not answer.
    pub async fn revoke(
        &self,
        asset: AssetId,
        enclave: EnclaveId,
    ) -> Result<Mined<u64>, ChainError> {
        let whitelist = self.whitelist();
        let call = whitelist.revoke(asset.to_u256(), enclave.0);
        let event = self.send_for::<_, IEnclaveWhitelist::EnclaveRevoked>(call).await?;
        Ok(event.map(|event| event.serial))
    }

    /// Lets the task registry take `amount` of an ERC-20 from the account, and no more, for what the account buys.
    ///
    /// # Errors
    /// When the token refuses or the node does not answer.
    pub async fn approve(&self, currency: Address, amount: U256) -> Result<Mined<()>, ChainError> {
        let registry = self.deployment().task_registry;
        self.send(self.erc20(currency).approve(registry, amount)).await
    }

    /// Buys a task. The cost goes with it in the native coin; of an ERC-20 it must be approved before, by [`Self::approve`].
    ///
    /// # Errors
    /// When the contract refuses or the node does not answer.
    pub async fn purchase(&self, order: &Order) -> Result<Mined<TaskId>, ChainError> {
        let value = match order.currency {
            Address::ZERO => self.cost_of(order).await?,
            _ => U256::ZERO,
        };
        // Never more than the order allows: the contract then says that this is too little.
        let tasks = self.tasks();
        let call = tasks.purchase(order.into()).value(value.min(order.max_cost));
        let event = self.send_for::<_, ITaskRegistry::TaskPurchased>(call).await?;
        Ok(event.map(|event| TaskId(event.taskId)))
    }

    /// Says that a task runs; for its worker.
    ///
    /// # Errors
    /// When the contract refuses or the node does not answer.
    pub async fn start(&self, task: TaskId) -> Result<Mined<()>, ChainError> {
        self.send(self.tasks().start(task.0)).await
    }

    /// Reports a task's result; for its worker.
    ///
    /// # Errors
    /// When the contract refuses or the node does not answer.
    pub async fn complete(&self, task: TaskId, report: Report) -> Result<Mined<()>, ChainError> {
        let Report { digest, uri, key, enclave_signature, sms_signature } = report;
        let tasks = self.tasks();
        self.send(tasks.complete(task.0, digest, uri, key, enclave_signature, sms_signature)).await
    }

    /// Cancels a task that has not started; for its requester.
    ///
    /// # Errors
    /// When the contract refuses or the node does not answer.
    pub async fn cancel(&self, task: TaskId) -> Result<Mined<()>, ChainError> {
        self.send(self.tasks().cancel(task.0)).await
    }

    /// Takes one secret back from a task that has not ended; for its requester.
    ///
    /// # Errors
    /// When the contract refuses or the node does not answer.
    pub async fn revoke_grant(&self, task: TaskId, index: u32) -> Result<Mined<()>, ChainError> {
        self.send(self.tasks().revokeGrant(task.0, index)).await
    }

    /// Ends a task that is past its deadline; for anybody.
    ///
    /// # Errors
    /// When the contract refuses or the node does not answer.
    pub async fn expire(&self, task: TaskId) -> Result<Mined<()>, ChainError> {
        self.send(self.tasks().expire(task.0)).await
    }

    /// Has the owners of a task's assets paid, on the word of its SMS that the secrets were released; for anybody.
    ///
    /// # Errors
    /// When the contract refuses or the node does not answer.
    pub async fn settle(
        &self,
        task: TaskId,
        sms_signature: Bytes,
    ) -> Result<Mined<()>, ChainError> {
        self.send(self.tasks().settle(task.0, sms_signature)).await
    }

    /// Takes out all that the account has earned or was given back in a currency, zero for the native coin; gives the
    /// amount.
    ///
    /// # Errors
    /// When the contract refuses or the node does not answer.
    pub async fn withdraw(&self, currency: Address) -> Result<Mined<U256>, ChainError> {
        let tasks = self.tasks();
        let event = self.send_for::<_, ITaskRegistry::Withdrawn>(tasks.withdraw(currency)).await?;
        Ok(event.map(|event| event.amount))
    }

    async fn send<C: SolCall + Unpin>(
        &self,
        call: SolCallBuilder<&DynProvider, C>,
    ) -> Result<Mined<()>, ChainError> {
        Ok(self.mine(&call).await?.0.map(|_| ()))
    }

    /// Sends a call whose result is in the event `E`.
    async fn send_for<C: SolCall + Unpin, E: SolEvent>(
        &self,
        call: SolCallBuilder<&DynProvider, C>,
    ) -> Result<Mined<E>, ChainError> {
        let (mined, receipt) = self.mine(&call).await?;
        let event = receipt
            .logs()
            .iter()
            .filter(|log| Some(log.address()) == receipt.to)
            .find_map(|log| E::decode_log(&log.inner).ok())
            .ok_or_else(|| ChainError::Malformed(format!("no {} in its receipt", E::SIGNATURE)))?;
        Ok(mined.map(|()| event.data))
    }
}
