//! Reports, signed as the security processor signs them.

use aws_lc_rs::{
    pkcs8::Document,
    rand::SystemRandom,
    signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use sev::{
    firmware::{
        guest::{AttestationReport, GuestPolicy, KeyInfo},
        host::TcbVersion,
    },
    parser::ByteParser,
};

use super::IssueError;
use crate::snp::{
    certificate::Certificate,
    endorsement::{Binding, Endorsement},
    error::Part,
    evidence::{REPORT_LENGTH, SIGNED_LENGTH, SigningKey, SnpEvidence},
    product::{Product, Tcb},
};

/// Where S begins, after R.
const SECOND_SCALAR: usize = SIGNED_LENGTH + 72;

/// A simulated platform: a chip with its firmware and a key that signs reports.
pub struct SimulatedPlatform {
    product: Product,
    signing_key: SigningKey,
    chip_id: [u8; 64],
    tcb: Tcb,
    key: EcdsaKeyPair,
    certificate: Vec<u8>,
}

impl std::fmt::Debug for SimulatedPlatform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimulatedPlatform").field("product", &self.product).finish_non_exhaustive()
    }
}

impl SimulatedPlatform {
    pub(super) const fn new(
        product: Product,
        signing_key: SigningKey,
        chip_id: [u8; 64],
        tcb: Tcb,
        key: EcdsaKeyPair,
        certificate: Vec<u8>,
    ) -> Self {
        Self { product, signing_key, chip_id, tcb, key, certificate }
    }

    /// The key, PKCS#8, to be kept by whoever simulates: it is as secret as the simulation is to be trusted.
    ///
    /// # Errors
    /// When the cryptographic library fails.
    pub fn private_key(&self) -> Result<Document, IssueError> {
        Ok(self.key.to_pkcs8v1()?)
    }

    /// The platform of a VCEK, from the key that [`Self::private_key`] gave and its certificate.
    ///
    /// # Errors
    /// When they are something else, or do not belong together.
    pub fn load(private_key: &[u8], certificate: Vec<u8>) -> Result<Self, IssueError> {
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, private_key);
        let key = key.map_err(|_| IssueError::Saved)?;
        let parsed = Certificate::parse(Part::Endorsement, &certificate);
        let parsed = parsed.map_err(|_| IssueError::Saved)?;
        let endorsement = Endorsement::read(&parsed).map_err(|_| IssueError::Saved)?;
        let Endorsement { binding: Binding::Chip(chip), product, tcb, .. } = endorsement else {
            return Err(IssueError::Saved);
        };
        if parsed.public_key().1 != key.public_key().as_ref() {
            return Err(IssueError::Saved);
        }
        let mut chip_id = [0; 64];
        chip_id.iter_mut().zip(chip).for_each(|(to, from)| *to = from);
        Ok(Self::new(product, SigningKey::Vcek, chip_id, tcb, key, certificate))
    }

    /// The certificate of its key, in DER.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// Evidence about a guest of this measurement and host data, at VMPL 0, that says `report_data`; with the certificate.
    ///
    /// # Errors
    /// When the platform has a chip or firmware that no report can tell.
    pub fn quote(
        &self,
        measurement: [u8; 48],
        host_data: [u8; 32],
        report_data: [u8; 64],
    ) -> Result<SnpEvidence, IssueError> {
        let report = AttestationReport { measurement, host_data, report_data, ..self.report() };
        let bytes = report.to_bytes().map_err(|error| IssueError::Report(error.into()))?;
        SnpEvidence::from_report(&self.sign(bytes)?, Some(self.certificate.clone()))
            .map_err(|error| IssueError::Report(error.into()))
    }

    /// Signs a report, whatever it says.
    ///
    /// # Errors
    /// When the cryptographic library fails.
    pub fn sign(&self, mut report: [u8; REPORT_LENGTH]) -> Result<[u8; REPORT_LENGTH], IssueError> {
        let (signed, signature) = report.split_at_mut(SIGNED_LENGTH);
        let scalars = self.key.sign(&SystemRandom::new(), signed)?;
        signature.fill(0);
        let (r, s) = scalars.as_ref().split_at(48);
        for (at, scalar) in [(SIGNED_LENGTH, r), (SECOND_SCALAR, s)] {
            let places = report.iter_mut().skip(at);
            places.zip(scalar.iter().rev()).for_each(|(place, byte)| *place = *byte);
        }
        Ok(report)
    }

    /// What the platform says of itself and of an ordinary guest: no debugging, no migration, hyperthreads allowed.
    pub(crate) fn report(&self) -> AttestationReport {
        let (family, model) = match self.product {
            Product::Milan => (0x19, 0x01),
            Product::Genoa => (0x19, 0x11),
            Product::Turin => (0x1A, 0x02),
        };
        let Tcb { fmc, bootloader, tee, snp, microcode } = self.tcb;
        let tcb = TcbVersion { fmc, bootloader, tee, snp, microcode };
        let signing_key = match self.signing_key {
            SigningKey::Vcek => 0,
            SigningKey::Vlek => 1 << 2,
        };
        AttestationReport {
            version: 3,
            policy: GuestPolicy::from(1 << 16),
            sig_algo: 1,
            key_info: KeyInfo::from(signing_key),
            current_tcb: tcb,
            reported_tcb: tcb,
            committed_tcb: tcb,
            launch_tcb: tcb,
            report_id: [7; 32],
            report_id_ma: [0xFF; 32],
            cpuid_fam_id: Some(family),
            cpuid_mod_id: Some(model),
            cpuid_step: Some(1),
            chip_id: self.chip_id,
            ..AttestationReport::default()
        }
    }
}
