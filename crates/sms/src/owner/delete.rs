//! `DELETE`: every version goes; a tombstone keeps the numbering.

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Response,
};
use sesame_domain::SecretId;
use sesame_protocol::owner::SignedRemoval;
use sesame_vault::Removal;

use super::{
    Claim, asset_secret, authorization, malformed, requester_secret, tombstone, with_metadata,
};
use crate::{
    path::Path,
    problem::ApiError,
    service::{Shared, blocking},
};

/// `DELETE /v1/assets/{asset}/secret`.
pub(crate) async fn asset(
    State(service): State<Shared>,
    Path(asset): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    delete(service, asset_secret(&asset)?, &headers).await
}

/// `DELETE /v1/requesters/{address}/secrets/{name}`.
pub(crate) async fn requester(
    State(service): State<Shared>,
    Path((address, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    delete(service, requester_secret(&address, &name)?, &headers).await
}

async fn delete(
    service: Shared,
    secret: SecretId,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let removal =
        SignedRemoval::parse(authorization(headers)?).map_err(|error| malformed(&error))?;
    let claim = Claim {
        owner: removal.owner,
        deadline: removal.deadline,
        hash: removal.hash(&secret, service.address(), &service.domain),
        signature: &removal.signature,
    };
    let ownership = claim.check(&service, &secret).await?;
    ownership.check_epoch(removal.epoch)?;
    blocking(move || {
        let gone = Removal { secret: secret.clone(), version: removal.version };
        service.metrics.vault.time("delete", || service.vault.remove(&gone))?;
        let gone = tombstone(&secret, removal.owner, removal.epoch, removal.version);
        Ok(with_metadata(StatusCode::OK, &gone))
    })
    .await
}
