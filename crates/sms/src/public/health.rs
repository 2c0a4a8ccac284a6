//! `GET /healthz` and `GET /readyz`, for machines.

use axum::extract::State;

use crate::{
    openapi::PUBLIC,
    problem::{
        ApiError, Form,
        described::{FRESH, refusals},
    },
    service::Shared,
};

refusals!(Alive, Form::Problem);
refusals!(Unready, Form::Problem, FRESH);

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

/// Whether the service is ready: it may answer yes.
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
    service.fresh().map(|_| "ready\n")
}
