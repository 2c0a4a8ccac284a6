//! The one constructor of [`VerifiedEnclave`].

use std::{fmt, num::NonZeroUsize, sync::Arc};

use sesame_domain::{EnclaveId, TeeKind};
use sesame_protocol::{jwk::Jwk, rcar};

#[cfg(feature = "simulated")]
use crate::simulated::{self, Published};
use crate::{
    dcap::{
        self, Chains, DcapCollateral, DcapError, DcapPlatform, DcapQuote, INTEL_ROOT, Pck,
        Platforms, Root, no_platforms,
    },
    evidence::Evidence,
    snp::{
        self, Lookup, Minimum, Roots, SnpCollateral, SnpError, SnpEvidence, SnpPolicy, SnpVerifier,
        TcbField,
    },
    tcb::{Admission, PlatformState, SnpState, TcbPolicy},
};

/// Evidence does not count.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttestationError {
    /// No verifier for this TEE is built in.
    #[error("evidence of a TEE `{0}` cannot be verified by this program")]
    UnsupportedTee(String),
    /// The document is not evidence of its kind.
    #[error("the evidence is malformed")]
    Malformed(#[source] serde_json::Error),
    /// The quote in the document is not base64.
    #[error("the evidence's quote is not base64")]
    NotBase64,
    /// The quote is of another TEE than the one that was announced.
    #[error("the quote is of another TEE than the challenge was for")]
    WrongTee,
    /// Nobody had what the vendor says about this platform.
    #[error("there is no collateral for the platform {0}")]
    NoCollateral(Platform),
    /// A quote of SGX or TDX does not count.
    #[error(transparent)]
    Dcap(#[from] DcapError),
    /// A report of SEV-SNP does not count.
    #[error(transparent)]
    Snp(#[from] SnpError),
    /// The evidence is about another key or another challenge.
    #[error("the evidence is about other report data: another key or another challenge")]
    WrongReportData,
}

/// Which enclaves the operator admits at all.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    tcb: TcbPolicy,
    snp: SnpPolicy,
    #[cfg(feature = "simulated")]
    simulated: Option<Arc<Published>>,
}

impl Policy {
    /// Enclaves of real hardware alone, up to date.
    #[must_use]
    pub fn hardware_only() -> Self {
        Self::default()
    }

    /// Also enclaves of the simulated TEE under this root, which are of kind 255. Its SNP platform brings the minimum of
    /// firmware that counts under its root, and under no other. **Insecure:** whoever holds its keys is any enclave it likes.
    #[cfg(feature = "simulated")]
    #[must_use]
    pub fn insecure_trusting_simulated(root: Published) -> Self {
        let snp = SnpPolicy::admitting_none();
        let snp = snp.insecure_admit_simulated(simulated::snp::PRODUCT, simulated::snp::FIRMWARE);
        Self { snp, simulated: Some(Arc::new(root)), ..Self::default() }
    }

    /// Also platforms that are not quite up to date, as listed.
    #[must_use]
    pub fn admitting(self, admissions: Vec<Admission>) -> Self {
        Self { tcb: TcbPolicy::admitting(admissions), ..self }
    }

    /// Also enclaves of SEV-SNP, on platforms with at least this firmware; without any of a product, none on it.
    #[must_use]
    pub fn admitting_snp(self, minima: Vec<Minimum>) -> Self {
        Self { snp: self.snp.admitting(minima), ..self }
    }

    /// Also enclaves of SEV-SNP that a migration agent may move to other platforms: another guest, chosen by the host, which then
    /// decides where their secrets go.
    #[must_use]
    pub fn admitting_migration_agents(self) -> Self {
        Self { snp: self.snp.allowing_migration_agents(), ..self }
    }

    /// Whether simulated enclaves are admitted.
    #[must_use]
    pub const fn admits_simulated(&self) -> bool {
        #[cfg(feature = "simulated")]
        return self.simulated.is_some();
        #[cfg(not(feature = "simulated"))]
        return false;
    }

    /// Whether enclaves of this kind are admitted.
    #[must_use]
    pub const fn admits(&self, kind: TeeKind) -> bool {
        match kind {
            TeeKind::Simulated => self.admits_simulated(),
            TeeKind::Sgx | TeeKind::Tdx | TeeKind::Snp => true,
        }
    }

    /// Whether a platform in this state is admitted, whose enclaves are of this kind.
    ///
    /// # Errors
    /// When it is not.
    pub fn admits_platform(
        &self,
        kind: TeeKind,
        state: &PlatformState,
    ) -> Result<(), AttestationError> {
        match state {
            PlatformState::Dcap(verdict) => self.tcb.admit(verdict).map_err(DcapError::from)?,
            PlatformState::Snp(SnpState { product, firmware, .. }) => {
                let root = match kind {
                    TeeKind::Simulated => snp::Root::Simulated,
                    TeeKind::Sgx | TeeKind::Tdx | TeeKind::Snp => snp::Root::Amd,
                };
                self.snp.admits(root, *product, TcbField::Lowest, *firmware)?;
            }
        }
        Ok(())
    }

    /// Which root a chain has to be verified under: the one that it says it ends in, if that is trusted.
    fn root_of(&self, pck: &Pck) -> Result<Root<'_>, DcapError> {
        #[cfg(feature = "simulated")]
        if let Some(published) = &self.simulated
            && published.certificate() == pck.root
        {
            return Ok(Root::Simulated(published.certificate()));
        }
        match pck.root == INTEL_ROOT {
            true => Ok(Root::Vendor),
            false => Err(DcapError::UntrustedRoot),
        }
    }

    #[cfg(feature = "simulated")]
    fn simulated_collateral(&self, platform: &DcapPlatform) -> Option<&DcapCollateral> {
        self.simulated.as_ref()?.collateral(platform)
    }

    #[cfg(not(feature = "simulated"))]
    const fn simulated_collateral(&self, _: &DcapPlatform) -> Option<&DcapCollateral> {
        None
    }

    /// Which roots of SEV-SNP are trusted.
    fn snp_roots(&self) -> Roots {
        #[cfg(feature = "simulated")]
        if let Some(published) = &self.simulated {
            return Roots::insecure_trusting_simulated(
                simulated::snp::PRODUCT,
                &published.snp.root,
            );
        }
        Roots::amd()
    }

    #[cfg(feature = "simulated")]
    fn simulated_snp_collateral(&self, report: &SnpEvidence) -> Option<&SnpCollateral> {
        self.simulated.as_ref()?.snp_collateral(report)
    }

    #[cfg(not(feature = "simulated"))]
    const fn simulated_snp_collateral(&self, _: &SnpEvidence) -> Option<&SnpCollateral> {
        None
    }
}

/// An enclave whose evidence was checked, with the key that only it holds. Made by [`Verifier::verify`], or from a token that was
/// issued for one.
#[derive(Debug, Clone)]
pub struct VerifiedEnclave {
    id: EnclaveId,
    kind: TeeKind,
    platform: PlatformState,
    key: Jwk,
}

impl VerifiedEnclave {
    /// The enclave.
    #[must_use]
    pub const fn id(&self) -> EnclaveId {
        self.id
    }

    /// Its technology, by its root of trust.
    #[must_use]
    pub const fn kind(&self) -> TeeKind {
        self.kind
    }

    /// The state of the platform below it.
    #[must_use]
    pub const fn platform(&self) -> &PlatformState {
        &self.platform
    }

    /// The key that was attested: answers are encrypted to it.
    #[must_use]
    pub const fn key(&self) -> &Jwk {
        &self.key
    }

    /// Only for a token that this crate signed.
    pub(crate) const fn from_token(
        id: EnclaveId,
        kind: TeeKind,
        platform: PlatformState,
        key: Jwk,
    ) -> Self {
        Self { id, kind, platform, key }
    }
}

/// What has to be at hand before evidence can be verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing.
    Nothing,
    /// What the vendor says about this platform.
    Collateral(Platform),
}

/// Names what a vendor says about a platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Platform {
    /// Of SGX or TDX, by Intel.
    Dcap(DcapPlatform),
    /// Of SEV-SNP, by AMD.
    Snp(Lookup),
}

impl From<DcapPlatform> for Platform {
    fn from(platform: DcapPlatform) -> Self {
        Self::Dcap(platform)
    }
}

/// As in the names of collateral files.
impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dcap(platform) => platform.fmt(f),
            Self::Snp(lookup) => lookup.fmt(f),
        }
    }
}

/// What was fetched for [`Needs`].
#[derive(Debug, Clone)]
pub enum Collateral {
    /// Nothing.
    Nothing,
    /// What Intel says about a platform.
    Dcap(Arc<DcapCollateral>),
    /// What AMD says about a platform.
    Snp(Arc<SnpCollateral>),
}

/// Verifies evidence under one policy, and remembers which platforms it verified.
#[derive(Debug)]
pub struct Verifier {
    policy: Policy,
    chains: Chains,
    platforms: Platforms,
    snp: SnpVerifier,
}

/// So many chains of certificates of SGX and TDX are remembered: some four thousand bytes each.
const CHAINS: NonZeroUsize = NonZeroUsize::new(4096).expect("it is not zero");

/// So many platforms of SEV-SNP are remembered: some hundred bytes each.
const SNP_PLATFORMS: NonZeroUsize = NonZeroUsize::new(4096).expect("it is not zero");

impl Verifier {
    /// A verifier that knows no platform yet.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        let snp = SnpVerifier::new(policy.snp_roots(), policy.snp.clone(), SNP_PLATFORMS);
        Self { policy, chains: Chains::new(CHAINS), platforms: no_platforms(), snp }
    }

    /// What the operator admits.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// What it takes to verify this evidence. Evidence that names no root that is trusted, or firmware that is not admitted,
    /// ends here, before anything is fetched.
    ///
    /// # Errors
    /// When no collateral could make this evidence count.
    pub fn needs(&self, evidence: &Evidence) -> Result<Needs, AttestationError> {
        let platform = match evidence {
            Evidence::Dcap(quote) => {
                let pck = self.chains.pck(quote)?;
                match self.policy.root_of(&pck)? {
                    Root::Vendor => Platform::Dcap(pck.platform),
                    Root::Simulated(_) => return Ok(Needs::Nothing),
                }
            }
            Evidence::Snp(report) => {
                if self.policy.simulated_snp_collateral(report).is_some() {
                    return Ok(Needs::Nothing);
                }
                let (lookup, firmware) = (Lookup::of(report)?, report.reported_tcb());
                let (root, product) = (snp::Root::Amd, lookup.product);
                self.policy.snp.admits(root, product, TcbField::Reported, firmware)?;
                Platform::Snp(lookup)
            }
        };
        Ok(Needs::Collateral(platform))
    }

    /// Checks what can be checked of evidence before anything is fetched for it. A quote of SGX or TDX is signed up to its
    /// root, so that nobody makes this service ask for collateral by quotes of their own making. A report of SEV-SNP tells
    /// nothing before AMD's certificates are at hand.
    ///
    /// # Errors
    /// When a signature does not hold.
    pub fn verify_signatures(&self, evidence: &Evidence) -> Result<(), AttestationError> {
        match evidence {
            Evidence::Dcap(quote) => {
                let pck = self.chains.pck(quote)?;
                Ok(dcap::verify_signatures(quote, self.policy.root_of(&pck)?)?)
            }
            Evidence::Snp(_) => Ok(()),
        }
    }

    /// Verifies that evidence is genuine, admitted, and about `key` and `nonce`. `now` is in seconds since 1970.
    ///
    /// # Errors
    /// When it is not; the error says which check failed.
    pub fn verify(
        &self,
        evidence: &Evidence,
        collateral: &Collateral,
        nonce: &str,
        key: Jwk,
        now: u64,
    ) -> Result<VerifiedEnclave, AttestationError> {
        let report_data = rcar::report_data(nonce, &key);
        let (kind, measurement, platform) = match evidence {
            Evidence::Dcap(quote) => {
                let dcap::Proven { kind, measurement, verdict } =
                    self.verify_dcap(quote, collateral, now)?;
                if *quote.report_data() != report_data {
                    return Err(AttestationError::WrongReportData);
                }
                (kind, measurement, PlatformState::Dcap(verdict))
            }
            Evidence::Snp(report) => self.verify_snp(report, collateral, &report_data, now)?,
        };
        let id = sesame_domain::enclave_id(kind, &measurement);
        Ok(VerifiedEnclave { id, kind, platform, key })
    }

    fn verify_dcap(
        &self,
        quote: &DcapQuote,
        collateral: &Collateral,
        now: u64,
    ) -> Result<dcap::Proven, AttestationError> {
        let pck = self.chains.pck(quote)?;
        let root = self.policy.root_of(&pck)?;
        let collateral = match (root, collateral) {
            (Root::Vendor, Collateral::Dcap(collateral)) => Some(&**collateral),
            (Root::Vendor, _) => None,
            (Root::Simulated(_), _) => self.policy.simulated_collateral(&pck.platform),
        };
        let collateral =
            collateral.ok_or(AttestationError::NoCollateral(Platform::Dcap(pck.platform)))?;
        let (policy, platforms) = (&self.policy.tcb, &self.platforms);
        let proven = dcap::verify(quote, root, collateral, policy, platforms, now)?;
        self.chains.remember(quote, &pck);
        Ok(proven)
    }

    fn verify_snp(
        &self,
        report: &SnpEvidence,
        collateral: &Collateral,
        report_data: &[u8; 64],
        now: u64,
    ) -> Result<(TeeKind, Vec<u8>, PlatformState), AttestationError> {
        let collateral = match (self.policy.simulated_snp_collateral(report), collateral) {
            (Some(published), _) => published,
            (None, Collateral::Snp(collateral)) => collateral,
            (None, _) => {
                return Err(AttestationError::NoCollateral(Platform::Snp(Lookup::of(report)?)));
            }
        };
        let verdict = match self.snp.verify(report, collateral, report_data, now) {
            Err(SnpError::WrongReportData) => return Err(AttestationError::WrongReportData),
            verdict => verdict?,
        };
        let state = SnpState {
            product: verdict.product(),
            firmware: verdict.lowest_tcb(),
            until: verdict.verified_until(),
        };
        Ok((verdict.kind(), verdict.measurement(), PlatformState::Snp(state)))
    }
}

#[cfg(test)]
mod tests;
