//! A node that lies: a proxy in front of an honest one, over HTTP and WebSocket, which alters what it answers.

mod socket;
mod tale;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{State, WebSocketUpgrade},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use reqwest::Client;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle, time::sleep};
use tokio_util::task::TaskTracker;

pub use tale::Tale;

/// How much later every other answer comes when they come out of order.
const LATER: Duration = Duration::from_millis(30);

/// The proxy. Gone when dropped.
#[derive(Debug)]
pub struct Liar {
    address: String,
    shared: Arc<Shared>,
    tale: watch::Sender<Tale>,
    running: JoinHandle<()>,
}

/// A request that came: method and parameters.
#[derive(Debug)]
struct Asked {
    method: String,
    params: Value,
}

#[derive(Debug)]
struct Shared {
    upstream: String,
    http: Client,
    tale: watch::Receiver<Tale>,
    requests: AtomicU64,
    asked: Mutex<Vec<Asked>>,
    sockets: TaskTracker,
}

/// What comes of a request.
enum Told {
    Answer(Value),
    /// An answer that ends in the middle.
    Half(String),
    Nothing(StatusCode),
}

impl Liar {
    /// A proxy in front of the node whose HTTP endpoint is `upstream`.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn before(upstream: String, tale: Tale) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it listens").to_string();
        let (tale, heard) = watch::channel(tale);
        let shared = Arc::new(Shared {
            upstream,
            http: Client::new(),
            tale: heard,
            requests: AtomicU64::new(0),
            asked: Mutex::default(),
            sockets: TaskTracker::new(),
        });
        let router = Router::new().route("/", post(answer).get(upgrade)).with_state(shared.clone());
        let running = TaskTracker::new().spawn(async move {
            axum::serve(listener, router).await.expect("the proxy serves");
        });
        Self { address, shared, tale, running }
    }

    /// Where it listens for HTTP.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens for WebSockets.
    #[must_use]
    pub fn ws_url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// From now on it tells this.
    pub fn tell(&self, tale: Tale) {
        self.tale.send_replace(tale);
    }

    /// The parameters of every request for `method` so far, in the order in which they came.
    #[must_use]
    pub fn asked(&self, method: &str) -> Vec<Value> {
        let asked = self.shared.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.iter().filter(|asked| asked.method == method).map(|one| one.params.clone()).collect()
    }

    /// How many WebSockets are open.
    #[must_use]
    pub fn sockets(&self) -> usize {
        self.shared.sockets.len()
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.running.abort();
    }
}

async fn answer(State(shared): State<Arc<Shared>>, Json(request): Json<Value>) -> Response {
    match shared.tell(request).await {
        Told::Answer(answer) => Json(answer).into_response(),
        Told::Half(text) => text.into_response(),
        Told::Nothing(status) => status.into_response(),
    }
}

async fn upgrade(State(shared): State<Arc<Shared>>, upgrade: WebSocketUpgrade) -> Response {
    let tracker = shared.sockets.clone();
    upgrade.on_upgrade(move |client| tracker.track_future(socket::talk(client, shared)))
}

impl Shared {
    fn tale(&self) -> Tale {
        *self.tale.borrow()
    }

    fn note(&self, request: &Value) {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        each(&mut request.clone(), |call| {
            let method = call["method"].as_str().unwrap_or_default().to_owned();
            asked.push(Asked { method, params: call["params"].clone() });
        });
    }

    /// One call or a batch, sent to the node, and what the tale makes of the answer.
    async fn tell(&self, mut request: Value) -> Told {
        self.note(&request);
        let tale = self.tale();
        let count = self.requests.fetch_add(1, Ordering::SeqCst);
        if matches!(tale, Tale::Busy(tenths) if count * 7 % 10 < tenths) {
            return Told::Nothing(StatusCode::SERVICE_UNAVAILABLE);
        }
        if tale == Tale::OmitTwinsUnproven && asks_for(&request, &["eth_getProof"]) {
            return Told::Nothing(StatusCode::SERVICE_UNAVAILABLE);
        }
        if matches!(tale, Tale::Limit(tenths) if count * 7 % 10 < tenths) {
            return Told::Nothing(StatusCode::TOO_MANY_REQUESTS);
        }
        if matches!(tale, Tale::Limit(tenths) if count * 7 % 10 < 2 * tenths) {
            each(&mut request, |call| {
                let error = json!({"code": -32005, "message": "rate limit exceeded"});
                *call = json!({"jsonrpc": "2.0", "id": call["id"], "error": error});
            });
            return Told::Answer(request);
        }
        if matches!(tale, Tale::Hang(tenths) if count * 7 % 10 < tenths)
            && asks_for(&request, &["eth_getLogs", "eth_getBlockReceipts"])
        {
            std::future::pending::<()>().await;
        }
        if let Tale::StaleHead(number) = tale {
            each(&mut request, |call| tale::stale(call, number));
        }
        let Some(mut answer) = self.ask(&request).await else {
            return Told::Nothing(StatusCode::BAD_GATEWAY);
        };
        let newest = if tale == Tale::LogsLag { self.newest().await } else { 0 };
        let mut calls = Vec::new();
        each(&mut request, |call| calls.push(call.clone()));
        each(&mut answer, |answer| {
            if let Some(call) = calls.iter().find(|call| call["id"] == answer["id"]) {
                tale::spoil(tale, call, answer, newest);
            }
        });
        if tale == Tale::OutOfOrder {
            if let Value::Array(batch) = &mut answer {
                batch.reverse();
            }
            sleep(LATER * u32::from(count.is_multiple_of(2))).await;
        }
        if tale == Tale::Truncate {
            let text = answer.to_string();
            return Told::Half(text[..text.len() / 2].to_owned());
        }
        Told::Answer(answer)
    }

    async fn ask(&self, request: &Value) -> Option<Value> {
        let answer = self.http.post(&self.upstream).json(request).send().await.ok()?;
        answer.json().await.ok()
    }

    async fn newest(&self) -> u64 {
        let call = json!({"jsonrpc": "2.0", "id": 0, "method": "eth_blockNumber", "params": []});
        self.ask(&call).await.map_or(0, |answer| tale::number(&answer["result"]))
    }
}

fn asks_for(request: &Value, methods: &[&str]) -> bool {
    let mut found = false;
    each(&mut request.clone(), |call| {
        found |= call["method"].as_str().is_some_and(|method| methods.contains(&method));
    });
    found
}

/// One call or answer, or each of a batch.
fn each(value: &mut Value, mut change: impl FnMut(&mut Value)) {
    if let Value::Array(batch) = value {
        batch.iter_mut().for_each(change);
    } else {
        change(value);
    }
}
