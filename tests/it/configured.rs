//! A service as an operator configures it: one file, the environment and options over it; and what a supervisor learns when it
//! does not start.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use alloy::primitives::Address;
use serde_json::Value;
use sesame_tests::{Launch, Node, Program, Scene, World, program};

/// A file of this world with more lines for `serve`.
fn file(world: &World, more: &str) -> PathBuf {
    let manifest = world.folder().join("manifest.json");
    fs::write(&manifest, serde_json::to_string(&world.deployment).unwrap()).unwrap();
    let path = world.folder().join("sesame.toml");
    let text = format!(
        "rpc-url = [{:?}]\ndeployment = {manifest:?}\n\n[serve]\nlisten = \"127.0.0.1:0\"\ndata-dir = {:?}\n\
         confirmations = {}\nmax-head-age-s = 3600\n{more}",
        world.node.url(),
        world.sms.config.data_dir,
        world.confirmations(),
    );
    fs::write(&path, text).unwrap();
    path
}

fn sesame(file: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.args(words).arg("--config").arg(file);
    command
}

/// Exit code, what was printed, what was said.
async fn end(mut command: Command) -> (Option<i32>, String, String) {
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn a_file_is_enough_and_the_environment_and_the_line_win() {
    let mut world = World::start().await;
    world.sms.stop().await;
    let file = file(&world, "poll-ms = 20\n");
    let sound = Program::of(sesame(&file, &["serve"]));
    sound.ready().await;
    sound.kill();

    let nowhere = "http://127.0.0.1:1";
    fs::write(&file, fs::read_to_string(&file).unwrap().replace(&world.node.url(), nowhere))
        .unwrap();
    let mut command = sesame(&file, &["serve"]);
    command.env("SESAME_RPC_URL", world.node.url());
    let by_environment = Program::of(command);
    by_environment.ready().await;
    by_environment.kill();
    let by_line = Program::of(sesame(&file, &["serve", "--rpc-url", &world.node.url()]));
    by_line.ready().await;
}

#[tokio::test]
async fn every_mistake_is_told_at_once_and_nothing_starts() {
    let mut world = World::start().await;
    world.sms.stop().await;
    let before = fs::read_dir(&world.sms.config.data_dir).unwrap().count();
    let file = file(&world, "pol-ms = 20\nquorum = \"some\"\nlog-format = \"json\"\n");
    for words in [&["serve"][..], &["config", "check"], &["vault", "check"]] {
        let mut command = sesame(&file, words);
        command.env("SESAME_HEADS_URL", "ws://one,ws://two");
        let (code, printed, said) = end(command).await;
        assert_eq!((code, printed.as_str()), (Some(64), ""), "{words:?}: {said}");
        for told in [
            "sesame.toml:9: there is no option pol-ms",
            "is poll-ms meant?",
            "sesame.toml:10: quorum",
            "sesame.toml:11",
        ] {
            assert!(said.contains(told), "{told}: {said}");
        }
    }
    let after = fs::read_dir(&world.sms.config.data_dir).unwrap().count();
    assert_eq!(before, after);
}

#[tokio::test]
async fn a_check_finds_what_serve_would_refuse() {
    let mut world = World::start().await;
    world.sms.stop().await;
    let sound = file(&world, "");
    let (code, printed, said) = end(sesame(&sound, &["config", "check", "--json"])).await;
    assert_eq!(code, Some(0), "{said}");
    let printed: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(printed["tables"], serde_json::json!(["serve"]));

    let lonely = file(&world, "hsm-token = \"sesame\"\n");
    let (code, _, said) = end(sesame(&lonely, &["config", "check"])).await;
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains("--hsm-module"), "{said}");

    let nowhere = file(&world, "vault-url-file = \"/nowhere/vault.url\"\n");
    let (code, _, said) = end(sesame(&nowhere, &["config", "check"])).await;
    assert_ne!(code, Some(0));
    assert!(said.contains("/nowhere/vault.url"), "{said}");
}

#[tokio::test]
async fn a_check_finds_what_a_worker_would_refuse() {
    let mut world = World::start().await;
    world.sms.stop().await;
    let (root, missing) = (world.folder().join("root.key"), world.folder().join("authorization"));
    let process = format!("quoter = \"q\"\nlauncher = \"l\"\nroot-key = {root:?}\n");
    let oci =
        format!("runner = \"oci\"\nimage = \"sesame:1\"\nenclave = \"0x{}\"\n", "09".repeat(32));
    let check = async |table: &str, with_account: bool| {
        let serve = file(&world, &format!("\n[worker]\n{table}"));
        let mut command = sesame(&serve, &["config", "check", "--json"]);
        command.env("SESAME_SMS_URL", world.sms.base());
        command.env("SESAME_SMS_IDENTITY", Address::repeat_byte(1).to_string());
        command.env_remove("SESAME_PRIVATE_KEY");
        if with_account {
            command.env("SESAME_PRIVATE_KEY", "11".repeat(32));
        }
        end(command).await
    };
    let (code, printed, said) = check(&process, true).await;
    assert_eq!(code, Some(0), "{said}");
    let printed: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(printed["tables"], serde_json::json!(["serve", "worker"]));

    for (table, with_account, told) in [
        ("work-dir = \"w\"\n", true, "--quoter is missing"),
        ("quoter = \"q\"\nroot-key = \"k\"\n", true, "--launcher is missing"),
        ("runner = \"oci\"\n", true, "--enclave"),
        ("runner = \"gramine\"\n", true, "--gramine-folder"),
        (&format!("{process}app-cpus = 2\n"), true, "--app-cgroup"),
        (
            &format!(
                "{oci}result-url = \"https://x.example\"\nresult-authorization-file = {missing:?}\n"
            ),
            true,
            "authorization",
        ),
        (&process, false, "no account is given"),
    ] {
        let (code, printed, said) = check(table, with_account).await;
        assert!(!matches!(code, Some(0) | None), "{table}: {printed}");
        assert!(said.contains(told), "{table}: {told}: {said}");
    }
}

#[tokio::test]
async fn what_is_in_use_is_shown_with_where_it_comes_from_and_without_keys() {
    let mut world = World::start().await;
    world.sms.stop().await;
    let file = file(&world, "poll-ms = 25\n");
    let mut command = sesame(&file, &["config", "show", "serve", "--json"]);
    command.env("SESAME_RPC_URL", "http://node.example/the-key-of-the-node");
    let (code, printed, said) = end(command).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(!printed.contains("the-key-of-the-node") && !said.contains("the-key-of-the-node"));
    let rows: Vec<Value> = serde_json::from_str(&printed).unwrap();
    let row = |option: &str| {
        let row = rows.iter().find(|row| row["option"] == option);
        let row = row.unwrap_or_else(|| panic!("{option} is missing: {printed}"));
        (row["value"].as_str(), row["from"].as_str())
    };
    let (value, from) = row("poll-ms");
    assert_eq!(value, Some("25"));
    assert!(from.is_some_and(|from| from.ends_with("sesame.toml:9")), "{from:?}");
    assert_eq!(row("rpc-url"), (Some("(not shown)"), Some("SESAME_RPC_URL")));
    assert_eq!(row("prove-every"), (Some("64"), Some("default")));
    assert_eq!(row("quorum"), (None, None));
}

#[tokio::test]
async fn the_reference_is_a_file_with_every_default() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sesame.toml");
    let (code, reference, _) = end({
        let mut command = Command::new(program());
        command.args(["config", "reference"]);
        command
    })
    .await;
    assert_eq!(code, Some(0));
    // What has a default is written with it; the rest shows what it wants.
    let with_default = |line: &str| {
        let value = line.split_once(" = ").map(|(_, value)| value.trim_matches('"'));
        line.starts_with("# ") && value.is_some_and(|value| !value.chars().any(char::is_uppercase))
    };
    let lines = reference.lines().map(|line| match line.strip_prefix("# ") {
        Some(key) if with_default(line) && !key.split(" = ").next().unwrap().contains(' ') => key,
        _ => line,
    });
    fs::write(&path, lines.collect::<Vec<_>>().join("\n")).unwrap();
    let (code, printed, said) = end(sesame(&path, &["config", "show", "serve", "--json"])).await;
    assert_eq!(code, Some(0), "{said}");
    let rows: Vec<Value> = serde_json::from_str(&printed).unwrap();
    let from_file = rows
        .iter()
        .filter(|row| row["from"].as_str().is_some_and(|from| from.contains("sesame.toml:")));
    assert!(from_file.count() > 10, "{printed}");
    assert!(rows.iter().all(|row| row["from"] != "default"), "{printed}");
}

#[tokio::test]
async fn a_supervisor_learns_from_the_exit_code_whether_to_start_it_again() {
    let mut world = World::start().await;
    Scene::set(&world).await;
    let busy = file(&world, "");
    let ended = async |file: &Path, words: &[&str]| end(sesame(file, words)).await;
    let (code, _, said) = ended(&busy, &["serve"]).await;
    assert_eq!(code, Some(69), "another one has the folder: {said}");
    world.sms.stop().await;

    let other = Node::of_chain(7);
    let (code, _, said) = ended(&busy, &["serve", "--rpc-url", &other.url()]).await;
    assert_eq!(code, Some(76), "{said}");

    let identity = world.sms.data("keys/identity.key");
    let away = identity.with_extension("away");
    fs::rename(&identity, &away).unwrap();
    let (code, _, said) = ended(&busy, &["serve"]).await;
    assert_eq!(code, Some(66), "{said}");
    fs::rename(&away, &identity).unwrap();

    let index = crate::start_up::raw(&world.sms.data("index"));
    let meta = index.cf_handle("meta").unwrap();
    index.put_cf(meta, "schema", (sesame_view::SCHEMA_VERSION + 1).to_be_bytes()).unwrap();
    drop(index);
    let (code, _, said) = ended(&busy, &["serve"]).await;
    assert_eq!(code, Some(65), "{said}");
    fs::remove_dir_all(world.sms.data("index")).unwrap();

    let (code, _, said) = ended(&busy, &["serve", "--deployment", "/nowhere.json"]).await;
    assert_eq!(code, Some(64), "{said}");

    let launch = Launch {
        rpc_url: world.node.url(),
        deployment: &world.deployment,
        folder: &world.sms.config.data_dir,
        listen: "127.0.0.1:0",
        confirmations: world.confirmations(),
        root: Some(world.published()),
    };
    Program::start(&launch).ready().await;
}
