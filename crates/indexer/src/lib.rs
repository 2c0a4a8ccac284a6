#![doc = include_str!("../README.md")]

mod confirmation;
mod decode;
mod erc1271;
mod error;
mod family;
mod fetch;
mod heads;
mod metrics;
mod mirror;
mod progress;
mod proof;
mod pulse;
mod quorum;
mod reorg;
mod source;
mod verify;

pub use confirmation::{Confirmation, ParseConfirmationError};
pub use decode::{DecodeError, Decoder};
pub use erc1271::Verdict;
pub use error::MirrorError;
pub use family::{Adapter, Call, Facts, Family, Tie};
pub use fetch::Backfill;
pub use metrics::Metrics;
pub use mirror::Mirror;
pub use pulse::{Freshness, Pulse, State, Unready};
pub use quorum::Nodes;
pub use source::{Node, SourceError};
pub use verify::{Lie, Receipt, VerifiedHeader, Watched};
