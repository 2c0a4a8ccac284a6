//! What an operator asks of a platform and of a guest on it.
//!
//! A guest's policy (AMD 56860, section 4.3) is chosen by whoever launches it and is *no* part of its measurement. So a
//! host can launch a measured guest under any policy, and what a policy permits must be judged here:
//!
//! | bits | name | here |
//! | --- | --- | --- |
//! | 0-15 | ABI_MINOR, ABI_MAJOR | not judged: what firmware the host must have is the operator's minimum's to say |
//! | 16 | SMT | not judged: whether side channels between hyperthreads matter is for the guest's author to weigh |
//! | 17 | reserved, one | refused when zero |
//! | 18 | MIGRATE_MA | refused unless the operator allows migration agents |
//! | 19 | DEBUG | refused, always |
//! | 20 | SINGLE_SOCKET | not judged: as 22 to 25, it can only narrow what the host may do |
//! | 21 | CXL_ALLOW | not judged: whether memory behind CXL will do is for the guest's author to weigh |
//! | 22-25 | MEM_AES_256_XTS, RAPL_DIS, CIPHERTEXT_HIDING, PAGE_SWAP_DISABLE | not judged |
//! | 26-63 | reserved, zero | refused when set: it may widen what the host may do |
//!
//! **Which firmware counts.** A report tells four versions (section 7.3), and each must reach the operator's minimum:
//! - *reported*: what the signing key was derived from. This one is proven and not merely told, since older firmware
//!   cannot derive the key of newer one; the certificate names it too, and must name the same. Alone it would not do;
//! - *launch*: the firmware that measured the guest. An update does not make an older one's measurement true in
//!   hindsight;
//! - *committed*: what the host can roll the firmware back to while the guest runs, its secrets in memory;
//! - *current*: what runs now.
//!
//! **A minimum is stated for platforms under one root**: what a simulated platform has to have says nothing about AMD's.

use std::collections::BTreeMap;

use super::{
    error::{SnpError, TcbField},
    evidence::SnpEvidence,
    minimum::Minimum,
    product::{Product, Tcb},
    root::Root,
};

/// The bits of a guest policy that have a meaning.
const POLICY_KNOWN: u64 = (1 << 26) - 1;
/// The one that must be set.
const POLICY_ONE: u64 = 1 << 17;
/// The bits of PLATFORM_INFO that have a meaning; 6 has none.
const PLATFORM_KNOWN: u64 = 0b1011_1111;
/// The bits of KEY_INFO that have a meaning.
const KEY_KNOWN: u32 = 0b1_1111;
/// ECDSA P-384 with SHA-384 (AMD 56860, chapter 10).
const ECDSA_P384_SHA384: u32 = 1;
/// REPORT_ID_MA of a guest without a migration agent.
const NO_AGENT: [u8; 32] = [0xFF; 32];

/// What an operator asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SnpPolicy {
    minimum: BTreeMap<(Root, Product), Tcb>,
    migration: Migration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Migration {
    #[default]
    Refused,
    ByAgents,
}

impl SnpPolicy {
    /// Admits no enclave of SEV-SNP: there is no minimum firmware that would be right for everybody, or for long.
    #[must_use]
    pub fn admitting_none() -> Self {
        Self::default()
    }

    /// Also admits enclaves on AMD's platforms of this product with at least this firmware.
    #[must_use]
    pub fn admit(mut self, product: Product, minimum: Tcb) -> Self {
        self.minimum.insert((Root::Amd, product), minimum);
        self
    }

    /// The same for each of these; of two for one product the later counts.
    #[must_use]
    pub fn admitting(self, minima: impl IntoIterator<Item = Minimum>) -> Self {
        let admit = |policy: Self, Minimum { product, tcb }| policy.admit(product, tcb);
        minima.into_iter().fold(self, admit)
    }

    /// Also admits enclaves on simulated platforms of this product with at least this firmware, and on none of AMD's.
    #[cfg(any(test, feature = "simulated"))]
    #[must_use]
    pub fn insecure_admit_simulated(mut self, product: Product, minimum: Tcb) -> Self {
        self.minimum.insert((Root::Simulated, product), minimum);
        self
    }

    /// Admits guests that a migration agent may move to other platforms. The agent is another guest, chosen by the host, and
    /// decides where the secrets of this one may go.
    #[must_use]
    pub const fn allowing_migration_agents(mut self) -> Self {
        self.migration = Migration::ByAgents;
        self
    }

    /// Judges a report whose signature is verified.
    pub(crate) fn judge(
        &self,
        evidence: &SnpEvidence,
        root: Root,
        product: Product,
    ) -> Result<(), SnpError> {
        known(evidence)?;
        self.judge_guest(evidence)?;
        firmware(evidence)
            .into_iter()
            .try_for_each(|(which, got)| self.admits(root, product, which, got))
    }

    fn judge_guest(&self, evidence: &SnpEvidence) -> Result<(), SnpError> {
        let report = evidence.fields();
        if report.policy.debug_allowed() {
            return Err(SnpError::Debug);
        }
        let agent = report.policy.migrate_ma_allowed() || report.report_id_ma != NO_AGENT;
        if agent && self.migration == Migration::Refused {
            return Err(SnpError::MigrationAgent);
        }
        if report.vmpl != 0 {
            return Err(SnpError::Vmpl(report.vmpl));
        }
        if !report.key_info.author_key_en() && report.author_key_digest != [0; 48] {
            return Err(SnpError::AuthorKey);
        }
        Ok(())
    }

    /// Whether this firmware is admitted on platforms under this root: also for judging again, by today's policy, what was verified before
    /// ([`SnpVerdict::lowest_tcb`](super::SnpVerdict::lowest_tcb)).
    ///
    /// # Errors
    /// When it is not, or no firmware of this product is.
    pub fn admits(
        &self,
        root: Root,
        product: Product,
        which: TcbField,
        got: Tcb,
    ) -> Result<(), SnpError> {
        let minimum = self.minimum.get(&(root, product));
        let minimum = *minimum.ok_or(SnpError::ProductNotAdmitted(product))?;
        if got.covers(&minimum) { Ok(()) } else { Err(SnpError::TcbTooLow { which, got, minimum }) }
    }
}

/// The firmware versions that a report tells.
pub(crate) fn firmware(evidence: &SnpEvidence) -> [(TcbField, Tcb); 4] {
    let report = evidence.fields();
    [
        (TcbField::Reported, report.reported_tcb.into()),
        (TcbField::Current, report.current_tcb.into()),
        (TcbField::Committed, report.committed_tcb.into()),
        (TcbField::Launch, report.launch_tcb.into()),
    ]
}

/// Refuses what this program does not understand.
fn known(evidence: &SnpEvidence) -> Result<(), SnpError> {
    let report = evidence.fields();
    if report.sig_algo != ECDSA_P384_SHA384 {
        return Err(SnpError::SignatureAlgorithm(report.sig_algo));
    }
    if report.key_info.mask_chip_key() {
        return Err(SnpError::KeyMasked);
    }
    let policy = policy_bits(evidence);
    let told = [
        (policy & !POLICY_KNOWN == 0 && policy & POLICY_ONE != 0, "guest policy"),
        (u64::from(report.plat_info) & !PLATFORM_KNOWN == 0, "platform info"),
        (u32::from(report.key_info) & !KEY_KNOWN == 0, "key info"),
    ];
    match told.into_iter().find(|(known, _)| !known) {
        Some((_, field)) => Err(SnpError::Reserved(field)),
        None => Ok(()),
    }
}

/// The guest policy as it was signed: crate `sev`'s own conversion sets the bit that must be one.
fn policy_bits(evidence: &SnpEvidence) -> u64 {
    let bytes = evidence.signed().get(8..16).and_then(|bytes| bytes.try_into().ok());
    u64::from_le_bytes(bytes.unwrap_or_default())
}
