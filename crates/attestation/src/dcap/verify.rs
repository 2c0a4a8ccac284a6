//! From a quote to what it proves.

use std::ops::Range;

use dcap_qvl::{QuotePolicy, verify::QuoteVerifier};
use ring::{
    digest::{SHA256, digest},
    signature::{ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED, UnparsedPublicKey},
};
use sesame_domain::TeeKind;
use x509_cert::{Certificate, der::Decode as _};

use super::{
    DcapCollateral, DcapError, DcapQuote,
    pck::certificates,
    platform::{Platforms, key_of},
};
use crate::snp::signed_part;
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

/// Checks all of a quote that takes nobody's word but its own and the root's: each certificate is signed by the next one and
/// the last is the root, the platform vouches for the quoting enclave, that for the attestation key, and that signed the
/// report. Dates, revocation, names and TCB need collateral: a quote that passes is not verified, but nobody made it at home.
///
/// # Errors
/// When a signature does not hold.
pub(crate) fn verify_signatures(quote: &DcapQuote, root: Root<'_>) -> Result<(), DcapError> {
    let chain = certificates(quote.chain()).ok_or(DcapError::UnreadableCertificates)?;
    if chain.len() > MOST_CERTIFICATES
        || chain.last().map(AsRef::as_ref) != Some(root.certificate())
    {
        return Err(DcapError::UntrustedRoot);
    }
    let read = |der| Signed::read(der).ok_or(DcapError::UnreadableCertificates);
    let chain: Vec<_> = chain.iter().map(|der| read(der)).collect::<Result<_, _>>()?;
    for (certificate, issuer) in chain.iter().zip(chain.iter().skip(1)) {
        certificate.verify(issuer)?;
    }
    let platform = chain.first().ok_or(DcapError::UnreadableCertificates)?;
    let (report, signature) = quote.quoting_enclave();
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &platform.key)
        .verify(report, signature)
        .map_err(|_| DcapError::QuotingEnclaveReport)?;
    let key = digest(&SHA256, &quote.vouched_for().concat());
    if report.get(VOUCHED_FOR) != Some(key.as_ref()) {
        return Err(DcapError::AttestationKey);
    }
    verify_signature(quote)
}

/// No chain is longer: platform, its issuer, root.
const MOST_CERTIFICATES: usize = 3;
/// Where the quoting enclave's report says what it is about.
const VOUCHED_FOR: Range<usize> = 320..352;

/// A certificate as far as its signature goes.
struct Signed<'a> {
    /// What was signed, exactly as it came.
    content: &'a [u8],
    signature: Vec<u8>,
    key: Vec<u8>,
}

impl<'a> Signed<'a> {
    fn read(der: &'a [u8]) -> Option<Self> {
        let parsed = Certificate::from_der(der).ok()?;
        let key = &parsed.tbs_certificate().subject_public_key_info().subject_public_key;
        Some(Self {
            content: signed_part(der).ok()?,
            signature: parsed.signature().as_bytes()?.to_vec(),
            key: key.as_bytes()?.to_vec(),
        })
    }

    fn verify(&self, issuer: &Self) -> Result<(), DcapError> {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &issuer.key)
            .verify(self.content, &self.signature)
            .map_err(|_| {
                DcapError::BrokenChain("a certificate is not signed by the next".to_owned())
            })
    }
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
