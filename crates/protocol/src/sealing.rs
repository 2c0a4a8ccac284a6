//! Sealing a secret to the SMS: HPKE in base mode (RFC 9180).
//!
//! The suite is DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM. A sealed body is `enc ‖ ciphertext ‖ tag`, 32 + n + 16
//! bytes, with empty associated data: what it is bound to goes into `info`.

use std::fmt;

use alloy_primitives::B256;
use hpke::{
    Deserializable, Kem as _, OpModeR, OpModeS, Serializable, aead::AesGcm256, kdf::HkdfSha256,
    kem::X25519HkdfSha256,
};
use zeroize::Zeroizing;

use crate::random;

type PrivateKey = <X25519HkdfSha256 as hpke::Kem>::PrivateKey;
type PublicKey = <X25519HkdfSha256 as hpke::Kem>::PublicKey;
type EncappedKey = <X25519HkdfSha256 as hpke::Kem>::EncappedKey;

const ENC_BYTES: usize = 32;
const TAG_BYTES: usize = 16;

/// How much longer a sealed body is than its value, in bytes: the encapsulated key and the tag.
pub const SEALING_OVERHEAD: usize = ENC_BYTES + TAG_BYTES;

/// A body cannot be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealingError {
    /// The public or private key is no X25519 key.
    #[error("not an X25519 key")]
    NotAKey,
    /// The body is too short to hold an encapsulated key and a tag.
    #[error("a sealed body of {0} bytes is too short")]
    TooShort(usize),
    /// The body is not what was sealed to this key for this resource, owner, epoch and version.
    #[error("the sealed body does not open with this key and these signed fields")]
    DoesNotOpen,
}

/// The private key that opens what owners seal. It is neither printed nor copied.
pub struct SealingKey {
    secret: PrivateKey,
    public: B256,
}

impl SealingKey {
    /// The key of these 32 bytes.
    ///
    /// # Errors
    ///
    /// [`SealingError::NotAKey`] if they are no X25519 private key.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, SealingError> {
        let secret = PrivateKey::from_bytes(bytes).map_err(|_| SealingError::NotAKey)?;
        let public = X25519HkdfSha256::sk_to_pk(&secret).to_bytes();
        Ok(Self { secret, public: B256::from_slice(&public) })
    }

    /// A new key.
    ///
    /// # Panics
    ///
    /// If the operating system gives no randomness.
    #[must_use]
    pub fn random() -> Self {
        Self::from_bytes(&random::bytes()).expect("any 32 bytes are an X25519 private key")
    }

    /// The public half of a new key and its private half, for whoever keeps it.
    ///
    /// # Panics
    ///
    /// If the operating system gives no randomness.
    #[must_use]
    pub fn random_pair() -> (B256, Zeroizing<[u8; 32]>) {
        let secret = random::bytes();
        let key = Self::from_bytes(&secret).expect("any 32 bytes are an X25519 private key");
        (key.public, secret)
    }

    /// The public key that owners seal to.
    #[must_use]
    pub const fn public(&self) -> B256 {
        self.public
    }

    /// Opens a sealed body.
    ///
    /// # Errors
    ///
    /// If the body is too short, was sealed to another key or under another `info`, or was altered.
    pub fn open(&self, info: B256, body: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealingError> {
        self.open_with(info.as_slice(), &[], body)
    }

    fn open_with(
        &self,
        info: &[u8],
        aad: &[u8],
        body: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SealingError> {
        let (enc, ciphertext) = body
            .split_at_checked(ENC_BYTES)
            .filter(|(_, ciphertext)| ciphertext.len() >= TAG_BYTES)
            .ok_or(SealingError::TooShort(body.len()))?;
        let enc = EncappedKey::from_bytes(enc).map_err(|_| SealingError::DoesNotOpen)?;
        hpke::setup_receiver::<AesGcm256, HkdfSha256, X25519HkdfSha256>(
            &OpModeR::Base,
            &self.secret,
            &enc,
            info,
        )
        .and_then(|mut context| context.open(ciphertext, aad))
        .map(Zeroizing::new)
        .map_err(|_| SealingError::DoesNotOpen)
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealingKey").field("public", &self.public).finish_non_exhaustive()
    }
}

/// Seals a value to an SMS; only [`SealingKey::open`] with the same `info` gives it back.
///
/// `info` is [`crate::typed::SecretUpdate::sealing_info`].
///
/// # Errors
///
/// [`SealingError::NotAKey`] if `public` is no usable X25519 key (a point of small order).
pub fn seal(public: B256, info: B256, value: &[u8]) -> Result<Vec<u8>, SealingError> {
    let public = PublicKey::from_bytes(public.as_slice()).map_err(|_| SealingError::NotAKey)?;
    let (enc, mut context) = hpke::setup_sender::<AesGcm256, HkdfSha256, X25519HkdfSha256>(
        &OpModeS::Base,
        &public,
        info.as_slice(),
    )
    .map_err(|_| SealingError::NotAKey)?;
    let ciphertext = context.seal(value, &[]).map_err(|_| SealingError::NotAKey)?;
    Ok([enc.to_bytes().as_slice(), ciphertext.as_slice()].concat())
}

#[cfg(test)]
mod tests {
    use alloy_primitives::Bytes;
    use serde::Deserialize;

    use super::*;

    /// Made by another implementation of RFC 9180.
    #[derive(Deserialize)]
    struct Vector {
        secret: B256,
        public: B256,
        info: B256,
        value: Bytes,
        body: Bytes,
    }

    fn vector() -> Vector {
        serde_json::from_str(include_str!("../../../tests/fixtures/protocol/sealing.json")).unwrap()
    }

    #[test]
    fn opens_what_another_implementation_sealed() {
        let vector = vector();
        let key = SealingKey::from_bytes(&vector.secret.0).unwrap();
        assert_eq!(key.public(), vector.public);
        assert_eq!(key.open(vector.info, &vector.body).unwrap().as_slice(), &vector.value[..]);
    }

    #[test]
    fn seals_any_bytes_and_opens_them() {
        let (key, info) = (SealingKey::random(), B256::repeat_byte(1));
        for value in [&[][..], &[0], &[0xff; 70_000]] {
            let body = seal(key.public(), info, value).unwrap();
            assert_eq!(body.len(), value.len() + SEALING_OVERHEAD);
            assert_eq!(key.open(info, &body).unwrap().as_slice(), value);
        }
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let vector = vector();
        let key = SealingKey::from_bytes(&vector.secret.0).unwrap();
        // RFC 7748 ignores the top bit of a public key, but HPKE's key schedule hashes it.
        for bit in 0..vector.body.len() * 8 {
            let mut body = vector.body.to_vec();
            body[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(key.open(vector.info, &body), Err(SealingError::DoesNotOpen), "bit {bit}");
        }
        for bit in 0..256 {
            let mut info = vector.info;
            info[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(key.open(info, &vector.body), Err(SealingError::DoesNotOpen), "bit {bit}");
        }
    }

    #[test]
    fn another_key_and_cut_bodies_are_refused() {
        let vector = vector();
        let open =
            |body: &[u8]| SealingKey::from_bytes(&vector.secret.0).unwrap().open(vector.info, body);
        let stranger = SealingKey::random().open(vector.info, &vector.body);
        assert_eq!(stranger, Err(SealingError::DoesNotOpen));
        assert_eq!(open(&[]), Err(SealingError::TooShort(0)));
        assert_eq!(open(&vector.body[..47]), Err(SealingError::TooShort(47)));
        assert_eq!(open(&vector.body[..48]), Err(SealingError::DoesNotOpen));
        assert_eq!(open(&[&vector.body[..], &[0]].concat()), Err(SealingError::DoesNotOpen));
    }

    #[test]
    fn points_of_small_order_are_no_keys() {
        let mut one = B256::ZERO;
        one[0] = 1;
        for bad in [B256::ZERO, one] {
            assert_eq!(seal(bad, B256::ZERO, b"x"), Err(SealingError::NotAKey));
        }
    }

    #[test]
    fn the_debug_form_shows_the_public_key_alone() {
        let vector = vector();
        let shown = format!("{:?}", SealingKey::from_bytes(&vector.secret.0).unwrap());
        assert!(shown.contains(&vector.public.to_string()), "{shown}");
        assert!(!shown.contains("4242"), "{shown}");
    }
}
