//! `/v1/tasks/{task}/explain`: why a task's session would be refused, and why an order's dataset would be no part of it.

use alloy_primitives::B256;
use axum::{
    Json,
    extract::{Path, State},
};
use serde::Serialize;
use sesame_domain::TaskId;
use sesame_iexec::bulk::SignedOrder;
use sesame_protocol::status::BlockRefBody;
use sesame_vault::{DealDenial, explain_deal};

use super::{
    Iexec,
    tee::{asked, facts},
};
use crate::{
    overload::blocking,
    problem::{ApiError, Code},
};

/// What the rule would say, were everything signed as it must be.
#[derive(Serialize)]
pub(super) struct Explanation {
    task: B256,
    allowed: bool,
    head: BlockRefBody,
    confirmed: BlockRefBody,
    /// In the order of the checks: the first one is what a caller is answered.
    reasons: Vec<Reason>,
}

/// Whether a bulk's task may have a dataset by this order.
#[derive(Serialize)]
pub(super) struct Fit {
    task: B256,
    dataset: String,
    fits: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
}

#[derive(Serialize)]
struct Reason {
    error: &'static str,
    detail: String,
}

impl From<&DealDenial> for Reason {
    fn from(denial: &DealDenial) -> Self {
        Self { error: denial.name(), detail: denial.to_string() }
    }
}

pub(super) async fn task(
    State(Iexec { service, .. }): State<Iexec>,
    Path(task): Path<String>,
) -> Result<Json<Explanation>, ApiError> {
    let task: TaskId = task.parse()?;
    let place = service.place().await?;
    let explain = move || {
        let facts = facts(&service.fresh()?, task)?;
        let denials = explain_deal(&asked(task), &facts.head, &facts.confirmed).err();
        let reasons: Vec<_> = denials.iter().flatten().map(Reason::from).collect();
        Ok((reasons, facts.head.at.as_ref(), facts.confirmed.at.as_ref()))
    };
    let (reasons, head, confirmed) = blocking(place, explain).await?;
    Ok(Json(Explanation {
        task: task.0,
        allowed: reasons.is_empty(),
        head: head.into(),
        confirmed: confirmed.into(),
        reasons,
    }))
}

pub(super) async fn order(
    State(iexec): State<Iexec>,
    Path(task): Path<String>,
    order: String,
) -> Result<Json<Fit>, ApiError> {
    let task: TaskId = task.parse()?;
    let order: SignedOrder = serde_json::from_str(&order).map_err(|error| {
        let detail = format!("The body is a signed dataset order in JSON, all text: {error}.");
        ApiError::new(Code::MalformedBody, detail)
    })?;
    let dataset = order.dataset.clone();
    let place = iexec.service.place().await?;
    let misfit = blocking(place, move || {
        let snapshot = iexec.service.fresh()?;
        let Some(known) = snapshot.task(task)?.head else {
            let detail = "The chain knows no such task: nobody initialized it.";
            return Err(ApiError::new(Code::NotFound, detail));
        };
        Ok(iexec.judge(&snapshot, &known, &order)?.err())
    });
    let reason = misfit.await?.map(|misfit| {
        let more = "; a contract may say otherwise, which this service does not ask";
        let more = if misfit.a_contract_may_say_otherwise() { more } else { "" };
        Reason { error: misfit.name(), detail: format!("{misfit}{more}") }
    });
    Ok(Json(Fit { task: task.0, dataset, fits: reason.is_none(), reason }))
}
