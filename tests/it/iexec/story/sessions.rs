//! What is given to workers, to the last variable, and what is not.

use alloy::{
    primitives::{B256, keccak256},
    signers::local::PrivateKeySigner,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use sesame_tests::{eventually, now};
use sha2::{Digest, Sha256};

use super::{
    INPUT,
    market::Assets,
    secrets::{APP_SECRET, DATASET_KEY, PUBLIC_KEY, REQUESTER_SECRET},
    stage::{PROVISIONING, Stage, pipeline},
    text,
};

const CONTENT: &str = "/ipfs/QmW2WQi7j6c7UgJTarActp7tDNikE4B2qXtFCfLPdsgaTQ";
/// Of a bulk, and of its one slice.
const BULK: [&str; 2] = [
    "QmW2WQi7j6c7UgJTarActp7tDNikE4B2qXtFCfLPdsgaTQ",
    "QmbWqxBEKC3P8tqsKc98xmWNzrzDtRLMiMPL8wBuTGsMnR",
];
const ANY_VOLUME: u64 = (1 << 53) - 1;
const ANY_CHALLENGE: &str = "0x2222222222222222222222222222222222222222";

const NOT_ACTIVE: &str = "EXECUTION_NOT_AUTHORIZED_TASK_NOT_ACTIVE";
const UNKNOWN: &str = "EXECUTION_NOT_AUTHORIZED_GET_CHAIN_TASK_FAILED";
const NOT_THE_SCHEDULER: &str = "EXECUTION_NOT_AUTHORIZED_INVALID_SIGNATURE";
const NOT_THE_WORKER: &str = "INVALID_AUTHORIZATION";
const NOBODY: &str = "EXECUTION_NOT_AUTHORIZED_EMPTY_PARAMS_UNAUTHORIZED";
const NO_TOKEN: &str = "POST_COMPUTE_GET_STORAGE_TOKENS_FAILED";

/// The scheduler, and nobody else, is given the task's challenge, which stays the same.
pub(super) async fn challenged(stage: &mut Stage, task: &Value) -> String {
    stage.settled().await;
    let (status, challenge) =
        stage.answer("challenge", json!({ "by": "scheduler", "task": task })).await;
    assert_eq!(status, 200, "{challenge}");
    let again = stage.answer("challenge", json!({ "by": "scheduler", "task": task })).await;
    assert_eq!(again, (200, challenge.clone()));
    for who in ["stranger", "worker", "requester"] {
        let refused = stage.answer("challenge", json!({ "by": who, "task": task })).await;
        assert_eq!(refused, (401, String::new()), "{who}");
    }
    let malformed = json!({ "task": task, "authorization": "0x12" });
    assert_eq!(stage.answer("challenge", malformed).await, (401, String::new()));
    assert_eq!(challenge, challenge.to_lowercase());
    challenge
}

/// What a worker asks for, with some of it otherwise.
fn asked(task: &Value, challenge: &str, otherwise: Value) -> Value {
    let mut asked = json!({
        "worker": "worker", "scheduler": "scheduler", "task": task, "enclave": challenge,
    });
    for (name, value) in otherwise.as_object().unwrap() {
        asked[name] = value.clone();
    }
    asked
}

async fn refused(
    stage: &mut Stage,
    task: &Value,
    challenge: &str,
    otherwise: Value,
    status: u64,
    error: &str,
) {
    let answer = stage.answer("session", asked(task, challenge, otherwise.clone())).await;
    assert_eq!(answer, (status, json!({ "error": error }).to_string()), "{otherwise}");
    assert_eq!(stage.storage.take(), [Value::Null; 0], "{otherwise}");
}

/// The session that a worker is given, as it was posted, and the key behind the task's challenge.
async fn given(stage: &mut Stage, task: &Value, challenge: &str) -> (Value, String) {
    let (status, body) = stage.answer("session", asked(task, challenge, json!({}))).await;
    assert_eq!(status, 200, "{body}");
    let answer: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(answer["data"]["secretProvisioningUrl"], PROVISIONING);
    let mut posted = stage.storage.take();
    let mut session = posted.pop().unwrap();
    assert_eq!(posted, [Value::Null; 0], "one session for one request");
    let name = session["name"].take();
    assert_eq!(answer["data"]["sessionId"], name);
    let name = name.as_str().unwrap();
    let (random, rest) = name.split_at(10);
    assert!(random.chars().all(|c| c.is_ascii_alphanumeric()), "{name}");
    assert_eq!(rest, format!("0000{}", task.as_str().unwrap()));
    let mut key = String::new();
    for service in session["services"].as_array_mut().unwrap() {
        if let Some(held) = service["environment"].get_mut("SIGN_TEE_CHALLENGE_PRIVATE_KEY") {
            key = text(held.take());
            let signer: PrivateKeySigner = key.parse().unwrap();
            assert_eq!(signer.address().to_string().to_lowercase(), challenge);
        }
    }
    (session, key)
}

/// The content's checksum, and that of the app.
fn checksum() -> B256 {
    keccak256("what it was packed as")
}

/// A part of a session that is the operator's.
fn part(name: &str, properties: &str, environment: Value) -> Value {
    let properties = &pipeline()[properties];
    let (image, fingerprint) = (&properties["image"], &properties["fingerprint"]);
    json!({ "name": name, "image_name": image, "fingerprint": fingerprint, "environment": environment })
}

fn app_part(environment: Value) -> Value {
    json!({
        "name": "app", "image_name": "registry.example.org/app:1",
        "fingerprint": checksum().to_string(), "environment": environment,
    })
}

impl Assets {
    /// The first task's session, and all that has to be in order for it. Gives the key behind the challenge.
    pub(super) async fn session(
        &self,
        stage: &mut Stage,
        deal: &Value,
        task: &Value,
        challenge: &str,
    ) -> String {
        let nobody_started = deal.as_str().unwrap().parse::<B256>().unwrap();
        let nobody_started =
            keccak256([nobody_started, B256::with_last_byte(2)].concat()).to_string();
        let kept = stage.receipts();
        for (otherwise, error) in [
            (json!({ "header": "stranger" }), NOT_THE_WORKER),
            (json!({ "worker": "stranger", "header": "worker" }), NOT_THE_WORKER),
            (json!({ "chainTaskId": "" }), NOBODY),
            (json!({ "task": nobody_started }), UNKNOWN),
            (json!({ "scheduler": "worker" }), NOT_THE_SCHEDULER),
            (json!({ "signature": { "value": "0x12" } }), NOT_THE_SCHEDULER),
            (json!({ "enclave": ANY_CHALLENGE }), NOT_THE_SCHEDULER),
        ] {
            refused(stage, task, challenge, otherwise, 401, error).await;
        }
        assert_eq!(
            stage.receipts(),
            kept + 1,
            "on record is what the scheduler signed, and no stranger's"
        );
        // The pool's own, which scheduler and worker push themselves, and call JSON though it is none.
        refused(stage, task, challenge, json!({}), 500, NO_TOKEN).await;
        for (who, name, value) in [
            ("scheduler", "iexec-result-iexec-result-proxy-url", "https://proxy.example.org"),
            ("worker", "iexec-result-iexec-ipfs-token", " the worker's token\n"),
        ] {
            let push = json!({
                "kind": "web2", "by": who, "about": who, "name": name, "value": value, "type": "application/json",
            });
            assert_eq!(stage.answer("send", push).await, (204, String::new()), "{name}");
        }

        let (session, key) = given(stage, task, challenge).await;
        assert_eq!(session, self.expected(stage, deal, task, 0).await);
        key
    }

    async fn expected(&self, stage: &mut Stage, deal: &Value, task: &Value, index: u64) -> Value {
        let dataset = self.dataset.to_lowercase();
        let (index, input) = (index.to_string(), Sha256::digest(INPUT));
        let mut before = signing(stage, task).await;
        let mut after = before.clone();
        with(
            &mut before,
            json!({
                "IEXEC_PRE_COMPUTE_OUT": "/iexec_in",
                "IS_DATASET_REQUIRED": "true",
                "IEXEC_DEAL_ID": deal,
                "IEXEC_TASK_INDEX": index,
                "IEXEC_INPUT_FILES_NUMBER": "1",
                "IEXEC_INPUT_FILES_FOLDER": "/iexec_in",
                "IEXEC_INPUT_FILE_URL_1": INPUT,
                "IEXEC_DATASET_KEY": DATASET_KEY,
                "IEXEC_DATASET_URL": CONTENT,
                "IEXEC_DATASET_CHECKSUM": checksum().to_string(),
                "IEXEC_DATASET_FILENAME": dataset,
            }),
        );
        with(
            &mut after,
            json!({
                "RESULT_ENCRYPTION": "true",
                "RESULT_ENCRYPTION_PUBLIC_KEY": STANDARD.encode(PUBLIC_KEY),
                "RESULT_STORAGE_CALLBACK": "false",
                "RESULT_STORAGE_PROVIDER": "ipfs",
                "RESULT_STORAGE_PROXY": "https://proxy.example.org",
                "RESULT_STORAGE_TOKEN": "the worker's token",
            }),
        );
        let app = json!({
            "IEXEC_DEAL_ID": deal,
            "IEXEC_TASK_ID": task,
            "IEXEC_TASK_INDEX": index,
            "IEXEC_BOT_TASK_INDEX": index,
            "IEXEC_BOT_SIZE": "3",
            "IEXEC_BOT_FIRST_INDEX": "0",
            "IEXEC_IN": "/iexec_in",
            "IEXEC_OUT": "/iexec_out",
            "IEXEC_DATASET_ADDRESS": dataset,
            "IEXEC_DATASET_FILENAME": dataset,
            "IEXEC_INPUT_FILES_NUMBER": "1",
            "IEXEC_INPUT_FILES_FOLDER": "/iexec_in",
            "IEXEC_INPUT_FILE_NAME_1": format!("0x{}", hex::encode(input)),
            "IEXEC_APP_DEVELOPER_SECRET": APP_SECRET,
            "IEXEC_APP_DEVELOPER_SECRET_1": APP_SECRET,
            "IEXEC_REQUESTER_SECRET_1": REQUESTER_SECRET,
        });
        let services = [
            part("pre-compute", "preComputeProperties", before),
            app_part(app),
            part("post-compute", "postComputeProperties", after),
        ];
        json!({ "name": null, "version": "0.1.0", "services": services })
    }

    /// Who buys a dataset gets no say over its secret, which goes on being given; who buys an asset without one may push.
    pub(super) async fn sold(&self, stage: &mut Stage, deal: &Value, task: &Value) {
        let sale = |kind: &str, by: &str, about: &str| json!({ "kind": kind, "by": by, "about": about, "to": "buyer" });
        let push = |kind: &str, by: &str, about: &str| json!({ "kind": kind, "by": by, "about": about, "value": "mine" });
        stage.ok("transfer", sale("dataset", "owner", &self.dataset)).await;
        stage.seen().await;
        let said = stage.no("push", push("dataset", "owner", &self.dataset)).await;
        assert!(said.contains("is not allowed to set secret"), "{said}");
        let said = stage.no("push", push("dataset", "buyer", &self.dataset)).await;
        assert!(said.contains("already exists"), "{said}");
        let challenge = challenged(stage, task).await;
        let (session, _) = given(stage, task, &challenge).await;
        assert_eq!(session, self.expected(stage, deal, task, 1).await);

        let made = json!({ "kind": "app", "by": "developer", "name": "second" });
        let app = text(stage.ok("deploy", made).await);
        stage.ok("transfer", sale("app", "developer", &app)).await;
        stage.seen().await;
        let said = stage.no("push", push("app", "developer", &app)).await;
        assert!(said.contains("is not allowed to set secret"), "{said}");
        stage.ok("push", push("app", "buyer", &app)).await;
    }

    /// A bulk's task is given the datasets whose orders fit its deal, and of the others their names.
    pub(super) async fn bulk(&self, stage: &mut Stage) {
        let mut orders = Vec::new();
        for name in ["in the bulk", "no more in the bulk"] {
            let made = json!({ "kind": "dataset", "by": "owner", "name": name });
            let dataset = text(stage.ok("deploy", made).await);
            let push = json!({ "kind": "dataset", "by": "owner", "about": dataset, "value": format!("key of what is {name}") });
            stage.ok("push", push).await;
            orders
                .push(stage.ok("order", Self::dataset_order("owner", &dataset, ANY_VOLUME)).await);
        }
        stage.ok("cancel", json!({ "kind": "dataset", "by": "owner", "order": orders[1] })).await;
        stage.storage.publish(BULK[0], json!([BULK[1]]));
        stage.storage.publish(BULK[1], json!(orders));
        let deal = self.deal(stage, 1, 0, false, json!({ "bulk_cid": BULK[0] })).await;
        let task =
            stage.ok("initialize", json!({ "by": "stranger", "deal": deal, "index": 0 })).await;
        let challenge = challenged(stage, &task).await;
        let (session, _) = given(stage, &task, &challenge).await;

        let names = [&orders[0]["dataset"], &orders[1]["dataset"]];
        let mut before = signing(stage, &task).await;
        with(
            &mut before,
            json!({
                "IEXEC_PRE_COMPUTE_OUT": "/iexec_in",
                "IS_DATASET_REQUIRED": "false",
                "IEXEC_DEAL_ID": deal,
                "IEXEC_TASK_INDEX": "0",
                "IEXEC_INPUT_FILES_NUMBER": "0",
                "IEXEC_BULK_SLICE_SIZE": "2",
                "IEXEC_DATASET_1_FILENAME": names[0],
                "IEXEC_DATASET_1_URL": CONTENT,
                "IEXEC_DATASET_1_CHECKSUM": checksum().to_string(),
                "IEXEC_DATASET_1_KEY": "key of what is in the bulk",
                "IEXEC_DATASET_2_FILENAME": names[1],
                "IEXEC_DATASET_2_URL": "",
                "IEXEC_DATASET_2_CHECKSUM": "",
                "IEXEC_DATASET_2_KEY": "",
            }),
        );
        assert_eq!(session["services"][0], part("pre-compute", "preComputeProperties", before));
        let app = &session["services"][1]["environment"];
        assert_eq!(app["IEXEC_BULK_SLICE_SIZE"], "2");
        assert_eq!([&app["IEXEC_DATASET_1_FILENAME"], &app["IEXEC_DATASET_2_FILENAME"]], names);
        assert_eq!(app["IEXEC_DATASET_ADDRESS"], format!("0x{}", "00".repeat(20)));
        assert!(app.get("IEXEC_DATASET_1_KEY").is_none());
    }
}

/// What the parts that speak for the enclave sign with; the key itself was looked at and taken out.
async fn signing(stage: &mut Stage, task: &Value) -> Value {
    let worker = stage.ok("address", json!({ "who": "worker" })).await;
    json!({ "IEXEC_TASK_ID": task, "SIGN_WORKER_ADDRESS": worker, "SIGN_TEE_CHALLENGE_PRIVATE_KEY": null })
}

fn with(environment: &mut Value, more: Value) {
    let Value::Object(more) = more else { panic!("variables have names") };
    environment.as_object_mut().unwrap().extend(more);
}

/// The contracts take the result that the key of the session signed. A task that has one is given nothing more.
pub(super) async fn computed(stage: &mut Stage, task: &Value, challenge: &str, key: &str) {
    let digest = keccak256("the result").to_string();
    for (step, status) in [("contribute", 2), ("reveal", 2), ("finalize", 3)] {
        let how = json!({ "worker": "worker", "scheduler": "scheduler", "task": task, "key": key, "digest": digest });
        stage.ok(step, how).await;
        assert_eq!(stage.ok("task", json!({ "task": task })).await["status"], status, "{step}");
        stage.seen().await;
        refused(stage, task, challenge, json!({}), 401, NOT_ACTIVE).await;
        let refused = stage.answer("challenge", json!({ "by": "scheduler", "task": task })).await;
        assert_eq!(refused, (401, String::new()));
    }
}

/// A task past its deadline is given nothing, whether or not the requester claimed it.
pub(super) async fn claimed(stage: &mut Stage, task: &Value) {
    let known = stage.ok("task", json!({ "task": task })).await;
    let deadline = known["finalDeadline"].as_u64().unwrap();
    eventually("the deadline passes", async || (now() > deadline + 1).then_some(())).await;
    assert_eq!(known["status"], 1);
    refused(stage, task, ANY_CHALLENGE, json!({}), 401, NOT_ACTIVE).await;
    // The contracts go by the time of blocks, which a quiet or reorganised chain is behind with.
    if stage.node.head().await.timestamp < deadline {
        stage.node.mine_at(deadline + 5).await;
    }
    stage.ok("claim", json!({ "by": "requester", "task": task })).await;
    let known = stage.ok("task", json!({ "task": task })).await;
    assert_eq!(known["status"], 4);
    stage.seen().await;
    refused(stage, task, ANY_CHALLENGE, json!({}), 401, NOT_ACTIVE).await;
}
