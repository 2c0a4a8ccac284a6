//! Owners that are contracts (ERC-1271): the contract says itself which signatures are its own.

use alloy::primitives::{Address, Bytes};
use reqwest::Method;
use sesame_client::owner::{Owner, PushOptions};
use sesame_domain::SecretId;
use sesame_protocol::{
    owner::{AUTHORIZATION_HEADER, SEALED_CONTENT_TYPE, SignedQuery, SignedRemoval, SignedUpdate},
    signature::{OwnerSignature, Signer},
    typed::{SecretQuery, SecretRemoval, SecretUpdate},
};
use sesame_tests::{Answer, Liar, Mood, Sms, Tale, World, eventually, now};

/// A confirmed wallet with alice's key, and an app that it owns.
async fn a_wallet(world: &World) -> (Address, SecretId) {
    let wallet = world.node.wallet(world.alice.address()).await;
    let app = world.app(&world.developer).await;
    world.developer.chain.transfer(app, wallet).await.unwrap();
    world.confirmed().await;
    (wallet, SecretId::Asset(app))
}

fn named(owner: Address, name: &str) -> SecretId {
    SecretId::Requester(owner, name.parse().unwrap())
}

/// A client that signs for the wallet.
fn acting(sms: &Sms, wallet: Address, signer: Signer) -> Owner {
    Owner::new(sms.base(), sms.domain(), sms.identity, signer).unwrap().acting_for(wallet)
}

fn query(sms: &Sms, owner: Address, secret: &SecretId, signer: &Signer) -> SignedQuery {
    let (resource, deadline) = (secret.to_string(), now() + 300);
    let query = SecretQuery { resource, owner, sms: sms.identity, deadline };
    SignedQuery::sign(&query, &sms.domain(), signer)
}

async fn send(sms: &Sms, method: Method, secret: &SecretId, header: &str, body: Vec<u8>) -> Answer {
    let request = sms.request(method, &format!("v1/{secret}")).body(body);
    let request = request.header("content-type", SEALED_CONTENT_TYPE);
    Answer::to(request.header(AUTHORIZATION_HEADER, header)).await
}

async fn head(sms: &Sms, owner: Address, secret: &SecretId, signer: &Signer) -> Answer {
    let header = query(sms, owner, secret, signer).to_header();
    send(sms, Method::HEAD, secret, &header, Vec::new()).await
}

async fn put(sms: &Sms, owner: Address, secret: &SecretId, signer: &Signer) -> Answer {
    let key = sms.keys().await.sealing();
    let update = SecretUpdate::new(secret, owner, 0, 1, key, now() + 300);
    let (signed, body) = SignedUpdate::seal(update, b"value", &sms.domain(), signer).unwrap();
    send(sms, Method::PUT, secret, &signed.to_header(), body).await
}

async fn delete(sms: &Sms, owner: Address, secret: &SecretId, signer: &Signer) -> Answer {
    let removal = SecretRemoval {
        resource: secret.to_string(),
        owner,
        sms: sms.identity,
        epoch: 0,
        version: 2,
        deadline: now() + 300,
    };
    let header = SignedRemoval::sign(&removal, &sms.domain(), signer).to_header();
    send(sms, Method::DELETE, secret, &header, Vec::new()).await
}

/// Another service on these endpoints.
async fn service(world: &World, name: &str, rpc_urls: Vec<String>) -> Sms {
    let data_dir = world.folder().join(name);
    let sms = Sms::start(sesame_sms::Config { rpc_urls, data_dir, ..world.sms.config.clone() });
    let sms = sms.await;
    sms.ready().await;
    sms
}

#[tokio::test]
async fn a_contract_pushes_shows_and_removes_what_it_owns() {
    let world = World::start().await;
    let (wallet, app) = a_wallet(&world).await;
    let owner = acting(&world.sms, wallet, world.alice.signer());
    let first = PushOptions { epoch: 1, ..PushOptions::default() };
    for (secret, options) in [(app, first), (named(wallet, "mine"), PushOptions::default())] {
        let pushed = owner.push(now(), &secret, b"value", &options).await.unwrap();
        assert_eq!((pushed.owner, pushed.version, pushed.size), (wallet, 1, 5));
        assert_eq!(owner.show(now(), &secret).await.unwrap(), Some(pushed));
        let removed = owner.remove(now(), &secret, options.epoch).await.unwrap();
        assert_eq!(removed.version, 2);
        assert_eq!(owner.show(now(), &secret).await.unwrap(), None);
    }
}

#[tokio::test]
async fn only_what_the_contract_takes_as_its_own_counts() {
    let world = World::start().await;
    let (wallet, app) = a_wallet(&world).await;
    let (sms, mine) = (&world.sms, named(wallet, "mine"));
    for person in [&world.stranger, &world.developer] {
        let signer = person.signer();
        for secret in [&app, &mine] {
            put(sms, wallet, secret, &signer).await.is_problem(401, "signature_refused");
            delete(sms, wallet, secret, &signer).await.is_problem(401, "signature_refused");
            let answer = head(sms, wallet, secret, &signer).await;
            answer.is_bodiless_problem(401, "signature_refused");
        }
    }
    // A contract may take any bytes; this one takes none of these, and too many are not read.
    let good = query(sms, wallet, &mine, &world.alice.signer());
    for (length, code, status) in [
        (0, "signature_refused", 401),
        (64, "signature_refused", 401),
        (66, "signature_refused", 401),
        (4096, "signature_refused", 401),
        (4097, "signature_malformed", 400),
    ] {
        let bytes = format!("\"0x{}\"", "01".repeat(length));
        let json = serde_json::to_string(&good).unwrap();
        let signature = serde_json::to_string(&good.signature).unwrap();
        let header = base64url(json.replace(&signature, &bytes).as_bytes());
        let answer = send(sms, Method::HEAD, &mine, &header, Vec::new()).await;
        answer.is_bodiless_problem(status, code);
    }
    // An account without code has its key alone, whatever its signature looks like.
    let requester = world.requester.secret("mine");
    let answer = head(sms, world.requester.address(), &requester, &world.alice.signer()).await;
    answer.is_bodiless_problem(401, "wrong_signer");
    let bytes = OwnerSignature::try_from(Bytes::from(vec![1; 66])).unwrap();
    let odd = SignedQuery {
        signature: bytes,
        ..query(sms, world.requester.address(), &requester, &world.requester.signer())
    };
    let answer = send(sms, Method::HEAD, &requester, &odd.to_header(), Vec::new()).await;
    answer.is_bodiless_problem(400, "signature_malformed");
    head(sms, wallet, &mine, &world.alice.signer()).await.is_bodiless_problem(404, "secret_absent");
}

fn base64url(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

#[tokio::test]
async fn a_contract_that_fails_has_said_no() {
    let world = World::start().await;
    let (wallet, app) = a_wallet(&world).await;
    let (sms, alice) = (&world.sms, world.alice.signer());
    for mood in [Mood::Reverting, Mood::WrongMagic, Mood::Burning, Mood::Silent] {
        world.node.set_wallet(wallet, world.alice.address(), mood).await;
        world.confirmed().await;
        head(sms, wallet, &app, &alice).await.is_bodiless_problem(401, "signature_refused");
        put(sms, wallet, &app, &alice).await.is_problem(401, "signature_refused");
        delete(sms, wallet, &app, &alice).await.is_problem(401, "signature_refused");
    }
    world.node.set_wallet(wallet, world.alice.address(), Mood::Honest).await;
    world.confirmed().await;
    head(sms, wallet, &app, &alice).await.is_bodiless_problem(404, "secret_absent");
}

/// A key that the wallet took on counts once that is confirmed, one that it gave up no longer.
#[tokio::test]
async fn a_rotated_key_counts_by_both_views() {
    let world = World::start().await;
    let (wallet, app) = a_wallet(&world).await;
    let (sms, alice, bob) = (&world.sms, world.alice.signer(), world.bob.signer());
    head(sms, wallet, &app, &alice).await.is_bodiless_problem(404, "secret_absent");

    world.node.set_wallet(wallet, bob.address(), Mood::Honest).await;
    world.followed().await;
    for signer in [&alice, &bob] {
        head(sms, wallet, &app, signer).await.is_bodiless_problem(401, "signature_refused");
    }
    world.confirmed().await;
    head(sms, wallet, &app, &alice).await.is_bodiless_problem(401, "signature_refused");
    head(sms, wallet, &app, &bob).await.is_bodiless_problem(404, "secret_absent");
}

#[tokio::test]
async fn a_lying_node_speaks_for_no_contract() {
    let world = World::start().await;
    let (wallet, app) = a_wallet(&world).await;
    let (alice, stranger) = (world.alice.signer(), world.stranger.signer());
    let honest = world.node.url();
    let liar = Liar::before(honest.clone(), Tale::YesToCalls).await;
    let other = Liar::before(honest.clone(), Tale::Truth).await;

    let three = service(&world, "three", vec![liar.url(), honest.clone(), other.url()]).await;
    // Until two have answered in time there is no quorum.
    let settled = async |signer| {
        eventually("a quorum answers", async || {
            let answer = head(&three, wallet, &app, signer).await;
            (answer.status != 503).then_some(answer)
        })
        .await
    };
    settled(&stranger).await.is_bodiless_problem(401, "signature_refused");
    settled(&alice).await.is_bodiless_problem(404, "secret_absent");

    let two = service(&world, "two", vec![liar.url(), honest]).await;
    head(&two, wallet, &app, &stranger).await.is_bodiless_problem(503, "signature_unchecked");
    put(&two, wallet, &app, &stranger).await.is_problem(503, "signature_unchecked");
}

#[tokio::test]
async fn without_the_contracts_answer_nothing_is_done() {
    let world = World::start().await;
    let (wallet, app) = a_wallet(&world).await;
    let alice = world.alice.signer();
    let liar = Liar::before(world.node.url(), Tale::NullCalls).await;
    let sms = service(&world, "unanswered", vec![liar.url()]).await;
    put(&sms, wallet, &app, &alice).await.is_problem(503, "signature_unchecked");
    delete(&sms, wallet, &app, &alice).await.is_problem(503, "signature_unchecked");
    head(&sms, wallet, &app, &alice).await.is_bodiless_problem(503, "signature_unchecked");
    liar.tell(Tale::Truth);
    head(&sms, wallet, &app, &alice).await.is_bodiless_problem(404, "secret_absent");
}

/// The index says first whether the address owns anything here.
#[tokio::test]
async fn no_contract_is_asked_for_a_stranger() {
    let world = World::start().await;
    let (wallet, app) = a_wallet(&world).await;
    let poor = world.node.wallet(world.stranger.address()).await;
    let proxy = Liar::before(world.node.url(), Tale::Truth).await;
    let sms = service(&world, "watched", vec![proxy.url()]).await;
    let stranger = world.stranger.signer();

    head(&sms, poor, &app, &stranger).await.is_bodiless_problem(403, "not_owner");
    put(&sms, poor, &app, &stranger).await.is_problem(403, "not_owner");
    head(&sms, poor, &named(wallet, "mine"), &stranger).await.is_bodiless_problem(403, "not_owner");
    assert_eq!(proxy.asked("eth_call").len(), 0);
    head(&sms, wallet, &app, &stranger).await.is_bodiless_problem(401, "signature_refused");
    assert_eq!(proxy.asked("eth_call").len(), 1);
}
