//! Every decision leaves a receipt that its owners find, and that nobody can take back.

use std::{
    fs,
    process::{Command, Output},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use rand::Rng;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use sesame_client::ClientError;
use sesame_domain::{Resource, SecretId};
use sesame_protocol::{
    owner::AUTHORIZATION_HEADER,
    rcar::{self, SESSION_COOKIE},
    receipts::{PAGE, ReceiptsOf, SignedReceiptQuery},
};
use sesame_receipts::{Receipt, SignedReceipt, Tiles, verify_checkpoint, verify_log};
use sesame_tests::{Answer, Launch, Person, Program, Scene, World, now, program, seeded};
use tokio::task::JoinSet;

use crate::replay::all;

const KILLS: usize = 5;
const ALL_KILLS: usize = 300;
const CLIENTS: usize = 24;

async fn receipts(
    world: &World,
    person: &Person,
    of: ReceiptsOf,
) -> Result<Vec<Receipt>, ClientError> {
    let listed = person.owner.receipts(now(), &of).await?;
    let verified = |line: &str| {
        let signed = SignedReceipt::parse(line).expect("a line of the log");
        signed.verify(world.sms.identity).expect("the service signed it")
    };
    Ok(listed.iter().map(|listed| verified(&listed.line)).collect())
}

/// One of them runs it, then one of the owners takes their word back.
async fn granted_and_denied(world: &World) -> Scene {
    let scene = Scene::set(world).await;
    scene.run(world).await;
    world.alice.chain.revoke(scene.data, scene.build.id()).await.unwrap();
    world.followed().await;
    scene.ask(world).await.is_denied(&["not_whitelisted"]);
    scene
}

#[track_caller]
fn is_refused(result: &Result<Vec<Receipt>, ClientError>, code: &str) {
    let told = matches!(result, Err(ClientError::Problem(problem)) if problem.code == code);
    assert!(told, "not {code}: {result:?}");
}

#[tokio::test]
async fn owners_and_requester_find_the_receipts_of_what_is_theirs() {
    let world = World::start().await;
    let scene = granted_and_denied(&world).await;

    let data = ReceiptsOf::Asset(scene.data);
    let found = receipts(&world, &world.alice, data).await.unwrap();
    let [granted, denied] = found.as_slice() else { panic!("two decisions: {found:?}") };
    assert_eq!((granted.index, denied.index), (0, 1));
    assert_eq!(granted.decision.task, scene.task.0);
    assert_eq!(granted.decision.enclave, scene.build.id().0);
    assert_eq!(granted.decision.released.len(), 4);
    assert_eq!(denied.decision.denials, ["not_whitelisted"]);
    assert_eq!(denied.decision.assets, [(scene.app.0, 0), (scene.data.0, 0)]);
    assert_ne!(granted.salt, denied.salt);
    let app = ReceiptsOf::Asset(scene.app);
    assert_eq!(receipts(&world, &world.developer, app).await.unwrap(), found);
    let bought = ReceiptsOf::Requester(world.requester.address());
    assert_eq!(receipts(&world, &world.requester, bought).await.unwrap(), found);

    // Nobody sees what is others'.
    is_refused(&receipts(&world, &world.stranger, data).await, "not_owner");
    is_refused(&receipts(&world, &world.developer, data).await, "not_owner");
    is_refused(&receipts(&world, &world.stranger, bought).await, "not_owner");
    let none = ReceiptsOf::Requester(world.stranger.address());
    assert_eq!(receipts(&world, &world.stranger, none).await.unwrap(), []);
    world.sms.get(&format!("v1/{data}")).await.is_problem(401, "signature_missing");
    let elsewhere = SignedReceiptQuery::sign(
        &data,
        world.stranger.address(),
        now() + 60,
        &world.sms.domain(),
        &world.alice.signer(),
    );
    let asked = async |header: String, query: &str| {
        let request = world.sms.request(Method::GET, &format!("v1/{data}{query}"));
        Answer::to(request.header(AUTHORIZATION_HEADER, header)).await
    };
    asked(elsewhere.to_header(), "").await.is_problem(401, "wrong_signer");
    let (sms, domain) = (world.sms.identity, world.sms.domain());
    let mine = SignedReceiptQuery::sign(&data, sms, now() + 60, &domain, &world.alice.signer());
    asked(mine.to_header(), "?from=x").await.is_problem(400, "malformed_id");
    asked(mine.to_header(), "?from=1").await.is_ok();
    let late = SignedReceiptQuery::sign(&data, sms, now() - 1, &domain, &world.alice.signer());
    asked(late.to_header(), "").await.is_problem(401, "signature_expired");
}

/// What the public sees is a head and hashes, under which a receipt is proven to who has it.
#[tokio::test]
async fn anybody_may_have_the_heads_and_hashes() {
    let world = World::start().await;
    let scene = granted_and_denied(&world).await;
    let public = world.sms.public();

    let key = public.receipts_key().await.unwrap();
    let key = key.verify(world.sms.identity, &world.sms.domain()).unwrap();
    let head = verify_checkpoint(&public.checkpoint().await.unwrap(), key).unwrap();
    assert_eq!(head.size(), 2);
    let mut tiles = Tiles::default();
    tiles.insert("0/000.p/2".to_owned(), public.tile("0/000.p/2").await.unwrap());
    let listed = world.alice.owner.receipts(now(), &ReceiptsOf::Asset(scene.data)).await.unwrap();
    for receipt in &listed {
        assert_eq!(head.includes(receipt.index, receipt.line.as_bytes(), &tiles), Ok(()));
        let other = head.includes(1 - receipt.index, receipt.line.as_bytes(), &tiles);
        assert!(other.is_err(), "{other:?}");
    }
    for path in ["0/000", "0/000.p/3", "1/000.p/1", "entries/000"] {
        let tile = public.tile(path).await;
        assert!(
            matches!(&tile, Err(ClientError::Problem(problem)) if problem.code == "not_found"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_former_owner_and_the_next_see_their_own_time_alone() {
    let world = World::start().await;
    let scene = Scene::set(&world).await;
    scene.run(&world).await;
    let data = ReceiptsOf::Asset(scene.data);
    assert_eq!(receipts(&world, &world.alice, data).await.unwrap().len(), 1);

    world.alice.chain.transfer(scene.data, world.bob.address()).await.unwrap();
    world.followed().await;
    is_refused(&receipts(&world, &world.bob, data).await, "not_yet_confirmed");
    world.confirmed().await;
    is_refused(&receipts(&world, &world.alice, data).await, "not_owner");
    assert_eq!(receipts(&world, &world.bob, data).await.unwrap(), []);

    let denied = scene.ask(&world).await;
    denied.is_problem(403, "denied");
    let found = receipts(&world, &world.bob, data).await.unwrap();
    assert_eq!(found.len(), 1, "what was decided since");
    assert_eq!(found[0].decision.assets[1], (scene.data.0, 1));
}

#[tokio::test]
async fn many_receipts_come_in_pages() {
    let world = World::start().await;
    let scene = Scene::set(&world).await;
    let enclave = world.attested(scene.build, scene.task).await;
    for _ in 0..PAGE + 1 {
        enclave.ask(scene.task, Resource::AppSecret).await.is_ok();
    }
    let found = receipts(&world, &world.developer, ReceiptsOf::Asset(scene.app)).await.unwrap();
    let indexes: Vec<_> = found.iter().map(|receipt| receipt.index).collect();
    assert_eq!(indexes, (0..=PAGE as u64).collect::<Vec<_>>());
    // The app's secret alone is not about the data.
    assert_eq!(receipts(&world, &world.alice, ReceiptsOf::Asset(scene.data)).await.unwrap(), []);
}

/// An owner's shell.
async fn sesame(world: &World, person: &Person, arguments: &[&str]) -> Output {
    let manifest = world.folder().join("manifest.json");
    fs::write(&manifest, serde_json::to_string(&world.deployment).unwrap()).unwrap();
    let mut command = Command::new(program());
    command
        .env("SESAME_PRIVATE_KEY", person.private_key())
        .current_dir(world.folder())
        .arg("receipts")
        .args(arguments)
        .args(["--sms-url", world.sms.base()])
        .args(["--sms-identity", &world.sms.identity.to_string()])
        .arg("--deployment")
        .arg(manifest);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

#[track_caller]
fn printed(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[track_caller]
fn fails(output: &Output, words: &str) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains(words), "no {words:?}: {errors}");
}

/// The service's operator has all keys, and is noticed nevertheless.
#[tokio::test]
async fn a_client_that_kept_a_checkpoint_notices_a_tampered_log() {
    let mut world = World::start().await;
    let scene = granted_and_denied(&world).await;
    let asset = scene.data.to_string();

    let listed = sesame(&world, &world.alice, &["list", "--asset", &asset, "--json"]).await;
    assert_eq!(printed(&listed)[1]["decision"]["denials"][0], "not_whitelisted");
    let table = sesame(&world, &world.requester, &["list"]).await;
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.contains("allowed") && table.contains("bundle/all"), "{table}");
    let verify = async |world: &World| {
        sesame(world, &world.alice, &["verify", "--asset", &asset, "--json"]).await
    };
    let verified = printed(&verify(&world).await);
    assert_eq!(
        (&verified["receipts_of_yours"], &verified["grown_from"]),
        (&2.into(), &Value::Null)
    );
    let stranger = sesame(&world, &world.stranger, &["verify", "--asset", &asset]).await;
    assert_ne!(stranger.status.code(), Some(0));

    // It grows, and that is well.
    scene.ask(&world).await.is_denied(&["not_whitelisted"]);
    let verified = printed(&verify(&world).await);
    assert_eq!((&verified["receipts_in_all"], &verified["grown_from"]), (&3.into(), &2.into()));

    // The last receipt goes: the service itself refuses, until its own checkpoint and index go, too.
    world.sms.stop().await;
    let path = world.sms.data("receipts.log");
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<_> = text.lines().collect();
    fs::write(&path, lines[..3].join("\n") + "\n").unwrap();
    let refusal = sesame_tests::Sms::refusal(world.sms.config.clone()).await;
    assert!(refusal.to_string().contains("cut off"), "{refusal}");
    fs::remove_file(world.sms.data("receipts.checkpoint")).unwrap();
    let refusal = sesame_tests::Sms::refusal(world.sms.config.clone()).await;
    assert!(refusal.to_string().contains("cut off"), "{refusal}");
    fs::remove_dir_all(world.sms.data("receipts.index")).unwrap();
    world.sms.start_again().await;
    world.sms.ready().await;
    fails(&verify(&world).await, "it was cut off");
    // Filled up again, it has another past.
    for _ in 0..3 {
        scene.ask(&world).await.is_denied(&["not_whitelisted"]);
    }
    fails(&verify(&world).await, "forked or rewritten");

    // The file alone looks well: every line is signed.
    let log = path.to_str().unwrap();
    let offline = sesame(&world, &world.alice, &["verify", "--log", log, "--json"]).await;
    assert_eq!(printed(&offline)["receipts_in_all"], 5);
    fs::write(&path, text.replace("bundle/all", "bundle/one")).unwrap();
    fails(&sesame(&world, &world.alice, &["verify", "--log", log]).await, "receipt 0");
}

/// `kill -9` while many ask at once: whatever was answered has its receipt.
#[tokio::test]
async fn killed_at_any_moment_every_answered_release_has_its_receipt() {
    let mut world = World::start().await;
    let scene = Scene::set(&world).await;
    world.developer.push(&SecretId::Asset(scene.app), b"short").await;
    let (path, identity) = (world.sms.data("receipts.log"), world.sms.identity);
    let mut random = seeded();
    let (mut answered_in_all, mut unanswered) = (0, 0);
    let root = Some(world.published());
    let data = world.sms.config.data_dir.clone();
    let resource = rcar::resource_path(scene.task, Resource::AppSecret);
    let listen = world.sms.base().trim_start_matches("http://").to_owned();
    world.sms.stop().await;
    let (mut kills, least) = (0, if all() { ALL_KILLS } else { KILLS });
    while kills < least || answered_in_all == 0 {
        assert!(kills < least + 60, "the kills came before any answer");
        kills += 1;
        let before = verify_log(&path, identity).unwrap().size();
        let program = Program::start(&Launch {
            rpc_url: world.node.url(),
            deployment: &world.deployment,
            folder: &data,
            listen: &listen,
            confirmations: 2,
            root: root.clone(),
        });
        program.ready().await;
        let cookie = world.attested(scene.build, scene.task).await.cookie.clone();
        let answered = std::sync::Arc::new(AtomicU64::new(0));
        let (client, mut clients) = (reqwest::Client::new(), JoinSet::new());
        for _ in 0..CLIENTS {
            let request = client.get(format!("{}/{resource}", program.base()));
            let request = request.header("cookie", format!("{SESSION_COOKIE}={cookie}"));
            let answered = answered.clone();
            clients.spawn(async move {
                while let Ok(answer) = request.try_clone().expect("no body").send().await {
                    // The service limits what one address may ask and what it takes on, as it does by default.
                    let limits = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE];
                    if limits.contains(&answer.status()) {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                        continue;
                    }
                    assert_eq!(answer.status(), StatusCode::OK);
                    if answer.bytes().await.is_err() {
                        break;
                    }
                    answered.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(50..400))).await;
        tokio::task::spawn_blocking(move || program.kill()).await.unwrap();
        clients.join_all().await;
        let answered = answered.load(Ordering::SeqCst);
        let receipts = verify_log(&path, identity).unwrap().size() - before;
        assert!(receipts >= answered, "{answered} were answered, {receipts} have a receipt");
        assert!(receipts <= answered + CLIENTS as u64, "{receipts} receipts for {answered}");
        answered_in_all += answered;
        unanswered += receipts - answered;
    }
    eprintln!("{answered_in_all} releases answered, {unanswered} more on record");
}
