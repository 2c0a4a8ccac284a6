//! Whose logs are mirrored: those of our own registries, or those of another family of contracts.

use std::{collections::HashMap, fmt, sync::Arc};

use alloy::{
    primitives::{Address, Bytes},
    rpc::types::Log,
};
use sesame_domain::{Block, BlockRef, ChainEvent};

use crate::{
    decode::{DecodeError, Decoder},
    fetch::Backfill,
    verify::Watched,
};

/// The contracts that a mirror follows.
#[derive(Debug, Clone)]
pub enum Family {
    /// Our own registries: a log says everything, and journals prove that none is missing.
    Native(Decoder),
    /// Contracts of others.
    Adapted(Arc<dyn Adapter>),
}

/// What the logs of somebody else's contracts mean.
///
/// Such contracts keep no journals, so every log is taken from receipts that the header proves, however far back. What the logs do
/// not say is read by `eth_call` at the very block, of a quorum of endpoints.
pub trait Adapter: fmt::Debug + Send + Sync {
    /// The contracts with the first topics of the events that the view needs.
    fn watched(&self) -> Vec<Watched>;

    /// What the contracts have to say of each other, at any time.
    fn ties(&self) -> Vec<Tie>;

    /// What the logs of a block say. A fact that is not known yet is asked for by [`Facts::read`], and what comes of the block
    /// without it is thrown away.
    ///
    /// # Errors
    /// When a log, or a fact, cannot be what the contracts said.
    fn events(
        &self,
        block: &Block,
        logs: &[Log],
        facts: &mut Facts,
    ) -> Result<Vec<ChainEvent>, DecodeError>;
}

/// A contract's word about the address of another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tie {
    /// Who is asked.
    pub contract: Address,
    /// What: the call of a view that answers with an address.
    pub input: Bytes,
    /// The answer that the deployment's manifest gives.
    pub names: Address,
}

/// A call of a contract's view, by the state after a block.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Call {
    /// After which block.
    pub at: BlockRef,
    /// Who is asked.
    pub contract: Address,
    /// What.
    pub input: Bytes,
}

/// What contracts answered, and what they have to be asked next.
#[derive(Debug, Default)]
pub struct Facts(HashMap<Call, Option<Bytes>>);

impl Facts {
    /// The answer, if it is known; it is asked for otherwise.
    pub fn read(&mut self, call: Call) -> Option<Bytes> {
        self.0.entry(call).or_default().clone()
    }

    /// What was asked for and is not known, oldest block first.
    #[must_use]
    pub fn wanted(&self) -> Vec<Call> {
        let unknown = self.0.iter().filter(|(_, answer)| answer.is_none());
        let mut wanted: Vec<Call> = unknown.map(|(call, _)| call.clone()).collect();
        wanted.sort_unstable_by_key(|call| call.at.number);
        wanted
    }

    /// An answer.
    pub fn learn(&mut self, call: Call, answer: Bytes) {
        self.0.insert(call, Some(answer));
    }
}

impl Family {
    /// The contracts with the first topics of the events that the view needs.
    pub(crate) fn watched(&self) -> Vec<Watched> {
        match self {
            Self::Native(decoder) => decoder.watched(),
            Self::Adapted(adapter) => adapter.watched(),
        }
    }

    /// Where far blocks are read from if the operator wants it this way. Ranges of logs are believed where journals prove them in
    /// the end, and there alone.
    pub(crate) const fn far(&self, wanted: Backfill) -> Backfill {
        match self {
            Self::Native(_) => wanted,
            Self::Adapted(_) => Backfill::Receipts,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(number: u64, input: &'static [u8]) -> Call {
        let at = BlockRef { number, ..BlockRef::default() };
        Call { at, contract: Address::ZERO, input: Bytes::from_static(input) }
    }

    #[test]
    fn a_fact_is_wanted_once_until_it_is_known() {
        let mut facts = Facts::default();
        assert_eq!(facts.wanted(), []);
        for question in [call(2, b"a"), call(1, b"a"), call(2, b"a")] {
            assert_eq!(facts.read(question), None);
        }
        assert_eq!(facts.wanted(), [call(1, b"a"), call(2, b"a")]);
        facts.learn(call(2, b"a"), Bytes::new());
        assert_eq!(facts.read(call(2, b"a")), Some(Bytes::new()));
        assert_eq!(facts.wanted(), [call(1, b"a")], "known at one block is not known at another");
    }
}
