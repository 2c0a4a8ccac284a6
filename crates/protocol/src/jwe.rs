//! What the SMS answers to an attested enclave: a JWE (RFC 7516) by A256GCM, the content key wrapped by ECDH-ES+A256KW or
//! RSA-OAEP-256 (RFC 7518), whichever the enclave's key is for.

use std::fmt;

use aes_gcm::{AeadInOut, Aes256Gcm};
use aes_kw::KwAes256;
use alloy_primitives::B256;
use kbs_types::{ProtectedHeader, Response};
use p256::{PublicKey, SecretKey, elliptic_curve::common::KeyInit};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::{
    jwk::{ECDH_ES_A256KW, Jwk, JwkError, Key, RSA_OAEP_256, RsaKey, coordinates},
    random,
};

const A256GCM: &str = "A256GCM";
const WRAPPED_BYTES: usize = 40;

/// A JWE cannot be made or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JweError {
    /// The recipient's key is for another algorithm, or the ephemeral key is absent or malformed.
    #[error("the key is not to be used")]
    Key(#[from] JwkError),
    /// The header names other algorithms than ECDH-ES+A256KW and A256GCM.
    #[error("{alg} with {enc} is not served: use ECDH-ES+A256KW with A256GCM")]
    WrongAlgorithm {
        /// How the content key is wrapped.
        alg: String,
        /// How the content is encrypted.
        enc: String,
    },
    /// The header has no readable member of this name, or one that changes how to decrypt and is not known.
    #[error("the protected header's member {0} is absent, malformed or not understood")]
    BadHeader(String),
    /// The initialization vector, tag or encrypted key has another length than its algorithm's.
    #[error("the {0} has the wrong length")]
    WrongLength(&'static str),
    /// The JWE was made for another key, or was altered.
    #[error("the JWE does not decrypt with this key")]
    DoesNotDecrypt,
    /// The content is larger than AES-GCM takes.
    #[error("the content is too large")]
    TooLarge,
}

/// The enclave's key for one run. It never leaves the enclave; it is neither printed nor copied.
pub struct EnclaveKey {
    secret: SecretKey,
    public: Jwk,
}

impl EnclaveKey {
    /// A new key.
    ///
    /// # Panics
    ///
    /// If the operating system gives no randomness.
    #[must_use]
    pub fn random() -> Self {
        let secret = random_secret();
        let public = Jwk::new(secret.public_key(), ECDH_ES_A256KW);
        Self { secret, public }
    }

    /// The public key, as the attestation carries it.
    #[must_use]
    pub const fn public(&self) -> &Jwk {
        &self.public
    }

    /// The public key's RFC 7638 thumbprint: what the worker vouches for.
    #[must_use]
    pub fn thumbprint(&self) -> B256 {
        self.public.thumbprint()
    }

    /// Signs with ES256 (RFC 7518, section 3.4): r ‖ s, 64 bytes.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        let key = p256::ecdsa::SigningKey::from(&self.secret);
        let signature: p256::ecdsa::Signature = p256::ecdsa::signature::Signer::sign(&key, message);
        signature.to_bytes().into()
    }

    /// Decrypts what was encrypted to this key.
    ///
    /// # Errors
    ///
    /// If the algorithms are others, the document is malformed, was made for another key, or was altered.
    pub fn decrypt(&self, jwe: &Response) -> Result<Zeroizing<Vec<u8>>, JweError> {
        let header = &jwe.protected;
        if header.alg != ECDH_ES_A256KW || header.enc != A256GCM {
            return Err(JweError::WrongAlgorithm {
                alg: header.alg.clone(),
                enc: header.enc.clone(),
            });
        }
        let members = HeaderMembers::parse(&header.other_fields)?;
        let shared = self.secret.diffie_hellman(&members.epk);
        let wrapping =
            concat_kdf::<32>(shared.raw_secret_bytes(), ECDH_ES_A256KW, &members.apu, &members.apv);
        if jwe.encrypted_key.len() != WRAPPED_BYTES {
            return Err(JweError::WrongLength("encrypted key"));
        }
        let mut content_key = Zeroizing::new([0; 32]);
        KwAes256::new((&*wrapping).into())
            .unwrap_key(&jwe.encrypted_key, content_key.as_mut_slice())
            .map_err(|_| JweError::DoesNotDecrypt)?;
        open_content(&content_key, jwe)
    }
}

impl fmt::Debug for EnclaveKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnclaveKey").field("thumbprint", &self.thumbprint()).finish_non_exhaustive()
    }
}

/// Encrypts `content` to an enclave's key, with a fresh content key and, for an EC key, a fresh ephemeral.
///
/// # Errors
///
/// If the key says that it is for another algorithm, or the content is larger than AES-GCM takes (64 GiB).
pub fn encrypt(to: &Jwk, content: &[u8]) -> Result<Response, JweError> {
    let content_key = random::bytes::<32>();
    let (protected, encrypted_key) = match to.for_wrapping()? {
        Key::Ec(key) => wrap_by_ecdh(key, &content_key)?,
        Key::Rsa(key) => wrap_by_rsa(key, &content_key)?,
    };
    let aad = associated_data(&protected, None)?;
    let iv = random::bytes::<12>();
    let mut ciphertext = content.to_vec();
    let tag = Aes256Gcm::new((&*content_key).into())
        .encrypt_inout_detached((&*iv).into(), &aad, ciphertext.as_mut_slice().into())
        .map_err(|_| JweError::TooLarge)?;
    Ok(Response {
        protected,
        encrypted_key,
        aad: None,
        iv: iv.to_vec(),
        ciphertext,
        tag: tag.to_vec(),
    })
}

fn wrap_by_ecdh(
    to: &PublicKey,
    content_key: &[u8; 32],
) -> Result<(ProtectedHeader, Vec<u8>), JweError> {
    let ephemeral = random_secret();
    let shared = ephemeral.diffie_hellman(to);
    let wrapping = concat_kdf::<32>(shared.raw_secret_bytes(), ECDH_ES_A256KW, &[], &[]);
    let mut encrypted_key = vec![0; WRAPPED_BYTES];
    KwAes256::new((&*wrapping).into())
        .wrap_key(content_key, &mut encrypted_key)
        .map_err(|_| JweError::WrongLength("encrypted key"))?;
    Ok((protected_header(&ephemeral.public_key()), encrypted_key))
}

fn wrap_by_rsa(
    to: &RsaKey,
    content_key: &[u8; 32],
) -> Result<(ProtectedHeader, Vec<u8>), JweError> {
    let encrypted_key = to.wrap(content_key).ok_or(JweError::WrongLength("encrypted key"))?;
    let (alg, enc) = (RSA_OAEP_256.to_owned(), A256GCM.to_owned());
    Ok((ProtectedHeader { alg, enc, other_fields: Map::new() }, encrypted_key))
}

fn open_content(key: &[u8; 32], jwe: &Response) -> Result<Zeroizing<Vec<u8>>, JweError> {
    let iv: &[u8; 12] =
        jwe.iv.as_slice().try_into().map_err(|_| JweError::WrongLength("initialization vector"))?;
    let tag: &[u8; 16] = jwe.tag.as_slice().try_into().map_err(|_| JweError::WrongLength("tag"))?;
    let aad = associated_data(&jwe.protected, jwe.aad.as_deref())?;
    let mut content = Zeroizing::new(jwe.ciphertext.clone());
    Aes256Gcm::new(key.into())
        .decrypt_inout_detached(iv.into(), &aad, content.as_mut_slice().into(), tag.into())
        .map_err(|_| JweError::DoesNotDecrypt)?;
    Ok(content)
}

/// `ASCII(BASE64URL(protected header))`, then `.` and `aad` if there is one (RFC 7516, section 5.1, step 14).
fn associated_data(protected: &ProtectedHeader, aad: Option<&[u8]>) -> Result<Vec<u8>, JweError> {
    let mut data =
        protected.generate_aad().map_err(|_| JweError::BadHeader("protected".to_owned()))?;
    if let Some(aad) = aad {
        data.push(b'.');
        data.extend_from_slice(aad);
    }
    Ok(data)
}

/// The header with the ephemeral key. Its members are written in alphabetical order, so that a reader that parses the
/// header and writes it again gets the same bytes whether or not its maps are sorted.
fn protected_header(epk: &PublicKey) -> ProtectedHeader {
    let (x, y) = coordinates(epk);
    let mut other_fields = Map::new();
    other_fields.insert("epk".to_owned(), json!({ "crv": "P-256", "kty": "EC", "x": x, "y": y }));
    ProtectedHeader { alg: ECDH_ES_A256KW.to_owned(), enc: A256GCM.to_owned(), other_fields }
}

/// What the header says about the key agreement (RFC 7518, section 4.6.1).
struct HeaderMembers {
    epk: PublicKey,
    apu: Vec<u8>,
    apv: Vec<u8>,
}

impl HeaderMembers {
    fn parse(members: &Map<String, Value>) -> Result<Self, JweError> {
        for unknown in ["crit", "zip"] {
            if members.contains_key(unknown) {
                return Err(JweError::BadHeader(unknown.to_owned()));
            }
        }
        let epk = members
            .get("epk")
            .and_then(|epk| serde_json::from_value::<Jwk>(epk.clone()).ok()?.p256().copied())
            .ok_or_else(|| JweError::BadHeader("epk".to_owned()))?;
        let party = |name: &str| match members.get(name) {
            None => Ok(Vec::new()),
            Some(value) => value
                .as_str()
                .and_then(|text| crate::base64url::decode(text).ok())
                .ok_or_else(|| JweError::BadHeader(name.to_owned())),
        };
        Ok(Self { epk, apu: party("apu")?, apv: party("apv")? })
    }
}

/// Concat KDF (NIST SP 800-56A, as RFC 7518 section 4.6.2 uses it) for keys of at most 32 bytes, thus in one round.
fn concat_kdf<const N: usize>(z: &[u8], alg: &str, apu: &[u8], apv: &[u8]) -> Zeroizing<[u8; N]> {
    const { assert!(N <= 32, "one round of SHA-256 gives 32 bytes") };
    let length = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).to_be_bytes();
    let mut hash = Sha256::new().chain_update(1u32.to_be_bytes()).chain_update(z);
    for part in [alg.as_bytes(), apu, apv] {
        hash.update(length(part.len()));
        hash.update(part);
    }
    hash.update(length(N * 8));
    let round = Zeroizing::new(<[u8; 32]>::from(hash.finalize()));
    let mut key = Zeroizing::new([0; N]);
    key.iter_mut().zip(round.iter()).for_each(|(to, from)| *to = *from);
    key
}

fn random_secret() -> SecretKey {
    loop {
        if let Ok(secret) = SecretKey::from_slice(random::bytes::<32>().as_slice()) {
            return secret;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{base64url, jwk::ES256};

    /// RFC 7518, appendix C: the keys, and the key that the KDF gives.
    const ALICE_D: &str = "0_NxaRPUMQoAJt50Gz8YiTr8gRTwyEaCumd-MToTmIo";
    const ALICE: &str = r#"{"kty":"EC","crv":"P-256","x":"gI0GAILBdu7T53akrFmMyGcsF3n5dO7MmwNBHKW5SV0","y":"SLW_xSffzlPWrHEVI30DHM_4egVwt3NQqeUD7nMFpps"}"#;
    const BOB_D: &str = "VEmDZpDXXK8p8N0Cndsxs924q6nS1RXFASRl6BfUqdw";
    const DERIVED: &str = "VqqN6vgjbSBcIijNcacQGg";

    fn key(d: &str) -> EnclaveKey {
        let secret = SecretKey::from_slice(&base64url::decode(d).unwrap()).unwrap();
        let public = Jwk::new(secret.public_key(), ECDH_ES_A256KW);
        EnclaveKey { secret, public }
    }

    #[test]
    fn the_key_derivation_gives_the_published_vector() {
        let (alice, bob) = (key(ALICE_D), key(BOB_D));
        let published: Jwk = serde_json::from_str(ALICE).unwrap();
        assert_eq!(published.p256(), alice.public().p256());
        for shared in [
            alice.secret.diffie_hellman(bob.public().p256().unwrap()),
            bob.secret.diffie_hellman(alice.public().p256().unwrap()),
        ] {
            let derived = concat_kdf::<16>(shared.raw_secret_bytes(), "A128GCM", b"Alice", b"Bob");
            assert_eq!(base64url::encode(&*derived), DERIVED);
        }
    }

    /// `jwe.json` was made by this crate for Bob's key and decrypted by another implementation.
    #[test]
    fn decrypts_the_golden_document() {
        let golden = include_str!("../../../tests/fixtures/protocol/jwe.json");
        let jwe: Response = serde_json::from_str(golden).unwrap();
        assert_eq!(key(BOB_D).decrypt(&jwe).unwrap().as_slice(), b"correct horse");
        // A reader that writes the header again must get the same bytes.
        let value: Value = serde_json::from_str(golden).unwrap();
        assert_eq!(
            jwe.protected.generate_aad().unwrap(),
            value["protected"].as_str().unwrap().as_bytes()
        );
    }

    fn fresh() -> (EnclaveKey, Response) {
        let key = EnclaveKey::random();
        let jwe = encrypt(key.public(), b"correct horse").unwrap();
        (key, jwe)
    }

    #[test]
    fn encrypts_any_bytes_to_one_key() {
        let key = EnclaveKey::random();
        for content in [&[][..], &[0], &[0xff; 70_000]] {
            let jwe = encrypt(key.public(), content).unwrap();
            let jwe: Response =
                serde_json::from_str(&serde_json::to_string(&jwe).unwrap()).unwrap();
            assert_eq!(key.decrypt(&jwe).unwrap().as_slice(), content);
            assert_eq!(EnclaveKey::random().decrypt(&jwe), Err(JweError::DoesNotDecrypt));
        }
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let (key, jwe) = fresh();
        let fields: [fn(&mut Response) -> &mut Vec<u8>; 4] = [
            |jwe| &mut jwe.encrypted_key,
            |jwe| &mut jwe.iv,
            |jwe| &mut jwe.ciphertext,
            |jwe| &mut jwe.tag,
        ];
        for field in fields {
            for bit in 0..field(&mut jwe.clone()).len() * 8 {
                let mut altered = jwe.clone();
                field(&mut altered)[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(key.decrypt(&altered), Err(JweError::DoesNotDecrypt), "bit {bit}");
            }
        }
    }

    #[test]
    fn altered_headers_are_refused() {
        let (key, jwe) = fresh();
        let check = |alter: &dyn Fn(&mut Response), expected: JweError| {
            let mut altered = jwe.clone();
            alter(&mut altered);
            assert_eq!(key.decrypt(&altered), Err(expected));
        };
        let member = |name: &'static str, value: Value| {
            move |jwe: &mut Response| {
                jwe.protected.other_fields.insert(name.to_owned(), value.clone());
            }
        };
        let wrong = |alg: &str, enc: &str| JweError::WrongAlgorithm {
            alg: alg.to_owned(),
            enc: enc.to_owned(),
        };
        check(&|jwe| jwe.protected.alg = "dir".to_owned(), wrong("dir", A256GCM));
        check(&|jwe| jwe.protected.enc = "A128GCM".to_owned(), wrong(ECDH_ES_A256KW, "A128GCM"));
        check(&member("crit", json!(["exp"])), JweError::BadHeader("crit".to_owned()));
        check(&member("zip", json!("DEF")), JweError::BadHeader("zip".to_owned()));
        check(&member("epk", json!({})), JweError::BadHeader("epk".to_owned()));
        check(&member("apu", json!(7)), JweError::BadHeader("apu".to_owned()));
        check(&member("apu", json!("QWxpY2U")), JweError::DoesNotDecrypt);
        check(&member("kid", json!("more")), JweError::DoesNotDecrypt);
        let other: Value = serde_json::from_str(ALICE).unwrap();
        check(&member("epk", other), JweError::DoesNotDecrypt);
        check(&|jwe| jwe.aad = Some(b"x".to_vec()), JweError::DoesNotDecrypt);
        let short = |what| JweError::WrongLength(what);
        check(&|jwe| jwe.iv.truncate(11), short("initialization vector"));
        check(&|jwe| jwe.tag.truncate(15), short("tag"));
        check(&|jwe| jwe.encrypted_key.truncate(39), short("encrypted key"));
        check(&|jwe| jwe.ciphertext.truncate(12), JweError::DoesNotDecrypt);
    }

    #[test]
    fn keys_for_another_algorithm_are_refused() {
        let jwk = Jwk::new(*EnclaveKey::random().public().p256().unwrap(), ES256);
        let refused = encrypt(&jwk, b"x").unwrap_err();
        assert_eq!(refused, JweError::Key(JwkError::WrongAlgorithm(ES256.to_owned())));
    }

    fn rsa_key() -> (rsa::PrivateKey, Jwk) {
        use rsa::{Generate, traits::PublicKeyParts};
        let secret = rsa::PrivateKey::generate();
        let n = base64url::encode(&secret.n().to_be_bytes_trimmed_vartime());
        let json = json!({ "kty": "RSA", "alg": RSA_OAEP_256, "n": n, "e": "AQAB" });
        (secret, serde_json::from_value(json).unwrap())
    }

    /// The library's own decryption opens the content key; `script/test` has another implementation do so too.
    #[test]
    fn an_rsa_key_opens_what_was_encrypted_to_it() {
        let (secret, public) = rsa_key();
        let jwe = encrypt(&public, b"correct horse").unwrap();
        assert_eq!((&*jwe.protected.alg, &*jwe.protected.enc), (RSA_OAEP_256, A256GCM));
        assert_eq!(jwe.encrypted_key.len(), 384, "a key of 3072 bits");
        let content_key = secret.oaep_decrypt::<rsa::sha2::Sha256>(&jwe.encrypted_key).unwrap();
        let opened = open_content(&content_key.try_into().unwrap(), &jwe).unwrap();
        assert_eq!(opened.as_slice(), b"correct horse");

        let (other, _) = rsa_key();
        assert!(other.oaep_decrypt::<rsa::sha2::Sha256>(&jwe.encrypted_key).is_err());
        assert_ne!(encrypt(&public, b"correct horse").unwrap().encrypted_key, jwe.encrypted_key);
    }

    #[test]
    fn the_debug_form_shows_the_thumbprint_alone() {
        let shown = format!("{:?}", key(BOB_D));
        assert!(shown.contains("thumbprint") && !shown.contains("secret"), "{shown}");
    }
}
