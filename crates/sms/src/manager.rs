//! What the program that started this one is told, if it listens: systemd, for a unit of `Type=notify` with a watchdog (sd_notify(3)).

use std::{net::SocketAddr, time::Duration};

use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

/// Requests are answered from now on, though not all with yes: the index may still have to catch up.
pub(crate) fn serving(address: SocketAddr) {
    tell(&[NotifyState::Ready, NotifyState::Status(&format!("serving at {address}"))]);
}

/// No new request is taken from now on.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("ending what was begun")]);
}

/// Says again and again that this program's tasks get their turn, where somebody waits for that, until it stops.
pub(crate) async fn keep_alive(stop: CancellationToken) {
    // Twice in the time after which the program would be taken for dead.
    let Some(pause) = sd_notify::watchdog_enabled().map(|limit| limit / 2) else { return };
    let mut turn = tokio::time::interval(pause.max(Duration::from_millis(1)));
    while stop.run_until_cancelled(turn.tick()).await.is_some() {
        tell(&[NotifyState::Watchdog]);
    }
}

/// Nobody listens where `NOTIFY_SOCKET` is not set, and nobody who does can be helped.
fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}
