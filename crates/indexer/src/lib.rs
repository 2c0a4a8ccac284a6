#![doc = include_str!("../README.md")]

mod confirmation;
mod decode;
mod mirror;
mod pulse;
mod source;
mod verify;

pub use confirmation::{Confirmation, ParseConfirmationError};
pub use decode::{DecodeError, Decoder};
pub use mirror::{Mirror, MirrorError};
pub use pulse::{Freshness, Pulse, State, Unready};
pub use source::{Node, SourceError};
pub use verify::{Lie, VerifiedHeader};
