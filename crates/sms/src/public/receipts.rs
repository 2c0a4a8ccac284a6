//! `GET /v1/receipts/…`: the log's key, its head, and its hashes. Nothing of what a receipt says is in them.

use axum::{
    Json,
    extract::State,
    http::header::{CACHE_CONTROL, CONTENT_TYPE},
    response::IntoResponse,
};
use sesame_protocol::receipts::ReceiptLogKey;

use crate::{
    overload::blocking,
    path::Path,
    problem::{ApiError, Code},
    service::Shared,
};

/// `GET /v1/receipts/key`: certified once, at the start.
pub(crate) async fn key(State(service): State<Shared>) -> Json<ReceiptLogKey> {
    Json(service.receipts_key.clone())
}

/// `GET /v1/receipts/checkpoint`: a signed note.
pub(crate) async fn checkpoint(State(service): State<Shared>) -> impl IntoResponse {
    let headers = [(CONTENT_TYPE, "text/plain; charset=utf-8"), (CACHE_CONTROL, "no-store")];
    (headers, service.receipts.checkpoint())
}

/// `GET /v1/receipts/tile/{level}/{index}[.p/{width}]`: hashes, 32 bytes each. A tile that is there never changes.
pub(crate) async fn tile(
    State(service): State<Shared>,
    Path(path): Path<String>,
) -> Result<impl IntoResponse, ApiError> {
    let tile = blocking(service.place()?, move || Ok(service.receipts.tile(&path)?)).await?;
    let tile =
        tile.ok_or_else(|| ApiError::new(Code::NotFound, "The log has no such tile, or not yet."))?;
    let forever = (CACHE_CONTROL, "public, max-age=31536000, immutable");
    Ok(([(CONTENT_TYPE, "application/octet-stream"), forever], tile))
}
