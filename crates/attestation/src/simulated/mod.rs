//! The simulated TEE: what its quoting process measures, and the root of trust that its quotes stand on.
//!
//! Nothing about the quotes is simulated but the root: certificates, revocation lists, TCB info, the quoting enclave's report and
//! the quotes are those of Intel's DCAP, signed with keys in a file, and the verifier checks them with the same code. A quote is
//! worth what its root is worth. Everything else is as with hardware: the quoting process measures the bytes that it runs, and
//! nothing that its host can change afterwards.

mod extension;
mod measure;
mod published;
mod quoting;
mod root;
mod statement;
mod vendor;

pub use measure::{Imitated, UnknownTee, enclave_id_of, measure};
pub use published::{Published, PublishedError};
pub use quoting::Quoting;
pub use root::{Root, RootError};
pub use statement::Statement;
pub use vendor::Vendor;

#[cfg(test)]
mod tests;
