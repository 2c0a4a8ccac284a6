//! Where iExec's story plays: PoCo on a chain, the service as a program of its own, and iExec's client.

use std::{fs, process::Command};

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use sesame_tests::{IexecClient, Node, Program, SessionStorage, deploy_poco, eventually, program};
use tempfile::TempDir;

/// What workers are told.
pub(super) const PROVISIONING: &str = "sessions.example.org:4433";

/// What happens beside the story.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weather {
    /// Nothing: a block for each transaction, at once, and each counts.
    Calm,
    /// A block a second, which the service sees with a lag and which counts when there are two more; the service is killed and the
    /// chain reorganised in between.
    Rough,
}

/// Everybody.
pub(super) struct Stage {
    pub(super) node: Node,
    /// Records what is posted. The one part of the story that is not real, with the gateway to IPFS beside it.
    pub(super) storage: SessionStorage,
    client: IexecClient,
    program: Option<Program>,
    base: String,
    weather: Weather,
    folder: TempDir,
}

/// What runs before and after the app.
pub(super) fn pipeline() -> Value {
    let part = |name: &str| {
        json!({
            "image": format!("registry.example.org/{name}:0.4"),
            "fingerprint": format!("{name}'s fingerprint"),
            "entrypoint": format!("/bin/{name}"),
            "heapSizeInBytes": 1 << 30,
        })
    };
    json!({
        "teeFramework": "TDX",
        "teeFrameworkVersion": "v0.1",
        "preComputeProperties": part("pre-compute"),
        "postComputeProperties": part("post-compute"),
    })
}

impl Stage {
    pub(super) async fn set(weather: Weather) -> Self {
        let node = Node::start();
        let poco = deploy_poco(&node).await;
        let storage = SessionStorage::start().await;
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("poco.json"), poco.to_string()).unwrap();
        fs::write(folder.path().join("pipeline.json"), pipeline().to_string()).unwrap();
        let started = Program::of(command(&node, &storage, &folder, weather, "127.0.0.1:0"));
        let base = base(&started).await;
        let client = IexecClient::start(&node, &poco, &base);
        let stage = Self { node, storage, client, program: Some(started), base, weather, folder };
        stage.blocks_by_the_clock(weather == Weather::Rough).await;
        stage.up().await;
        stage
    }

    /// The client does something.
    pub(super) async fn ok(&mut self, what: &str, how: Value) -> Value {
        let done = self.client.ask(what, how.clone()).await;
        done.unwrap_or_else(|error| panic!("{what} {how}: {error}"))
    }

    /// The client does not, and says why.
    pub(super) async fn no(&mut self, what: &str, how: Value) -> String {
        let done = self.client.ask(what, how.clone()).await;
        done.map_or_else(|error| error, |done| panic!("{what} {how}: {done}"))
    }

    /// Status and body of what the service answers.
    pub(super) async fn answer(&mut self, what: &str, how: Value) -> (u64, String) {
        let answer = self.ok(what, how).await;
        (answer["status"].as_u64().unwrap(), answer["body"].as_str().unwrap().to_owned())
    }

    /// How many receipts there are.
    pub(super) fn receipts(&self) -> usize {
        let log = fs::read(self.folder.path().join("data/receipts.log")).unwrap();
        log.iter().filter(|byte| **byte == b'\n').count()
    }

    /// Waits until the service knows what the chain knows, so that it refuses by it.
    pub(super) async fn seen(&self) {
        self.follows("head").await;
    }

    /// Waits until what the chain knows counts. In calm weather nobody has to wait.
    pub(super) async fn settled(&self) {
        if self.weather == Weather::Rough {
            self.follows("confirmed").await;
        }
    }

    async fn follows(&self, view: &str) {
        let block = self.node.head().await;
        let any = format!("{}/v1/tasks/0x{}/explain", self.base, "00".repeat(32));
        eventually("the service follows the chain", async || {
            let explained: Value = reqwest::get(&any).await.ok()?.json().await.ok()?;
            let (number, hash) = (explained[view]["number"].as_u64()?, &explained[view]["hash"]);
            let same = number == block.number && *hash == block.hash.to_string();
            (same || number > block.number).then_some(())
        })
        .await;
    }

    /// In rough weather, the service is killed and comes back.
    pub(super) async fn trouble(&mut self) {
        if self.weather == Weather::Rough {
            self.dies();
            self.comes_back().await;
        }
    }

    /// Something that the chain does; in rough weather the chain forgets it again, while the service is there or while it is not,
    /// and it has to be done once more.
    pub(super) async fn on_chain(&mut self, what: &str, how: Value, there: bool) -> Value {
        if self.weather == Weather::Rough {
            self.blocks_by_the_clock(false).await;
            self.ok(what, how.clone()).await;
            if there {
                self.seen().await;
            } else {
                self.dies();
            }
            self.node.reorg(1).await;
            if !there {
                self.comes_back().await;
            }
            self.seen().await;
            self.blocks_by_the_clock(true).await;
        }
        self.ok(what, how).await
    }

    async fn blocks_by_the_clock(&self, clock: bool) {
        let _: Value = match clock {
            true => self.node.call("evm_setIntervalMining", (1,)).await,
            false => self.node.call("evm_setAutomine", (true,)).await,
        };
    }

    fn dies(&mut self) {
        self.program.take().unwrap().kill();
    }

    async fn comes_back(&mut self) {
        let address = self.base.trim_start_matches("http://").to_owned();
        let Self { node, storage, folder, weather, .. } = self;
        let again = Program::of(command(node, storage, folder, *weather, &address));
        assert_eq!(base(&again).await, self.base);
        self.program = Some(again);
        self.up().await;
    }

    async fn up(&self) {
        let (http, health) = (Client::new(), format!("{}/actuator/health", self.base));
        eventually("the service is up", async || {
            let answer = http.get(&health).send().await.ok()?;
            (answer.status() == StatusCode::OK).then_some(())
        })
        .await;
    }
}

/// Where iExec's clients are served.
async fn base(program: &Program) -> String {
    eventually("the program serves iExec's clients", async || {
        let said = program.said();
        let (_, rest) = said.split_once("serving iExec's clients at ")?;
        Some(rest.split([' ', '"', '\n']).next()?.to_owned())
    })
    .await
}

fn command(
    node: &Node,
    storage: &SessionStorage,
    folder: &TempDir,
    weather: Weather,
    listen: &str,
) -> Command {
    let file = |name: &str| folder.path().join(name);
    let (confirmations, poll) = if weather == Weather::Rough { ("2", "500") } else { ("0", "20") };
    let mut command = Command::new(program());
    command
        .args(["serve", "--poll-ms", poll, "--listen", "127.0.0.1:0", "--iexec-listen", listen])
        .args(["--rate-limit", "1000000", "--rate-burst", "1000000"])
        .args(["--confirmations", confirmations, "--rpc-url", &node.url()])
        .args(["--iexec-session-storage", storage.url(), "--iexec-ipfs-gateway", storage.url()])
        .args(["--iexec-provisioning-url", PROVISIONING])
        .arg("--iexec-deployment")
        .arg(file("poco.json"))
        .arg("--iexec-pipeline")
        .arg(file("pipeline.json"))
        .arg("--data-dir")
        .arg(file("data"));
    command
}
