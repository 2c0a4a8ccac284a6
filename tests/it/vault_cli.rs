//! `sesame vault` as an operator runs it.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use rocksdb::{DB, IteratorMode, Options};
use serde_json::Value;
use sesame_tests::{Scene, World, program};

/// `sesame vault <verb> --json`.
fn command(world: &World, verb: &str, data_dir: &Path) -> Command {
    let manifest = world.folder().join("manifest.json");
    fs::write(&manifest, serde_json::to_string(&world.deployment).unwrap()).unwrap();
    let mut command = Command::new(program());
    command.args(["vault", verb, "--json", "--data-dir"]).arg(data_dir);
    command.arg("--deployment").arg(&manifest);
    command
}

/// The exit code and what was printed.
async fn run(mut command: Command) -> (Option<i32>, Value, String) {
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let printed = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.code(), printed, String::from_utf8(output.stderr).unwrap())
}

/// The files of the vault's keys.
fn vault_keys(world: &World) -> Vec<PathBuf> {
    let files = fs::read_dir(world.sms.data("keys")).unwrap().map(|file| file.unwrap().path());
    files.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("vault-")).collect()
}

async fn check(world: &World, data_dir: &Path) -> (Option<i32>, Value, String) {
    run(command(world, "check", data_dir)).await
}

#[tokio::test]
async fn a_vault_is_checked_record_by_record() {
    let mut world = World::start().await;
    Scene::set(&world).await;
    let folder = world.sms.config.data_dir.clone();
    world.sms.stop().await;
    let (code, printed, said) = check(&world, &folder).await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!((&printed["records"], &printed["damaged"]), (&4.into(), &Value::Array(vec![])));
    for value in [Scene::APP_SECRET, Scene::DB_PASSWORD, Scene::DATA_KEY] {
        let value = String::from_utf8_lossy(value);
        assert!(!printed.to_string().contains(&*value) && !said.contains(&*value));
    }

    // One bit of one value.
    let tables = ["default", "records", "values", "meta"];
    let db = DB::open_cf(&Options::default(), world.sms.data("vault"), tables).unwrap();
    let values = db.cf_handle("values").unwrap();
    let (key, value) = db.iterator_cf(values, IteratorMode::Start).last().unwrap().unwrap();
    let mut value = value.into_vec();
    value[20] ^= 1;
    db.put_cf(values, key, value).unwrap();
    drop(db);
    let (code, printed, _) = check(&world, &folder).await;
    assert_eq!(code, Some(2));
    assert_eq!(printed["records"], 3);
    let named = printed["damaged"][0].as_str().unwrap();
    assert!(named.starts_with("requesters/") && named.ends_with(" version 1"), "{named}");
}

#[tokio::test]
async fn another_key_or_no_vault_is_told() {
    let mut world = World::start().await;
    Scene::set(&world).await;
    world.sms.stop().await;
    let folder = world.sms.config.data_dir.clone();
    let [key] = vault_keys(&world).try_into().unwrap();
    fs::write(&key, "11".repeat(32)).unwrap();
    let (code, _, said) = check(&world, &folder).await;
    assert_eq!(code, Some(1));
    assert!(said.contains("does not hold the key"), "{said}");
    fs::remove_file(&key).unwrap();
    let (code, _, said) = check(&world, &folder).await;
    assert_eq!(code, Some(1));
    assert!(said.contains("is missing: put it back at"), "{said}");
    let (code, _, said) = check(&world, &world.folder().join("nowhere")).await;
    assert_eq!(code, Some(1));
    assert!(said.contains("there is no vault in"), "{said}");
    assert!(!world.folder().join("nowhere").exists());
}

/// A service that runs looks after its vault itself: keys change beside pushes and releases, and nobody notices.
#[tokio::test]
async fn a_running_service_is_asked_through_its_socket() {
    let world = World::start().await;
    let scene = Scene::set(&world).await;
    let folder = world.sms.config.data_dir.clone();
    let socket = fs::metadata(folder.join("operator.sock")).unwrap();
    assert_eq!(socket.permissions().mode() & 0o777, 0o600);
    let (code, printed, said) = check(&world, &folder).await;
    assert_eq!((code, &printed["records"]), (Some(0), &4.into()), "{said}");

    let [old] = vault_keys(&world).try_into().unwrap();
    let secret = world.requester.secret("beside");
    let pushing = async {
        for value in 0..20 {
            world.requester.push(&secret, &[value; 64]).await;
            scene.run(&world).await;
        }
    };
    let rotating = async {
        for _ in 0..4 {
            let (code, printed, said) = run(command(&world, "rotate-key", &folder)).await;
            assert_eq!(code, Some(0), "{printed} {said}");
        }
    };
    tokio::join!(pushing, rotating);
    fs::remove_file(old).unwrap();
    let (code, printed, said) = check(&world, &folder).await;
    assert_eq!((code, &printed["records"]), (Some(0), &5.into()), "{said}");

    // One that was made before is taken up by name; one that is nowhere is refused by the service.
    let (_, made, _) = run(command(&world, "make-key", &folder)).await;
    let to = |key: &str| {
        let mut command = command(&world, "rotate-key", &folder);
        command.args(["--to", key]);
        command
    };
    let made = made["key"].as_str().unwrap();
    let (code, printed, said) = run(to(made)).await;
    assert_eq!((code, printed["key"].as_str()), (Some(0), Some(made)), "{said}");
    let (code, _, said) = run(to("0011223344556677")).await;
    assert_eq!(code, Some(1));
    assert!(said.contains("0011223344556677 is missing"), "{said}");
    scene.run(&world).await;
}

/// What a service that was killed left behind is no service.
#[tokio::test]
async fn a_socket_without_a_service_is_none() {
    let mut world = World::start().await;
    Scene::set(&world).await;
    let folder = world.sms.config.data_dir.clone();
    world.sms.stop().await;
    assert!(!folder.join("operator.sock").exists());
    drop(std::os::unix::net::UnixListener::bind(folder.join("operator.sock")).unwrap());
    let (code, printed, said) = check(&world, &folder).await;
    assert_eq!((code, &printed["records"]), (Some(0), &4.into()), "{said}");
    world.sms.start_again().await;
    world.sms.ready().await;
    assert_eq!(check(&world, &folder).await.0, Some(0));
}

/// Whenever a rotation is killed, the vault is whole; the last one finishes it, and the service goes on.
#[tokio::test]
async fn a_rotation_is_killed_again_and_again() {
    let mut world = World::start().await;
    let scene = Scene::set(&world).await;
    for number in 0..60 {
        let secret = world.requester.secret(&format!("n{number}"));
        world.requester.push(&secret, &vec![7; 1000]).await;
    }
    let folder = world.sms.config.data_dir.clone();
    let [old] = vault_keys(&world).try_into().unwrap();
    world.sms.stop().await;
    let mut finished = 0;
    for number in 0..20_u64 {
        let mut running = command(&world, "rotate-key", &folder).spawn().unwrap();
        tokio::time::sleep(Duration::from_millis(number * 4)).await;
        running.kill().unwrap();
        finished += u32::from(running.wait().unwrap().success());
        let (code, printed, said) = check(&world, &folder).await;
        assert_eq!(code, Some(0), "{printed} {said}");
        assert_eq!(printed["records"], 64, "{said}");
    }
    eprintln!("20 rotations killed, {finished} of them too late");
    let (code, printed, said) = run(command(&world, "rotate-key", &folder)).await;
    assert_eq!((code, &printed["records"]), (Some(0), &64.into()), "{said}");
    // Nothing needs the key before, nor those of rotations that died before they began.
    let named = format!("vault-{}.key", printed["key"].as_str().unwrap());
    for key in vault_keys(&world) {
        if key.file_name().unwrap() != named.as_str() {
            fs::remove_file(key).unwrap();
        }
    }
    assert!(!old.exists());

    world.sms.start_again().await;
    world.sms.ready().await;
    scene.run(&world).await;
}
