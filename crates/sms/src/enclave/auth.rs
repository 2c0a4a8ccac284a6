//! `POST /kbs/v0/auth`: a nonce to attest with.

use axum::{
    Json,
    extract::{self, State},
    http::{HeaderName, HeaderValue, header},
};
use sesame_protocol::{
    rcar::{Challenge, Request, VERSION, agree_on_hash, challenge, fresh_nonce},
    schema::{KbsChallenge, KbsRequest},
};

use super::{body, set_cookie};
use crate::{
    clock,
    openapi::{ENCLAVE, examples, parameters},
    problem::{ApiError, Code, Form, KbsError, described::refusals},
    service::{Service, Shared},
};

type Answer = ([(HeaderName, HeaderValue); 1], Json<Challenge>);

refusals!(
    Refusals,
    Form::Kbs,
    [Code::MalformedBody, Code::TooLarge, Code::UnsupportedVersion, Code::UnsupportedHash],
);

/// A nonce to attest with.
#[utoipa::path(
    post,
    path = "/kbs/v0/auth",
    operation_id = "auth",
    tag = ENCLAVE,
    request_body(content = KbsRequest, content_type = "application/json", example = json!(examples::request())),
    responses(
        (
            status = 200,
            description = "The challenge. The cookie holds it, signed.",
            body = KbsChallenge,
            headers(("set-cookie" = String, description = "`kbs-session-id`, for `/attest`.")),
            example = json!(examples::challenge()),
        ),
        Refusals,
    ),
)]
pub(crate) async fn auth(
    State(service): State<Shared>,
    request: extract::Request,
) -> Result<Answer, KbsError> {
    respond(&service, request).await
}

/// The same under a path that begins with the worker's voucher, which is looked at when the enclave attests.
#[utoipa::path(
    post,
    path = "/kbs/{voucher}/v0/auth",
    operation_id = "authInPath",
    tag = ENCLAVE,
    params(parameters::InVoucher),
    request_body(content = KbsRequest, content_type = "application/json", example = json!(examples::request())),
    responses(
        (
            status = 200,
            description = "The challenge. The cookie holds it, signed.",
            body = KbsChallenge,
            headers(("set-cookie" = String, description = "`kbs-session-id`, for `/attest`.")),
            example = json!(examples::challenge()),
        ),
        Refusals,
    ),
)]
pub(crate) async fn auth_in_path(
    State(service): State<Shared>,
    request: extract::Request,
) -> Result<Answer, KbsError> {
    respond(&service, request).await
}

async fn respond(service: &Service, request: extract::Request) -> Result<Answer, KbsError> {
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
