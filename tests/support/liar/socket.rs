//! The proxy's WebSockets: requests are answered as over HTTP, subscriptions are the node's own.

use std::sync::Arc;

use axum::extract::ws::{Message, WebSocket};
use futures::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_tungstenite::{connect_async, tungstenite};
use tokio_util::task::TaskTracker;

use super::{
    Shared, Told,
    tale::{self, Tale},
};

/// Talks until either side, or the tale, ends it.
pub(super) async fn talk(mut client: WebSocket, shared: Arc<Shared>) {
    let url = shared.upstream.replacen("http", "ws", 1);
    let Ok((mut node, _)) = connect_async(url).await else { return };
    let (sender, mut answers) = mpsc::unbounded_channel();
    let (tasks, mut notified) = (TaskTracker::new(), 0);
    loop {
        let said = tokio::select! {
            asked = client.recv() => {
                let Some(Ok(asked)) = asked else { return };
                let Ok(text) = asked.to_text() else { continue };
                let Ok(request) = serde_json::from_str::<Value>(text) else { continue };
                if is_subscription(&request) {
                    shared.note(&request);
                    if node.send(tungstenite::Message::text(text)).await.is_err() { return }
                } else {
                    let (shared, sender) = (shared.clone(), sender.clone());
                    // Nobody waits for an answer once the socket is closed.
                    tasks.spawn(async move { drop(sender.send(shared.tell(request).await)) });
                }
                continue;
            }
            told = answers.recv() => match told {
                Some(Told::Answer(answer)) => answer.to_string(),
                Some(Told::Half(text)) => text,
                Some(Told::Nothing(_)) | None => return,
            },
            heard = node.next() => {
                let Some(Ok(heard)) = heard else { return };
                let Ok(Ok(heard)) = heard.to_text().map(serde_json::from_str) else { continue };
                let Some(heard) = passed_on(heard, shared.tale()) else { continue };
                notified += u64::from(is_notification(&heard));
                heard.to_string()
            }
        };
        if client.send(Message::text(said)).await.is_err() {
            return;
        }
        if matches!(shared.tale(), Tale::HangUp(after) if notified >= after) {
            return;
        }
    }
}

fn is_subscription(request: &Value) -> bool {
    matches!(request["method"].as_str(), Some("eth_subscribe" | "eth_unsubscribe"))
}

fn is_notification(heard: &Value) -> bool {
    heard["method"] == "eth_subscription"
}

/// What the client hears of what the node says by itself.
fn passed_on(mut heard: Value, tale: Tale) -> Option<Value> {
    if is_notification(&heard) {
        if tale == Tale::Mute {
            return None;
        }
        if tale == Tale::Phantoms {
            tale::phantom(&mut heard);
        }
    }
    Some(heard)
}
