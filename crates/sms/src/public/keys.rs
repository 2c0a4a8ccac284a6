//! `GET /v1/keys`: the keys that the SMS identity certifies.

use axum::{Json, extract::State};
use sesame_protocol::keys::KeysDocument;

use crate::service::Shared;

pub(crate) async fn keys(State(service): State<Shared>) -> Json<KeysDocument> {
    Json(service.keys.clone())
}
