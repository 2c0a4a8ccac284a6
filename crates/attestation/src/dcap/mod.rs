//! Intel's DCAP: SGX and TDX quotes.
//!
//! The library `dcap-qvl` checks what Intel specifies: signatures, chains, revocation lists, TCB levels, the quoting enclave,
//! debug and TD attributes, dates. This module says which verdicts count, what an enclave is, and what need not be checked twice.

mod collateral;
mod error;
mod pck;
mod platform;
mod quote;
mod verify;

pub use collateral::{CollateralError, DcapCollateral};
pub use dcap_qvl::QuoteCollateralV3;
pub use error::DcapError;
pub(crate) use pck::{Chains, Pck};
pub use pck::{DcapPlatform, PckCa};
pub(crate) use platform::{Platforms, no_platforms};
pub use quote::DcapQuote;
pub(crate) use verify::{INTEL_ROOT, Proven, Root, verify, verify_signatures};
