//! One connection: TLS, HTTP/1 or HTTP/2, and its end.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::pin,
    time::{Duration, Instant},
};

use axum::{Router, body::Body, extract::ConnectInfo};
use hyper::{
    Request,
    body::Incoming,
    rt::Executor,
    service::{Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

use super::{
    Server,
    exchange::{Exchanges, Standing},
};

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How often it is looked at how a connection is doing.
const TICK: Duration = Duration::from_secs(1);

/// Bytes of a request's head, and of what is read ahead or waits to be written.
const BUFFER: usize = 64 << 10;

/// Streams of one HTTP/2 connection at a time, and those that it may have reset before they were looked at (CVE-2023-44487).
const STREAMS: u32 = 32;
const RESET_STREAMS: usize = 32;

/// Bytes that are read ahead of handlers, for one stream and for all of a connection.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;

/// How often an HTTP/2 connection is asked whether it is still there, and how long it has to say so.
const PING: Duration = Duration::from_secs(20);

/// How HTTP is spoken.
#[derive(Debug)]
pub(super) struct Protocol(Builder<Tracked>);

impl Protocol {
    /// The streams of HTTP/2 are tasks of this tracker's.
    pub(super) fn new(tasks: TaskTracker) -> Self {
        let mut builder = Builder::new(Tracked(tasks));
        // How long a head may take is the idle time's to say, which both versions have in common.
        builder.http1().header_read_timeout(None::<Duration>).max_buf_size(BUFFER);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(PING)
            .keep_alive_timeout(PING)
            .max_concurrent_streams(STREAMS)
            .max_pending_accept_reset_streams(RESET_STREAMS)
            .max_local_error_reset_streams(RESET_STREAMS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(BUFFER as u32)
            .max_send_buf_size(BUFFER);
        Self(builder)
    }
}

/// Tasks that a shutdown waits for.
#[derive(Debug, Clone)]
struct Tracked(TaskTracker);

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Tracked {
    fn execute(&self, task: F) {
        self.0.spawn(task);
    }
}

impl Server {
    /// Until the client leaves, or has to.
    pub(super) async fn serve_connection(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        acceptor: Option<TlsAcceptor>,
        router: Router,
    ) {
        // Answers are written whole: what is left of one must not wait for an acknowledgement.
        let _ = stream.set_nodelay(true);
        let Some(acceptor) = acceptor else { return self.speak(stream, peer, router).await };
        let handshake = timeout(HANDSHAKE, acceptor.accept(stream));
        match self.stop.run_until_cancelled(handshake).await {
            Some(Ok(Ok(stream))) => self.speak(stream, peer, router).await,
            Some(Ok(Err(error))) => tracing::debug!(%peer, %error, "no TLS handshake"),
            Some(Err(_)) => tracing::debug!(%peer, "the TLS handshake takes too long"),
            None => {}
        }
    }

    async fn speak<S>(&self, stream: S, peer: SocketAddr, router: Router)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let exchanges = Exchanges::new(Instant::now());
        let router = TowerToHyperService::new(router);
        let answering = exchanges.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let (exchange, router) = (answering.begin(), router.clone());
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
            async move {
                let Ok(response) = router.call(request).await;
                Ok::<_, Infallible>(exchange.answer(response, Instant::now()))
            }
        });
        let mut connection = pin!(self.protocol.0.serve_connection(TokioIo::new(stream), service));
        let (mut asked_to_end, mut idle_time) = (false, self.network.idle_time);
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(%peer, error, "a connection failed");
                    }
                    return;
                }
                () = self.cut.cancelled() => return,
                () = self.stop.cancelled(), if !asked_to_end => {}
                () = sleep(TICK) => match exchanges.standing(Instant::now(), idle_time) {
                    Standing::Busy => continue,
                    Standing::Idle if !asked_to_end => {}
                    standing @ (Standing::Idle | Standing::Slow) => {
                        tracing::debug!(%peer, ?standing, "a connection is cut");
                        return;
                    }
                }
            }
            connection.as_mut().graceful_shutdown();
            // Whoever is in the midst of a head is not waited for.
            (asked_to_end, idle_time) = (true, TICK);
        }
    }
}
