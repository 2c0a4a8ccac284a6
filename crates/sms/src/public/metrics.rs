//! `GET /metrics`: numbers for whoever watches the service, as OpenMetrics text.

use std::time::Instant;

use axum::{extract::State, http::header, response::IntoResponse};

use super::status::lag;
use crate::{
    clock,
    metrics::Standing,
    openapi::PUBLIC,
    problem::{ApiError, Form, described::refusals},
    service::Shared,
};

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

refusals!(Refusals, Form::Problem);

/// Numbers for whoever watches the service, as OpenMetrics text.
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "metrics",
    tag = PUBLIC,
    responses(
        (
            status = 200,
            description = "The numbers as they are now.",
            body = String,
            content_type = CONTENT_TYPE,
            example = json!("# TYPE sesame_index_ready gauge\nsesame_index_ready 1\n# EOF\n"),
        ),
        Refusals,
    ),
)]
pub(crate) async fn metrics(State(service): State<Shared>) -> Result<impl IntoResponse, ApiError> {
    let pulse = service.pulse.borrow().clone();
    let cursor = service.view.cursor()?;
    let (head, now) = (cursor.map(|cursor| cursor.head), clock::now());
    let standing = Standing {
        head: head.map_or(0, |head| head.number),
        confirmed: cursor.map_or(0, |cursor| cursor.confirmed.number),
        proven: service.view.proven()?.map_or(0, |proven| proven.number),
        lag: lag(&pulse),
        head_age: head.map_or(0, |head| now.saturating_sub(head.timestamp)),
        ready: service.freshness.check(&pulse, head, Instant::now(), now).is_ok(),
    };
    let text = service.metrics.text(standing).map_err(|error| ApiError::internal(&error))?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text))
}
