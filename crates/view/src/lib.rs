#![doc = include_str!("../README.md")]

mod codec;
mod digest;
mod error;
mod open;
pub mod project;
mod proven;
mod prune;
mod read;
mod schema;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod torn;
mod write;

pub use error::{OpenError, ProjectError, ReadError, WriteError};
pub use prune::{History, ParseHistoryError};
pub use read::{BothViews, Snapshot};
pub use schema::SCHEMA_VERSION;
pub use write::{Contracts, Cursor, Origin, View};
