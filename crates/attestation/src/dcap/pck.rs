//! What a platform's own certificate (PCK) says: which collateral it takes to verify it.

use std::{
    fmt,
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use alloy_primitives::hex;
use dcap_qvl::{oids, quote::Quote};
use lru::LruCache;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use sesame_domain::TeeKind;
use x509_cert::{Certificate, attr::AttributeTypeAndValue, der::Decode as _};

use super::{DcapError, DcapQuote};

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pck {
    pub(crate) platform: DcapPlatform,
    /// The last of the chain, DER: the root, if the quote is honest.
    pub(crate) root: Vec<u8>,
}

impl Pck {
    /// Reads only what is needed here: only those of new platforms are verified.
    ///
    /// # Errors
    /// When the quote's certificates cannot be read.
    pub(super) fn read(quote: &Quote) -> Result<Self, DcapError> {
        let chain = quote.raw_cert_chain().ok().and_then(certificates);
        let mut chain = chain.ok_or(DcapError::UnreadableCertificates)?;
        let root = chain.pop().ok_or(DcapError::UnreadableCertificates)?;
        let leaf = chain.first().unwrap_or(&root);
        let certificate = Certificate::from_der(leaf).ok();
        let platform = certificate.as_ref().and_then(|certificate| {
            let (fmspc, ca) = (fmspc(certificate)?, ca(certificate)?);
            Some(DcapPlatform { tdx: quote.report.as_td10().is_some(), fmspc, ca })
        });
        let platform = platform.ok_or(DcapError::UnreadableCertificates)?;
        Ok(Self { platform, root: root.to_vec() })
    }
}

/// The certificates of platforms that were verified, by the very bytes of their chains: a quote that brings the same need
/// not be read again.
pub(crate) struct Chains(Mutex<LruCache<Box<[u8]>, Arc<Pck>>>);

impl fmt::Debug for Chains {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chains").field("known", &self.known().len()).finish()
    }
}

impl Chains {
    /// None is known yet; so many at most, some thousand bytes each.
    pub(crate) fn new(most: NonZeroUsize) -> Self {
        Self(Mutex::new(LruCache::new(most)))
    }

    /// The certificates of a quote.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(crate) fn pck(&self, quote: &DcapQuote) -> Result<Arc<Pck>, DcapError> {
        let tdx = quote.tee() == TeeKind::Tdx;
        match self.known().get(quote.chain()) {
            Some(pck) if pck.platform.tdx == tdx => return Ok(Arc::clone(pck)),
            // A machine that has both.
            Some(pck) => {
                let platform = DcapPlatform { tdx, ..pck.platform };
                return Ok(Arc::new(Pck { platform, root: pck.root.clone() }));
            }
            None => {}
        }
        Ok(Arc::new(quote.pck()?))
    }

    /// Remembers what was verified: nothing else, so that no stranger makes this forget.
    pub(crate) fn remember(&self, quote: &DcapQuote, pck: &Arc<Pck>) {
        let mut known = self.known();
        if !known.contains(quote.chain()) {
            known.put(quote.chain().into(), Arc::clone(pck));
        }
    }

    /// Every change is one call on the map, so a thread that panicked left it whole.
    fn known(&self) -> MutexGuard<'_, LruCache<Box<[u8]>, Arc<Pck>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The certificates of a chain in PEM, the platform's first; none where another reader could find other ones in the same text, as
/// in a certificate that begins within a line.
pub(super) fn certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let read: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().ok()?;
    let marks = |mark: &[u8]| pem.windows(mark.len()).filter(|part| *part == mark).count();
    let all = [b"-----BEGIN".as_slice(), b"-----END"].map(marks) == [read.len(); 2];
    all.then_some(read)
}

/// What Intel's extension of a PCK certificate says.
fn fmspc(certificate: &Certificate) -> Option<[u8; 6]> {
    let mut extensions = certificate.tbs_certificate().extensions()?.iter();
    let extension = extensions.find(|extension| extension.extn_id == oids::SGX_EXTENSION)?;
    let members = Vec::<AttributeTypeAndValue>::from_der(extension.extn_value.as_bytes()).ok()?;
    let fmspc = members.iter().find(|member| member.oid == oids::FMSPC)?;
    fmspc.value.value().try_into().ok()
}

/// An issuer of another name counts as that of processors, as it does for the library.
fn ca(certificate: &Certificate) -> Option<PckCa> {
    let name = certificate.tbs_certificate().issuer().common_name().ok()??;
    let platform = !name.value().contains("Processor") && name.value().contains("Platform");
    Some(if platform { PckCa::Platform } else { PckCa::Processor })
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use dcap_qvl::{config, intel};

    use super::*;

    #[test]
    fn the_library_reads_the_same_in_every_recorded_quote() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/evidence");
        let quotes = [
            "sgx_quote",
            "tdx_quote",
            "tdx_quote_td15ex",
            "tdx_quote_outdated",
            "simulated_sgx_quote",
        ];
        for name in quotes {
            let quote = Quote::parse(&fs::read(folder.join(name)).unwrap()).unwrap();
            let Pck { platform, root } = Pck::read(&quote).unwrap();
            let chain = intel::extract_cert_chain(&quote).unwrap();
            let ca = match intel::pck_ca(&chain[0]).unwrap() {
                config::PckCa::Processor => PckCa::Processor,
                config::PckCa::Platform => PckCa::Platform,
            };
            let fmspc = intel::parse_pck_extension(&chain[0]).unwrap().fmspc;
            let tdx = name.starts_with("tdx");
            assert_eq!(platform, DcapPlatform { tdx, fmspc, ca }, "{name}");
            assert_eq!(Some(&root), chain.last(), "{name}");
        }
    }

    /// A bug that fuzzing found: two readers found two chains in one text, so that what was verified was not signed.
    #[test]
    fn a_certificate_that_begins_within_a_line_is_unreadable() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/evidence");
        let quote = Quote::parse(&fs::read(folder.join("sgx_quote")).unwrap()).unwrap();
        let chain = String::from_utf8(quote.raw_cert_chain().unwrap().to_vec()).unwrap();
        assert_eq!(certificates(chain.as_bytes()).unwrap().len(), 3);
        for (from, to) in [
            ("-----END CERTIFICATE-----\n-----BEGIN", "-----END CERTIFICATE-----z-----BEGIN"),
            ("\n-----END CERTIFICATE-----", "-----END CERTIFICATE-----"),
            ("-----BEGIN CERTIFICATE-----\n", "-----BEGIN CERTIFICATE-----"),
            ("-----BEGIN CERTIFICATE-----", "-----BEGIN X509 CRL-----"),
        ] {
            let altered = chain.replacen(from, to, 1);
            assert_ne!(altered, chain);
            assert_eq!(certificates(altered.as_bytes()), None, "{to}");
        }
    }
}
