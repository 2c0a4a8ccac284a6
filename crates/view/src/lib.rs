#![doc = include_str!("../README.md")]

mod codec;
mod digest;
mod error;
pub mod project;
mod proven;
mod read;
mod schema;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod write;

pub use error::{OpenError, ProjectError, ReadError, WriteError};
pub use read::{BothViews, Snapshot};
pub use schema::SCHEMA_VERSION;
pub use write::{Cursor, Origin, View};
