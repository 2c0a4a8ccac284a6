//! EC and RSA keys, right and wrong.

use serde_json::{Value, json};

use super::*;

fn vector() -> Value {
    serde_json::from_str(include_str!("../../../../tests/fixtures/protocol/rcar.json")).unwrap()
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
        ("kty", json!("RSA"), JwkError::BadExponent),
        ("kty", json!(""), JwkError::UnsupportedType(String::new())),
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

/// RFC 7638, section 3.1: the example key and its thumbprint.
const RSA: &str = r#"{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}"#;

fn rsa() -> Value {
    serde_json::from_str(RSA).unwrap()
}

#[test]
fn the_thumbprint_of_an_rsa_key_is_the_published_one() {
    let jwk: Jwk = serde_json::from_value(rsa()).unwrap();
    let thumbprint = crate::base64url::encode(jwk.thumbprint().as_slice());
    assert_eq!(thumbprint, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    let mut written = rsa();
    written.as_object_mut().unwrap().remove("kid");
    assert_eq!(serde_json::to_value(&jwk).unwrap(), written);
    assert_eq!(jwk.p256(), None);
}

fn agent(alg: &str, n: &str, e: &str) -> Result<Jwk, JwkError> {
    let (alg, k_mod, k_exp) = (alg.into(), n.into(), e.into());
    Jwk::try_from(&TeePubKey::RSA { alg, k_mod, k_exp })
}

#[test]
fn rsa_keys_of_agents_are_taken_for_oaep_alone() {
    let n = rsa()["n"].as_str().unwrap().to_owned();
    let jwk = agent(RSA_OAEP_256, &n, "AQAB").unwrap();
    assert_eq!(Jwk::try_from(&TeePubKey::from(&jwk)).unwrap(), jwk);
    for alg in ["RSA1_5", "RSA-OAEP", "RS256", "ECDH-ES+A256KW", ""] {
        let refused = agent(alg, &n, "AQAB");
        assert_eq!(refused, Err(JwkError::WrongAlgorithm(alg.to_owned())));
    }
    // An RSA key signs nothing here, whatever it is shown.
    assert_eq!(jwk.verify(b"message", &[1; 64]), Err(JwkError::WrongSignature));
}

#[test]
fn short_long_and_odd_spellings_of_rsa_keys_are_refused() {
    let modulus = |bytes: usize| {
        let mut modulus = vec![0xff; bytes];
        modulus[0] = 0x80;
        modulus
    };
    let parse = |n: &[u8], e: &str| agent(RSA_OAEP_256, &crate::base64url::encode(n), e);
    for bytes in [256, 384, 512] {
        assert!(parse(&modulus(bytes), "AQAB").is_ok(), "{bytes} bytes");
    }
    let (mut even, mut half) = (modulus(256), modulus(256));
    *even.last_mut().unwrap() = 0xfe;
    half[0] = 0x7f;
    let zero_first = [&[0][..], &modulus(256)].concat();
    let wrong = [modulus(128), modulus(255), modulus(513), even, half, zero_first, Vec::new()];
    for n in wrong {
        assert_eq!(parse(&n, "AQAB"), Err(JwkError::BadModulus), "{} bytes", n.len());
    }
    for e in ["Aw", "AAEAAQ", "AQABAQAB", "AQAA", "AQ", "", "AQAB="] {
        assert_eq!(parse(&modulus(256), e), Err(JwkError::BadExponent), "{e}");
    }
    for n in ["*", "AQAB=", "AQAB"] {
        assert_eq!(agent(RSA_OAEP_256, n, "AQAB"), Err(JwkError::BadModulus), "{n}");
    }
}

#[test]
fn keys_of_agents_are_for_wrapping() {
    let key = vector()["key"].clone();
    let text = |name: &str| key[name].as_str().unwrap().to_owned();
    for alg in ["ES256", "ECDH-ES", "RSA-OAEP-256", ""] {
        let (crv, x, y) = (text("crv"), text("x"), text("y"));
        let agent = TeePubKey::EC { crv, alg: alg.to_owned(), x, y };
        assert_eq!(Jwk::try_from(&agent), Err(JwkError::WrongAlgorithm(alg.to_owned())));
    }
}

#[test]
fn a_set_lists_its_key_with_its_id_and_use() {
    let key: Jwk = serde_json::from_value(vector()["key"].clone()).unwrap();
    let set = serde_json::to_value(JwkSet::of(&key)).unwrap();
    let mut listed = vector()["key"].clone();
    listed["kid"] = crate::base64url::encode(key.thumbprint().as_slice()).into();
    listed["use"] = "sig".into();
    assert_eq!(set, json!({ "keys": [listed] }));
    assert_eq!(serde_json::from_value::<JwkSet>(set).unwrap(), JwkSet::of(&key));
}
