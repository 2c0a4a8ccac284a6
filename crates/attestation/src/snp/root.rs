//! Whom chains may end in.
//!
//! AMD's root certificates are part of this program, byte for byte: those of crate `sev` 8.0.0 (`src/certs/snp/builtin`),
//! which are what AMD's key distribution service serves. A chain's own root certificate must be one of them. That
//! comparison is the check; the root's signature of itself would prove nothing, which is why crate `sev` accepts a root
//! of anybody's.

use sha2::{Digest, Sha256};

use super::product::Product;

/// AMD's roots, in DER.
const AMD: [(Product, &[u8]); 3] = [
    (Product::Milan, include_bytes!("roots/ark_milan.der")),
    (Product::Genoa, include_bytes!("roots/ark_genoa.der")),
    (Product::Turin, include_bytes!("roots/ark_turin.der")),
];

/// Whose root vouches for a platform. It decides the kind of an enclave, whatever the evidence says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Root {
    /// AMD's: real hardware.
    Amd,
    /// Another one that the operator trusts: a simulated platform.
    Simulated,
}

/// The roots that this service trusts.
#[derive(Debug, Clone)]
pub struct Roots {
    trusted: Vec<Trusted>,
    digest: [u8; 32],
}

#[derive(Debug, Clone)]
struct Trusted {
    root: Root,
    product: Product,
    certificate: Vec<u8>,
}

impl Roots {
    /// AMD's alone.
    #[must_use]
    pub fn amd() -> Self {
        Self::new(Vec::new())
    }

    /// AMD's, and one of a simulated platform (its ARK, in DER) that says to be `product`. **Insecure:** whoever holds that
    /// root's key is any enclave it likes, of kind 255.
    #[cfg(any(test, feature = "simulated"))]
    #[must_use]
    pub fn insecure_trusting_simulated(product: Product, ark: &[u8]) -> Self {
        Self::new(vec![Trusted { root: Root::Simulated, product, certificate: ark.to_vec() }])
    }

    fn new(others: Vec<Trusted>) -> Self {
        let amd = AMD.map(|(product, certificate)| Trusted {
            root: Root::Amd,
            product,
            certificate: certificate.to_vec(),
        });
        let trusted: Vec<Trusted> = amd.into_iter().chain(others).collect();
        let mut digest = Sha256::new();
        for Trusted { root, product, certificate } in &trusted {
            digest.update([*root as u8, *product as u8]);
            digest.update(Sha256::digest(certificate));
        }
        Self { trusted, digest: digest.finalize().into() }
    }

    /// Whose root this certificate is, and of which product; none if it is not trusted, byte for byte.
    pub(crate) fn find(&self, certificate: &[u8]) -> Option<(Root, Product)> {
        let found = self.trusted.iter().find(|trusted| trusted.certificate == certificate)?;
        Some((found.root, found.product))
    }

    /// Tells one set of roots from another.
    pub(crate) const fn digest(&self) -> [u8; 32] {
        self.digest
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::hex;

    use super::*;

    /// As `openssl x509 -fingerprint -sha256` prints them.
    #[test]
    fn the_roots_are_amds_by_their_fingerprints() {
        for ((product, certificate), fingerprint) in AMD.into_iter().zip([
            "69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd",
            "4c6598d19c18719c5dfd4a7d335f674e5bfe1d8f800cea2cf270c10d103db2f1",
            "1f084161a44bb6d93778a904877d4819cafa5d05ef4193b2ded9dd9c73dd3f6a",
        ]) {
            assert_eq!(hex::encode(Sha256::digest(certificate)), fingerprint, "{product}");
            assert_eq!(Roots::amd().find(certificate), Some((Root::Amd, product)));
        }
    }

    #[test]
    fn one_bit_of_a_root_is_another_root() {
        let roots = Roots::amd();
        for (product, certificate) in AMD {
            for bit in 0..certificate.len() * 8 {
                let mut other = certificate.to_vec();
                other[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(roots.find(&other), None, "{product}, bit {bit}");
            }
        }
        assert_eq!(roots.find(&[]), None);
        assert_eq!(roots.trusted.len(), AMD.len());
    }

    #[test]
    fn another_set_of_roots_has_another_digest() {
        let one = Roots::insecure_trusting_simulated(Product::Milan, &[1]);
        let other = Roots::insecure_trusting_simulated(Product::Milan, &[2]);
        let product = Roots::insecure_trusting_simulated(Product::Genoa, &[1]);
        let digests = [Roots::amd().digest(), one.digest(), other.digest(), product.digest()];
        assert_eq!(digests.iter().collect::<std::collections::BTreeSet<_>>().len(), 4);
        assert_eq!(one.find(&[1]), Some((Root::Simulated, Product::Milan)));
        assert_eq!(other.find(&[1]), None);
    }
}
