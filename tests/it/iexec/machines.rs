//! What schedulers, workers, monitors and operators find.

use std::{fs, process::Command};

use alloy::primitives::{Address, B256};
use reqwest::Method;
use serde_json::json;
use sesame_domain::TaskId;
use sesame_iexec::challenge;
use sesame_sms::{Pipeline, SessionsConfig};
use sesame_tests::{Options, Program, deploy_poco, eventually, program};

use super::served::{ENCLAVE, Iexec, KEY, Reply, TOKEN, VALUE, of_requester, session_body, web2};

const PIPELINE: &str = r#"{"teeFramework":"TDX","teeFrameworkVersion":"v0.1","preComputeProperties":{"image":"pre","fingerprint":"0x01","entrypoint":"run","heapSizeInBytes":1},"postComputeProperties":{"image":"post","fingerprint":"0x02","entrypoint":"run","heapSizeInBytes":2}}"#;

fn sessions(storage: &str) -> SessionsConfig {
    let pipeline = Pipeline::parse(PIPELINE).unwrap();
    SessionsConfig::new(pipeline, storage.parse().unwrap(), None, None).unwrap()
}

#[tokio::test]
async fn a_scheduler_is_told_what_is_served() {
    let with = Iexec::with(Options::default(), Some(sessions("http://127.0.0.1:1"))).await;
    with.ask(Method::GET, "tee/framework").await.is(200, "\"TDX\"");
    for path in ["tee/properties/TDX", "tee/properties/tdx", "tee/properties/Tdx/v0.1"] {
        let answer = with.ask(Method::GET, path).await;
        answer.is(200, PIPELINE);
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
    for (path, status) in [
        ("tee/properties/sgx", 400),
        ("tee/properties/sgx/v0.1", 400),
        ("tee/properties/scone", 409),
        ("tee/properties/GRAMINE/v0.1", 409),
        ("tee/properties/TDX/v2", 404),
        // The version first.
        ("tee/properties/SCONE/v2", 404),
    ] {
        with.ask(Method::GET, path).await.is_bare(status);
    }
    // Without a pipeline there is none.
    let without = Iexec::start().await;
    without.ask(Method::GET, "tee/framework").await.is(200, "\"TDX\"");
    without.ask(Method::GET, "tee/properties/TDX").await.is_bare(404);
}

#[tokio::test]
async fn a_task_that_nobody_initialized_has_neither_challenge_nor_session() {
    let iexec = Iexec::with(Options::default(), Some(sessions("http://127.0.0.1:1"))).await;
    let alice = iexec.person(1);
    let task = B256::repeat_byte(0x11);
    let path = format!("tee/challenges/{task}");
    Reply::to(iexec.request(Method::POST, &path)).await.is_bare(400);
    let signed = alice.sign(challenge::task(TaskId(task)));
    iexec.push(Method::POST, &path, &signed, "").await.is_bare(401);
    iexec.push(Method::POST, "tee/challenges/0x11", &signed, "").await.is_bare(401);
    iexec.ask(Method::GET, &path).await.is_bare(405);

    let signed = alice.sign(challenge::session(alice.address(), TaskId(task), ENCLAVE));
    let body = session_body(&alice, task);
    let ask = async |signature: &str, body: &str| {
        iexec.push(Method::POST, "tee/sessions", signature, body).await
    };
    let error = |name: &str| format!(r#"{{"error":"{name}"}}"#);
    let unknown = error("EXECUTION_NOT_AUTHORIZED_GET_CHAIN_TASK_FAILED");
    ask(&signed, &body).await.is(401, &unknown);
    let invalid = error("INVALID_AUTHORIZATION");
    ask("0x00", &body).await.is(401, &invalid);
    let another = body.replace("0x2222", "0x3322");
    ask(&signed, &another).await.is(401, &invalid);
    ask(&signed, &body.replace("workerWallet", "worker")).await.is(401, &invalid);
    let empty = error("EXECUTION_NOT_AUTHORIZED_EMPTY_PARAMS_UNAUTHORIZED");
    ask(&signed, &body.replace("chainTaskId", "task")).await.is(401, &empty);
    ask(&signed, "{").await.is_bare(400);
    ask(&signed, "[]").await.is_bare(400);
    Reply::to(iexec.request(Method::POST, "tee/sessions").body(body.clone())).await.is_bare(400);
    let huge = format!("{body}{}", " ".repeat(16 << 10));
    assert_eq!(ask(&signed, &huge).await.status, 413);

    let explained = iexec.ask(Method::GET, &format!("v1/tasks/{task}/explain")).await.json();
    assert_eq!(explained["allowed"], false);
    let reason = &explained["reasons"][0];
    assert_eq!(reason["error"], "EXECUTION_NOT_AUTHORIZED_GET_CHAIN_TASK_FAILED");
    assert!(reason["detail"].as_str().unwrap().contains("nobody initialized it"), "{reason}");
    let order = iexec.request(Method::POST, &format!("v1/tasks/{task}/explain")).body("{}");
    assert_eq!(Reply::to(order).await.status, 404);
}

#[tokio::test]
async fn monitors_find_what_they_know() {
    let iexec = Iexec::start().await;
    let alice = iexec.person(1);
    iexec.ask(Method::GET, "version").await.is(200, env!("CARGO_PKG_VERSION"));
    iexec.ask(Method::GET, "actuator/health").await.is(200, r#"{"status":"UP"}"#);
    let signed = alice.sign(challenge::requester(alice.address(), KEY, VALUE.as_bytes()));
    let path = of_requester(alice.address(), KEY);
    iexec.push(Method::POST, &path, &signed, VALUE).await.is_bare(204);
    let metrics = eventually("the vault is counted", async || {
        let metrics = iexec.ask(Method::GET, "metrics").await.json()["secretsMetrics"].take();
        (metrics["compute"]["storedCount"] != -1).then_some(metrics)
    })
    .await;
    let compute = json!({ "secretsType": "compute", "initialCount": 0, "storedCount": 1, "addedSinceStartCount": 1, "cachedSecretsCount": 0 });
    assert_eq!(metrics["compute"], compute);
    assert_eq!(metrics.as_object().unwrap().len(), 5);
    for kind in ["web2", "web3", "compute", "TEE challenges", "Ethereum Credentials"] {
        assert_eq!(metrics[kind]["secretsType"], kind);
    }
    for nothing in [
        "",
        "up",
        "admin/backup",
        "actuator/env",
        "v3/api-docs",
        "swagger-ui/index.html",
        "openapi.json",
        "v1/status",
        "kbs/v0/auth",
        "secrets",
    ] {
        iexec.ask(Method::GET, nothing).await.is_bare(404);
        iexec.push(Method::POST, nothing, "0x00", VALUE).await.is_bare(404);
    }
}

/// One instance serves one family: neither owners nor enclaves of our own contracts find anything.
#[tokio::test]
async fn the_surfaces_of_our_own_contracts_are_not_there() {
    let iexec = Iexec::start().await;
    let at_main = async |method: Method, path: &str| {
        let url = format!("http://{}/{path}", iexec.main);
        Reply::to(iexec.http.request(method, url)).await.status
    };
    for path in ["healthz", "readyz", "metrics"] {
        assert_eq!(at_main(Method::GET, path).await, 200, "{path}");
    }
    let asset = B256::ZERO;
    for (method, path) in [
        (Method::GET, "v1/status".to_owned()),
        (Method::GET, "v1/keys".to_owned()),
        (Method::PUT, format!("v1/assets/{asset}/secret")),
        (Method::HEAD, format!("v1/requesters/{}/secrets/{KEY}", Address::ZERO)),
        (Method::GET, format!("v1/tasks/{asset}/explain")),
        (Method::POST, "kbs/v0/auth".to_owned()),
        (Method::HEAD, web2(Address::ZERO, TOKEN)),
        (Method::GET, "tee/framework".to_owned()),
    ] {
        assert_eq!(at_main(method, &path).await, 404, "{path}");
    }
}

#[tokio::test]
async fn an_operator_needs_one_more_file() {
    let iexec = Iexec::start().await;
    let folder = iexec.folder.path();
    let manifest = folder.join("poco.json");
    fs::write(&manifest, deploy_poco(&iexec.node).await.to_string()).unwrap();
    let pipeline = folder.join("pipeline.json");
    fs::write(&pipeline, PIPELINE).unwrap();
    let command = |more: &[&str]| {
        let mut command = Command::new(program());
        command.args(["serve", "--listen", "127.0.0.1:0", "--poll-ms", "20"]);
        command.args(["--confirmations", "0", "--max-head-age-s", "315360000"]);
        command.args(["--rpc-url", &iexec.node.url(), "--iexec-listen", "127.0.0.1:0"]);
        command.arg("--data-dir").arg(folder.join("served"));
        command.arg("--iexec-deployment").arg(&manifest).args(more);
        command.arg("--iexec-pipeline").arg(&pipeline);
        command
    };
    for (more, told) in [
        (&[][..], "--iexec-session-storage"),
        (
            &["--iexec-session-storage", "http://storage.example.org"],
            "by https, or by http on this",
        ),
        (
            &["--iexec-session-storage", "https://s", "--iexec-ipfs-gateway", "ftp://g"],
            "gateway to IPFS",
        ),
    ] {
        let mut command = command(more);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(told), "{told}: {said}");
    }
    let program = Program::of(command(&["--iexec-session-storage", "http://127.0.0.1:9"]));
    program.says("serving iExec's clients at").await;
    program.says("that is for trying alone").await;
    let said = program.said();
    let address = said.split_once("serving iExec's clients at http://").unwrap().1;
    let address = address.split_whitespace().next().unwrap();
    let url = format!("http://{address}/tee/properties/TDX");
    Reply::to(iexec.http.get(url)).await.is(200, PIPELINE);
}
