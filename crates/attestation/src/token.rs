//! The SMS's own tokens (JWT, RFC 7519, ES256): challenges and attested sessions. Nothing is stored per session.

use alloy_primitives::{Address, B256};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use p256::{SecretKey, pkcs8::EncodePrivateKey};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sesame_domain::{EnclaveId, TaskId, TeeKind};
use sesame_protocol::jwk::{ES256, Jwk};

use crate::{
    verify::{Policy, VerifiedEnclave},
    worker::WorkerProof,
};

/// Seconds for which a token holds.
pub const TOKEN_LIFE: u64 = 300;

/// The profile named by attested sessions (EAT Attestation Results).
const EAR_PROFILE: &str = "tag:github.com,2023:veraison/ear";

/// A token does not count.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Past its life.
    #[error("the session has expired: attest again")]
    Expired,
    /// Not signed by this SMS, or not a token of the kind asked for.
    #[error("the session is not one of this service: attest again")]
    Invalid,
    /// The policy admits this enclave no longer.
    #[error("enclaves of this kind are no longer admitted")]
    NotAdmitted,
}

/// An attested enclave, and the worker that vouches for its run.
#[derive(Debug, Clone)]
pub struct AttestedSession {
    /// The enclave.
    pub enclave: VerifiedEnclave,
    /// The worker.
    pub worker: WorkerProof,
    /// The nonce of the attestation.
    pub nonce: String,
}

/// The key that signs tokens.
pub struct TokenKey {
    encoding: EncodingKey,
    decoding: DecodingKey,
    public: Jwk,
}

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenKey").field("public", &self.public).finish_non_exhaustive()
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ChallengeClaims {
    aud: String,
    exp: u64,
    nonce: String,
    tee: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SessionClaims {
    eat_profile: String,
    aud: String,
    iat: u64,
    exp: u64,
    nonce: String,
    enclave: B256,
    kind: u8,
    #[serde(rename = "tee-pubkey")]
    key: Jwk,
    task: B256,
    worker: Address,
}

const CHALLENGE: &str = "sesame:challenge";
const SESSION: &str = "sesame:session";

impl TokenKey {
    /// The key with this secret scalar.
    ///
    /// # Errors
    /// When the bytes are no P-256 scalar.
    pub fn from_bytes(secret: &[u8; 32]) -> Result<Self, p256::elliptic_curve::Error> {
        let secret = SecretKey::from_slice(secret)?;
        let der = secret.to_pkcs8_der().map_err(|_| p256::elliptic_curve::Error)?;
        let public = secret.public_key();
        let point = public.to_sec1_bytes();
        Ok(Self {
            encoding: EncodingKey::from_ec_der(der.as_bytes()),
            decoding: DecodingKey::from_ec_der(&point),
            public: Jwk::new(public, ES256),
        })
    }

    /// What others verify the tokens with.
    #[must_use]
    pub const fn public(&self) -> &Jwk {
        &self.public
    }

    /// A challenge with this nonce for an attester of this `tee`, good for [`TOKEN_LIFE`].
    #[must_use]
    pub fn challenge(&self, nonce: &str, tee: &str, now: u64) -> String {
        self.sign(&ChallengeClaims {
            aud: CHALLENGE.to_owned(),
            exp: now + TOKEN_LIFE,
            nonce: nonce.to_owned(),
            tee: tee.to_owned(),
        })
    }

    /// The nonce and the TEE of a challenge of ours.
    ///
    /// # Errors
    /// When it is not ours or has expired.
    pub fn open_challenge(&self, token: &str, now: u64) -> Result<(String, String), TokenError> {
        let claims: ChallengeClaims = self.open(token, CHALLENGE)?;
        if claims.exp < now {
            return Err(TokenError::Expired);
        }
        Ok((claims.nonce, claims.tee))
    }

    /// A token for an attested session, good for [`TOKEN_LIFE`].
    #[must_use]
    pub fn session(&self, session: &AttestedSession, now: u64) -> String {
        self.sign(&SessionClaims {
            eat_profile: EAR_PROFILE.to_owned(),
            aud: SESSION.to_owned(),
            iat: now,
            exp: now + TOKEN_LIFE,
            nonce: session.nonce.clone(),
            enclave: session.enclave.id().0,
            kind: session.enclave.kind() as u8,
            key: session.enclave.key().clone(),
            task: session.worker.task().0,
            worker: session.worker.worker(),
        })
    }

    /// The session that a token of ours was issued for, under the policy of today.
    ///
    /// # Errors
    /// When it is not ours, has expired, or the policy no longer admits the enclave.
    pub fn open_session(
        &self,
        token: &str,
        policy: &Policy,
        now: u64,
    ) -> Result<AttestedSession, TokenError> {
        let claims: SessionClaims = self.open(token, SESSION)?;
        if claims.exp < now || now + TOKEN_LIFE < claims.exp {
            return Err(TokenError::Expired);
        }
        let kind = [TeeKind::Sgx, TeeKind::Tdx, TeeKind::Snp, TeeKind::Simulated]
            .into_iter()
            .find(|kind| *kind as u8 == claims.kind)
            .ok_or(TokenError::Invalid)?;
        if !policy.admits(kind) {
            return Err(TokenError::NotAdmitted);
        }
        Ok(AttestedSession {
            enclave: VerifiedEnclave::from_token(EnclaveId(claims.enclave), kind, claims.key),
            worker: WorkerProof::from_token(TaskId(claims.task), claims.worker),
            nonce: claims.nonce,
        })
    }

    fn sign<C: Serialize>(&self, claims: &C) -> String {
        jsonwebtoken::encode(&Header::new(Algorithm::ES256), claims, &self.encoding)
            .expect("claims are plain JSON and the key is a P-256 key")
    }

    /// Time is checked by the callers: it is an argument here.
    fn open<C: DeserializeOwned>(&self, token: &str, audience: &str) -> Result<C, TokenError> {
        let mut validation = Validation::new(Algorithm::ES256);
        validation.validate_exp = false;
        validation.set_required_spec_claims(&["aud", "exp"]);
        validation.set_audience(&[audience]);
        jsonwebtoken::decode(token, &self.decoding, &validation)
            .map(|data| data.claims)
            .map_err(|_| TokenError::Invalid)
    }
}

#[cfg(test)]
mod tests {
    use sesame_protocol::jwe::EnclaveKey;

    use super::*;

    fn session() -> AttestedSession {
        let key = EnclaveKey::random().public().clone();
        let enclave =
            VerifiedEnclave::from_token(EnclaveId(B256::repeat_byte(1)), TeeKind::Sgx, key);
        let worker = WorkerProof::from_token(TaskId(B256::repeat_byte(2)), Address::ZERO);
        AttestedSession { enclave, worker, nonce: "n".to_owned() }
    }

    fn key(byte: u8) -> TokenKey {
        TokenKey::from_bytes(&[byte; 32]).unwrap()
    }

    #[test]
    fn a_session_comes_back_until_it_expires() {
        let policy = Policy::hardware_only();
        let token = key(1).session(&session(), 1000);
        assert!(token.len() < 4096, "fits a cookie");
        let back = key(1).open_session(&token, &policy, 1000 + TOKEN_LIFE).unwrap();
        assert_eq!(back.enclave.id(), EnclaveId(B256::repeat_byte(1)));
        assert_eq!(back.worker.task(), TaskId(B256::repeat_byte(2)));
        let late = key(1).open_session(&token, &policy, 1001 + TOKEN_LIFE);
        assert!(matches!(late, Err(TokenError::Expired)));
    }

    #[test]
    fn tokens_of_others_and_of_other_kinds_are_refused() {
        let policy = Policy::hardware_only();
        let token = key(1).session(&session(), 1000);
        assert!(matches!(key(2).open_session(&token, &policy, 1000), Err(TokenError::Invalid)));
        assert!(matches!(key(1).open_challenge(&token, 1000), Err(TokenError::Invalid)));
        let challenge = key(1).challenge("n", "sample", 1000);
        let opened = key(1).open_session(&challenge, &policy, 1000);
        assert!(matches!(opened, Err(TokenError::Invalid)));
        for at in 0..token.len() {
            let mut forged = token.clone().into_bytes();
            if let Some(byte) = forged.get_mut(at) {
                *byte = if *byte == b'A' { b'B' } else { b'A' };
            }
            let forged = String::from_utf8(forged).unwrap();
            // The last character of a base64url part carries unused bits; equal bytes are the same token.
            if let Ok(session) = key(1).open_session(&forged, &policy, 1000) {
                assert_eq!(session.enclave.id(), EnclaveId(B256::repeat_byte(1)), "at {at}");
            }
        }
    }

    #[test]
    fn the_policy_of_today_counts() {
        let enclave = session().enclave;
        let enclave =
            VerifiedEnclave::from_token(enclave.id(), TeeKind::Simulated, enclave.key().clone());
        let token = key(1).session(&AttestedSession { enclave, ..session() }, 1000);
        let opened = key(1).open_session(&token, &Policy::hardware_only(), 1000);
        assert!(matches!(opened, Err(TokenError::NotAdmitted)));
    }
}
