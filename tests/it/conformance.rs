//! A client written against the protocol's own description, with a JOSE library that the service does not use, gets what it
//! should and nothing else. The client is `tests/conformance/rcar.mjs`; no agent of others has been run against the service yet.

use std::{path::Path, process::Stdio, sync::Arc};

use axum::{Json, Router, extract::State, routing::post};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use sesame_domain::{Imitated, TaskId};
use sesame_protocol::voucher::SignedVoucher;
use sesame_tests::{Build, Options, ROOT, Scene, Sms, World, now};
use tokio::{io::AsyncWriteExt, net::TcpListener, process::Command, task::JoinSet};

/// Seconds for which the second service's sessions hold: long enough to attest on a slow machine.
const BRIEF: u64 = 8;

/// What no client can do by itself: a TEE's evidence and a worker's word.
struct Helper {
    world: World,
    build: Build,
}

async fn evidence(State(helper): State<Arc<Helper>>, Json(asked): Json<Value>) -> Json<Value> {
    let mut report_data = [0; 64];
    hex::decode_to_slice(asked["reportData"].as_str().unwrap(), &mut report_data).unwrap();
    Json(helper.build.quote(report_data, &helper.world.root))
}

async fn voucher(State(helper): State<Arc<Helper>>, Json(asked): Json<Value>) -> Json<Value> {
    let task: TaskId = asked["task"].as_str().unwrap().parse().unwrap();
    let key = asked["thumbprint"].as_str().unwrap().parse().unwrap();
    let deadline = now() + 300;
    let World { sms, worker, .. } = &helper.world;
    let signer = worker.signer();
    let voucher = SignedVoucher::sign(task, sms.identity, key, deadline, &sms.domain(), &signer);
    Json(json!({ "voucher": voucher.to_header() }))
}

/// Serves the helper until the set is dropped, and gives its URL.
async fn serve(helper: Arc<Helper>, tasks: &mut JoinSet<()>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = Router::new()
        .route("/evidence", post(evidence))
        .route("/voucher", post(voucher))
        .with_state(helper);
    tasks.spawn(async move { axum::serve(listener, routes).await.unwrap() });
    format!("http://{address}")
}

/// The same service once more, on a copy of its data, with sessions that end soon.
async fn brief(world: &mut World) -> Sms {
    let mut config = world.sms.config.clone();
    config.data_dir = world.folder().join("brief");
    config.session_life = BRIEF;
    world.sms.stop().await;
    let from = &world.sms.config.data_dir;
    let copied = Command::new("cp").arg("-r").arg(from).arg(&config.data_dir).status().await;
    assert!(copied.unwrap().success());
    world.sms.start_again().await;
    let brief = Sms::start(config).await;
    world.sms.ready().await;
    brief.ready().await;
    brief
}

#[tokio::test]
async fn a_client_written_from_the_description_gets_what_it_should() {
    conforms_for(Imitated::Sgx).await;
}

/// The same client, as a guest whose evidence is the attester's own document and no quote.
#[tokio::test]
async fn a_client_written_from_the_description_gets_it_as_an_snp_guest() {
    conforms_for(Imitated::Snp).await;
}

async fn conforms_for(tee: Imitated) {
    let mut world = World::with(Options::default()).await;
    let scene = Scene::set_for(&world, tee).await;
    let other = world.buy_and_begin(&scene.order).await;
    let brief = brief(&mut world).await;
    let helper = Arc::new(Helper { world, build: scene.build });
    let mut tasks = JoinSet::new();
    let told = json!({
        "base": helper.world.sms.base(),
        "brief": brief.base(),
        "briefSeconds": BRIEF,
        "helper": serve(helper.clone(), &mut tasks).await,
        "tee": tee.to_string(),
        "task": scene.task.to_string(),
        "other": other.to_string(),
        "resources": {
            "app-secret/1": STANDARD.encode(Scene::APP_SECRET),
            "requester-secret/1": STANDARD.encode(Scene::DB_PASSWORD),
            "protected-data/1": STANDARD.encode(Scene::DATA_KEY),
        },
    });

    let mut client = Command::new("node")
        .arg(Path::new(ROOT).join("tests/conformance/rcar.mjs"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("node is installed: the Solidity toolchain needs it too");
    let mut input = client.stdin.take().unwrap();
    input.write_all(told.to_string().as_bytes()).await.unwrap();
    drop(input);
    let output = client.wait_with_output().await.unwrap();

    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{errors}");
    assert_eq!(said.lines().filter(|line| line.starts_with("conforms: ")).count(), 31, "{said}");
}
