//! A quote as it arrives, unverified.

use std::ops::Range;

use dcap_qvl::quote::{AuthDataV3, EnclaveReport, Quote, Report, TDReport10};
use sesame_domain::TeeKind;

use super::{DcapError, pck::Pck};

/// No quote is longer: a chain of three certificates makes up most of one.
const MAX_BYTES: usize = 16 << 10;

/// The header of every version, bytes.
const HEADER: usize = 48;

/// What comes before the report of a version 5 quote: its type and size.
const BODY_HEAD: usize = 6;

/// What says for itself what the enclave is, in a report of SGX. No check of the platform reads it.
const SGX_OWN: [Range<usize>; 4] = [64..96, 128..160, 256..260, 320..384];

/// The same in a report of TDX: MRTD to RTMR3, then the report data.
const TDX_OWN: Range<usize> = 136..584;

/// A quote of SGX (version 3) or TDX (versions 4 and 5).
#[derive(Debug, Clone)]
pub struct DcapQuote {
    raw: Vec<u8>,
    quote: Quote,
    auth: AuthDataV3,
}

impl DcapQuote {
    /// Reads the bytes of a quote. What follows the quote is ignored: some drivers pad to a whole page.
    ///
    /// # Errors
    /// When they are no quote, or one whose certificates are missing.
    pub fn parse(raw: Vec<u8>) -> Result<Self, DcapError> {
        if raw.len() > MAX_BYTES {
            return Err(DcapError::Malformed(format!("it has more than {MAX_BYTES} bytes")));
        }
        let quote =
            Quote::parse(&raw).map_err(|error| DcapError::Malformed(format!("{error:#}")))?;
        let sgx = quote.report.as_sgx().is_some();
        if sgx != (quote.header.version == 3) || sgx != quote.header.is_sgx() {
            return Err(DcapError::Malformed("its version is not one of its TEE's".to_owned()));
        }
        if quote.raw_cert_chain().is_err() {
            return Err(DcapError::NoCertificates(quote.inner_cert_type()));
        }
        let auth = quote.auth_data.clone().into_v3();
        Ok(Self { raw, quote, auth })
    }

    /// What it is a quote of, as it says.
    #[must_use]
    pub const fn tee(&self) -> TeeKind {
        match self.quote.report {
            Report::SgxEnclave(_) => TeeKind::Sgx,
            Report::TD10(_) | Report::TD15(_) | Report::TD15Ex(_) => TeeKind::Tdx,
        }
    }

    /// What the platform's certificates say, unverified.
    pub(crate) fn pck(&self) -> Result<Pck, DcapError> {
        Pck::read(&self.quote)
    }

    /// The platform's certificates as they came: PEM, unverified.
    pub(super) fn chain(&self) -> &[u8] {
        &self.auth.certification_data.body.data
    }

    /// The quoting enclave's report, and the platform's signature over it.
    pub(super) const fn quoting_enclave(&self) -> (&[u8; 384], &[u8; 64]) {
        (&self.auth.qe_report, &self.auth.qe_report_signature)
    }

    /// What the quoting enclave's report is about: the attestation key and data of its own.
    pub(super) fn vouched_for(&self) -> [&[u8]; 2] {
        [&self.auth.ecdsa_attestation_key, &self.auth.qe_auth_data.data]
    }

    /// The whole quote.
    pub(super) fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// What the attestation key signed.
    pub(super) fn signed(&self) -> &[u8] {
        self.raw.get(..self.quote.signed_length()).unwrap_or_default()
    }

    /// The attestation key (x, y) and its signature (r, s) over [`Self::signed`].
    pub(super) const fn signature(&self) -> (&[u8; 64], &[u8; 64]) {
        (&self.auth.ecdsa_attestation_key, &self.auth.ecdsa_signature)
    }

    /// All that a verdict about the platform can rest on, in pieces: everything but the enclave's own fields and the
    /// signature over the report.
    pub(super) fn platform_parts(&self) -> impl Iterator<Item = &[u8]> {
        let report = if self.quote.header.version == 5 { HEADER + BODY_HEAD } else { HEADER };
        let own: &[Range<usize>] = match self.tee() {
            TeeKind::Sgx => &SGX_OWN,
            TeeKind::Tdx | TeeKind::Snp | TeeKind::Simulated => std::slice::from_ref(&TDX_OWN),
        };
        let starts = std::iter::once(0).chain(own.iter().map(move |own| report + own.end));
        let ends = own.iter().map(move |own| report + own.start);
        let fields = starts.zip(ends.chain(std::iter::once(self.quote.signed_length())));
        let fields = fields.map(|(start, end)| self.raw.get(start..end).unwrap_or_default());
        let auth = &self.auth;
        fields.chain([
            &auth.ecdsa_attestation_key[..],
            &auth.qe_report,
            &auth.qe_report_signature,
            &auth.qe_auth_data.data,
            self.chain(),
        ])
    }

    /// What its owner asked to have quoted.
    #[must_use]
    pub const fn report_data(&self) -> &[u8; 64] {
        match &self.quote.report {
            Report::SgxEnclave(report) => &report.report_data,
            Report::TD10(report) => &report.report_data,
            Report::TD15(report) => &report.base.report_data,
            Report::TD15Ex(report) => &report.base.base.report_data,
        }
    }

    /// What enters the enclave id: MRENCLAVE, or all of a TD's registers.
    ///
    /// # Errors
    /// When it is an SGX enclave with a configuration of its own (KSS), which no MRENCLAVE covers.
    pub(super) fn measurement(&self) -> Result<Vec<u8>, DcapError> {
        match &self.quote.report {
            Report::SgxEnclave(report) => sgx_measurement(report),
            Report::TD10(report) => Ok(tdx_measurement(report)),
            Report::TD15(report) => Ok(tdx_measurement(&report.base)),
            Report::TD15Ex(report) => Ok(tdx_measurement(&report.base.base)),
        }
    }
}

/// The library keeps CONFIGID (64 bytes) at the end of one reserved field, and CONFIGSVN (2) at the start of the next.
fn sgx_measurement(report: &EnclaveReport) -> Result<Vec<u8>, DcapError> {
    let (_, config_id) = report.reserved3.split_at(32);
    let (config_svn, _) = report.reserved4.split_at(2);
    if config_id.iter().chain(config_svn).any(|byte| *byte != 0) {
        return Err(DcapError::Configured);
    }
    Ok(report.mr_enclave.to_vec())
}

fn tdx_measurement(report: &TDReport10) -> Vec<u8> {
    [
        report.mr_td,
        report.mr_config_id,
        report.mr_owner,
        report.mr_owner_config,
        report.rt_mr0,
        report.rt_mr1,
        report.rt_mr2,
        report.rt_mr3,
    ]
    .concat()
}
