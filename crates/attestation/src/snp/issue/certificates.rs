//! Certificates and revocation lists, written as AMD writes them.

use std::{ops::Range, str::FromStr, time::Duration};

use alloy_primitives::hex;
use aws_lc_rs::{
    rand::SystemRandom,
    signature::{EcdsaKeyPair, KeyPair, RSA_PSS_SHA384, RsaKeyPair},
};
use x509_cert::{
    Version,
    crl::{CertificateList, RevokedCert, TbsCertList},
    der::{
        Any, AnyRef, DateTime, Decode, Encode, Tag, TagNumber,
        asn1::{BitString, GeneralizedTime, Ia5StringRef, OctetString},
        oid::{AssociatedOid, ObjectIdentifier},
    },
    ext::{
        Extension,
        pkix::{BasicConstraints, KeyUsage, KeyUsages},
    },
    name::Name,
    serial_number::SerialNumber,
    spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned},
    time::Time,
};

use super::{
    IssueError, endorsement,
    endorsement::{BOOTLOADER, FMC, HARDWARE_ID, MICROCODE, PRODUCT_NAME, PROVIDER_ID, SNP, TEE},
};
use crate::snp::{
    certificate::{RSA_ENCRYPTION, RSASSA_PSS},
    evidence::SigningKey,
    product::{Product, Tcb},
};

/// SHA-384, MGF1 with SHA-384, 48 bytes of salt (RFC 4055, section 3.1).
const PSS_PARAMETERS: [u8; 54] = hex!(
    "3034a00f300d06096086480165030402020500a11c301a06092a864886f70d010108"
    "300d06096086480165030402020500a203020130"
);

/// What a certificate says, but for its key and issuer.
#[derive(Debug, Clone)]
pub(crate) struct Fields {
    pub(crate) subject: String,
    pub(crate) serial: u8,
    pub(crate) holds: Range<u64>,
    pub(crate) extensions: Vec<Extension>,
}

impl Fields {
    /// Of a key that signs certificates.
    pub(crate) fn authority(
        subject: &str,
        serial: u8,
        holds: Range<u64>,
    ) -> Result<Self, IssueError> {
        let constraints = BasicConstraints { ca: true, path_len_constraint: None };
        let usage = KeyUsage(KeyUsages::KeyCertSign | KeyUsages::CRLSign);
        let extensions = vec![
            extension(BasicConstraints::OID, true, constraints.to_der()?)?,
            extension(KeyUsage::OID, true, usage.to_der()?)?,
        ];
        Ok(Self { subject: subject.to_owned(), serial, holds, extensions })
    }

    /// Of a VCEK or VLEK.
    pub(crate) fn endorsement(
        product: Product,
        key: SigningKey,
        chip_id: &[u8; 64],
        tcb: Tcb,
        holds: Range<u64>,
    ) -> Result<Self, IssueError> {
        let name = Ia5StringRef::new(product.name())?.to_der()?;
        let mut extensions = vec![extension(PRODUCT_NAME, false, name)?];
        for (id, version) in [
            (FMC, tcb.fmc),
            (BOOTLOADER, Some(tcb.bootloader)),
            (TEE, Some(tcb.tee)),
            (SNP, Some(tcb.snp)),
            (MICROCODE, Some(tcb.microcode)),
        ] {
            let Some(version) = version else { continue };
            extensions.push(extension(id, false, version.to_der()?)?);
        }
        extensions.push(match key {
            SigningKey::Vcek => {
                let id = chip_id.iter().take(product.chip_id_length()).copied().collect();
                extension(HARDWARE_ID, false, id)
            }
            SigningKey::Vlek => {
                extension(PROVIDER_ID, false, Ia5StringRef::new("simulated")?.to_der()?)
            }
        }?);
        Ok(Self { subject: format!("SEV-{key}"), serial: 0, holds, extensions })
    }
}

/// An extension with this content, in DER.
pub(crate) fn extension(
    id: ObjectIdentifier,
    critical: bool,
    content: Vec<u8>,
) -> Result<Extension, IssueError> {
    Ok(Extension { extn_id: id, critical, extn_value: OctetString::new(content)? })
}

/// A key that signs certificates and revocation lists, with its certificate.
pub(crate) struct Authority {
    key: RsaKeyPair,
    name: Name,
    certificate: Vec<u8>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("name", &self.name.to_string()).finish_non_exhaustive()
    }
}

impl Authority {
    /// Certifies a key by its issuer, or by itself.
    pub(crate) fn issue(
        fields: &Fields,
        key: RsaKeyPair,
        issuer: Option<&Self>,
    ) -> Result<Self, IssueError> {
        let name = name(&fields.subject)?;
        let public = public_key(RSA_ENCRYPTION, Any::null(), key.public_key().as_ref())?;
        let (signer, issuer) = issuer.map_or((&key, &name), |issuer| (&issuer.key, &issuer.name));
        let certificate = certificate(fields, &public, signer, issuer)?;
        Ok(Self { key, name, certificate })
    }

    /// A key with somebody else's certificate.
    #[cfg(test)]
    pub(crate) fn read(key: RsaKeyPair, certificate: Vec<u8>) -> Result<Self, IssueError> {
        let name = x509_cert::Certificate::from_der(&certificate)?;
        Ok(Self { key, name: name.tbs_certificate().subject().clone(), certificate })
    }

    /// Certifies a key that signs reports.
    pub(crate) fn certify(
        &self,
        fields: &Fields,
        key: &EcdsaKeyPair,
    ) -> Result<Vec<u8>, IssueError> {
        let curve = Any::encode_from(&endorsement::SECP384R1)?;
        let public = public_key(endorsement::EC_PUBLIC_KEY, curve, key.public_key().as_ref())?;
        certificate(fields, &public, &self.key, &self.name)
    }

    /// Signs a list of revoked serial numbers.
    pub(crate) fn revoke(
        &self,
        serials: &[u8],
        until: Option<u64>,
        from: u64,
    ) -> Result<Vec<u8>, IssueError> {
        let revoked = |serial: &u8| {
            Ok::<_, IssueError>(RevokedCert {
                serial_number: SerialNumber::new(&[*serial])?,
                revocation_date: time(from)?,
                crl_entry_extensions: None,
            })
        };
        let revoked: Vec<_> = serials.iter().map(revoked).collect::<Result<_, _>>()?;
        self.sign_list(TbsCertList {
            version: Version::V2,
            signature: pss()?,
            issuer: self.name.clone(),
            this_update: time(from)?,
            next_update: until.map(time).transpose()?,
            revoked_certificates: (!revoked.is_empty()).then_some(revoked),
            crl_extensions: None,
        })
    }

    /// Signs a list as it is.
    pub(crate) fn sign_list(&self, tbs: TbsCertList) -> Result<Vec<u8>, IssueError> {
        let signature = BitString::from_bytes(&sign(&self.key, &tbs.to_der()?)?)?;
        let list = CertificateList { tbs_cert_list: tbs, signature_algorithm: pss()?, signature };
        Ok(list.to_der()?)
    }

    pub(crate) fn certificate(&self) -> &[u8] {
        &self.certificate
    }
}

fn certificate(
    fields: &Fields,
    public: &SubjectPublicKeyInfoOwned,
    signer: &RsaKeyPair,
    issuer: &Name,
) -> Result<Vec<u8>, IssueError> {
    let validity =
        sequence(&[time(fields.holds.start)?.to_der()?, time(fields.holds.end)?.to_der()?])?;
    let tbs = sequence(&[
        explicit(0, &Version::V3.to_der()?)?,
        fields.serial.to_der()?,
        pss()?.to_der()?,
        issuer.to_der()?,
        validity,
        name(&fields.subject)?.to_der()?,
        public.to_der()?,
        explicit(3, &fields.extensions.to_der()?)?,
    ])?;
    let signature = BitString::from_bytes(&sign(signer, &tbs)?)?.to_der()?;
    sequence(&[tbs, pss()?.to_der()?, signature])
}

fn sign(key: &RsaKeyPair, message: &[u8]) -> Result<Vec<u8>, IssueError> {
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PSS_SHA384, &SystemRandom::new(), message, &mut signature)?;
    Ok(signature)
}

fn public_key(
    algorithm: ObjectIdentifier,
    parameters: Any,
    key: &[u8],
) -> Result<SubjectPublicKeyInfoOwned, IssueError> {
    let algorithm = AlgorithmIdentifierOwned { oid: algorithm, parameters: Some(parameters) };
    Ok(SubjectPublicKeyInfoOwned { algorithm, subject_public_key: BitString::from_bytes(key)? })
}

fn pss() -> Result<AlgorithmIdentifierOwned, IssueError> {
    let parameters = Some(Any::from_der(&PSS_PARAMETERS)?);
    Ok(AlgorithmIdentifierOwned { oid: RSASSA_PSS, parameters })
}

fn name(common: &str) -> Result<Name, IssueError> {
    Ok(Name::from_str(&format!("CN={common},O=Simulated by Sesame"))?)
}

fn time(seconds: u64) -> Result<Time, IssueError> {
    let date = DateTime::from_unix_duration(Duration::from_secs(seconds))?;
    Ok(Time::GeneralTime(GeneralizedTime::from_date_time(date)))
}

fn sequence(parts: &[Vec<u8>]) -> Result<Vec<u8>, IssueError> {
    Ok(AnyRef::new(Tag::Sequence, &parts.concat())?.to_der()?)
}

fn explicit(number: u32, content: &[u8]) -> Result<Vec<u8>, IssueError> {
    let tag = Tag::ContextSpecific { constructed: true, number: TagNumber(number) };
    Ok(AnyRef::new(tag, content)?.to_der()?)
}
