//! The list of certificates that a root has revoked (RFC 5280, section 5).
//!
//! AMD's roots sign one list for each kind of chain, served beside it. A list revokes what its own issuer issued: the ASK
//! or the ASVK, and so every platform below it. The certificates of VCEKs and VLEKs name no list, so single platforms are
//! retired by raising the minimum firmware, or not at all.

use std::ops::Range;

use x509_cert::{
    crl::CertificateList,
    der::{Decode, oid::ObjectIdentifier},
};

use super::{
    certificate::{Certificate, contains, refuse_critical, seconds, signed_part},
    error::{ChainProblem, Part, SnpError},
};

/// No critical extension of a list is known, so none is accepted: indirect and partial lists say by such ones what they are.
const KNOWN: [ObjectIdentifier; 0] = [];

/// Checks that the list is `root`'s, that it holds now, and that `signer` is not on it. Gives the time that it holds.
pub(crate) fn check(
    der: &[u8],
    root: &Certificate,
    signer: &Certificate,
    now: u64,
) -> Result<Range<u64>, SnpError> {
    let part = Part::RevocationList;
    let list = read(der, root).map_err(|problem| SnpError::Chain { part, problem })?;
    let tbs = &list.tbs_cert_list;
    let next = tbs.next_update.as_ref().ok_or(ChainProblem::NoExpiry);
    let holds = next.map(|next| seconds(&tbs.this_update)..seconds(next));
    let holds = holds
        .and_then(|holds| contains(&holds, now).map(|()| holds))
        .map_err(|problem| SnpError::Chain { part, problem })?;
    let mut revoked = tbs.revoked_certificates.iter().flatten();
    if revoked.any(|entry| entry.serial_number.as_bytes() == signer.serial_number()) {
        return Err(signer.refuse(ChainProblem::Revoked));
    }
    Ok(holds)
}

/// Until when an unverified list says that it holds, seconds since 1970.
pub(crate) fn next_update(der: &[u8]) -> Result<u64, SnpError> {
    let refuse = |problem| SnpError::Chain { part: Part::RevocationList, problem };
    let list: CertificateList =
        CertificateList::from_der(der).map_err(|error| refuse(error.into()))?;
    let next = list.tbs_cert_list.next_update.as_ref().ok_or(ChainProblem::NoExpiry);
    next.map(seconds).map_err(refuse)
}

/// Reads a list that `root` signed and that holds nothing unknown.
fn read(der: &[u8], root: &Certificate) -> Result<CertificateList, ChainProblem> {
    let list = CertificateList::from_der(der)?;
    let tbs = &list.tbs_cert_list;
    let algorithms = [&tbs.signature, &list.signature_algorithm];
    root.signed(&tbs.issuer, algorithms, signed_part(der)?, &list.signature)?;
    refuse_critical(tbs.crl_extensions.as_deref(), &KNOWN)?;
    for entry in tbs.revoked_certificates.iter().flatten() {
        refuse_critical(entry.crl_entry_extensions.as_deref(), &KNOWN)?;
    }
    Ok(list)
}
