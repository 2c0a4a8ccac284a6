//! Why a round comes to nothing, and what stops the mirror for good.

use alloy::primitives::{Address, B256, Bytes};
use sesame_view::WriteError;

use crate::{decode::DecodeError, source::SourceError, verify};

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
    /// A contract names another one than the manifest does: what it says from now on is about what nobody mirrors.
    #[error(
        "the contract at {contract} names {got} where the manifest says {expected}: \
         it was set up anew, or the manifest is another deployment's"
    )]
    Untied {
        /// Who was asked.
        contract: Address,
        /// What the manifest says.
        expected: Address,
        /// What it answers; an address has 32 bytes, padded.
        got: Bytes,
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
pub(crate) enum RoundError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("the events of a range contradict the mirror")]
    Contradiction(#[source] WriteError),
    #[error("the node is at block {node}, behind the index at {ours}")]
    NodeBehind { node: u64, ours: u64 },
    #[error(transparent)]
    Fatal(#[from] MirrorError),
}

impl RoundError {
    /// The failed check's stable name.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Source(error) => error.name(),
            Self::Decode(DecodeError::FalseFact { .. }) => "false_fact",
            Self::Decode(_) => "undecodable_log",
            Self::Contradiction(_) => "events_contradict",
            Self::NodeBehind { .. } => "node_behind",
            Self::Fatal(_) => "fatal",
        }
    }

    /// What a refusal says: the name, and what went wrong. No causes, since they may quote the endpoint's url, which may hold a
    /// key.
    pub(crate) fn reason(&self) -> String {
        format!("{}: {self}", self.name())
    }

    /// Whether a smaller range may be answered.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Source(error) if error.is_refusal())
    }

    /// Whether a node was caught: what it said does not hold together. A node that is silent, slow or behind was not.
    pub(crate) const fn is_lie(&self) -> bool {
        match self {
            Self::Source(SourceError::Lie(_) | SourceError::FactsDiffer(_))
            | Self::Decode(_)
            | Self::Contradiction(_) => true,
            Self::Source(_) | Self::NodeBehind { .. } | Self::Fatal(_) => false,
        }
    }

    /// Whether the mirror itself is in doubt.
    pub(crate) const fn doubts_the_mirror(&self) -> bool {
        match self {
            Self::Source(SourceError::Lie(lie)) => lie.doubts_the_mirror(),
            Self::Contradiction(_) => true,
            Self::Source(_) | Self::Decode(_) | Self::NodeBehind { .. } | Self::Fatal(_) => false,
        }
    }
}

impl From<WriteError> for RoundError {
    fn from(error: WriteError) -> Self {
        if matches!(error, WriteError::Contradiction { .. }) {
            return Self::Contradiction(error);
        }
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

#[cfg(test)]
mod tests;
