#![doc = include_str!("../README.md")]

mod evidence;
mod verify;

pub mod dcap;
mod platform;
#[cfg(feature = "simulated")]
pub mod simulated;
pub mod snp;
mod tcb;

mod token;
mod worker;

pub use evidence::Evidence;
pub use platform::PlatformCache;
pub use tcb::{
    Admission, AdmissionError, NotAdmitted, PlatformState, SnpState, TcbPolicy, TcbStatus,
    TcbVerdict,
};
pub use token::{AttestedSession, TOKEN_LIFE, TokenError, TokenKey};
pub use verify::{
    AttestationError, Collateral, Needs, Platform, Policy, VerifiedEnclave, Verifier,
};
pub use worker::{VoucherError, WorkerProof};
