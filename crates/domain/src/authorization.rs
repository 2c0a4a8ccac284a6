//! Authorizations: which enclave an owner lets near an asset.

use alloy_primitives::{Address, U256};

use crate::AssetId;

/// What an owner asks of a task before an enclave may use the asset.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Terms {
    /// First second at which the authorization holds; 0 for none.
    pub not_before: u64,
    /// Last second at which it holds; 0 for none.
    pub not_after: u64,
    /// The one app that may use a protected data; zero for any.
    pub app: AssetId,
    /// The one requester that may use the asset; zero for any.
    pub requester: Address,
    /// The one SMS identity that may release it; zero for any.
    pub sms: Address,
    /// How many tasks may use the authorization; 0 for no limit.
    pub max_tasks: u64,
    /// The ERC-20 in which the price is paid; zero for the native coin.
    pub currency: Address,
    /// What one task pays, in the currency's smallest unit.
    pub price: U256,
}

/// The authorization of one (asset, enclave), as last written; revoking deletes it from the view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorization {
    /// The asset's epoch when it was given: void in any other.
    pub epoch: u64,
    /// Rises with every authorization of the pair.
    pub serial: u64,
    /// On which terms.
    pub terms: Terms,
}
