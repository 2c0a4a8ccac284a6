//! Whether a report counts.

use std::num::NonZeroUsize;

use sesame_domain::TeeKind;

use super::{
    chain::{self, SnpCollateral, SnpPlatform},
    endorsement::Binding,
    error::SnpError,
    evidence::SnpEvidence,
    policy::{self, SnpPolicy},
    product::{Product, Tcb},
    root::{Root, Roots},
};
use crate::platform::PlatformCache;

/// Verifies SNP evidence, and remembers the platforms that it came from.
#[derive(Debug)]
pub struct SnpVerifier {
    roots: Roots,
    policy: SnpPolicy,
    platforms: PlatformCache<SnpPlatform>,
}

/// What verified evidence proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnpVerdict {
    root: Root,
    product: Product,
    measurement: [u8; 80],
    tcb: Tcb,
    lowest_tcb: Tcb,
    verified_until: u64,
}

impl SnpVerifier {
    /// A verifier that remembers up to `capacity` platforms.
    #[must_use]
    pub fn new(roots: Roots, policy: SnpPolicy, capacity: NonZeroUsize) -> Self {
        Self { roots, policy, platforms: PlatformCache::new(capacity) }
    }

    /// Verifies that evidence is genuine, admitted, and about this report data. `now` is in seconds since 1970.
    ///
    /// A platform whose chain was verified before, with the same collateral, costs one ECDSA verification: the report's.
    ///
    /// # Errors
    /// When anything about it is not as it should be; the error says what.
    pub fn verify(
        &self,
        evidence: &SnpEvidence,
        collateral: &SnpCollateral,
        report_data: &[u8; 64],
        now: u64,
    ) -> Result<SnpVerdict, SnpError> {
        let endorsement = evidence.certificate().or(collateral.endorsement.as_deref());
        let endorsement =
            endorsement.ok_or_else(|| SnpError::NoCertificate(evidence.signing_key()))?;
        let hash = chain::hash(endorsement, collateral, &self.roots);
        let platform = self.platforms.get_or_verify(hash, now, || {
            let platform = chain::verify(endorsement, collateral, &self.roots, now)?;
            let holds = platform.holds.clone();
            Ok::<_, SnpError>((platform, holds))
        })?;
        verify_report(evidence, &platform, &self.policy, report_data)
    }

    /// How many platforms are remembered.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.platforms.len()
    }
}

/// Everything that varies from report to report. The signature comes first: what it does not cover is not looked at.
pub(crate) fn verify_report(
    evidence: &SnpEvidence,
    platform: &SnpPlatform,
    policy: &SnpPolicy,
    report_data: &[u8; 64],
) -> Result<SnpVerdict, SnpError> {
    let signing_key = evidence.signing_key();
    if platform.endorsement.binding.signing_key() != signing_key {
        return Err(SnpError::NoCertificate(signing_key));
    }
    let signature = evidence.signature().ok_or(SnpError::Signature)?;
    platform
        .endorsement
        .key
        .verify_sig(evidence.signed(), &signature)
        .map_err(|_| SnpError::Signature)?;
    verify_platform(evidence, platform)?;
    policy.judge(evidence, platform.root, platform.product)?;
    let report = evidence.fields();
    if report.report_data != *report_data {
        return Err(SnpError::WrongReportData);
    }
    let mut measurement = [0; 80];
    let (launched, host) = measurement.split_at_mut(48);
    launched.copy_from_slice(&report.measurement);
    host.copy_from_slice(&report.host_data);
    let told = policy::firmware(evidence).map(|(_, tcb)| tcb);
    let reported = evidence.reported_tcb();
    Ok(SnpVerdict {
        root: platform.root,
        product: platform.product,
        measurement,
        tcb: reported,
        lowest_tcb: told.iter().fold(reported, |lowest, tcb| lowest.lowest(tcb)),
        verified_until: platform.holds.end,
    })
}

/// Checks that the report is of the chip and firmware that its key is certified for.
///
/// Crate `sev` reads firmware versions by the processor of a report (by the form of CHIP_ID before version 3); were that
/// another product than the certified one, they would be misread, so this is an error of its own.
fn verify_platform(evidence: &SnpEvidence, platform: &SnpPlatform) -> Result<(), SnpError> {
    let processor = evidence.processor()?.unwrap_or(platform.product);
    if processor != platform.product {
        let root = platform.product;
        return Err(SnpError::WrongProduct { evidence: processor, root });
    }
    if let Binding::Chip(id) = &platform.endorsement.binding {
        let (chip, rest) = evidence.chip_id().split_at(id.len().min(64));
        if chip != id || rest.iter().any(|byte| *byte != 0) {
            return Err(SnpError::WrongChip);
        }
    }
    let (report, certificate) = (evidence.reported_tcb(), platform.endorsement.tcb);
    if report != certificate {
        return Err(SnpError::TcbMismatch { report, certificate });
    }
    Ok(())
}

impl SnpVerdict {
    /// The enclave's kind, which its root decides.
    #[must_use]
    pub const fn kind(&self) -> TeeKind {
        match self.root {
            Root::Amd => TeeKind::Snp,
            Root::Simulated => TeeKind::Simulated,
        }
    }

    /// The measurement that enters the enclave id: MEASUREMENT and HOST_DATA, 80 bytes; under another root than AMD's the
    /// byte 3 of the kind that it imitates before them.
    #[must_use]
    pub fn measurement(&self) -> Vec<u8> {
        match self.root {
            Root::Amd => self.measurement.to_vec(),
            Root::Simulated => [&[TeeKind::Snp as u8], self.measurement.as_slice()].concat(),
        }
    }

    /// Whose root vouches for it.
    #[must_use]
    pub const fn root(&self) -> Root {
        self.root
    }

    /// The processor's product.
    #[must_use]
    pub const fn product(&self) -> Product {
        self.product
    }

    /// The firmware that the report's key was derived from.
    #[must_use]
    pub const fn tcb(&self) -> Tcb {
        self.tcb
    }

    /// The oldest of the firmware versions that the report tells, part by part: a minimum that it reaches is reached by all.
    #[must_use]
    pub const fn lowest_tcb(&self) -> Tcb {
        self.lowest_tcb
    }

    /// Before which second (since 1970) everything it rests on holds: certificates and revocation list.
    #[must_use]
    pub const fn verified_until(&self) -> u64 {
        self.verified_until
    }
}
