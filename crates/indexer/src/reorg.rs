//! Going back to what the chain still has.

use sesame_domain::Block;
use sesame_view::Cursor;

use crate::{
    error::{MirrorError, RoundError},
    mirror::Mirror,
    source::SourceError,
    verify,
};

impl Mirror {
    /// What comes next does not continue the mirror: either the chain was rewritten, or this endpoint is on a fork of its own.
    pub(crate) async fn part(&self, cursor: Cursor) -> Result<Block, RoundError> {
        let head = cursor.head;
        match self.nodes.header(head.number).await {
            Ok(theirs) if theirs.block().hash == head.hash => {
                Err(verify::Lie::ParentLink { number: head.number + 1 }.into())
            }
            Ok(_) | Err(SourceError::NoBlock(_)) => {
                self.unwind(cursor).await?;
                Ok(self.view.cursor()?.map_or(head, |cursor| cursor.head))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Goes back to the newest block that the chain still has.
    pub(crate) async fn unwind(&self, cursor: Cursor) -> Result<(), RoundError> {
        let Some(number) = self.shared(cursor).await? else {
            let confirmed = cursor.confirmed.number;
            return Err(MirrorError::ReorgBelowConfirmed { confirmed }.into());
        };
        let depth = cursor.head.number - number;
        tracing::warn!(block.number = number, depth, "reorg: {depth} blocks undone");
        // What was undone may have been a revocation: nothing is released before the node confirms the new head.
        self.forget_freshness();
        self.view.unwind(number)?;
        self.metrics.undid(depth);
        Ok(())
    }

    /// The newest of our blocks that the chain still has; none if it lacks even the confirmed one. Most reorgs are short, so
    /// the steps back begin with one block and double; what lies within the last step is halved.
    async fn shared(&self, cursor: Cursor) -> Result<Option<u64>, RoundError> {
        let confirmed = cursor.confirmed.number;
        let (mut gone, mut step) = (cursor.head.number + 1, 1);
        let mut there = loop {
            let number = gone.saturating_sub(step).max(confirmed);
            if self.stands(number).await? {
                break number;
            }
            if number == confirmed {
                return Ok(None);
            }
            (gone, step) = (number, step * 2);
        };
        while gone - there > 1 {
            let middle = there + (gone - there) / 2;
            let stands = self.stands(middle).await?;
            *(if stands { &mut there } else { &mut gone }) = middle;
        }
        Ok(Some(there))
    }

    /// Whether our block of this height is still the chain's.
    async fn stands(&self, number: u64) -> Result<bool, RoundError> {
        match self.nodes.header(number).await {
            Ok(theirs) => {
                let ours = self.view.header(number)?;
                Ok(ours.is_some_and(|ours| ours.hash == theirs.block().hash))
            }
            Err(SourceError::NoBlock(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// A node behind us may only be slow; if it is on another fork, the blocks above the fork are gone.
    pub(crate) async fn unwind_if_forked(
        &self,
        cursor: Cursor,
        chain_head: Block,
    ) -> Result<(), RoundError> {
        match self.view.header(chain_head.number)? {
            Some(ours) if ours.hash != chain_head.hash => self.unwind(cursor).await,
            _ => Ok(()),
        }
    }
}
