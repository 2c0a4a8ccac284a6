//! What monitors of iExec's SMS ask for.

use std::time::Instant;

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::Iexec;

/// Of this service, in plain text.
pub(super) async fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// Whether the service may answer yes: the index is fresh, and the vault answered lately.
pub(super) async fn health(State(Iexec { service, .. }): State<Iexec>) -> Response {
    let fresh = service.fresh().map(drop);
    match fresh.and_then(|()| service.health.check(Instant::now())) {
        Ok(()) => Json(json!({ "status": "UP" })).into_response(),
        Err(error) => {
            let mut response = Json(json!({ "status": "DOWN" })).into_response();
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            response.extensions_mut().insert(error.code());
            response
        }
    }
}

/// How many secrets there are of each kind.
pub(super) async fn metrics(State(iexec): State<Iexec>) -> Json<Value> {
    Json(iexec.counts.document())
}
