//! Secrets that belong to an asset: its owner by the chain pushes them, and a chain that cannot be asked is no reason for a no.

use std::time::{Duration, Instant};

use alloy::{
    primitives::{Address, B256, Bytes},
    sol_types::{SolCall, SolValue},
};
use reqwest::Method;
use serde_json::json;
use sesame_domain::TaskId;
use sesame_iexec::challenge;
use sesame_tests::{Options, eventually};

use super::served::{
    ENCLAVE, EXISTS, IRegistries, Iexec, KEY, Person, TOO_LONG, UNAUTHORIZED, VALUE, of_requester,
    session_body, web3,
};

#[tokio::test]
async fn a_datasets_secret_is_its_owners_to_push_and_stays_through_a_sale() {
    let iexec = Iexec::start().await;
    let (alice, bob, eve) = (iexec.person(1), iexec.person(2), iexec.person(3));
    let dataset = iexec.mint_dataset(alice.address(), "first").await;
    let path = web3(dataset);
    let push = async |who: &Person, path: &str, dataset: Address| {
        let signature = who.sign(challenge::dataset(dataset, VALUE.as_bytes()));
        iexec.push(Method::POST, path, &signature, VALUE).await
    };

    iexec.head(&path).await.is_bare(404);
    push(&eve, &path, dataset).await.is_bare(401);
    push(&alice, &path, dataset).await.is_bare(204);
    iexec.head(&path).await.is_bare(204);
    push(&alice, &path, dataset).await.is_bare(409);
    push(&eve, &path, dataset).await.is_bare(401);
    let long = "x".repeat(4097);
    let signature = alice.sign(challenge::dataset(dataset, long.as_bytes()));
    iexec.push(Method::POST, &path, &signature, &long).await.is_bare(413);

    iexec.transfer_dataset(dataset, alice.address(), bob.address()).await;
    eventually("the former owner is a stranger", async || {
        (push(&alice, &path, dataset).await.status == 401).then_some(())
    })
    .await;
    iexec.head(&path).await.is_bare(204);
    push(&bob, &path, dataset).await.is_bare(409);

    // An empty slot is the new owner's to fill, at once.
    let empty = iexec.mint_dataset(alice.address(), "second").await;
    iexec.transfer_dataset(empty, alice.address(), bob.address()).await;
    eventually("the new owner may push", async || {
        (push(&bob, &web3(empty), empty).await.status == 204).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_apps_secret_is_its_developers() {
    let iexec = Iexec::start().await;
    let (alice, eve) = (iexec.person(1), iexec.person(2));
    let call = IRegistries::createAppCall {
        owner: alice.address(),
        name: "app".to_owned(),
        kind: "DOCKER".to_owned(),
        multiaddr: Bytes::from_static(b"docker.io/library/app:1.0"),
        checksum: B256::repeat_byte(2),
        mrenclave: Bytes::new(),
    };
    let data: Bytes = call.abi_encode().into();
    let request =
        json!({ "from": alice.address(), "to": iexec.deployment.app_registry, "data": data });
    let place: Bytes = iexec.node.call("eth_call", (request, "latest")).await;
    let app = Address::abi_decode(&place).unwrap();
    iexec.send(alice.address(), iexec.deployment.app_registry, call).await;
    let path = format!("apps/{app}/secrets");
    let push = async |who: &Person, value: &str| {
        let signature = who.sign(challenge::app(app, value.as_bytes()));
        iexec.push(Method::POST, &path, &signature, value).await
    };

    iexec.head(&path).await.is_bare(404);
    push(&eve, VALUE).await.is(401, UNAUTHORIZED);
    push(&alice, &"x".repeat(4097)).await.is(413, TOO_LONG);
    push(&alice, VALUE).await.is_bare(204);
    iexec.head(&path).await.is_bare(204);
    push(&alice, VALUE).await.is(409, EXISTS);
    // The other store of the same address is empty.
    iexec.head(&web3(app)).await.is_bare(404);
    iexec.ask(Method::PUT, &path).await.is_bare(405);
}

/// Clients push right behind the mint, and do not ask again.
#[tokio::test]
async fn an_asset_that_is_being_minted_is_waited_for() {
    let iexec = Iexec::start().await;
    let alice = iexec.person(1);
    let dataset = iexec.place_of_dataset(alice.address(), "late").await;
    let signature = alice.sign(challenge::dataset(dataset, VALUE.as_bytes()));
    let path = web3(dataset);
    let push = async || {
        let begun = Instant::now();
        (iexec.push(Method::POST, &path, &signature, VALUE).await, begun.elapsed())
    };
    let (pushed, minted) = tokio::join!(push(), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        iexec.mint_dataset(alice.address(), "late").await
    });
    pushed.0.is_bare(204);
    assert_eq!(minted, dataset);
    // One that never comes has no owner.
    let nobodys = Address::repeat_byte(0x77);
    let signature = alice.sign(challenge::dataset(nobodys, VALUE.as_bytes()));
    let begun = Instant::now();
    iexec.push(Method::POST, &web3(nobodys), &signature, VALUE).await.is_bare(401);
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn without_the_chain_there_is_no_false_no() {
    // Not less, since a machine busy with other stories is slow to follow its node.
    let options = Options { max_lag: Duration::from_secs(5), ..Options::default() };
    let iexec = Iexec::with(options, None).await;
    let alice = iexec.person(1);
    let dataset = iexec.mint_dataset(alice.address(), "first").await;
    let signed = alice.sign(challenge::dataset(dataset, VALUE.as_bytes()));
    iexec.push(Method::POST, &web3(dataset), &signed, VALUE).await.is_bare(204);
    iexec.node.pause();
    let health = eventually("the index is stale", async || {
        let health = iexec.ask(Method::GET, "actuator/health").await;
        (health.status == 503).then_some(health)
    });
    health.await.is(503, r#"{"status":"DOWN"}"#);

    // The store says what there is.
    iexec.head(&web3(dataset)).await.is_bare(204);
    let requester = of_requester(alice.address(), KEY);
    let key = alice.sign(challenge::requester(alice.address(), KEY, VALUE.as_bytes()));
    iexec.push(Method::POST, &requester, &key, VALUE).await.is_bare(204);
    // What needs an owner or a task waits, whoever asks.
    for signature in [&signed, "0x00"] {
        let answer = iexec.push(Method::POST, &web3(dataset), signature, VALUE).await;
        answer.is_bare(503);
        assert_eq!(answer.header("sesame-problem"), Some("index_stale"));
        assert!(answer.header("retry-after").is_some());
    }
    let task = B256::repeat_byte(0x11);
    let challenge = format!("tee/challenges/{task}");
    iexec.push(Method::POST, &challenge, "0x00", "").await.is_bare(503);
    let body = session_body(&alice, task);
    let signed = alice.sign(challenge::session(alice.address(), TaskId(task), ENCLAVE));
    iexec.push(Method::POST, "tee/sessions", &signed, &body).await.is_bare(503);
    assert_eq!(iexec.ask(Method::GET, &format!("v1/tasks/{task}/explain")).await.status, 503);
    iexec.node.resume();
    eventually("the service heals by itself", async || {
        (iexec.ask(Method::GET, "actuator/health").await.status == 200).then_some(())
    })
    .await;
}
