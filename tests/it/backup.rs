//! `sesame vault backup` and `restore` as an operator runs them: a vault that is lost comes back, and no kill leaves half of one.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};

use rand::Rng;
use serde_json::Value;
use sesame_tests::{Scene, World, program, seeded};

use crate::replay::all;

const KILLS: usize = 20;
const ALL_KILLS: usize = 300;

/// `sesame vault <words>` on the service's data.
fn command(world: &World, words: &[&str]) -> Command {
    let manifest = world.folder().join("manifest.json");
    fs::write(&manifest, serde_json::to_string(&world.deployment).unwrap()).unwrap();
    let mut command = Command::new(program());
    command.arg("vault").args(words).arg("--json").arg("--deployment");
    command.arg(&manifest).arg("--data-dir").arg(&world.sms.config.data_dir);
    command
}

async fn output(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// The exit code, what was printed and what was said.
async fn run(world: &World, words: &[&str]) -> (Option<i32>, Value, String) {
    let Output { status, stdout, stderr } = output(command(world, words)).await;
    let printed = serde_json::from_slice(&stdout).unwrap_or_default();
    (status.code(), printed, String::from_utf8(stderr).unwrap())
}

async fn done(world: &World, words: &[&str]) -> Value {
    let (code, printed, said) = run(world, words).await;
    assert_eq!(code, Some(0), "{words:?}: {said}");
    printed
}

async fn refused(world: &World, words: &[&str], why: &str) {
    let (code, _, said) = run(world, words).await;
    assert_eq!(code, Some(1), "{words:?}: {said}");
    assert!(said.contains(why), "{words:?}: {said}");
}

fn file(world: &World, name: &str) -> PathBuf {
    world.folder().join(name)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test]
async fn a_vault_that_was_lost_is_restored_and_the_service_answers_as_before() {
    let mut world = World::start().await;
    let scene = Scene::set(&world).await;
    let first = file(&world, "first.backup");
    let taken = done(&world, &["backup", "--out", text(&first)]).await;
    assert_eq!((&taken["records"], &taken["tombstones"]), (&4.into(), &0.into()));
    assert_eq!(fs::metadata(&first).unwrap().permissions().mode() & 0o777, 0o600);
    refused(&world, &["backup", "--out", text(&first)], "overwrites nothing").await;
    refused(&world, &["restore", text(&first)], "the service runs: stop it first").await;
    let Output { status, stdout, stderr } =
        output(command(&world, &["backup", "--out", "-"])).await;
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    let second = file(&world, "second.backup");
    fs::write(&second, stdout).unwrap();
    // Another is pushed after the backups.
    let later = world.requester.secret("later");
    world.requester.push(&later, b"lost with an older backup").await;

    world.sms.stop().await;
    refused(&world, &["backup", "--out", text(&first)], "overwrites nothing").await;
    let third = file(&world, "third.backup");
    let taken = done(&world, &["backup", "--out", text(&third)]).await;
    assert_eq!(taken["records"], 5);
    for (backup, records) in [(&first, 4), (&second, 4), (&third, 5)] {
        let verified = done(&world, &["restore", "--dry-run", text(backup)]).await;
        assert_eq!(
            (&verified["done"], &verified["records"]),
            (&"verified".into(), &records.into())
        );
    }
    let unchanged = done(&world, &["restore", text(&third)]).await;
    assert_eq!(unchanged["done"], "unchanged");
    refused(&world, &["restore", text(&first)], "later version 1; say --replace").await;

    fs::remove_dir_all(world.sms.data("vault")).unwrap();
    let restored = done(&world, &["restore", text(&second)]).await;
    assert_eq!(restored["done"], "restored");
    world.sms.start_again().await;
    world.sms.ready().await;
    scene.run(&world).await;
    world.requester.push(&later, b"pushed again").await;
    world.sms.stop().await;
    let replaced = done(&world, &["restore", "--replace", text(&second)]).await;
    assert_eq!((&replaced["done"], &replaced["lost"]), (&"replaced".into(), &1.into()));
    assert!(world.sms.data("vault.before").exists());
    refused(&world, &["restore", "--replace", text(&third)], "move it away").await;
    world.sms.start_again().await;
    world.sms.ready().await;
    scene.run(&world).await;
}

#[tokio::test]
async fn without_its_keys_or_altered_a_backup_restores_nothing() {
    let mut world = World::start().await;
    Scene::set(&world).await;
    let backup = file(&world, "vault.backup");
    done(&world, &["backup", "--out", text(&backup)]).await;
    world.sms.stop().await;
    fs::remove_dir_all(world.sms.data("vault")).unwrap();
    let bytes = fs::read(&backup).unwrap();
    let altered = file(&world, "altered.backup");
    fs::write(&altered, &bytes[..bytes.len() - 1]).unwrap();
    refused(&world, &["restore", text(&altered)], "altered, cut off").await;
    let (keys, away) = (world.sms.data("keys"), world.sms.data("away"));
    fs::rename(&keys, &away).unwrap();
    refused(&world, &["restore", text(&backup)], "put keys/ back").await;
    fs::create_dir(&keys).unwrap();
    fs::copy(away.join("identity.key"), keys.join("identity.key")).unwrap();
    refused(&world, &["restore", text(&backup)], "is missing: put it back at").await;
    assert!(!world.sms.data("vault").exists());
    fs::remove_dir_all(&keys).unwrap();
    fs::rename(&away, &keys).unwrap();
    assert_eq!(done(&world, &["restore", text(&backup)]).await["done"], "restored");
}

/// Two states of one vault, each put in the place of the other again and again.
#[tokio::test]
async fn a_restore_that_is_killed_leaves_the_vault_before_or_the_restored_one() {
    let mut random = seeded();
    let mut world = World::start().await;
    let scene = Scene::set(&world).await;
    let value = vec![7; 300_000];
    for number in 0..20 {
        world.requester.push(&world.requester.secret(&format!("n{number}")), &value).await;
    }
    let old = file(&world, "old.backup");
    done(&world, &["backup", "--out", text(&old)]).await;
    for number in 20..30 {
        world.requester.push(&world.requester.secret(&format!("n{number}")), &value).await;
    }
    world.sms.stop().await;
    let new = file(&world, "new.backup");
    done(&world, &["backup", "--out", text(&new)]).await;
    // How long one takes that is left alone, on this machine.
    let begun = Instant::now();
    done(&world, &["restore", "--replace", text(&old)]).await;
    let longest = u64::try_from(begun.elapsed().as_millis()).unwrap();
    fs::remove_dir_all(world.sms.data("vault.before")).unwrap();
    let (mut is_new, mut changed) = (false, 0);
    let kills = if all() { ALL_KILLS } else { KILLS };
    for _ in 0..kills {
        let other = if is_new { &old } else { &new };
        let mut restoring =
            command(&world, &["restore", "--replace", text(other)]).spawn().unwrap();
        tokio::time::sleep(Duration::from_millis(random.random_range(0..longest * 3 / 2))).await;
        restoring.kill().unwrap();
        restoring.wait().unwrap();
        let checked = done(&world, &["check"]).await;
        let records = checked["records"].as_u64().unwrap();
        assert!([24, 34].contains(&records), "{checked}");
        assert_eq!(checked["damaged"], Value::Array(Vec::new()));
        changed += usize::from(is_new != (records == 34));
        is_new = records == 34;
        let _ = fs::remove_dir_all(world.sms.data("vault.before"));
    }
    eprintln!("{kills} restores killed, {changed} of them after they had changed the vault");
    let _ = fs::remove_dir_all(world.sms.data("vault.before"));
    done(&world, &["restore", "--replace", text(&old)]).await;
    assert_eq!(done(&world, &["check"]).await["records"], 24);
    world.sms.start_again().await;
    world.sms.ready().await;
    scene.run(&world).await;
}
