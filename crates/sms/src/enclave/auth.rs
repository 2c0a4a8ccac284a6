//! `POST /kbs/v0/auth`: a nonce to attest with.

use axum::{
    Json,
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    http::{HeaderName, HeaderValue, header},
};
use sesame_protocol::rcar::{Challenge, Request, VERSION};

use super::{json, set_cookie};
use crate::{
    clock,
    problem::{ApiError, Code, KbsError},
    service::Shared,
};

pub(crate) async fn auth(
    State(service): State<Shared>,
    body: Result<Bytes, BytesRejection>,
) -> Result<([(HeaderName, HeaderValue); 1], Json<Challenge>), KbsError> {
    let request: Request = json(body)?;
    if request.version != VERSION {
        let detail = format!("This service speaks version {VERSION} of the protocol.");
        return Err(ApiError::new(Code::UnsupportedVersion, detail).into());
    }
    let nonce = sesame_protocol::rcar::fresh_nonce();
    let challenge = service.token.challenge(&nonce, &tee_name(&request)?, clock::now());
    let extra_params = serde_json::json!({ "selected-hash-algorithm": "sha384" });
    Ok(([(header::SET_COOKIE, set_cookie(&challenge)?)], Json(Challenge { nonce, extra_params })))
}

/// The TEE's name as the protocol writes it.
fn tee_name(request: &Request) -> Result<String, ApiError> {
    match serde_json::to_value(request.tee) {
        Ok(serde_json::Value::String(name)) => Ok(name),
        _ => Err(ApiError::new(Code::MalformedBody, "The TEE has no name.")),
    }
}
