//! `GET /healthz` and `GET /readyz`, for machines.

use std::time::Instant;

use axum::extract::State;

use crate::{
    openapi::PUBLIC,
    problem::{
        ApiError, Form,
        described::{FRESH, VAULT, refusals},
    },
    service::Shared,
};

refusals!(Alive, Form::Problem);
refusals!(Unready, Form::Problem, FRESH, VAULT);

/// Whether the service is alive.
#[utoipa::path(
    get,
    path = "/healthz",
    operation_id = "isAlive",
    tag = PUBLIC,
    responses(
        (
            status = 200,
            description = "It is.",
            body = String,
            content_type = "text/plain; charset=utf-8",
            example = json!("ok\n"),
        ),
        Alive,
    ),
)]
pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether the service is ready: it may answer yes. The vault is not asked now: what counts is how it was a moment ago.
#[utoipa::path(
    get,
    path = "/readyz",
    operation_id = "isReady",
    tag = PUBLIC,
    responses(
        (
            status = 200,
            description = "It is.",
            body = String,
            content_type = "text/plain; charset=utf-8",
            example = json!("ready\n"),
        ),
        Unready,
    ),
)]
pub(crate) async fn readyz(State(service): State<Shared>) -> Result<&'static str, ApiError> {
    service.fresh()?;
    service.health.check(Instant::now()).map(|()| "ready\n")
}
