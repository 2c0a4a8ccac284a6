//! `POST /kbs/v0/attest`: evidence and the worker's word in, a session out.

use axum::{
    Json,
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    http::{HeaderMap, HeaderName, HeaderValue, header},
};
use sesame_attestation::{AttestedSession, Evidence, WorkerProof, verify};
use sesame_protocol::{
    jwk::Jwk,
    rcar::{Attestation, TokenResponse},
    voucher::{SignedVoucher, VOUCHER_HEADER},
};

use super::{json, session_token, set_cookie};
use crate::{
    clock,
    path::Path,
    problem::{ApiError, Code, KbsError},
    service::{Service, Shared, blocking, header as one_header},
};

type Answer = ([(HeaderName, HeaderValue); 1], Json<TokenResponse>);

/// The worker's voucher comes in a header.
pub(crate) async fn attest(
    State(service): State<Shared>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Answer, KbsError> {
    let voucher = one_header(&headers, VOUCHER_HEADER)?.ok_or_else(|| {
        let detail = format!("Put the worker's voucher into {VOUCHER_HEADER}, or into the path.");
        ApiError::new(Code::VoucherMissing, detail)
    })?;
    respond(service, voucher, &headers, body).await
}

/// The worker's voucher is a folder of the path, for agents that cannot add a header.
pub(crate) async fn attest_in_path(
    State(service): State<Shared>,
    Path(voucher): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Answer, KbsError> {
    respond(service, &voucher, &headers, body).await
}

async fn respond(
    service: Shared,
    voucher: &str,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Answer, KbsError> {
    // What is cheap comes first: the challenge's signature before the evidence's.
    let (nonce, tee) = service.token.open_challenge(session_token(headers)?, clock::now())?;
    let voucher = SignedVoucher::parse(voucher).map_err(|error| {
        ApiError::new(Code::VoucherRefused, format!("The voucher cannot be read: {error}."))
    })?;
    let attestation: Attestation = json(body)?;
    let token = blocking(move || session(&service, nonce, &tee, &voucher, &attestation)).await?;
    Ok(([(header::SET_COOKIE, set_cookie(&token)?)], Json(TokenResponse { token })))
}

fn session(
    service: &Service,
    nonce: String,
    tee: &str,
    voucher: &SignedVoucher,
    attestation: &Attestation,
) -> Result<String, ApiError> {
    if attestation.runtime_data.nonce != nonce {
        return Err(ApiError::new(Code::WrongNonce, "The nonce is not that of the challenge."));
    }
    if !attestation.tee_evidence.additional_evidence.is_empty() {
        let detail = "Evidence of a second device cannot be verified by this service.";
        return Err(ApiError::new(Code::AttestationRefused, detail));
    }
    let key = Jwk::try_from(&attestation.runtime_data.tee_pubkey)
        .map_err(|error| ApiError::new(Code::UnsupportedKey, format!("The key: {error}.")))?;
    let now = clock::now();
    let (domain, sms) = (&service.domain, service.address());
    let worker = WorkerProof::verify(voucher, domain, sms, key.thumbprint(), now)?;
    let evidence = Evidence::parse(tee, &attestation.tee_evidence.primary_evidence)?;
    let enclave = verify(&evidence, &nonce, key, &service.policy)?;
    tracing::info!(
        enclave.id = %enclave.id(), task.id = %worker.task(), worker = %worker.worker(),
        "attested {} for task {}", enclave.id(), worker.task()
    );
    Ok(service.token.session(&AttestedSession { enclave, worker, nonce }, now))
}
