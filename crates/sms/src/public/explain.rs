//! `GET /v1/tasks/{task}/explain`: the decision for a supposed enclave and worker, with every reason of the chain.

use alloy_primitives::Address;
use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
    http::HeaderMap,
};
use serde::Deserialize;
use sesame_domain::{EnclaveId, Resource, TaskId};
use sesame_protocol::{denial::DenialBody, explain::Explanation};
use sesame_vault::{Asked, Claim, wanted};
use sesame_view::Snapshot;

use crate::{
    clock,
    openapi::{PUBLIC, examples, parameters},
    overload::blocking,
    path::Path,
    problem::{
        ApiError, Code, Form,
        described::{FRESH, VAULT, refusals},
    },
    service::{Shared, min_block},
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Question {
    enclave: Option<String>,
    resource: Option<String>,
    worker: Option<String>,
    block: Option<u64>,
}

refusals!(
    Refusals,
    Form::Problem,
    FRESH,
    VAULT,
    [Code::MalformedId, Code::MalformedHeader, Code::BlockNotReached, Code::BlockUnknown],
);

/// What the decision would be, and why, for an enclave that has proven nothing.
///
/// The rule is the one that releases; nothing is released. What it says of the vault is `secret_unavailable` here.
#[utoipa::path(
    get,
    path = "/v1/tasks/{task}/explain",
    operation_id = "explain",
    tag = PUBLIC,
    params(
        parameters::InTask,
        parameters::ByEnclave,
        parameters::ByResource,
        parameters::ByWorker,
        parameters::ByBlock,
        parameters::WithMinBlock,
    ),
    responses(
        (
            status = 200,
            description = "Yes, or no with every reason.",
            body = Explanation,
            example = json!(examples::explanation()),
        ),
        Refusals,
    ),
)]
pub(crate) async fn explain(
    State(service): State<Shared>,
    Path(task): Path<String>,
    headers: HeaderMap,
    question: Result<Query<Question>, QueryRejection>,
) -> Result<Json<Explanation>, ApiError> {
    let task: TaskId = task.parse()?;
    let Query(question) =
        question.map_err(|rejection| ApiError::new(Code::MalformedId, rejection.body_text()))?;
    let enclave = question.enclave.as_deref().map(str::parse::<EnclaveId>).transpose()?;
    let resource = question.resource.as_deref().unwrap_or("bundle/all").parse::<Resource>()?;
    let worker = question.worker.as_deref().map(parse_address).transpose()?;
    let block = question.block;
    let least = min_block(&headers)?;
    let place = service.place().await?;
    let answer = move || {
        let snapshot = service.fresh_since(least)?;
        answer(&service, snapshot, task, enclave, resource, worker, block)
    };
    blocking(place, answer).await.map(Json)
}

fn answer(
    service: &Shared,
    mut snapshot: Snapshot<'_>,
    task: TaskId,
    enclave: Option<EnclaveId>,
    resource: Resource,
    worker: Option<Address>,
    block: Option<u64>,
) -> Result<Explanation, ApiError> {
    if let Some(block) = block {
        snapshot = snapshot.back_to(block)?.ok_or_else(|| {
            ApiError::new(Code::BlockUnknown, format!("Block {block} is not mirrored."))
        })?;
    }
    let facts = snapshot.facts(task, enclave, resource)?;
    let secrets = service.vault.look_up(&wanted(resource, &facts.head))?;
    let order = facts.head.task.as_ref().map(|task| &task.order);
    let enclave = enclave.or_else(|| order.map(|order| order.enclave));
    let claim = order
        .zip(enclave)
        .map(|(order, enclave)| Claim { worker: worker.unwrap_or(order.worker), enclave });
    let asked = Asked { task, resource, sms: service.address(), now: clock::now() };
    let denials =
        match sesame_vault::explain(&asked, &facts.head, &facts.confirmed, &secrets, claim) {
            Ok(()) => Vec::new(),
            Err(denials) => denials.reasons().iter().map(DenialBody::public).collect(),
        };
    Ok(Explanation {
        task: task.0,
        enclave: enclave.map(|enclave| enclave.0),
        resource: resource.to_string(),
        allowed: denials.is_empty(),
        head: facts.head.at.as_ref().into(),
        confirmed: facts.confirmed.at.as_ref().into(),
        denials,
    })
}

/// An address, checksummed or not.
pub(crate) fn parse_address(text: &str) -> Result<Address, ApiError> {
    let digits = text.strip_prefix("0x").filter(|digits| digits.len() == 40);
    digits.and_then(|digits| digits.parse().ok()).ok_or_else(|| {
        ApiError::new(Code::MalformedId, "An address is 0x and 40 hexadecimal digits.")
    })
}
