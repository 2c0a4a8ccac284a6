//! From a quote to what it proves.

use std::ops::Range;

use dcap_qvl::{QuotePolicy, verify::QuoteVerifier};
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use sesame_domain::TeeKind;

use super::{
    DcapCollateral, DcapError, DcapQuote,
    platform::{Platforms, key_of},
};
use crate::tcb::{TcbPolicy, TcbVerdict};

/// Intel's root for SGX and TDX, DER (`Intel_SGX_Provisioning_Certification_RootCA.cer`).
pub(crate) const INTEL_ROOT: &[u8] = include_bytes!("intel-root.der");

/// A root of trust. It decides what evidence under it is, whatever the evidence says.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Root<'a> {
    /// Intel's.
    Vendor,
    /// One in software, DER.
    #[cfg_attr(not(feature = "simulated"), expect(dead_code, reason = "there is none"))]
    Simulated(&'a [u8]),
}

impl Root<'_> {
    const fn certificate(&self) -> &[u8] {
        match self {
            Self::Vendor => INTEL_ROOT,
            Self::Simulated(certificate) => certificate,
        }
    }

    /// The kind of an enclave under this root, and its measurement as the enclave id takes it.
    fn classify(self, tee: TeeKind, measurement: Vec<u8>) -> (TeeKind, Vec<u8>) {
        match self {
            Self::Vendor => (tee, measurement),
            Self::Simulated(_) => {
                (TeeKind::Simulated, [&[tee as u8], measurement.as_slice()].concat())
            }
        }
    }
}

/// What a quote proves.
#[derive(Debug)]
pub(crate) struct Proven {
    pub(crate) kind: TeeKind,
    pub(crate) measurement: Vec<u8>,
    pub(crate) verdict: TcbVerdict,
}

/// Verifies a quote under one root. Whose key and challenge it is about is the caller's to check, in its report data.
///
/// # Errors
/// When any check fails.
pub(crate) fn verify(
    quote: &DcapQuote,
    root: Root<'_>,
    collateral: &DcapCollateral,
    policy: &TcbPolicy,
    platforms: &Platforms,
    now: u64,
) -> Result<Proven, DcapError> {
    let key = key_of(quote, root.certificate(), collateral);
    let verdict = match platforms.get(&key, now) {
        Some(verdict) => {
            verify_signature(quote)?;
            verdict
        }
        None => platforms.get_or_verify(key, now, || {
            verify_in_full(quote, root.certificate(), collateral, now)
        })?,
    };
    policy.admit(&verdict)?;
    let (kind, measurement) = root.classify(quote.tee(), quote.measurement()?);
    Ok(Proven { kind, measurement, verdict: TcbVerdict::clone(&verdict) })
}

/// The library checks everything; which status is good enough is decided by [`TcbPolicy`]. The verdict holds from when the
/// youngest of what it rests on was issued until the first of it expires.
fn verify_in_full(
    quote: &DcapQuote,
    root: &[u8],
    collateral: &DcapCollateral,
    now: u64,
) -> Result<(TcbVerdict, Range<u64>), DcapError> {
    let claims = QuoteVerifier::new(root.to_vec())
        .verify_with_policy(quote.raw(), collateral.library(), now, &QuotePolicy::claims_only(now))
        .map_err(|refusal| DcapError::of(&format!("{refusal:#}")))?;
    let holds = claims.latest_issue_date..claims.earliest_expiration_date;
    if !holds.contains(&now) {
        return Err(DcapError::Expired(format!("the collateral counted until {}", holds.end)));
    }
    let (status, advisories) = (claims.tcb.status, claims.tcb.advisory_ids);
    Ok((TcbVerdict { status, advisories, until: holds.end }, holds))
}

/// The one check that is left for a platform that was verified before.
fn verify_signature(quote: &DcapQuote) -> Result<(), DcapError> {
    let (key, signature) = quote.signature();
    let mut point = [4; 65];
    point.iter_mut().skip(1).zip(key).for_each(|(to, from)| *to = *from);
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
        .verify(quote.signed(), signature)
        .map_err(|_| DcapError::Signature)
}

#[cfg(test)]
mod tests;
