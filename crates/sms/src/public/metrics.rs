//! `GET /metrics`: numbers for whoever watches the service, as OpenMetrics text.

use std::time::Instant;

use axum::{extract::State, http::header, response::IntoResponse};

use crate::{
    clock,
    metrics::Standing,
    openapi::PUBLIC,
    problem::{ApiError, Form, described::refusals},
    service::{Service, Shared, TURNS, off_thread},
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
            example = json!("# TYPE sesame_ready gauge\nsesame_ready 1\n# EOF\n"),
        ),
        Refusals,
    ),
)]
pub(crate) async fn metrics(State(service): State<Shared>) -> Result<impl IntoResponse, ApiError> {
    // File systems may keep one waiting.
    let text = off_thread(move || {
        let standing = standing(&service)?;
        service.metrics.text(&standing).map_err(|error| ApiError::internal(&error))
    });
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text.await?))
}

fn standing(service: &Service) -> Result<Standing, ApiError> {
    let pulse = service.pulse.borrow().clone();
    let cursor = service.view.cursor()?;
    let (head, now, moment) = (cursor.map(|cursor| cursor.head), clock::now(), Instant::now());
    let (vault, keys) = (service.health.store(moment), service.health.key(moment));
    let fresh = service.freshness.check(&pulse, head, moment, now).is_ok();
    Ok(Standing {
        head: head.map_or(0, |head| head.number),
        confirmed: cursor.map_or(0, |cursor| cursor.confirmed.number),
        proven: service.view.proven()?.map_or(0, |proven| proven.number),
        lag: pulse.behind,
        head_age: head.map_or(0, |head| now.saturating_sub(head.timestamp)),
        head_age_limit: service.freshness.max_head_age,
        ready: fresh && vault && keys,
        vault,
        keys,
        free: service.reserve.free().ok(),
        reserve: service.reserve.bytes,
        verifications: service.pool.load(),
        turns: (TURNS.saturating_sub(service.turns.available_permits()), TURNS),
        collateral: service.shelf.standing(),
    })
}
