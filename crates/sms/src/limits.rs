//! How much one client may ask for.

use std::{
    net::{IpAddr, SocketAddr},
    num::{NonZeroU32, NonZeroUsize},
    sync::Arc,
    thread,
    time::Duration,
};

use axum::{
    body::Body,
    extract::{ConnectInfo, Request},
    response::Response,
};
use governor::middleware::NoOpMiddleware;
use tokio_util::sync::CancellationToken;
use tower_governor::{
    GovernorError, GovernorLayer,
    governor::{GovernorConfig, GovernorConfigBuilder},
    key_extractor::KeyExtractor,
};

use crate::{
    clients::Clients,
    problem::{ApiError, Code},
};

/// How often clients that asked for nothing lately are forgotten.
const FORGET: Duration = Duration::from_secs(60);

/// What the operator grants to strangers. The limits are per replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Requests a second that one client may send to the owner and the enclave surface, and that cost a decision or a signature
    /// on the public one, on average.
    pub requests_per_second: NonZeroU32,
    /// How many it may send at once.
    pub burst: NonZeroU32,
    /// Enclaves verified at a time.
    pub verifications: NonZeroUsize,
    /// Enclaves that may wait to be verified.
    pub verifications_waiting: usize,
    /// Requests that may be worked on at a time, those that wait for memory included. More wait in line.
    pub in_flight: NonZeroUsize,
}

/// Requests that one core may be busy with: enough for it to have work at any time, and few enough for the last of them to be
/// answered soon.
const IN_FLIGHT_PER_CORE: NonZeroUsize = NonZeroUsize::new(4).expect("not zero");

impl Default for Limits {
    /// 50 requests a second and 500 at once from one client; a verification for each core, and 64 waiting; 4 requests in flight
    /// for each core.
    fn default() -> Self {
        Self {
            requests_per_second: NonZeroU32::new(50).expect("not zero"),
            burst: NonZeroU32::new(500).expect("not zero"),
            verifications: cores(),
            verifications_waiting: 64,
            in_flight: cores().saturating_mul(IN_FLIGHT_PER_CORE),
        }
    }
}

/// Processors that this program has.
pub(crate) fn cores() -> NonZeroUsize {
    thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// Counts the requests of each client.
#[derive(Debug, Clone)]
pub(crate) struct Gate(Arc<GovernorConfig<Clients, NoOpMiddleware>>);

impl Gate {
    pub(crate) fn new(limits: &Limits, clients: Clients) -> Self {
        let period = Duration::from_secs(1) / limits.requests_per_second.get();
        let config = GovernorConfigBuilder::default()
            .key_extractor(clients)
            .period(period.max(Duration::from_nanos(1)))
            .burst_size(limits.burst.get())
            .finish();
        Self(Arc::new(config.expect("neither the burst nor the period is zero")))
    }

    /// Lets a client's request through, or answers it in the form of its surface.
    pub(crate) fn layer(
        &self,
        answer: fn(ApiError) -> Response,
    ) -> GovernorLayer<Clients, NoOpMiddleware, Body> {
        GovernorLayer::new(self.0.clone()).error_handler(move |error| answer(refusal(&error)))
    }

    /// Forgets idle clients now and then, so that strangers cannot fill the memory.
    pub(crate) async fn forget_idle(self, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(FORGET)).await.is_some() {
            self.0.limiter().retain_recent();
            self.0.limiter().shrink_to_fit();
        }
    }
}

fn refusal(error: &GovernorError) -> ApiError {
    match error {
        GovernorError::TooManyRequests { wait_time, .. } => {
            let detail = "Too many requests from this address: ask less often.";
            ApiError::new(Code::TooManyRequests, detail).retry_after((*wait_time).max(1))
        }
        GovernorError::UnableToExtractKey | GovernorError::Other { .. } => {
            ApiError::internal(error)
        }
    }
}

impl KeyExtractor for Clients {
    type Key = IpAddr;

    fn extract<T>(&self, request: &Request<T>) -> Result<IpAddr, GovernorError> {
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
        let peer = peer.ok_or(GovernorError::UnableToExtractKey)?.0.ip();
        Ok(self.who(peer, request.headers()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_nobody_sent_has_no_client() {
        assert!(Clients::default().extract(&Request::new(())).is_err());
    }
}
