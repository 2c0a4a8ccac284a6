//! `sesame index` as an operator runs it: what it prints, and how it ends.

use std::{fs, path::PathBuf, process::Command};

use serde_json::Value;
use sesame_sms::index;
use sesame_tests::{Node, Scene, World, program};

use crate::start_up::raw;

/// How a command ended.
struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ended {
    fn json(&self) -> Value {
        assert_eq!(self.code, Some(0), "{}", self.err);
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }

    /// It failed with this code, and said this on its error output alone.
    fn failed(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{}{}", self.out, self.err);
        assert_eq!(self.out, "");
        for words in words {
            assert!(self.err.contains(words), "no {words:?}: {}", self.err);
        }
    }
}

/// The operator's shell.
struct Shell {
    manifest: PathBuf,
    data_dir: PathBuf,
    rpc_url: String,
}

impl Shell {
    fn of(world: &World) -> Self {
        let manifest = world.folder().join("manifest.json");
        fs::write(&manifest, serde_json::to_string(&world.deployment).unwrap()).unwrap();
        let data_dir = world.sms.config.data_dir.clone();
        Self { manifest, data_dir, rpc_url: world.node.url() }
    }

    async fn run(&self, arguments: &[&str]) -> Ended {
        let mut command = Command::new(program());
        command
            .env_remove("SESAME_DEPLOYMENT")
            .arg("index")
            .args(arguments)
            .arg("--data-dir")
            .arg(&self.data_dir)
            .arg("--deployment")
            .arg(&self.manifest);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let (out, err) = (text(output.stdout), text(output.stderr));
        Ended { code: output.status.code(), out, err }
    }

    async fn digest(&self, more: &[&str]) -> Ended {
        self.run(&[&["digest"], more].concat()).await
    }

    async fn verify(&self, more: &[&str]) -> Ended {
        self.run(&[&["verify", "--rpc-url", &self.rpc_url], more].concat()).await
    }
}

#[tokio::test]
async fn a_digest_is_printed_after_any_block() {
    let mut world = World::start().await;
    Scene::set(&world).await;
    let shell = Shell::of(&world);
    let (head, confirmed) = (world.node.head().await, world.sms.status().await.confirmed.unwrap());
    world.sms.stop().await;

    for number in [0, confirmed.number / 2, confirmed.number, head.number] {
        let followed = &world.sms.config.followed;
        let expected = index::digest(&shell.data_dir, followed, Some(number)).unwrap();
        let block = number.to_string();
        let printed = shell.digest(&["--json", "--block", &block]).await.json();
        assert_eq!(printed["block"], number);
        assert_eq!(printed["hash"], expected.block.hash.to_string());
        assert_eq!(printed["digest"], expected.digest.to_string());
        let table = shell.digest(&["--block", &block]).await;
        assert!(table.out.contains(&expected.digest.to_string()), "{}", table.out);
    }
    let printed = shell.digest(&["--json"]).await.json();
    assert_eq!(printed["block"], confirmed.number, "the confirmed block unless told otherwise");
    assert_eq!(printed["hash"], confirmed.hash.to_string());

    let beyond = (head.number + 1).to_string();
    shell.digest(&["--block", &beyond]).await.failed(1, &["does not hold that block"]);
    shell.digest(&["--block", "soon"]).await.failed(64, &["--block"]);
    // What was read is as it was.
    world.sms.start_again().await;
    world.sms.ready().await;
}

#[tokio::test]
async fn the_index_of_a_running_service_is_left_alone() {
    let world = World::start().await;
    let shell = Shell::of(&world);
    let words = ["is in use", "is another `sesame serve` running on it?"];
    shell.digest(&[]).await.failed(1, &words);
    shell.verify(&[]).await.failed(1, &words);
    world.sms.ready().await;
}

#[tokio::test]
async fn where_no_index_is_none_is_made() {
    let world = World::start().await;
    let mut shell = Shell::of(&world);
    shell.data_dir = world.folder().join("nowhere");
    shell.digest(&[]).await.failed(1, &["there is no index in", "nowhere"]);
    shell.verify(&[]).await.failed(1, &["there is no index in", "nowhere"]);
    assert!(!shell.data_dir.exists());
    shell.manifest = world.folder().join("no-manifest.json");
    shell.digest(&[]).await.failed(64, &["no-manifest.json"]);
}

#[tokio::test]
async fn a_whole_index_is_verified_and_a_foreign_row_is_told() {
    let mut world = World::start().await;
    Scene::set(&world).await;
    let shell = Shell::of(&world);
    world.sms.stop().await;
    let verdict = shell.verify(&["--json"]).await.json();
    assert_eq!((&verdict["equal"], &verdict["index"]), (&true.into(), &verdict["chain"]));
    assert!(!shell.data_dir.join("index.verify").exists());
    shell.run(&["verify"]).await.failed(64, &["--rpc-url"]);
    let elsewhere = Node::of_chain(7);
    let other = ["verify", "--rpc-url", &elsewhere.url()];
    shell.run(&other).await.failed(1, &["serves chain 7"]);

    // An authorization that nobody gave: an existing one, for another enclave.
    let db = raw(&world.sms.data("index"));
    let table = db.cf_handle("authorizations").unwrap();
    let first = db.iterator_cf(table, rocksdb::IteratorMode::Start).next().unwrap();
    let (mut key, value) = first.unwrap();
    key[40] ^= 1;
    db.put_cf(table, key, value).unwrap();
    drop(db);

    let verdict = shell.verify(&["--json"]).await;
    assert_eq!(verdict.code, Some(2), "{}", verdict.err);
    let verdict: Value = serde_json::from_str(&verdict.out).unwrap();
    assert_eq!(verdict["equal"], false);
    assert_ne!(verdict["index"], verdict["chain"]);
    let printed = shell.digest(&["--json"]).await.json();
    assert_eq!(printed["digest"], verdict["index"]);
}

#[tokio::test]
async fn a_damaged_index_is_told_with_what_to_do() {
    let mut world = World::start().await;
    Scene::set(&world).await;
    let shell = Shell::of(&world);
    world.sms.stop().await;
    let index = world.sms.data("index");
    let db = raw(&index);
    let table = db.cf_handle("assets").unwrap();
    let (key, _) = db.iterator_cf(table, rocksdb::IteratorMode::Start).next().unwrap().unwrap();
    db.put_cf(table, key, b"\x01no row").unwrap();
    drop(db);
    let words = ["a row of table assets is damaged", "delete the index"];
    shell.digest(&[]).await.failed(1, &words);
    shell.verify(&[]).await.failed(1, &words);

    fs::write(index.join("CURRENT"), b"MANIFEST-999999\n").unwrap();
    let words = ["cannot open the index", "delete that folder"];
    shell.digest(&[]).await.failed(1, &words);
    shell.verify(&[]).await.failed(1, &words);
}
