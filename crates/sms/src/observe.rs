//! What is seen of each request: a span, a line in the log, a duration. Of the request's own words only its id is taken, if that
//! is a short word: never another header, a body, a query, or the path beyond its template.

use std::time::Instant;

use alloy_primitives::{FixedBytes, hex};
use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode},
    middleware::Next,
    response::Response,
};
use opentelemetry::{
    global,
    trace::{Status, TraceContextExt as _},
};
use opentelemetry_http::HeaderExtractor;
use tracing::{Instrument as _, Span, field};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::{problem::Code, service::Shared};

/// Names a request, in its answer too.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// No id of a caller's is longer.
const LONGEST_ID: usize = 64;

pub(crate) async fn observe(
    State(service): State<Shared>,
    path: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let (begun, requests) = (Instant::now(), &service.metrics.requests);
    let method = request.method().clone();
    let id = request_id(request.headers());
    let span = span(&method, path.as_ref(), &id, request.headers());
    let _in_flight = requests.begin();
    let mut response = next.run(request).instrument(span.clone()).await;
    let (status, took) = (response.status(), begun.elapsed());
    let problem = response.extensions().get::<Code>().copied();
    requests.answered(&method, path.as_ref(), (status, problem), took);
    end(&span, status);
    span.in_scope(|| {
        tracing::info!(
            http.status = status.as_u16(),
            took_us = took.as_micros(),
            problem = problem.map(Code::as_str),
            "{method} {}",
            template(path.as_ref())
        );
    });
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

fn template(path: Option<&MatchedPath>) -> &str {
    path.map_or("unmatched", MatchedPath::as_str)
}

/// The caller's id for the request, if it is one, or a new one.
fn request_id(headers: &HeaderMap) -> String {
    let mut given = headers.get_all(REQUEST_ID).iter();
    let (first, more) = (given.next(), given.next());
    let is_sane = |id: &&str| {
        let sane = |c: u8| c.is_ascii_alphanumeric() || b"-_.".contains(&c);
        (1..=LONGEST_ID).contains(&id.len()) && id.bytes().all(sane)
    };
    let given = first.filter(|_| more.is_none()).and_then(|id| id.to_str().ok()).filter(is_sane);
    given.map_or_else(|| hex::encode(FixedBytes::<16>::random()), str::to_owned)
}

/// The request's span. It continues the caller's trace if traces are sent anywhere, and then names the trace.
fn span(method: &Method, path: Option<&MatchedPath>, id: &str, headers: &HeaderMap) -> Span {
    let span = tracing::info_span!(
        "request",
        request.id = id,
        trace.id = field::Empty,
        otel.kind = "server"
    );
    let caller = global::get_text_map_propagator(|known| known.extract(&HeaderExtractor(headers)));
    if span.set_parent(caller).is_ok() {
        span.set_attribute("http.request.method", method.to_string());
        span.set_attribute("http.route", template(path).to_owned());
        let context = span.context();
        let started = context.span();
        started.update_name(format!("{method} {}", template(path)));
        span.record("trace.id", field::display(started.span_context().trace_id()));
    }
    span
}

/// What came of it, for whoever looks at the trace.
fn end(span: &Span, status: StatusCode) {
    span.set_attribute("http.response.status_code", i64::from(status.as_u16()));
    if status.is_server_error() {
        span.set_status(Status::error(""));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id_for(given: &[&[u8]]) -> String {
        let mut headers = HeaderMap::new();
        for id in given {
            headers.append(REQUEST_ID, HeaderValue::from_bytes(id).unwrap());
        }
        request_id(&headers)
    }

    #[test]
    fn a_sane_id_is_kept() {
        for id in ["1", "7f3c-9_b.X", &"a".repeat(LONGEST_ID)] {
            assert_eq!(id_for(&[id.as_bytes()]), id);
        }
    }

    #[test]
    fn any_other_is_made_anew() {
        let long = "a".repeat(LONGEST_ID + 1);
        let others: [&[&[u8]]; 7] = [
            &[],
            &[b""],
            &[long.as_bytes()],
            &[b"two words"],
            &[b"\"quoted\""],
            &[b"\xff"],
            &[b"one", b"two"],
        ];
        for given in others {
            let id = id_for(given);
            assert!(id.len() == 32 && id.bytes().all(|c| c.is_ascii_hexdigit()), "{id}");
            assert_ne!(id, id_for(given));
        }
    }
}
