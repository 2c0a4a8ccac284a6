//! What a node says, checked. Pure.

use alloy::{
    primitives::{B256, Bloom, BloomInput},
    rpc::types::{Header, Log},
};
use sesame_domain::Block;

/// A check that a node's answer failed. Each has a name that logs, metrics and refusals carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are heights; the variants are documented")]
pub enum Lie {
    /// The header does not hash to the hash given for it.
    #[error("block {number} does not hash to its own hash")]
    BlockHash { number: u64 },
    /// A block of another height than was asked for.
    #[error("asked for block {asked}, got block {got}")]
    WrongBlock { asked: u64, got: u64 },
    /// The block does not name its predecessor as parent.
    #[error("block {number} does not join block {} before it", number.saturating_sub(1))]
    ParentLink { number: u64 },
    /// A log given for a block of another hash.
    #[error("a log was given for block {number} that belongs to another block")]
    LogOfOtherBlock { number: u64 },
    /// A log of a contract that was not asked for, or out of order.
    #[error("the logs of block {number} are not what was asked for, or out of order")]
    LogsOutOfPlace { number: u64 },
    /// A log that the header's bloom excludes.
    #[error("a log of block {number} does not fit the block's bloom")]
    LogNotInBloom { number: u64 },
}

impl Lie {
    /// The check's stable name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::BlockHash { .. } => "block_hash",
            Self::WrongBlock { .. } => "wrong_block",
            Self::ParentLink { .. } => "parent_link",
            Self::LogOfOtherBlock { .. } => "log_of_other_block",
            Self::LogsOutOfPlace { .. } => "logs_out_of_place",
            Self::LogNotInBloom { .. } => "log_not_in_bloom",
        }
    }
}

/// A header that hashes to its own hash. Only [`VerifiedHeader::check`] makes one.
#[derive(Debug, Clone, Copy)]
pub struct VerifiedHeader {
    block: Block,
    bloom: Bloom,
}

impl VerifiedHeader {
    /// Recomputes the header's hash.
    ///
    /// # Errors
    /// When it differs from the hash given.
    pub fn check(header: &Header) -> Result<Self, Lie> {
        let hash = header.inner.hash_slow();
        if hash != header.hash {
            return Err(Lie::BlockHash { number: header.inner.number });
        }
        Ok(Self {
            block: Block {
                number: header.inner.number,
                hash,
                parent: header.inner.parent_hash,
                timestamp: header.inner.timestamp,
            },
            bloom: header.inner.logs_bloom,
        })
    }

    /// What the mirror keeps of it.
    #[must_use]
    pub const fn block(&self) -> Block {
        self.block
    }

    /// Whether `logs`, in the order given, can be logs of this block.
    ///
    /// # Errors
    /// When one belongs to another block, is out of order, or is excluded by the bloom.
    pub fn owns(&self, logs: &[Log]) -> Result<(), Lie> {
        let number = self.block.number;
        let mut previous = None;
        for log in logs {
            if log.block_hash != Some(self.block.hash) || log.block_number != Some(number) {
                return Err(Lie::LogOfOtherBlock { number });
            }
            if log.removed || log.log_index.is_none() || log.log_index <= previous {
                return Err(Lie::LogsOutOfPlace { number });
            }
            previous = log.log_index;
            if !self.blooms(log.inner.address.as_slice(), log.topics()) {
                return Err(Lie::LogNotInBloom { number });
            }
        }
        Ok(())
    }

    fn blooms(&self, address: &[u8], topics: &[B256]) -> bool {
        self.bloom.contains_input(BloomInput::Raw(address))
            && topics.iter().all(|topic| self.bloom.contains_input(BloomInput::Raw(topic.as_ref())))
    }
}

/// Whether `child` follows `parent`.
///
/// # Errors
/// When it names another parent.
pub(crate) fn joins(parent: &Block, child: &Block) -> Result<(), Lie> {
    if child.number == parent.number + 1 && child.parent == parent.hash {
        Ok(())
    } else {
        Err(Lie::ParentLink { number: child.number })
    }
}

#[cfg(test)]
mod tests;
