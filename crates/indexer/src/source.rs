//! A node: heads, blocks, logs, receipts, proofs. Everything it returns has passed the checks of [`crate::verify`].

use std::{future::IntoFuture, time::Duration};

use alloy::{
    eips::{BlockId, BlockNumberOrTag},
    network::TransactionBuilder,
    primitives::{Address, B256, Bytes, keccak256},
    providers::{Provider, RootProvider},
    rpc::{
        client::BatchRequest,
        types::{Block as RpcBlock, Filter, Log, TransactionRequest},
    },
    transports::{HttpError, TransportError, TransportErrorKind},
};
use futures::{StreamExt, TryStreamExt, stream};
use rand::Rng;
use sesame_domain::{Block, Journal, Registry};
use tokio::time::{sleep, timeout};

use crate::{
    erc1271::{self, Verdict},
    family::Call,
    verify::{Lie, Receipt, VerifiedHeader},
};

const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Headers asked for in one batch.
const BATCH: usize = 64;
const BATCHES_IN_FLIGHT: usize = 4;
const RECEIPTS_IN_FLIGHT: usize = 8;
/// How often a request is sent in all to a node that is busy.
const ATTEMPTS: u32 = 4;
/// Calls of contracts asked for in one batch.
pub(crate) const CALLS: usize = 64;
/// Who calls: some chains want to know, and no view of ours cares.
const CALLER: Address = Address::ZERO;
/// Pause before the second attempt; doubles with each.
const PAUSE: Duration = Duration::from_millis(50);

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
    /// It has not got the contracts' state after a block.
    #[error(
        "the node says nothing about its state after block {0}: use one that keeps that state and answers eth_getProof and \
         eth_call for it, or confirm blocks that are nearer to its head"
    )]
    NoState(u64),
    /// What it says does not hold together.
    #[error(transparent)]
    Lie(#[from] Lie),
    /// Too few endpoints agree.
    #[error("fewer than {quorum} of {endpoints} endpoints agree on block {number}")]
    NoQuorum {
        /// About which block.
        number: BlockNumberOrTag,
        /// How many would have to.
        quorum: usize,
        /// How many there are.
        endpoints: usize,
    },
    /// Too few endpoints give the same answer of a contract.
    #[error("the endpoints disagree on what contracts answer after block {0}")]
    FactsDiffer(u64),
    /// More endpoints would have to agree than there are, or none.
    #[error("a quorum of {quorum} is not possible with {endpoints} endpoints")]
    ImpossibleQuorum {
        /// How many would have to agree.
        quorum: usize,
        /// How many there are.
        endpoints: usize,
    },
}

impl SourceError {
    /// The failure's stable name.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Transport(_) => "no_answer",
            Self::Timeout => "timeout",
            Self::NoBlock(_) => "no_block",
            Self::NoState(_) => "no_state",
            Self::Lie(lie) => lie.name(),
            Self::NoQuorum { .. } => "no_quorum",
            Self::FactsDiffer(_) => "facts_differ",
            Self::ImpossibleQuorum { .. } => "impossible_quorum",
        }
    }

    /// Whether the same question may be answered later.
    fn may_pass(&self) -> bool {
        match self {
            Self::Timeout => true,
            Self::Transport(error) => is_busy(error),
            Self::NoBlock(_)
            | Self::NoState(_)
            | Self::Lie(_)
            | Self::NoQuorum { .. }
            | Self::FactsDiffer(_)
            | Self::ImpossibleQuorum { .. } => false,
        }
    }

    /// The same where the state was asked for: a node that answers, but with an error, has no such state.
    fn about_state(self, number: u64) -> Self {
        let answered = matches!(&self, Self::Transport(error) if error.is_error_resp());
        if answered && !self.may_pass() { Self::NoState(number) } else { self }
    }

    /// Whether a smaller question may be answered: too much was asked for, or it took too long.
    pub(crate) fn is_refusal(&self) -> bool {
        match self {
            Self::Timeout => true,
            Self::Transport(error) => {
                error.is_error_resp()
                    || http_error(error).is_some()
                    || matches!(error, TransportError::DeserError { .. })
            }
            Self::NoBlock(_)
            | Self::NoState(_)
            | Self::Lie(_)
            | Self::NoQuorum { .. }
            | Self::FactsDiffer(_)
            | Self::ImpossibleQuorum { .. } => false,
        }
    }
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
        let provider = in_time(RootProvider::connect(url)).await?;
        Ok(Self { provider, contracts })
    }

    /// EIP-155 id of the node's chain.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn chain_id(&self) -> Result<u64, SourceError> {
        answer(|| self.provider.get_chain_id()).await
    }

    /// Keccak-256 of the code at an address, after the newest block; none where there is no code.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn code_hash(&self, address: Address) -> Result<Option<B256>, SourceError> {
        let code = answer(|| self.provider.get_code_at(address)).await?;
        Ok((!code.is_empty()).then(|| keccak256(code)))
    }

    /// What the contract at `owner` says about a signature over `hash`, by the state after the block `at` (ERC-1271).
    ///
    /// # Errors
    /// When the node does not answer, or has no such state.
    pub(crate) async fn signature_verdict(
        &self,
        at: B256,
        owner: Address,
        hash: B256,
        signature: &Bytes,
    ) -> Result<Verdict, SourceError> {
        let code = answer(|| self.provider.get_code_at(owner).hash(at)).await?;
        if code.is_empty() {
            return Ok(Verdict::NoContract);
        }
        let question = erc1271::question(owner, hash, signature);
        match answer(|| self.provider.call(question.clone()).hash(at)).await {
            Ok(said) => Ok(erc1271::verdict(&said)),
            // The node has the state, as its answer about the code shows: it is the contract that failed.
            Err(SourceError::Transport(error)) if error.is_error_resp() && !is_busy(&error) => {
                Ok(Verdict::Refused)
            }
            Err(error) => Err(error),
        }
    }

    /// The header at a height or tag.
    ///
    /// # Errors
    /// When the node has none, or it fails a check.
    pub async fn header(&self, at: BlockNumberOrTag) -> Result<VerifiedHeader, SourceError> {
        check_header(at, answer(|| self.provider.get_block_by_number(at)).await?)
    }

    /// The headers from `first` to `last`, in order.
    ///
    /// # Errors
    /// As [`Node::header`].
    pub async fn headers(&self, first: u64, last: u64) -> Result<Vec<VerifiedHeader>, SourceError> {
        let firsts = (first..=last).step_by(BATCH);
        let batches: Vec<Vec<VerifiedHeader>> = stream::iter(firsts)
            .map(|first| self.batch(first, last.min(first + BATCH as u64 - 1)))
            .buffered(BATCHES_IN_FLIGHT)
            .try_collect()
            .await?;
        Ok(batches.into_iter().flatten().collect())
    }

    /// One request for many headers; where a node refuses that, one request for each.
    async fn batch(&self, first: u64, last: u64) -> Result<Vec<VerifiedHeader>, SourceError> {
        if first == last {
            return Ok(vec![self.header(first.into()).await?]);
        }
        let blocks = match answer(|| self.batched(first, last)).await {
            Ok(blocks) => blocks,
            Err(error) if error.may_pass() => return Err(error),
            Err(_) => {
                return stream::iter(first..=last)
                    .map(|number| self.header(number.into()))
                    .buffered(BATCHES_IN_FLIGHT)
                    .try_collect()
                    .await;
            }
        };
        (first..=last)
            .zip(blocks)
            .map(|(number, block)| check_header(number.into(), block))
            .collect()
    }

    async fn batched(
        &self,
        first: u64,
        last: u64,
    ) -> Result<Vec<Option<RpcBlock>>, TransportError> {
        let mut batch = BatchRequest::new(self.provider.client());
        let mut waiters = Vec::new();
        for number in first..=last {
            let question = (BlockNumberOrTag::from(number), false);
            waiters.push(batch.add_call("eth_getBlockByNumber", &question)?);
        }
        batch.send().await?;
        futures::future::try_join_all(waiters).await
    }

    /// The contracts' logs from block `first` to `last`, in order.
    ///
    /// # Errors
    /// When the node does not answer, or refuses.
    pub async fn logs_between(&self, first: u64, last: u64) -> Result<Vec<Log>, SourceError> {
        let filter = Filter::new().from_block(first).to_block(last).address(self.contracts.clone());
        let mut logs = answer(|| self.provider.get_logs(&filter)).await?;
        logs.sort_by_key(|log| (log.block_number, log.log_index));
        Ok(logs)
    }

    /// The contracts' logs of one block, from receipts that hash to its receipts root.
    ///
    /// # Errors
    /// When the node has no such block, or the receipts are not its own.
    pub async fn proven_logs(&self, header: &VerifiedHeader) -> Result<Vec<Log>, SourceError> {
        let block = header.block();
        let id = BlockId::hash(block.hash);
        let client = self.provider.client();
        let asked = || client.request::<_, Option<Vec<Receipt>>>("eth_getBlockReceipts", (id,));
        let receipts = answer(asked).await?.ok_or(SourceError::NoBlock(block.number.into()))?;
        Ok(header.logs_of(receipts, &self.contracts)?)
    }

    /// The same for several blocks, in their order.
    ///
    /// # Errors
    /// As [`Node::proven_logs`].
    pub(crate) async fn all_proven_logs(
        &self,
        headers: Vec<VerifiedHeader>,
    ) -> Result<Vec<Vec<Log>>, SourceError> {
        stream::iter(headers)
            .map(|header| async move { self.proven_logs(&header).await })
            .buffered(RECEIPTS_IN_FLIGHT)
            .try_collect()
            .await
    }

    /// What contracts answer, in the order of the calls.
    ///
    /// # Errors
    /// When the node does not answer, or has no such state.
    pub(crate) async fn answers(&self, calls: &[Call]) -> Result<Vec<Bytes>, SourceError> {
        match answer(|| self.called(calls)).await {
            // A node that refuses batches may answer one call after the other.
            Err(error) if !error.may_pass() && calls.len() > 1 => {
                let mut answers = Vec::with_capacity(calls.len());
                for one in calls {
                    let said = answer(|| self.called(std::slice::from_ref(one))).await;
                    answers.extend(said.map_err(|error| error.about_state(one.at.number))?);
                }
                Ok(answers)
            }
            answers => answers
                .map_err(|error| error.about_state(calls.first().map_or(0, |call| call.at.number))),
        }
    }

    async fn called(&self, calls: &[Call]) -> Result<Vec<Bytes>, TransportError> {
        let mut batch = BatchRequest::new(self.provider.client());
        let mut waiters = Vec::new();
        for Call { at, contract, input } in calls {
            let call = TransactionRequest::default().with_from(CALLER).with_to(*contract);
            let question = (call.with_input(input.clone()), BlockId::hash(at.hash));
            waiters.push(batch.add_call("eth_call", &question)?);
        }
        batch.send().await?;
        futures::future::try_join_all(waiters).await
    }

    /// The registries' journals after a block, proven.
    ///
    /// # Errors
    /// When the node has no such state, or the proof does not hold.
    pub async fn journals(
        &self,
        header: &VerifiedHeader,
    ) -> Result<Vec<(Registry, Journal)>, SourceError> {
        let asked = Registry::ALL.into_iter().zip(self.contracts.iter().copied());
        let journals = asked.map(|(registry, contract)| async move {
            let keys: Vec<B256> = vec![Journal::slot()];
            let Block { hash, number, .. } = header.block();
            let proof = answer(|| self.provider.get_proof(contract, keys.clone()).hash(hash));
            let proof = proof.await.map_err(|error| error.about_state(number))?;
            Ok::<_, SourceError>((registry, header.journal(registry, contract, &proof)?))
        });
        futures::future::try_join_all(journals).await
    }
}

#[cfg(test)]
impl Node {
    /// A node whose answers are those pushed into `asserter`, first come, first served.
    pub(crate) fn told(asserter: alloy::providers::mock::Asserter) -> Self {
        let client = alloy::rpc::client::RpcClient::mocked(asserter);
        Self { provider: RootProvider::new(client), contracts: Vec::new() }
    }
}

fn check_header(
    at: BlockNumberOrTag,
    block: Option<RpcBlock>,
) -> Result<VerifiedHeader, SourceError> {
    let header = VerifiedHeader::check(&block.ok_or(SourceError::NoBlock(at))?.header)?;
    let got = header.block().number;
    if let BlockNumberOrTag::Number(asked) = at
        && asked != got
    {
        return Err(Lie::WrongBlock { asked, got }.into());
    }
    Ok(header)
}

/// Asks again while the node says that it is busy.
async fn answer<T, R>(mut request: impl FnMut() -> R) -> Result<T, SourceError>
where
    R: IntoFuture<Output = Result<T, TransportError>>,
{
    let mut pause = PAUSE;
    for _ in 1..ATTEMPTS {
        match in_time(request()).await {
            Err(SourceError::Transport(error)) if is_busy(&error) => {
                let jitter = rand::rng().random_range(0.5..1.5);
                sleep(pause.mul_f64(jitter)).await;
                pause *= 2;
            }
            result => return result,
        }
    }
    in_time(request()).await
}

async fn in_time<T>(
    request: impl IntoFuture<Output = Result<T, TransportError>>,
) -> Result<T, SourceError> {
    Ok(timeout(REQUEST_TIMEOUT, request.into_future())
        .await
        .map_err(|_| SourceError::Timeout)??)
}

fn http_error(error: &TransportError) -> Option<&HttpError> {
    if let TransportError::Transport(TransportErrorKind::HttpError(error)) = error {
        return Some(error);
    }
    None
}

/// Too many requests, or a server that is down for a moment.
fn is_busy(error: &TransportError) -> bool {
    http_error(error).is_some_and(|error| matches!(error.status, 429 | 502 | 503 | 504))
        || error.as_error_resp().is_some_and(|payload| {
            payload.code == 429 || payload.message.to_lowercase().contains("rate limit")
        })
}
