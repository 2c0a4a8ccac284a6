//! Who may sign a task's result, and who is told that its secrets were released.

use reqwest::Method;
use sesame_domain::{Resource, TaskId};
use sesame_protocol::{
    jwe::EnclaveKey,
    rcar::{self, SESSION_COOKIE},
    results::{ResultKey, ResultKeyCertificate, ResultKeyRequest, TaskDomain},
    signature::{Signer, recover},
};
use sesame_tests::{Answer, Attester, Scene, World};

/// Presents a result key in the enclave's session.
async fn present(world: &World, enclave: &Attester<'_>, request: &ResultKeyRequest) -> Answer {
    let cookie = format!("{SESSION_COOKIE}={}", enclave.cookie);
    let post = world.sms.request(Method::POST, "kbs/v0/result-key").header("cookie", cookie);
    Answer::to(post.json(request)).await
}

fn domain(world: &World) -> TaskDomain {
    let deployment = &world.deployment;
    TaskDomain { chain_id: deployment.chain_id, task_registry: deployment.task_registry }
}

#[tokio::test]
async fn an_enclave_that_may_have_the_secrets_may_sign_the_result() {
    let world = World::start().await;
    let scene = Scene::set(&world).await;
    let enclave = world.attested(scene.build, scene.task).await;
    let key = Signer::random().address();
    let request = ResultKeyRequest::sign(scene.task, key, &enclave.nonce, &enclave.key);

    let answer = present(&world, &enclave, &request).await;

    answer.is_ok();
    let certificate: ResultKeyCertificate = serde_json::from_slice(&answer.body).unwrap();
    let message = ResultKey { task: scene.task.0, key };
    let signer = recover(domain(&world).signing_hash(&message), &certificate.signature);
    assert_eq!(signer, Ok(world.sms.identity));
}

#[tokio::test]
async fn a_result_key_is_presented_by_the_attested_key_in_its_session() {
    let world = World::start().await;
    let scene = Scene::set(&world).await;
    let enclave = world.attested(scene.build, scene.task).await;
    let (task, key) = (scene.task, Signer::random().address());
    let good = ResultKeyRequest::sign(task, key, &enclave.nonce, &enclave.key);

    for refused in [
        ResultKeyRequest::sign(task, key, &enclave.nonce, &EnclaveKey::random()),
        ResultKeyRequest::sign(task, key, &rcar::fresh_nonce(), &enclave.key),
        ResultKeyRequest { key: Signer::random().address(), ..good.clone() },
        ResultKeyRequest { task: TaskId::default().0, ..good.clone() },
        ResultKeyRequest { signature: Default::default(), ..good.clone() },
    ] {
        let answer = present(&world, &enclave, &refused).await;
        answer.is_problem(401, "result_key_refused");
    }
    let path = "kbs/v0/result-key";
    let bare = Answer::to(world.sms.request(Method::POST, path).json(&good)).await;
    bare.is_problem(401, "session_invalid");
    let cookie = format!("{SESSION_COOKIE}={}", enclave.cookie);
    let nothing = world.sms.request(Method::POST, path).header("cookie", cookie).body("{}");
    Answer::to(nothing).await.is_problem(400, "malformed_body");
}

/// Who may not have the secrets may not sign the result, for the same reasons.
#[tokio::test]
async fn the_decision_is_the_bundles() {
    let world = World::start().await;
    let scene = Scene::set(&world).await;
    let key = Signer::random().address();
    let stranger = world.attested_by(scene.build, scene.task, &world.stranger).await;
    let request = ResultKeyRequest::sign(scene.task, key, &stranger.nonce, &stranger.key);
    present(&world, &stranger, &request).await.is_denied(&["wrong_worker"]);

    let enclave = world.attested(scene.build, scene.task).await;
    let request = ResultKeyRequest::sign(scene.task, key, &enclave.nonce, &enclave.key);
    world.alice.chain.revoke(scene.data, scene.build.id()).await.unwrap();
    world.followed().await;
    present(&world, &enclave, &request).await.is_denied(&["not_whitelisted"]);
}

#[tokio::test]
async fn a_settlement_needs_a_release() {
    let mut world = World::start().await;
    let scene = Scene::set(&world).await;
    let path = format!("v1/tasks/{}/settlement", scene.task);
    world.sms.get(&path).await.is_problem(404, "not_released");
    let enclave = world.attested(scene.build, scene.task).await;
    let key = Signer::random().address();
    let request = ResultKeyRequest::sign(scene.task, key, &enclave.nonce, &enclave.key);
    present(&world, &enclave, &request).await.is_ok();
    world.sms.get(&path).await.is_problem(404, "not_released");

    enclave.open(&enclave.ask(scene.task, Resource::Bundle).await);

    world.sms.get(&path).await.is_ok();
    world.sms.stop().await;
    world.sms.start_again().await;
    world.sms.ready().await;
    world.sms.get(&path).await.is_ok();
    let unknown = format!("v1/tasks/{}/settlement", TaskId::default());
    world.sms.get(&unknown).await.is_problem(404, "not_released");
    for bad in ["12", "%ff"] {
        world.sms.get(&format!("v1/tasks/{bad}/settlement")).await.is_problem(400, "malformed_id");
    }
}
