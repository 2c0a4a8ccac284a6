//! What a simulated vendor publishes: its roots' certificates and the collateral of its platforms, as files.

use std::{collections::BTreeMap, fs, io, path::Path};

use x509_cert::{
    Certificate,
    der::{DecodePem as _, Encode as _},
};

use super::snp;
use crate::{
    dcap::{CollateralError, DcapCollateral, DcapPlatform},
    snp::{SnpCollateral, SnpError, SnpEvidence},
};

/// The name of the file with the certificate of the root of SGX and TDX, PEM.
const ROOT: &str = "root.pem";

/// What verifiers need to believe evidence under a simulated root.
#[derive(Debug, Clone)]
pub struct Published {
    pub(super) root: String,
    pub(super) certificate: Vec<u8>,
    pub(super) collateral: BTreeMap<DcapPlatform, DcapCollateral>,
    /// Of the one SNP platform, with its certificate. The root in it is the one that is trusted.
    pub(crate) snp: SnpCollateral,
}

/// Some files are not what a simulated vendor publishes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishedError {
    /// The folder or a file in it cannot be read.
    #[error("a simulated vendor's folder cannot be read")]
    Io(#[from] io::Error),
    /// There is no certificate, or something else in its place.
    #[error("a simulated vendor's folder holds a certificate in {ROOT}")]
    Root,
    /// A file's name does not say which platform it is about.
    #[error("`{0}` is not named <tee>-<fmspc>-<ca>.json")]
    Name(String),
    /// A file about the SNP platform is missing.
    #[error("a simulated vendor's folder holds {0}")]
    Missing(String),
    /// A file about the SNP platform holds something else.
    #[error("`{0}` is not what AMD would serve")]
    Snp(String, #[source] SnpError),
    /// A file holds no collateral.
    #[error("`{0}` holds no collateral")]
    Collateral(String, #[source] CollateralError),
}

impl Published {
    pub(super) fn new(
        root: String,
        collateral: BTreeMap<DcapPlatform, DcapCollateral>,
        snp: SnpCollateral,
    ) -> Result<Self, PublishedError> {
        let certificate = Certificate::from_pem(&root).and_then(|certificate| certificate.to_der());
        let certificate = certificate.map_err(|_| PublishedError::Root)?;
        Ok(Self { root, certificate, collateral, snp })
    }

    /// Reads a folder that [`Self::files`] were written to. Other files than `.json`, `.pem`, `.crl` and `.der` are left alone.
    ///
    /// # Errors
    /// When it is no such folder.
    pub fn read(folder: &Path) -> Result<Self, PublishedError> {
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            if [".json", ".pem", ".crl", ".der"].iter().any(|suffix| name.ends_with(suffix)) {
                files.insert(name.to_owned(), fs::read(&path)?);
            }
        }
        Self::from_files(&files)
    }

    /// Reads files by their names.
    ///
    /// # Errors
    /// When one is not what its name says, or missing.
    pub fn from_files(files: &BTreeMap<String, Vec<u8>>) -> Result<Self, PublishedError> {
        let root = files.get(ROOT).cloned().and_then(|root| String::from_utf8(root).ok());
        let root = root.ok_or(PublishedError::Root)?;
        let (snp, of_snp) = (snp::from_files(files)?, snp::names());
        let mut collateral = BTreeMap::new();
        let others = files.iter().filter(|(name, _)| *name != ROOT && !of_snp.contains(name));
        for (name, bytes) in others {
            let platform =
                DcapPlatform::of_file(name).ok_or_else(|| PublishedError::Name(name.clone()))?;
            let read = DcapCollateral::from_json(bytes);
            let read = read.map_err(|error| PublishedError::Collateral(name.clone(), error))?;
            collateral.insert(platform, read);
        }
        Self::new(root, collateral, snp)
    }

    /// The files by their names. For SGX and TDX the root's certificate, and a document of collateral each; for SEV-SNP chain,
    /// revocation list and the certificate of the platform's key.
    #[must_use]
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let documents = self.collateral.iter();
        let documents = documents.map(|(platform, known)| (platform.file_name(), known.to_json()));
        let root = (ROOT.to_owned(), self.root.clone().into_bytes());
        documents.chain([root]).chain(snp::files(&self.snp)).collect()
    }

    /// The certificate of the root of SGX and TDX, DER.
    pub(crate) fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// The collateral of a platform that the root certified.
    pub(crate) fn collateral(&self, platform: &DcapPlatform) -> Option<&DcapCollateral> {
        self.collateral.get(platform)
    }

    /// The collateral of the SNP platform, if it is the one that a report comes from by its own word.
    pub(crate) fn snp_collateral(&self, report: &SnpEvidence) -> Option<&SnpCollateral> {
        let claimed = report.certificate()?;
        (self.snp.endorsement.as_deref() == Some(claimed)).then_some(&self.snp)
    }
}
