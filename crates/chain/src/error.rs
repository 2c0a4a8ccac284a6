//! Why a question to the chain or a transaction came to nothing.

use std::{error::Error as _, time::Duration};

use alloy::{
    primitives::{Address, B256},
    transports::{RpcError, TransportErrorKind},
};
use url::Url;

use crate::refusal::{Refused, refusal_of};

/// A question to the chain or a transaction came to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// The contract said no.
    #[error("the contract refused: {0}")]
    Refused(#[from] Box<Refused>),
    /// The node's address is no URL.
    #[error("the node's address is not a URL")]
    BadUrl(#[from] url::ParseError),
    /// There is no HTTP client to ask with.
    #[error("no HTTP client can be made: {0}")]
    NoClient(String),
    /// The node cannot be reached, or answers with something that is no answer.
    #[error("the node at {node} does not answer: {message}")]
    Unreachable {
        /// The node's address without its path, which often holds a key.
        node: String,
        /// What went wrong.
        message: String,
    },
    /// The node refused the request for a reason of its own.
    #[error("the node refused the request: {message} (code {code})")]
    Rejected {
        /// JSON-RPC error code.
        code: i64,
        /// The node's words.
        message: String,
    },
    /// The node follows another chain than the deployment is on.
    #[error("the node follows chain {got}, the deployment is on chain {expected}")]
    WrongChain {
        /// The deployment's chain.
        expected: u64,
        /// The node's chain.
        got: u64,
    },
    /// The manifest's contracts are not there, or do not belong together.
    #[error("the contract at {address} does not belong to the deployment")]
    WrongDeployment {
        /// Which contract.
        address: Address,
    },
    /// The transaction is not in a block yet; it may still come.
    #[error("transaction {transaction} is not in a block after {} s", waited.as_secs())]
    NotMined {
        /// Which transaction.
        transaction: B256,
        /// For how long it was waited for.
        waited: Duration,
    },
    /// The transaction is in a block but failed there, without a reason that can be told.
    #[error("transaction {transaction} failed on the chain")]
    Reverted {
        /// Which transaction.
        transaction: B256,
    },
    /// An answer does not have the shape that the contracts give it.
    #[error("the node's answer is malformed: {0}")]
    Malformed(String),
}

impl ChainError {
    /// What a person can do about it, if there is something to say.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Refused(refused) => Some(refused.hint),
            Self::BadUrl(_) => Some("give the node's address as http://… or https://…"),
            Self::Unreachable { .. } => {
                Some("check that the node runs and that its address is right")
            }
            Self::Rejected { message, .. } if message.contains("nsufficient funds") => {
                Some("the account cannot pay for gas; send it some of the chain's native coin")
            }
            Self::WrongChain { .. } => {
                Some("give the address of a node of the deployment's chain, or another manifest")
            }
            Self::WrongDeployment { .. } => {
                Some("check the manifest, and that the node has caught up with the deployment")
            }
            Self::NotMined { .. } => {
                Some("look the transaction up before trying again: it may still be mined")
            }
            Self::Rejected { .. }
            | Self::Reverted { .. }
            | Self::Malformed(_)
            | Self::NoClient(_) => None,
        }
    }

    /// Whether the same request may succeed later although nothing was changed.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }

    pub(crate) fn from_transport(node: &Url, error: RpcError<TransportErrorKind>) -> Self {
        if let RpcError::ErrorResp(payload) = error {
            return match payload.as_revert_data().and_then(|data| refusal_of(&data)) {
                Some(refused) => Self::Refused(Box::new(refused)),
                None => Self::Rejected { code: payload.code, message: payload.message.into() },
            };
        }
        Self::Unreachable {
            node: node.origin().ascii_serialization(),
            message: told(&error).replace(node.as_str(), "the node"),
        }
    }

    pub(crate) fn from_contract(node: &Url, error: alloy::contract::Error) -> Self {
        use alloy::contract::Error;

        match error {
            Error::TransportError(error) => Self::from_transport(node, error),
            other @ (Error::UnknownFunction(_)
            | Error::UnknownSelector(_)
            | Error::NotADeploymentTransaction
            | Error::ContractNotDeployed
            | Error::ZeroData(..)
            | Error::AbiError(_)
            | Error::PendingTransactionError(_)) => Self::Malformed(other.to_string()),
        }
    }
}

/// The error and its causes in one line.
fn told(error: &RpcError<TransportErrorKind>) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_in_the_nodes_address_is_not_told() {
        let node: Url = "https://example.org/v2/very-secret".parse().unwrap();
        let error = TransportErrorKind::custom_str(&format!("cannot connect to {node}"));
        let error = ChainError::from_transport(&node, error);
        assert!(!error.to_string().contains("very-secret"), "{error}");
        assert!(error.to_string().contains("https://example.org"), "{error}");
        assert!(error.is_retryable());
    }
}
