//! The attestation protocol of the enclave surface: RCAR 0.4.0 of the Key Broker Service (Confidential Containers).
//!
//! `POST /kbs/v0/auth` takes a [`Request`] and answers a [`Challenge`]; `POST /kbs/v0/attest` takes an [`Attestation`] and
//! answers a [`TokenResponse`]; `GET /kbs/v0/resource/{task}/{type}/{tag}` answers a [`Response`], a JWE. Errors are an
//! [`ErrorBody`].

use alloy_primitives::{B256, keccak256};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sesame_domain::{Resource, TaskId};
use sha2::{Digest, Sha384};

use crate::{base64url, denial::DenialBody, jwk::Jwk, problem, random};

pub use kbs_types::{
    Attestation, Challenge, CompositeEvidence, Request, Response, RuntimeData, Tee, TeePubKey,
};

/// The version of the protocol that is spoken.
pub const VERSION: &str = "0.4.0";

/// The cookie that carries the session.
pub const SESSION_COOKIE: &str = "kbs-session-id";

/// The session in the value of a `Cookie` header (RFC 6265), if there is one.
#[must_use]
pub fn session_in_cookie(header: &str) -> Option<&str> {
    let mut pairs = header.split(';').filter_map(|pair| pair.trim().split_once('='));
    pairs.find_map(|(name, value)| (name == SESSION_COOKIE).then_some(value))
}

/// What `POST /kbs/v0/attest` answers.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokenResponse {
    /// The attestation token, a JWT in the EAR profile. Whoever shows it is the enclave: it is not printed.
    pub token: String,
}

impl std::fmt::Debug for TokenResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenResponse").finish_non_exhaustive()
    }
}

/// The body of every error: the protocol's `ErrorInformation` (`type` and `detail`), and one member more.
///
/// `denials` holds the reasons of a 403 for machines; agents that do not know it ignore it. `detail` says the same in
/// sentences.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ErrorBody {
    /// `urn:sesame:problem:<code>`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What happened and how to mend it.
    pub detail: String,
    /// Why a release was denied; empty for other errors.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub denials: Vec<DenialBody>,
}

impl ErrorBody {
    /// An error of this code.
    #[must_use]
    pub fn new(code: &str, detail: impl Into<String>) -> Self {
        Self { kind: problem::urn(code), detail: detail.into(), denials: Vec::new() }
    }

    /// A refusal, with every reason.
    #[must_use]
    pub fn denied(denials: Vec<DenialBody>) -> Self {
        Self { kind: problem::urn(problem::DENIED), detail: DenialBody::join(&denials), denials }
    }

    /// The code within `type`, if the type is one of Sesame's.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.kind.strip_prefix(problem::URN_PREFIX)
    }
}

/// The runtime data that the evidence vouches for: canonical JSON (RFC 8785) of `additional-evidence`, `nonce`, `tee-pubkey`.
///
/// `additional_evidence` is the attestation's text of that name: empty where there is no second device.
#[must_use]
pub fn runtime_data(additional_evidence: &str, nonce: &str, key: &Jwk) -> Vec<u8> {
    let data = json!({
        "additional-evidence": additional_evidence,
        "nonce": nonce,
        "tee-pubkey": key,
    });
    serde_json_canonicalizer::to_vec(&data).expect("the document holds text alone")
}

/// The report data of evidence that has no second device: SHA-384 of [`runtime_data`], then 16 zero bytes.
#[must_use]
pub fn report_data(nonce: &str, key: &Jwk) -> [u8; 64] {
    report_data_of(&runtime_data("", nonce, key))
}

/// SHA-384 of the runtime data, then 16 zero bytes.
#[must_use]
pub fn report_data_of(runtime_data: &[u8]) -> [u8; 64] {
    let mut report_data = [0; 64];
    report_data.iter_mut().zip(Sha384::digest(runtime_data)).for_each(|(to, from)| *to = from);
    report_data
}

/// A nonce for a challenge: 32 random bytes in base64url.
///
/// # Panics
///
/// If the operating system gives no randomness.
#[must_use]
pub fn fresh_nonce() -> String {
    base64url::encode(random::bytes::<32>().as_slice())
}

/// The nonce of an attestation as signed bundles name it: Keccak-256 of its text.
#[must_use]
pub fn nonce_digest(nonce: &str) -> B256 {
    keccak256(nonce)
}

/// The one hash that binds runtime data to evidence here, as the protocol names it.
pub const HASH_ALGORITHM: &str = "sha384";

/// Chooses the hash from what an agent says that it can compute: `supported-hash-algorithms` in its `extra-params`. An agent
/// that says nothing uses the protocol's default, which is the same.
///
/// # Errors
///
/// If the agent lists hashes and [`HASH_ALGORITHM`] is not among them.
pub fn agree_on_hash(extra_params: &Value) -> Result<&'static str, HashNotServed> {
    let Some(listed) = extra_params.get("supported-hash-algorithms") else {
        return Ok(HASH_ALGORITHM);
    };
    let served = |name: &Value| name.as_str().is_some_and(|name| name == HASH_ALGORITHM);
    let agreed = listed.as_array().is_some_and(|listed| listed.iter().any(served));
    if agreed { Ok(HASH_ALGORITHM) } else { Err(HashNotServed) }
}

/// What the service adds to a challenge: the hash that was agreed on.
#[must_use]
pub fn challenge(nonce: String, hash: &str) -> Challenge {
    Challenge { nonce, extra_params: json!({ "selected-hash-algorithm": hash }) }
}

/// The agent cannot compute the hash that is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the agent lists its hash algorithms, and {HASH_ALGORITHM} is not among them")]
pub struct HashNotServed;

/// What an agent sends to `/auth`.
#[must_use]
pub fn request(tee: Tee) -> Request {
    let extra_params = json!({ "supported-hash-algorithms": [HASH_ALGORITHM] });
    Request { version: VERSION.to_owned(), tee, extra_params }
}

/// What an agent without a second device sends to `/attest`.
#[must_use]
pub fn attestation(nonce: &str, key: &Jwk, evidence: Value) -> Attestation {
    Attestation {
        init_data: None,
        runtime_data: RuntimeData { nonce: nonce.to_owned(), tee_pubkey: key.into() },
        tee_evidence: CompositeEvidence {
            primary_evidence: evidence,
            additional_evidence: String::new(),
        },
    }
}

/// The path of a resource, without a leading slash: `kbs/v0/resource/{task}/{type}/{tag}`.
#[must_use]
pub fn resource_path(task: TaskId, resource: Resource) -> String {
    format!("kbs/v0/resource/{task}/{resource}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Vector {
        key: Jwk,
        nonce: String,
        nonce_digest: B256,
        runtime_data: String,
        report_data: alloy_primitives::FixedBytes<64>,
    }

    fn vector() -> Vector {
        serde_json::from_str(include_str!("../../../tests/fixtures/protocol/rcar.json")).unwrap()
    }

    #[test]
    fn the_report_data_is_the_golden_one() {
        let vector = vector();
        let data = runtime_data("", &vector.nonce, &vector.key);
        assert_eq!(String::from_utf8(data).unwrap(), vector.runtime_data);
        assert_eq!(report_data(&vector.nonce, &vector.key), vector.report_data.0);
        assert_eq!(nonce_digest(&vector.nonce), vector.nonce_digest);
    }

    #[test]
    fn the_report_data_binds_nonce_key_and_second_device() {
        let Vector { key, nonce, report_data: golden, .. } = vector();
        assert_ne!(report_data("bm9uY2V=", &key), golden.0);
        assert_ne!(report_data(&nonce, crate::jwe::EnclaveKey::random().public()), golden.0);
        assert_ne!(report_data_of(&runtime_data("{}", &nonce, &key)), golden.0);
    }

    #[test]
    fn what_is_sent_hashes_to_what_was_quoted() {
        let Vector { key, nonce, report_data: golden, .. } = vector();
        let sent = serde_json::to_string(&attestation(&nonce, &key, json!({"any": 1}))).unwrap();
        let read: Attestation = serde_json::from_str(&sent).unwrap();
        let key = Jwk::try_from(&read.runtime_data.tee_pubkey).unwrap();
        assert_eq!(report_data(&read.runtime_data.nonce, &key), golden.0);
    }

    #[test]
    fn the_session_is_one_of_several_cookies() {
        for header in
            ["kbs-session-id=a.b.c", "x=1; kbs-session-id=a.b.c;y", " kbs-session-id=a.b.c"]
        {
            assert_eq!(session_in_cookie(header), Some("a.b.c"), "{header}");
        }
        for header in
            ["", "kbs-session-id", "Kbs-Session-Id=a", "xkbs-session-id=a", "x=kbs-session-id"]
        {
            assert_eq!(session_in_cookie(header), None, "{header}");
        }
        assert_eq!(session_in_cookie("kbs-session-id=a=b"), Some("a=b"));
    }

    #[test]
    fn the_hash_is_one_that_the_agent_can_compute() {
        let listing = |names: Value| json!({ "supported-hash-algorithms": names });
        let all = ["sha256", "sha384", "sha512", "sm3"];
        for agreed in [json!(""), json!({}), json!(null), listing(json!(all))] {
            assert_eq!(agree_on_hash(&agreed), Ok("sha384"), "{agreed}");
        }
        for not in [json!([]), json!(["sha256"]), json!("sha384"), json!([384]), json!(null)] {
            assert_eq!(agree_on_hash(&listing(not.clone())), Err(HashNotServed), "{not}");
        }
        let challenge = challenge("n".to_owned(), HASH_ALGORITHM);
        assert_eq!(challenge.extra_params, json!({ "selected-hash-algorithm": "sha384" }));
        assert_eq!(agree_on_hash(&request(Tee::Tdx).extra_params), Ok("sha384"));
    }

    #[test]
    fn agents_read_errors_and_enclaves_their_denials() {
        let body = ErrorBody::denied(vec![DenialBody::TaskNotStarted]);
        let json = serde_json::to_string(&body).unwrap();
        let plain: kbs_types::ErrorInformation = serde_json::from_str(&json).unwrap();
        assert_eq!(plain.error_type, "urn:sesame:problem:denied");
        assert_eq!(plain.detail, DenialBody::TaskNotStarted.detail());
        assert_eq!(serde_json::from_str::<ErrorBody>(&json).unwrap(), body);

        let foreign = r#"{"type":"https://example.org/errors/TokenIssuerError","detail":"no"}"#;
        let foreign: ErrorBody = serde_json::from_str(foreign).unwrap();
        assert_eq!((foreign.code(), foreign.denials.len()), (None, 0));
        assert_eq!(ErrorBody::new("stale", "wait").code(), Some("stale"));
    }

    #[test]
    fn paths_are_those_of_the_protocol() {
        let task = TaskId(B256::repeat_byte(0xab));
        let path = resource_path(task, Resource::RequesterSecret(2));
        assert_eq!(path, format!("kbs/v0/resource/0x{}/requester-secret/2", "ab".repeat(32)));
    }

    #[test]
    fn tokens_are_not_printed() {
        let token = TokenResponse { token: "eyJhbGciOi".to_owned() };
        assert!(!format!("{token:?}").contains("eyJ"));
    }
}
