//! `GET /v1/receipts/…`: the log's key, its head, and its hashes. Nothing of what a receipt says is in them.

use axum::{
    Json,
    extract::State,
    http::header::{CACHE_CONTROL, CONTENT_TYPE},
    response::IntoResponse,
};
use sesame_protocol::receipts::ReceiptLogKey;

use crate::{
    openapi::{PUBLIC, examples, parameters},
    overload::blocking,
    path::Path,
    problem::{ApiError, Code, Form, described::refusals},
    service::Shared,
};

/// The media type of a checkpoint.
const TEXT: &str = "text/plain; charset=utf-8";

refusals!(Refusals, Form::Problem);
refusals!(NoTile, Form::Problem, [Code::NotFound, Code::MalformedId]);

/// The key that signs the heads of this replica's log of receipts, certified by the SMS identity (EIP-712).
#[utoipa::path(
    get,
    path = "/v1/receipts/key",
    operation_id = "receiptsKey",
    tag = PUBLIC,
    responses(
        (
            status = 200,
            description = "Certified once, at the start.",
            body = ReceiptLogKey,
            example = json!(examples::receipts_key()),
        ),
        Refusals,
    ),
)]
pub(crate) async fn key(State(service): State<Shared>) -> Json<ReceiptLogKey> {
    Json(service.receipts_key.clone())
}

/// The head of the log of receipts: <https://c2sp.org/tlog-checkpoint> in a <https://c2sp.org/signed-note>.
#[utoipa::path(
    get,
    path = "/v1/receipts/checkpoint",
    operation_id = "receiptsCheckpoint",
    tag = PUBLIC,
    responses(
        (
            status = 200,
            description = "As it is now.",
            body = String,
            content_type = TEXT,
            headers(("cache-control" = String, description = "`no-store`")),
            example = json!(examples::checkpoint()),
        ),
        Refusals,
    ),
)]
pub(crate) async fn checkpoint(State(service): State<Shared>) -> impl IntoResponse {
    let headers = [(CONTENT_TYPE, TEXT), (CACHE_CONTROL, "no-store")];
    (headers, service.receipts.checkpoint())
}

/// Hashes of the log of receipts, as <https://c2sp.org/tlog-tiles> has them; entries are not served.
#[utoipa::path(
    get,
    path = "/v1/receipts/tile/{*path}",
    operation_id = "receiptsTile",
    tag = PUBLIC,
    params(parameters::InTile),
    responses(
        (
            status = 200,
            description = "Hashes, 32 bytes each. A tile that is there never changes.",
            content_type = "application/octet-stream",
            headers(("cache-control" = String, description = "For ever.")),
            example = json!("32 bytes for each hash"),
        ),
        NoTile,
    ),
)]
pub(crate) async fn tile(
    State(service): State<Shared>,
    Path(path): Path<String>,
) -> Result<impl IntoResponse, ApiError> {
    let tile = blocking(service.place().await?, move || Ok(service.receipts.tile(&path)?)).await?;
    let tile =
        tile.ok_or_else(|| ApiError::new(Code::NotFound, "The log has no such tile, or not yet."))?;
    let forever = (CACHE_CONTROL, "public, max-age=31536000, immutable");
    Ok(([(CONTENT_TYPE, "application/octet-stream"), forever], tile))
}
