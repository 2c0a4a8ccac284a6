//! `GET /kbs/v0/resource/{task}/{type}/{tag}`: the decision, made anew, and what it releases.
//!
//! Session, fresh mirror, facts of both views, what the vault has, [`authorize`], the vault opens, a receipt, and an answer that
//! is encrypted to the attested key, and withheld until the receipt is on disk.

use axum::{Json, extract::State, http::HeaderMap};
use sesame_attestation::AttestedSession;
use sesame_domain::{Facts, Resource, TaskId};
use sesame_protocol::{
    bundle::{self, Bundle, BundledSecret, MAX_BUNDLE_SECRETS, Omitted},
    denial::DenialBody,
    jwe,
    rcar::{Response, nonce_digest},
    schema::KbsResource,
};
use sesame_vault::{Asked, Denials, Opened, Release, authorize, wanted};
use zeroize::Zeroizing;

use super::session_token;
use crate::{
    clock,
    openapi::{ENCLAVE, examples, parameters},
    overload::blocking,
    path::Path,
    problem::{
        ApiError, Code, Form, KbsError,
        described::{FRESH, VAULT, refusals},
    },
    receipt::{Decided, Record, Withheld},
    service::{BUNDLE_TURNS, Basis, Service, Shared, min_block, off_thread},
};

/// How often one request is decided about while its secrets are replaced: more often than any owner replaces them.
const MAX_DECISIONS: u32 = 64;

refusals!(
    Refusals,
    Form::Kbs,
    FRESH,
    VAULT,
    [
        Code::MalformedId,
        Code::MalformedHeader,
        Code::SessionInvalid,
        Code::NotFound,
        Code::BlockNotReached,
        Code::SecretAbsent,
        Code::Denied,
    ],
);

/// The bundle or one secret of a task, if the decision, made anew, is yes.
#[utoipa::path(
    get,
    path = "/kbs/v0/resource/{task}/{type}/{tag}",
    operation_id = "resource",
    tag = ENCLAVE,
    params(parameters::InTask, parameters::InType, parameters::InTag, parameters::WithMinBlock),
    responses(
        (
            status = 200,
            description = "Encrypted to the attested key. A bundle is CBOR, signed by the SMS; anything else is the secret's bytes.",
            body = KbsResource,
            example = json!(examples::resource()),
        ),
        Refusals,
    ),
    security(("session" = []), ("sessionCookie" = [])),
)]
pub(crate) async fn resource(
    State(service): State<Shared>,
    Path((task, kind, tag)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Result<Json<Response>, KbsError> {
    respond(service, &task, &kind, &tag, &headers).await
}

/// The same under a path that begins with the worker's voucher.
#[utoipa::path(
    get,
    path = "/kbs/{voucher}/v0/resource/{task}/{type}/{tag}",
    operation_id = "resourceInPath",
    tag = ENCLAVE,
    params(parameters::InVoucher, parameters::InTask, parameters::InType, parameters::InTag, parameters::WithMinBlock),
    responses(
        (
            status = 200,
            description = "Encrypted to the attested key. A bundle is CBOR, signed by the SMS; anything else is the secret's bytes.",
            body = KbsResource,
            example = json!(examples::resource()),
        ),
        Refusals,
    ),
    security(("session" = []), ("sessionCookie" = [])),
)]
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
    let token = session_token(headers)?.to_owned();
    let mut place = service.place().await?;
    let opened = service.clone();
    let open =
        move || Ok(opened.token.open_session(&token, opened.verifier.policy(), clock::now())?);
    let no_such = |_| ApiError::new(Code::NotFound, format!("There is no {task}/{kind}/{tag}."));
    let task = task.parse::<TaskId>().map_err(no_such);
    let resource = format!("{kind}/{tag}").parse::<Resource>().map_err(no_such);
    let least = min_block(headers);
    let turns = if matches!(resource, Ok(Resource::Bundle)) { BUNDLE_TURNS } else { 1 };
    let turn = if let Ok(turn) = service.turns.clone().try_acquire_many_owned(turns) {
        turn
    } else {
        // Strangers wait for no turn.
        let known = open.clone();
        place = off_thread(move || known().map(|_| place)).await?;
        let turn = service.turns.clone().acquire_many_owned(turns).await;
        turn.map_err(|error| ApiError::internal(&error))?
    };
    let releasing = service.clone();
    let work = move || {
        // Off the threads that read requests, and after any wait, which takes no session past its end.
        let session = open()?;
        let (task, resource) = (task?, resource?);
        Ok((turn, task, resource, release(&releasing, &session, task, resource, least?)?))
    };
    // The disk is waited for with a turn, but without a place: it takes no processor.
    let (_turn, task, resource, withheld) = blocking(place, work).await?;
    let answer = withheld.until_kept(&service).await??;
    tracing::info!(task.id = %task, %resource, "released {resource} of {task}");
    Ok(Json(answer))
}

/// What the enclave will hear, yes or no.
pub(super) type Answer<T> = Withheld<Result<T, ApiError>>;

fn release(
    service: &Service,
    session: &AttestedSession,
    task: TaskId,
    resource: Resource,
    least: Option<u64>,
) -> Result<Answer<Response>, ApiError> {
    let label = resource.to_string();
    for _ in 0..MAX_DECISIONS {
        let verdict = decide(service, session, task, resource, &label, least)?;
        let release = match verdict.outcome {
            Ok(release) => release,
            Err(denials) => return denied(verdict.record, service, task, &label, &denials),
        };
        let key = release.key().clone();
        match open(service, session, task, resource, release, &verdict.head) {
            Ok(content) => {
                // The disk has its time while this is encrypted.
                let withheld = verdict.record.keep(service, ())?;
                let answer = jwe::encrypt(&key, &content);
                let answer = answer.map_err(|error| ApiError::internal(&error));
                return Ok(withheld.map(|()| answer));
            }
            // Replaced or deleted since the decision, which is made anew about what there is now.
            Err(error) if error.code() == Code::SecretAbsent => {}
            Err(error) => return Err(error),
        }
    }
    Err(ApiError::new(Code::SecretAbsent, "Its owner replaces it again and again."))
}

/// Decides under `label` and puts the decision on record, where nothing of the vault is asked for.
pub(super) fn allow(
    service: &Service,
    session: &AttestedSession,
    task: TaskId,
    resource: Resource,
    label: &str,
) -> Result<Answer<()>, ApiError> {
    let verdict = decide(service, session, task, resource, label, None)?;
    match verdict.outcome {
        Ok(_) => verdict.record.keep(service, Ok(())),
        Err(denials) => denied(verdict.record, service, task, label, &denials),
    }
}

/// A decision that nobody has heard of yet.
struct Verdict {
    outcome: Result<Release, Denials>,
    /// What it rests on, at the head.
    head: Facts,
    record: Record,
}

/// The answer to a denial.
fn denied<T>(
    record: Record,
    service: &Service,
    task: TaskId,
    label: &str,
    denials: &Denials,
) -> Result<Answer<T>, ApiError> {
    let denials: Vec<_> = denials.reasons().iter().map(DenialBody::from).collect();
    let reasons: Vec<_> = denials.iter().map(DenialBody::detail).collect();
    tracing::info!(task.id = %task, ?reasons, "denied {label} of {task}");
    record.keep(service, Err(ApiError::denied(denials)))
}

/// Decides by the head at block `least` or later.
#[tracing::instrument(name = "decision", skip_all)]
fn decide(
    service: &Service,
    session: &AttestedSession,
    task: TaskId,
    resource: Resource,
    label: &str,
    least: Option<u64>,
) -> Result<Verdict, ApiError> {
    let snapshot = service.fresh_since(least)?;
    let basis = Basis::of(&snapshot);
    let facts = snapshot.facts(task, Some(session.enclave.id()), resource)?;
    let wanted = wanted(resource, &facts.head);
    let secrets = service.metrics.vault.time("look_up", || service.vault.look_up(&wanted))?;
    let asked = Asked { task, resource, sms: service.address(), now: clock::now() };
    let outcome = authorize(
        &asked,
        &facts.head,
        &facts.confirmed,
        &secrets,
        &session.worker,
        &session.enclave,
    );
    let (enclave, now) = (session.enclave.id(), asked.now);
    let record = Decided { task, enclave, label, now, result: &outcome, basis }.on(&facts);
    Ok(Verdict { outcome, head: facts.head, record })
}

/// What a release gives away, in the clear.
#[tracing::instrument(name = "open", skip_all)]
fn open(
    service: &Service,
    session: &AttestedSession,
    task: TaskId,
    resource: Resource,
    release: Release,
    facts: &Facts,
) -> Result<Zeroizing<Vec<u8>>, ApiError> {
    if resource != Resource::Bundle {
        let opened = service.metrics.vault.time("open", || service.vault.open_release(release))?;
        let opened = opened.into_iter().next();
        let opened = opened.ok_or_else(|| ApiError::new(Code::SecretAbsent, "It is gone."))?;
        return Ok(Zeroizing::new(opened.value.expose().to_vec()));
    }
    let (head, confirmed, key) = (release.head(), release.confirmed(), release.key().thumbprint());
    let all = || service.vault.open_within(release, MAX_BUNDLE_SECRETS as u64);
    let (opened, omitted) = service.metrics.vault.time("open", all)?;
    let bundle = bundle(service, task, facts, opened, omitted)?;
    let (bundle, nonce) = (Bundle { head, confirmed, ..bundle }, nonce_digest(&session.nonce));
    bundle::sign(&bundle, key, nonce, &service.domain, &service.identity)
        .map_err(|error| ApiError::internal(&error))
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
        chain_id: service.tasks.chain_id,
        task_registry: service.tasks.task_registry,
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
