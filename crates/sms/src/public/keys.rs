//! `GET /v1/keys`: the keys that the SMS identity certifies; and the one that signs tokens, as a JSON Web Key Set.

use axum::{Json, extract::State};
use sesame_protocol::{jwk::JwkSet, keys::KeysDocument};

use crate::{overload::blocking, problem::ApiError, service::Shared};

pub(crate) async fn keys(State(service): State<Shared>) -> Result<Json<KeysDocument>, ApiError> {
    blocking(service.place()?, move || Ok(Json(KeysDocument::clone(&*service.keys()?)))).await
}

/// What others verify attestation tokens with.
pub(crate) async fn jwks(State(service): State<Shared>) -> Json<JwkSet> {
    Json(JwkSet::of(service.token.public()))
}
