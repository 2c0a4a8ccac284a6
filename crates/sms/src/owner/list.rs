//! `GET /v1/owners/{address}/secrets`: what an owner has here, never a value.

use alloy_primitives::Address;
use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
    http::HeaderMap,
};
use serde::Deserialize;
use sesame_domain::{AssetId, ParseIdError, SecretId, SecretName};
use sesame_protocol::owner::{SecretMetadata, SecretPage, SignedQuery, owned_by};

use super::{Claim, Ownership, authorization, body, malformed};
use crate::{
    openapi::{OWNER, examples, parameters},
    overload::blocking,
    path::Path,
    problem::{
        ApiError, Code, Form,
        described::{FRESH, SIGNED, VAULT, refusals},
    },
    public::explain::parse_address,
    service::{Service, Shared},
};

/// Secrets on a page.
const PAGE: usize = 100;

/// Assets looked at for one page, whether they have a secret or not.
const ASSETS: usize = 1000;

/// From where.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Start {
    after: Option<String>,
}

refusals!(Refusals, Form::Problem, SIGNED, FRESH, VAULT, [Code::MalformedId]);

/// What an owner has here, never a value: first the secrets that the owner named, then those of the assets that it owns.
#[utoipa::path(
    get,
    path = "/v1/owners/{address}/secrets",
    operation_id = "listSecrets",
    tag = OWNER,
    params(parameters::InAddress, parameters::ByAfter, parameters::WithQuery),
    responses(
        (
            status = 200,
            description = "Some of them; with `next` there may be more.",
            body = SecretPage,
            example = json!(examples::secrets()),
        ),
        Refusals,
    ),
)]
pub(crate) async fn owned(
    State(service): State<Shared>,
    Path(address): Path<String>,
    start: Result<Query<Start>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Json<SecretPage>, ApiError> {
    let owner = parse_address(&address)?;
    let Query(start) =
        start.map_err(|error| ApiError::new(Code::MalformedId, error.body_text()))?;
    let after = start.after.as_deref().map(str::parse).transpose()?;
    let query = SignedQuery::parse(authorization(&headers)?).map_err(|error| malformed(&error))?;
    let claim = Claim {
        owner: query.owner,
        deadline: query.deadline,
        hash: query.hash(&owned_by(owner), service.address(), &service.domain),
        signature: &query.signature,
    };
    claim.check_requester(&service, owner).await?;
    blocking(service.place().await?, move || page(&service, owner, after.as_ref()).map(Json)).await
}

/// First the secrets that the owner named, then those of its assets.
fn page(
    service: &Service,
    owner: Address,
    after: Option<&SecretId>,
) -> Result<SecretPage, ApiError> {
    match after {
        None => named(service, owner, None),
        Some(SecretId::Requester(_, name)) => named(service, owner, Some(name)),
        Some(SecretId::Asset(asset)) => of_assets(service, owner, Some(*asset), Vec::new()),
        Some(SecretId::Iexec(_)) => Err(ParseIdError::NotASecret.into()),
    }
}

fn named(
    service: &Service,
    owner: Address,
    after: Option<&SecretName>,
) -> Result<SecretPage, ApiError> {
    let found = service.vault.named_by(owner, after, PAGE)?.into_iter();
    let found = found.map(|(name, newest)| body(&SecretId::Requester(owner, name), &newest));
    let secrets: Vec<SecretMetadata> = found.collect();
    match secrets.last() {
        Some(last) if secrets.len() == PAGE => {
            Ok(SecretPage { next: Some(last.resource.clone()), secrets })
        }
        _ => of_assets(service, owner, None, secrets),
    }
}

/// Those that the owner may see one by one: of assets that it owns at the head and at the confirmed block.
fn of_assets(
    service: &Service,
    owner: Address,
    after: Option<AssetId>,
    mut secrets: Vec<SecretMetadata>,
) -> Result<SecretPage, ApiError> {
    let snapshot = service.fresh()?;
    let held = snapshot.holdings(owner, after, ASSETS)?;
    let all = held.len() < ASSETS;
    for (place, asset) in held.iter().enumerate() {
        let secret = SecretId::Asset(*asset);
        if let Ok(ownership) = Ownership::check_at(&snapshot, &secret, owner)
            && let Some(newest) = service.vault.newest(&secret)?
            && ownership.may_see(&newest)
        {
            secrets.push(body(&secret, &newest));
        }
        let last = all && place + 1 == held.len();
        if secrets.len() >= PAGE && !last || place + 1 == ASSETS {
            return Ok(SecretPage { secrets, next: Some(secret.to_string()) });
        }
    }
    Ok(SecretPage { secrets, next: None })
}
