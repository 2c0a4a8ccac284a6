//! How up to date a platform is, and what of that an operator admits.

use std::{
    collections::BTreeSet,
    fmt::{self, Display, Formatter},
    str::FromStr,
};

pub use dcap_qvl::TcbStatus;
use serde::{Deserialize, Serialize};

use crate::snp::{Product, Tcb};

/// What verification found out about the platform below an enclave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TcbVerdict {
    /// As the vendor's collateral says, platform and quoting enclave together.
    pub status: TcbStatus,
    /// The vendor's advisories that apply to the platform.
    pub advisories: Vec<String>,
    /// When the first of the collateral that this rests on expires, seconds since 1970: it counts before that second.
    pub until: u64,
}

/// The state of the platform below an enclave, in its vendor's terms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PlatformState {
    /// Of SGX or TDX: Intel says how up to date it is.
    Dcap(TcbVerdict),
    /// Of SEV-SNP: AMD names versions, and leaves it to the operator which of them are good enough.
    Snp(SnpState),
}

/// The firmware of a platform of SEV-SNP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnpState {
    /// The processor's product.
    pub product: Product,
    /// The oldest of the versions that the report tells, part by part.
    pub firmware: Tcb,
    /// As in [`TcbVerdict`].
    pub until: u64,
}

impl PlatformState {
    /// When the first of the collateral that this rests on expires, seconds since 1970: it counts before that second.
    #[must_use]
    pub const fn until(&self) -> u64 {
        match self {
            Self::Dcap(TcbVerdict { until, .. }) | Self::Snp(SnpState { until, .. }) => *until,
        }
    }

    /// Whether nothing speaks against the platform: of SEV-SNP there is none but that the operator's minimum is met.
    #[must_use]
    pub fn is_up_to_date(&self) -> bool {
        match self {
            Self::Dcap(verdict) => verdict.status == TcbStatus::UpToDate,
            Self::Snp(_) => true,
        }
    }
}

impl Display for PlatformState {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dcap(verdict) => write!(f, "{}", verdict.status),
            Self::Snp(SnpState { product, firmware, .. }) => write!(f, "{product}: {firmware}"),
        }
    }
}

/// A platform's TCB is not admitted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the platform's TCB is {status} ({}), which the operator does not admit",
    if advisories.is_empty() { "no advisories".to_owned() } else { advisories.join(", ") }
)]
pub struct NotAdmitted {
    /// The status.
    pub status: TcbStatus,
    /// The advisories that apply.
    pub advisories: Vec<String>,
}

/// Which TCB statuses an operator admits: `UpToDate`, and what is listed beside it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TcbPolicy {
    admissions: Vec<Admission>,
}

impl TcbPolicy {
    /// `UpToDate` and these.
    #[must_use]
    pub const fn admitting(admissions: Vec<Admission>) -> Self {
        Self { admissions }
    }

    /// Whether a verdict is admitted.
    ///
    /// # Errors
    /// When it is not.
    pub fn admit(&self, verdict: &TcbVerdict) -> Result<(), NotAdmitted> {
        let up_to_date = verdict.status == TcbStatus::UpToDate;
        if up_to_date || self.admissions.iter().any(|admission| admission.covers(verdict)) {
            return Ok(());
        }
        Err(NotAdmitted { status: verdict.status, advisories: verdict.advisories.clone() })
    }
}

/// One status that an operator admits although the platform is not quite up to date, for these advisories and no others.
///
/// Written `STATUS[:ADVISORY,…]`, as in `SWHardeningNeeded:INTEL-SA-00334,INTEL-SA-00615`. Without advisories it covers platforms
/// to which none applies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    status: TcbStatus,
    advisories: BTreeSet<String>,
}

/// A text is no [`Admission`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` cannot be admitted: write SWHardeningNeeded, ConfigurationNeeded or \
     ConfigurationAndSWHardeningNeeded, then `:` and the advisories"
)]
pub struct AdmissionError(pub String);

impl Admission {
    fn covers(&self, verdict: &TcbVerdict) -> bool {
        self.status == verdict.status
            && verdict.advisories.iter().all(|advisory| self.advisories.contains(advisory))
    }
}

impl FromStr for Admission {
    type Err = AdmissionError;

    /// What is out of date or revoked cannot be admitted.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        use TcbStatus::{
            ConfigurationAndSWHardeningNeeded, ConfigurationNeeded, SWHardeningNeeded,
        };
        let (name, advisories) = text.split_once(':').unwrap_or((text, ""));
        let status = [SWHardeningNeeded, ConfigurationNeeded, ConfigurationAndSWHardeningNeeded]
            .into_iter()
            .find(|status| status.to_string() == name)
            .ok_or_else(|| AdmissionError(text.to_owned()))?;
        let advisories = advisories.split(',').map(str::trim).filter(|id| !id.is_empty());
        Ok(Self { status, advisories: advisories.map(str::to_owned).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(status: TcbStatus, advisories: &[&str]) -> TcbVerdict {
        let advisories = advisories.iter().map(|id| (*id).to_owned()).collect();
        TcbVerdict { status, advisories, until: 0 }
    }

    fn admitted(policy: &[&str], status: TcbStatus, advisories: &[&str]) -> bool {
        let admissions = policy.iter().map(|text| text.parse().unwrap()).collect();
        TcbPolicy::admitting(admissions).admit(&verdict(status, advisories)).is_ok()
    }

    #[test]
    fn only_what_is_up_to_date_is_admitted_unless_the_operator_says_more() {
        use TcbStatus::*;

        assert!(admitted(&[], UpToDate, &[]));
        for status in [
            SWHardeningNeeded,
            ConfigurationNeeded,
            ConfigurationAndSWHardeningNeeded,
            OutOfDate,
            OutOfDateConfigurationNeeded,
            Revoked,
            TDRelaunchAdvised,
            TDRelaunchAdvisedConfigurationNeeded,
        ] {
            assert!(!admitted(&[], status, &[]), "{status}");
            let others = ["SWHardeningNeeded:A", "ConfigurationNeeded:A"];
            assert!(!admitted(&others, status, &["B"]), "{status}");
        }
    }

    #[test]
    fn a_status_is_admitted_with_the_named_advisories_alone() {
        use TcbStatus::{ConfigurationNeeded, SWHardeningNeeded};

        let policy = ["SWHardeningNeeded:INTEL-SA-00334, INTEL-SA-00615"];
        assert!(admitted(&policy, SWHardeningNeeded, &["INTEL-SA-00334"]));
        assert!(admitted(&policy, SWHardeningNeeded, &["INTEL-SA-00615", "INTEL-SA-00334"]));
        assert!(admitted(&policy, SWHardeningNeeded, &[]));
        assert!(!admitted(&policy, SWHardeningNeeded, &["INTEL-SA-00334", "INTEL-SA-00001"]));
        assert!(!admitted(&policy, ConfigurationNeeded, &["INTEL-SA-00334"]));
        assert!(!admitted(&["SWHardeningNeeded"], SWHardeningNeeded, &["INTEL-SA-00334"]));
    }

    #[test]
    fn what_is_out_of_date_cannot_be_admitted() {
        for text in
            ["", "UpToDate", "OutOfDate", "Revoked:A", "swhardeningneeded", "TDRelaunchAdvised"]
        {
            assert_eq!(text.parse::<Admission>(), Err(AdmissionError(text.to_owned())));
        }
    }
}
