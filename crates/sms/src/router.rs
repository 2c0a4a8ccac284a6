//! What is served where, and what is true of every answer: a time, a line in the log, a problem in its surface's form.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, LazyLock},
    time::Duration,
};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderMap, Method, Uri, header::CONTENT_ENCODING},
    middleware::{self, Next},
    response::Response,
};
use futures::FutureExt as _;
use tokio::time::timeout;
use utoipa::openapi::OpenApi;
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouterExt},
    routes,
};

use crate::{
    enclave::{attest, auth, body, resource, result_key},
    limits::Gate,
    observe::observe,
    openapi,
    overload::{Room, in_memory},
    owner::{delete, head, list, put, receipts},
    problem::{ApiError, Code, Form, described},
    public,
    service::Shared,
};

static ROUTES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let paths = openapi::openapi().get("paths").and_then(|paths| paths.as_object());
    let routes = paths.into_iter().flatten().flat_map(|(path, methods)| {
        let methods = methods.as_object().into_iter().flat_map(|methods| methods.keys());
        methods.map(move |method| format!("{} {path}", method.to_uppercase()))
    });
    routes.collect()
});

/// What the service serves.
pub fn routes() -> impl Iterator<Item = &'static str> {
    ROUTES.iter().map(String::as_str)
}

/// Whom routes are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Audience {
    Everybody,
    Owners,
    Enclaves,
    Operator,
}

/// Routes that write problems in one form.
struct Surface {
    routes: OpenApiRouter<Shared>,
    audience: Audience,
    form: Form,
    /// How much one client may ask of it is bounded.
    gated: bool,
}

fn surfaces() -> [Surface; 6] {
    let of = |audience, gated, routes| {
        let form = if audience == Audience::Enclaves { Form::Kbs } else { Form::Problem };
        Surface { routes, audience, form, gated }
    };
    [
        of(Audience::Everybody, false, health()),
        of(Audience::Operator, false, numbers()),
        of(Audience::Owners, false, public_surface()),
        of(Audience::Owners, true, questions()),
        of(Audience::Owners, true, owner_surface()),
        of(Audience::Enclaves, true, enclave_surface()),
    ]
}

/// What a listener serves, beside the health of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Surfaces {
    /// The owner and the public surface.
    pub(crate) owners: bool,
    pub(crate) enclaves: bool,
    /// The operator's numbers.
    pub(crate) operator: bool,
    /// What iExec's clients ask, in place of all else: `iexec/router.rs`.
    pub(crate) iexec: bool,
}

impl Surfaces {
    const NOTHING: Self = Self { owners: false, enclaves: false, operator: false, iexec: false };
    pub(crate) const ENCLAVES: Self = Self { enclaves: true, ..Self::NOTHING };
    pub(crate) const OPERATOR: Self = Self { operator: true, ..Self::NOTHING };
    pub(crate) const IEXEC: Self = Self { iexec: true, ..Self::NOTHING };

    const fn serve(self, audience: Audience) -> bool {
        match audience {
            Audience::Everybody => true,
            Audience::Owners => self.owners,
            Audience::Enclaves => self.enclaves,
            Audience::Operator => self.operator,
        }
    }
}

pub(crate) fn router(
    service: Shared,
    request_time: Duration,
    gate: &Gate,
    served: Surfaces,
) -> Router {
    let mut all = Router::new();
    for Surface { routes, form, gated, .. } in
        surfaces().into_iter().filter(|surface| served.serve(surface.audience))
    {
        let routes = Router::from(routes);
        all = all.merge(if gated { routes.route_layer(gate.layer(form.writer())) } else { routes });
    }
    let bounds = Bounds { room: service.room.clone(), request_time };
    all.method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        .layer((
            middleware::from_fn_with_state(service.clone(), observe),
            middleware::from_fn_with_state(bounds, bounded),
        ))
        .with_state(service)
}

/// The same routes as they describe themselves.
pub(crate) fn described() -> OpenApi {
    let mut all = openapi::beginning();
    for Surface { routes, form, gated, .. } in surfaces() {
        let mut described = routes.into_openapi();
        if gated {
            described::also(&mut described, form, &[Code::TooManyRequests]);
        }
        all.merge(described);
    }
    all
}

fn health() -> OpenApiRouter<Shared> {
    OpenApiRouter::default()
        .routes(routes!(public::health::healthz))
        .routes(routes!(public::health::readyz))
}

fn numbers() -> OpenApiRouter<Shared> {
    OpenApiRouter::default().routes(routes!(public::metrics::metrics))
}

fn public_surface() -> OpenApiRouter<Shared> {
    OpenApiRouter::default()
        .routes(routes!(public::status::status))
        .routes(routes!(public::keys::keys))
        .routes(routes!(public::keys::jwks))
        .routes(routes!(public::receipts::checkpoint))
        .routes(routes!(public::receipts::tile))
        .routes(routes!(public::description::document))
        .routes(routes!(public::description::page))
}

/// What anybody may ask for, and what costs a decision or a signature each time.
fn questions() -> OpenApiRouter<Shared> {
    OpenApiRouter::default()
        .routes(routes!(public::explain::explain))
        .routes(routes!(public::settlement::settlement))
        .routes(routes!(public::receipts::key))
}

fn owner_surface() -> OpenApiRouter<Shared> {
    OpenApiRouter::default()
        .routes(routes!(put::asset, head::asset, delete::asset))
        .routes(routes!(put::requester, head::requester, delete::requester))
        .routes(routes!(list::owned))
        .routes(routes!(receipts::asset))
        .routes(routes!(receipts::requester))
}

fn enclave_surface() -> OpenApiRouter<Shared> {
    let small = || DefaultBodyLimit::max(body::MAX_SMALL);
    let attestation = || DefaultBodyLimit::max(body::MAX_ATTESTATION);
    OpenApiRouter::default()
        .routes(routes!(auth::auth).layer(small()))
        .routes(routes!(auth::auth_in_path).layer(small()))
        .routes(routes!(attest::attest).layer(attestation()))
        .routes(routes!(attest::attest_in_path).layer(attestation()))
        .routes(routes!(result_key::result_key).layer(small()))
        .routes(routes!(resource::resource))
        .routes(routes!(resource::resource_in_path))
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
pub(crate) fn in_form_of(uri: &Uri, error: ApiError) -> Response {
    Form::at(uri.path()).writer()(error)
}

/// The panic's message may hold anything, so it stays out of log and answer; its place is in the panic hook's output.
fn panicked() -> ApiError {
    tracing::error!("a handler panicked");
    ApiError::new(Code::Internal, "The service failed to answer; its log says why.")
}

/// What every request is held to.
#[derive(Debug, Clone)]
pub(crate) struct Bounds {
    /// Where its body takes memory.
    pub(crate) room: Arc<Room>,
    /// For how long it is worked on.
    pub(crate) request_time: Duration,
}

/// Refuses what goes beyond them, and answers for a handler that panics, in the form of its surface. It is one layer, since each
/// makes a refusal dearer, and refusals are what a service has to afford when too much is asked of it.
pub(crate) async fn bounded(
    State(bounds): State<Bounds>,
    request: Request,
    next: Next,
) -> Response {
    let uri = request.uri().clone();
    within(bounds, request, next).await.unwrap_or_else(|error| in_form_of(&uri, error))
}

/// What the handler had handed to a blocking thread goes on to its end, even if it takes longer.
async fn within(bounds: Bounds, request: Request, next: Next) -> Result<Response, ApiError> {
    unencoded(request.headers())?;
    let answer = AssertUnwindSafe(in_memory(&bounds.room, request, next)).catch_unwind();
    let answer = timeout(bounds.request_time, answer).await;
    answer.map_err(|_| too_late(bounds.request_time))?.unwrap_or_else(|_| Err(panicked()))
}

/// Bodies are taken as they are: what unfolds into more than was sent is refused unread.
fn unencoded(headers: &HeaderMap) -> Result<(), ApiError> {
    let mut encodings = headers.get_all(CONTENT_ENCODING).iter();
    if encodings.all(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Ok(());
    }
    let detail = "Send the body as it is, without a Content-Encoding.";
    Err(ApiError::new(Code::UnsupportedEncoding, detail))
}

fn too_late(limit: Duration) -> ApiError {
    let detail = format!(
        "No answer was ready within {} s, the time for the request's body included. What was asked for may have been done \
         nevertheless: look before you ask again.",
        limit.as_secs_f32()
    );
    ApiError::new(Code::RequestTimeout, detail)
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::StatusCode};
    use hyper::service::Service as _;
    use hyper_util::service::TowerToHyperService;

    use super::*;

    #[tokio::test]
    async fn a_handler_that_panics_is_answered_for_in_the_form_of_its_surface() {
        let panics = async || -> StatusCode { panic!("with the secret in its words") };
        let bounds = Bounds { room: Arc::new(Room::new(1, None)), request_time: Duration::MAX };
        let router = Router::new().fallback(panics);
        let router = router.layer(middleware::from_fn_with_state(bounds, bounded));
        let service = TowerToHyperService::new(router);
        for (path, content_type) in
            [("/v1/keys", "application/problem+json"), ("/kbs/v0/auth", "application/json")]
        {
            let answer =
                service.call(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
            assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
            assert_eq!(answer.headers()["content-type"], content_type);
            let body = axum::body::to_bytes(answer.into_body(), 1 << 12).await.unwrap();
            assert!(!String::from_utf8_lossy(&body).contains("secret"), "{body:?}");
        }
    }
}
