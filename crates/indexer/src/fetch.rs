//! Blocks with their events: by ranges of logs when far from the head, by proven receipts when near or in doubt.

use alloy::rpc::types::Log;
use sesame_domain::BlockEvents;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::{
    decode::Decoder,
    error::RoundError,
    source::Node,
    verify::{Lie, VerifiedHeader},
};

/// What the mirror takes for a block's events when the block is far from the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Backfill {
    /// The logs that the node gives for ranges of blocks; the journals prove them in the end.
    #[default]
    Logs,
    /// The block's own receipts, which hash to its receipts root.
    Receipts,
}

/// One endpoint, and what its logs mean.
#[derive(Debug, Clone)]
pub(crate) struct Fetch {
    pub(crate) node: Node,
    pub(crate) decoder: Decoder,
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
        let watched = self.decoder.watched();
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
        headers.iter().zip(logs).map(|(header, logs)| self.events(header, &logs)).collect()
    }

    fn events(&self, header: &VerifiedHeader, logs: &[Log]) -> Result<BlockEvents, RoundError> {
        header.owns(logs)?;
        let block = header.block();
        let mut events = Vec::with_capacity(logs.len());
        for log in logs {
            events.extend(self.decoder.decode(log, block.timestamp)?);
        }
        Ok(BlockEvents { block, events })
    }
}
