//! What a service says while it runs, its log and its traces; and that saying it holds up nothing.

use std::{
    io::{BufRead, BufReader},
    process::{Child, ChildStderr, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{Router, body::Bytes, routing::post};
use futures::future::join_all;
use reqwest::Client;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use sesame_tests::{Answer, eventually};
use tokio::{net::TcpListener, task::AbortHandle};
use tokio_util::task::TaskTracker;

use crate::{
    kills::{name, value},
    seeing::{Done, Exposition, Watched},
};

#[tokio::test]
async fn every_line_of_a_request_carries_its_id() {
    let story = Watched::new().await;
    let program = story.start(&["--log-format", "json"]).await;
    let ask = async |id: &str| {
        let request = Client::new().get(format!("{}/v1/keys", story.base()));
        let answer = Answer::to(request.header("x-request-id", id)).await;
        answer.header("x-request-id").unwrap().to_owned()
    };
    assert_eq!(ask("call-7.a_B").await, "call-7.a_B");
    let made = ask("no id: {\"}").await;
    assert!(made.len() == 32 && made.bytes().all(|c| c.is_ascii_hexdigit()), "{made}");
    assert_ne!(made, ask(&"x".repeat(65)).await);
    story.everything().await;

    let lines = eventually("all is logged", async || {
        let lines: Vec<Value> =
            program.said().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let says = |words: &str| {
            lines.iter().any(|line| line["fields"]["message"].as_str().unwrap().starts_with(words))
        };
        (says("denied bundle/all") && says("released bundle/all")).then_some(lines)
    });
    let lines = lines.await;
    let id = |line: &Value| line["spans"][0]["request.id"].as_str().map(str::to_owned);
    let of_a_request = lines.iter().filter(|line| {
        let message = line["fields"]["message"].as_str().unwrap();
        ["GET ", "PUT ", "POST ", "released ", "denied ", "attested "]
            .iter()
            .any(|start| message.starts_with(start))
    });
    let ids: Vec<_> =
        of_a_request.map(|line| id(line).unwrap_or_else(|| panic!("{line}"))).collect();
    for known in ["call-7.a_B", &made] {
        assert_eq!(ids.iter().filter(|id| *id == known).count(), 1, "{ids:?}");
    }
    // The decision's line and its request's have the same.
    let released = lines.iter().find(|line| {
        line["fields"]["message"].as_str().unwrap().starts_with("released bundle/all")
    });
    let released = id(released.unwrap()).unwrap();
    assert!(ids.iter().filter(|id| **id == released).count() >= 2, "{ids:?}");
    assert!(!program.said().contains("no id: {"), "what is no id is logged");
}

/// A bug: the log was coloured for terminals wherever it went, into files and journals too.
#[tokio::test]
async fn a_log_that_goes_to_no_terminal_is_plain_text() {
    let story = Watched::new().await;
    let program = story.start(&[]).await;
    Answer::to(Client::new().get(format!("{}/v1/keys", story.base()))).await.is_ok();
    let said = eventually("the request is logged", async || {
        let said = program.said();
        said.contains("GET /v1/keys").then_some(said)
    });
    assert!(!said.await.contains('\x1b'));
}

/// `sesame serve`, whose log is a pipe that nobody reads any more once it told where it listens.
struct Unheard {
    child: Child,
    _log: BufReader<ChildStderr>,
}

impl Unheard {
    fn start(story: &Watched) -> Self {
        let mut child = story.command(&[]).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("serving at ") {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "it does not serve");
        }
        Self { child, _log: log }
    }
}

impl Drop for Unheard {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_log_that_nobody_reads_holds_up_nothing() {
    let story = Watched::new().await;
    let mut unheard = Unheard::start(&story);
    let dropped =
        async || Exposition::of(story.get("metrics").await).value("sesame_log_lines_dropped_total");
    assert_eq!(dropped().await, 0.0);
    let (client, url) = (Client::new(), format!("{}/healthz", story.base()));
    eventually("lines are dropped", async || {
        let asking = (0..64).map(|_| async {
            for _ in 0..16 {
                Answer::to(client.get(&url)).await.is_ok();
            }
        });
        join_all(asking).await;
        (dropped().await > 0.0).then_some(())
    })
    .await;
    // The pipe is full and stays so: it goes on with what it is for.
    let before = dropped().await;
    let owner = story.owner().await;
    owner.push(&owner.secret(&name(0)), &value(0, 1)).await;
    story.release().await;
    assert!(dropped().await > before, "the pipe is read");
    story.get("readyz").await.is_ok();

    let pid = i32::try_from(unheard.child.id()).ok().and_then(Pid::from_raw).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    let ended = eventually("it ends", async || unheard.child.try_wait().unwrap()).await;
    assert!(ended.success(), "{ended}");
}

/// Takes traces, as OTLP over HTTP.
struct Collector {
    url: String,
    took: Arc<Mutex<Vec<u8>>>,
    serving: AbortHandle,
}

impl Collector {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let took = Arc::new(Mutex::new(Vec::new()));
        let into = took.clone();
        let take = async move |body: Bytes| {
            into.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&body);
        };
        let router = Router::new().route("/v1/traces", post(take));
        let serving = async move { axum::serve(listener, router).await };
        let serving = TaskTracker::new().spawn(serving).abort_handle();
        Self { url, took, serving }
    }

    fn has(&self, part: &[u8]) -> bool {
        let took = self.took.lock().unwrap_or_else(PoisonError::into_inner);
        took.windows(part.len()).any(|window| window == part)
    }
}

const TRACE: [u8; 16] = *b"\x4b\xf9\x2f\x35\x77\xb3\x4d\xa6\xa3\xce\x92\x9d\x0e\x0e\x47\x36";

#[tokio::test]
async fn traces_continue_those_of_callers_and_tell_no_secret() {
    let story = Watched::new().await;
    let collector = Collector::start().await;
    let program = story.start(&["--otlp-url", &collector.url]).await;
    story.everything().await;
    let traceparent = format!("00-{}-00f067aa0ba902b7-01", hex::encode(TRACE));
    let request = Client::new().get(format!("{}/v1/status?moon=full", story.base()));
    let request = request.header("traceparent", &traceparent).header("x-mood", "gloomy");
    Answer::to(request).await.is_ok();

    let spans: [&[u8]; 9] = [
        b"sesame-serve",
        b"GET /v1/status",
        b"PUT /v1/requesters/{address}/secrets/{name}",
        b"decision",
        b"verify",
        b"open",
        b"push",
        b"receipt",
        &TRACE,
    ];
    for span in spans {
        let shown = String::from_utf8_lossy(span);
        eventually(&format!("{shown} is traced"), async || collector.has(span).then_some(())).await;
    }
    let line = format!("trace.id={}", hex::encode(TRACE));
    program.says(&line).await;
    let key = story.world.requester.private_key();
    for private in [&value(0, 1)[..40], b"soon gone", b"moon", b"gloomy", &key.as_bytes()[2..]] {
        let shown = String::from_utf8_lossy(private);
        assert!(!collector.has(private), "{shown} is traced");
    }
    for name in ["kbs-session-id", "sesame-authorization", "eyJ"] {
        assert!(!collector.has(name.as_bytes()), "{name} is traced");
    }

    // Without it, nothing is traced, and no more than that: it is said once.
    collector.serving.abort();
    let lost = "the collector does not take traces: spans are dropped";
    eventually("it says that spans are lost", async || {
        story.get("readyz").await.is_ok();
        program.said().contains(lost).then_some(())
    })
    .await;
    for _ in 0..70 {
        story.release().await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(program.said().matches(lost).count(), 1, "{}", program.said());
}

#[tokio::test]
async fn a_task_of_a_worker_is_traced() {
    let collector = Collector::start().await;
    let done = Done::with(&["--otlp-url", &collector.url]).await;
    let task = done.task.to_string();
    for part in ["sesame-worker", "attempt", &task] {
        let sent = async || collector.has(part.as_bytes()).then_some(());
        eventually(&format!("{part} is traced"), sent).await;
    }
    let key = done.world.worker.private_key();
    assert!(!collector.has(&key.as_bytes()[2..]), "the account's key is traced");
}

#[tokio::test]
async fn without_a_collector_nothing_is_traced() {
    let story = Watched::new().await;
    let program = story.start(&[]).await;
    let traceparent = format!("00-{}-00f067aa0ba902b7-01", hex::encode(TRACE));
    let request = Client::new().get(format!("{}/v1/status", story.base()));
    Answer::to(request.header("traceparent", traceparent)).await.is_ok();
    program.says("GET /v1/status").await;
    assert!(!program.said().contains(&hex::encode(TRACE)), "{}", program.said());
}
