#![doc = include_str!("../README.md")]

mod confirmation;
mod decode;
mod fetch;
mod heads;
mod metrics;
mod mirror;
mod progress;
mod proof;
mod pulse;
mod quorum;
mod source;
mod verify;

pub use confirmation::{Confirmation, ParseConfirmationError};
pub use decode::{DecodeError, Decoder};
pub use fetch::Backfill;
pub use metrics::Metrics;
pub use mirror::{Mirror, MirrorError};
pub use pulse::{Freshness, Pulse, State, Unready};
pub use quorum::Nodes;
pub use source::{Node, SourceError};
pub use verify::{Lie, VerifiedHeader};
