//! `GET /kbs/v0/resource/{task}/{type}/{tag}`: the decision, made anew, and what it releases.
//!
//! Session, fresh mirror, facts of both views, what the vault has, [`authorize`], a durable receipt, and only then the vault
//! opens. The answer is encrypted to the attested key.

use axum::{Json, extract::State, http::HeaderMap};
use sesame_attestation::AttestedSession;
use sesame_domain::{Facts, Resource, TaskId};
use sesame_protocol::{
    bundle::{self, Bundle, BundledSecret, MAX_BUNDLE_SECRETS, Omitted},
    denial::DenialBody,
    jwe,
    rcar::{Response, nonce_digest},
};
use sesame_vault::{Asked, Opened, Release, authorize, wanted};
use zeroize::Zeroizing;

use super::session_token;
use crate::{
    clock,
    path::Path,
    problem::{ApiError, Code, KbsError},
    receipt::Decided,
    service::{BUNDLE_TURNS, Service, Shared, blocking, min_block},
};

/// `GET /kbs/v0/resource/{task}/{type}/{tag}`.
pub(crate) async fn resource(
    State(service): State<Shared>,
    Path((task, kind, tag)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Result<Json<Response>, KbsError> {
    respond(service, &task, &kind, &tag, &headers).await
}

/// The same under a path that begins with the voucher.
pub(crate) async fn resource_in_path(
    State(service): State<Shared>,
    Path((_voucher, task, kind, tag)): Path<(String, String, String, String)>,
    headers: HeaderMap,
) -> Result<Json<Response>, KbsError> {
    respond(service, &task, &kind, &tag, &headers).await
}

async fn respond(
    service: Shared,
    task: &str,
    kind: &str,
    tag: &str,
    headers: &HeaderMap,
) -> Result<Json<Response>, KbsError> {
    let token = session_token(headers)?;
    let open = || service.token.open_session(token, service.verifier.policy(), clock::now());
    // Strangers wait for no turn, and waiting for one takes no session past its end.
    let session = open()?;
    let no_such = |_| ApiError::new(Code::NotFound, format!("There is no {task}/{kind}/{tag}."));
    let task = task.parse::<TaskId>().map_err(no_such)?;
    let resource = format!("{kind}/{tag}").parse::<Resource>().map_err(no_such)?;
    let least = min_block(headers)?;
    let turns = if resource == Resource::Bundle { BUNDLE_TURNS } else { 1 };
    let waiting = service.clone();
    let (_turn, session) = match waiting.turns.try_acquire_many(turns) {
        Ok(turn) => (turn, session),
        Err(_) => {
            let turn = waiting.turns.acquire_many(turns).await;
            (turn.map_err(|error| ApiError::internal(&error))?, open()?)
        }
    };
    Ok(Json(blocking(move || release(&service, &session, task, resource, least)).await?))
}

fn release(
    service: &Service,
    session: &AttestedSession,
    task: TaskId,
    resource: Resource,
    least: Option<u64>,
) -> Result<Response, ApiError> {
    let (release, facts) = decide(service, session, task, resource, &resource.to_string(), least)?;
    hand_over(service, session, task, resource, release, &facts)
}

/// Decides, and records the decision under `label` before anything comes of it. The facts are the head's, at block `least` or
/// later.
pub(super) fn decide(
    service: &Service,
    session: &AttestedSession,
    task: TaskId,
    resource: Resource,
    label: &str,
    least: Option<u64>,
) -> Result<(Release, Facts), ApiError> {
    let snapshot = service.fresh_since(least)?;
    let facts = snapshot.facts(task, Some(session.enclave.id()), resource)?;
    let secrets = service.vault.look_up(&wanted(resource, &facts.head))?;
    let asked = Asked { task, resource, sms: service.address(), now: clock::now() };
    let decision = authorize(
        &asked,
        &facts.head,
        &facts.confirmed,
        &secrets,
        &session.worker,
        &session.enclave,
    );
    service.metrics.decided(decision.is_ok());
    let (enclave, now) = (session.enclave.id(), asked.now);
    let decided = Decided { task, enclave, label, now, result: &decision };
    if let Some(receipt) = decided.on(&facts) {
        service.receipts.append(receipt, &service.identity)?;
    }
    match decision {
        Ok(release) => Ok((release, facts.head)),
        Err(denials) => {
            let denials: Vec<_> = denials.reasons().iter().map(DenialBody::from).collect();
            let reasons: Vec<_> = denials.iter().map(DenialBody::detail).collect();
            tracing::info!(task.id = %task, ?reasons, "denied {label} of {task}");
            Err(ApiError::denied(denials))
        }
    }
}

fn hand_over(
    service: &Service,
    session: &AttestedSession,
    task: TaskId,
    resource: Resource,
    release: Release,
    facts: &Facts,
) -> Result<Response, ApiError> {
    let key = release.key().clone();
    let content = if resource == Resource::Bundle {
        let (head, confirmed) = (release.head(), release.confirmed());
        let (opened, omitted) = service.vault.open_within(release, MAX_BUNDLE_SECRETS as u64)?;
        let bundle = bundle(service, task, facts, opened, omitted).map(|bundle| Bundle {
            head,
            confirmed,
            ..bundle
        })?;
        let nonce = nonce_digest(&session.nonce);
        bundle::sign(&bundle, key.thumbprint(), nonce, &service.domain, &service.identity)
            .map_err(|error| ApiError::internal(&error))?
    } else {
        let opened = service.vault.open_release(release)?.into_iter().next();
        let opened = opened.ok_or_else(|| ApiError::new(Code::SecretAbsent, "It is gone."))?;
        Zeroizing::new(opened.value.expose().to_vec())
    };
    tracing::info!(task.id = %task, %resource, "released {resource} of {task}");
    jwe::encrypt(&key, &content).map_err(|error| ApiError::internal(&error))
}

fn bundle(
    service: &Service,
    id: TaskId,
    facts: &Facts,
    opened: Vec<Opened>,
    omitted: Vec<Omitted>,
) -> Result<Bundle, ApiError> {
    let task = facts
        .task
        .as_ref()
        .ok_or_else(|| ApiError::new(Code::Internal, "A release without a task."))?;
    let secret = |opened: Opened| BundledSecret {
        resource: opened.resource,
        version: opened.version,
        value: Zeroizing::new(opened.value.expose().to_vec()),
    };
    Ok(Bundle {
        task: id,
        chain_id: service.deployment.chain_id,
        task_registry: service.deployment.task_registry,
        sms: service.address(),
        requester: task.requester,
        order: task.order.clone(),
        app: task.app.clone(),
        data: task.data.clone(),
        secrets: opened.into_iter().map(secret).collect(),
        omitted,
        head: facts.at.as_ref(),
        confirmed: facts.at.as_ref(),
    })
}
