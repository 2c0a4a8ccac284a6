//! Collateral in files, for sites without the network.

use std::path::Path;

use sesame_attestation::{
    dcap::{DcapCollateral, DcapPlatform},
    snp::{Lookup, SnpCollateral},
};

use super::{Reason, snp_of};

/// Reads `<tee>-<fmspc>-<ca>.json`.
pub(super) async fn dcap(folder: &Path, platform: DcapPlatform) -> Result<DcapCollateral, Reason> {
    Ok(DcapCollateral::from_json(&read(folder, &platform.file_name()).await?)?)
}

/// Reads `snp-<product>-<vcek or vlek>.pem` and `.crl`, and `snp-<product>-<chip>-<firmware>.der` for a certificate that the
/// evidence came without: what AMD serves as `cert_chain`, as `crl`, and for a chip.
pub(super) async fn snp(folder: &Path, lookup: Lookup) -> Result<SnpCollateral, Reason> {
    let endorsement = match lookup.missing {
        Some(_) => Some(read(folder, &format!("{lookup}.der")).await?),
        None => None,
    };
    let product = Lookup { missing: None, ..lookup };
    let chain = read(folder, &format!("{product}.pem")).await?;
    let list = read(folder, &format!("{product}.crl")).await?;
    snp_of(&chain, &list, endorsement)
}

async fn read(folder: &Path, name: &str) -> Result<Vec<u8>, Reason> {
    let path = folder.join(name);
    let bytes = tokio::fs::read(&path).await;
    bytes.map_err(|error| Reason::File(format!("{} ({error})", path.display())))
}
