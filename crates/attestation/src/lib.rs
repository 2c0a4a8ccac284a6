#![doc = include_str!("../README.md")]

mod evidence;
#[cfg(feature = "simulated")]
pub mod simulated;
mod token;
mod verify;
mod worker;

pub use evidence::Evidence;
pub use token::{AttestedSession, TOKEN_LIFE, TokenError, TokenKey};
pub use verify::{AttestationError, Policy, VerifiedEnclave, verify};
pub use worker::{VoucherError, WorkerProof};
