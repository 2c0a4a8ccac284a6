//! `/tee/…` but for sessions: which TEE is served, what runs around the app, and the challenge of a task.

use alloy_primitives::Address;
use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use sesame_domain::{Facts, Framework, Resource, TaskId};
use sesame_iexec::challenge::{self, signed_by};
use sesame_vault::{ChallengeGrant, DealAsked, DealDenial, authorize_challenge};
use sesame_view::{BothViews, Snapshot};

use super::{
    Iexec, Kind,
    chain::{Seen, patiently},
    refusal::{Refusal, unavailable},
    value::authorization,
};
use crate::{clock, overload::blocking, problem::ApiError, service::Service};

pub(super) async fn framework_served() -> Json<&'static str> {
    Json(Framework::Tdx.as_str())
}

/// The first version, of which TDX has one.
pub(super) async fn properties(
    State(iexec): State<Iexec>,
    Path(framework): Path<String>,
) -> Response {
    of_version(&iexec, &framework, None)
}

pub(super) async fn properties_of_version(
    State(iexec): State<Iexec>,
    Path((framework, version)): Path<(String, String)>,
) -> Response {
    of_version(&iexec, &framework, Some(&version))
}

fn of_version(iexec: &Iexec, framework: &str, version: Option<&str>) -> Response {
    let Some(framework) = Framework::named(framework) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let pipeline = iexec.sessions.as_ref().map(|sessions| &sessions.pipeline);
    let named = |version: &str| pipeline.is_some_and(|it| it.tee_framework_version == version);
    match pipeline.filter(|_| version.is_none_or(named)) {
        None => StatusCode::NOT_FOUND.into_response(),
        Some(_) if framework != Framework::Tdx => StatusCode::CONFLICT.into_response(),
        Some(pipeline) => Json(pipeline).into_response(),
    }
}

/// The address behind which the key is that a task's enclave signs its result with.
pub(super) async fn challenge(
    State(iexec): State<Iexec>,
    Path(task): Path<String>,
    headers: HeaderMap,
) -> Response {
    match issue(&iexec, &task, &headers).await {
        Ok(address) => format!("{address:#x}").into_response(),
        Err(refusal) => refusal.bare(),
    }
}

async fn issue(iexec: &Iexec, task: &str, headers: &HeaderMap) -> Result<Address, Refusal> {
    let signature = authorization(headers)?;
    let task: TaskId = task.parse().map_err(|_| Refusal::NotSigned)?;
    let service = &iexec.service;
    let granted = patiently(service, move |service| {
        Ok(match grant(service, task, &signature)? {
            Err(reasons) if pass(&reasons) => Seen::NotYet(Err(reasons)),
            decided => Seen::Now(decided),
        })
    });
    let grant = granted.await?.map_err(|reasons| {
        tracing::info!(task.id = %task, ?reasons, "no challenge of {task}");
        Refusal::NotSigned
    })?;
    let keeping = service.clone();
    let (address, made) = blocking(service.place().await?, move || {
        keeping.vault.challenge(&grant, clock::now()).map_err(unavailable)
    })
    .await?;
    if made {
        iexec.counts.added(Kind::Challenge);
    }
    Ok(address)
}

fn grant(
    service: &Service,
    task: TaskId,
    signature: &str,
) -> Result<Result<ChallengeGrant, Vec<DealDenial>>, ApiError> {
    let facts = facts(&service.fresh()?, task)?;
    let signer = scheduler_of(&facts.head)
        .filter(|scheduler| signed_by(challenge::task(task), signature, *scheduler));
    Ok(authorize_challenge(&asked(task), &facts.head, &facts.confirmed, signer))
}

/// What both views say of a task, its app and its dataset.
pub(super) fn facts(snapshot: &Snapshot<'_>, task: TaskId) -> Result<BothViews<Facts>, ApiError> {
    Ok(snapshot.facts(task, None, Resource::Bundle)?)
}

/// The question about a task, now.
pub(super) fn asked(task: TaskId) -> DealAsked {
    DealAsked { task, now: clock::now() }
}

/// Who has to sign for the workerpool.
pub(super) fn scheduler_of(facts: &Facts) -> Option<Address> {
    Some(facts.task.as_ref()?.deal.as_ref()?.scheduler)
}

/// Whether all that is missing is that the index shows the task, or shows it as confirmed: that is waited for.
pub(super) fn pass(reasons: &[DealDenial]) -> bool {
    matches!(reasons, [DealDenial::TaskUnknown | DealDenial::NotYetConfirmed { .. }])
}
