//! What the node does to its answers.

use serde_json::{Value, json};

/// What the node does to its answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tale {
    /// Nothing.
    Truth,
    /// Drops the last log of every answer that has several.
    OmitOneLog,
    /// Of the logs of one contract about one thing in one block, gives the first alone: blooms and order stay plausible. Its
    /// receipts are whole.
    OmitTwins,
    /// The same, and proves nothing: it answers 503 to whoever asks for proofs.
    OmitTwinsUnproven,
    /// The same as [`Self::OmitTwins`], and its receipts lack them as well.
    OmitTwinsEverywhere,
    /// Gives no logs of this block.
    OmitBlock(u64),
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
    /// Keeps no state to prove anything by.
    NoProofs,
    /// Says that every contract takes every signature as its own.
    YesToCalls,
    /// Gives no answer to calls of contracts.
    NullCalls,
    /// Keeps no state to answer calls of contracts by.
    NoCalls,
    /// Flips a bit of the tag of every deal of PoCo's.
    AlterDeals,
    /// Flips a bit of the checksum of every app and dataset of PoCo's.
    AlterAssets,
    /// Cuts every answer off.
    Truncate,
    /// Answers 503 to this many of ten requests, and closes the WebSockets on which they came.
    Busy(u64),
    /// Answers this many of ten requests with 429, and as many with a JSON-RPC error that says the same.
    Limit(u64),
    /// Takes this many of ten requests for logs and never answers them.
    Hang(u64),
    /// Refuses ranges of logs wider than this.
    Narrow(u64),
    /// Answers batches from back to front, and over a WebSocket later requests before earlier ones.
    OutOfOrder,
    /// Takes subscriptions, and never notifies.
    Mute,
    /// Notifies of heads that do not exist.
    Phantoms,
    /// Closes a WebSocket after so many notifications.
    HangUp(u64),
}

/// `viewDeal(bytes32)`, and where the tag ends in its answer's text.
const VIEW_DEAL: &str = "0xb74861b2";
const TAG_ENDS: usize = 2 + 64 * 13;
/// `m_appChecksum()` and `m_datasetChecksum()`.
const CHECKSUMS: [&str; 2] = ["0x84aaf12e", "0x1ba99d7e"];

pub(super) fn stale(call: &mut Value, number: u64) {
    if call["method"] == "eth_getBlockByNumber" {
        let asked = call["params"][0].as_str().unwrap_or_default();
        let height = u64::from_str_radix(asked.trim_start_matches("0x"), 16).unwrap_or(u64::MAX);
        call["params"][0] = json!(format!("{:#x}", height.min(number)));
    }
}

pub(super) fn number(value: &Value) -> u64 {
    let digits = value.as_str().unwrap_or_default().trim_start_matches("0x");
    u64::from_str_radix(digits, 16).unwrap_or_default()
}

/// A head far ahead, which hashes to nothing.
pub(super) fn phantom(notification: &mut Value) {
    let head = &mut notification["params"]["result"];
    head["number"] = json!(format!("{:#x}", number(&head["number"]) + 1000));
    head["hash"] = flipped(&head["hash"]);
    head["parentHash"] = flipped(&head["parentHash"]);
}

pub(super) fn spoil(tale: Tale, call: &Value, answer: &mut Value, newest: u64) {
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
    if (tale, method) == (Tale::NoProofs, "eth_getProof") {
        let error = json!({"code": -32000, "message": "missing trie node"});
        *answer = json!({"jsonrpc": "2.0", "id": answer["id"], "error": error});
    }
    if (tale, method) == (Tale::YesToCalls, "eth_call") {
        let yes = format!("0x1626ba7e{}", "0".repeat(56));
        *answer = json!({"jsonrpc": "2.0", "id": answer["id"], "result": yes});
    }
    if (tale, method) == (Tale::NoCalls, "eth_call") {
        let error = json!({"code": -32000, "message": "missing trie node"});
        *answer = json!({"jsonrpc": "2.0", "id": answer["id"], "error": error});
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
        "eth_call" if tale == Tale::NullCalls => *result = Value::Null,
        "eth_call" if tale == Tale::AlterDeals && calls(call, &[VIEW_DEAL]) => {
            flip(result, TAG_ENDS);
        }
        "eth_call" if tale == Tale::AlterAssets && calls(call, &CHECKSUMS) => flip(result, 66),
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
        Tale::OmitTwins | Tale::OmitTwinsUnproven | Tale::OmitTwinsEverywhere => omit_twins(logs),
        Tale::OmitBlock(block) => logs.retain(|log| number(&log["blockNumber"]) != block),
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

fn omit_twins(logs: &mut Vec<Value>) {
    let mut seen = Vec::new();
    logs.retain(|log| {
        let kind = [&log["blockNumber"], &log["address"], &log["topics"][0]].map(Value::to_string);
        let new = !seen.contains(&kind);
        seen.push(kind);
        new
    });
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
        Tale::OmitTwinsEverywhere => {
            for receipt in receipts {
                if let Some(logs) = receipt["logs"].as_array_mut() {
                    omit_twins(logs);
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

/// Whether it calls one of these functions.
fn calls(call: &Value, selectors: &[&str]) -> bool {
    let called = &call["params"][0];
    let input = called["input"].as_str().or(called["data"].as_str()).unwrap_or_default();
    selectors.iter().any(|selector| input.starts_with(selector))
}

/// Flips a bit of the digit before this place.
fn flip(text: &mut Value, place: usize) {
    let said = text.as_str().unwrap_or_default().to_owned();
    if let Some((before, after)) = said.split_at_checked(place) {
        *text = json!(format!("{}{after}", flipped(&json!(before)).as_str().unwrap_or_default()));
    }
}

/// The same hexadecimal text but for its last digit's lowest bit.
fn flipped(text: &Value) -> Value {
    let mut text = text.as_str().unwrap_or("0x0").to_owned();
    let last = text.pop().and_then(|digit| digit.to_digit(16)).unwrap_or(0) ^ 1;
    text.push(char::from_digit(last, 16).unwrap_or('0'));
    json!(text)
}
