//! `GET /healthz` and `GET /readyz`, for machines.

use std::time::Instant;

use axum::extract::State;

use crate::{problem::ApiError, service::Shared};

/// Alive.
pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// Ready: may answer yes. The vault is not asked now: what counts is how it was a moment ago.
pub(crate) async fn readyz(State(service): State<Shared>) -> Result<&'static str, ApiError> {
    service.fresh()?;
    service.health.check(Instant::now()).map(|()| "ready\n")
}
