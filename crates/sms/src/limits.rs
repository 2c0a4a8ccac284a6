//! How much one client may ask for.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    num::{NonZeroU32, NonZeroUsize},
    sync::Arc,
    thread,
    time::Duration,
};

use axum::{
    body::Body,
    extract::{ConnectInfo, Request},
    http::HeaderMap,
    response::Response,
};
use governor::middleware::NoOpMiddleware;
use tokio_util::sync::CancellationToken;
use tower_governor::{
    GovernorError, GovernorLayer,
    governor::{GovernorConfig, GovernorConfigBuilder},
    key_extractor::KeyExtractor,
};

use crate::problem::{ApiError, Code};

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
    /// Who a client is.
    pub client: Client,
}

/// Who a client is, for the limits alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Client {
    /// The address that connects. An IPv6 client is its network of 64 bits, since it has all addresses in it.
    #[default]
    Peer,
    /// The last address of `X-Forwarded-For`, which the proxy before this service wrote; without one, the proxy. Whoever reaches
    /// the service around the proxy is whoever they say.
    Forwarded,
}

impl Default for Limits {
    /// 50 requests a second and 500 at once from one client; as many verifications as cores, and 64 waiting.
    fn default() -> Self {
        let cores = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Self {
            requests_per_second: NonZeroU32::new(50).expect("not zero"),
            burst: NonZeroU32::new(500).expect("not zero"),
            verifications: cores,
            verifications_waiting: 64,
            client: Client::Peer,
        }
    }
}

/// Counts the requests of each client.
#[derive(Debug, Clone)]
pub(crate) struct Gate(Arc<GovernorConfig<Client, NoOpMiddleware>>);

impl Gate {
    pub(crate) fn new(limits: &Limits) -> Self {
        let period = Duration::from_secs(1) / limits.requests_per_second.get();
        let config = GovernorConfigBuilder::default()
            .key_extractor(limits.client)
            .period(period.max(Duration::from_nanos(1)))
            .burst_size(limits.burst.get())
            .finish();
        Self(Arc::new(config.expect("neither the burst nor the period is zero")))
    }

    /// Lets a client's request through, or answers it in the form of its surface.
    pub(crate) fn layer(
        &self,
        answer: fn(ApiError) -> Response,
    ) -> GovernorLayer<Client, NoOpMiddleware, Body> {
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

impl KeyExtractor for Client {
    type Key = IpAddr;

    fn extract<T>(&self, request: &Request<T>) -> Result<IpAddr, GovernorError> {
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
        let peer = peer.ok_or(GovernorError::UnableToExtractKey)?.0.ip();
        let address = match self {
            Self::Peer => peer,
            Self::Forwarded => forwarded(request.headers()).unwrap_or(peer),
        };
        Ok(network(address))
    }
}

/// The address that the nearest proxy saw. What stands before it came from the client, who may write anything.
fn forwarded(headers: &HeaderMap) -> Option<IpAddr> {
    let last = headers.get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?;
    let address = last.rsplit(',').next()?.trim();
    address.parse().ok().or_else(|| Some(address.parse::<SocketAddr>().ok()?.ip()))
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(of: Client, peer: &str, forwarded: &[&str]) -> String {
        let mut request = Request::new(());
        let peer = SocketAddr::new(peer.parse().unwrap(), 1234);
        request.extensions_mut().insert(ConnectInfo(peer));
        for value in forwarded {
            request.headers_mut().append("x-forwarded-for", value.parse().unwrap());
        }
        of.extract(&request).unwrap().to_string()
    }

    #[test]
    fn a_client_is_who_connects_whatever_it_says() {
        assert_eq!(client(Client::Peer, "192.0.2.1", &["198.51.100.7"]), "192.0.2.1");
        assert_eq!(client(Client::Peer, "::ffff:192.0.2.1", &[]), "192.0.2.1");
        assert_eq!(client(Client::Peer, "2001:db8:1:2:3:4:5:6", &[]), "2001:db8:1:2::");
        assert!(Client::Peer.extract(&Request::new(())).is_err(), "nobody connects");
    }

    #[test]
    fn behind_a_proxy_a_client_is_the_last_that_was_forwarded() {
        let of = |forwarded: &[&str]| client(Client::Forwarded, "192.0.2.1", forwarded);
        assert_eq!(of(&["198.51.100.7"]), "198.51.100.7");
        assert_eq!(of(&["10.0.0.1, 198.51.100.7"]), "198.51.100.7");
        assert_eq!(of(&["10.0.0.1", "10.0.0.2 ,198.51.100.7:99"]), "198.51.100.7");
        assert_eq!(of(&["[2001:db8:1:2::9]:99"]), "2001:db8:1:2::");
        for nothing in [&[][..], &[""], &["198.51.100.7,"], &["198.51.100.7, unknown"]] {
            assert_eq!(of(nothing), "192.0.2.1", "{nothing:?}");
        }
    }
}
