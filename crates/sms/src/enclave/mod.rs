//! What enclaves do: challenge, attest, fetch (RCAR 0.4.0). Nothing is stored per session.

pub(crate) mod attest;
pub(crate) mod auth;
pub(crate) mod resource;
pub(crate) mod result_key;

use axum::{
    body::Bytes,
    extract::rejection::BytesRejection,
    http::{HeaderMap, HeaderValue, StatusCode, header},
};
use serde::de::DeserializeOwned;
use sesame_attestation::TOKEN_LIFE;
use sesame_protocol::rcar::SESSION_COOKIE;

use crate::problem::{ApiError, Code};

/// Longest body of `/auth` and `/attest`.
pub(crate) const MAX_ATTESTATION_BYTES: usize = 256 << 10;

fn json<T: DeserializeOwned>(body: Result<Bytes, BytesRejection>) -> Result<T, ApiError> {
    let body = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            let detail = format!("A request has at most {MAX_ATTESTATION_BYTES} bytes here.");
            ApiError::new(Code::TooLarge, detail)
        }
        _ => ApiError::new(Code::MalformedBody, "The body cannot be read."),
    })?;
    // The parser's message may quote the body, so only its place is told.
    serde_json::from_slice(&body).map_err(|error| {
        let detail = format!(
            "The body is not the document of the protocol: line {}, column {}.",
            error.line(),
            error.column()
        );
        ApiError::new(Code::MalformedBody, detail)
    })
}

/// The token in the session's cookie or, where `bearer` allows, in the `Authorization` header.
fn session_token(headers: &HeaderMap) -> Result<&str, ApiError> {
    let bearer = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    bearer
        .or_else(|| cookie(headers))
        .ok_or_else(|| ApiError::new(Code::SessionInvalid, "There is no session: attest first."))
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(name, value)| (name == SESSION_COOKIE).then_some(value))
}

fn set_cookie(token: &str) -> Result<HeaderValue, ApiError> {
    let cookie = format!(
        "{SESSION_COOKIE}={token}; Path=/kbs; HttpOnly; SameSite=Strict; Max-Age={TOKEN_LIFE}"
    );
    HeaderValue::try_from(cookie).map_err(|error| ApiError::internal(&error))
}
