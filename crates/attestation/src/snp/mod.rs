//! AMD SEV-SNP: guests that AMD's security processor measures and vouches for.
//!
//! ```text
//! attester's JSON ─SnpEvidence::parse─▶ SnpEvidence ─┐
//! AMD's service (kds) ─from_kds─▶ SnpCollateral ─────┼─SnpVerifier::verify─▶ SnpVerdict
//! SnpPolicy, Roots ──────────────────────────────────┘
//! ```
//!
//! A report counts if, and only if,
//! 1. its chain ends in a root that is known byte for byte ([`Roots`]), every certificate is signed by the next, names
//!    it, holds now and is of the kind that it should be, and the root's current revocation list does not name the
//!    signer;
//! 2. its signature is that of the certified key, and chip and firmware are those that the key is certified for;
//! 3. the operator's [`SnpPolicy`] admits it; debugging, a VMPL other than 0 and anything unknown never;
//! 4. it is about the report data that the verifier expects.
//!
//! Crate `sev` reads and writes reports. It would verify signatures too, but no dates, revocations, chips or firmware,
//! and it takes any root; so everything but the reading is here. Signatures are verified by `aws-lc-rs`, which the
//! program links for TLS anyway: it takes a third of `ring`'s time for P-384, and a fifth of what `sev` would take.
//!
//! The chain is verified once per platform and remembered while it holds; the rest is checked with every report.
//!
//! **The host chooses** guest policy, HOST_DATA, the ID block with its keys, FAMILY_ID, IMAGE_ID and GUEST_SVN. HOST_DATA
//! is part of an enclave's id, the policy is judged, and the others are neither believed nor shown.
//!
//! **Not tried:** there was no SEV-SNP machine. What is checked against real hardware are the reports and certificates
//! that crate `sev` publishes; no revocation list of AMD's was at hand, so lists are checked with issued ones alone.

mod certificate;
mod chain;
mod crl;
mod endorsement;
mod error;
mod evidence;
#[cfg(any(test, feature = "simulated"))]
pub mod issue;
pub mod kds;
mod minimum;
mod policy;
mod product;
mod root;
mod verify;

pub(crate) use certificate::signed_part;
pub use chain::SnpCollateral;
pub use error::{ChainProblem, Part, SnpError, TcbField};
pub use evidence::{REPORT_LENGTH, SigningKey, SnpEvidence};
pub use kds::{Lookup, VcekName};
pub use minimum::{Minimum, MinimumError};
pub use policy::SnpPolicy;
pub use product::{Product, Tcb};
pub use root::{Root, Roots};
pub use verify::{SnpVerdict, SnpVerifier};

#[cfg(test)]
mod tests;
