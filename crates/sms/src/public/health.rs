//! `GET /healthz` and `GET /readyz`, for machines.

use axum::extract::State;

use crate::{problem::ApiError, service::Shared};

/// Alive.
pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// Ready: may answer yes.
pub(crate) async fn readyz(State(service): State<Shared>) -> Result<&'static str, ApiError> {
    service.fresh().map(|_| "ready\n")
}
