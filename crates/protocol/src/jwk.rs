//! Public keys on P-256 as JSON Web Keys (RFC 7517, RFC 7518 section 6.2).

use alloy_primitives::B256;
use kbs_types::TeePubKey;
use p256::PublicKey;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::base64url;

/// The `alg` of a key that the SMS wraps keys for (RFC 7518, section 4.6).
pub const ECDH_ES_A256KW: &str = "ECDH-ES+A256KW";

/// The `alg` of a key that signs tokens (RFC 7518, section 3.4).
pub const ES256: &str = "ES256";

const CURVE: &str = "P-256";

/// A JSON Web Key is not one that is served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JwkError {
    /// An RSA or post-quantum key, or one of an unknown type.
    #[error("keys of type {0} are not served: use an EC key on P-256")]
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
    /// The key cannot do what is asked of it.
    #[error("the key is for {0}, not for ECDH-ES+A256KW")]
    WrongAlgorithm(String),
    /// A signature is malformed, or another key's.
    #[error("the signature is not this key's")]
    WrongSignature,
}

/// A public key on P-256. Whoever holds one knows that the point is on the curve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Members", into = "Members")]
pub struct Jwk {
    key: PublicKey,
    alg: Option<String>,
}

impl Jwk {
    /// The key as a JSON Web Key for `alg`.
    #[must_use]
    pub fn new(key: PublicKey, alg: &str) -> Self {
        Self { key, alg: Some(alg.to_owned()) }
    }

    /// The point.
    #[must_use]
    pub const fn public_key(&self) -> &PublicKey {
        &self.key
    }

    /// The algorithm that the key is for, if it says so.
    #[must_use]
    pub fn alg(&self) -> Option<&str> {
        self.alg.as_deref()
    }

    /// SHA-256 of the key's required members in their one spelling (RFC 7638). `alg` is not part of it.
    #[must_use]
    pub fn thumbprint(&self) -> B256 {
        let (x, y) = self.coordinates();
        let members = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        B256::new(Sha256::digest(members).into())
    }

    /// Checks an ES256 signature (r ‖ s) of this key.
    ///
    /// # Errors
    ///
    /// If it is malformed, or another key's.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), JwkError> {
        let signature =
            p256::ecdsa::Signature::from_slice(signature).map_err(|_| JwkError::WrongSignature)?;
        let key = p256::ecdsa::VerifyingKey::from(&self.key);
        p256::ecdsa::signature::Verifier::verify(&key, message, &signature)
            .map_err(|_| JwkError::WrongSignature)
    }

    /// `x` and `y` in base64url.
    pub(crate) fn coordinates(&self) -> (String, String) {
        let point = self.key.to_sec1_bytes();
        let [_tag, point @ ..] = point.as_ref() else { unreachable!("a point has a tag") };
        let (x, y) = point.split_at(point.len() / 2);
        (base64url::encode(x), base64url::encode(y))
    }

    fn parse(crv: &str, x: &str, y: &str, alg: Option<String>) -> Result<Self, JwkError> {
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
        Ok(Self { key, alg })
    }
}

impl TryFrom<&TeePubKey> for Jwk {
    type Error = JwkError;

    fn try_from(key: &TeePubKey) -> Result<Self, JwkError> {
        match key {
            TeePubKey::EC { crv, alg, x, y } => Self::parse(crv, x, y, Some(alg.clone())),
            TeePubKey::RSA { .. } => Err(JwkError::UnsupportedType("RSA".to_owned())),
            TeePubKey::AKP { .. } => Err(JwkError::UnsupportedType("AKP".to_owned())),
        }
    }
}

impl From<&Jwk> for TeePubKey {
    /// A key without `alg` becomes one for [`ECDH_ES_A256KW`], since the attestation protocol wants one.
    fn from(jwk: &Jwk) -> Self {
        let (x, y) = jwk.coordinates();
        let alg = jwk.alg().unwrap_or(ECDH_ES_A256KW).to_owned();
        Self::EC { crv: CURVE.to_owned(), alg, x, y }
    }
}

/// The members of an EC key; others (`kid`, `use`) are ignored, as RFC 7517 asks.
#[derive(Serialize, Deserialize)]
struct Members {
    kty: String,
    #[serde(default)]
    crv: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    alg: Option<String>,
    #[serde(default)]
    x: String,
    #[serde(default)]
    y: String,
}

impl TryFrom<Members> for Jwk {
    type Error = JwkError;

    fn try_from(members: Members) -> Result<Self, JwkError> {
        if members.kty != "EC" {
            return Err(JwkError::UnsupportedType(members.kty));
        }
        Self::parse(&members.crv, &members.x, &members.y, members.alg)
    }
}

impl From<Jwk> for Members {
    fn from(jwk: Jwk) -> Self {
        let (x, y) = jwk.coordinates();
        Self { kty: "EC".to_owned(), crv: CURVE.to_owned(), alg: jwk.alg, x, y }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn vector() -> Value {
        serde_json::from_str(include_str!("../../../tests/fixtures/protocol/rcar.json")).unwrap()
    }

    #[test]
    fn the_thumbprint_is_that_of_another_implementation() {
        let vector = vector();
        let jwk: Jwk = serde_json::from_value(vector["key"].clone()).unwrap();
        assert_eq!(jwk.thumbprint().to_string(), vector["thumbprint"]);
        assert_eq!(jwk.alg(), Some(ECDH_ES_A256KW));
        assert_eq!(serde_json::to_value(&jwk).unwrap(), vector["key"]);
        let tee = TeePubKey::from(&jwk);
        assert_eq!(Jwk::try_from(&tee).unwrap(), jwk);
    }

    #[test]
    fn alg_and_unknown_members_do_not_change_the_thumbprint() {
        let mut key = vector()["key"].clone();
        let thumbprint = serde_json::from_value::<Jwk>(key.clone()).unwrap().thumbprint();
        key.as_object_mut().unwrap().remove("alg");
        key["kid"] = json!("mine");
        let jwk: Jwk = serde_json::from_value(key).unwrap();
        assert_eq!((jwk.alg(), jwk.thumbprint()), (None, thumbprint));
    }

    #[test]
    fn malformed_keys_are_refused_by_name() {
        let key = vector()["key"].clone();
        let (x, y) = (key["x"].as_str().unwrap().to_owned(), key["y"].as_str().unwrap().to_owned());
        let cases = [
            ("kty", json!("RSA"), JwkError::UnsupportedType("RSA".into())),
            ("kty", json!("OKP"), JwkError::UnsupportedType("OKP".into())),
            ("crv", json!("P-384"), JwkError::UnsupportedCurve("P-384".into())),
            ("crv", json!("p-256"), JwkError::UnsupportedCurve("p-256".into())),
            ("x", json!(y), JwkError::NotOnCurve),
            ("y", json!(x), JwkError::NotOnCurve),
            ("x", json!("A".repeat(43)), JwkError::NotOnCurve),
            ("x", json!(""), JwkError::BadCoordinate("x")),
            ("x", json!(format!("{x}=")), JwkError::BadCoordinate("x")),
            ("x", json!(format!("AAAA{x}")), JwkError::BadCoordinate("x")),
            ("y", json!("*"), JwkError::BadCoordinate("y")),
        ];
        for (member, value, expected) in cases {
            let mut bad = key.clone();
            bad[member] = value;
            let refused = serde_json::from_value::<Jwk>(bad).unwrap_err();
            assert_eq!(refused.to_string(), expected.to_string());
        }
    }

    #[test]
    fn coordinates_have_one_spelling() {
        // The last character of 32 bytes carries two bits that must be zero.
        let key = vector()["key"].clone();
        let mut x = key["x"].as_str().unwrap().to_owned();
        let last = x.pop().unwrap();
        x.push((last as u8 + 1) as char);
        let mut bad = key;
        bad["x"] = json!(x);
        assert!(serde_json::from_value::<Jwk>(bad).is_err());
    }

    #[test]
    fn rsa_keys_of_agents_are_refused_by_name() {
        let rsa = TeePubKey::RSA {
            alg: "RSA-OAEP-256".into(),
            k_mod: "AQAB".into(),
            k_exp: "AQAB".into(),
        };
        assert_eq!(Jwk::try_from(&rsa), Err(JwkError::UnsupportedType("RSA".into())));
    }
}
