//! When a block is deep enough for the operator.

use std::{fmt, str::FromStr};

/// How the confirmed block is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirmation {
    /// This many blocks below the head.
    Blocks(u64),
    /// The node's `safe` block.
    Safe,
    /// The node's `finalized` block.
    Finalized,
}

/// The text is neither a number of blocks nor `safe` or `finalized`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a number of blocks, `safe` or `finalized`")]
pub struct ParseConfirmationError;

impl FromStr for Confirmation {
    type Err = ParseConfirmationError;

    fn from_str(text: &str) -> Result<Self, ParseConfirmationError> {
        match text {
            "safe" => Ok(Self::Safe),
            "finalized" => Ok(Self::Finalized),
            number => number.parse().map(Self::Blocks).map_err(|_| ParseConfirmationError),
        }
    }
}

impl fmt::Display for Confirmation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blocks(depth) => write!(f, "{depth}"),
            Self::Safe => f.write_str("safe"),
            Self::Finalized => f.write_str("finalized"),
        }
    }
}

#[cfg(test)]
mod tests;
