//! A node that lies: an HTTP proxy in front of an honest one, which alters what it answers.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use axum::{Json, Router, extract::State, http::StatusCode, response::IntoResponse, routing::post};
use reqwest::Client;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use tokio_util::task::TaskTracker;

/// What the node does to its answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tale {
    /// Nothing.
    Truth,
    /// Drops the last log of every answer that has several.
    OmitOneLog,
    /// Says that there are no logs at all.
    NoLogs,
    /// Has no logs of its newest block yet, nor receipts.
    LogsLag,
    /// Drops the logs of every other block.
    DropBlocks,
    /// Repeats a log under another index.
    FabricateLog,
    /// Flips a bit of a log's data.
    AlterData,
    /// Flips a bit of a log's second topic.
    AlterTopic,
    /// Swaps the first two logs' contents.
    Reorder,
    /// Flips a bit in every receipt's first log.
    AlterReceipts,
    /// Drops a block's last receipt.
    OmitReceipt,
    /// Says that this block is its newest.
    StaleHead(u64),
    /// Alters a header's timestamp.
    AlterHeader,
    /// Has no blocks.
    NullBlocks,
    /// Alters the value that a proof should prove.
    AlterProof,
    /// Cuts every answer off.
    Truncate,
    /// Answers 503 to this many of ten requests.
    Busy(u64),
    /// Refuses ranges of logs wider than this.
    Narrow(u64),
}

/// The proxy. Gone when dropped.
#[derive(Debug)]
pub struct Liar {
    url: String,
    tale: watch::Sender<Tale>,
    running: JoinHandle<()>,
}

struct Shared {
    upstream: String,
    http: Client,
    tale: watch::Receiver<Tale>,
    requests: AtomicU64,
}

impl Liar {
    /// A proxy in front of the node at `upstream`.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn before(upstream: String, tale: Tale) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let url = format!("http://{}", listener.local_addr().expect("it listens"));
        let (tale, heard) = watch::channel(tale);
        let shared =
            Shared { upstream, http: Client::new(), tale: heard, requests: AtomicU64::new(0) };
        let router = Router::new().route("/", post(answer)).with_state(Arc::new(shared));
        let running = TaskTracker::new().spawn(async move {
            axum::serve(listener, router).await.expect("the proxy serves");
        });
        Self { url, tale, running }
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// From now on it tells this.
    pub fn tell(&self, tale: Tale) {
        self.tale.send_replace(tale);
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.running.abort();
    }
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    Json(mut request): Json<Value>,
) -> axum::response::Response {
    let tale = *shared.tale.borrow();
    let count = shared.requests.fetch_add(1, Ordering::SeqCst);
    if matches!(tale, Tale::Busy(tenths) if count * 7 % 10 < tenths) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    if let Tale::StaleHead(number) = tale {
        each(&mut request, |call| stale(call, number));
    }
    let sent = shared.http.post(&shared.upstream).json(&request).send().await;
    let Ok(answer) = sent else { return StatusCode::BAD_GATEWAY.into_response() };
    let Ok(mut answer) = answer.json::<Value>().await else {
        return StatusCode::BAD_GATEWAY.into_response();
    };
    let newest = newest(&shared, tale).await;
    let mut calls = Vec::new();
    each(&mut request, |call| calls.push(call.clone()));
    each(&mut answer, |answer| {
        let call = calls.iter().find(|call| call["id"] == answer["id"]);
        if let Some(call) = call {
            spoil(tale, call, answer, newest);
        }
    });
    if tale == Tale::Truncate {
        let text = answer.to_string();
        return text[..text.len() / 2].to_owned().into_response();
    }
    Json(answer).into_response()
}

/// One call or answer, or each of a batch.
fn each(value: &mut Value, mut change: impl FnMut(&mut Value)) {
    if let Value::Array(batch) = value {
        batch.iter_mut().for_each(change);
    } else {
        change(value);
    }
}

fn stale(call: &mut Value, number: u64) {
    if call["method"] == "eth_getBlockByNumber" {
        let asked = call["params"][0].as_str().unwrap_or_default();
        let height = u64::from_str_radix(asked.trim_start_matches("0x"), 16).unwrap_or(u64::MAX);
        call["params"][0] = json!(format!("{:#x}", height.min(number)));
    }
}

async fn newest(shared: &Shared, tale: Tale) -> u64 {
    if tale != Tale::LogsLag {
        return 0;
    }
    let call = json!({"jsonrpc": "2.0", "id": 0, "method": "eth_blockNumber", "params": []});
    let answer = shared.http.post(&shared.upstream).json(&call).send().await;
    let Ok(answer) = answer else { return 0 };
    number(&answer.json::<Value>().await.unwrap_or_default()["result"])
}

fn number(value: &Value) -> u64 {
    let digits = value.as_str().unwrap_or_default().trim_start_matches("0x");
    u64::from_str_radix(digits, 16).unwrap_or_default()
}

fn spoil(tale: Tale, call: &Value, answer: &mut Value, newest: u64) {
    let method = call["method"].as_str().unwrap_or_default();
    if let (Tale::Narrow(width), "eth_getLogs") = (tale, method) {
        let filter = &call["params"][0];
        if number(&filter["toBlock"]) - number(&filter["fromBlock"]) >= width {
            let error =
                json!({"code": -32005, "message": "query returned more than 10000 results"});
            *answer = json!({"jsonrpc": "2.0", "id": answer["id"], "error": error});
        }
        return;
    }
    let Some(result) = answer.get_mut("result") else { return };
    match method {
        "eth_getLogs" => {
            if let Some(logs) = result.as_array_mut() {
                spoil_logs(tale, logs, newest);
            }
        }
        "eth_getBlockReceipts" => spoil_receipts(tale, result, newest),
        "eth_getBlockByNumber" if tale == Tale::NullBlocks => *result = Value::Null,
        "eth_getBlockByNumber" if tale == Tale::AlterHeader && result.is_object() => {
            result["timestamp"] = json!("0x1");
        }
        "eth_getProof" if tale == Tale::AlterProof => {
            result["storageProof"][0]["value"] = json!("0x1234");
        }
        _ => {}
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "every other tale leaves these alone")]
fn spoil_logs(tale: Tale, logs: &mut Vec<Value>, newest: u64) {
    match tale {
        Tale::OmitOneLog if logs.len() > 1 => drop(logs.pop()),
        Tale::NoLogs => logs.clear(),
        Tale::LogsLag => logs.retain(|log| number(&log["blockNumber"]) < newest),
        Tale::DropBlocks => logs.retain(|log| number(&log["blockNumber"]).is_multiple_of(2)),
        Tale::FabricateLog => {
            if let Some(mut log) = logs.last().cloned() {
                log["logIndex"] = json!(format!("{:#x}", number(&log["logIndex"]) + 1));
                logs.push(log);
            }
        }
        Tale::AlterData => {
            let with_data =
                |log: &&mut Value| log["data"].as_str().is_some_and(|data| data != "0x");
            if let Some(log) = logs.iter_mut().find(with_data) {
                log["data"] = flipped(&log["data"]);
            }
        }
        Tale::AlterTopic => {
            if let Some(log) = logs.first_mut() {
                log["topics"][1] = flipped(&log["topics"][1]);
            }
        }
        Tale::Reorder => {
            if let [first, second, ..] = logs.as_mut_slice() {
                for field in ["topics", "data", "address"] {
                    std::mem::swap(&mut first[field], &mut second[field]);
                }
            }
        }
        _ => {}
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "every other tale leaves these alone")]
fn spoil_receipts(tale: Tale, result: &mut Value, newest: u64) {
    let Some(receipts) = result.as_array_mut() else { return };
    match tale {
        Tale::AlterReceipts => {
            for receipt in receipts {
                if receipt["logs"][0].is_object() {
                    receipt["logs"][0]["topics"][0] = flipped(&receipt["logs"][0]["topics"][0]);
                }
            }
        }
        Tale::OmitReceipt => drop(receipts.pop()),
        Tale::LogsLag if receipts.first().is_some_and(|r| number(&r["blockNumber"]) == newest) => {
            *result = Value::Null;
        }
        _ => {}
    }
}

/// The same hexadecimal text but for its last digit's lowest bit.
fn flipped(text: &Value) -> Value {
    let mut text = text.as_str().unwrap_or("0x0").to_owned();
    let last = text.pop().and_then(|digit| digit.to_digit(16)).unwrap_or(0) ^ 1;
    text.push(char::from_digit(last, 16).unwrap_or('0'));
    json!(text)
}
