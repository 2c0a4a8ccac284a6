//! `GET /v1/status`: how fresh the mirror is, and what the service promises, for people.

use std::time::Instant;

use axum::{Json, extract::State};
use sesame_indexer::Unready;
use sesame_protocol::status::{Contracts, State as StateBody, Status};

use crate::{
    clock,
    openapi::{PUBLIC, examples},
    problem::{ApiError, Code, Form, described::refusals},
    service::{Service, Shared},
};

refusals!(Refusals, Form::Problem);

/// How fresh the mirror of the chain is, and what the service promises.
#[utoipa::path(
    get,
    path = "/v1/status",
    operation_id = "status",
    tag = PUBLIC,
    responses(
        (
            status = 200,
            description = "As it is now, whether it releases or not.",
            body = Status,
            example = json!(examples::status()),
        ),
        Refusals,
    ),
)]
pub(crate) async fn status(State(service): State<Shared>) -> Result<Json<Status>, ApiError> {
    // Served where our own contracts are followed, and nowhere else.
    let deployment = service.followed.native();
    let deployment = deployment.ok_or_else(|| ApiError::new(Code::NotFound, "There is none."))?;
    let cursor = service.view.cursor()?;
    let (head, confirmed) = (cursor.map(|c| c.head), cursor.map(|c| c.confirmed));
    let pulse = service.pulse.borrow().clone();
    let (now, moment) = (clock::now(), Instant::now());
    let unready = service.freshness.check(&pulse, head, moment, now).err();
    let reason = unready.as_ref().map(ToString::to_string).or_else(|| closed(&service, moment));
    let state = match &unready {
        None if reason.is_some() => StateBody::Failed,
        None => StateBody::Ready,
        Some(Unready::Starting | Unready::Backfilling { .. }) => StateBody::Backfilling,
        Some(Unready::Stale { .. } | Unready::HeadTooOld { .. } | Unready::ClockBehind { .. }) => {
            StateBody::Stale
        }
    };
    Ok(Json(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        chain_id: deployment.chain_id,
        contracts: Contracts {
            asset_registry: deployment.asset_registry,
            enclave_whitelist: deployment.enclave_whitelist,
            task_registry: deployment.task_registry,
        },
        identity: service.address(),
        state,
        reason,
        head: head.as_ref().map(Into::into),
        confirmed: confirmed.as_ref().map(Into::into),
        last_proof: service.view.proven()?.as_ref().map(Into::into),
        lag_blocks: pulse.behind,
        head_age_seconds: head.map(|head| now.saturating_sub(head.timestamp)),
        trust: service.trust,
        simulated_tee: service.verifier.policy().admits_simulated(),
        revocation_bound_seconds: service.freshness.bound().as_secs(),
        silence_bound_seconds: service.freshness.max_lag.as_secs(),
        uptime_seconds: Some(service.since.elapsed().as_secs()),
        vault_store: Some(service.kept_in.0),
        key_provider: Some(service.kept_in.1),
    }))
}

/// Why no secret can be opened.
fn closed(service: &Service, now: Instant) -> Option<String> {
    match (service.health.store(now), service.health.key(now)) {
        (true, true) => None,
        (false, _) => Some("the vault's store does not answer".to_owned()),
        (true, false) => Some("the vault's key cannot be used".to_owned()),
    }
}
