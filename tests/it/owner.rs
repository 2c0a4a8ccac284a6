//! What owners may do, and everything that the owner surface refuses.

use alloy::primitives::{B256, U256, keccak256};
use reqwest::Method;
use sesame_client::owner::PushOptions;
use sesame_domain::{AssetId, SecretId};
use sesame_protocol::{
    owner::{
        AUTHORIZATION_HEADER, MAX_SEALED_BYTES, METADATA_HEADER, SEALED_CONTENT_TYPE,
        SecretMetadata, SignedQuery, SignedRemoval, SignedUpdate, owned_by,
    },
    sealing,
    signature::Signature65,
    typed::{Domain, SecretQuery, SecretRemoval, SecretUpdate},
};
use sesame_sms::vault::Upkeep;
use sesame_tests::{Answer, Options, Person, World, key_of, late, now};

const OCTETS: Option<&str> = Some(SEALED_CONTENT_TYPE);

/// A first version of a secret, as its owner would sign it.
async fn first(world: &World, owner: &Person, secret: &SecretId) -> SecretUpdate {
    let key = world.sms.keys().await.sealing();
    SecretUpdate::new(secret, owner.address(), 0, 1, key, now() + 300)
}

/// The header and the body of a push.
fn signed(world: &World, owner: &Person, update: SecretUpdate) -> (String, Vec<u8>) {
    let (signed, body) =
        SignedUpdate::seal(update, b"value", &world.sms.domain(), &owner.signer()).unwrap();
    (signed.to_header(), body)
}

/// A push by hand.
async fn put(world: &World, secret: &SecretId, header: &str, body: Vec<u8>) -> Answer {
    send(world, Method::PUT, &format!("v1/{secret}"), Some(header), OCTETS, body).await
}

/// Signs, seals, pushes.
async fn push(world: &World, owner: &Person, secret: &SecretId, update: SecretUpdate) -> Answer {
    let (header, body) = signed(world, owner, update);
    put(world, secret, &header, body).await
}

async fn send(
    world: &World,
    method: Method,
    path: &str,
    authorization: Option<&str>,
    content_type: Option<&str>,
    body: Vec<u8>,
) -> Answer {
    let mut request = world.sms.request(method, path).body(body);
    for (name, value) in [(AUTHORIZATION_HEADER, authorization), ("content-type", content_type)] {
        if let Some(value) = value {
            request = request.header(name, value);
        }
    }
    Answer::to(request).await
}

fn question(world: &World, owner: &Person, secret: &SecretId) -> SecretQuery {
    let (resource, sms) = (secret.to_string(), world.sms.identity);
    SecretQuery { resource, owner: owner.address(), sms, deadline: now() + 300 }
}

fn query(world: &World, owner: &Person, secret: &SecretId) -> String {
    let query = question(world, owner, secret);
    SignedQuery::sign(&query, &world.sms.domain(), &owner.signer()).to_header()
}

async fn head(world: &World, owner: &Person, secret: &SecretId) -> Answer {
    let header = query(world, owner, secret);
    send(world, Method::HEAD, &format!("v1/{secret}"), Some(&header), None, Vec::new()).await
}

fn removal(world: &World, owner: &Person, secret: &SecretId, version: u64) -> SecretRemoval {
    let (resource, owner, sms) = (secret.to_string(), owner.address(), world.sms.identity);
    SecretRemoval { resource, owner, sms, epoch: 0, version, deadline: now() + 300 }
}

async fn delete(world: &World, owner: &Person, secret: &SecretId, asked: SecretRemoval) -> Answer {
    let header = SignedRemoval::sign(&asked, &world.sms.domain(), &owner.signer()).to_header();
    send(world, Method::DELETE, &format!("v1/{secret}"), Some(&header), None, Vec::new()).await
}

/// A confirmed app of the developer's.
async fn an_app(world: &World) -> (AssetId, SecretId) {
    let app = world.app(&world.developer).await;
    world.confirmed().await;
    (app, SecretId::Asset(app))
}

#[tokio::test]
async fn versions_rise_by_one_through_removal() {
    let world = World::start().await;
    let (_, app) = an_app(&world).await;
    let developer = &world.developer;
    assert_eq!(developer.owner.show(now(), &app).await.unwrap(), None);

    assert_eq!(developer.push(&app, b"one").await.version, 1);
    let second = developer.push(&app, b"second").await;
    assert_eq!((second.version, second.size, second.epoch), (2, 6, 0));
    let shown = developer.owner.show(now(), &app).await.unwrap();
    assert_eq!(shown, Some(second));
    assert_eq!(head(&world, developer, &app).await.header("etag"), Some("\"2\""));

    let removed = developer.owner.remove(now(), &app, 0).await.unwrap();
    assert_eq!((removed.version, removed.size), (3, 0));
    assert_eq!(developer.owner.show(now(), &app).await.unwrap(), None);
    let gone = head(&world, developer, &app).await;
    gone.is_bodiless_problem(404, "secret_absent");
    let tombstone = SecretMetadata::parse(gone.header(METADATA_HEADER).unwrap()).unwrap();
    assert_eq!(tombstone.version, 3);

    assert_eq!(developer.push(&app, b"again").await.version, 4);
}

#[tokio::test]
async fn the_first_push_creates_and_the_next_replaces() {
    let world = World::start().await;
    let (_, app) = an_app(&world).await;
    let update = first(&world, &world.developer, &app).await;

    let created = push(&world, &world.developer, &app, update.clone()).await;
    assert_eq!(created.status, 201);
    let replaced = SecretUpdate { version: 2, ..update };
    assert_eq!(push(&world, &world.developer, &app, replaced).await.status, 200);
    for value in [&created.body, &created.header(METADATA_HEADER).unwrap().as_bytes().to_vec()] {
        assert!(!String::from_utf8_lossy(value).contains("value"), "metadata alone");
    }
}

#[tokio::test]
async fn requests_are_signed_and_well_formed() {
    let world = World::start().await;
    let secret = world.requester.secret("mine");
    let path = format!("v1/{secret}");
    let update = first(&world, &world.requester, &secret).await;
    let (header, body) = signed(&world, &world.requester, update);

    let bare = send(&world, Method::PUT, &path, None, OCTETS, body.clone()).await;
    bare.is_problem(401, "signature_missing");
    let bare = send(&world, Method::DELETE, &path, None, None, Vec::new()).await;
    bare.is_problem(401, "signature_missing");
    let bare = send(&world, Method::HEAD, &path, None, None, Vec::new()).await;
    bare.is_bodiless_problem(401, "signature_missing");

    let padded = format!("{header}=");
    let other_kind = query(&world, &world.requester, &secret);
    let long = "A".repeat(9000);
    for malformed in ["", "not base64", "e30", &padded, &other_kind, &long] {
        let answer = put(&world, &secret, malformed, body.clone()).await;
        assert_eq!(answer.header("sesame-problem"), Some("signature_malformed"), "{malformed}");
        answer.is_problem(400, "signature_malformed");
    }
    let twice = world.sms.request(Method::PUT, &path).body(body.clone());
    let twice = twice.header("content-type", SEALED_CONTENT_TYPE);
    let twice = twice.header(AUTHORIZATION_HEADER, &header).header(AUTHORIZATION_HEADER, &header);
    Answer::to(twice).await.is_problem(400, "signature_malformed");

    for wrong in [None, Some("application/json"), Some("text/plain; charset=utf-8")] {
        let answer = send(&world, Method::PUT, &path, Some(&header), wrong, body.clone()).await;
        answer.is_problem(415, "wrong_content_type");
    }
    put(&world, &secret, &header, body).await.is_ok();
}

/// The twin of a signature with the other `s` is not another signature.
#[tokio::test]
async fn malleable_and_impossible_signatures_are_malformed() {
    let world = World::start().await;
    let secret = world.requester.secret("mine");
    let domain = world.sms.domain();
    let update = first(&world, &world.requester, &secret).await;
    let (good, body) =
        SignedUpdate::seal(update, b"value", &domain, &world.requester.signer()).unwrap();
    let signature: Signature65 = good.signature.bytes().as_ref().try_into().unwrap();
    let order: U256 =
        "0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141".parse().unwrap();

    let mut twin = signature;
    let s = U256::from_be_slice(&twin[32..64]);
    twin[32..64].copy_from_slice(&(order - s).to_be_bytes::<32>());
    twin[64] = if twin[64] == 27 { 28 } else { 27 };
    let mut no_recovery = signature;
    no_recovery[64] = 29;
    for signature in [twin, no_recovery, Signature65::ZERO, Signature65::repeat_byte(0xff)] {
        let header = SignedUpdate { signature: signature.into(), ..good.clone() }.to_header();
        put(&world, &secret, &header, body.clone()).await.is_problem(400, "signature_malformed");
    }
    put(&world, &secret, &good.to_header(), body).await.is_ok();
}

#[tokio::test]
async fn signatures_hold_for_a_while() {
    let world = World::start().await;
    let secret = world.requester.secret("mine");
    let update = first(&world, &world.requester, &secret).await;
    for deadline in [0, now() - 5, now() + 3700, u64::MAX] {
        let update = SecretUpdate { deadline, ..update.clone() };
        let answer = push(&world, &world.requester, &secret, update).await;
        answer.is_problem(401, "signature_expired");
    }
    let asked = SecretRemoval { deadline: 1, ..removal(&world, &world.requester, &secret, 1) };
    let answer = delete(&world, &world.requester, &secret, asked).await;
    answer.is_problem(401, "signature_expired");
}

#[tokio::test]
async fn a_signature_is_good_for_one_chain_resource_and_version() {
    let world = World::start().await;
    let World { requester, stranger, .. } = &world;
    let (secret, other) = (requester.secret("mine"), requester.secret("other"));
    let update = first(&world, requester, &secret).await;
    let here = world.sms.domain();

    let chain = Domain { chain_id: 1, ..here };
    let registry = Domain { asset_registry: world.deployment.task_registry, ..here };
    for elsewhere in [chain, registry] {
        let signer = requester.signer();
        let (signed, body) =
            SignedUpdate::seal(update.clone(), b"value", &elsewhere, &signer).unwrap();
        let answer = put(&world, &secret, &signed.to_header(), body).await;
        answer.is_problem(401, "wrong_signer");
    }
    let (header, body) = signed(&world, requester, update.clone());
    put(&world, &other, &header, body.clone()).await.is_problem(401, "wrong_signer");
    let (header, body) = signed(&world, stranger, update.clone());
    put(&world, &secret, &header, body).await.is_problem(401, "wrong_signer");
    let (signed, body) = SignedUpdate::seal(update, b"value", &here, &requester.signer()).unwrap();
    for altered in [
        SignedUpdate { version: 2, ..signed.clone() },
        SignedUpdate { epoch: 1, ..signed.clone() },
        SignedUpdate { transferable: true, ..signed.clone() },
        SignedUpdate { deadline: signed.deadline + 1, ..signed },
    ] {
        let answer = put(&world, &secret, &altered.to_header(), body.clone()).await;
        answer.is_problem(401, "wrong_signer");
    }
    let forged = removal(&world, requester, &secret, 1);
    delete(&world, stranger, &secret, forged).await.is_problem(401, "wrong_signer");
}

/// What was said to one SMS is not said to another of the same chain.
#[tokio::test]
async fn a_removal_or_query_for_another_sms_is_worth_nothing() {
    let world = World::start().await;
    let (secret, owner) = (world.requester.secret("mine"), &world.requester);
    let kept = owner.push(&secret, b"value").await;
    let elsewhere = world.stranger.address();

    let asked = SecretQuery { sms: elsewhere, ..question(&world, owner, &secret) };
    let header = SignedQuery::sign(&asked, &world.sms.domain(), &owner.signer()).to_header();
    let path = format!("v1/{secret}");
    let answer = send(&world, Method::HEAD, &path, Some(&header), None, Vec::new()).await;
    answer.is_bodiless_problem(401, "wrong_signer");

    let asked = SecretRemoval { sms: elsewhere, ..removal(&world, owner, &secret, 2) };
    delete(&world, owner, &secret, asked).await.is_problem(401, "wrong_signer");
    assert_eq!(owner.owner.show(now(), &secret).await.unwrap(), Some(kept));
}

#[tokio::test]
async fn strangers_are_not_owners() {
    let world = World::start().await;
    let (_, app) = an_app(&world).await;
    let World { requester, stranger, developer, .. } = &world;
    developer.push(&app, b"value").await;
    let mine = requester.secret("mine");

    for secret in [&app, &mine] {
        let update = first(&world, stranger, secret).await;
        push(&world, stranger, secret, update).await.is_problem(403, "not_owner");
        let asked = removal(&world, stranger, secret, 2);
        delete(&world, stranger, secret, asked).await.is_problem(403, "not_owner");
        head(&world, stranger, secret).await.is_bodiless_problem(403, "not_owner");
    }
    let nowhere = SecretId::Asset(AssetId(B256::repeat_byte(3)));
    let update = first(&world, stranger, &nowhere).await;
    push(&world, stranger, &nowhere, update).await.is_problem(404, "asset_unknown");
    head(&world, stranger, &nowhere).await.is_bodiless_problem(404, "asset_unknown");
}

#[tokio::test]
async fn ownership_counts_once_it_is_confirmed() {
    let world = World::start().await;
    let app = world.app(&world.developer).await;
    let secret = SecretId::Asset(app);
    world.followed().await;
    let update = first(&world, &world.developer, &secret).await;

    let early = push(&world, &world.developer, &secret, update.clone()).await;
    early.is_problem(409, "not_yet_confirmed");
    let early = head(&world, &world.developer, &secret).await;
    early.is_bodiless_problem(409, "not_yet_confirmed");

    world.confirmed().await;
    push(&world, &world.developer, &secret, update).await.is_ok();

    // A sale counts against the seller at once, and for the buyer once it is confirmed.
    world.developer.chain.transfer(app, world.bob.address()).await.unwrap();
    world.followed().await;
    let late = first(&world, &world.developer, &secret).await;
    let late = SecretUpdate { version: 2, ..late };
    push(&world, &world.developer, &secret, late).await.is_problem(403, "not_owner");
    let early = SecretUpdate { epoch: 1, version: 2, ..first(&world, &world.bob, &secret).await };
    let answer = push(&world, &world.bob, &secret, early.clone()).await;
    answer.is_problem(409, "not_yet_confirmed");
    world.confirmed().await;
    push(&world, &world.bob, &secret, early).await.is_ok();
}

#[tokio::test]
async fn the_signed_epoch_is_the_assets() {
    let world = World::start().await;
    let (_, app) = an_app(&world).await;
    let mine = world.requester.secret("mine");
    for (owner, secret) in [(&world.developer, &app), (&world.requester, &mine)] {
        let update = SecretUpdate { epoch: 1, ..first(&world, owner, secret).await };
        push(&world, owner, secret, update).await.is_problem(409, "wrong_epoch");
        owner.push(secret, b"value").await;
        let asked = SecretRemoval { epoch: 1, ..removal(&world, owner, secret, 2) };
        delete(&world, owner, secret, asked).await.is_problem(409, "wrong_epoch");
    }
}

#[tokio::test]
async fn a_key_names_its_content_and_nothing_else_does() {
    let world = World::start().await;
    let data = SecretId::Asset(world.data(&world.alice, b"rows").await);
    let (_, app) = an_app(&world).await;
    let mine = world.requester.secret("mine");

    let nameless = first(&world, &world.alice, &data).await;
    push(&world, &world.alice, &data, nameless).await.is_problem(422, "wrong_content_digest");
    for (owner, secret) in [(&world.developer, &app), (&world.requester, &mine)] {
        let named = SecretUpdate {
            contentDigest: B256::repeat_byte(1),
            ..first(&world, owner, secret).await
        };
        push(&world, owner, secret, named).await.is_problem(422, "wrong_content_digest");
    }
    world.alice.push_with(&data, b"key", &key_of(b"rows")).await;
}

#[tokio::test]
async fn versions_do_not_skip_repeat_or_fall() {
    let world = World::start().await;
    let secret = world.requester.secret("mine");
    let update = first(&world, &world.requester, &secret).await;
    let version = |version| SecretUpdate { version, ..update.clone() };
    for early in [0, 2, u64::MAX] {
        let answer = push(&world, &world.requester, &secret, version(early)).await;
        answer.is_problem(409, "version_conflict");
    }
    let (header, body) = signed(&world, &world.requester, version(1));
    put(&world, &secret, &header, body.clone()).await.is_ok();

    put(&world, &secret, &header, body.clone()).await.is_problem(409, "replayed");
    let another = push(&world, &world.requester, &secret, version(1)).await;
    another.is_problem(409, "version_conflict");
    for wrong in [0, 1, 3] {
        let asked = removal(&world, &world.requester, &secret, wrong);
        let answer = delete(&world, &world.requester, &secret, asked).await;
        answer.is_problem(409, "version_conflict");
    }
    let asked = removal(&world, &world.requester, &secret, 2);
    delete(&world, &world.requester, &secret, asked).await.is_ok();
    // What was removed does not come back by a replay.
    let replayed = put(&world, &secret, &header, body).await;
    assert_eq!(replayed.status, 409);
    head(&world, &world.requester, &secret).await.is_bodiless_problem(404, "secret_absent");
    let asked = removal(&world, &world.requester, &secret, 3);
    let again = delete(&world, &world.requester, &secret, asked).await;
    again.is_problem(404, "secret_absent");
}

#[tokio::test]
async fn two_pushes_at_once_do_not_both_win() {
    let world = World::start().await;
    let secret = world.requester.secret("mine");
    let update = first(&world, &world.requester, &secret).await;
    let pushes = (0..8).map(|_| push(&world, &world.requester, &secret, update.clone()));
    let mut won = 0;
    let mut pushes: Vec<_> = pushes.map(Box::pin).collect();
    let answers =
        tokio::join!(pushes.remove(0), pushes.remove(0), pushes.remove(0), pushes.remove(0));
    for answer in [answers.0, answers.1, answers.2, answers.3] {
        if answer.status == 201 {
            won += 1;
        } else {
            answer.is_problem(409, "version_conflict");
        }
    }
    assert_eq!(won, 1);
}

/// The key that owners seal to changes while bodies are on their way: the one before opens until it is retired at once.
#[tokio::test]
async fn the_sealing_key_changes_without_downtime_and_a_stolen_one_opens_no_more() {
    let mut world = World::start().await;
    let rotate = async |world: &World, overlap| {
        let upkeep = Upkeep {
            data_dir: world.sms.config.data_dir.clone(),
            places: world.sms.config.places(),
            followed: world.sms.config.followed.clone(),
        };
        upkeep.rotate_sealing_key(overlap).await.unwrap().key
    };
    let published = async |world: &World| world.sms.public().keys().await.unwrap();
    let (a, b) = (world.requester.secret("a"), world.requester.secret("b"));
    let before = published(&world).await;
    assert_eq!(before.retired, []);
    let (on_its_way, late) =
        (first(&world, &world.requester, &a).await, first(&world, &world.requester, &b).await);

    let key = rotate(&world, 3600).await;
    let after = published(&world).await;
    assert_eq!(after.sealing.key, key);
    assert_eq!(after.retired[0].key, before.sealing.key);
    after.verify(world.sms.identity, &world.sms.domain(), now()).unwrap();
    assert_eq!(push(&world, &world.requester, &a, on_its_way).await.status, 201);
    world.requester.push(&a, b"to the new key").await;

    // Also of a stopped service.
    world.sms.stop().await;
    let stolen = key;
    let key = rotate(&world, 0).await;
    world.sms.start_again().await;
    world.sms.ready().await;
    let after = published(&world).await;
    let retired: Vec<_> = after.retired.iter().map(|retired| retired.key).collect();
    assert_eq!((after.sealing.key, retired), (key, vec![stolen, before.sealing.key]));
    push(&world, &world.requester, &b, late).await.is_problem(422, "wrong_sealing_key");
    let to_the_stolen =
        SecretUpdate { smsKey: stolen, ..first(&world, &world.requester, &b).await };
    push(&world, &world.requester, &b, to_the_stolen).await.is_problem(422, "wrong_sealing_key");
    world.requester.push(&b, b"to the newest key").await;
}

#[tokio::test]
async fn a_sealed_body_cannot_be_lifted_elsewhere() {
    let world = World::start().await;
    let (_, app) = an_app(&world).await;
    let other = SecretId::Asset(world.app(&world.developer).await);
    world.confirmed().await;
    let domain = world.sms.domain();
    let update = first(&world, &world.developer, &app).await;
    let (header, body) = signed(&world, &world.developer, update.clone());

    // Another body under the same signature.
    let mut flipped = body.clone();
    flipped[40] ^= 1;
    put(&world, &app, &header, flipped).await.is_problem(422, "wrong_digest");
    put(&world, &app, &header, Vec::new()).await.is_problem(422, "wrong_digest");

    // The body of one asset, signed for the other.
    let lifted = first(&world, &world.developer, &other).await;
    let lifted = SecretUpdate { sealedDigest: keccak256(&body), ..lifted };
    let signature = world.developer.signer().sign_hash(domain.signing_hash(&lifted));
    let lifted = SignedUpdate::new(lifted, signature).to_header();
    put(&world, &other, &lifted, body.clone()).await.is_problem(422, "does_not_open");
    // Nor does it open as another version of the same.
    let later = SecretUpdate { version: 2, sealedDigest: keccak256(&body), ..update.clone() };
    let signature = world.developer.signer().sign_hash(domain.signing_hash(&later));
    let later = SignedUpdate::new(later, signature).to_header();
    put(&world, &app, &later, body.clone()).await.is_problem(422, "does_not_open");
    // A body that is too short to be one.
    let short = SecretUpdate { sealedDigest: keccak256([7; 20]), ..update.clone() };
    let signature = world.developer.signer().sign_hash(domain.signing_hash(&short));
    let short = SignedUpdate::new(short, signature).to_header();
    put(&world, &app, &short, vec![7; 20]).await.is_problem(422, "does_not_open");

    let stray = sealing::SealingKey::random().public();
    let stray = SecretUpdate { smsKey: stray, ..update };
    push(&world, &world.developer, &app, stray).await.is_problem(422, "wrong_sealing_key");

    head(&world, &world.developer, &app).await.is_bodiless_problem(404, "secret_absent");
    put(&world, &app, &header, body).await.is_ok();
}

#[tokio::test]
async fn a_secret_has_one_to_four_mebibytes() {
    let world = World::start().await;
    let secret = world.requester.secret("mine");
    let domain = world.sms.domain();
    let update = first(&world, &world.requester, &secret).await;
    let sealed = |value: &[u8]| {
        let body = sealing::seal(update.smsKey, update.sealing_info(), value).unwrap();
        let update = SecretUpdate { sealedDigest: keccak256(&body), ..update.clone() };
        let signature = world.requester.signer().sign_hash(domain.signing_hash(&update));
        (SignedUpdate::new(update, signature).to_header(), body)
    };

    let (header, body) = sealed(b"");
    put(&world, &secret, &header, body).await.is_problem(422, "wrong_length");
    let (header, body) = sealed(&vec![1; 4_194_305]);
    assert_eq!(body.len(), MAX_SEALED_BYTES + 1);
    put(&world, &secret, &header, body.clone()).await.is_problem(413, "too_large");
    // The same in pieces, without a length that announces it.
    let request = world.sms.request(Method::PUT, &format!("v1/{secret}"));
    let request = request.header(AUTHORIZATION_HEADER, &header);
    let request = request.header("content-type", SEALED_CONTENT_TYPE);
    let pieces: Vec<Result<Vec<u8>, std::io::Error>> =
        body.chunks(1 << 20).map(|piece| Ok(piece.to_vec())).collect();
    let request = request.body(reqwest::Body::wrap_stream(futures::stream::iter(pieces)));
    Answer::to(request).await.is_problem(413, "too_large");

    head(&world, &world.requester, &secret).await.is_bodiless_problem(404, "secret_absent");
    let (header, body) = sealed(&vec![1; 4_194_304]);
    assert_eq!(body.len(), MAX_SEALED_BYTES);
    put(&world, &secret, &header, body).await.is_ok();
}

/// Anybody may push secrets of their own, so these end where the index and the receipts would find no room.
#[tokio::test]
async fn secrets_leave_room_for_index_and_receipts() {
    let full = Options { free_reserve_bytes: u64::MAX, ..Options::default() };
    let mut world = World::with(full).await;
    let secret = world.requester.secret("mine");
    let update = first(&world, &world.requester, &secret).await;
    let refused = push(&world, &world.requester, &secret, update.clone()).await;
    refused.is_problem(507, "storage_low");
    // The body is not waited for.
    let (header, _) = signed(&world, &world.requester, update.clone());
    let request = world.sms.request(Method::PUT, &format!("v1/{secret}"));
    let request = request.header(AUTHORIZATION_HEADER, &header);
    let request = request.header("content-type", SEALED_CONTENT_TYPE);
    let endless = futures::stream::pending::<Result<Vec<u8>, std::io::Error>>();
    let refused = Answer::to(request.body(reqwest::Body::wrap_stream(endless))).await;
    refused.is_problem(507, "storage_low");
    // Strangers do not learn of it.
    let strange = push(&world, &world.stranger, &secret, update.clone()).await;
    strange.is_problem(401, "wrong_signer");
    world.app(&world.developer).await;
    world.confirmed().await;

    world.sms.stop().await;
    world.sms.config.free_reserve_bytes = 0;
    world.sms.start_again().await;
    world.sms.ready().await;
    push(&world, &world.requester, &secret, update).await.is_ok();
}

#[tokio::test]
async fn after_a_sale_the_old_secret_is_nobodys() {
    let world = World::start().await;
    let (app, id) = an_app(&world).await;
    let data = world.data(&world.developer, b"rows").await;
    world.confirmed().await;
    let World { developer, bob, .. } = &world;
    developer.push(&id, b"mine").await;
    let along = PushOptions { transferable: true, ..key_of(b"rows") };
    developer.push_with(&SecretId::Asset(data), b"goes along", &along).await;

    developer.chain.transfer(app, bob.address()).await.unwrap();
    developer.chain.transfer(data, bob.address()).await.unwrap();
    world.confirmed().await;

    head(&world, developer, &id).await.is_bodiless_problem(403, "not_owner");
    let hidden = head(&world, bob, &id).await;
    hidden.is_bodiless_problem(404, "secret_absent");
    let shown = SecretMetadata::parse(hidden.header(METADATA_HEADER).unwrap()).unwrap();
    assert_eq!((shown.version, shown.size, shown.owner), (1, 0, bob.address()));
    assert_eq!(shown.sealed_digest, B256::ZERO);
    let kept = bob.owner.show(now(), &SecretId::Asset(data)).await.unwrap().unwrap();
    assert_eq!((kept.size, kept.transferable), (10, true));

    let own = PushOptions { epoch: 1, ..PushOptions::default() };
    assert_eq!(bob.push_with(&id, b"bob's", &own).await.version, 2);
}

/// Whoever sends a body for longer than a sale takes is not the owner any more when it has come: with a key that goes along, it would
/// take the place of the buyer's.
#[tokio::test]
async fn a_body_that_ends_after_a_sale_is_nobodys() {
    let world = World::start().await;
    let data = world.data(&world.developer, b"rows").await;
    world.confirmed().await;
    let (World { developer, bob, .. }, id) = (&world, SecretId::Asset(data));
    developer.push_with(&id, b"the seller's", &key_of(b"rows")).await;
    let third = SecretUpdate {
        version: 3,
        transferable: true,
        contentDigest: key_of(b"rows").content_digest,
        ..first(&world, developer, &id).await
    };
    // Long enough to be on its way for as long as the sale takes.
    let (value, signer) = (vec![7; 4 << 20], developer.signer());
    let (third, body) = SignedUpdate::seal(third, &value, &world.sms.domain(), &signer).unwrap();
    let header = third.to_header();
    let headers = [(AUTHORIZATION_HEADER, header.as_str()), ("content-type", SEALED_CONTENT_TYPE)];

    let sale = async || {
        developer.chain.transfer(data, bob.address()).await.unwrap();
        world.confirmed().await;
        let own = PushOptions { epoch: 1, ..key_of(b"rows") };
        assert_eq!(bob.push_with(&id, b"the buyer's", &own).await.version, 2);
    };
    let pushed = late(&world.sms, &format!("PUT /v1/{id}"), &headers, &body, sale).await;

    pushed.is_problem(403, "not_owner");
    let kept = bob.owner.show(now(), &id).await.unwrap().unwrap();
    assert_eq!((kept.version, kept.owner), (2, bob.address()));
}

/// The signed question what `owner` has.
fn listing(world: &World, owner: &Person) -> String {
    let (resource, sms) = (owned_by(owner.address()), world.sms.identity);
    let query = SecretQuery { resource, owner: owner.address(), sms, deadline: now() + 300 };
    SignedQuery::sign(&query, &world.sms.domain(), &owner.signer()).to_header()
}

#[tokio::test]
async fn an_owner_lists_what_is_theirs_and_nothing_else() {
    let world = World::start().await;
    let World { developer, bob, .. } = &world;
    let (app, id) = an_app(&world).await;
    let empty = SecretId::Asset(world.app(developer).await);
    let (data, sold) = (world.data(developer, b"rows").await, world.app(developer).await);
    world.confirmed().await;
    assert_eq!(developer.owner.list(now()).await.unwrap(), []);

    let (mine, other) = (developer.secret("mine"), developer.secret("other"));
    let mut all = [developer.push(&mine, b"1").await, developer.push(&id, b"22").await];
    developer.push(&other, b"333").await;
    developer.owner.remove(now(), &other, 0).await.unwrap();
    let along = PushOptions { transferable: true, ..key_of(b"rows") };
    let goes = developer.push_with(&SecretId::Asset(data), b"key", &along).await;
    developer.push(&SecretId::Asset(sold), b"stays").await;
    all[0] = developer.push(&mine, b"4444").await;
    bob.push(&bob.secret("mine"), b"bob's").await;
    let listed = developer.owner.list(now()).await.unwrap();
    assert_eq!(listed.len(), 4);
    assert!(all.iter().chain([&goes]).all(|one| listed.contains(one)), "{listed:?}");
    assert!(listed.iter().all(|one| one.resource != empty.to_string()));
    assert_eq!(listed[0], all[0], "named ones come first, by their newest version");

    // What was sold is nobody's until the sale is confirmed; then the buyer sees what goes along.
    for asset in [data, sold] {
        developer.chain.transfer(asset, bob.address()).await.unwrap();
    }
    world.followed().await;
    let left = async |person: &Person| {
        let listed = person.owner.list(now()).await.unwrap().into_iter();
        listed.map(|one| one.resource).collect::<Vec<_>>()
    };
    let own = bob.secret("mine").to_string();
    assert_eq!(left(developer).await, [mine.to_string(), SecretId::Asset(app).to_string()]);
    assert_eq!(left(bob).await, std::slice::from_ref(&own));
    world.confirmed().await;
    assert_eq!(left(bob).await, [own, SecretId::Asset(data).to_string()]);
}

#[tokio::test]
async fn a_long_list_comes_in_pages() {
    let world = World::start().await;
    let requester = &world.requester;
    for number in 0..103 {
        requester.push(&requester.secret(&format!("n{number}")), b"value").await;
    }
    let path = format!("v1/{}", owned_by(requester.address()));
    let header = listing(&world, requester);
    let first = send(&world, Method::GET, &path, Some(&header), None, Vec::new()).await.json();
    assert_eq!(first["secrets"].as_array().unwrap().len(), 100);
    let more = format!("{path}?after={}", first["next"].as_str().unwrap());
    let last = send(&world, Method::GET, &more, Some(&header), None, Vec::new()).await.json();
    assert_eq!(last["secrets"].as_array().unwrap().len(), 3);
    assert!(last.get("next").is_none());

    let listed = requester.owner.list(now()).await.unwrap();
    let names: std::collections::BTreeSet<_> = listed.iter().map(|one| &one.resource).collect();
    assert_eq!((listed.len(), names.len()), (103, 103));
}

/// Whoever asks learns of their own secrets alone, not even how many others have.
#[tokio::test]
async fn nobody_lists_what_others_have() {
    let world = World::start().await;
    let World { requester, stranger, .. } = &world;
    requester.push(&requester.secret("mine"), b"value").await;
    let path = format!("v1/{}", owned_by(requester.address()));
    let ask = async |path: &str, header: Option<&str>| {
        send(&world, Method::GET, path, header, None, Vec::new()).await
    };
    let good = listing(&world, requester);

    ask(&path, None).await.is_problem(401, "signature_missing");
    ask(&path, Some(&listing(&world, stranger))).await.is_problem(403, "not_owner");
    let one = query(&world, requester, &requester.secret("mine"));
    ask(&path, Some(&one)).await.is_problem(401, "wrong_signer");
    let asked = |sms, deadline| {
        let resource = owned_by(requester.address());
        let query = SecretQuery { resource, owner: requester.address(), sms, deadline };
        let forged = SignedQuery::sign(&query, &world.sms.domain(), &stranger.signer());
        let signed = SignedQuery::sign(&query, &world.sms.domain(), &requester.signer());
        (signed.to_header(), forged.to_header())
    };
    let (_, forged) = asked(world.sms.identity, now() + 300);
    ask(&path, Some(&forged)).await.is_problem(401, "wrong_signer");
    let (elsewhere, _) = asked(stranger.address(), now() + 300);
    ask(&path, Some(&elsewhere)).await.is_problem(401, "wrong_signer");
    let (late, _) = asked(world.sms.identity, 1);
    ask(&path, Some(&late)).await.is_problem(401, "signature_expired");
    for wrong in ["?after=x", "?after=assets/0x12/secret", "?after=a&after=b", "?limit=9"] {
        ask(&format!("{path}{wrong}"), Some(&good)).await.is_problem(400, "malformed_id");
    }
    ask("v1/owners/0x12/secrets", Some(&good)).await.is_problem(400, "malformed_id");
    ask(&path, Some(&good)).await.is_ok();
}

#[tokio::test]
async fn paths_have_one_spelling() {
    let world = World::start().await;
    let address = world.requester.address().to_string();
    let secret = world.requester.secret("mine");
    let header = query(&world, &world.requester, &secret);
    let long = "x".repeat(65);
    for path in [
        "v1/assets/12/secret".to_owned(),
        "v1/assets/%ff/secret".to_owned(),
        format!("v1/requesters/{address}/secrets/%ff"),
        format!("v1/assets/0x{}/secret", "zz".repeat(32)),
        "v1/requesters/0x12/secrets/mine".to_owned(),
        format!("v1/requesters/{}/secrets/mine", &address[2..]),
        format!("v1/requesters/{address}/secrets/{long}"),
        format!("v1/requesters/{address}/secrets/a.b"),
        format!("v1/requesters/{address}/secrets/a%20b"),
    ] {
        for method in [Method::PUT, Method::DELETE] {
            let answer = send(&world, method, &path, Some(&header), OCTETS, vec![1]).await;
            answer.is_problem(400, "malformed_id");
        }
        let answer = send(&world, Method::HEAD, &path, Some(&header), None, Vec::new()).await;
        answer.is_bodiless_problem(400, "malformed_id");
    }
    for path in ["", "v1", "v2/status", "v1/assets", "v1/status/", "%ff"] {
        let answer = world.sms.get(path).await;
        answer.is_problem(404, "not_found");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    }
    for (method, path) in [
        (Method::GET, format!("v1/{secret}")),
        (Method::POST, format!("v1/{secret}")),
        (Method::DELETE, "v1/status".to_owned()),
    ] {
        let answer = send(&world, method, &path, Some(&header), None, Vec::new()).await;
        answer.is_problem(405, "method_not_allowed");
    }
}

/// An agent of the protocol reads `ErrorInformation`, wherever under its surface it asks.
#[tokio::test]
async fn what_is_not_there_for_an_agent_is_told_in_the_protocols_form() {
    let world = World::start().await;
    for (method, path, status, code) in [
        (Method::GET, "kbs/v0", 404, "not_found"),
        (Method::POST, "kbs/v0/attestation", 404, "not_found"),
        (Method::POST, "kbs/v1/auth", 404, "not_found"),
        (Method::GET, "kbs/v0/resource/only-one", 404, "not_found"),
        (Method::GET, "kbs/v0/auth", 405, "method_not_allowed"),
        (Method::DELETE, "kbs/e30/v0/attest", 405, "method_not_allowed"),
    ] {
        let answer = Answer::to(world.sms.request(method, path)).await;
        answer.is_problem(status, code);
        assert_eq!(answer.header("content-type"), Some("application/json"), "{path}");
        assert_eq!(answer.json().get("status"), None, "{path}: that is no problem document's");
    }
}
