//! `POST /kbs/v0/auth`: a nonce to attest with.

use axum::{
    Json,
    extract::{self, State},
    http::{HeaderName, HeaderValue, header},
};
use sesame_protocol::rcar::{Challenge, Request, VERSION, agree_on_hash, challenge, fresh_nonce};

use super::{body, set_cookie};
use crate::{
    clock,
    problem::{ApiError, Code, KbsError},
    service::Shared,
};

pub(crate) async fn auth(
    State(service): State<Shared>,
    request: extract::Request,
) -> Result<([(HeaderName, HeaderValue); 1], Json<Challenge>), KbsError> {
    let request: Request = body::read(request).await?;
    if request.version != VERSION {
        let detail = format!("This service speaks version {VERSION} of the protocol.");
        return Err(ApiError::new(Code::UnsupportedVersion, detail).into());
    }
    let hash = agree_on_hash(&request.extra_params)?;
    let nonce = fresh_nonce();
    let token = service.token.challenge(&nonce, &tee_name(&request)?, clock::now());
    let cookie = set_cookie(&token, service.token.life())?;
    Ok(([(header::SET_COOKIE, cookie)], Json(challenge(nonce, hash))))
}

/// The TEE's name as the protocol writes it.
fn tee_name(request: &Request) -> Result<String, ApiError> {
    match serde_json::to_value(request.tee) {
        Ok(serde_json::Value::String(name)) => Ok(name),
        _ => Err(ApiError::new(Code::MalformedBody, "The TEE has no name.")),
    }
}
