//! The simulated TEE: what its quoting process measures, and the root of trust that its quotes stand on.
//!
//! Nothing about the evidence is simulated but the roots: certificates, revocation lists, TCB info, the quoting enclave's report
//! and the quotes are those of Intel's DCAP, chain, list and reports those of AMD's SEV-SNP, signed with keys in a file, and the
//! verifier checks them with the same code. Evidence is worth what its root is worth. Everything else is as with hardware: the
//! quoting process measures the bytes that it runs, and nothing that its host can change afterwards.

mod extension;
mod measure;
mod published;
mod quoting;
mod root;
pub(crate) mod snp;
mod statement;
mod vendor;

pub use measure::{enclave_id_of, measure};
pub use published::{Published, PublishedError};
pub use quoting::Quoting;
pub use root::{Root, RootError};
pub use sesame_domain::Imitated;
pub use statement::{Dcap, Statement};
pub use vendor::Vendor;

#[cfg(test)]
mod tests;
