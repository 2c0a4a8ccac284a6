//! The SMS's own tokens (JWT, RFC 7519, ES256): challenges and attested sessions. Nothing is stored per session.

use alloy_primitives::{Address, B256};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use p256::{SecretKey, pkcs8::EncodePrivateKey};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sesame_domain::{EnclaveId, TaskId, TeeKind};
use sesame_protocol::jwk::{ES256, Jwk};

use crate::{
    tcb::PlatformState,
    verify::{AttestationError, Policy, VerifiedEnclave},
    worker::WorkerProof,
};

/// Seconds for which a token holds at most.
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
    /// The policy admits the platform below this enclave no longer.
    #[error(transparent)]
    PlatformNotAdmitted(#[from] AttestationError),
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
    life: u64,
}

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("TokenKey");
        shown.field("public", &self.public).field("life", &self.life).finish_non_exhaustive()
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
    iss: String,
    aud: String,
    iat: u64,
    exp: u64,
    jwk: Jwk,
    #[serde(rename = "ear.verifier-id")]
    verifier: VerifierId,
    submods: Submods,
    #[serde(rename = "eat_nonce")]
    nonce: String,
    enclave: B256,
    kind: u8,
    platform: PlatformState,
    #[serde(rename = "tee-pubkey")]
    key: Jwk,
    task: B256,
    worker: Address,
}

/// Who appraised: `ear.verifier-id` of EAR.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct VerifierId {
    developer: String,
    build: String,
}

/// The one attester, under the name that Confidential Containers gives it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Submods {
    cpu0: Submod,
}

/// An appraisal in one word, for others: this service reads the verdict itself.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Submod {
    #[serde(rename = "ear.status")]
    status: String,
}

impl Submods {
    fn of(platform: &PlatformState) -> Self {
        let status = if platform.is_up_to_date() { "affirming" } else { "warning" };
        Self { cpu0: Submod { status: status.to_owned() } }
    }
}

const CHALLENGE: &str = "sesame:challenge";
const SESSION: &str = "sesame:session";

impl TokenKey {
    /// The key with this secret scalar, whose tokens hold for `life` seconds, or [`TOKEN_LIFE`] where that is longer.
    ///
    /// # Errors
    /// When the bytes are no P-256 scalar.
    pub fn from_bytes(secret: &[u8; 32], life: u64) -> Result<Self, p256::elliptic_curve::Error> {
        let secret = SecretKey::from_slice(secret)?;
        let der = secret.to_pkcs8_der().map_err(|_| p256::elliptic_curve::Error)?;
        let public = secret.public_key();
        let point = public.to_sec1_bytes();
        Ok(Self {
            encoding: EncodingKey::from_ec_der(der.as_bytes()),
            decoding: DecodingKey::from_ec_der(&point),
            public: Jwk::new(public, ES256),
            life: life.min(TOKEN_LIFE),
        })
    }

    /// What others verify the tokens with.
    #[must_use]
    pub const fn public(&self) -> &Jwk {
        &self.public
    }

    /// Seconds for which a token holds.
    #[must_use]
    pub const fn life(&self) -> u64 {
        self.life
    }

    /// A challenge with this nonce for an attester of this `tee`, good for [`Self::life`].
    #[must_use]
    pub fn challenge(&self, nonce: &str, tee: &str, now: u64) -> String {
        self.sign(&ChallengeClaims {
            aud: CHALLENGE.to_owned(),
            exp: now.saturating_add(self.life),
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
        self.check_life(claims.exp, now)?;
        Ok((claims.nonce, claims.tee))
    }

    /// A token for an attested session, good for [`Self::life`].
    #[must_use]
    pub fn session(&self, session: &AttestedSession, now: u64) -> String {
        self.sign(&SessionClaims {
            eat_profile: EAR_PROFILE.to_owned(),
            iss: self.public.thumbprint_uri(),
            aud: SESSION.to_owned(),
            iat: now,
            exp: now.saturating_add(self.life),
            jwk: self.public.clone(),
            verifier: VerifierId {
                developer: env!("CARGO_PKG_NAME").to_owned(),
                build: env!("CARGO_PKG_VERSION").to_owned(),
            },
            submods: Submods::of(session.enclave.platform()),
            nonce: session.nonce.clone(),
            enclave: session.enclave.id().0,
            kind: session.enclave.kind() as u8,
            platform: session.enclave.platform().clone(),
            key: session.enclave.key().clone(),
            task: session.worker.task().0,
            worker: session.worker.worker(),
        })
    }

    /// The session that a token of ours was issued for, under the policy of today.
    ///
    /// # Errors
    /// When it is not ours, it or the collateral below it has expired, or the policy no longer admits enclave or platform.
    pub fn open_session(
        &self,
        token: &str,
        policy: &Policy,
        now: u64,
    ) -> Result<AttestedSession, TokenError> {
        let claims: SessionClaims = self.open(token, SESSION)?;
        if claims.platform.until() <= now {
            return Err(TokenError::Expired);
        }
        self.check_life(claims.exp, now)?;
        let kind = [TeeKind::Sgx, TeeKind::Tdx, TeeKind::Snp, TeeKind::Simulated]
            .into_iter()
            .find(|kind| *kind as u8 == claims.kind)
            .ok_or(TokenError::Invalid)?;
        if !policy.admits(kind) {
            return Err(TokenError::NotAdmitted);
        }
        policy.admits_platform(kind, &claims.platform)?;
        let id = EnclaveId(claims.enclave);
        Ok(AttestedSession {
            enclave: VerifiedEnclave::from_token(id, kind, claims.platform, claims.key),
            worker: WorkerProof::from_token(TaskId(claims.task), claims.worker),
            nonce: claims.nonce,
        })
    }

    /// Not past its end, and no further from it than a token of today would be: one that was issued for longer, or by a
    /// clock that was ahead, has ended as well.
    fn check_life(&self, end: u64, now: u64) -> Result<(), TokenError> {
        let holds = (now..=now.saturating_add(self.life)).contains(&end);
        if holds { Ok(()) } else { Err(TokenError::Expired) }
    }

    fn sign<C: Serialize>(&self, claims: &C) -> String {
        let header = Header { kid: Some(self.public.key_id()), ..Header::new(Algorithm::ES256) };
        jsonwebtoken::encode(&header, claims, &self.encoding)
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
    use crate::{
        snp::{Product, Tcb},
        tcb::{SnpState, TcbStatus, TcbVerdict},
    };

    fn tcb() -> TcbVerdict {
        let status = TcbStatus::SWHardeningNeeded;
        TcbVerdict { status, advisories: vec!["INTEL-SA-1".to_owned()], until: 1_000_000 }
    }

    fn policy() -> Policy {
        let admission = "SWHardeningNeeded:INTEL-SA-1,INTEL-SA-2".parse().unwrap();
        Policy::hardware_only().admitting(vec![admission])
    }

    fn session() -> AttestedSession {
        let key = EnclaveKey::random().public().clone();
        let id = EnclaveId(B256::repeat_byte(1));
        let enclave =
            VerifiedEnclave::from_token(id, TeeKind::Sgx, PlatformState::Dcap(tcb()), key);
        let worker = WorkerProof::from_token(TaskId(B256::repeat_byte(2)), Address::ZERO);
        AttestedSession { enclave, worker, nonce: "n".to_owned() }
    }

    fn key(byte: u8) -> TokenKey {
        TokenKey::from_bytes(&[byte; 32], TOKEN_LIFE).unwrap()
    }

    #[test]
    fn a_session_comes_back_until_it_expires() {
        let policy = policy();
        let token = key(1).session(&session(), 1000);
        assert!(token.len() < 4096, "fits a cookie");
        let back = key(1).open_session(&token, &policy, 1000 + TOKEN_LIFE).unwrap();
        assert_eq!(back.enclave.id(), EnclaveId(B256::repeat_byte(1)));
        assert_eq!(back.enclave.platform(), &PlatformState::Dcap(tcb()));
        assert_eq!(back.worker.task(), TaskId(B256::repeat_byte(2)));
        let late = key(1).open_session(&token, &policy, 1001 + TOKEN_LIFE);
        assert!(matches!(late, Err(TokenError::Expired)));
    }

    fn living(life: u64) -> TokenKey {
        TokenKey::from_bytes(&[1; 32], life).unwrap()
    }

    #[test]
    fn a_challenge_and_a_session_hold_for_the_life_of_their_key() {
        let policy = policy();
        for life in [0, 1, 2, TOKEN_LIFE] {
            let key = living(life);
            let (challenge, token) =
                (key.challenge("n", "sample", 1000), key.session(&session(), 1000));
            for now in [1000, 1000 + life] {
                key.open_challenge(&challenge, now).unwrap();
                key.open_session(&token, &policy, now).unwrap();
            }
            for now in [1001 + life, u64::MAX] {
                let opened = key.open_challenge(&challenge, now);
                assert!(matches!(opened, Err(TokenError::Expired)), "life {life} at {now}");
                let opened = key.open_session(&token, &policy, now);
                assert!(matches!(opened, Err(TokenError::Expired)), "life {life} at {now}");
            }
        }
    }

    #[test]
    fn no_token_holds_longer_than_the_longest_life() {
        for life in [TOKEN_LIFE + 1, u64::MAX] {
            let key = living(life);
            assert_eq!(key.life(), TOKEN_LIFE);
            let challenge = key.challenge("n", "sample", 1000);
            let late = key.open_challenge(&challenge, 1001 + TOKEN_LIFE);
            assert!(matches!(late, Err(TokenError::Expired)));
        }
    }

    #[test]
    fn a_token_from_the_future_or_of_a_longer_life_has_ended() {
        let policy = policy();
        let key = living(TOKEN_LIFE);
        let (challenge, token) =
            (key.challenge("n", "sample", 1000), key.session(&session(), 1000));
        for (key, now) in [(&key, 999), (&key, 0), (&living(TOKEN_LIFE - 1), 1000)] {
            assert!(matches!(key.open_challenge(&challenge, now), Err(TokenError::Expired)));
            assert!(matches!(key.open_session(&token, &policy, now), Err(TokenError::Expired)));
        }
        living(2).open_challenge(&challenge, 1000 + TOKEN_LIFE - 2).unwrap();
    }

    /// An RSA key of 4096 bits is the longest, and a platform may have many advisories.
    #[test]
    fn the_largest_session_fits_a_cookie_and_reads_as_ear() {
        let n = format!("v{}8", "_".repeat(681));
        let json = serde_json::json!({ "kty": "RSA", "alg": "RSA-OAEP-256", "n": n, "e": "AQAB" });
        let jwk: Jwk = serde_json::from_value(json).unwrap();
        let advisories = (0..40).map(|n| format!("INTEL-SA-{n:05}")).collect();
        let verdict = TcbVerdict { advisories, ..tcb() };
        let id = EnclaveId(B256::repeat_byte(1));
        let enclave =
            VerifiedEnclave::from_token(id, TeeKind::Tdx, PlatformState::Dcap(verdict), jwk);
        let token = key(1).session(&AttestedSession { enclave, ..session() }, 1000);
        assert!(token.len() < 4000, "{} bytes", token.len());

        let claims: SessionClaims = key(1).open(&token, SESSION).unwrap();
        let claims = serde_json::to_value(claims).unwrap();
        assert_eq!(claims["eat_profile"], "tag:github.com,2023:veraison/ear");
        assert_eq!(claims["submods"]["cpu0"]["ear.status"], "warning");
        assert!(claims["ear.verifier-id"]["build"].is_string());
        let issuer = claims["iss"].as_str().unwrap();
        assert!(issuer.ends_with(&key(1).public().key_id()), "{issuer}");
        assert_eq!(claims["jwk"], serde_json::to_value(key(1).public()).unwrap());
    }

    #[test]
    fn tokens_of_others_and_of_other_kinds_are_refused() {
        let policy = policy();
        let token = key(1).session(&session(), 1000);
        assert!(matches!(key(2).open_session(&token, &policy, 1000), Err(TokenError::Invalid)));
        assert!(matches!(key(1).open_challenge(&token, 1000), Err(TokenError::Invalid)));
        let challenge = key(1).challenge("n", "sgx", 1000);
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
        let token = key(1).session(&session(), 1000);
        let opened = key(1).open_session(&token, &Policy::hardware_only(), 1000);
        assert!(matches!(opened, Err(TokenError::PlatformNotAdmitted(_))), "{opened:?}");

        let AttestedSession { enclave, .. } = session();
        let enclave = VerifiedEnclave::from_token(
            enclave.id(),
            TeeKind::Simulated,
            PlatformState::Dcap(tcb()),
            enclave.key().clone(),
        );
        let token = key(1).session(&AttestedSession { enclave, ..session() }, 1000);
        let opened = key(1).open_session(&token, &policy(), 1000);
        assert!(matches!(opened, Err(TokenError::NotAdmitted)), "{opened:?}");
    }

    /// The firmware that an operator asks for may rise while a session lives.
    #[test]
    fn firmware_is_judged_again_by_the_minimum_of_today() {
        let firmware = Tcb { fmc: None, bootloader: 4, tee: 0, snp: 24, microcode: 219 };
        let state = SnpState { product: Product::Milan, firmware, until: 1_000_000 };
        let AttestedSession { enclave, .. } = session();
        let (id, jwk) = (enclave.id(), enclave.key().clone());
        let platform = PlatformState::Snp(state);
        let enclave = VerifiedEnclave::from_token(id, TeeKind::Snp, platform.clone(), jwk);
        let token = key(1).session(&AttestedSession { enclave, ..session() }, 1000);
        let open = |minima: &[&str]| {
            let minima = minima.iter().map(|text| text.parse().unwrap()).collect();
            key(1).open_session(&token, &Policy::hardware_only().admitting_snp(minima), 1000)
        };
        let back = open(&["Milan:bootloader=4,tee=0,snp=24,microcode=219"]).unwrap();
        assert_eq!((back.enclave.kind(), back.enclave.platform()), (TeeKind::Snp, &platform));
        for minima in [
            &[][..],
            &["Genoa:bootloader=0,tee=0,snp=0,microcode=0"],
            &["Milan:bootloader=5,tee=0,snp=24,microcode=219"],
            &["Milan:bootloader=4,tee=0,snp=25,microcode=219"],
            &["Milan:bootloader=4,tee=0,snp=24,microcode=220"],
        ] {
            let refused = open(minima);
            assert!(matches!(refused, Err(TokenError::PlatformNotAdmitted(_))), "{refused:?}");
        }
        let why = open(&["Milan:bootloader=4,tee=0,snp=25,microcode=219"]).unwrap_err();
        assert!(why.to_string().contains("snp 24") && why.to_string().contains("snp 25"), "{why}");
    }

    /// A session does not outlive what was known of its platform.
    #[test]
    fn a_session_ends_with_the_collateral() {
        let AttestedSession { enclave, .. } = session();
        let tcb = TcbVerdict { until: 1100, ..tcb() };
        let (id, kind, jwk) = (enclave.id(), enclave.kind(), enclave.key().clone());
        let enclave = VerifiedEnclave::from_token(id, kind, PlatformState::Dcap(tcb), jwk);
        let token = key(1).session(&AttestedSession { enclave, ..session() }, 1000);
        assert!(key(1).open_session(&token, &policy(), 1099).is_ok());
        let late = key(1).open_session(&token, &policy(), 1100);
        assert!(matches!(late, Err(TokenError::Expired)), "{late:?}");
    }
}
