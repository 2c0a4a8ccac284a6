//! Connections: who may have one, for how long, and how they end.
//!
//! Each listener has a number of connections of its own; beyond it, new ones wait in the kernel's backlog, and cost this process
//! nothing. Beyond its share, a client's connection is closed at once.

mod connection;
mod exchange;
mod per_client;
mod tls;

use std::{io, net::SocketAddr, num::NonZeroUsize, sync::Arc, time::Duration};

use alloy_primitives::Address;
use axum::Router;
use futures::future::join_all;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(crate) use tls::{Tls, nothing_to_reload};
pub use tls::{TlsError, TlsFiles};

use self::{connection::Protocol, per_client::PerClient};
use crate::{
    clients::{Clients, TrustedProxy},
    router::Surfaces,
};

/// Pause after a failure to accept that the next attempt would meet as well, as when there are no descriptors left.
const PAUSE: Duration = Duration::from_secs(1);

/// Descriptors that are not for connections: databases, nodes, files.
const RESERVED_DESCRIPTORS: u64 = 512;

/// What the operator decides about connections.
#[derive(Debug, Clone)]
pub struct Network {
    /// Serve by TLS.
    pub tls: Option<TlsFiles>,
    /// Whose word about their clients is believed.
    pub trusted_proxies: Vec<TrustedProxy>,
    /// Connections that a listener has at a time.
    pub connections: NonZeroUsize,
    /// Those of them that one client may have; trusted proxies may have all.
    pub connections_per_client: NonZeroUsize,
    /// For how long a connection may be without a whole request: before the first, and between two.
    pub idle_time: Duration,
    /// How long connections have for what they are at when the service stops.
    pub drain_time: Duration,
}

impl Default for Network {
    /// No TLS, no proxies, 4096 connections and 1024 from one client, 75 s to be idle (longer than proxies keep connections) and
    /// 30 s to drain.
    fn default() -> Self {
        let of = |number| NonZeroUsize::new(number).expect("not zero");
        Self {
            tls: None,
            trusted_proxies: Vec::new(),
            connections: of(4096),
            connections_per_client: of(1024),
            idle_time: Duration::from_secs(75),
            drain_time: Duration::from_secs(30),
        }
    }
}

/// Where the service listens.
#[derive(Debug)]
pub struct Listeners {
    /// For owners and the public, and for everybody who has no listener of their own.
    pub owners: TcpListener,
    /// For enclaves, which are then served nowhere else.
    pub enclaves: Option<TcpListener>,
    /// For the operator's numbers, which are then served nowhere else.
    pub operator: Option<TcpListener>,
    /// For iExec's clients, schedulers and workers, at the root: where iExec's contracts are followed, and nowhere else.
    pub iexec: Option<TcpListener>,
}

impl From<TcpListener> for Listeners {
    fn from(owners: TcpListener) -> Self {
        Self { owners, enclaves: None, operator: None, iexec: None }
    }
}

/// A listener, and what is behind it.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: TcpListener,
    pub(crate) address: SocketAddr,
    /// What it is for, as the log says it.
    serves: &'static str,
    pub(crate) surfaces: Surfaces,
}

impl Listeners {
    /// Each with what is behind it; the first is everybody's. Owners and enclaves are served if `native` contracts are followed.
    pub(crate) fn with_surfaces(self, native: bool) -> io::Result<Vec<Listener>> {
        let shared = Surfaces {
            owners: native,
            enclaves: native && self.enclaves.is_none(),
            operator: self.operator.is_none(),
            iexec: false,
        };
        let (enclaves, operator) = (Surfaces::ENCLAVES, Surfaces::OPERATOR);
        let all = [
            (Some(self.owners), "serving", shared),
            (self.enclaves.filter(|_| native), "serving enclaves", enclaves),
            (self.operator, "serving the operator", operator),
            (self.iexec.filter(|_| !native), "serving iExec's clients", Surfaces::IEXEC),
        ];
        let listener = |(socket, serves, surfaces): (Option<TcpListener>, _, _)| {
            let socket = socket?;
            let address = socket.local_addr();
            Some(address.map(|address| Listener { socket, address, serves, surfaces }))
        };
        all.into_iter().filter_map(listener).collect()
    }
}

impl Listener {
    /// Says where it is.
    pub(crate) fn announce(&self, identity: Address, network: &Network) {
        let (serves, address) = (self.serves, self.address);
        let scheme = if network.tls.is_some() { "https" } else { "http" };
        tracing::info!(sms.identity = %identity, "{serves} at {scheme}://{address}");
        if network.tls.is_none() && !address.ip().is_loopback() {
            tracing::warn!(
                "{address} is reached from other machines, without TLS: have a proxy of yours in between, or give --tls-cert"
            );
        }
    }
}

/// What all listeners have in common.
#[derive(Debug)]
pub(crate) struct Server {
    network: Network,
    clients: Clients,
    protocol: Protocol,
    tls: Option<Arc<Tls>>,
    /// Accept nobody any more, and let go who has nothing under way.
    stop: CancellationToken,
    /// Let everybody go.
    cut: CancellationToken,
    connections: TaskTracker,
}

impl Server {
    pub(crate) fn new(
        network: Network,
        clients: Clients,
        tls: Option<Arc<Tls>>,
        stop: CancellationToken,
    ) -> Self {
        let connections = TaskTracker::new();
        let protocol = Protocol::new(connections.clone());
        let cut = CancellationToken::new();
        Self { network, clients, protocol, tls, stop, cut, connections }
    }

    /// Serves until it is stopped and all connections have ended, or had their time to.
    pub(crate) async fn serve(self, listeners: Vec<(Listener, Router)>) {
        let most = connections_at_a_time(self.network.connections.get(), listeners.len());
        let server = Arc::new(self);
        let accept = |(listener, router)| server.clone().accept(listener, router, most);
        join_all(listeners.into_iter().map(accept)).await;
        server.connections.close();
        let limit = server.network.drain_time;
        if timeout(limit, server.connections.wait()).await.is_err() {
            tracing::warn!("not everything under way ended within {} s: cut", limit.as_secs_f32());
            server.cut.cancel();
            server.connections.wait().await;
        }
    }

    async fn accept(self: Arc<Self>, listener: Listener, router: Router, most: usize) {
        let places = Arc::new(Semaphore::new(most));
        let per_client = Arc::new(PerClient::new(self.network.connections_per_client.get()));
        let next = async || {
            let place = places.clone().acquire_owned().await.expect("it is never closed");
            (place, accept_one(&listener.socket).await)
        };
        while let Some((place, (stream, peer))) = self.stop.run_until_cancelled(next()).await {
            let trusted = self.clients.trusts(peer.ip());
            let Some(counted) = per_client.admit(peer.ip(), trusted) else {
                tracing::debug!(%peer, "a client has all connections that it may have");
                continue;
            };
            let acceptor = self.tls.as_ref().map(|tls| tls.acceptor(listener.surfaces));
            let (server, router) = (self.clone(), router.clone());
            self.connections.spawn(async move {
                let _held = (place, counted);
                server.serve_connection(stream, peer, acceptor, router).await;
            });
        }
    }
}

async fn accept_one(socket: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match socket.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if is_the_clients(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "no connection can be accepted now");
                sleep(PAUSE).await;
            }
        }
    }
}

/// Who connected is gone again; the next may be there already.
fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    [ConnectionAborted, ConnectionRefused, ConnectionReset].contains(&error.kind())
}

/// How many connections each listener may have at a time, so that descriptors are left for everything else.
fn connections_at_a_time(wanted: usize, listeners: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let most = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    let raised = setrlimit(Resource::Nofile, most).is_ok();
    let descriptors = if raised { limit.maximum } else { limit.current };
    let Some(descriptors) = descriptors else { return wanted };
    let left = descriptors.saturating_sub(RESERVED_DESCRIPTORS).max(descriptors / 2);
    let each = usize::try_from(left).unwrap_or(usize::MAX) / listeners.max(1);
    if each < wanted {
        tracing::warn!(
            "{each} connections are served at a listener, not {wanted}: the process may have {descriptors} open files"
        );
    }
    each.min(wanted).max(1)
}
