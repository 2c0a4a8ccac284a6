//! `GET /v1/keys`: the keys that the SMS identity certifies; and the one that signs tokens, as a JSON Web Key Set.

use axum::{Json, extract::State};
use sesame_protocol::{jwk::JwkSet, keys::KeysDocument};

use crate::{
    openapi::{PUBLIC, examples},
    overload::blocking,
    problem::{
        ApiError, Form,
        described::{VAULT, refusals},
    },
    service::Shared,
};

refusals!(NoKeys, Form::Problem, VAULT);
refusals!(NoSet, Form::Problem);

/// The keys that the SMS works with, certified by its identity (EIP-712).
#[utoipa::path(
    get,
    path = "/v1/keys",
    operation_id = "keys",
    tag = PUBLIC,
    responses(
        (
            status = 200,
            description = "Signed within the last hour. Do not trust one that is older than a day.",
            body = KeysDocument,
            example = json!(examples::keys()),
        ),
        NoKeys,
    ),
)]
pub(crate) async fn keys(State(service): State<Shared>) -> Result<Json<KeysDocument>, ApiError> {
    blocking(service.place().await?, move || Ok(Json(KeysDocument::clone(&*service.keys()?)))).await
}

/// What others verify attestation tokens with (RFC 7517).
#[utoipa::path(
    get,
    path = "/.well-known/jwks.json",
    operation_id = "tokenKeys",
    tag = PUBLIC,
    responses(
        (
            status = 200,
            description = "The key that signs tokens.",
            body = JwkSet,
            example = json!(examples::jwks()),
        ),
        NoSet,
    ),
)]
pub(crate) async fn jwks(State(service): State<Shared>) -> Json<JwkSet> {
    Json(JwkSet::of(service.token.public()))
}
