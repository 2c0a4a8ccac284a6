//! A platform's chain of certificates: what it rests on, and what it proves.

use std::ops::Range;

use rustls_pki_types::{CertificateDer, pem::PemObject};
use sha2::{Digest, Sha256};

use super::{
    certificate::Certificate,
    crl,
    endorsement::Endorsement,
    error::{ChainProblem, Part, SnpError},
    evidence::SigningKey,
    product::Product,
    root::{Root, Roots},
};

/// What AMD publishes about a product's keys, as its key distribution service serves it. Not secret, and not trusted: all
/// of it is verified with each platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnpCollateral {
    /// The signer's certificate in DER: the ASK for VCEKs, the ASVK for VLEKs.
    pub signer: Vec<u8>,
    /// The root's certificate (ARK) in DER.
    pub root: Vec<u8>,
    /// The root's revocation list in DER.
    pub revoked: Vec<u8>,
    /// The certificate of the key that signed the report, in DER, where the evidence came without it.
    pub endorsement: Option<Vec<u8>>,
}

impl SnpCollateral {
    /// From what the service answers at `cert_chain` (two certificates in PEM, the signer's and the root's) and at `crl`
    /// (DER).
    ///
    /// # Errors
    /// When the chain is of another form.
    pub fn from_kds(cert_chain: &[u8], crl: &[u8]) -> Result<Self, SnpError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(cert_chain).collect();
        let Ok([signer, root]) = <[CertificateDer<'_>; 2]>::try_from(chain.unwrap_or_default())
        else {
            return Err(SnpError::ChainForm);
        };
        let (signer, root) = (signer.to_vec(), root.to_vec());
        Ok(Self { signer, root, revoked: crl.to_vec(), endorsement: None })
    }

    /// When the revocation list expires by its own word, seconds since 1970: it counts before that second.
    ///
    /// # Errors
    /// When it is no list, or does not say.
    pub fn until(&self) -> Result<u64, SnpError> {
        crl::next_update(&self.revoked)
    }

    /// With the certificate that `vcek_url` leads to.
    #[must_use]
    pub fn with_endorsement(mut self, certificate: Vec<u8>) -> Self {
        self.endorsement = Some(certificate);
        self
    }
}

/// A platform whose chain was verified: whose root vouches for it, and which key signs its reports.
#[derive(Debug)]
pub(crate) struct SnpPlatform {
    pub(crate) root: Root,
    pub(crate) product: Product,
    pub(crate) endorsement: Endorsement,
    pub(crate) holds: Range<u64>,
}

/// What a platform's verification rests on: all of it, roots included.
pub(crate) fn hash(endorsement: &[u8], collateral: &SnpCollateral, roots: &Roots) -> [u8; 32] {
    let mut hash = Sha256::new_with_prefix(roots.digest());
    for part in [endorsement, &collateral.signer, &collateral.root, &collateral.revoked] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// Verifies a platform's chain: its certificates, and that the root has not revoked the signer.
pub(crate) fn verify(
    endorsement: &[u8],
    collateral: &SnpCollateral,
    roots: &Roots,
    now: u64,
) -> Result<SnpPlatform, SnpError> {
    let (mut platform, root, signer) = certificates(endorsement, collateral, roots, now)?;
    let listed = crl::check(&collateral.revoked, &root, &signer, now)?;
    platform.holds = both(&platform.holds, &listed);
    Ok(platform)
}

/// Signatures, names and dates of the certificates, and what kind of key it is. Gives root and signer too.
pub(crate) fn certificates(
    endorsement: &[u8],
    collateral: &SnpCollateral,
    roots: &Roots,
    now: u64,
) -> Result<(SnpPlatform, Certificate, Certificate), SnpError> {
    let (whose, product) = roots.find(&collateral.root).ok_or(SnpError::UnknownRoot)?;
    let root = Certificate::parse(Part::Root, &collateral.root)?;
    let signer = Certificate::parse(Part::Signer, &collateral.signer)?;
    let certificate = Certificate::parse(Part::Endorsement, endorsement)?;
    signer.issued_by(&root)?;
    signer.may_sign()?;
    certificate.issued_by(&signer)?;
    let holds = both(&both(&root.holds(now)?, &signer.holds(now)?), &certificate.holds(now)?);
    let endorsement = Endorsement::read(&certificate)?;
    signs(&signer, endorsement.binding.signing_key(), product)?;
    if endorsement.product != product {
        return Err(SnpError::WrongProduct { evidence: endorsement.product, root: product });
    }
    Ok((SnpPlatform { root: whose, product, endorsement, holds }, root, signer))
}

fn both(one: &Range<u64>, other: &Range<u64>) -> Range<u64> {
    one.start.max(other.start)..one.end.min(other.end)
}

/// The ASK signs VCEKs, the ASVK VLEKs, and neither the other's.
fn signs(signer: &Certificate, key: SigningKey, product: Product) -> Result<(), SnpError> {
    let expected = match key {
        SigningKey::Vcek => format!("SEV-{product}"),
        SigningKey::Vlek => format!("SEV-VLEK-{product}"),
    };
    let name = signer.common_name();
    if name == expected { Ok(()) } else { Err(signer.refuse(ChainProblem::Name(name))) }
}
