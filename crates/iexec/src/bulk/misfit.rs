//! Why a dataset's order does not fit a deal.

use std::fmt;

use alloy_primitives::{Address, B256, U256};

use super::LEAST_VOLUME;

/// The reason, in words that its owner or the requester can act on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Misfit {
    /// A field is not what it should be.
    #[error("the order's {0} is malformed")]
    Malformed(&'static str),
    /// The order is for few tasks.
    #[error("the order's volume is {0}, and a bulk takes orders of {LEAST_VOLUME} and more")]
    VolumeTooSmall(U256),
    /// The order was closed, or deals have used all of it.
    #[error("the order is used up, or was closed by the dataset's owner")]
    UsedUp,
    /// No registry minted the dataset.
    #[error("the dataset is not registered")]
    DatasetUnknown,
    /// The signature is not that of the owner's key, and the owner did not sign on the chain.
    #[error(
        "the order is signed neither by the key of the dataset's present owner {owner}, nor by that owner on the chain"
    )]
    NotSigned {
        /// Who owns the dataset.
        owner: Address,
    },
    /// The task is of no deal.
    #[error("the task is not of a deal")]
    NoDeal,
    /// The deal has a dataset of its own.
    #[error("the deal names a dataset, and so takes no others")]
    DealHasDataset,
    /// The order is for somebody else, or for a group.
    #[error(
        "the order is for the {what} {to} alone, which is not the deal's and may be a group that has it as a member"
    )]
    NeedsGroup {
        /// What it is restricted to.
        what: Restriction,
        /// The address.
        to: Address,
    },
    /// The deal's tag lacks what the order asks for.
    #[error("the deal's tag lacks {missing}, which the order asks for")]
    Tag {
        /// The bits.
        missing: B256,
    },
}

/// What an order may be restricted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restriction {
    /// An app.
    App,
    /// A workerpool.
    Workerpool,
    /// A requester.
    Requester,
}

impl fmt::Display for Restriction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::App => "app",
            Self::Workerpool => "workerpool",
            Self::Requester => "requester",
        })
    }
}

impl Misfit {
    /// The reason as one word.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::VolumeTooSmall(_) => "volume_too_small",
            Self::UsedUp => "used_up",
            Self::DatasetUnknown => "dataset_unknown",
            Self::NotSigned { .. } => "not_signed",
            Self::NoDeal => "no_deal",
            Self::DealHasDataset => "deal_has_dataset",
            Self::NeedsGroup { .. } => "needs_group",
            Self::Tag { .. } => "tag",
        }
    }

    /// Whether the hub, asked by `assertDatasetDealCompatibility`, may find that it fits after all: the owner may be a contract
    /// with a signature of its own (ERC-1271), and what the order is restricted to a group (ERC-734).
    #[must_use]
    pub const fn a_contract_may_say_otherwise(&self) -> bool {
        match self {
            Self::NotSigned { .. } | Self::NeedsGroup { .. } => true,
            Self::Malformed(_)
            | Self::VolumeTooSmall(_)
            | Self::UsedUp
            | Self::DatasetUnknown
            | Self::NoDeal
            | Self::DealHasDataset
            | Self::Tag { .. } => false,
        }
    }
}
