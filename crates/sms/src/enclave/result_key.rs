//! `POST /kbs/v0/result-key`: certifies the key that a task's result will be signed with.
//!
//! The same decision as for the task's bundle: who may not have the secrets may not sign the result.

use axum::{
    Json,
    extract::{Request, State},
};
use sesame_attestation::AttestedSession;
use sesame_domain::{Resource, TaskId};
use sesame_protocol::results::{ResultKeyCertificate, ResultKeyRequest};

use super::{
    body,
    resource::{Answer, allow},
    session_token,
};
use crate::{
    clock,
    openapi::{ENCLAVE, examples},
    overload::blocking,
    problem::{
        ApiError, Code, Form, KbsError,
        described::{FRESH, VAULT, refusals},
    },
    service::{Service, Shared},
};

refusals!(
    Refusals,
    Form::Kbs,
    FRESH,
    VAULT,
    [
        Code::SessionInvalid,
        Code::MalformedBody,
        Code::TooLarge,
        Code::ResultKeyRefused,
        Code::Denied,
    ],
);

/// Certifies the key that a task's result will be signed with, if the decision about its bundle is yes.
#[utoipa::path(
    post,
    path = "/kbs/v0/result-key",
    operation_id = "resultKey",
    tag = ENCLAVE,
    request_body(content = ResultKeyRequest, content_type = "application/json", example = json!(examples::result_key())),
    responses(
        (
            status = 200,
            description = "What `TaskRegistry.complete` takes as the SMS's signature.",
            body = ResultKeyCertificate,
            example = json!(examples::certificate()),
        ),
        Refusals,
    ),
    security(("session" = []), ("sessionCookie" = [])),
)]
pub(crate) async fn result_key(
    State(service): State<Shared>,
    request: Request,
) -> Result<Json<ResultKeyCertificate>, KbsError> {
    let token = session_token(request.headers())?;
    let session = service.token.open_session(token, service.verifier.policy(), clock::now())?;
    let request: ResultKeyRequest = body::read(request).await?;
    let certifying = service.clone();
    let work = move || certify(&certifying, &session, &request);
    let withheld = blocking(service.place().await?, work).await?;
    Ok(Json(withheld.until_kept(&service).await??))
}

fn certify(
    service: &Service,
    session: &AttestedSession,
    request: &ResultKeyRequest,
) -> Result<Answer<ResultKeyCertificate>, ApiError> {
    request.verify(&session.nonce, session.enclave.key()).map_err(|error| {
        ApiError::new(Code::ResultKeyRefused, format!("The attested key did not sign: {error}."))
    })?;
    let task = TaskId(request.task);
    let label = format!("result-key/{}", request.key);
    let allowed = allow(service, session, task, Resource::Bundle, &label)?;
    let certificate = || {
        let signature = service.tasks.certify(task, request.key, &service.identity);
        ResultKeyCertificate { signature }
    };
    Ok(allowed.map(|allowed| allowed.map(|()| certificate())))
}
