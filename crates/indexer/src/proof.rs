//! The journals: what the chain proves of them against what was mirrored, and which range is wrong when they differ.

use crate::{
    error::RoundError,
    family::Family,
    mirror::{Mirror, Run},
    source::SourceError,
    verify::Lie,
};

impl Mirror {
    /// Compares the journals after block `number`. When they differ, takes back every block since the last that can be shown to
    /// be right, and has the wrong range fetched again by receipts.
    pub(crate) async fn prove(&self, run: &mut Run, number: u64) -> Result<(), RoundError> {
        run.proven = false;
        let Family::Native(_) = self.family else { return Ok(()) };
        let Some(lie) = self.differing(number).await? else { return Ok(()) };
        let ground = self.first_block.saturating_sub(1);
        let right = self.view.proven()?.map_or(ground, |proven| proven.number);
        let (right, wrong) = self.bisect(right, number).await;
        tracing::error!(
            check = lie.name(),
            "{lie}: blocks {} to {wrong} were mirrored wrongly and are fetched again by receipts",
            right + 1
        );
        self.view.retract(right)?;
        run.doubtful = Some(wrong);
        Err(lie.into())
    }

    /// The newest block that is right and the oldest that is wrong, as far as the node still has the proofs.
    async fn bisect(&self, mut right: u64, mut wrong: u64) -> (u64, u64) {
        while wrong.saturating_sub(right) > 1 {
            let middle = right + (wrong - right) / 2;
            match self.differing(middle).await {
                Ok(None) => right = middle,
                Ok(Some(_)) => wrong = middle,
                Err(error) => {
                    tracing::warn!(%error, "no proof at block {middle}");
                    break;
                }
            }
        }
        (right, wrong)
    }

    /// The first journal that is proven to be another than ours.
    async fn differing(&self, number: u64) -> Result<Option<Lie>, RoundError> {
        let node = self.nodes.any();
        let header = node.header(number.into()).await?;
        let ours = self.view.header(number)?.map(|block| block.hash);
        if ours != Some(header.block().hash) {
            return Err(SourceError::NoBlock(number.into()).into());
        }
        let journals = node.journals(&header).await?;
        let Some(snapshot) = self.view.snapshot()? else { return Ok(None) };
        for (registry, proven) in journals {
            if snapshot.journal_at(registry, number)? != proven {
                return Ok(Some(Lie::JournalMismatch { number, registry }));
            }
        }
        Ok(None)
    }
}
