//! Several endpoints: what a quorum of them agrees on, and which of them to ask for the rest.
//!
//! Headers are linked by hash, so a head that a quorum agrees on settles every block below it; logs, receipts and proofs are
//! checked against those headers and may come from anybody.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use alloy::{
    eips::BlockNumberOrTag,
    primitives::{Address, B256, Bytes},
};
use futures::{
    StreamExt, TryStreamExt,
    stream::{self, FuturesUnordered},
};
use sesame_domain::BlockRef;
use tokio::time::timeout;

use crate::{
    erc1271::Verdict,
    family::Call,
    source::{CALLS, Node, SourceError},
    verify::VerifiedHeader,
};

/// How long the slower endpoints are waited for once a quorum has answered.
const GRACE: Duration = Duration::from_millis(300);
/// Batches of calls asked for at once.
const CALLS_IN_FLIGHT: usize = 4;

/// The endpoints of one chain. A clone prefers whom the original prefers.
#[derive(Debug, Clone)]
pub struct Nodes {
    nodes: Vec<Node>,
    quorum: usize,
    preferred: Arc<AtomicUsize>,
}

impl Nodes {
    /// The endpoints at `urls`, of which `quorum` have to agree; the majority unless told otherwise. Sends nothing yet.
    ///
    /// # Errors
    /// When a url cannot be used, or the quorum is impossible.
    pub async fn new(
        urls: &[String],
        quorum: Option<usize>,
        contracts: &[Address],
    ) -> Result<Self, SourceError> {
        let endpoints = urls.len();
        let quorum = quorum.unwrap_or(endpoints / 2 + 1);
        if !(1..=endpoints).contains(&quorum) {
            return Err(SourceError::ImpossibleQuorum { quorum, endpoints });
        }
        let nodes = urls.iter().map(|url| Node::new(url, contracts.to_vec()));
        let nodes = futures::future::try_join_all(nodes).await?;
        Ok(Self { nodes, quorum, preferred: Arc::default() })
    }

    /// Whether more than one endpoint would have to lie.
    #[must_use]
    pub const fn is_quorum(&self) -> bool {
        self.quorum > 1
    }

    /// The endpoint to ask for what can be checked.
    pub(crate) fn any(&self) -> &Node {
        let preferred = self.preferred.load(Ordering::Relaxed) % self.nodes.len();
        self.nodes.get(preferred).expect("there is at least one endpoint")
    }

    /// From now on asks the next one.
    pub(crate) fn fail_over(&self) {
        self.preferred.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether a quorum serves this chain, or which other chain a quorum does not serve it for.
    ///
    /// # Errors
    /// When too few endpoints answer, or neither has a quorum.
    pub(crate) async fn serve_chain(&self, chain_id: u64) -> Result<Result<(), u64>, SourceError> {
        let answers = self.ask(|node| node.chain_id()).await;
        let (mut same, mut others, mut failure) = (0, Vec::new(), None);
        for answer in answers {
            match answer {
                Ok(id) if id == chain_id => same += 1,
                Ok(id) => others.push(id),
                Err(error) => failure = Some(error),
            }
        }
        match others.first() {
            _ if same >= self.quorum => Ok(Ok(())),
            Some(other) if others.len() >= self.quorum => Ok(Err(*other)),
            _ => Err(failure.unwrap_or_else(|| self.none(BlockNumberOrTag::Latest))),
        }
    }

    /// Keccak-256 of the code at an address, none where there is no code, as a quorum says.
    ///
    /// # Errors
    /// When too few endpoints answer, or too few agree.
    pub(crate) async fn code_hash(&self, address: Address) -> Result<Option<B256>, SourceError> {
        let answers = self.ask(|node| node.code_hash(address)).await;
        self.same(BlockNumberOrTag::Latest, answers)
    }

    /// What the contract at `owner` says about a signature over `hash`, after the block `at`, as a quorum says (ERC-1271).
    ///
    /// # Errors
    /// When too few endpoints answer, or too few agree.
    pub async fn signature_verdict(
        &self,
        at: BlockRef,
        owner: Address,
        hash: B256,
        signature: &Bytes,
    ) -> Result<Verdict, SourceError> {
        let question = |node| Node::signature_verdict(node, at.hash, owner, hash, signature);
        self.same(at.number.into(), self.ask(question).await)
    }

    /// What contracts answer, in the order of the calls, as a quorum says, byte for byte.
    ///
    /// # Errors
    /// When too few endpoints answer, or too few agree.
    pub(crate) async fn answers(&self, calls: &[Call]) -> Result<Vec<Bytes>, SourceError> {
        let batches: Vec<Vec<Call>> = calls.chunks(CALLS).map(<[Call]>::to_vec).collect();
        stream::iter(batches)
            .map(|calls| self.batch_of_answers(calls))
            .buffered(CALLS_IN_FLIGHT)
            .try_concat()
            .await
    }

    async fn batch_of_answers(&self, calls: Vec<Call>) -> Result<Vec<Bytes>, SourceError> {
        let number = calls.first().map_or(0, |call| call.at.number);
        let answers = self.ask(|node| node.answers(&calls)).await;
        match self.same(number.into(), answers) {
            Err(SourceError::NoQuorum { .. }) => Err(SourceError::FactsDiffer(number)),
            agreed => agreed,
        }
    }

    /// The answer that a quorum gives.
    fn same<T: PartialEq>(
        &self,
        about: BlockNumberOrTag,
        answers: Vec<Result<T, SourceError>>,
    ) -> Result<T, SourceError> {
        let (mut said, mut failure) = (Vec::new(), None);
        for answer in answers {
            match answer {
                Ok(answer) => said.push(answer),
                Err(error) => failure = Some(error),
            }
        }
        let agreed = |one: &T| said.iter().filter(|other| *other == one).count() >= self.quorum;
        match said.iter().position(agreed) {
            Some(place) => Ok(said.swap_remove(place)),
            None => Err(failure.unwrap_or_else(|| self.none(about))),
        }
    }

    /// The newest block that a quorum has reached, and agrees on.
    ///
    /// # Errors
    /// When too few endpoints answer, or they follow different forks.
    pub(crate) async fn head(&self) -> Result<VerifiedHeader, SourceError> {
        self.reached(BlockNumberOrTag::Latest).await
    }

    /// The same for a tag.
    ///
    /// # Errors
    /// As [`Nodes::head`].
    pub(crate) async fn reached(
        &self,
        tag: BlockNumberOrTag,
    ) -> Result<VerifiedHeader, SourceError> {
        let answers = self.ask(|node| async move { Ok((node, node.header(tag).await?)) }).await;
        let mut newest = Vec::new();
        let mut failure = None;
        for answer in answers {
            match answer {
                Ok(answer) => newest.push(answer),
                Err(error) => failure = Some(error),
            }
        }
        newest.sort_by_key(|(_, header)| std::cmp::Reverse(header.block().number));
        let Some((_, lowest)) = newest.get(self.quorum - 1) else {
            return Err(failure.unwrap_or_else(|| self.none(tag)));
        };
        let number = lowest.block().number;
        newest.retain(|(_, header)| header.block().number >= number);
        let mut votes = Vec::new();
        for (node, header) in newest {
            votes.push(vote(node, header, number));
        }
        self.agreed(number.into(), futures::future::join_all(votes).await)
    }

    /// The header of a height as a quorum knows it.
    ///
    /// # Errors
    /// [`SourceError::NoBlock`] when a quorum has no such block; otherwise when too few endpoints answer or agree.
    pub(crate) async fn header(&self, number: u64) -> Result<VerifiedHeader, SourceError> {
        let votes = self.ask(|node| node.header(number.into())).await;
        self.agreed(number.into(), votes)
    }

    fn agreed(
        &self,
        number: BlockNumberOrTag,
        votes: Vec<Result<VerifiedHeader, SourceError>>,
    ) -> Result<VerifiedHeader, SourceError> {
        let mut counts: HashMap<B256, usize> = HashMap::new();
        let (mut missing, mut failure) = (0, None);
        for vote in votes {
            match vote {
                Ok(header) => {
                    let count = counts.entry(header.block().hash).or_default();
                    *count += 1;
                    if *count >= self.quorum {
                        return Ok(header);
                    }
                }
                Err(SourceError::NoBlock(_)) => missing += 1,
                Err(error) => failure = Some(error),
            }
        }
        match failure {
            _ if missing >= self.quorum => Err(SourceError::NoBlock(number)),
            Some(error) if counts.is_empty() && missing == 0 => Err(error),
            _ => Err(self.none(number)),
        }
    }

    /// Asks all at once; once a quorum has answered, the others get a little longer.
    async fn ask<'a, T, F>(&'a self, question: impl Fn(&'a Node) -> F) -> Vec<F::Output>
    where
        F: Future<Output = Result<T, SourceError>>,
    {
        let mut asked: FuturesUnordered<_> = self.nodes.iter().map(question).collect();
        let mut answers = Vec::with_capacity(self.nodes.len());
        let mut good = 0;
        loop {
            let next = if good >= self.quorum {
                timeout(GRACE, asked.next()).await.unwrap_or(None)
            } else {
                asked.next().await
            };
            let Some(answer) = next else { return answers };
            good += usize::from(answer.is_ok());
            answers.push(answer);
        }
    }

    fn none(&self, number: BlockNumberOrTag) -> SourceError {
        SourceError::NoQuorum { number, quorum: self.quorum, endpoints: self.nodes.len() }
    }
}

/// The block of this height that the endpoint has below `newest`.
async fn vote(
    node: &Node,
    newest: VerifiedHeader,
    number: u64,
) -> Result<VerifiedHeader, SourceError> {
    if newest.block().number == number { Ok(newest) } else { node.header(number.into()).await }
}

#[cfg(test)]
mod tests;
