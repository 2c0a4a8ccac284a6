//! Where AMD's key distribution service has what a verification rests on (AMD 57230, chapter 4). Addresses alone: nothing
//! here fetches.
//!
//! | what | served as | changes |
//! | --- | --- | --- |
//! | chain | PEM: the signer's certificate, then the root's | never, in practice |
//! | revocation list | DER | by its own `nextUpdate` |
//! | VCEK | DER | with a platform's firmware |
//!
//! A VLEK has no address: AMD gives its certificate to the provider of the machine, who gives it to the guest.

use std::fmt::{self, Display, Formatter, Write};

use super::{
    error::SnpError,
    evidence::{SigningKey, SnpEvidence},
    product::{Product, Tcb},
};

/// AMD's own service. It limits how often one client may ask, so a site should run a cache or keep what it got.
pub const AMD_KDS: &str = "https://kdsintf.amd.com";

/// The chain of the keys that sign for VCEKs or VLEKs of a product.
#[must_use]
pub fn chain_url(base: &str, product: Product, key: SigningKey) -> String {
    format!("{}/cert_chain", product_url(base, product, key))
}

/// The revocation list beside that chain.
#[must_use]
pub fn crl_url(base: &str, product: Product, key: SigningKey) -> String {
    format!("{}/crl", product_url(base, product, key))
}

/// The certificate of the VCEK of a chip, identified by as many bytes of its CHIP_ID as the product uses, with this
/// firmware.
#[must_use]
pub fn vcek_url(base: &str, product: Product, chip_id: &[u8; 64], tcb: &Tcb) -> String {
    let mut url = product_url(base, product, SigningKey::Vcek);
    url.push('/');
    for byte in chip_id.iter().take(product.chip_id_length()) {
        // Writing to a string cannot fail.
        let _ = write!(url, "{byte:02x}");
    }
    let Tcb { fmc, bootloader, tee, snp, microcode } = tcb;
    url.push('?');
    if product.has_fmc() {
        let _ = write!(url, "fmcSPL={:02}&", fmc.unwrap_or(0));
    }
    let _ = write!(
        url,
        "blSPL={bootloader:02}&teeSPL={tee:02}&snpSPL={snp:02}&ucodeSPL={microcode:02}"
    );
    url
}

/// What has to be fetched for evidence. Taken from an unverified report: nothing but the choice of collateral rests on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lookup {
    /// Whose chain and revocation list.
    pub product: Product,
    /// Those for which kind of key.
    pub key: SigningKey,
    /// The certificate that the evidence came without; none if it brought it.
    pub missing: Option<VcekName>,
}

/// Names the certificate of a VCEK.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VcekName {
    /// The chip.
    pub chip_id: [u8; 64],
    /// The firmware that the key was derived from.
    pub tcb: Tcb,
}

impl Lookup {
    /// What evidence needs.
    ///
    /// # Errors
    /// When a certificate is missing that is nowhere to be had: a VLEK's must come with the evidence, and so must that of a
    /// chip that is masked or whose product the report does not tell.
    pub fn of(evidence: &SnpEvidence) -> Result<Self, SnpError> {
        let key = evidence.signing_key();
        let (chip_id, tcb) = (*evidence.chip_id(), evidence.reported_tcb());
        let missing = evidence.certificate().is_none();
        if missing && (key == SigningKey::Vlek || chip_id == [0; 64]) {
            return Err(SnpError::NoCertificate(key));
        }
        let missing = missing.then_some(VcekName { chip_id, tcb });
        Ok(Self { product: evidence.product()?, key, missing })
    }
}

/// As in the names of collateral files: `snp-Milan-vcek`, or `snp-Milan-<chip id>-<each part's version>` where a certificate
/// is missing.
impl Display for Lookup {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { product, key, missing } = self;
        let Some(VcekName { chip_id, tcb }) = missing else {
            return write!(f, "snp-{product}-{}", name_of(*key));
        };
        write!(f, "snp-{product}-")?;
        chip_id.iter().take(product.chip_id_length()).try_for_each(|b| write!(f, "{b:02x}"))?;
        let Tcb { fmc, bootloader, tee, snp, microcode } = tcb;
        fmc.iter().try_for_each(|fmc| write!(f, "-{fmc}"))?;
        write!(f, "-{bootloader}-{tee}-{snp}-{microcode}")
    }
}

const fn name_of(key: SigningKey) -> &'static str {
    match key {
        SigningKey::Vcek => "vcek",
        SigningKey::Vlek => "vlek",
    }
}

/// Where the certificate is that evidence came without; none if it brought it.
///
/// # Errors
/// Those of [`Lookup::of`].
pub fn missing_certificate(base: &str, evidence: &SnpEvidence) -> Result<Option<String>, SnpError> {
    let Lookup { product, missing, .. } = Lookup::of(evidence)?;
    Ok(missing.map(|VcekName { chip_id, tcb }| vcek_url(base, product, &chip_id, &tcb)))
}

fn product_url(base: &str, product: Product, key: SigningKey) -> String {
    let key = name_of(key);
    format!("{}/{key}/v1/{product}", base.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chip() -> [u8; 64] {
        std::array::from_fn(|at| u8::try_from(at).unwrap())
    }

    #[test]
    fn chains_and_lists_are_by_product_and_kind_of_key() {
        let (vcek, vlek) = (SigningKey::Vcek, SigningKey::Vlek);
        assert_eq!(
            chain_url(AMD_KDS, Product::Milan, vcek),
            "https://kdsintf.amd.com/vcek/v1/Milan/cert_chain"
        );
        assert_eq!(
            chain_url("https://cache.example/amd/", Product::Turin, vlek),
            "https://cache.example/amd/vlek/v1/Turin/cert_chain"
        );
        assert_eq!(
            crl_url(AMD_KDS, Product::Genoa, vcek),
            "https://kdsintf.amd.com/vcek/v1/Genoa/crl"
        );
        assert_eq!(
            crl_url(AMD_KDS, Product::Genoa, vlek),
            "https://kdsintf.amd.com/vlek/v1/Genoa/crl"
        );
    }

    #[test]
    fn a_vcek_is_found_by_chip_and_firmware() {
        let tcb = Tcb { fmc: None, bootloader: 3, tee: 0, snp: 8, microcode: 115 };
        assert_eq!(
            vcek_url(AMD_KDS, Product::Milan, &chip(), &tcb),
            "https://kdsintf.amd.com/vcek/v1/Milan/\
             000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\
             202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f\
             ?blSPL=03&teeSPL=00&snpSPL=08&ucodeSPL=115"
        );
    }

    #[test]
    fn turin_has_short_chip_ids_and_one_more_component() {
        let tcb = Tcb { fmc: Some(1), bootloader: 1, tee: 2, snp: 3, microcode: 80 };
        assert_eq!(
            vcek_url(AMD_KDS, Product::Turin, &chip(), &tcb),
            "https://kdsintf.amd.com/vcek/v1/Turin/0001020304050607\
             ?fmcSPL=01&blSPL=01&teeSPL=02&snpSPL=03&ucodeSPL=80"
        );
    }
}
