//! What enclaves do: challenge, attest, fetch (RCAR 0.4.0). Nothing is stored per session.

pub(crate) mod attest;
pub(crate) mod auth;
pub(crate) mod body;
pub(crate) mod resource;
pub(crate) mod result_key;

use axum::http::{HeaderMap, HeaderValue, header};
use sesame_protocol::rcar::{SESSION_COOKIE, session_in_cookie};

use crate::problem::{ApiError, Code};

/// The token in the `Authorization` header or, since existing agents send nothing else, in the session's cookie.
fn session_token(headers: &HeaderMap) -> Result<&str, ApiError> {
    let bearer = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    bearer
        .or_else(|| cookie(headers))
        .ok_or_else(|| ApiError::new(Code::SessionInvalid, "There is no session: attest first."))
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let mut cookies = headers.get_all(header::COOKIE).iter();
    cookies.find_map(|value| session_in_cookie(value.to_str().ok()?))
}

/// The cookie that holds a token for its `life`, seconds.
fn set_cookie(token: &str, life: u64) -> Result<HeaderValue, ApiError> {
    let cookie =
        format!("{SESSION_COOKIE}={token}; Path=/kbs; HttpOnly; SameSite=Strict; Max-Age={life}");
    HeaderValue::try_from(cookie).map_err(|error| ApiError::internal(&error))
}
