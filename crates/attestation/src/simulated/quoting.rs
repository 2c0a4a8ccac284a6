//! Quoting: reports signed by an attestation key that the simulated platform vouches for.

use dcap_qvl::{
    INTEL_QE_VENDOR_ID,
    quote::{
        AuthData, AuthDataV3, AuthDataV4, CertificationData, Data, EnclaveReport, Header,
        QEReportCertificationData, Quote, Report, TDReport10,
    },
};
use p256::ecdsa::{Signature, SigningKey, signature::Signer as _};
use scale::Encode;
use sha2::{Digest, Sha256};

use super::{
    Dcap,
    extension::{CPU_SVN, PCE_SVN},
};

/// Who signed the simulated quoting enclave.
pub(super) const QE_SIGNER: [u8; 32] = [0x8c; 32];
/// Its version.
pub(super) const QE_SVN: u16 = 8;

/// A chain of certificates follows (PCK, its issuer, the root; PEM).
const PCK_CHAIN: u16 = 5;
/// The quoting enclave's report and its certification follow.
const QE_REPORT: u16 = 6;
/// What the quoting enclave adds to the key that it vouches for.
const QE_AUTH_DATA: [u8; 32] = [7; 32];
/// INIT and 64-bit mode; the second bit would be debug.
const ATTRIBUTES: u8 = 0x05;
/// The same with access to the provisioning key.
const QE_ATTRIBUTES: u8 = 0x11;
/// SEPT_VE_DISABLE, in the fourth byte.
const TD_ATTRIBUTES: [u8; 8] = [0, 0, 0, 0x10, 0, 0, 0, 0];

/// Signs for the platform and for its quoting enclave. Signatures are deterministic (RFC 6979), so a platform's quotes differ in
/// their reports alone.
#[derive(Clone)]
pub struct Quoting {
    pub(super) platform: SigningKey,
    pub(super) attestation: SigningKey,
    /// The platform's certificate and its issuers, PEM.
    pub(super) chain: String,
}

impl std::fmt::Debug for Quoting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Quoting").finish_non_exhaustive()
    }
}

impl Quoting {
    /// A quote as the quoting process gives it: of this measurement, for this report data.
    #[must_use]
    pub fn quote(&self, tee: Dcap, measurement: &[u8; 32], report_data: [u8; 64]) -> Vec<u8> {
        self.sign(match tee {
            Dcap::Sgx => Report::SgxEnclave(EnclaveReport { report_data, ..enclave(*measurement) }),
            Dcap::Tdx => {
                let mut mr_td = [0; 48];
                mr_td.iter_mut().zip(measurement).for_each(|(to, from)| *to = *from);
                Report::TD10(TDReport10 { report_data, ..domain(mr_td) })
            }
        })
    }

    /// The quote of a report: version 3 for SGX, 4 for TDX 1.0, 5 for TDX 1.5.
    #[must_use]
    pub fn sign(&self, report: Report) -> Vec<u8> {
        let sgx = report.is_sgx();
        let (version, tee_type) = match report {
            Report::SgxEnclave(_) => (3, 0),
            Report::TD10(_) => (4, 0x81),
            Report::TD15(_) | Report::TD15Ex(_) => (5, 0x81),
        };
        let header = Header {
            version,
            attestation_key_type: 2,
            tee_type,
            qe_svn: QE_SVN,
            pce_svn: PCE_SVN,
            qe_vendor_id: INTEL_QE_VENDOR_ID,
            user_data: [0; 20],
        };
        let mut auth = self.auth();
        let wrap = |auth| if sgx { AuthData::V3(auth) } else { AuthData::V4(in_version_4(auth)) };
        let unsigned = Quote { header, report, auth_data: wrap(auth.clone()) };
        let bytes = unsigned.encode();
        let signed = bytes.get(..unsigned.signed_length()).unwrap_or_default();
        auth.ecdsa_signature = sign(&self.attestation, signed);
        Quote { auth_data: wrap(auth), ..unsigned }.encode()
    }

    /// What vouches for the attestation key; its own signature is still missing.
    fn auth(&self) -> AuthDataV3 {
        let point = self.attestation.verifying_key().to_sec1_point(false);
        let mut key = [0; 64];
        key.iter_mut().zip(point.as_bytes().iter().skip(1)).for_each(|(to, from)| *to = *from);
        let mut report_data = [0; 64];
        let digest = Sha256::digest([&key[..], &QE_AUTH_DATA].concat());
        report_data.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        let mut report = EnclaveReport {
            mr_signer: QE_SIGNER,
            isv_prod_id: 1,
            isv_svn: QE_SVN,
            report_data,
            ..enclave([0x99; 32])
        };
        report.attributes = first(QE_ATTRIBUTES);
        let mut qe_report = [0; 384];
        qe_report.iter_mut().zip(report.encode()).for_each(|(to, from)| *to = from);
        AuthDataV3 {
            ecdsa_signature: [0; 64],
            ecdsa_attestation_key: key,
            qe_report,
            qe_report_signature: sign(&self.platform, &qe_report),
            qe_auth_data: Data::new(QE_AUTH_DATA.to_vec()),
            certification_data: CertificationData {
                cert_type: PCK_CHAIN,
                body: Data::new(self.chain.clone().into_bytes()),
            },
        }
    }
}

fn in_version_4(auth: AuthDataV3) -> AuthDataV4 {
    AuthDataV4 {
        ecdsa_signature: auth.ecdsa_signature,
        ecdsa_attestation_key: auth.ecdsa_attestation_key,
        certification_data: CertificationData { cert_type: QE_REPORT, body: Data::new(Vec::new()) },
        qe_report_data: QEReportCertificationData {
            qe_report: auth.qe_report,
            qe_report_signature: auth.qe_report_signature,
            qe_auth_data: auth.qe_auth_data,
            certification_data: auth.certification_data,
        },
    }
}

/// The report of an enclave on the simulated platform.
pub(super) const fn enclave(mr_enclave: [u8; 32]) -> EnclaveReport {
    EnclaveReport {
        cpu_svn: CPU_SVN,
        misc_select: 0,
        reserved1: [0; 28],
        attributes: first(ATTRIBUTES),
        mr_enclave,
        reserved2: [0; 32],
        mr_signer: [0x55; 32],
        reserved3: [0; 96],
        isv_prod_id: 0,
        isv_svn: 0,
        reserved4: [0; 60],
        report_data: [0; 64],
    }
}

/// The report of a TD on the simulated platform.
pub(super) const fn domain(mr_td: [u8; 48]) -> TDReport10 {
    TDReport10 {
        tee_tcb_svn: [3, 0, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3],
        mr_seam: [1; 48],
        mr_signer_seam: [0; 48],
        seam_attributes: [0; 8],
        td_attributes: TD_ATTRIBUTES,
        xfam: [0; 8],
        mr_td,
        mr_config_id: [0; 48],
        mr_owner: [0; 48],
        mr_owner_config: [0; 48],
        rt_mr0: [0; 48],
        rt_mr1: [0; 48],
        rt_mr2: [0; 48],
        rt_mr3: [0; 48],
        report_data: [0; 64],
    }
}

const fn first(byte: u8) -> [u8; 16] {
    (byte as u128).to_le_bytes()
}

/// An ECDSA signature over SHA-256, as quotes and collateral have it: r, then s.
pub(super) fn sign(key: &SigningKey, message: &[u8]) -> [u8; 64] {
    let signature: Signature = key.sign(message);
    signature.to_bytes().into()
}
