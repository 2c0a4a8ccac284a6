//! Where the service listens, and what it takes of connections.

use std::{
    net::SocketAddr,
    num::{NonZeroU64, NonZeroUsize},
    path::PathBuf,
    time::Duration,
};

use anyhow::Context as _;
use clap::Args;
use sesame_sms::{Listeners, Network, TlsFiles, TrustedProxy};
use tokio::net::TcpListener;

#[derive(Debug, Args)]
#[command(next_help_heading = "Network")]
pub(crate) struct NetworkArgs {
    /// Where to listen; port 0 takes any free one and logs it.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Where to listen for enclaves; /kbs is then served there and not at --listen.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen_enclave: Option<SocketAddr>,
    /// Where to listen for the operator; /metrics is then served there and not at --listen.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen_operator: Option<SocketAddr>,
    /// Serve by TLS, with the certificate in this file (PEM, those between it and its root after it). Looked at every few seconds
    /// and at SIGHUP; what cannot be used is logged, and the certificate before stays.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The key of that certificate (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Only clients with a certificate under one of these roots (PEM) get in at --listen-operator.
    #[arg(long, value_name = "FILE", requires_all = ["tls_cert", "listen_operator"])]
    operator_client_ca: Option<PathBuf>,
    /// A network of proxies of yours, or one address; may be repeated. Whoever connects from there is not the client: that is the
    /// last address in X-Forwarded-For that is in none of these networks. Others' X-Forwarded-For is not looked at.
    #[arg(long, value_name = "CIDR")]
    trusted_proxy: Vec<TrustedProxy>,
    /// How many connections a listener has at a time; more wait until one ends.
    #[arg(long, value_name = "N", default_value_t = Network::default().connections)]
    max_connections: NonZeroUsize,
    /// How many of them one client may have; more are closed at once. Trusted proxies may have all.
    #[arg(long, value_name = "N", default_value_t = Network::default().connections_per_client)]
    max_connections_per_client: NonZeroUsize,
    /// For how long a connection may be without a whole request, in seconds: before the first and between two.
    #[arg(long, value_name = "SECONDS", default_value_t = seconds(Network::default().idle_time))]
    idle_time_s: NonZeroU64,
    /// How long requests under way may take to end when the service stops, in seconds; then their connections are cut.
    #[arg(long, value_name = "SECONDS", default_value_t = Network::default().drain_time.as_secs())]
    drain_timeout_s: u64,
}

fn seconds(time: Duration) -> NonZeroU64 {
    NonZeroU64::new(time.as_secs()).unwrap_or(NonZeroU64::MIN)
}

impl NetworkArgs {
    /// Listens, and where iExec's clients are served, for them.
    pub(crate) async fn listeners(&self, iexec: Option<SocketAddr>) -> anyhow::Result<Listeners> {
        Ok(Listeners {
            owners: bind(self.listen).await?,
            enclaves: bind_if(self.listen_enclave).await?,
            operator: bind_if(self.listen_operator).await?,
            iexec: bind_if(iexec).await?,
        })
    }

    pub(crate) fn network(self) -> Network {
        let files = self.tls_cert.zip(self.tls_key);
        let tls = files.map(|(certificate, key)| TlsFiles {
            certificate,
            key,
            operator_client_ca: self.operator_client_ca,
        });
        Network {
            tls,
            trusted_proxies: self.trusted_proxy,
            connections: self.max_connections,
            connections_per_client: self.max_connections_per_client,
            idle_time: Duration::from_secs(self.idle_time_s.get()),
            drain_time: Duration::from_secs(self.drain_timeout_s),
        }
    }
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).await;
    listener.with_context(|| format!("cannot listen at {address}"))
}

async fn bind_if(address: Option<SocketAddr>) -> anyhow::Result<Option<TcpListener>> {
    let Some(address) = address else { return Ok(None) };
    bind(address).await.map(Some)
}
