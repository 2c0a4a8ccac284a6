//! The service stops, on purpose or not, and goes on where it was: the index is disposable, the vault is not.

use std::{fs, os::unix::fs::FileExt, path::Path, time::Duration};

use alloy::primitives::Address;
use sesame_client::{
    enclave::{EnclaveError, Guest},
    owner::PushOptions,
};
use sesame_domain::{Order, SecretId, TaskId};
use sesame_protocol::{bundle::Bundle, jwe::EnclaveKey, rcar::Tee, voucher::SignedVoucher};
use sesame_receipts::{LogError, verify_log};
use sesame_sms::ServeError;
use sesame_tests::{
    Build, Launch, Person, Program, Scene, Sms, World, codes_of, deployment_of, eventually, now,
    seeded,
};

#[tokio::test]
async fn secrets_and_index_go_on() {
    let mut world = World::start().await;
    let scene = Scene::set(&world).await;
    let before = scene.run(&world).await;

    world.sms.stop().await;
    world.sms.start_again().await;
    world.sms.ready().await;

    let after = scene.run(&world).await;
    assert_eq!(before.secrets, after.secrets);
    let pushed = world.developer.push(&SecretId::Asset(scene.app), b"next").await;
    assert_eq!(pushed.version, 2);
}

#[tokio::test]
async fn what_happened_meanwhile_counts() {
    let mut world = World::start().await;
    let scene = Scene::set(&world).await;
    scene.run(&world).await;

    world.sms.stop().await;
    world.requester.chain.revoke_grant(scene.task, 1).await.unwrap();
    world.sms.start_again().await;
    world.sms.ready().await;

    scene.ask(&world).await.is_denied(&["grant_revoked"]);
}

#[tokio::test]
async fn a_deleted_index_is_rebuilt() {
    let mut world = World::start().await;
    let scene = Scene::set(&world).await;
    let before = scene.run(&world).await;
    let other = world.buy(&scene.order).await;
    world.alice.chain.transfer(scene.data, world.bob.address()).await.unwrap();
    world.confirmed().await;
    let explained = world.sms.explain(other).await;

    world.sms.stop().await;
    fs::remove_dir_all(world.sms.data("index")).unwrap();
    world.sms.start_again().await;
    world.sms.ready().await;

    assert_eq!(world.sms.explain(other).await, explained);
    let at = Some(before.head.number);
    let then =
        sesame_client::public::Question { task: scene.task, block: at, ..Default::default() };
    assert_eq!(codes_of(&world.sms.explain_to(&then).await.denials), ["secret_unavailable"; 0]);
}

/// The name of the file of the vault's one key.
fn vault_key(world: &World) -> String {
    let mut names = fs::read_dir(world.sms.data("keys"))
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap());
    names.find(|name| name.starts_with("vault-")).unwrap()
}

/// Keys are never made anew beside a vault: what they sealed would be lost without a word.
#[tokio::test]
async fn missing_keys_beside_a_vault_are_refused() {
    let mut world = World::start().await;
    let scene = Scene::set(&world).await;
    world.sms.stop().await;

    let vault_key = vault_key(&world);
    for name in ["identity.key", "token.key", &vault_key] {
        let (path, away) = (world.sms.data("keys").join(name), world.folder().join(name));
        fs::rename(&path, &away).unwrap();
        let refusal = Sms::refusal(world.sms.config.clone()).await;
        assert!(
            matches!(refusal, ServeError::Keys(_) | ServeError::Vault(_)),
            "{name}: {refusal:?}"
        );
        assert!(!path.exists(), "{name} was made anew");
        fs::rename(&away, &path).unwrap();
    }
    // Another vault's key is no key for this one.
    let (path, away) = (world.sms.data("keys").join(vault_key), world.folder().join("kept"));
    fs::rename(&path, &away).unwrap();
    fs::copy(world.sms.data("keys/token.key"), &path).unwrap();
    let refusal = Sms::refusal(world.sms.config.clone()).await;
    assert!(matches!(refusal, ServeError::Vault(_)), "{refusal:?}");
    fs::rename(&away, &path).unwrap();

    world.sms.start_again().await;
    world.sms.ready().await;
    scene.run(&world).await;
}

/// An index or a vault of one deployment serves no other.
#[tokio::test]
async fn data_of_another_deployment_is_refused() {
    let mut world = World::start().await;
    world.sms.stop().await;
    let mut config = world.sms.config.clone();
    deployment_of(&mut config).asset_registry = Address::repeat_byte(1);
    let refusal = Sms::refusal(config.clone()).await;
    assert!(matches!(refusal, ServeError::Vault(_)), "{refusal:?}");
    fs::remove_dir_all(world.sms.data("vault")).unwrap();
    let refusal = Sms::refusal(config).await;
    assert!(matches!(refusal, ServeError::Index(_)), "{refusal:?}");
}

#[tokio::test]
async fn receipts_are_one_chain_and_every_byte_counts() {
    let mut world = World::start().await;
    let scene = Scene::set(&world).await;
    scene.run(&world).await;
    world.alice.chain.revoke(scene.data, scene.build.id()).await.unwrap();
    world.followed().await;
    scene.ask(&world).await.is_denied(&["not_whitelisted"]);
    let unknown = sesame_domain::TaskId::default();
    let bundle = sesame_domain::Resource::Bundle;
    world.ask(scene.build, unknown, bundle).await.is_denied(&["task_unknown"]);
    world.sms.stop().await;

    let (path, identity) = (world.sms.data("receipts.log"), world.sms.identity);
    assert_eq!(
        verify_log(&path, identity).unwrap().size(),
        2,
        "decisions on unknown tasks are not logged"
    );
    let stranger = verify_log(&path, world.stranger.address());
    assert!(matches!(stranger, Err(LogError::Broken(0))), "{stranger:?}");
    let whole = fs::read(&path).unwrap();
    let copy = world.folder().join("receipts.log");
    let lines: Vec<_> = whole.split_inclusive(|byte| *byte == b'\n').collect();
    let [header, first, rest @ ..] = lines.as_slice() else { panic!("no receipts") };
    for at in (header.len()..whole.len() - 1).step_by(7) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        fs::write(&copy, flipped).unwrap();
        let checked = verify_log(&copy, identity);
        assert!(matches!(checked, Err(LogError::Broken(_))), "byte {at}: {checked:?}");
    }
    // A line left out.
    fs::write(&copy, [header, &rest.concat()[..]].concat()).unwrap();
    assert!(matches!(verify_log(&copy, identity), Err(LogError::Broken(0))));

    // A service does not go on with a broken log, but drops a line that a power cut tore.
    let mut flipped = whole.clone();
    flipped[header.len() + 20] ^= 1;
    fs::write(&path, &flipped).unwrap();
    let refusal = Sms::refusal(world.sms.config.clone()).await;
    assert!(matches!(refusal, ServeError::Receipts(_)), "{refusal:?}");
    fs::write(&path, [whole.as_slice(), &first[..first.len() / 2]].concat()).unwrap();
    world.sms.start_again().await;
    world.sms.ready().await;
    scene.ask(&world).await.is_denied(&["not_whitelisted"]);
    world.sms.stop().await;
    assert_eq!(verify_log(&path, identity).unwrap().size(), 3);
}

/// The answer to whoever asks says that something is broken, and nothing of what.
#[tokio::test]
async fn a_damaged_vault_is_an_internal_error() {
    let mut world = World::start().await;
    let scene = Scene::set(&world).await;
    let large = vec![7; 1 << 20];
    world.developer.push(&SecretId::Asset(scene.app), &large).await;
    // What was written last is written out when the vault opens again.
    world.sms.stop().await;
    world.sms.start_again().await;
    world.sms.ready().await;

    let mut damaged = 0;
    for file in fs::read_dir(world.sms.data("vault")).unwrap().map(|file| file.unwrap().path()) {
        if file.extension().is_some_and(|extension| extension == "sst" || extension == "blob") {
            let length = fs::metadata(&file).unwrap().len();
            let handle = fs::OpenOptions::new().write(true).open(&file).unwrap();
            // In place, as a failing disk would do it: the service has the file open.
            handle.write_all_at(&vec![0; usize::try_from(length).unwrap()], 0).unwrap();
            damaged += 1;
        }
    }
    assert!(damaged > 0, "the vault has no tables yet");

    let answer = scene.ask(&world).await;
    answer.is_problem(500, "internal");
    let body = String::from_utf8(answer.body).unwrap();
    assert!(!body.to_lowercase().contains("rocksdb") && !body.contains("sst"), "{body}");
}

/// Killed at any moment of a push, it keeps what it acknowledged and nothing half.
#[tokio::test]
async fn killed_in_mid_push_it_keeps_what_it_acknowledged() {
    let world = World::start().await;
    let folder = world.folder().join("killed");
    let mut random = seeded();
    let launch = |listen| launch(&world, &folder, listen);
    let program = Program::start(&launch("127.0.0.1:0"));
    program.ready().await;
    let (identity, listen) = (program.status().await.identity, program.listen());
    let sms = (program.base(), identity);
    let owner = Person::new(world.node.key(3), &world.node.url(), &world.deployment, sms).await;
    program.kill();
    let secret = owner.secret("counter");
    let value = |version: u64| format!("{version} ").repeat(20_000).into_bytes();

    let (mut acknowledged, mut rounds) = (0, 0);
    while rounds < 6 || acknowledged == 0 {
        assert!(rounds < 60, "nothing was acknowledged");
        rounds += 1;
        let program = Program::start(&launch(&listen));
        program.ready().await;
        let shown = owner.owner.show(now(), &secret).await.unwrap();
        let kept = shown.map_or(0, |metadata| metadata.version);
        assert!((acknowledged..=acknowledged + 1).contains(&kept), "{kept} of {acknowledged}");
        acknowledged = kept;
        let deadline = rand::Rng::random_range(&mut random, 5..200);
        let pushing = async {
            let options = PushOptions::default();
            loop {
                let value = value(acknowledged + 1);
                match owner.owner.push(now(), &secret, &value, &options).await {
                    Ok(metadata) => acknowledged = metadata.version,
                    Err(error) => return error,
                }
            }
        };
        let killed = async {
            tokio::time::sleep(Duration::from_millis(deadline)).await;
            program.kill();
        };
        tokio::join!(pushing, killed);
    }

    let program = Program::start(&launch(&listen));
    program.ready().await;
    let newest = owner.owner.show(now(), &secret).await.unwrap().unwrap();
    assert!(newest.version >= acknowledged);
    let (build, app) = (Build::of("cat"), world.app(&world.developer).await);
    world.allow(&world.developer, app, build).await;
    let grants = vec![World::grant(1, "counter")];
    let order = Order { sms: identity, grants, ..world.order(app, build) };
    let task = world.buy_and_begin(&order).await;
    let bundle = released(&world, &program, identity, build, task).await;
    let [secret] = bundle.secrets.as_slice() else { panic!("{bundle:?}") };
    assert_eq!(secret.version, newest.version);
    assert!(secret.value.as_slice() == value(newest.version), "the value is torn");
}

/// How a program beside the world's own service is started.
pub(crate) fn launch<'a>(world: &'a World, folder: &'a Path, listen: &'a str) -> Launch<'a> {
    Launch {
        rpc_url: world.node.url(),
        deployment: &world.deployment,
        folder,
        listen,
        confirmations: 2,
        root: Some(world.published()),
    }
}

/// What an enclave gets from the program, once it follows the chain.
pub(crate) async fn released(
    world: &World,
    program: &Program,
    identity: Address,
    build: Build,
    task: TaskId,
) -> Bundle {
    eventually("the program releases", async || {
        match asked(world, program, identity, build, task).await {
            Ok(bundle) => Some(bundle),
            Err(error) if error.passes_with_time() => None,
            Err(error) => panic!("{error}; an old program?"),
        }
    })
    .await
}

/// What an enclave is answered by the program.
pub(crate) async fn asked(
    world: &World,
    program: &Program,
    identity: Address,
    build: Build,
    task: TaskId,
) -> Result<Bundle, EnclaveError> {
    let key = EnclaveKey::random();
    let (thumbprint, signer) = (key.thumbprint(), world.worker.signer());
    let guest = Guest::new(program.base(), identity, key, Tee::Sgx).unwrap();
    let domain = world.sms.domain();
    let voucher = SignedVoucher::sign(task, identity, thumbprint, now() + 300, &domain, &signer);
    let quote = |data| Ok::<_, std::convert::Infallible>(build.quote(data, &world.root));
    let session = guest.attest(Some(&voucher), quote).await.unwrap();
    session.bundle(task).await
}
