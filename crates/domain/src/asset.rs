//! Assets: who owns what.

use alloy_primitives::{Address, B256};

use crate::ParseIdError;

/// What an asset is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum AssetKind {
    /// An application.
    App = 1,
    /// Encrypted content whose key the vault keeps.
    ProtectedData = 2,
    /// Workers under one scheduler (PoCo): what a deal is made with.
    Workerpool = 3,
}

impl TryFrom<u8> for AssetKind {
    type Error = ParseIdError;

    fn try_from(kind: u8) -> Result<Self, ParseIdError> {
        match kind {
            1 => Ok(Self::App),
            2 => Ok(Self::ProtectedData),
            3 => Ok(Self::Workerpool),
            other => Err(ParseIdError::NotAKind(other)),
        }
    }
}

/// An asset as a view knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asset {
    /// What it is.
    pub kind: AssetKind,
    /// Who owns it.
    pub owner: Address,
    /// How many times it changed hands since it was minted.
    pub epoch: u64,
    /// SHA-256 of its content; zero of a workerpool.
    pub digest: B256,
    /// Where its content is; empty of a workerpool.
    pub uri: String,
}
