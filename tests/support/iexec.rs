//! iExec's part of a story: PoCo's contracts on a node, iExec's own client, and what stands in for the storage of sessions.

use std::{
    collections::BTreeMap,
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Json, Router,
    extract::{Path as UrlPath, State},
    http::StatusCode,
    routing::{get, post},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    net::TcpListener,
    process::{Child, ChildStdin, ChildStdout, Command},
    task::JoinHandle,
};
use tokio_util::task::TaskTracker;

use crate::{Node, ROOT};

const HINT: &str = "run script/setup";

fn script(name: &str) -> Command {
    let folder = Path::new(ROOT).join("tests/iexec");
    assert!(folder.join("node_modules/@iexec/poco").exists(), "PoCo is not there: {HINT}");
    let mut command = Command::new("node");
    command.arg(folder.join(name)).kill_on_drop(true);
    command
}

/// Deploys PoCo's contracts, and gives the manifest that the service takes.
///
/// # Panics
/// When it fails.
pub async fn deploy_poco(node: &Node) -> Value {
    let ended = script("deploy.mjs").arg(node.url()).stderr(Stdio::inherit()).output().await;
    let ended = ended.unwrap_or_else(|error| panic!("node cannot be started ({error}): {HINT}"));
    assert!(ended.status.success(), "PoCo cannot be deployed");
    serde_json::from_slice(&ended.stdout).expect("it prints JSON")
}

/// iExec's own client, and its people: `developer`, `owner`, `scheduler`, `worker`, `requester`, `buyer` and `stranger`. Gone when
/// dropped.
#[derive(Debug)]
pub struct IexecClient {
    _process: Child,
    commands: ChildStdin,
    outcomes: Lines<BufReader<ChildStdout>>,
}

impl IexecClient {
    /// For the contracts of this manifest and a service at this URL.
    ///
    /// # Panics
    /// When node is not installed.
    #[must_use]
    pub fn start(node: &Node, poco: &Value, sms: &str) -> Self {
        let mut process = script("client.mjs")
            .args([&node.url(), poco["hub"].as_str().expect("a manifest has a hub"), sms])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("node cannot be started ({error}): {HINT}"));
        let commands = process.stdin.take().expect("it is piped");
        let outcomes = process.stdout.take().expect("it is piped");
        Self { _process: process, commands, outcomes: BufReader::new(outcomes).lines() }
    }

    /// Has it do something; `tests/iexec/client.mjs` says what there is to do.
    ///
    /// # Errors
    /// What the client throws.
    ///
    /// # Panics
    /// When it ends.
    pub async fn ask(&mut self, what: &str, mut how: Value) -> Result<Value, String> {
        how["do"] = json!(what);
        self.commands.write_all(format!("{how}\n").as_bytes()).await.expect("the client runs");
        let line = self.outcomes.next_line().await.expect("the client writes text");
        let line = line.unwrap_or_else(|| panic!("the client died over {how}"));
        let mut outcome: Value = serde_json::from_str(&line).expect("the client writes JSON");
        match outcome["error"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(outcome["ok"].take()),
        }
    }
}

/// Stands in for the storage of sessions, which records what is posted, and for a gateway to IPFS. Stops when dropped.
#[derive(Debug)]
pub struct SessionStorage {
    url: String,
    shelf: Arc<Mutex<Shelf>>,
    serving: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shelf {
    posted: Vec<Value>,
    files: BTreeMap<String, Value>,
}

type Shared = State<Arc<Mutex<Shelf>>>;

impl SessionStorage {
    /// On a free port of this machine.
    ///
    /// # Panics
    /// When there is none.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let url = format!("http://{}", listener.local_addr().expect("it listens"));
        let shelf = Arc::default();
        let routes = Router::new()
            .route("/session", post(keep))
            .route("/ipfs/{cid}", get(file))
            .with_state(Arc::clone(&shelf));
        let serving = async move { axum::serve(listener, routes).await.expect("it serves") };
        Self { url, shelf, serving: TaskTracker::new().spawn(serving) }
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The sessions that were posted since this was asked last.
    #[must_use]
    pub fn take(&self) -> Vec<Value> {
        std::mem::take(&mut locked(&self.shelf).posted)
    }

    /// Has a file on IPFS from now on.
    pub fn publish(&self, cid: &str, content: Value) {
        locked(&self.shelf).files.insert(cid.to_owned(), content);
    }
}

impl Drop for SessionStorage {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn keep(State(shelf): Shared, Json(session): Json<Value>) -> StatusCode {
    locked(&shelf).posted.push(session);
    StatusCode::CREATED
}

async fn file(
    State(shelf): Shared,
    UrlPath(cid): UrlPath<String>,
) -> Result<Json<Value>, StatusCode> {
    locked(&shelf).files.get(&cid).cloned().map(Json).ok_or(StatusCode::NOT_FOUND)
}

fn locked(shelf: &Mutex<Shelf>) -> MutexGuard<'_, Shelf> {
    shelf.lock().unwrap_or_else(PoisonError::into_inner)
}
