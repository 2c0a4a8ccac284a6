//! The loop: node, checks, events, view, until cancelled.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use alloy::{
    eips::BlockNumberOrTag,
    primitives::{Address, B256},
};
use sesame_domain::{Block, BlockEvents};
use sesame_view::{Cursor, View, WriteError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    confirmation::Confirmation,
    decode::{DecodeError, Decoder},
    pulse::{Pulse, State},
    source::{Node, SourceError},
    verify::{self, VerifiedHeader},
};

/// Below this distance from the head, logs are asked for block by block, by hash.
const NEAR: u64 = 32;
/// Blocks asked for at once when farther away.
const RANGE: u64 = 500;

/// The mirror stops: a person has to look.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MirrorError {
    /// The node belongs to another chain.
    #[error("the node serves chain {got}, the deployment is on chain {expected}")]
    WrongChain {
        /// The deployment's chain.
        expected: u64,
        /// The node's chain.
        got: u64,
    },
    /// The manifest names an address where nothing stands.
    #[error(
        "there is no contract at {address}: the manifest is another deployment's, or the node has not caught up with it"
    )]
    NoContract {
        /// Which contract.
        address: Address,
    },
    /// Another contract stands where the manifest names one of ours: its events would mean something else.
    #[error(
        "the contract at {address} is not the deployment's: its code hashes to {got}, the manifest says {expected}"
    )]
    WrongCode {
        /// Which contract.
        address: Address,
        /// What the manifest says.
        expected: B256,
        /// What stands there.
        got: B256,
    },
    /// The chain was rewritten deeper than the operator thought possible.
    #[error(
        "the chain was rewritten below the confirmed block {confirmed}: releases may rest on blocks that no longer exist; \
         see what happened, then delete the index to rebuild it"
    )]
    ReorgBelowConfirmed {
        /// The confirmed block's height.
        confirmed: u64,
    },
    /// The view cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// What one round with the node ran into.
#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("the node is at block {node}, behind the index at {ours}")]
    NodeBehind { node: u64, ours: u64 },
    #[error(transparent)]
    Fatal(#[from] MirrorError),
}

impl RoundError {
    const fn is_lie(&self) -> bool {
        matches!(self, Self::Source(SourceError::Lie(_)) | Self::Decode(_))
    }
}

impl From<WriteError> for RoundError {
    fn from(error: WriteError) -> Self {
        Self::Fatal(error.into())
    }
}

impl From<sesame_view::ReadError> for RoundError {
    fn from(error: sesame_view::ReadError) -> Self {
        WriteError::from(error).into()
    }
}

impl From<verify::Lie> for RoundError {
    fn from(lie: verify::Lie) -> Self {
        SourceError::from(lie).into()
    }
}

/// Keeps a view in step with a node.
#[derive(Debug)]
pub struct Mirror {
    /// Where to ask.
    pub node: Node,
    /// Where to write.
    pub view: Arc<View>,
    /// What the logs mean.
    pub decoder: Decoder,
    /// EIP-155 id of the deployment's chain.
    pub chain_id: u64,
    /// The contracts, with the hash of the code that each should have where the manifest says so.
    pub contracts: [(Address, Option<B256>); 3],
    /// The first block that can hold an event.
    pub first_block: u64,
    /// Which block is deep enough.
    pub confirmation: Confirmation,
    /// Pause between two questions for the head.
    pub poll: Duration,
    /// Where the mirror's freshness is published.
    pub pulse: watch::Sender<Pulse>,
}

/// Whether a round caught up with the node.
enum Progress {
    CaughtUp,
    Behind { at: u64, to: u64 },
}

impl Mirror {
    /// Runs until `stop` is cancelled.
    ///
    /// # Errors
    /// When going on would be wrong: another chain, a reorg below the confirmed block, a broken view.
    pub async fn run(self, stop: CancellationToken) -> Result<(), MirrorError> {
        stop.run_until_cancelled(self.follow()).await.unwrap_or(Ok(()))
    }

    async fn follow(&self) -> Result<(), MirrorError> {
        let mut chain_checked = false;
        loop {
            let asked = Instant::now();
            match self.round(&mut chain_checked).await {
                Ok(Progress::CaughtUp) => {
                    self.publish(State::Following, Some(asked));
                    tokio::time::sleep(self.poll).await;
                }
                Ok(Progress::Behind { at, to }) => {
                    tracing::info!(index.at = at, index.to = to, "catching up: block {at} of {to}");
                    self.publish(State::Backfilling { at, to }, None);
                }
                Err(RoundError::Fatal(error)) => return Err(error),
                Err(error) => {
                    // The causes may quote the endpoint's url, which may hold a key.
                    let reason = error.to_string();
                    tracing::warn!(%reason, "the node's answer cannot be used");
                    self.publish_failure(reason, error.is_lie());
                    tokio::time::sleep(self.poll).await;
                }
            }
        }
    }

    /// A node that does not answer may do so again in time; one that lied is not believed for a moment longer.
    fn publish_failure(&self, reason: String, lied: bool) {
        if lied {
            self.forget_freshness();
        }
        self.publish(State::Failing { reason }, None);
    }

    fn forget_freshness(&self) {
        self.pulse.send_modify(|pulse| pulse.fresh_at = None);
    }

    /// A failing round leaves `fresh_at` as it was, so that staleness counts from the last good answer.
    fn publish(&self, state: State, fresh_at: Option<Instant>) {
        self.pulse.send_modify(|pulse| {
            pulse.state = state;
            pulse.fresh_at = fresh_at.or(pulse.fresh_at);
        });
    }

    async fn round(&self, chain_checked: &mut bool) -> Result<Progress, RoundError> {
        if !*chain_checked {
            self.check_chain().await?;
            *chain_checked = true;
        }
        let Some(cursor) = self.view.cursor()? else {
            self.begin().await?;
            return Ok(Progress::Behind { at: 0, to: self.first_block });
        };
        let node_head = self.node.header(BlockNumberOrTag::Latest).await?.block();
        let ours = cursor.head;
        if node_head.number < ours.number {
            self.unwind_if_forked(cursor, node_head).await?;
            return Err(RoundError::NodeBehind { node: node_head.number, ours: ours.number });
        }
        if node_head.number == ours.number {
            if node_head.hash == ours.hash {
                self.confirm(ours).await?;
                return Ok(Progress::CaughtUp);
            }
            self.unwind(cursor).await?;
            return Ok(Progress::Behind { at: ours.number, to: node_head.number });
        }
        self.extend(cursor, node_head).await
    }

    /// The node's chain, and the code of each contract, are those of the manifest.
    async fn check_chain(&self) -> Result<(), RoundError> {
        let got = self.node.chain_id().await?;
        if got != self.chain_id {
            return Err(MirrorError::WrongChain { expected: self.chain_id, got }.into());
        }
        for (address, expected) in self.contracts {
            let Some(got) = self.node.code_hash(address).await? else {
                return Err(MirrorError::NoContract { address }.into());
            };
            if let Some(expected) = expected.filter(|expected| *expected != got) {
                return Err(MirrorError::WrongCode { address, expected, got }.into());
            }
        }
        Ok(())
    }

    /// The block before the first is the ground that the first must join; it is confirmed by the operator's manifest.
    async fn begin(&self) -> Result<(), RoundError> {
        let ground = self.node.header(self.first_block.saturating_sub(1).into()).await?;
        self.view.apply(&[BlockEvents { block: ground.block(), events: Vec::new() }])?;
        Ok(())
    }

    async fn extend(&self, cursor: Cursor, node_head: Block) -> Result<Progress, RoundError> {
        let ours = cursor.head;
        let distance = node_head.number - ours.number;
        let blocks = if distance > NEAR {
            let last = (node_head.number - NEAR).min(ours.number + RANGE);
            match self.range(ours.number + 1, last).await {
                // Too many logs for one answer, perhaps: a few blocks one by one are never too many.
                Err(RoundError::Source(SourceError::Transport(_) | SourceError::Timeout)) => {
                    self.by_hash(ours.number + 1, ours.number + NEAR).await?
                }
                blocks => blocks?,
            }
        } else {
            self.by_hash(ours.number + 1, node_head.number).await?
        };
        let Some(first) = blocks.first() else { return Ok(Progress::CaughtUp) };
        if first.block.parent != ours.hash {
            self.unwind(cursor).await?;
            return Ok(Progress::Behind { at: ours.number, to: node_head.number });
        }
        for pair in blocks.windows(2) {
            if let [parent, child] = pair {
                verify::joins(&parent.block, &child.block)?;
            }
        }
        self.view.apply(&blocks)?;
        let head = blocks.last().map_or(ours, |last| last.block);
        self.confirm(head).await?;
        for block in blocks.iter().filter(|block| !block.events.is_empty()) {
            let (number, events) = (block.block.number, block.events.len());
            tracing::debug!(block.number = number, events, "block {number}: {events} events");
        }
        if head.hash == node_head.hash {
            Ok(Progress::CaughtUp)
        } else {
            Ok(Progress::Behind { at: head.number, to: node_head.number })
        }
    }

    async fn range(&self, first: u64, last: u64) -> Result<Vec<BlockEvents>, RoundError> {
        let (headers, logs) = futures::try_join!(
            self.node.headers(first, last),
            self.node.logs_between(first, last)
        )?;
        let mut logs = logs.as_slice();
        let mut blocks = Vec::with_capacity(headers.len());
        for header in &headers {
            let number = Some(header.block().number);
            let count = logs.iter().take_while(|log| log.block_number == number).count();
            let (own, rest) = logs.split_at(count);
            blocks.push(self.events(header, own)?);
            logs = rest;
        }
        match logs.first() {
            None => Ok(blocks),
            Some(stray) => {
                Err(verify::Lie::LogsOutOfPlace { number: stray.block_number.unwrap_or_default() }
                    .into())
            }
        }
    }

    async fn by_hash(&self, first: u64, last: u64) -> Result<Vec<BlockEvents>, RoundError> {
        let mut blocks = Vec::new();
        for header in self.node.headers(first, last).await? {
            let logs = self.node.logs_of(header.block().hash).await?;
            blocks.push(self.events(&header, &logs)?);
        }
        Ok(blocks)
    }

    fn events(
        &self,
        header: &VerifiedHeader,
        logs: &[alloy::rpc::types::Log],
    ) -> Result<BlockEvents, RoundError> {
        header.owns(logs)?;
        let block = header.block();
        let mut events = Vec::with_capacity(logs.len());
        for log in logs {
            events.extend(self.decoder.decode(log, block.timestamp)?);
        }
        Ok(BlockEvents { block, events })
    }

    /// Goes back to the newest block that the node still has.
    async fn unwind(&self, cursor: Cursor) -> Result<(), RoundError> {
        let confirmed = cursor.confirmed.number;
        for number in (confirmed..=cursor.head.number).rev() {
            let theirs = match self.node.header(number.into()).await {
                Ok(header) => header.block(),
                Err(SourceError::NoBlock(_)) => continue,
                Err(error) => return Err(error.into()),
            };
            let Some(ours) = self.view.header(number)? else { continue };
            if ours.hash == theirs.hash {
                let depth = cursor.head.number - number;
                tracing::warn!(block.number = number, depth, "reorg: {depth} blocks undone");
                // What was undone may have been a revocation: nothing is released before the node confirms the new head.
                self.forget_freshness();
                self.view.unwind(number)?;
                return Ok(());
            }
        }
        Err(MirrorError::ReorgBelowConfirmed { confirmed }.into())
    }

    /// A node behind us may only be slow; if it is on another fork, the blocks above the fork are gone.
    async fn unwind_if_forked(&self, cursor: Cursor, node_head: Block) -> Result<(), RoundError> {
        match self.view.header(node_head.number)? {
            Some(ours) if ours.hash != node_head.hash => self.unwind(cursor).await,
            _ => Ok(()),
        }
    }

    async fn confirm(&self, head: Block) -> Result<(), RoundError> {
        let number = match self.confirmation {
            Confirmation::Blocks(depth) => head.number.saturating_sub(depth),
            Confirmation::Safe => self.tagged(BlockNumberOrTag::Safe).await?,
            Confirmation::Finalized => self.tagged(BlockNumberOrTag::Finalized).await?,
        };
        self.view.confirm(number)?;
        Ok(())
    }

    /// The height of a tagged block, zero if it is not on our chain (yet).
    async fn tagged(&self, tag: BlockNumberOrTag) -> Result<u64, RoundError> {
        let theirs = self.node.header(tag).await?.block();
        let ours = self.view.header(theirs.number)?;
        Ok(if ours.is_some_and(|ours| ours.hash == theirs.hash) { theirs.number } else { 0 })
    }
}
