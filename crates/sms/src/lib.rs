#![doc = include_str!("../README.md")]

mod clock;
mod config;
mod enclave;
pub mod index;
mod owner;
mod path;
mod problem;
mod public;
mod receipt;
mod reserve;
mod run;
mod service;

pub use config::{Config, DEFAULT_FREE_RESERVE};
pub use problem::{Code, codes};
pub use receipt::{Receipt, ReceiptError, verify_log};
pub use run::{ServeError, routes, run};
pub use sesame_attestation::Policy;
pub use sesame_indexer::{Confirmation, ParseConfirmationError};
