//! What a platform's own certificate (PCK) says: which collateral it takes to verify it.

use std::fmt;

use alloy_primitives::hex;
use dcap_qvl::{config::PckCa as LibraryCa, intel, quote::Quote};

use super::DcapError;

/// Who issued a PCK certificate. The two have separate revocation lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PckCa {
    /// Of single processors.
    Processor,
    /// Of platforms with several.
    Platform,
}

impl fmt::Display for PckCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Processor => "processor",
            Self::Platform => "platform",
        })
    }
}

/// Names one set of collateral. Taken from an unverified quote: nothing but the choice of collateral rests on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DcapPlatform {
    /// Whether the collateral is that of TDX; else it is that of SGX.
    pub tdx: bool,
    /// The family, model and stepping.
    pub fmspc: [u8; 6],
    /// Who issued its certificate.
    pub ca: PckCa,
}

/// As in the names of collateral files: `sgx-00906ea10000-platform`.
impl fmt::Display for DcapPlatform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tee = if self.tdx { "tdx" } else { "sgx" };
        write!(f, "{tee}-{}-{}", hex::encode(self.fmspc), self.ca)
    }
}

impl DcapPlatform {
    /// How a file with its collateral is named.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("{self}.json")
    }

    /// Whose collateral a file of this name holds.
    #[must_use]
    pub fn of_file(name: &str) -> Option<Self> {
        let mut parts = name.strip_suffix(".json")?.split('-');
        let (tee, fmspc, ca) = (parts.next()?, parts.next()?, parts.next()?);
        let mut platform = Self { tdx: tee == "tdx", fmspc: [0; 6], ca: PckCa::Processor };
        hex::decode_to_slice(fmspc, &mut platform.fmspc).ok()?;
        if ca == "platform" {
            platform.ca = PckCa::Platform;
        }
        (platform.file_name() == name).then_some(platform)
    }
}

/// The certificates of a quote's platform, unverified.
#[derive(Debug, Clone)]
pub(crate) struct Pck {
    pub(crate) platform: DcapPlatform,
    /// The last of the chain, DER: the root, if the quote is honest.
    pub(crate) root: Vec<u8>,
}

impl Pck {
    /// # Errors
    /// When the quote's certificates cannot be read.
    pub(super) fn read(quote: &Quote) -> Result<Self, DcapError> {
        let unreadable = |_| DcapError::UnreadableCertificates;
        let mut chain = intel::extract_cert_chain(quote).map_err(unreadable)?;
        let leaf = chain.first().ok_or(DcapError::UnreadableCertificates)?;
        let fmspc = intel::parse_pck_extension(leaf).map_err(unreadable)?.fmspc;
        let ca = match intel::pck_ca(leaf).map_err(unreadable)? {
            LibraryCa::Processor => PckCa::Processor,
            LibraryCa::Platform => PckCa::Platform,
        };
        let tdx = quote.report.as_td10().is_some();
        let root = chain.pop().ok_or(DcapError::UnreadableCertificates)?;
        Ok(Self { platform: DcapPlatform { tdx, fmspc, ca }, root })
    }
}
