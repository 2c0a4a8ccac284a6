//! A result on its way from the app to whom it is for, by the worker and the command line alone: apps and data through a gateway,
//! ciphertext on disk and in storage, checked against the chain at its end.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use age::{secrecy::ExposeSecret, x25519::Identity};
use alloy::primitives::B256;
use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    http::StatusCode,
    routing::get,
};
use serde_json::Value;
use sesame_attestation::simulated::{Imitated, enclave_id_of, measure};
use sesame_chain::Content;
use sesame_client::owner::PushOptions;
use sesame_domain::{AssetId, Order, SecretId, TaskId, TaskStatus, Terms};
use sesame_tests::{World, eventually, program};
use sha2::{Digest, Sha256};
use tokio::{net::TcpListener, process::Command, task::JoinSet};

const APP_CID: &str = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi";
const DATA_CID: &str = "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWKPbdG";

const TABLE: &str = "name,age\nada,36\n";

const APP: &str = r#"#!/bin/sh
set -eu
wc -c < "$IEXEC_IN/$IEXEC_DATASET_FILENAME" > "$IEXEC_OUT/count.txt"
echo "read $(cat "$IEXEC_OUT/count.txt") bytes"
printf '{"deterministic-output-path":"%s/count.txt"}' "$IEXEC_OUT" > "$IEXEC_OUT/computed.json"
"#;

/// A gateway, and a storage for results.
#[derive(Clone, Default)]
struct Web(Arc<Mutex<BTreeMap<String, Bytes>>>);

impl Web {
    async fn start(&self, serving: &mut JoinSet<()>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let answer = async |State(web): State<Self>, Path(path): Path<String>| {
            web.0.lock().unwrap().get(&path).cloned().ok_or(StatusCode::NOT_FOUND)
        };
        let keep = async |State(web): State<Self>, Path(path): Path<String>, body: Bytes| {
            web.0.lock().unwrap().insert(path, body);
            StatusCode::CREATED
        };
        let routes = Router::new().route("/{*path}", get(answer).put(keep));
        let routes = routes.with_state(self.clone());
        serving.spawn(async move { axum::serve(listener, routes).await.unwrap() });
        base
    }

    fn put(&self, path: &str, bytes: &[u8]) {
        self.0.lock().unwrap().insert(path.to_owned(), Bytes::copy_from_slice(bytes));
    }

    fn change(&self, path: &str) {
        let mut kept = self.0.lock().unwrap();
        let bytes = kept.get_mut(path).unwrap();
        let mut changed = bytes.to_vec();
        *changed.last_mut().unwrap() ^= 1;
        *bytes = changed.into();
    }
}

/// Somebody's shell.
struct Shell<'a> {
    world: &'a World,
    folder: PathBuf,
}

impl<'a> Shell<'a> {
    fn of(world: &'a World) -> Self {
        let folder = world.folder().join("shell");
        fs::create_dir(&folder).unwrap();
        let manifest = serde_json::to_string(&world.deployment).unwrap();
        fs::write(folder.join("deployment.json"), manifest).unwrap();
        let root = folder.join("root.key");
        fs::write(&root, world.root.to_json()).unwrap();
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(&root, private).unwrap();
        Self { world, folder }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command
            .env("SESAME_PRIVATE_KEY", self.world.worker.private_key())
            .args(arguments)
            .args(["--rpc-url", &self.world.node.url(), "--deployment"])
            .arg(self.folder.join("deployment.json"))
            .current_dir(&self.folder)
            .kill_on_drop(true);
        command
    }

    fn built(name: &str) -> String {
        program().with_file_name(name).into_os_string().into_string().unwrap()
    }

    /// A worker with these options more.
    fn worker(&self, options: &[&str]) -> tokio::process::Child {
        let sms = self.world.sms.identity.to_string();
        let (quoter, launcher) =
            (Self::built("sesame-simulated-tee"), Self::built("sesame-enclave"));
        let arguments =
            ["worker", "--poll-ms", "100", "--work-dir", "work", "--root-key", "root.key"];
        let tee = ["--quoter", &quoter, "--launcher", &launcher];
        let service = ["--sms-url", self.world.sms.base(), "--sms-identity", &sms];
        let log = fs::File::create(self.folder.join("worker.log")).unwrap();
        let arguments = [&arguments[..], &tee, &service, options].concat();
        self.command(&arguments).stdin(Stdio::null()).stderr(log).spawn().unwrap()
    }

    /// `sesame task result`: its answer, or what it complains about.
    async fn result(&self, task: TaskId, more: &[&str]) -> Result<Value, String> {
        let task = task.to_string();
        let arguments = [&["--json", "task", "result", &task][..], more].concat();
        let ended = self.command(&arguments).output().await.unwrap();
        if ended.status.success() {
            Ok(serde_json::from_slice(&ended.stdout).unwrap())
        } else {
            assert_eq!(ended.stdout, b"");
            Err(String::from_utf8(ended.stderr).unwrap())
        }
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.folder.join(path)).unwrap()
    }

    async fn completed(&self, task: TaskId) {
        let chain = &self.world.requester.chain;
        let said = self.folder.join("worker.log");
        eventually("the task is completed", async || {
            tokio::time::sleep(Duration::from_millis(100)).await;
            self.world.node.mine(1).await;
            let status = chain.task_status(task).await.unwrap().unwrap();
            let said = fs::read_to_string(&said).unwrap_or_default();
            assert!(!said.contains("gave no result"), "{said}");
            (status == TaskStatus::Completed).then_some(())
        })
        .await;
    }
}

/// App and data lie in IPFS, everybody allows everything, and the key is pushed.
async fn order(world: &World, web: &Web) -> Order {
    let launcher = fs::read(Shell::built("sesame-enclave")).unwrap();
    let measured = measure(&launcher, APP.as_bytes(), world.sms.identity);
    let enclave = enclave_id_of(Imitated::Sgx, &measured);
    let key = Identity::generate();
    let sealed = age::encrypt(&key.to_public(), TABLE.as_bytes()).unwrap();
    web.put(&format!("ipfs/{APP_CID}"), APP.as_bytes());
    web.put(&format!("ipfs/{DATA_CID}/table.age"), &sealed);
    let content = |uri: String, bytes: &[u8]| Content {
        uri,
        digest: B256::new(Sha256::digest(bytes).into()),
    };
    let app = content(format!("ipfs://{APP_CID}"), APP.as_bytes());
    let data = content(format!("/ipfs/{DATA_CID}/table.age"), &sealed);
    let app = world.developer.chain.register_app(&app, B256::ZERO).await.unwrap().result;
    let digest = data.digest;
    let data: AssetId = world.alice.chain.register_data(&data, B256::ZERO).await.unwrap().result;
    world.allow_on(&world.developer, app, enclave, &Terms::default()).await;
    world.allow_on(&world.alice, data, enclave, &Terms::default()).await;
    world.confirmed().await;
    let options = PushOptions { content_digest: digest, ..PushOptions::default() };
    let key = key.to_string();
    let key = key.expose_secret().as_bytes();
    world.alice.push_with(&SecretId::Asset(data), key, &options).await;
    Order {
        enclave,
        data: vec![data],
        deadline: sesame_tests::now() + 600,
        params: String::new(),
        ..world.order(app, sesame_tests::Build::of("any"))
    }
}

#[tokio::test]
async fn an_encrypted_result_is_put_away_fetched_checked_and_opened() {
    let (world, web, mut serving) = (World::start().await, Web::default(), JoinSet::new());
    let base = web.start(&mut serving).await;
    let (shell, order) = (Shell::of(&world), order(&world, &web).await);
    let identity = Identity::generate();
    let params = format!(r#"{{"sesame_result_key":"{}"}}"#, identity.to_public());
    let task = world.buy(&Order { params, ..order }).await;
    let early = shell.result(task, &[]).await.unwrap_err();
    assert!(early.contains("has no result"), "{early}");

    let (dead, url) = ("http://127.0.0.1:1", format!("{base}/results"));
    let options = ["--ipfs-gateway", dead, "--ipfs-gateway", &base, "--result-url", &url];
    let worker = shell.worker(&options);
    shell.completed(task).await;
    drop(worker);
    let on_disk = fs::read_dir(shell.folder.join(format!("work/{task}"))).unwrap();
    let on_disk: Vec<_> = on_disk.map(|entry| entry.unwrap().file_name()).collect();
    assert!(!on_disk.iter().any(|name| name == "stdout.txt"), "{on_disk:?}");

    let key = identity.to_string();
    fs::write(shell.folder.join("key.txt"), key.expose_secret()).unwrap();
    let answer = shell.result(task, &["--out", "opened", "--identity", "key.txt"]).await.unwrap();
    assert_eq!(answer["uri"], format!("{base}/results/{task}/result.tar.age"));
    assert_eq!((&answer["covers"], &answer["files"]), (&"everything".into(), &4.into()));
    assert_eq!(shell.read("opened/iexec_out/count.txt").trim(), TABLE.len().to_string());
    assert_eq!(shell.read("opened/stdout.txt"), format!("read {} bytes\n", TABLE.len()));
    let sealed = shell.result(task, &["--out", "sealed"]).await.unwrap();
    assert_eq!((&sealed["encrypted"], &sealed["files"]), (&true.into(), &1.into()));

    let again = shell.result(task, &["--out", "opened"]).await.unwrap_err();
    assert!(again.contains("is there already"), "{again}");
    let other = Identity::generate().to_string();
    fs::write(shell.folder.join("other.txt"), other.expose_secret()).unwrap();
    let closed = shell.result(task, &["--out", "no", "--identity", "other.txt"]).await;
    assert!(closed.unwrap_err().contains("does not open with this identity"));
    web.change(&format!("results/{task}/result.tar.age"));
    for identity in [&["--identity", "key.txt"][..], &[]] {
        let changed = shell.result(task, &[&["--out", "no"], identity].concat()).await;
        let changed = changed.unwrap_err();
        assert!(changed.contains("digest") || changed.contains("damaged"), "{changed}");
    }
    assert!(!shell.folder.join("no").exists());
}

#[tokio::test]
async fn a_result_in_the_clear_is_what_the_chain_says_or_nothing() {
    let (world, web, mut serving) = (World::start().await, Web::default(), JoinSet::new());
    let base = web.start(&mut serving).await;
    let (shell, order) = (Shell::of(&world), order(&world, &web).await);
    let task = world.buy(&order).await;
    let worker = shell.worker(&["--ipfs-gateway", &base]);
    shell.completed(task).await;
    drop(worker);

    let answer = shell.result(task, &[]).await.unwrap();
    assert_eq!((&answer["covers"], &answer["left_out"]), (&"count.txt".into(), &1.into()));
    let count = shell.read(&format!("{task}/iexec_out/count.txt"));
    assert_eq!(answer["digest"], B256::new(Sha256::digest(&count).into()).to_string());

    // The worker's host writes another result where the first one was.
    let out = shell.folder.join(format!("work/{task}/tee/out"));
    fs::write(out.join("count.txt"), "1000000\n").unwrap();
    let changed = shell.result(task, &["--out", "changed"]).await.unwrap_err();
    assert!(changed.contains("nothing in the result has the digest"), "{changed}");
    fs::remove_file(out.join("count.txt")).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", out.join("count.txt")).unwrap();
    let linked = shell.result(task, &["--out", "changed"]).await.unwrap_err();
    assert!(linked.contains("neither a file nor a folder"), "{linked}");
    fs::remove_dir_all(&out).unwrap();
    assert!(shell.result(task, &["--out", "changed"]).await.is_err());
}
