//! What is granted arrives, byte for byte, and nothing else.

use alloy::primitives::B256;
use sesame_chain::Content;
use sesame_client::owner::PushOptions;
use sesame_domain::{Order, Resource, SecretId};
use sesame_protocol::{
    bundle::{Bundle, Omitted},
    owner::{MAX_SECRET_BYTES, SecretMetadata},
};
use sesame_tests::{Build, Scene, World, key_of, seeded};
use sha2::{Digest, Sha256};

/// What a bundle holds, by resource.
fn secrets(bundle: &Bundle) -> Vec<(Resource, Vec<u8>)> {
    let mut secrets: Vec<_> =
        bundle.secrets.iter().map(|secret| (secret.resource, secret.value.to_vec())).collect();
    secrets.sort();
    secrets
}

#[tokio::test]
async fn an_enclave_gets_what_was_granted_and_nothing_else() {
    let world = World::start().await;
    let scene = Scene::set(&world).await;

    let bundle = scene.run(&world).await;

    assert_eq!(
        secrets(&bundle),
        [
            (Resource::AppSecret, Scene::APP_SECRET.to_vec()),
            (Resource::RequesterSecret(1), Scene::DB_PASSWORD.to_vec()),
            (Resource::RequesterSecret(2), Scene::API_TOKEN.to_vec()),
            (Resource::ProtectedData(1), Scene::DATA_KEY.to_vec()),
        ]
    );
    assert_eq!((bundle.task, &bundle.order), (scene.task, &scene.order));
    assert_eq!(bundle.requester, world.requester.address());
    assert_eq!(bundle.sms, world.sms.identity);
    assert_eq!(bundle.data[0].digest, B256::new(Sha256::digest(Scene::DATA).into()));
    assert!(bundle.omitted.is_empty());
    assert!(bundle.confirmed.number < bundle.head.number);
    let explanation = world.sms.explain(scene.task).await;
    assert!(explanation.allowed && explanation.denials.is_empty(), "{explanation:?}");
}

#[tokio::test]
async fn resources_are_released_one_by_one_too() {
    let world = World::start().await;
    let scene = Scene::set(&world).await;
    let enclave = world.enclave(scene.build);

    let session = enclave.attest(scene.task, &world.worker).await.unwrap();

    for (resource, expected) in [
        (Resource::AppSecret, Scene::APP_SECRET),
        (Resource::RequesterSecret(1), Scene::DB_PASSWORD),
        (Resource::RequesterSecret(2), Scene::API_TOKEN),
        (Resource::ProtectedData(1), Scene::DATA_KEY),
    ] {
        let value = session.resource(scene.task, resource).await.unwrap();
        assert_eq!(value.as_slice(), expected, "{resource}");
    }
}

#[tokio::test]
async fn a_second_app_reads_the_same_requester_secret() {
    let world = World::start().await;
    let scene = Scene::set(&world).await;
    let build = Build::of("print(2)");
    let other = world.app(&world.bob).await;
    world.allow(&world.bob, other, build).await;

    let grants = vec![World::grant(7, "db-password")];
    let task = world.buy_and_begin(&Order { grants, ..world.order(other, build) }).await;

    let bundle = world.run(build, task).await.unwrap();
    let expected = [(Resource::RequesterSecret(7), Scene::DB_PASSWORD.to_vec())];
    assert_eq!(secrets(&bundle), expected, "an app without a secret has none in its bundle");
    assert_eq!(secrets(&scene.run(&world).await).len(), 4, "the first app still reads it");
}

#[tokio::test]
async fn a_new_version_is_what_is_released_next() {
    let world = World::start().await;
    let scene = Scene::set(&world).await;
    scene.run(&world).await;

    let pushed = world.developer.push(&SecretId::Asset(scene.app), b"rotated").await;

    assert_eq!(pushed.version, 2);
    let bundle = scene.run(&world).await;
    let secret = bundle.secrets.iter().find(|s| s.resource == Resource::AppSecret).unwrap();
    assert_eq!((secret.version, secret.value.as_slice()), (2, b"rotated".as_slice()));
}

/// The owner replaces content and key while a task is open: that task still gets the key of what it bought.
#[tokio::test]
async fn a_task_gets_the_key_of_the_content_that_it_bought() {
    let world = World::start().await;
    let scene = Scene::set(&world).await;
    let id = SecretId::Asset(scene.data);

    let digest = B256::new(Sha256::digest("new rows").into());
    let content = Content { uri: "https://example.org/new".to_owned(), digest };
    world.alice.chain.set_content(scene.data, &content).await.unwrap();
    world.alice.push_with(&id, b"the new key", &key_of(b"new rows")).await;
    let new = world.buy_and_begin(&scene.order).await;

    let old = scene.run(&world).await;
    assert_eq!(secrets(&old)[3], (Resource::ProtectedData(1), Scene::DATA_KEY.to_vec()));
    let new = world.run(scene.build, new).await.unwrap();
    assert_eq!(secrets(&new)[3], (Resource::ProtectedData(1), b"the new key".to_vec()));
    assert_eq!((&old.data[0].uri[..], &new.data[0].uri[..]).1, "https://example.org/new");
}

/// Bytes are bytes: one, NUL, not UTF-8, and as many as there may be.
#[tokio::test]
async fn every_value_arrives_byte_for_byte() {
    let world = World::start().await;
    let (build, app) = (Build::of("cat"), world.app(&world.developer).await);
    world.allow(&world.developer, app, build).await;
    let mut largest = vec![0u8; MAX_SECRET_BYTES];
    rand::RngCore::fill_bytes(&mut seeded(), &mut largest);
    assert_eq!(largest.len(), 4_194_304);
    let values: [(&str, &[u8]); 5] = [
        ("one", b"x"),
        ("nul", b"\0"),
        ("inner-nul", b"a\0b\0"),
        ("not_utf8", &[0xff, 0xfe, 0x80, 0xc0, 0x0a]),
        ("largest", &largest),
    ];
    for (name, value) in values {
        let metadata = world.requester.push(&world.requester.secret(name), value).await;
        assert_eq!(metadata.size, value.len() as u64);
    }

    let grants = (1..).zip(values).map(|(index, (name, _))| World::grant(index, name)).collect();
    let task = world.buy_and_begin(&Order { grants, ..world.order(app, build) }).await;

    let bundle = world.run(build, task).await.unwrap();
    for (index, (name, value)) in (1..).zip(values) {
        let of = Resource::RequesterSecret(index);
        let secret = bundle.secrets.iter().find(|secret| secret.resource == of).unwrap();
        assert!(secret.value.as_slice() == value, "{name} differs");
        let alone = world.enclave(build).resource(task, &world.worker, of).await.unwrap();
        assert!(alone == value, "{name} alone differs");
    }
}

/// Seventeen of the largest secrets do not fit one bundle: the last is named and fetched alone.
#[tokio::test]
async fn what_does_not_fit_a_bundle_is_listed_and_fetched_alone() {
    let world = World::start().await;
    let (build, app) = (Build::of("cat"), world.app(&world.developer).await);
    world.allow(&world.developer, app, build).await;
    for index in 1..=17u8 {
        let name = format!("part-{index}");
        let value = vec![index; MAX_SECRET_BYTES];
        world.requester.push(&world.requester.secret(&name), &value).await;
    }
    let grants = (1..=17).map(|index| World::grant(index, &format!("part-{index}"))).collect();
    let task = world.buy_and_begin(&Order { grants, ..world.order(app, build) }).await;

    let bundle = world.run(build, task).await.unwrap();

    assert_eq!(bundle.secrets.len(), 16);
    let expected = vec![17; MAX_SECRET_BYTES];
    assert_eq!(bundle.omitted, [Omitted::new(Resource::RequesterSecret(17), 1, &expected)]);
    let alone = Resource::RequesterSecret(17);
    let last = world.enclave(build).resource(task, &world.worker, alone).await.unwrap();
    assert!(last == expected, "the last part differs");
}

/// A secret pushed to go with the asset stays with it; one that is not stays with its owner.
#[tokio::test]
async fn a_transferable_key_goes_with_the_data() {
    let world = World::start().await;
    let (build, app) = (Build::of("sum"), world.app(&world.developer).await);
    let data = world.data(&world.alice, b"rows").await;
    world.allow(&world.developer, app, build).await;
    world.confirmed().await;
    let options = PushOptions { transferable: true, ..key_of(b"rows") };
    let pushed: SecretMetadata =
        world.alice.push_with(&SecretId::Asset(data), b"goes along", &options).await;
    assert!(pushed.transferable);

    world.alice.chain.transfer(data, world.bob.address()).await.unwrap();
    world.allow(&world.bob, data, build).await;
    let order = Order { data: vec![data], ..world.order(app, build) };
    let task = world.buy_and_begin(&order).await;

    let bundle = world.run(build, task).await.unwrap();
    assert_eq!(secrets(&bundle), [(Resource::ProtectedData(1), b"goes along".to_vec())]);
}
