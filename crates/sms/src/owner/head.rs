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
    openapi::{OWNER, parameters},
    overload::blocking,
    path::Path,
    problem::{
        ApiError, Code, Form,
        described::{ASSET, FRESH, SIGNED, VAULT, refusals},
    },
    service::Shared,
};

/// To what was asked for.
const QUERY: [Code; 2] = [Code::MalformedId, Code::SecretAbsent];

refusals!(AssetRefusals, Form::Problem, SIGNED, ASSET, FRESH, VAULT, QUERY);
refusals!(RequesterRefusals, Form::Problem, SIGNED, FRESH, VAULT, QUERY);

/// What the vault knows of an app's secret, or of the key of a protected data; never the value.
///
/// `secret_absent` of a secret that was removed has both headers too: the next version is one more.
#[utoipa::path(
    head,
    path = "/v1/assets/{asset}/secret",
    operation_id = "headAssetSecret",
    tag = OWNER,
    params(parameters::InAsset, parameters::WithQuery),
    responses(
        (
            status = 200,
            description = "There is one.",
            headers(
                ("etag" = String, description = "The newest version, in quotes."),
                ("sesame-secret" = String, description = "A `SecretMetadata`, base64url without padding."),
            ),
        ),
        AssetRefusals,
    ),
)]
pub(crate) async fn asset(
    State(service): State<Shared>,
    Path(asset): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    head(service, asset_secret(&asset)?, &headers).await
}

/// What the vault knows of a requester's secret; never the value.
///
/// `secret_absent` of a secret that was removed has both headers too: the next version is one more.
#[utoipa::path(
    head,
    path = "/v1/requesters/{address}/secrets/{name}",
    operation_id = "headRequesterSecret",
    tag = OWNER,
    params(parameters::InAddress, parameters::InName, parameters::WithQuery),
    responses(
        (
            status = 200,
            description = "There is one.",
            headers(
                ("etag" = String, description = "The newest version, in quotes."),
                ("sesame-secret" = String, description = "A `SecretMetadata`, base64url without padding."),
            ),
        ),
        RequesterRefusals,
    ),
)]
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
    blocking(service.place().await?, move || {
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
