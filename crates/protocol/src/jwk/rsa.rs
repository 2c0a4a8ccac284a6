//! RSA keys that content keys are wrapped for (RFC 7518, sections 4.3 and 6.3).
//!
//! Only the public half is ever here: nothing in this crate decrypts with RSA, so that there is no timing of a private key
//! to measure.

use rsa::{BoxedUint, PublicKey, sha2::Sha256, traits::PublicKeyParts};

use super::JwkError;
use crate::base64url;

/// The one public exponent that is served, 65537.
pub(super) const EXPONENT: &str = "AQAB";

const SHORTEST_BITS: u32 = 2048;
const LONGEST_BITS: u32 = 4096;

/// An RSA public key of 2048 to 4096 bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RsaKey(PublicKey);

impl RsaKey {
    pub(super) fn parse(n: &str, e: &str) -> Result<Self, JwkError> {
        if e != EXPONENT {
            return Err(JwkError::BadExponent);
        }
        let n = base64url::decode(n).map_err(|_| JwkError::BadModulus)?;
        // The length first: nothing is computed with a modulus of any length.
        let bits = u32::try_from(n.len()).unwrap_or(u32::MAX).saturating_mul(8);
        if !(SHORTEST_BITS..=LONGEST_BITS).contains(&bits) {
            return Err(JwkError::BadModulus);
        }
        let n = BoxedUint::from_be_slice_vartime(&n);
        if n.bit_width_vartime() != bits {
            return Err(JwkError::BadModulus);
        }
        PublicKey::new(n, BoxedUint::from(65537_u64)).map(Self).map_err(|_| JwkError::BadModulus)
    }

    /// `n` in base64url.
    pub(super) fn modulus(&self) -> String {
        base64url::encode(&self.0.n().to_be_bytes_trimmed_vartime())
    }

    /// Wraps a content key by OAEP with SHA-256 and MGF1 with SHA-256; `None` when there is no randomness.
    pub(crate) fn wrap(&self, content_key: &[u8; 32]) -> Option<Vec<u8>> {
        self.0.oaep_encrypt::<Sha256>(content_key).ok()
    }
}
