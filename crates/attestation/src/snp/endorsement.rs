//! What AMD writes into the certificate of a VCEK or VLEK (AMD 57230, chapter 3).

use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED, ParsedPublicKey};
use x509_cert::der::{
    Decode,
    asn1::{Ia5StringRef, OctetString},
    oid::ObjectIdentifier,
};

use super::{
    certificate::Certificate,
    error::{ChainProblem, SnpError},
    evidence::SigningKey,
    product::{Product, Tcb},
};

const fn oid(id: &str) -> ObjectIdentifier {
    ObjectIdentifier::new_unwrap(id)
}

/// `productName`.
pub(crate) const PRODUCT_NAME: ObjectIdentifier = oid("1.3.6.1.4.1.3704.1.2");
/// `blSPL`.
pub(crate) const BOOTLOADER: ObjectIdentifier = oid("1.3.6.1.4.1.3704.1.3.1");
/// `teeSPL`.
pub(crate) const TEE: ObjectIdentifier = oid("1.3.6.1.4.1.3704.1.3.2");
/// `snpSPL`.
pub(crate) const SNP: ObjectIdentifier = oid("1.3.6.1.4.1.3704.1.3.3");
/// `ucodeSPL`.
pub(crate) const MICROCODE: ObjectIdentifier = oid("1.3.6.1.4.1.3704.1.3.8");
/// `fmcSPL`; from Turin on.
pub(crate) const FMC: ObjectIdentifier = oid("1.3.6.1.4.1.3704.1.3.9");
/// `hwID`, which makes it a VCEK.
pub(crate) const HARDWARE_ID: ObjectIdentifier = oid("1.3.6.1.4.1.3704.1.4");
/// `cspID`, which makes it a VLEK.
pub(crate) const PROVIDER_ID: ObjectIdentifier = oid("1.3.6.1.4.1.3704.1.5");
/// An elliptic curve key, and the curve P-384.
pub(crate) const EC_PUBLIC_KEY: ObjectIdentifier = oid("1.2.840.10045.2.1");
pub(crate) const SECP384R1: ObjectIdentifier = oid("1.3.132.0.34");

/// What a certificate says of the key that signs reports.
#[derive(Debug)]
pub(crate) struct Endorsement {
    /// The key, ready to verify with.
    pub(crate) key: ParsedPublicKey,
    /// Which kind of key, and what it is bound to.
    pub(crate) binding: Binding,
    /// The product that it names.
    pub(crate) product: Product,
    /// The firmware that the key was derived from.
    pub(crate) tcb: Tcb,
}

/// What a key is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Binding {
    /// A VCEK, to one chip: its hardware id, as long as the product has it.
    Chip(Vec<u8>),
    /// A VLEK, to a provider of machines, who may load it into any of them.
    Provider,
}

impl Binding {
    /// The kind of key.
    pub(crate) const fn signing_key(&self) -> SigningKey {
        match self {
            Self::Chip(_) => SigningKey::Vcek,
            Self::Provider => SigningKey::Vlek,
        }
    }
}

impl Endorsement {
    /// Reads a certificate. It says nothing about who signed it.
    pub(crate) fn read(certificate: &Certificate) -> Result<Self, SnpError> {
        let read = || {
            let product = product(certificate)?;
            let key = key(certificate)?;
            Ok(Self {
                key,
                binding: binding(certificate, product)?,
                product,
                tcb: tcb(certificate, product)?,
            })
        };
        read().map_err(|problem| certificate.refuse(problem))
    }
}

/// The product that a certificate names.
pub(crate) fn product(certificate: &Certificate) -> Result<Product, ChainProblem> {
    let problem = ChainProblem::Extension(PRODUCT_NAME);
    let content = certificate.extension(PRODUCT_NAME)?.ok_or_else(|| problem.clone())?;
    let name = Ia5StringRef::from_der(content).map_err(|_| problem.clone())?;
    Product::of_certificate(name.as_str()).ok_or(problem)
}

fn key(certificate: &Certificate) -> Result<ParsedPublicKey, ChainProblem> {
    let (algorithm, key) = certificate.public_key();
    let curve = algorithm.parameters.as_ref().map(|curve| curve.decode_as::<ObjectIdentifier>());
    if algorithm.oid != EC_PUBLIC_KEY || curve != Some(Ok(SECP384R1)) {
        return Err(ChainProblem::Key);
    }
    ParsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, key).map_err(|_| ChainProblem::Key)
}

/// Name and extensions must agree on the kind of key.
fn binding(certificate: &Certificate, product: Product) -> Result<Binding, ChainProblem> {
    let name = certificate.common_name();
    let chip = certificate.extension(HARDWARE_ID)?;
    let provider = certificate.extension(PROVIDER_ID)?;
    match (name.as_str(), chip, provider) {
        ("SEV-VCEK", Some(chip), None) => hardware_id(chip, product).map(Binding::Chip),
        ("SEV-VCEK", _, _) => Err(ChainProblem::Extension(HARDWARE_ID)),
        ("SEV-VLEK", None, Some(_)) => Ok(Binding::Provider),
        ("SEV-VLEK", _, _) => Err(ChainProblem::Extension(PROVIDER_ID)),
        _ => Err(ChainProblem::Name(name)),
    }
}

/// AMD writes the bytes as they are, or, in some certificates, as an OCTET STRING.
fn hardware_id(content: &[u8], product: Product) -> Result<Vec<u8>, ChainProblem> {
    let length = product.chip_id_length();
    let id = if content.len() == length {
        content.to_vec()
    } else {
        OctetString::from_der(content).map(|id| id.as_bytes().to_vec()).unwrap_or_default()
    };
    if id.len() == length { Ok(id) } else { Err(ChainProblem::Extension(HARDWARE_ID)) }
}

fn tcb(certificate: &Certificate, product: Product) -> Result<Tcb, ChainProblem> {
    let version = |id| match certificate.extension(id)? {
        Some(content) => u8::from_der(content).map_err(|_| ChainProblem::Extension(id)),
        None => Err(ChainProblem::Extension(id)),
    };
    Ok(Tcb {
        fmc: if product.has_fmc() { Some(version(FMC)?) } else { None },
        bootloader: version(BOOTLOADER)?,
        tee: version(TEE)?,
        snp: version(SNP)?,
        microcode: version(MICROCODE)?,
    })
}
