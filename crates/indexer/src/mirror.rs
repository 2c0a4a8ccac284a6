//! The loop: node, checks, events, view, until cancelled.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use alloy::eips::BlockNumberOrTag;
use alloy::primitives::{Address, B256};
use futures::{StreamExt, stream};
use sesame_domain::{Block, BlockEvents};
use sesame_view::{Cursor, History, View};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    confirmation::Confirmation,
    error::{MirrorError, RoundError},
    family::{Adapter, Call, Family, Tie},
    fetch::{Backfill, Fetch},
    heads::Heads,
    metrics::Metrics,
    progress::Progress,
    pulse::{Pulse, State},
    quorum::Nodes,
    verify,
};

/// Within this distance from the head, every log is taken from receipts that the header proves.
const NEAR: u64 = 32;
/// Blocks in one range to begin with, and at most.
const WIDTH: u64 = 16;
const WIDEST: u64 = 2048;
/// Events that one range should bring: what is in memory at once does not depend on how full the chain is.
const EVENTS: u64 = 4096;
const RANGES_IN_FLIGHT: usize = 4;
/// Ranges in one round.
const RANGES: usize = 16;

/// Keeps a view in step with a chain.
#[derive(Debug)]
pub struct Mirror {
    /// Where to ask.
    pub nodes: Nodes,
    /// Where to write.
    pub view: Arc<View>,
    /// What the logs mean.
    pub family: Family,
    /// EIP-155 id of the deployment's chain.
    pub chain_id: u64,
    /// The contracts, with the hash of the code that each should have where the manifest says so.
    pub contracts: Vec<(Address, Option<B256>)>,
    /// The first block that can hold an event.
    pub first_block: u64,
    /// Which block is deep enough.
    pub confirmation: Confirmation,
    /// After how many confirmed blocks the journals are proven again.
    pub prove_every: u64,
    /// How many past blocks can still be asked about.
    pub history: History,
    /// What far blocks are read from.
    pub backfill: Backfill,
    /// Longest pause between two questions for the head.
    pub poll: Duration,
    /// WebSocket endpoints that announce new heads, which ends the pause. Nothing that they say is believed.
    pub heads: Vec<String>,
    /// What happens is counted here.
    pub metrics: Metrics,
    /// Where the mirror's freshness is published.
    pub pulse: watch::Sender<Pulse>,
}

/// What a mirror remembers from round to round, and forgets when it stops.
#[derive(Debug)]
pub(crate) struct Run {
    chain_checked: bool,
    /// The journals were proven, and nothing was found wrong since.
    pub(crate) proven: bool,
    /// Blocks may have come from ranges of logs since the journals were last proven at the head.
    ranged: bool,
    /// Up to this block, the logs of ranges were wrong.
    pub(crate) doubtful: Option<u64>,
    /// Blocks in one range.
    width: u64,
    /// A range was refused: widths grow slowly from now on.
    refused: bool,
    progress: Option<Progress>,
}

/// Whether a round caught up with the chain.
enum Step {
    CaughtUp,
    Behind { at: u64, to: u64 },
}

impl Mirror {
    /// Runs until `stop` is cancelled.
    ///
    /// # Errors
    /// When going on would be wrong: another chain, a reorg below the confirmed block, a broken view.
    pub async fn run(self, stop: CancellationToken) -> Result<(), MirrorError> {
        let heads = Heads::default();
        let run = async {
            tokio::select! {
                ended = self.follow(&heads) => ended,
                never = heads.listen(&self.heads) => match never {},
            }
        };
        stop.run_until_cancelled(run).await.unwrap_or(Ok(()))
    }

    async fn follow(&self, heads: &Heads) -> Result<(), MirrorError> {
        let mut run = Run {
            chain_checked: false,
            proven: false,
            ranged: true,
            doubtful: None,
            width: WIDTH,
            refused: false,
            progress: None,
        };
        loop {
            let asked = Instant::now();
            match self.round(&mut run).await {
                Ok(Step::CaughtUp) => {
                    if let Some(progress) = run.progress.take() {
                        progress.end(Instant::now());
                    }
                    self.publish(State::Following, Some(asked));
                    heads.next(self.poll).await;
                }
                Ok(Step::Behind { at, to }) => self.publish(State::Backfilling { at, to }, None),
                Err(RoundError::Fatal(error)) => {
                    // What is being answered at this moment may not rest on it either.
                    self.forget_freshness();
                    return Err(error);
                }
                Err(error) => {
                    let reason = error.reason();
                    self.metrics.failed(&error);
                    tracing::warn!(%reason, "the node's answer cannot be used");
                    self.nodes.fail_over();
                    if error.doubts_the_mirror() {
                        self.forget_freshness();
                    }
                    self.publish(State::Failing { reason }, None);
                    tokio::time::sleep(self.poll).await;
                }
            }
        }
    }

    /// Nothing is released until the nodes confirm the mirror's head again.
    pub(crate) fn forget_freshness(&self) {
        self.pulse.send_modify(|pulse| pulse.fresh_at = None);
    }

    /// A failing round leaves `fresh_at` as it was, so that staleness counts from the last good answer, and `behind`, since what
    /// was missing is still missing.
    fn publish(&self, state: State, fresh_at: Option<Instant>) {
        self.pulse.send_modify(|pulse| {
            pulse.behind = match &state {
                State::Starting | State::Following => 0,
                State::Backfilling { at, to } => to.saturating_sub(*at),
                State::Failing { .. } => pulse.behind,
            };
            pulse.state = state;
            pulse.fresh_at = fresh_at.or(pulse.fresh_at);
        });
    }

    async fn round(&self, run: &mut Run) -> Result<Step, RoundError> {
        if !run.chain_checked {
            self.check_chain().await?;
            run.chain_checked = true;
        }
        let Some(cursor) = self.view.cursor()? else {
            self.begin().await?;
            return Ok(Step::Behind { at: 0, to: self.first_block });
        };
        let chain_head = self.nodes.head().await?.block();
        let ours = cursor.head;
        if chain_head.number < ours.number {
            self.unwind_if_forked(cursor, chain_head).await?;
            return Err(RoundError::NodeBehind { node: chain_head.number, ours: ours.number });
        }
        if chain_head.number == ours.number && chain_head.hash != ours.hash {
            self.unwind(cursor).await?;
            return Ok(Step::Behind { at: ours.number, to: chain_head.number });
        }
        let head = if chain_head.number == ours.number {
            ours
        } else {
            self.extend(run, cursor, chain_head).await?
        };
        if head.hash != chain_head.hash {
            return Ok(Step::Behind { at: head.number, to: chain_head.number });
        }
        self.settle(run, head).await?;
        Ok(Step::CaughtUp)
    }

    /// The node's chain, and the code of each contract, are those of the manifest.
    async fn check_chain(&self) -> Result<(), RoundError> {
        let expected = self.chain_id;
        let served = self.nodes.serve_chain(expected).await?;
        served.map_err(|got| MirrorError::WrongChain { expected, got })?;
        for &(address, expected) in &self.contracts {
            let Some(got) = self.nodes.code_hash(address).await? else {
                return Err(MirrorError::NoContract { address }.into());
            };
            if let Some(expected) = expected.filter(|expected| *expected != got) {
                return Err(MirrorError::WrongCode { address, expected, got }.into());
            }
        }
        if let Family::Adapted(adapter) = &self.family {
            let head = self.nodes.head().await?.block();
            self.check_ties(adapter.as_ref(), head).await?;
        }
        Ok(())
    }

    /// The contracts name each other as the manifest does. They can be set up anew, and no event tells.
    async fn check_ties(&self, adapter: &dyn Adapter, head: Block) -> Result<(), RoundError> {
        let ties = adapter.ties();
        let call = |tie: &Tie| Call {
            at: head.as_ref(),
            contract: tie.contract,
            input: tie.input.clone(),
        };
        let calls: Vec<Call> = ties.iter().map(call).collect();
        let answers = self.nodes.answers(&calls).await?;
        for (Tie { contract, names: expected, .. }, got) in ties.into_iter().zip(answers) {
            if got.as_ref() != expected.into_word().as_slice() {
                return Err(MirrorError::Untied { contract, expected, got }.into());
            }
        }
        Ok(())
    }

    /// The block before the first is the ground that the first must join; it is confirmed by the operator's manifest, and holds
    /// no event.
    async fn begin(&self) -> Result<(), RoundError> {
        let ground = self.nodes.header(self.first_block.saturating_sub(1)).await?.block();
        self.view.apply(&[BlockEvents { block: ground, events: Vec::new() }])?;
        self.view.prove(ground.number)?;
        Ok(())
    }

    /// Mirrors what comes next; gives the mirror's head thereafter.
    async fn extend(
        &self,
        run: &mut Run,
        cursor: Cursor,
        chain_head: Block,
    ) -> Result<Block, RoundError> {
        let (ours, to) = (cursor.head, chain_head.number);
        let doubtful = run.doubtful.filter(|last| ours.number < *last);
        let near = doubtful.map_or(to.saturating_sub(NEAR), |last| last.min(to));
        if doubtful.is_some() || near > ours.number {
            // Nothing is released over rows that neither the agreed head nor a journal vouches for yet, not even while the last
            // good answer is recent: the next one may never come.
            self.forget_freshness();
            self.publish(State::Backfilling { at: ours.number, to }, None);
            let how = doubtful.map_or(self.family.far(self.backfill), |_| Backfill::Receipts);
            return self.extend_far(run, cursor, how, near, to).await;
        }
        let blocks = self.fetch().by_receipts(ours.number + 1, to).await?;
        // One endpoint gave the blocks: before a row of them shows, they must end in the head that the quorum agrees on.
        if blocks.last().is_none_or(|last| last.block.hash != chain_head.hash) {
            return Err(verify::Lie::ParentLink { number: to }.into());
        }
        match self.append(ours, &blocks).await? {
            Some(head) => Ok(head),
            None => self.part(cursor).await,
        }
    }

    fn fetch(&self) -> Fetch {
        let (nodes, family) = (self.nodes.clone(), self.family.clone());
        Fetch { node: nodes.any().clone(), nodes, family }
    }

    /// Several ranges in flight up to block `last`, written in order. A range that is refused is asked for again at half the
    /// width.
    async fn extend_far(
        &self,
        run: &mut Run,
        cursor: Cursor,
        how: Backfill,
        last: u64,
        to: u64,
    ) -> Result<Block, RoundError> {
        let width = run.width;
        let firsts = (cursor.head.number + 1..=last).step_by(usize::try_from(width).unwrap_or(1));
        let mut ranges = stream::iter(firsts.take(RANGES))
            .map(|first| self.fetch().apart(how, first, (first + width - 1).min(last)))
            .buffered(RANGES_IN_FLIGHT);
        let (mut head, mut most) = (cursor.head, 0);
        run.ranged |= how == Backfill::Logs;
        let progress = run.progress.get_or_insert_with(|| Progress::begin(Instant::now()));
        while let Some(range) = ranges.next().await {
            let blocks = match range {
                Err(error) if error.is_refusal() && width > 1 => {
                    (run.width, run.refused) = (width / 2, true);
                    tracing::debug!(%error, "asking for {} blocks at once from now on", run.width);
                    return Ok(head);
                }
                range => range?,
            };
            let appended = match self.append(head, &blocks).await {
                Err(error @ RoundError::Contradiction(_)) => {
                    // Either this range is wrong, or something before it: the journals know.
                    run.doubtful = blocks.last().map(|last| last.block.number);
                    self.prove(run, head.number).await?;
                    return Err(error);
                }
                appended => appended?,
            };
            match appended {
                Some(next) => head = next,
                None if head == cursor.head => return self.part(cursor).await,
                None => return Ok(head),
            }
            let events: u64 = blocks.iter().map(|block| block.events.len() as u64).sum();
            most = events.max(most);
            progress.step(Instant::now(), blocks.len() as u64, events, head.number, to);
        }
        run.width = next_width(width, most, run.refused);
        Ok(head)
    }

    /// Writes blocks that continue `head`; nothing if they do not. Gives the head thereafter.
    async fn append(
        &self,
        head: Block,
        blocks: &[BlockEvents],
    ) -> Result<Option<Block>, RoundError> {
        let (Some(first), Some(last)) = (blocks.first(), blocks.last()) else {
            return Ok(Some(head));
        };
        if first.block.parent != head.hash {
            return Ok(None);
        }
        for pair in blocks.windows(2) {
            if let [parent, child] = pair {
                verify::joins(&parent.block, &child.block)?;
            }
        }
        self.check_settled(blocks).await?;
        self.view.apply(blocks)?;
        let events: usize = blocks.iter().map(|block| block.events.len()).sum();
        self.metrics.mirrored(blocks.len() as u64, events as u64);
        for block in blocks.iter().filter(|block| !block.events.is_empty()) {
            let (number, events) = (block.block.number, block.events.len());
            tracing::debug!(block.number = number, events, "block {number}: {events} events");
        }
        Ok(Some(last.block))
    }

    /// A mirror that went back behind its confirmed block must find that very block again.
    async fn check_settled(&self, blocks: &[BlockEvents]) -> Result<(), RoundError> {
        let Some(settled) = self.view.settled()? else { return Ok(()) };
        let same_height = blocks.iter().find(|block| block.block.number == settled.number);
        if same_height.is_none_or(|block| block.block.hash == settled.hash) {
            return Ok(());
        }
        let number = settled.number;
        if self.nodes.header(number).await?.block().hash == settled.hash {
            return Err(verify::Lie::ParentLink { number }.into());
        }
        Err(MirrorError::ReorgBelowConfirmed { confirmed: number }.into())
    }

    /// Confirms what is deep enough, proven first when that is due. What came from ranges of logs is proven at the head. Of contracts
    /// without journals, receipts and a quorum have proven all there is; what is looked at again is how they name each other.
    async fn settle(&self, run: &mut Run, head: Block) -> Result<(), RoundError> {
        if run.ranged {
            self.prove(run, head.number).await?;
            run.ranged = false;
        }
        let confirmed = self.view.cursor()?.map_or(0, |cursor| cursor.confirmed.number);
        let number = self.deep_enough(head).await?.clamp(confirmed, head.number.max(confirmed));
        let proven = self.view.proven()?.map(|block| block.number);
        let due = proven.is_none_or(|proven| number >= proven.saturating_add(self.prove_every));
        if run.proven && !due {
            self.view.confirm(number)?;
        } else {
            match &self.family {
                Family::Native(_) => self.prove(run, number).await?,
                Family::Adapted(adapter) => self.check_ties(adapter.as_ref(), head).await?,
            }
            self.view.confirm(number)?;
            self.view.prove(number)?;
            self.metrics.proved();
            run.proven = true;
            run.doubtful = None;
            tracing::debug!(block.number = number, "the mirror is proven at block {number}");
        }
        if number > confirmed {
            self.view.prune(self.history)?;
        }
        Ok(())
    }

    async fn deep_enough(&self, head: Block) -> Result<u64, RoundError> {
        match self.confirmation {
            Confirmation::Blocks(depth) => Ok(head.number.saturating_sub(depth)),
            Confirmation::Safe => self.tagged(BlockNumberOrTag::Safe).await,
            Confirmation::Finalized => self.tagged(BlockNumberOrTag::Finalized).await,
        }
    }

    /// The height of a tagged block, zero if it is not on our chain (yet).
    async fn tagged(&self, tag: BlockNumberOrTag) -> Result<u64, RoundError> {
        let theirs = self.nodes.reached(tag).await?.block();
        let ours = self.view.header(theirs.number)?;
        Ok(if ours.is_some_and(|ours| ours.hash == theirs.hash) { theirs.number } else { 0 })
    }
}

/// How wide ranges should be after ranges of `width` blocks that brought at most `events` each.
fn next_width(width: u64, events: u64, refused: bool) -> u64 {
    let growth = if refused { width.div_ceil(4) } else { width };
    let fitting = width * EVENTS / events.max(1);
    fitting.clamp(1, (width + growth).min(WIDEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_grow_on_an_empty_chain_and_shrink_on_a_full_one() {
        assert_eq!(next_width(16, 0, false), 32);
        assert_eq!(next_width(16, 0, true), 20);
        assert_eq!(next_width(1, 0, true), 2);
        assert_eq!(next_width(WIDEST, 0, false), WIDEST);
        assert_eq!(next_width(16, 8192, false), 8);
        assert_eq!(next_width(16, 4096, false), 16);
        assert_eq!(next_width(1, 1_000_000, false), 1);
    }
}
