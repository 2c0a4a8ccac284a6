//! What is served where, and what is true of every answer: a time, a line in the log, a problem in its surface's form.

use std::time::Duration;

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{Method, Uri},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use tokio::time::timeout;
use tower_http::catch_panic::CatchPanicLayer;

use crate::{
    enclave::{attest, auth, body, resource, result_key},
    limits::Gate,
    observe::observe,
    owner,
    problem::{ApiError, Code, KbsError},
    public,
    service::Shared,
};

const ROUTES: &[&str] = &[
    "GET /healthz",
    "GET /readyz",
    "GET /metrics",
    "GET /v1/status",
    "GET /v1/keys",
    "GET /.well-known/jwks.json",
    "GET /v1/tasks/{task}/explain",
    "GET /v1/tasks/{task}/settlement",
    "GET /v1/receipts/key",
    "GET /v1/receipts/checkpoint",
    "GET /v1/receipts/tile/{level}/{index}[.p/{width}]",
    "GET /v1/assets/{asset}/receipts",
    "GET /v1/requesters/{address}/receipts",
    "PUT /v1/assets/{asset}/secret",
    "HEAD /v1/assets/{asset}/secret",
    "DELETE /v1/assets/{asset}/secret",
    "PUT /v1/requesters/{address}/secrets/{name}",
    "HEAD /v1/requesters/{address}/secrets/{name}",
    "DELETE /v1/requesters/{address}/secrets/{name}",
    "GET /v1/owners/{address}/secrets",
    "POST /kbs/v0/auth",
    "POST /kbs/v0/attest",
    "GET /kbs/v0/resource/{task}/{type}/{tag}",
    "POST /kbs/v0/result-key",
    "POST /kbs/{voucher}/v0/auth",
    "POST /kbs/{voucher}/v0/attest",
    "GET /kbs/{voucher}/v0/resource/{task}/{type}/{tag}",
];

/// What the service serves.
pub fn routes() -> impl Iterator<Item = &'static str> {
    ROUTES.iter().copied()
}

pub(crate) fn router(service: Shared, request_time: Duration, gate: &Gate) -> Router {
    Router::new()
        .merge(public_surface())
        .merge(questions().route_layer(gate.layer(IntoResponse::into_response)))
        .merge(owner_surface().route_layer(gate.layer(IntoResponse::into_response)))
        .merge(
            enclave_surface()
                .route_layer(CatchPanicLayer::custom(|_: Panic| {
                    KbsError::from(panicked()).into_response()
                }))
                .route_layer(gate.layer(|e| KbsError::from(e).into_response())),
        )
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        .layer(CatchPanicLayer::custom(|_: Panic| panicked().into_response()))
        .layer(middleware::from_fn_with_state(request_time, in_time))
        .layer(middleware::from_fn_with_state(service.clone(), observe))
        .with_state(service)
}

fn public_surface() -> Router<Shared> {
    Router::new()
        .route("/healthz", get(public::health::healthz))
        .route("/readyz", get(public::health::readyz))
        .route("/metrics", get(public::metrics::metrics))
        .route("/v1/status", get(public::status::status))
        .route("/v1/keys", get(public::keys::keys))
        .route("/.well-known/jwks.json", get(public::keys::jwks))
        .route("/v1/receipts/checkpoint", get(public::receipts::checkpoint))
        .route("/v1/receipts/tile/{*path}", get(public::receipts::tile))
}

/// What anybody may ask for, and what costs a decision or a signature each time.
fn questions() -> Router<Shared> {
    Router::new()
        .route("/v1/tasks/{task}/explain", get(public::explain::explain))
        .route("/v1/tasks/{task}/settlement", get(public::settlement::settlement))
        .route("/v1/receipts/key", get(public::receipts::key))
}

fn owner_surface() -> Router<Shared> {
    let asset = put(owner::put::asset).head(owner::head::asset).delete(owner::delete::asset);
    let requester =
        put(owner::put::requester).head(owner::head::requester).delete(owner::delete::requester);
    Router::new()
        .route("/v1/assets/{asset}/secret", asset)
        .route("/v1/requesters/{address}/secrets/{name}", requester)
        .route("/v1/owners/{address}/secrets", get(owner::list::owned))
        .route("/v1/assets/{asset}/receipts", get(owner::receipts::asset))
        .route("/v1/requesters/{address}/receipts", get(owner::receipts::requester))
}

fn enclave_surface() -> Router<Shared> {
    let small = || DefaultBodyLimit::max(body::MAX_SMALL);
    let attestation = || DefaultBodyLimit::max(body::MAX_ATTESTATION);
    Router::new()
        .route("/kbs/v0/auth", post(auth::auth).layer(small()))
        .route("/kbs/{voucher}/v0/auth", post(auth::auth).layer(small()))
        .route("/kbs/v0/attest", post(attest::attest).layer(attestation()))
        .route("/kbs/{voucher}/v0/attest", post(attest::attest_in_path).layer(attestation()))
        .route("/kbs/v0/result-key", post(result_key::result_key).layer(small()))
        .route("/kbs/v0/resource/{task}/{kind}/{tag}", get(resource::resource))
        .route("/kbs/{voucher}/v0/resource/{task}/{kind}/{tag}", get(resource::resource_in_path))
}

async fn not_found(uri: Uri) -> Response {
    let detail = format!("There is nothing at {}.", uri.path());
    in_form_of(&uri, ApiError::new(Code::NotFound, detail))
}

async fn method_not_allowed(method: Method, uri: Uri) -> Response {
    let detail = format!("{method} is not allowed here.");
    in_form_of(&uri, ApiError::new(Code::MethodNotAllowed, detail))
}

/// An error as the surface has it that was asked.
fn in_form_of(uri: &Uri, error: ApiError) -> Response {
    let of_an_enclave = uri.path().starts_with("/kbs/");
    if of_an_enclave { KbsError::from(error).into_response() } else { error.into_response() }
}

/// The panic's message may hold anything, so it stays out of log and answer; its place is in the panic hook's output.
type Panic = Box<dyn std::any::Any + Send + 'static>;

fn panicked() -> ApiError {
    tracing::error!("a handler panicked");
    ApiError::new(Code::Internal, "The service failed to answer; its log says why.")
}

/// Answers for a handler that takes longer than `limit`, in the form of its surface. What the handler had handed to a
/// blocking thread goes on to its end.
async fn in_time(State(limit): State<Duration>, request: Request, next: Next) -> Response {
    let uri = request.uri().clone();
    if let Ok(response) = timeout(limit, next.run(request)).await {
        return response;
    }
    let detail = format!(
        "No answer was ready within {} s, the time for the request's body included. What was asked for may have been done \
         nevertheless: look before you ask again.",
        limit.as_secs_f32()
    );
    in_form_of(&uri, ApiError::new(Code::RequestTimeout, detail))
}
