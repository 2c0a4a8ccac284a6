//! Public keys as JSON Web Keys (RFC 7517): EC keys on P-256 and RSA keys (RFC 7518, sections 6.2 and 6.3).

mod rsa;

use alloy_primitives::B256;
use kbs_types::TeePubKey;
use p256::PublicKey;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::base64url;

pub(crate) use rsa::RsaKey;

/// The `alg` of an EC key that the SMS wraps keys for (RFC 7518, section 4.6).
pub const ECDH_ES_A256KW: &str = "ECDH-ES+A256KW";

/// The `alg` of an RSA key that the SMS wraps keys for (RFC 7518, section 4.3).
pub const RSA_OAEP_256: &str = "RSA-OAEP-256";

/// The `alg` of a key that signs tokens (RFC 7518, section 3.4).
pub const ES256: &str = "ES256";

const CURVE: &str = "P-256";

/// A JSON Web Key is not one that is served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JwkError {
    /// A post-quantum key, or one of an unknown type.
    #[error("keys of type {0} are not served: use an EC key on P-256, or RSA")]
    UnsupportedType(String),
    /// An elliptic curve other than P-256.
    #[error("curve {0} is not served: use P-256")]
    UnsupportedCurve(String),
    /// `x` or `y` is not base64url without padding of 32 bytes.
    #[error("{0} is not base64url without padding of 32 bytes")]
    BadCoordinate(&'static str),
    /// `x` and `y` are no point of the curve.
    #[error("the coordinates are no point of P-256")]
    NotOnCurve,
    /// `n` is not base64url without padding of an odd number of 2048 to 4096 bits, without leading zeros.
    #[error("n is not base64url without padding of an odd number of 2048 to 4096 bits")]
    BadModulus,
    /// `e` is another exponent than 65537.
    #[error("e is not AQAB, that is 65537")]
    BadExponent,
    /// The key cannot do what is asked of it. `RSA1_5` is among these: its padding is open to oracles.
    #[error("the key is for {0}, not for ECDH-ES+A256KW or RSA-OAEP-256")]
    WrongAlgorithm(String),
    /// A signature is malformed, or another key's.
    #[error("the signature is not this key's")]
    WrongSignature,
}

/// A public key. Whoever holds one knows that an EC point is on the curve, and that an RSA modulus has a length that is
/// served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Members", into = "Members")]
pub struct Jwk {
    key: Key,
    alg: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Key {
    Ec(PublicKey),
    Rsa(RsaKey),
}

impl Jwk {
    /// The EC key as a JSON Web Key for `alg`.
    #[must_use]
    pub fn new(key: PublicKey, alg: &str) -> Self {
        Self { key: Key::Ec(key), alg: Some(alg.to_owned()) }
    }

    /// The point, if it is an EC key.
    #[must_use]
    pub const fn p256(&self) -> Option<&PublicKey> {
        match &self.key {
            Key::Ec(key) => Some(key),
            Key::Rsa(_) => None,
        }
    }

    /// The algorithm that the key is for, if it says so.
    #[must_use]
    pub fn alg(&self) -> Option<&str> {
        self.alg.as_deref()
    }

    /// SHA-256 of the key's required members in their one spelling (RFC 7638). `alg` is not part of it.
    #[must_use]
    pub fn thumbprint(&self) -> B256 {
        let members = match &self.key {
            Key::Ec(key) => {
                let (x, y) = coordinates(key);
                format!(r#"{{"crv":"{CURVE}","kty":"EC","x":"{x}","y":"{y}"}}"#)
            }
            Key::Rsa(key) => {
                format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, rsa::EXPONENT, key.modulus())
            }
        };
        B256::new(Sha256::digest(members).into())
    }

    /// The thumbprint as a `kid`, in base64url.
    #[must_use]
    pub fn key_id(&self) -> String {
        base64url::encode(self.thumbprint().as_slice())
    }

    /// The thumbprint as a URI (RFC 9278).
    #[must_use]
    pub fn thumbprint_uri(&self) -> String {
        format!("urn:ietf:params:oauth:jwk-thumbprint:sha-256:{}", self.key_id())
    }

    /// Checks an ES256 signature (r ‖ s) of this key.
    ///
    /// # Errors
    ///
    /// If it is malformed, or another key's, or the key is an RSA key: those are for encryption alone.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), JwkError> {
        let key = self.p256().ok_or(JwkError::WrongSignature)?;
        let signature =
            p256::ecdsa::Signature::from_slice(signature).map_err(|_| JwkError::WrongSignature)?;
        let key = p256::ecdsa::VerifyingKey::from(key);
        p256::ecdsa::signature::Verifier::verify(&key, message, &signature)
            .map_err(|_| JwkError::WrongSignature)
    }

    /// The key, if a content key may be wrapped for it: its `alg` is the one that is served for its type, or absent.
    pub(crate) fn for_wrapping(&self) -> Result<&Key, JwkError> {
        let served = self.wrapping_alg();
        match self.alg() {
            None => Ok(&self.key),
            Some(alg) if alg == served => Ok(&self.key),
            Some(other) => Err(JwkError::WrongAlgorithm(other.to_owned())),
        }
    }

    const fn wrapping_alg(&self) -> &'static str {
        match &self.key {
            Key::Ec(_) => ECDH_ES_A256KW,
            Key::Rsa(_) => RSA_OAEP_256,
        }
    }

    fn parse_ec(crv: &str, x: &str, y: &str, alg: Option<String>) -> Result<Self, JwkError> {
        if crv != CURVE {
            return Err(JwkError::UnsupportedCurve(crv.to_owned()));
        }
        let mut point = vec![4];
        for (name, text) in [("x", x), ("y", y)] {
            let bytes = base64url::decode(text).map_err(|_| JwkError::BadCoordinate(name))?;
            if bytes.len() != 32 {
                return Err(JwkError::BadCoordinate(name));
            }
            point.extend_from_slice(&bytes);
        }
        let key = PublicKey::from_sec1_bytes(&point).map_err(|_| JwkError::NotOnCurve)?;
        Ok(Self { key: Key::Ec(key), alg })
    }

    fn parse_rsa(n: &str, e: &str, alg: Option<String>) -> Result<Self, JwkError> {
        Ok(Self { key: Key::Rsa(RsaKey::parse(n, e)?), alg })
    }
}

/// A JSON Web Key Set (RFC 7517, section 5) of keys that sign tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JwkSet {
    /// The keys.
    pub keys: Vec<SigningJwk>,
}

/// A key that signs tokens, as a set lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SigningJwk {
    /// The key.
    #[serde(flatten)]
    pub key: Jwk,
    /// What tokens name in their header: [`Jwk::key_id`].
    pub kid: String,
    /// `sig`.
    #[serde(rename = "use")]
    pub usage: String,
}

impl JwkSet {
    /// A set of one key.
    #[must_use]
    pub fn of(key: &Jwk) -> Self {
        let (kid, usage) = (key.key_id(), "sig".to_owned());
        Self { keys: vec![SigningJwk { key: key.clone(), kid, usage }] }
    }
}

/// `x` and `y` in base64url.
pub(crate) fn coordinates(key: &PublicKey) -> (String, String) {
    let point = key.to_sec1_bytes();
    let [_tag, point @ ..] = point.as_ref() else { unreachable!("a point has a tag") };
    let (x, y) = point.split_at(point.len() / 2);
    (base64url::encode(x), base64url::encode(y))
}

/// The key of an agent, to which answers will be encrypted.
impl TryFrom<&TeePubKey> for Jwk {
    type Error = JwkError;

    fn try_from(key: &TeePubKey) -> Result<Self, JwkError> {
        let key = match key {
            TeePubKey::EC { crv, alg, x, y } => Self::parse_ec(crv, x, y, Some(alg.clone()))?,
            TeePubKey::RSA { alg, k_mod, k_exp } => {
                Self::parse_rsa(k_mod, k_exp, Some(alg.clone()))?
            }
            TeePubKey::AKP { .. } => return Err(JwkError::UnsupportedType("AKP".to_owned())),
        };
        key.for_wrapping()?;
        Ok(key)
    }
}

impl From<&Jwk> for TeePubKey {
    /// A key without `alg` becomes one for the algorithm served for its type, since the attestation protocol wants one.
    fn from(jwk: &Jwk) -> Self {
        let alg = jwk.alg().unwrap_or_else(|| jwk.wrapping_alg()).to_owned();
        match &jwk.key {
            Key::Ec(key) => {
                let (x, y) = coordinates(key);
                Self::EC { crv: CURVE.to_owned(), alg, x, y }
            }
            Key::Rsa(key) => {
                Self::RSA { alg, k_mod: key.modulus(), k_exp: rsa::EXPONENT.to_owned() }
            }
        }
    }
}

/// The members of a key; others (`kid`, `use`) are ignored, as RFC 7517 asks.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Members {
    kty: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    crv: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    alg: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    x: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    y: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    n: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    e: String,
}

impl TryFrom<Members> for Jwk {
    type Error = JwkError;

    fn try_from(members: Members) -> Result<Self, JwkError> {
        match members.kty.as_str() {
            "EC" => Self::parse_ec(&members.crv, &members.x, &members.y, members.alg),
            "RSA" => Self::parse_rsa(&members.n, &members.e, members.alg),
            _ => Err(JwkError::UnsupportedType(members.kty)),
        }
    }
}

impl From<Jwk> for Members {
    fn from(jwk: Jwk) -> Self {
        let alg = jwk.alg;
        match jwk.key {
            Key::Ec(key) => {
                let (x, y) = coordinates(&key);
                Self { kty: "EC".to_owned(), crv: CURVE.to_owned(), alg, x, y, ..Self::default() }
            }
            Key::Rsa(key) => Self {
                kty: "RSA".to_owned(),
                alg,
                n: key.modulus(),
                e: rsa::EXPONENT.to_owned(),
                ..Self::default()
            },
        }
    }
}

#[cfg(test)]
mod tests;
