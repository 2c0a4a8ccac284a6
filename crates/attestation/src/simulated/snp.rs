//! The one SNP platform that is simulated, and what is said of it: files under the names that a folder with AMD's has.

use std::collections::BTreeMap;

use x509_cert::der::pem::{LineEnding, encode_string};

use super::PublishedError;
use crate::snp::{Lookup, Product, SigningKey, SnpCollateral, Tcb, VcekName};

/// The product that is simulated.
pub(crate) const PRODUCT: Product = Product::Milan;
/// Its firmware, which is also the minimum that platforms under a simulated root have to have.
pub(crate) const FIRMWARE: Tcb = Tcb { fmc: None, bootloader: 4, tee: 0, snp: 24, microcode: 219 };
/// The chip.
pub(super) const CHIP_ID: [u8; 64] = [0x5e; 64];

/// The names of the files: the chain (PEM), the root's revocation list and the certificate of the platform's key (DER).
pub(super) fn names() -> [String; 3] {
    let known = Lookup { product: PRODUCT, key: SigningKey::Vcek, missing: None };
    let missing = Some(VcekName { chip_id: CHIP_ID, tcb: FIRMWARE });
    let platform = Lookup { missing, ..known };
    [format!("{known}.pem"), format!("{known}.crl"), format!("{platform}.der")]
}

/// Reads what [`files`] gave.
pub(super) fn from_files(
    files: &BTreeMap<String, Vec<u8>>,
) -> Result<SnpCollateral, PublishedError> {
    let [chain, list, certificate] = names();
    let collateral = SnpCollateral::from_kds(file(files, &chain)?, file(files, &list)?)
        .map_err(|error| PublishedError::Snp(chain, error))?;
    collateral.until().map_err(|error| PublishedError::Snp(list, error))?;
    Ok(collateral.with_endorsement(file(files, &certificate)?.to_vec()))
}

fn file<'f>(files: &'f BTreeMap<String, Vec<u8>>, name: &str) -> Result<&'f [u8], PublishedError> {
    let file = files.get(name).map(Vec::as_slice);
    file.ok_or_else(|| PublishedError::Missing(name.to_owned()))
}

/// The files by their names.
pub(super) fn files(collateral: &SnpCollateral) -> impl Iterator<Item = (String, Vec<u8>)> {
    let SnpCollateral { signer, root, revoked, endorsement } = collateral;
    let pem = |der: &Vec<u8>| encode_string("CERTIFICATE", LineEnding::LF, der);
    let chain = [signer, root].map(|der| pem(der).expect("a certificate is small"));
    let contents =
        [chain.concat().into_bytes(), revoked.clone(), endorsement.clone().unwrap_or_default()];
    names().into_iter().zip(contents)
}
