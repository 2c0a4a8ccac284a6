//! What is served where, and what is true of every answer: a time, a line in the log, a problem in its surface's form.

use std::{sync::LazyLock, time::Duration};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderMap, Method, Uri, header::CONTENT_ENCODING},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use tokio::time::timeout;
use tower_http::catch_panic::CatchPanicLayer;
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
    overload::in_memory,
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
        let write = form.writer();
        let panics = CatchPanicLayer::custom(move |_: Panic| write(panicked()));
        let mut routes = Router::from(routes).route_layer(panics);
        if gated {
            routes = routes.route_layer(gate.layer(write));
        }
        all = all.merge(routes);
    }
    let room = service.room.clone();
    all.method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        .layer(CatchPanicLayer::custom(|_: Panic| panicked().into_response()))
        .layer(middleware::from_fn_with_state(room, in_memory))
        .layer(middleware::from_fn(unencoded))
        .layer(middleware::from_fn_with_state(request_time, in_time))
        .layer(middleware::from_fn_with_state(service.clone(), observe))
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
pub(crate) type Panic = Box<dyn std::any::Any + Send + 'static>;

pub(crate) fn panicked() -> ApiError {
    tracing::error!("a handler panicked");
    ApiError::new(Code::Internal, "The service failed to answer; its log says why.")
}

/// Bodies are taken as they are: what unfolds into more than was sent is refused unread.
pub(crate) async fn unencoded(request: Request, next: Next) -> Response {
    if is_unencoded(request.headers()) {
        return next.run(request).await;
    }
    let detail = "Send the body as it is, without a Content-Encoding.";
    in_form_of(request.uri(), ApiError::new(Code::UnsupportedEncoding, detail))
}

fn is_unencoded(headers: &HeaderMap) -> bool {
    let mut encodings = headers.get_all(CONTENT_ENCODING).iter();
    encodings.all(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// Answers for a handler that takes longer than `limit`, in the form of its surface. What the handler had handed to a
/// blocking thread goes on to its end.
pub(crate) async fn in_time(
    State(limit): State<Duration>,
    request: Request,
    next: Next,
) -> Response {
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
