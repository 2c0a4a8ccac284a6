//! The whole of a simulated vendor: its certificate authorities, Intel's and AMD's, and the one platform that each certified.

use std::sync::Arc;

use dcap_qvl::QuoteCollateralV3;
use p256::{SecretKey, ecdsa::SigningKey, pkcs8::DecodePrivateKey};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams,
    CertifiedIssuer, CustomExtension, DistinguishedName, DnType, IsCa, KeyIdMethod, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, RevokedCertParams, SerialNumber,
};

use super::{
    Dcap, Published, Quoting, Root, Statement, extension, quoting::sign, snp, statement::moment,
};
use crate::{
    dcap::{DcapCollateral, DcapPlatform, PckCa},
    snp::{
        SigningKey as SnpKey, SnpCollateral,
        issue::{SimulatedAmd, SimulatedPlatform},
    },
};

type Authority = CertifiedIssuer<'static, KeyPair>;

const DAY: u64 = 86_400;
/// A simulated vendor and its statements last so long: 20 years.
const LIFE: u64 = 20 * 365 * DAY;
const PCK_SERIAL: u64 = 0x5e5a;
const ASK_SERIAL: u8 = 2;

/// Holds the keys of both vendors' authorities and platforms.
pub struct Vendor {
    root: Authority,
    intermediate: Authority,
    tcb_signer: (Certificate, SigningKey),
    quoting: Quoting,
    amd: SimulatedAmd,
    snp: Arc<SimulatedPlatform>,
    from: u64,
}

impl std::fmt::Debug for Vendor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vendor").finish_non_exhaustive()
    }
}

impl Vendor {
    /// Makes a vendor: new keys, valid from the day before `now` (seconds since 1970).
    ///
    /// # Panics
    /// When the operating system gives no randomness, or the year has five digits.
    #[must_use]
    pub fn make(now: u64) -> Self {
        let from = now.saturating_sub(DAY);
        let authority = |name, below| certificate(name, from, Some(below));
        let root = CertifiedIssuer::self_signed(authority("Simulated Root CA", 1), key());
        let root = root.expect(SIGNS);
        // The word `Platform` says which authority of Intel's it stands for.
        let platform_ca = authority("Simulated PCK Platform CA", 0);
        let intermediate = CertifiedIssuer::signed_by(platform_ca, key(), &root).expect(SIGNS);
        let tcb_key = key();
        let tcb_signer = certificate("Simulated TCB Signing", from, None);
        let tcb_signer = tcb_signer.signed_by(&tcb_key, &root).expect(SIGNS);
        let mut pck = certificate("Simulated PCK Certificate", from, None);
        pck.serial_number = Some(SerialNumber::from(PCK_SERIAL));
        pck.custom_extensions
            .push(CustomExtension::from_oid_content(&extension::OID, extension::content()));
        let platform = key();
        let pck = pck.signed_by(&platform, &intermediate).expect(SIGNS);
        let quoting = Quoting {
            platform: signing(&platform),
            attestation: signing(&key()),
            chain: [pck.pem(), intermediate.pem(), root.pem()].concat(),
        };
        let tcb_signer = (tcb_signer, signing(&tcb_key));
        let holds = from..from + LIFE;
        let amd = SimulatedAmd::generate(snp::PRODUCT, holds.clone()).expect(SIGNS);
        let snp = amd.platform(SnpKey::Vcek, snp::CHIP_ID, snp::FIRMWARE, holds).expect(SIGNS);
        Self { root, intermediate, tcb_signer, quoting, amd, snp: Arc::new(snp), from }
    }

    /// What stays of a vendor that says once and for all that its platform is up to date: the keys that quote, and what is
    /// published. The authorities' keys are gone with the vendor.
    #[must_use]
    pub fn root(&self) -> Root {
        let statement = Statement::up_to_date(self.from, self.from + LIFE);
        let (quoting, snp) = (self.quoting.clone(), self.snp.clone());
        Root { quoting, snp, published: self.publish(&statement) }
    }

    /// The quoting of Intel's platform.
    #[must_use]
    pub const fn quoting(&self) -> &Quoting {
        &self.quoting
    }

    /// What verifiers need, with this statement.
    #[must_use]
    pub fn publish(&self, statement: &Statement) -> Published {
        let collateral = [Dcap::Sgx, Dcap::Tdx].map(|tee| {
            let (tdx, fmspc) = (tee == Dcap::Tdx, extension::FMSPC);
            let platform = DcapPlatform { tdx, fmspc, ca: PckCa::Platform };
            (platform, self.collateral(tee, statement))
        });
        Published::new(self.root.pem(), collateral.into(), self.snp_collateral(statement))
            .expect(SIGNS)
    }

    /// What AMD would serve, the certificate of the platform's key included.
    fn snp_collateral(&self, statement: &Statement) -> SnpCollateral {
        let revoked = if statement.revoked { &[ASK_SERIAL][..] } else { &[] };
        let collateral =
            self.amd.collateral(SnpKey::Vcek, revoked, statement.from..statement.until);
        collateral.expect(SIGNS).with_endorsement(self.snp.certificate().to_vec())
    }

    /// The collateral of one of Intel's two technologies.
    ///
    /// # Panics
    /// Never: what is signed here is well formed.
    #[must_use]
    pub fn collateral(&self, tee: Dcap, statement: &Statement) -> DcapCollateral {
        let signer = [self.tcb_signer.0.pem(), self.root.pem()].concat();
        let (tcb_info, qe_identity) = (statement.tcb_info(tee), statement.qe_identity(tee));
        let signed = |text: &str| sign(&self.tcb_signer.1, text.as_bytes()).to_vec();
        let revoked = if statement.revoked { vec![revoked(statement)] } else { Vec::new() };
        DcapCollateral::new(QuoteCollateralV3 {
            pck_crl_issuer_chain: [self.intermediate.pem(), self.root.pem()].concat(),
            root_ca_crl: list(&self.root, statement, Vec::new()),
            pck_crl: list(&self.intermediate, statement, revoked),
            tcb_info_issuer_chain: signer.clone(),
            tcb_info_signature: signed(&tcb_info),
            tcb_info,
            qe_identity_issuer_chain: signer,
            qe_identity_signature: signed(&qe_identity),
            qe_identity,
            pck_certificate_chain: None,
        })
        .expect("what is signed here says until when it counts")
    }
}

const SIGNS: &str = "a key signs what is well formed";

fn key() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("there is randomness")
}

fn signing(key: &KeyPair) -> SigningKey {
    SecretKey::from_pkcs8_der(key.serialized_der()).expect("it is a P-256 key").into()
}

/// A certificate to be signed: an authority's, with so many authorities below it, or one at the end of a chain.
fn certificate(name: &str, from: u64, below: Option<u8>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.distinguished_name.push(DnType::OrganizationName, "Sesame, simulated: worth nothing");
    (params.not_before, params.not_after) = (moment(from), moment(from + LIFE));
    params.use_authority_key_identifier_extension = true;
    (params.is_ca, params.key_usages) = match below {
        Some(below) => (
            IsCa::Ca(BasicConstraints::Constrained(below)),
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign],
        ),
        None => (IsCa::ExplicitNoCa, vec![KeyUsagePurpose::DigitalSignature]),
    };
    params
}

fn list(
    issuer: &Authority,
    statement: &Statement,
    revoked_certs: Vec<RevokedCertParams>,
) -> Vec<u8> {
    let params = CertificateRevocationListParams {
        this_update: moment(statement.from),
        next_update: moment(statement.until),
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs,
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(issuer).expect(SIGNS).der().to_vec()
}

fn revoked(statement: &Statement) -> RevokedCertParams {
    RevokedCertParams {
        serial_number: SerialNumber::from(PCK_SERIAL),
        revocation_time: moment(statement.from),
        reason_code: None,
        invalidity_date: None,
    }
}
