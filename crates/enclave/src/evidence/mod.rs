//! The TEE's word for what runs in it.
//!
//! A simulated TEE has a quoting process, which is asked over the channel. In a real one the launcher asks the TEE by files: in
//! Gramine those below `/dev/attestation`, in a confidential virtual machine those of Linux's `configfs-tsm`. **Neither has run
//! on hardware yet**: what is here follows their documentation, and is tested against programs that play their part.

mod gramine;
mod tsm;

use std::{
    fmt, io,
    io::Write,
    path::{Path, PathBuf},
    str::FromStr,
};

use serde_json::Value;
use sesame_attestation::snp::SnpError;
use sesame_domain::Imitated;
use sesame_protocol::rcar::Tee;

use crate::{
    channel::{Channel, ChannelError},
    harden::Kernel,
};

use self::{gramine::Gramine, tsm::Tsm};

/// What the launcher is told of the TEE it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Platform {
    /// Whichever of the real ones is there.
    Auto,
    /// Gramine, in an enclave of SGX.
    Gramine,
    /// A virtual machine in TDX.
    Tdx,
    /// A virtual machine in SEV-SNP.
    Snp,
    /// A simulated TEE, with a quoting process.
    Simulated(Imitated),
}

/// A text names no platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is none of auto, gramine, tdx, snp, simulated-sgx, simulated-tdx and simulated-snp")]
pub struct UnknownPlatform(pub String);

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Gramine => f.write_str("gramine"),
            Self::Tdx => f.write_str("tdx"),
            Self::Snp => f.write_str("snp"),
            Self::Simulated(imitated) => write!(f, "simulated-{imitated}"),
        }
    }
}

impl FromStr for Platform {
    type Err = UnknownPlatform;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let simulated = Imitated::ALL.map(Self::Simulated);
        let known = [Self::Auto, Self::Gramine, Self::Tdx, Self::Snp].into_iter().chain(simulated);
        let mut found = known.filter(|platform| platform.to_string() == text);
        found.next().ok_or_else(|| UnknownPlatform(text.to_owned()))
    }
}

/// There is no evidence.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceError {
    /// Neither kind of real TEE is there.
    #[error("this is no TEE: there is neither {} nor {}", gramine.display(), tsm.display())]
    NoTee {
        /// Where Gramine has its files.
        gramine: PathBuf,
        /// Where Linux has its reports.
        tsm: PathBuf,
    },
    /// A file of the TEE's cannot be used.
    #[error("cannot use {}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The kernel says no.
    #[error("the kernel refuses {}: {mend}", path.display())]
    Kernel {
        /// Which file or folder of its.
        path: PathBuf,
        /// What a person can do about it.
        mend: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Gramine is built or configured for another kind of attestation.
    #[error("Gramine attests by `{0}`, not by `dcap`: set sgx.remote_attestation in its manifest")]
    AttestationType(String),
    /// It is another TEE than the launcher is told to be in, or one that nobody here verifies.
    #[error(
        "the kernel's reports are of `{got}`, not of `{expected}`: give the launcher the --tee that it is in"
    )]
    Provider {
        /// What was wanted.
        expected: String,
        /// What the kernel says.
        got: String,
    },
    /// Something writes to this report all the time, so none is known to be over the launcher's key.
    #[error(
        "the kernel's report is written by others all the time: let nothing else use this launcher's folders"
    )]
    Contended,
    /// The TEE answered with nothing, or with more than any report has.
    #[error("{} has no report", .0.display())]
    NoReport(PathBuf),
    /// A report of SEV-SNP cannot be read.
    #[error(transparent)]
    Snp(#[from] SnpError),
    /// The certificates beside a report of SEV-SNP are not in the form of AMD's tables.
    #[error("the certificates beside the report are in no table that AMD specifies")]
    Table,
    /// The quoting process does not keep to the protocol.
    #[error(transparent)]
    Channel(#[from] ChannelError),
}

/// Who gives the evidence.
#[derive(Debug, PartialEq, Eq)]
pub struct Attester(Kind);

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    QuotingProcess(Imitated),
    Gramine(Gramine),
    Tsm(Tsm),
}

impl Platform {
    /// What is below a launcher in it.
    #[must_use]
    pub const fn kernel(self) -> Kernel {
        match self {
            Self::Gramine => Kernel::Gramine,
            Self::Auto | Self::Tdx | Self::Snp | Self::Simulated(_) => Kernel::Linux,
        }
    }

    /// Finds who gives evidence here, below `root` where it is given and in the usual place where not.
    ///
    /// # Errors
    /// When there is no such TEE.
    pub fn attester(self, root: Option<&Path>) -> Result<Attester, EvidenceError> {
        let gramine = root.unwrap_or(Path::new(gramine::ROOT));
        let tsm = root.unwrap_or(Path::new(tsm::ROOT));
        Ok(Attester(match self {
            Self::Simulated(imitated) => Kind::QuotingProcess(imitated),
            Self::Gramine => Kind::Gramine(Gramine::open(gramine)?),
            Self::Tdx => Kind::Tsm(Tsm::open(tsm)?.that_is(tsm::Provider::Tdx)?),
            Self::Snp => Kind::Tsm(Tsm::open(tsm)?.that_is(tsm::Provider::Snp)?),
            Self::Auto if Gramine::is_at(gramine) => Kind::Gramine(Gramine::open(gramine)?),
            Self::Auto if tsm.is_dir() => Kind::Tsm(Tsm::open(tsm)?),
            Self::Auto => {
                let (gramine, tsm) = (gramine.to_owned(), tsm.to_owned());
                return Err(EvidenceError::NoTee { gramine, tsm });
            }
        }))
    }
}

impl Attester {
    /// The protocol's name for the TEE.
    #[must_use]
    pub const fn tee(&self) -> Tee {
        match &self.0 {
            Kind::QuotingProcess(Imitated::Sgx) | Kind::Gramine(_) => Tee::Sgx,
            Kind::QuotingProcess(Imitated::Tdx) => Tee::Tdx,
            Kind::QuotingProcess(Imitated::Snp) => Tee::Snp,
            Kind::Tsm(tsm) => tsm.tee(),
        }
    }

    /// Evidence over `report_data`, as an attester of that TEE sends it.
    ///
    /// # Errors
    /// When the TEE or the quoting process gives none.
    pub fn evidence<W: Write>(
        &self,
        report_data: [u8; 64],
        channel: &mut Channel<W>,
    ) -> Result<Value, EvidenceError> {
        match &self.0 {
            Kind::QuotingProcess(_) => Ok(channel.quote(report_data)?),
            Kind::Gramine(gramine) => gramine.evidence(&report_data),
            Kind::Tsm(tsm) => tsm.evidence(&report_data),
        }
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> EvidenceError {
    move |source| EvidenceError::Io { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_platform_has_one_name() {
        for name in
            ["auto", "gramine", "tdx", "snp", "simulated-sgx", "simulated-tdx", "simulated-snp"]
        {
            assert_eq!(name.parse::<Platform>().unwrap().to_string(), name);
        }
        for bad in ["", "sgx", "simulated", "simulated-", "simulated-sgx-snp", "TDX", "auto "] {
            assert_eq!(bad.parse::<Platform>(), Err(UnknownPlatform(bad.to_owned())));
        }
    }

    #[test]
    fn where_no_tee_is_none_is_made_up() {
        let nowhere = Path::new("/nowhere/at/all");
        for platform in [Platform::Auto, Platform::Gramine, Platform::Tdx, Platform::Snp] {
            let refused = platform.attester(Some(nowhere)).unwrap_err();
            assert!(refused.to_string().contains("/nowhere/at/all"), "{platform}: {refused}");
        }
        let refused = Platform::Auto.attester(Some(nowhere)).unwrap_err();
        assert!(matches!(refused, EvidenceError::NoTee { .. }), "{refused}");
    }
}
