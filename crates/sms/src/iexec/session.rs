//! `POST /tee/sessions`: the decision, the secrets of a task's deal, and where its worker gets them.
//!
//! A session leaves this service when it is posted to the storage: before that, its receipt is on disk.

use std::{collections::BTreeSet, sync::Arc};

use alloy_primitives::Address;
use axum::{
    Json,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use rand::{Rng, distr::Alphanumeric};
use serde::Deserialize;
use serde_json::json;
use sesame_domain::{Facts, IexecSecret, TaskId};
use sesame_iexec::{
    bulk::SignedOrder,
    challenge::{self, signed_by},
    session::{Description, Secrets, SessionError},
};
use sesame_vault::{DealDenial, DealRelease, SessionClaim, authorize_session};
use sesame_view::BothViews;
use zeroize::Zeroizing;

use super::{
    Iexec, Sessions,
    chain::{Seen, patiently},
    refusal::{Refusal, unavailable},
    tee::{asked, facts, pass, scheduler_of},
    value::authorization,
};
use crate::{
    overload::blocking,
    problem::{ApiError, chain},
    public::explain::parse_address,
    receipt::{About, Record, Withheld},
    service::{Basis, Service},
};

/// What is asked for. More may stand there, which is not looked at.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    chain_task_id: Option<String>,
    worker_wallet: Option<String>,
    enclave_challenge: Option<String>,
    signature: Option<Signature>,
}

#[derive(Deserialize)]
struct Signature {
    value: Option<String>,
}

/// Why there is no session.
#[derive(Debug)]
enum NoSession {
    /// The caller may not have one; by the wire's name.
    Unauthorized(&'static str),
    /// It cannot be made.
    Failed(SessionError),
    /// As anywhere else.
    Refused(Refusal),
}

const INVALID_AUTHORIZATION: NoSession = NoSession::Unauthorized("INVALID_AUTHORIZATION");
const EMPTY_PARAMS: NoSession =
    NoSession::Unauthorized("EXECUTION_NOT_AUTHORIZED_EMPTY_PARAMS_UNAUTHORIZED");

impl From<Refusal> for NoSession {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<ApiError> for NoSession {
    fn from(error: ApiError) -> Self {
        Self::Refused(error.into())
    }
}

impl From<SessionError> for NoSession {
    fn from(error: SessionError) -> Self {
        Self::Failed(error)
    }
}

impl IntoResponse for NoSession {
    fn into_response(self) -> Response {
        let (status, name) = match self {
            Self::Unauthorized(name) => (StatusCode::UNAUTHORIZED, name),
            Self::Failed(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.name()),
            Self::Refused(refusal) => return refusal.bare(),
        };
        (status, Json(json!({ "error": name }))).into_response()
    }
}

pub(super) async fn session(
    State(iexec): State<Iexec>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    match make(&iexec, &headers, &body).await {
        Ok((id, url)) => Json(json!({ "data": { "sessionId": id, "secretProvisioningUrl": url } }))
            .into_response(),
        Err(no_session) => no_session.into_response(),
    }
}

/// Its id, and where it can be had.
async fn make(
    iexec: &Iexec,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<(String, String), NoSession> {
    let wanted = Wanted::read(&authorization(headers)?, body)?;
    let mut outcome = attempt(iexec, &wanted, None).await?;
    if let Outcome::NeedsSlice { bulk, index, sessions } = &outcome {
        let slice = sessions.outside.slice(bulk, *index).await;
        outcome = attempt(iexec, &wanted, Some(slice)).await?;
    }
    let Outcome::Made(made) = outcome else {
        return Err(SessionError::Generation.into());
    };
    let Made { id, document, sessions } = made.until_kept(&iexec.service).await?;
    if let Err(error) = sessions.outside.post(document).await {
        let reason = chain(&error.without_url());
        tracing::warn!(task.id = %wanted.task, reason, "the storage of sessions fails");
        return Err(SessionError::Storage.into());
    }
    tracing::info!(task.id = %wanted.task, worker = %wanted.worker, "a session of {} is made", wanted.task);
    Ok((id, sessions.outside.provisioning().to_owned()))
}

/// A request of a worker's, signed by it.
#[derive(Debug, Clone)]
struct Wanted {
    task: TaskId,
    worker: Address,
    challenge: Address,
    /// Said to be the scheduler's.
    signature: String,
}

impl Wanted {
    fn read(authorization: &str, body: &[u8]) -> Result<Self, NoSession> {
        let request: Request = serde_json::from_slice(body).map_err(|_| Refusal::Malformed)?;
        let address = |text: &Option<String>| parse_address(text.as_deref()?).ok();
        let worker = address(&request.worker_wallet).ok_or(INVALID_AUTHORIZATION)?;
        let task = request.chain_task_id.filter(|id| !id.is_empty()).ok_or(EMPTY_PARAMS)?;
        let task: TaskId = task.parse().map_err(|_| INVALID_AUTHORIZATION)?;
        let challenge = address(&request.enclave_challenge).ok_or(INVALID_AUTHORIZATION)?;
        if !signed_by(challenge::session(worker, task, challenge), authorization, worker) {
            return Err(INVALID_AUTHORIZATION);
        }
        let signature = request.signature.and_then(|signature| signature.value);
        Ok(Self { task, worker, challenge, signature: signature.unwrap_or_default() })
    }

    /// What the rule is asked about. Nobody's signature is that of a task's scheduler that the index does not know.
    fn claim(&self, facts: &Facts, issued: Option<Address>) -> SessionClaim {
        let Self { task, worker, challenge, signature } = self;
        let hash = challenge::session(*worker, *task, *challenge);
        let scheduler = scheduler_of(facts).filter(|it| signed_by(hash, signature, *it));
        SessionClaim { worker: *worker, challenge: *challenge, issued, scheduler }
    }
}

/// What index and vault say to a request at one moment.
enum Outcome {
    /// The decision is no.
    Denied { reasons: Vec<DealDenial>, record: Box<Record> },
    /// The decision is yes, and there is no session all the same.
    Failed(SessionError),
    /// The deal has a bulk: this slice of it has to be had first.
    NeedsSlice { bulk: String, index: u64, sessions: Arc<Sessions> },
    /// A session, to be handed out when its receipt is on disk.
    Made(Withheld<Made>),
}

/// A session.
struct Made {
    id: String,
    document: Zeroizing<Vec<u8>>,
    sessions: Arc<Sessions>,
}

/// Decides, and makes the session if there is nothing to be had first. A task that the index does not show yet is waited for.
async fn attempt(
    iexec: &Iexec,
    wanted: &Wanted,
    slice: Option<Vec<SignedOrder>>,
) -> Result<Outcome, NoSession> {
    let service = &iexec.service;
    let asked = Arc::new((iexec.clone(), wanted.clone(), slice));
    let outcome = patiently(service, move |_| {
        let (iexec, wanted, slice) = &*asked;
        let outcome = decide(iexec, wanted, slice.as_deref())?;
        let waits = matches!(&outcome, Outcome::Denied { reasons, .. } if pass(reasons));
        Ok(if waits { Seen::NotYet(outcome) } else { Seen::Now(outcome) })
    });
    match outcome.await? {
        Outcome::Denied { reasons, record } => {
            tracing::info!(task.id = %wanted.task, ?reasons, "no session of {}", wanted.task);
            let keeping = service.clone();
            let keep = move || record.keep(&keeping, ());
            blocking(service.place().await?, keep).await?.until_kept(service).await?;
            let first = reasons.first().map_or("UNKNOWN_ISSUE", DealDenial::name);
            Err(NoSession::Unauthorized(first))
        }
        Outcome::Failed(error) => Err(error.into()),
        outcome @ (Outcome::NeedsSlice { .. } | Outcome::Made(_)) => Ok(outcome),
    }
}

/// Decides by one reading of index and vault.
fn decide(
    iexec: &Iexec,
    wanted: &Wanted,
    slice: Option<&[SignedOrder]>,
) -> Result<Outcome, ApiError> {
    let service = &*iexec.service;
    let snapshot = service.fresh()?;
    let basis = Basis::of(&snapshot);
    let facts = facts(&snapshot, wanted.task)?;
    let issued = service.vault.issued(wanted.task).map_err(unavailable)?;
    let (asked, claim) = (asked(wanted.task), wanted.claim(&facts.head, issued));
    let release = match authorize_session(&asked, &facts.head, &facts.confirmed, &claim) {
        Ok(release) => release,
        Err(reasons) => {
            let names: Vec<_> = reasons.iter().map(DealDenial::name).collect();
            let mut record = wanted.record((&facts, basis), asked.now, Vec::new(), names);
            // Anybody may sign as a worker: kept is what the scheduler signed, or strangers would fill the disk.
            record.receipt = record.receipt.filter(|_| claim.scheduler.is_some());
            return Ok(Outcome::Denied { reasons, record: Box::new(record) });
        }
    };
    let task = release.task().clone();
    let description = match Description::of(wanted.task, &task, wanted.worker) {
        Ok(description) => description,
        Err(error) => return Ok(Outcome::Failed(error)),
    };
    let Some(sessions) = iexec.sessions.clone() else {
        tracing::warn!("a session is asked for, and no storage of sessions is configured");
        return Ok(Outcome::Failed(SessionError::Storage));
    };
    let datasets = match (&description.params().bulk_cid, slice) {
        (Some(bulk), None) => {
            let (bulk, index) = (bulk.clone(), release.deal().index);
            return Ok(Outcome::NeedsSlice { bulk, index, sessions });
        }
        (Some(_), Some(orders)) => iexec.datasets(&snapshot, &task, orders)?,
        (None, _) => Vec::new(),
    };
    let found = datasets.iter().filter_map(|dataset| Some(dataset.found.as_ref()?.address));
    let release = release.with_bulk(found.collect());
    let (secrets, released) = open(service, &release, description.secrets(&datasets))?;
    let Some(key) = challenge_key(service, &release, wanted.task)? else {
        return Ok(Outcome::Failed(SessionError::Generation));
    };
    let id = session_id(wanted.task);
    let session = description.session(&id, &key, &sessions.pipeline, &datasets, &secrets);
    let session = match session {
        Ok(session) => session,
        Err(error) => return Ok(Outcome::Failed(error)),
    };
    let document = session.to_json().map_err(|error| ApiError::internal(&error))?;
    let record = wanted.record((&facts, basis), asked.now, released, Vec::new());
    Ok(Outcome::Made(record.keep(service, Made { id, document, sessions })?))
}

/// What was released, by path and version.
type Released = Vec<(String, u64)>;

/// Opens those of these secrets that somebody pushed.
fn open(
    service: &Service,
    release: &DealRelease,
    wanted: BTreeSet<IexecSecret>,
) -> Result<(Secrets, Released), ApiError> {
    let (mut secrets, mut released) = (Secrets::new(), Released::new());
    for secret in wanted {
        let open = || service.vault.open_for_deal(release, &secret);
        if let Some(opened) = service.metrics.vault.time("open", open).map_err(unavailable)? {
            let text = std::str::from_utf8(opened.value.expose());
            let text = text.map_err(|error| ApiError::internal(&error))?.to_owned();
            released.push((secret.to_string(), opened.version));
            secrets.insert(secret, Zeroizing::new(text));
        }
    }
    Ok((secrets, released))
}

/// The key behind the task's enclave challenge; none if what is kept is no key.
fn challenge_key(
    service: &Service,
    release: &DealRelease,
    task: TaskId,
) -> Result<Option<Zeroizing<[u8; 32]>>, ApiError> {
    let secret = IexecSecret::Challenge(task);
    let opened = service.vault.open_for_deal(release, &secret).map_err(unavailable)?;
    let key = opened.and_then(|opened| opened.value.expose().try_into().ok());
    Ok(key.map(Zeroizing::new))
}

/// Ten letters or digits, and the task.
fn session_id(task: TaskId) -> String {
    let random = rand::rng().sample_iter(Alphanumeric).take(10).map(char::from);
    format!("{}0000{task}", random.collect::<String>())
}

impl Wanted {
    /// What goes on record of a decision.
    fn record(
        &self,
        (facts, basis): (&BothViews<Facts>, Basis),
        now: u64,
        released: Released,
        denials: Vec<&'static str>,
    ) -> Record {
        let label = format!("session/{:#x}", self.worker);
        let enclave = facts.head.task.as_ref().map(|task| task.order.enclave).unwrap_or_default();
        let about = About { task: self.task, enclave, label: &label, now };
        Record { receipt: about.on(facts, released, &denials), reasons: denials, basis }
    }
}

#[cfg(test)]
mod tests {
    use sesame_protocol::signature::Signer;

    use super::*;

    const TASK: TaskId = TaskId(alloy_primitives::B256::repeat_byte(0x11));
    const ENCLAVE: Address = Address::repeat_byte(0x22);

    fn worker() -> Signer {
        Signer::from_bytes(&[1; 32]).unwrap()
    }

    fn signed(challenge: Address) -> String {
        let hash = challenge::session(worker().address(), TASK, challenge);
        let hash = alloy_primitives::eip191_hash_message(hash);
        alloy_primitives::hex::encode_prefixed(worker().sign_hash(hash))
    }

    fn body() -> serde_json::Value {
        json!({
            "chainTaskId": TASK.0,
            "workerWallet": worker().address(),
            "enclaveChallenge": ENCLAVE,
            "signature": { "value": "0x00" },
        })
    }

    fn read(authorization: &str, body: &serde_json::Value) -> Result<Wanted, &'static str> {
        Wanted::read(authorization, body.to_string().as_bytes()).map_err(|refused| match refused {
            NoSession::Unauthorized(name) => name,
            NoSession::Failed(error) => error.name(),
            NoSession::Refused(_) => "refused",
        })
    }

    #[test]
    fn a_worker_asks_for_itself() {
        let wanted = read(&signed(ENCLAVE), &body()).unwrap();
        assert_eq!((wanted.task, wanted.worker), (TASK, worker().address()));
        assert_eq!((wanted.challenge, wanted.signature.as_str()), (ENCLAVE, "0x00"));
        // Whose signature there is, is a later question.
        let mut unsigned = body();
        unsigned.as_object_mut().unwrap().remove("signature");
        assert_eq!(read(&signed(ENCLAVE), &unsigned).unwrap().signature, "");
    }

    #[test]
    fn what_is_missing_or_not_the_workers_is_refused_by_name() {
        let invalid = "INVALID_AUTHORIZATION";
        let empty = "EXECUTION_NOT_AUTHORIZED_EMPTY_PARAMS_UNAUTHORIZED";
        for (field, value, name) in [
            ("workerWallet", json!(null), invalid),
            ("workerWallet", json!("0x12"), invalid),
            ("workerWallet", json!(Address::ZERO), invalid),
            ("chainTaskId", json!(null), empty),
            ("chainTaskId", json!(""), empty),
            ("chainTaskId", json!("0x11"), invalid),
            ("enclaveChallenge", json!(null), invalid),
            ("enclaveChallenge", json!(Address::ZERO), invalid),
            ("chainTaskId", json!(7), "refused"),
            ("signature", json!("0x00"), "refused"),
        ] {
            let mut body = body();
            body[field] = value;
            assert_eq!(read(&signed(ENCLAVE), &body).unwrap_err(), name, "{body}");
        }
        assert_eq!(read("0x00", &body()).unwrap_err(), invalid);
        assert_eq!(read(&signed(Address::ZERO), &body()).unwrap_err(), invalid);
    }

    #[test]
    fn a_session_is_named_after_its_task() {
        let (one, two) = (session_id(TASK), session_id(TASK));
        assert_ne!(one, two);
        let (random, task) = one.split_at(14);
        assert_eq!(task, TASK.to_string());
        assert!(random.ends_with("0000") && random.bytes().all(|c| c.is_ascii_alphanumeric()));
    }
}
