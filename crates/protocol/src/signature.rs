//! Signatures on secp256k1, as Ethereum writes them.

use std::fmt;

use alloy_primitives::{Address, B256, Bytes, FixedBytes, keccak256};
use secp256k1::{
    Message, PublicKey, SECP256K1, SecretKey,
    ecdsa::{RecoverableSignature, RecoveryId, Signature},
};

use serde::{Deserialize, Serialize};

use crate::random;

/// `r ‖ s ‖ v`, 32 + 32 + 1 bytes, with v 27 or 28.
pub type Signature65 = FixedBytes<65>;

/// The longest signature of an owner, in bytes.
pub const MAX_SIGNATURE_BYTES: usize = 4096;

/// What an owner signs with: 65 bytes by a key, or whatever a contract takes as its signature (ERC-1271).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(try_from = "Bytes", into = "Bytes")]
pub struct OwnerSignature(Bytes);

impl OwnerSignature {
    /// The bytes, as they are handed to a contract.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// Whose key signed `hash`, if this is a key's signature. Over something else, it recovers another address.
    ///
    /// # Errors
    ///
    /// If it has not 65 bytes, is malformed or malleable.
    pub fn signer(&self, hash: B256) -> Result<Address, SignatureError> {
        let signature = self.0.as_ref().try_into();
        recover(hash, signature.map_err(|_| SignatureError::WrongLength(self.0.len()))?)
    }
}

impl From<Signature65> for OwnerSignature {
    fn from(signature: Signature65) -> Self {
        Self(signature.into())
    }
}

impl From<OwnerSignature> for Bytes {
    fn from(signature: OwnerSignature) -> Self {
        signature.0
    }
}

impl TryFrom<Bytes> for OwnerSignature {
    type Error = SignatureError;

    fn try_from(bytes: Bytes) -> Result<Self, SignatureError> {
        if bytes.len() > MAX_SIGNATURE_BYTES {
            return Err(SignatureError::TooLong(bytes.len()));
        }
        Ok(Self(bytes))
    }
}

/// A key or a signature is not what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// The secret key is zero or not below the group's order.
    #[error("not a secp256k1 secret key")]
    NotAKey,
    /// The last byte is none of 0, 1, 27 and 28.
    #[error("the signature's v is {0}, none of 0, 1, 27 and 28")]
    BadRecoveryId(u8),
    /// `s` is in the upper half: the malleable twin of a valid signature (EIP-2).
    #[error("the signature's s is in the upper half of the group's order")]
    HighS,
    /// Not the 65 bytes of a key's signature.
    #[error("the signature has {0} bytes, a key's has 65")]
    WrongLength(usize),
    /// Longer than [`MAX_SIGNATURE_BYTES`].
    #[error("the signature has {0} bytes, more than {MAX_SIGNATURE_BYTES}")]
    TooLong(usize),
    /// `r` or `s` is out of range, or no public key fits.
    #[error("the signature is malformed")]
    Malformed,
}

/// A secret key that signs. Its debug form shows the address only; its memory is erased when it is dropped.
pub struct Signer {
    secret: SecretKey,
    address: Address,
}

impl Signer {
    /// The signer of a 32-byte big-endian secret key.
    ///
    /// # Errors
    ///
    /// [`SignatureError::NotAKey`] for zero and for numbers not below the group's order.
    pub fn from_bytes(secret: &[u8; 32]) -> Result<Self, SignatureError> {
        let secret = SecretKey::from_byte_array(secret).map_err(|_| SignatureError::NotAKey)?;
        Ok(Self { secret, address: address_of(&secret.public_key(SECP256K1)) })
    }

    /// A new signer.
    ///
    /// # Panics
    ///
    /// If the operating system gives no randomness.
    #[must_use]
    pub fn random() -> Self {
        loop {
            if let Ok(signer) = Self::from_bytes(&random::bytes::<32>()) {
                return signer;
            }
        }
    }

    /// Who signs.
    #[must_use]
    pub const fn address(&self) -> Address {
        self.address
    }

    /// Signs a 32-byte hash (RFC 6979 nonce, low s).
    #[must_use]
    pub fn sign_hash(&self, hash: B256) -> Signature65 {
        let message = Message::from_digest(hash.0);
        let (id, rs) = SECP256K1.sign_ecdsa_recoverable(&message, &self.secret).serialize_compact();
        let v = if i32::from(id) == 0 { 27 } else { 28 };
        FixedBytes::<64>::from(rs).concat_const::<1, 65>(FixedBytes([v]))
    }
}

impl Drop for Signer {
    fn drop(&mut self) {
        self.secret.non_secure_erase();
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Who signed `hash`.
///
/// # Errors
///
/// If the signature is malformed or malleable. A signature over something else recovers another address: compare it.
pub fn recover(hash: B256, signature: &[u8; 65]) -> Result<Address, SignatureError> {
    let [rs @ .., v] = signature;
    let id = match v {
        0 | 27 => RecoveryId::Zero,
        1 | 28 => RecoveryId::One,
        other => return Err(SignatureError::BadRecoveryId(*other)),
    };
    let plain = Signature::from_compact(rs).map_err(|_| SignatureError::Malformed)?;
    let mut low = plain;
    low.normalize_s();
    if low != plain {
        return Err(SignatureError::HighS);
    }
    RecoverableSignature::from_compact(rs, id)
        .and_then(|signature| SECP256K1.recover_ecdsa(&Message::from_digest(hash.0), &signature))
        .map(|key| address_of(&key))
        .map_err(|_| SignatureError::Malformed)
}

/// The last 20 bytes of the Keccak-256 of the uncompressed point without its tag.
fn address_of(key: &PublicKey) -> Address {
    let [_tag, point @ ..] = key.serialize_uncompressed();
    Address::from_word(keccak256(point))
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{U256, address, uint};

    use super::*;

    const ORDER: U256 =
        uint!(0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141_U256);

    fn one() -> Signer {
        let mut secret = [0; 32];
        secret[31] = 1;
        Signer::from_bytes(&secret).unwrap()
    }

    #[test]
    fn the_first_key_has_its_well_known_address() {
        let signer = one();
        assert_eq!(signer.address(), address!("7E5F4552091A69125d5DfCb7b8C2659029395Bdf"));
        let shown = format!("{signer:?}").to_lowercase();
        assert!(shown.contains("7e5f4552"), "{shown}");
        assert!(!shown.contains("secret"), "{shown}");
    }

    #[test]
    fn keys_out_of_range_are_refused() {
        for bad in [[0; 32], ORDER.to_be_bytes(), [0xff; 32]] {
            assert_eq!(Signer::from_bytes(&bad).unwrap_err(), SignatureError::NotAKey);
        }
    }

    #[test]
    fn signing_then_recovering_gives_the_signer() {
        let (signer, hash) = (Signer::random(), keccak256("a message"));
        let signature = signer.sign_hash(hash);
        assert!([27, 28].contains(&signature[64]));
        assert_eq!(recover(hash, &signature), Ok(signer.address()));
        assert_ne!(recover(keccak256("another"), &signature), Ok(signer.address()));
        let mut short_v = signature;
        short_v[64] -= 27;
        assert_eq!(recover(hash, &short_v), Ok(signer.address()));
    }

    #[test]
    fn every_flipped_bit_is_refused_or_somebody_else() {
        let (signer, hash) = (one(), keccak256("a message"));
        let signature = signer.sign_hash(hash);
        for bit in 0..65 * 8 {
            let mut flipped = signature;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(recover(hash, &flipped), Ok(signer.address()), "bit {bit}");
        }
    }

    #[test]
    fn the_malleable_twin_is_refused() {
        let (signer, hash) = (one(), keccak256("a message"));
        let mut twin = signer.sign_hash(hash);
        let s = U256::from_be_slice(&twin[32..64]);
        twin[32..64].copy_from_slice(&(ORDER - s).to_be_bytes::<32>());
        twin[64] = 27 + 28 - twin[64];
        assert_eq!(recover(hash, &twin), Err(SignatureError::HighS));
    }

    #[test]
    fn an_owners_signature_is_a_keys_or_a_contracts() {
        let (signer, hash) = (one(), keccak256("a message"));
        let signature = OwnerSignature::from(signer.sign_hash(hash));
        let json = serde_json::to_string(&signature).unwrap();
        assert_eq!(serde_json::from_str::<OwnerSignature>(&json).unwrap(), signature);
        assert_eq!(signature.signer(hash), Ok(signer.address()));
        for length in [0, 64, 66, MAX_SIGNATURE_BYTES] {
            let other = OwnerSignature::try_from(Bytes::from(vec![1; length])).unwrap();
            assert_eq!(other.signer(hash), Err(SignatureError::WrongLength(length)));
        }
        let long = Bytes::from(vec![1; MAX_SIGNATURE_BYTES + 1]);
        assert_eq!(OwnerSignature::try_from(long), Err(SignatureError::TooLong(4097)));
    }

    #[test]
    fn malformed_signatures_have_names() {
        let hash = keccak256("a message");
        let mut signature = one().sign_hash(hash);
        for v in [2, 3, 26, 29, 30, 255] {
            signature[64] = v;
            assert_eq!(recover(hash, &signature), Err(SignatureError::BadRecoveryId(v)));
        }
        let mut zero = [0; 65];
        zero[64] = 27;
        assert_eq!(recover(hash, &zero), Err(SignatureError::Malformed));
        let mut huge = [0xff; 65];
        huge[64] = 27;
        assert_eq!(recover(hash, &huge), Err(SignatureError::Malformed));
    }
}
