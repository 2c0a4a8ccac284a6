//! What a simulated vendor publishes: its root's certificate and the collateral of its platform, as files.

use std::{collections::BTreeMap, fs, io, path::Path};

use x509_cert::{
    Certificate,
    der::{DecodePem as _, Encode as _},
};

use crate::dcap::{CollateralError, DcapCollateral, DcapPlatform};

/// The name of the file with the root's certificate, PEM.
const ROOT: &str = "root.pem";

/// What verifiers need to believe quotes under a simulated root.
#[derive(Debug, Clone)]
pub struct Published {
    pub(super) root: String,
    pub(super) certificate: Vec<u8>,
    pub(super) collateral: BTreeMap<DcapPlatform, DcapCollateral>,
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
    /// A file holds no collateral.
    #[error("`{0}` holds no collateral")]
    Collateral(String, #[source] CollateralError),
}

impl Published {
    pub(super) fn new(
        root: String,
        collateral: BTreeMap<DcapPlatform, DcapCollateral>,
    ) -> Result<Self, PublishedError> {
        let certificate = Certificate::from_pem(&root).and_then(|certificate| certificate.to_der());
        let certificate = certificate.map_err(|_| PublishedError::Root)?;
        Ok(Self { root, certificate, collateral })
    }

    /// Reads a folder that [`Self::files`] were written to. Other files than `.json` and `.pem` are left alone.
    ///
    /// # Errors
    /// When it is no such folder.
    pub fn read(folder: &Path) -> Result<Self, PublishedError> {
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            if [".json", ".pem"].iter().any(|suffix| name.ends_with(suffix)) {
                files.insert(name.to_owned(), fs::read(&path)?);
            }
        }
        Self::from_files(&files)
    }

    /// Reads files by their names.
    ///
    /// # Errors
    /// When one is not what its name says, or the root's certificate is missing.
    pub fn from_files(files: &BTreeMap<String, Vec<u8>>) -> Result<Self, PublishedError> {
        let root = files.get(ROOT).cloned().and_then(|root| String::from_utf8(root).ok());
        let mut collateral = BTreeMap::new();
        for (name, bytes) in files.iter().filter(|(name, _)| *name != ROOT) {
            let platform =
                DcapPlatform::of_file(name).ok_or_else(|| PublishedError::Name(name.clone()))?;
            let read = DcapCollateral::from_json(bytes);
            let read = read.map_err(|error| PublishedError::Collateral(name.clone(), error))?;
            collateral.insert(platform, read);
        }
        Self::new(root.ok_or(PublishedError::Root)?, collateral)
    }

    /// The files by their names: the root's certificate, and a document of collateral per platform and technology.
    #[must_use]
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let documents = self.collateral.iter();
        let documents = documents.map(|(platform, known)| (platform.file_name(), known.to_json()));
        documents.chain([(ROOT.to_owned(), self.root.clone().into_bytes())]).collect()
    }

    /// The root's certificate, DER.
    pub(crate) fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// The collateral of a platform that the root certified.
    pub(crate) fn collateral(&self, platform: &DcapPlatform) -> Option<&DcapCollateral> {
        self.collateral.get(platform)
    }
}
