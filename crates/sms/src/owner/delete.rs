//! `DELETE`: every version goes; a tombstone keeps the numbering.

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Response,
};
use sesame_domain::SecretId;
use sesame_protocol::owner::{SecretMetadata, SignedRemoval};
use sesame_vault::Removal;

use super::{
    Claim, asset_secret, authorization, malformed, requester_secret, tombstone, with_metadata,
};
use crate::{
    openapi::{OWNER, examples, parameters},
    overload::blocking,
    path::Path,
    problem::{
        ApiError, Code, Form,
        described::{ASSET, FRESH, SIGNED, VAULT, refusals},
    },
    service::Shared,
};

/// To what was signed.
const REMOVAL: [Code; 4] =
    [Code::MalformedId, Code::WrongEpoch, Code::VersionConflict, Code::SecretAbsent];

refusals!(AssetRefusals, Form::Problem, SIGNED, ASSET, FRESH, VAULT, REMOVAL);
refusals!(RequesterRefusals, Form::Problem, SIGNED, FRESH, VAULT, REMOVAL);

/// Removes every version of an app's secret, or of the key of a protected data. The numbering goes on.
#[utoipa::path(
    delete,
    path = "/v1/assets/{asset}/secret",
    operation_id = "deleteAssetSecret",
    tag = OWNER,
    params(parameters::InAsset, parameters::WithRemoval),
    responses(
        (
            status = 200,
            description = "It is gone; this is what is left.",
            body = SecretMetadata,
            headers(
                ("etag" = String, description = "The newest version, in quotes."),
                ("sesame-secret" = String, description = "A `SecretMetadata`, base64url without padding."),
            ),
            example = json!(examples::tombstone()),
        ),
        AssetRefusals,
    ),
)]
pub(crate) async fn asset(
    State(service): State<Shared>,
    Path(asset): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    delete(service, asset_secret(&asset)?, &headers).await
}

/// Removes every version of a requester's secret. The numbering goes on.
#[utoipa::path(
    delete,
    path = "/v1/requesters/{address}/secrets/{name}",
    operation_id = "deleteRequesterSecret",
    tag = OWNER,
    params(parameters::InAddress, parameters::InName, parameters::WithRemoval),
    responses(
        (
            status = 200,
            description = "It is gone; this is what is left.",
            body = SecretMetadata,
            headers(
                ("etag" = String, description = "The newest version, in quotes."),
                ("sesame-secret" = String, description = "A `SecretMetadata`, base64url without padding."),
            ),
            example = json!(examples::tombstone()),
        ),
        RequesterRefusals,
    ),
)]
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
    blocking(service.place().await?, move || {
        let SignedRemoval { epoch, version, .. } = removal;
        let gone = Removal { secret: secret.clone(), epoch, version };
        service.metrics.vault.time("delete", || service.vault.remove(&gone))?;
        let gone = tombstone(&secret, removal.owner, removal.epoch, removal.version);
        Ok(with_metadata(StatusCode::OK, &gone))
    })
    .await
}
