//! Asking contracts for what their logs leave open.

use alloy::{
    primitives::Address,
    sol_types::{SolCall, abi::AbiDecoderConfig},
};
use sesame_domain::Block;
use sesame_indexer::{Call, DecodeError, Facts};

/// What a contract encodes has one encoding: any other was made by somebody else.
pub(super) const STRICT: AbiDecoderConfig = AbiDecoderConfig::new().strict(true);

/// Why a log says nothing.
#[derive(Debug)]
pub(super) enum Stop {
    /// A fact is not known yet; it is asked for.
    Unknown,
    /// It cannot be what the contracts said.
    Refused(DecodeError),
}

impl Stop {
    /// The contract was said to answer what it cannot have answered.
    pub(super) const fn lie(contract: Address, what: &'static str) -> Self {
        Self::Refused(DecodeError::FalseFact { contract, what })
    }
}

/// Asks for facts after one block.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    pub(super) block: &'a Block,
    pub(super) facts: &'a mut Facts,
}

impl Reader<'_> {
    /// What `contract` answers.
    pub(super) fn ask<C: SolCall>(
        &mut self,
        contract: Address,
        call: &C,
    ) -> Result<C::Return, Stop> {
        let input = call.abi_encode().into();
        let answer = self.facts.read(Call { at: self.block.as_ref(), contract, input });
        let answer = answer.ok_or(Stop::Unknown)?;
        C::abi_decode_returns_with_config(&answer, STRICT)
            .map_err(|_| Stop::lie(contract, "the answer is not of the view's type"))
    }
}
