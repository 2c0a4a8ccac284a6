//! A node: heads, blocks, logs. Everything it returns has passed the checks of [`crate::verify`].

use std::{future::IntoFuture, time::Duration};

use alloy::{
    eips::BlockNumberOrTag,
    primitives::{Address, B256, keccak256},
    providers::{Provider, RootProvider},
    rpc::types::{Block as RpcBlock, Filter, Log},
    transports::TransportError,
};
use futures::{StreamExt, TryStreamExt, stream};
use tokio::time::timeout;

use crate::verify::{Lie, VerifiedHeader};

const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
const HEADERS_IN_FLIGHT: usize = 16;

/// A node gave no usable answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// Unreachable, or it answered with an error.
    #[error("the node does not answer")]
    Transport(#[from] TransportError),
    /// No answer in time.
    #[error("the node did not answer within {} s", REQUEST_TIMEOUT.as_secs())]
    Timeout,
    /// It has no such block.
    #[error("the node has no block {0}")]
    NoBlock(BlockNumberOrTag),
    /// What it says does not hold together.
    #[error("the node's answer failed the check {}", .0.name())]
    Lie(#[from] Lie),
}

/// A node behind its JSON-RPC endpoint.
#[derive(Debug, Clone)]
pub struct Node {
    provider: RootProvider,
    contracts: Vec<Address>,
}

impl Node {
    /// A node at `url` (http or https), asked for the logs of `contracts` only. Sends nothing yet.
    ///
    /// # Errors
    /// When the url cannot be used.
    pub async fn new(url: &str, contracts: Vec<Address>) -> Result<Self, SourceError> {
        let provider = answer(RootProvider::connect(url)).await?;
        Ok(Self { provider, contracts })
    }

    /// EIP-155 id of the node's chain.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn chain_id(&self) -> Result<u64, SourceError> {
        answer(self.provider.get_chain_id()).await
    }

    /// Keccak-256 of the code at an address, after the newest block; none where there is no code.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn code_hash(&self, address: Address) -> Result<Option<B256>, SourceError> {
        let code = answer(self.provider.get_code_at(address)).await?;
        Ok((!code.is_empty()).then(|| keccak256(code)))
    }

    /// The header at a height or tag.
    ///
    /// # Errors
    /// When the node has none, or it fails a check.
    pub async fn header(&self, at: BlockNumberOrTag) -> Result<VerifiedHeader, SourceError> {
        let block: Option<RpcBlock> = answer(self.provider.get_block_by_number(at)).await?;
        let header = VerifiedHeader::check(&block.ok_or(SourceError::NoBlock(at))?.header)?;
        let got = header.block().number;
        if let BlockNumberOrTag::Number(asked) = at
            && asked != got
        {
            return Err(Lie::WrongBlock { asked, got }.into());
        }
        Ok(header)
    }

    /// The headers from `first` to `last`, in order.
    ///
    /// # Errors
    /// As [`Node::header`].
    pub async fn headers(&self, first: u64, last: u64) -> Result<Vec<VerifiedHeader>, SourceError> {
        stream::iter(first..=last)
            .map(|number| self.header(number.into()))
            .buffered(HEADERS_IN_FLIGHT)
            .try_collect()
            .await
    }

    /// The contracts' logs of one block, by its hash.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn logs_of(&self, hash: B256) -> Result<Vec<Log>, SourceError> {
        self.logs(Filter::new().at_block_hash(hash)).await
    }

    /// The contracts' logs from block `first` to `last`, in order.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn logs_between(&self, first: u64, last: u64) -> Result<Vec<Log>, SourceError> {
        self.logs(Filter::new().from_block(first).to_block(last)).await
    }

    async fn logs(&self, filter: Filter) -> Result<Vec<Log>, SourceError> {
        let filter = filter.address(self.contracts.clone());
        let mut logs = answer(self.provider.get_logs(&filter)).await?;
        logs.sort_by_key(|log| (log.block_number, log.log_index));
        Ok(logs)
    }
}

async fn answer<T>(
    request: impl IntoFuture<Output = Result<T, TransportError>>,
) -> Result<T, SourceError> {
    Ok(timeout(REQUEST_TIMEOUT, request.into_future())
        .await
        .map_err(|_| SourceError::Timeout)??)
}
