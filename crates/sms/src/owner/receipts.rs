//! `GET …/receipts`: the receipts of an asset since its present owner has it, and those of a requester's tasks.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, Uri},
};
use sesame_domain::SecretId;
use sesame_protocol::receipts::{ListedReceipt, PAGE, ReceiptPage, ReceiptsOf, SignedReceiptQuery};

use super::{Claim, authorization, malformed};
use crate::{
    openapi::{OWNER, examples, parameters},
    overload::blocking,
    path::Path,
    problem::{
        ApiError, Code, Form,
        described::{ASSET, FRESH, SIGNED, refusals},
    },
    public::explain::parse_address,
    service::Shared,
};

refusals!(AssetRefusals, Form::Problem, SIGNED, ASSET, FRESH, [Code::MalformedId]);
refusals!(RequesterRefusals, Form::Problem, SIGNED, FRESH, [Code::MalformedId]);

/// The receipts of decisions about an asset since its present owner has it, to that owner.
#[utoipa::path(
    get,
    path = "/v1/assets/{asset}/receipts",
    operation_id = "listAssetReceipts",
    tag = OWNER,
    params(parameters::InAsset, parameters::ByFrom, parameters::WithReceiptQuery),
    responses(
        (
            status = 200,
            description = "At most 100, in the order of the log.",
            body = ReceiptPage,
            example = json!(examples::receipts()),
        ),
        AssetRefusals,
    ),
)]
pub(crate) async fn asset(
    State(service): State<Shared>,
    Path(asset): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Json<ReceiptPage>, ApiError> {
    list(service, ReceiptsOf::Asset(asset.parse()?), &uri, &headers).await
}

/// The receipts of decisions about the tasks that a requester bought, to that requester.
#[utoipa::path(
    get,
    path = "/v1/requesters/{address}/receipts",
    operation_id = "listRequesterReceipts",
    tag = OWNER,
    params(parameters::InAddress, parameters::ByFrom, parameters::WithReceiptQuery),
    responses(
        (
            status = 200,
            description = "At most 100, in the order of the log.",
            body = ReceiptPage,
            example = json!(examples::receipts()),
        ),
        RequesterRefusals,
    ),
)]
pub(crate) async fn requester(
    State(service): State<Shared>,
    Path(address): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Json<ReceiptPage>, ApiError> {
    list(service, ReceiptsOf::Requester(parse_address(&address)?), &uri, &headers).await
}

async fn list(
    service: Shared,
    of: ReceiptsOf,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Json<ReceiptPage>, ApiError> {
    let from = from(uri)?;
    let query =
        SignedReceiptQuery::parse(authorization(headers)?).map_err(|error| malformed(&error))?;
    let claim = Claim {
        owner: query.owner,
        deadline: query.deadline,
        hash: query.hash(&of, service.address(), &service.domain),
        signature: &query.signature,
    };
    let epoch = match of {
        ReceiptsOf::Asset(asset) => claim.check(&service, &SecretId::Asset(asset)).await?.epoch(),
        ReceiptsOf::Requester(requester) => {
            claim.check_requester(&service, requester).await?;
            0
        }
    };
    blocking(service.place().await?, move || {
        let lines = match of {
            ReceiptsOf::Asset(asset) => service.receipts.of_asset(asset.0, epoch, from, PAGE)?,
            ReceiptsOf::Requester(requester) => {
                service.receipts.of_requester(requester, from, PAGE)?
            }
        };
        let more = lines.len() == PAGE;
        let next = lines.last().filter(|_| more).map(|(index, _)| index + 1);
        let receipts = lines.into_iter().map(|(index, line)| ListedReceipt { index, line });
        Ok(Json(ReceiptPage { receipts: receipts.collect(), next }))
    })
    .await
}

/// `?from=`: the index to begin with.
fn from(uri: &Uri) -> Result<u64, ApiError> {
    match uri.query() {
        None => Ok(0),
        Some(query) => {
            query.strip_prefix("from=").and_then(|from| from.parse().ok()).ok_or_else(|| {
                ApiError::new(Code::MalformedId, "The query says from which index on: from=0.")
            })
        }
    }
}
