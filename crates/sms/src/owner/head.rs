//! `HEAD`: what the vault knows of a secret, never its value.

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use sesame_domain::SecretId;
use sesame_protocol::owner::SignedQuery;

use super::{
    Claim, add_metadata, asset_secret, authorization, body, malformed, requester_secret, tombstone,
    with_metadata,
};
use crate::{
    overload::blocking,
    path::Path,
    problem::{ApiError, Code},
    service::Shared,
};

/// `HEAD /v1/assets/{asset}/secret`.
pub(crate) async fn asset(
    State(service): State<Shared>,
    Path(asset): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    head(service, asset_secret(&asset)?, &headers).await
}

/// `HEAD /v1/requesters/{address}/secrets/{name}`.
pub(crate) async fn requester(
    State(service): State<Shared>,
    Path((address, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    head(service, requester_secret(&address, &name)?, &headers).await
}

async fn head(
    service: Shared,
    secret: SecretId,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let query = SignedQuery::parse(authorization(headers)?).map_err(|error| malformed(&error))?;
    let claim = Claim {
        owner: query.owner,
        deadline: query.deadline,
        hash: query.hash(&secret, service.address(), &service.domain),
        signature: &query.signature,
    };
    let ownership = claim.check(&service, &secret).await?;
    blocking(service.place()?, move || {
        let newest = service.vault.newest(&secret)?.filter(|newest| ownership.may_see(newest));
        if let Some(newest) = newest {
            return Ok(with_metadata(StatusCode::OK, &body(&secret, &newest)));
        }
        let version = service.vault.newest_version(&secret)?;
        let absent = ApiError::new(Code::SecretAbsent, "There is no such secret.");
        let mut response = absent.into_response();
        if version > 0 {
            let shown = tombstone(&secret, query.owner, ownership.epoch(), version);
            add_metadata(&mut response, &shown);
        }
        Ok(response)
    })
    .await
}
