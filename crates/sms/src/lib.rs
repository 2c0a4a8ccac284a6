#![doc = include_str!("../README.md")]

mod clock;
mod collateral;
mod config;
mod enclave;
mod health;
pub mod index;
mod limits;
mod metrics;
mod observe;
mod operator;
mod owner;
mod path;
mod pool;
mod problem;
mod public;
mod receipt;
mod reserve;
mod router;
mod run;
mod sealing;
mod service;
mod stack;
pub mod vault;

pub use collateral::CollateralSource;
pub use config::{Config, DEFAULT_FREE_RESERVE, DEFAULT_REQUEST_TIME};
pub use limits::{Client, Limits};
pub use problem::{Code, codes};
pub use router::routes;
pub use run::{ServeError, run};
pub use sesame_attestation::{Admission, Policy, TOKEN_LIFE, snp::Minimum};
pub use sesame_indexer::{Confirmation, ParseConfirmationError};
pub use sesame_view::{History, ParseHistoryError};
