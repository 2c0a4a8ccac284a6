//! Requests: how long they take, how many are open, and what they are refused for.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::MatchedPath,
    http::{Method, StatusCode},
};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use super::Named;
use crate::problem::{Code, codes};

/// The route is its template, which the router wrote; nothing of the request's own path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    method: &'static str,
    route: Arc<str>,
    status: &'static str,
}

/// Numbers of requests.
#[derive(Debug)]
pub(crate) struct Requests {
    seconds: Family<Answered, Histogram, fn() -> Histogram>,
    problems: Family<Named, Counter>,
    in_flight: Gauge,
}

/// A request that has no answer yet. One whose caller went away ends with this.
#[derive(Debug)]
#[must_use]
pub(crate) struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A millisecond to a minute.
fn buckets() -> Histogram {
    let buckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5];
    Histogram::new(buckets.into_iter().chain([1.0, 2.5, 5.0, 10.0, 30.0, 60.0]))
}

impl Requests {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let new = Self {
            seconds: Family::new_with_constructor(buckets as fn() -> Histogram),
            problems: Family::default(),
            in_flight: Gauge::default(),
        };
        for code in codes() {
            drop(new.problems.get_or_create(&[("code", code)]));
        }
        let help = "How long requests take until their answer begins";
        registry.register_with_unit("request", help, Unit::Seconds, new.seconds.clone());
        let help = "Answers that were not the ones hoped for";
        registry.register("problems", help, new.problems.clone());
        let help = "Requests that have no answer yet";
        registry.register("requests_in_flight", help, new.in_flight.clone());
        new
    }

    pub(crate) fn begin(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    /// A request has its answer.
    pub(crate) fn answered(
        &self,
        method: &Method,
        route: Option<&MatchedPath>,
        (status, problem): (StatusCode, Option<Code>),
        took: Duration,
    ) {
        let labels = Answered {
            method: method_name(method),
            route: route.map_or("unmatched", MatchedPath::as_str).into(),
            status: class(status),
        };
        self.seconds.get_or_create(&labels).observe(took.as_secs_f64());
        if let Some(code) = problem {
            self.problems.get_or_create(&[("code", code.as_str())]).inc();
        }
    }
}

/// A method may be any word.
fn method_name(method: &Method) -> &'static str {
    let known = ["GET", "HEAD", "PUT", "DELETE", "POST"];
    known.into_iter().find(|known| method == known).unwrap_or("other")
}

const fn class(status: StatusCode) -> &'static str {
    match status.as_u16() {
        ..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        500.. => "5xx",
    }
}
