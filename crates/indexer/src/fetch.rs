//! Blocks with their events: by ranges of logs when far from the head, by proven receipts when near or in doubt.

use alloy::rpc::types::Log;
use sesame_domain::{BlockEvents, EventAt};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::{
    decode::Decoder,
    error::RoundError,
    family::{Adapter, Facts, Family},
    quorum::Nodes,
    source::Node,
    verify::{Lie, VerifiedHeader},
};

/// What the mirror takes for a block's events when the block is far from the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Backfill {
    /// The logs that the node gives for ranges of blocks; the journals prove them in the end. Of contracts without journals the
    /// receipts are read all the same.
    #[default]
    Logs,
    /// The block's own receipts, which hash to its receipts root.
    Receipts,
}

/// One endpoint, and what its logs mean.
#[derive(Debug, Clone)]
pub(crate) struct Fetch {
    pub(crate) node: Node,
    pub(crate) nodes: Nodes,
    pub(crate) family: Family,
}

impl Fetch {
    /// Blocks from `first` to `last`, fetched and decoded by a task of its own, beside whoever writes them.
    pub(crate) async fn apart(
        self,
        how: Backfill,
        first: u64,
        last: u64,
    ) -> Result<Vec<BlockEvents>, RoundError> {
        let fetching = async move {
            match how {
                Backfill::Logs => self.by_logs(first, last).await,
                Backfill::Receipts => self.by_receipts(first, last).await,
            }
        };
        let task = AbortOnDropHandle::new(TaskTracker::new().spawn(fetching));
        task.await.unwrap_or_else(|died| std::panic::resume_unwind(died.into_panic()))
    }

    /// Blocks as the receipts root proves them: a block whose bloom promises nothing of ours has nothing of ours, and of any
    /// other the receipts are fetched.
    pub(crate) async fn by_receipts(
        &self,
        first: u64,
        last: u64,
    ) -> Result<Vec<BlockEvents>, RoundError> {
        let headers = self.node.headers(first, last).await?;
        let logs = vec![Vec::new(); headers.len()];
        self.settled(headers, logs, |_| true).await
    }

    /// Blocks with the logs that the node gives for the range. What the bloom promises beyond them is settled by receipts, unless
    /// the bloom is too full to tell; whether the rest is the truth, the journals show in the end.
    async fn by_logs(&self, first: u64, last: u64) -> Result<Vec<BlockEvents>, RoundError> {
        let (headers, logs) = futures::try_join!(
            self.node.headers(first, last),
            self.node.logs_between(first, last)
        )?;
        let mut rest = logs.into_iter().peekable();
        let mut logs = Vec::with_capacity(headers.len());
        for header in &headers {
            let number = Some(header.block().number);
            let own = std::iter::from_fn(|| rest.next_if(|log| log.block_number == number));
            logs.push(own.collect());
        }
        if let Some(stray) = rest.next() {
            return Err(
                Lie::LogsOutOfPlace { number: stray.block_number.unwrap_or_default() }.into()
            );
        }
        self.settled(headers, logs, |header| !header.bloom_is_full()).await
    }

    /// Replaces the logs of every block that is `worth` it and whose bloom promises more than came.
    async fn settled(
        &self,
        headers: Vec<VerifiedHeader>,
        mut logs: Vec<Vec<Log>>,
        worth: impl Fn(&VerifiedHeader) -> bool,
    ) -> Result<Vec<BlockEvents>, RoundError> {
        let watched = self.family.watched();
        let (mut open, mut slots) = (Vec::new(), Vec::new());
        for (header, logs) in headers.iter().zip(&mut logs) {
            if worth(header) && header.promises_more(&watched, logs) {
                open.push(*header);
                slots.push(logs);
            }
        }
        let proven = self.node.all_proven_logs(open).await?;
        for (slot, logs) in slots.into_iter().zip(proven) {
            *slot = logs;
        }
        for (header, logs) in headers.iter().zip(&logs) {
            header.owns(logs)?;
        }
        let blocks = headers.iter().zip(logs);
        match &self.family {
            Family::Native(decoder) => {
                blocks.map(|(header, logs)| native(decoder, header, &logs)).collect()
            }
            Family::Adapted(adapter) => self.adapted(adapter.as_ref(), blocks.collect()).await,
        }
    }

    /// What the logs say, as soon as every fact is known that they leave open.
    async fn adapted(
        &self,
        adapter: &dyn Adapter,
        blocks: Vec<(&VerifiedHeader, Vec<Log>)>,
    ) -> Result<Vec<BlockEvents>, RoundError> {
        let mut facts = Facts::default();
        loop {
            let mut decoded = Vec::with_capacity(blocks.len());
            for (header, logs) in &blocks {
                let block = header.block();
                let events = adapter.events(&block, logs, &mut facts)?.into_iter();
                let events = events.map(|event| EventAt { journal: None, event }).collect();
                decoded.push(BlockEvents { block, events });
            }
            let wanted = facts.wanted();
            if wanted.is_empty() {
                return Ok(decoded);
            }
            let answers = self.nodes.answers(&wanted).await?;
            wanted.into_iter().zip(answers).for_each(|(call, answer)| facts.learn(call, answer));
        }
    }
}

fn native(
    decoder: &Decoder,
    header: &VerifiedHeader,
    logs: &[Log],
) -> Result<BlockEvents, RoundError> {
    let block = header.block();
    let mut events = Vec::with_capacity(logs.len());
    for log in logs {
        events.extend(decoder.decode(log, block.timestamp)?);
    }
    Ok(BlockEvents { block, events })
}
