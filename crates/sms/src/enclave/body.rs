//! Bodies of the enclave surface: read only when a handler asks, within the limits of its route and of the protocol's documents.

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
    http::StatusCode,
};
use serde::de::DeserializeOwned;
use sesame_protocol::document;

use crate::problem::{ApiError, Code};

/// Longest body of `/auth` and `/result-key`.
pub(crate) const MAX_SMALL: usize = 16 << 10;

/// Longest body of `/attest`: evidence with its certificates, and the boot's event log.
pub(crate) const MAX_ATTESTATION: usize = 256 << 10;

/// The document in a request's body.
pub(super) async fn read<T: DeserializeOwned>(request: Request) -> Result<T, ApiError> {
    let body =
        Bytes::from_request(request, &()).await.map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                ApiError::new(Code::TooLarge, "The body is longer than this route takes.")
            }
            _ => ApiError::new(Code::MalformedBody, "The body cannot be read."),
        })?;
    Ok(document::parse(&body)?)
}
