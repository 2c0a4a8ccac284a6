//! What is served to iExec's clients.

use std::time::Duration;

use axum::{
    Router,
    body::Body,
    extract::{DefaultBodyLimit, Request},
    http::{
        Method, StatusCode,
        header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE},
    },
    middleware::{self, Next},
    response::Response,
    routing::{get, head, post},
};
use tower_http::cors::{AllowHeaders, Any, CorsLayer};

use super::{Iexec, explain, secrets, session, standing, tee};
use crate::{
    limits::Gate,
    observe::observe,
    problem::Form,
    router::{Bounds, bounded},
};

/// Bytes of a request to `/tee/sessions`, and of an order to be explained.
const MAX_DOCUMENT: usize = 16 << 10;

/// For how long a browser may remember what it was told about a path.
const PREFLIGHT_AGE: Duration = Duration::from_secs(1800);

pub(crate) fn router(iexec: Iexec, request_time: Duration, gate: &Gate) -> Router {
    let within_bounds = |routes: Router<Iexec>| {
        let bounds = Bounds { room: iexec.service.room.clone(), request_time };
        routes
            .route_layer(gate.layer(Form::Problem.writer()))
            .layer(middleware::from_fn_with_state(bounds, bounded))
    };
    // Outermost, so that browsers may read every answer, refusals of the layers among them.
    let of_browsers = within_bounds(secrets()).layer(middleware::from_fn(bare)).layer(cors());
    let of_machines = within_bounds(enclaves()).layer(middleware::from_fn(bare));
    let monitors = Router::new()
        .route("/version", get(standing::version))
        .route("/actuator/health", get(standing::health))
        .route("/metrics", get(standing::metrics));
    let observed = iexec.service.clone();
    of_browsers
        .merge(of_machines)
        .merge(within_bounds(questions()))
        .merge(monitors)
        .fallback(not_found)
        .layer(middleware::from_fn_with_state(observed, observe))
        .with_state(iexec)
}

/// What browsers ask.
fn secrets() -> Router<Iexec> {
    Router::new()
        .route("/secrets/web3", head(secrets::has_dataset).post(secrets::push_dataset))
        .route(
            "/secrets/web2",
            head(secrets::has_web2).post(secrets::push_web2).put(secrets::replace_web2),
        )
        .route("/apps/{app}/secrets", head(secrets::has_app).post(secrets::push_app))
        .route(
            "/requesters/{requester}/secrets/{key}",
            head(secrets::has_requester).post(secrets::push_requester),
        )
}

/// What schedulers and workers ask.
fn enclaves() -> Router<Iexec> {
    Router::new()
        .route("/tee/framework", get(tee::framework_served))
        .route("/tee/properties/{framework}", get(tee::properties))
        .route("/tee/properties/{framework}/{version}", get(tee::properties_of_version))
        .route("/tee/challenges/{task}", post(tee::challenge))
        .route("/tee/sessions", post(session::session))
        .layer(DefaultBodyLimit::max(MAX_DOCUMENT))
}

/// What iExec's SMS has nothing like.
fn questions() -> Router<Iexec> {
    Router::new()
        .route("/v1/tasks/{task}/explain", get(explain::task).post(explain::order))
        .layer(DefaultBodyLimit::max(MAX_DOCUMENT))
}

/// Every origin may ask: what is here is signed, or public. Fetch's `*` does not cover `Authorization`, so headers are named.
fn cors() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::HEAD, Method::GET, Method::POST, Method::PUT])
        .allow_headers(AllowHeaders::list([AUTHORIZATION, CONTENT_TYPE]))
        .max_age(PREFLIGHT_AGE)
}

async fn not_found() -> StatusCode {
    StatusCode::NOT_FOUND
}

/// Clients know no problems as RFC 9457 writes them: the status says it, and `sesame-problem` for whoever looks.
async fn bare(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let kind = response.headers().get(CONTENT_TYPE);
    if kind.is_none_or(|kind| kind != sesame_protocol::problem::CONTENT_TYPE) {
        return response;
    }
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(CONTENT_TYPE);
    parts.headers.remove(CONTENT_LENGTH);
    Response::from_parts(parts, Body::empty())
}
