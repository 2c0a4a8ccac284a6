//! New heads as nodes announce them over WebSocket.
//!
//! An announcement is a hint that it is time to ask, and nothing else: what it says is not read. Nodes skip some, repeat some,
//! and say nothing of a reorg, so polling goes on beside it.

use std::{convert::Infallible, time::Duration};

use alloy::{
    providers::{Provider, RootProvider},
    transports::TransportError,
};
use futures::{StreamExt, stream::FuturesUnordered};
use rand::Rng;
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause before the second attempt to connect; doubles with each, up to the longest.
const PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Wakes whoever waits for a head.
#[derive(Debug, Default)]
pub(crate) struct Heads(Notify);

impl Heads {
    /// Returns when a head was announced since the last call, or after `longest`.
    pub(crate) async fn next(&self, longest: Duration) {
        // Either way it is time to ask.
        let _ = timeout(longest, self.0.notified()).await;
    }

    /// Listens to all `urls`, and goes on listening when they hang up.
    pub(crate) async fn listen(&self, urls: &[String]) -> Infallible {
        let mut listening: FuturesUnordered<_> =
            urls.iter().map(|url| self.listen_to(url)).collect();
        match listening.next().await {
            Some(never) => never,
            None => std::future::pending().await,
        }
    }

    async fn listen_to(&self, url: &str) -> Infallible {
        let mut pause = PAUSE;
        loop {
            match self.hear(url).await {
                // It was heard from: a new connection is worth an early attempt.
                Ok(true) => pause = PAUSE,
                Ok(false) => {}
                // Its causes may quote the url, which may hold a key.
                Err(Silent) => tracing::debug!("no heads are announced over WebSocket now"),
            }
            let jitter = rand::rng().random_range(0.5..1.5);
            sleep(pause.mul_f64(jitter)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Listens until the connection ends; whether anything was heard.
    async fn hear(&self, url: &str) -> Result<bool, Silent> {
        // The connection lives as long as the provider.
        let (_provider, subscription) = timeout(CONNECT_TIMEOUT, async {
            let provider: RootProvider = RootProvider::connect(url).await?;
            let subscription = provider.subscribe_blocks().await?;
            Ok::<_, TransportError>((provider, subscription))
        })
        .await
        .map_err(|_| Silent)??;
        let mut heads = subscription.into_stream();
        let mut heard = false;
        while heads.next().await.is_some() {
            heard = true;
            self.0.notify_one();
        }
        Ok(heard)
    }
}

/// The endpoint announces nothing.
struct Silent;

impl From<TransportError> for Silent {
    fn from(_: TransportError) -> Self {
        Self
    }
}
