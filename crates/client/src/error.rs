//! What can go wrong between an owner, or anybody, and an SMS.

use alloy_primitives::Address;
use sesame_protocol::{
    keys::KeysError,
    owner::{HeaderError, OwnerError},
    problem::Problem,
};

/// No whole answer came.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The base is no `http` or `https` URL.
    #[error("{0} is not the http or https URL of an SMS")]
    BadUrl(String),
    /// The connection, TLS or HTTP failed, or the time was up.
    #[error("the SMS did not answer")]
    Http(#[from] reqwest::Error),
    /// The answer is longer than anything expected here.
    #[error("the answer has more than {limit} bytes")]
    TooLarge {
        /// What was expected at most, in bytes.
        limit: usize,
    },
    /// The answer is not the JSON that it should be.
    #[error("the answer with status {status} is not the expected JSON")]
    NotTheDocument {
        /// The HTTP status.
        status: u16,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

/// An owner's or anybody's request failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// No whole answer came.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The SMS refused, and says why.
    #[error("{}: {}", .0.title, .0.detail)]
    Problem(Box<Problem>),
    /// The SMS refused without a reason, as the answer to `HEAD` has no body.
    #[error("the SMS answered with status {0}")]
    Status(u16),
    /// The keys document is not to be trusted: nothing was sealed.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The value cannot be sealed.
    #[error(transparent)]
    Seal(#[from] OwnerError),
    /// The metadata header is absent.
    #[error("the answer has no readable Sesame-Secret header")]
    NoMetadata,
    /// The metadata header is malformed.
    #[error("the answer's Sesame-Secret header is malformed")]
    BadMetadata(#[from] HeaderError),
    /// The SMS acknowledged something else than what was sent.
    #[error("the SMS acknowledged another secret, version or body than was sent")]
    WrongAcknowledgement,
    /// A requester's secret of another address than the one acted for.
    #[error("the secret belongs to {secret}, and requests are made for {acting}")]
    NotYours {
        /// Whose secret it is.
        secret: Address,
        /// For whom requests are made.
        acting: Address,
    },
    /// The version cannot rise any more.
    #[error("the secret's version is the last that there is")]
    LastVersion,
}
