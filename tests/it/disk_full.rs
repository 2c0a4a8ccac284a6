//! A disk that is full: what cannot be kept is not acknowledged, what was acknowledged is there when there is room again.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    process::Command,
};

use sesame_client::owner::PushOptions;
use sesame_domain::Resource;
use sesame_tests::{Launch, Program, Scene, World, eventually, now};
use tempfile::TempDir;

/// A small file system. Gone when dropped.
struct Small(TempDir);

impl Small {
    /// None for who may not mount one.
    fn mount() -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=96m", "tmpfs"]).arg(folder.path());
        let mounted = mount.output().is_ok_and(|output| output.status.success());
        mounted.then(|| Self(folder))
    }

    /// Leaves no byte of room, until the file that it gives is removed.
    fn fill(&self) -> std::path::PathBuf {
        let path = self.0.path().join("filler");
        let (mut file, block) = (File::create(&path).unwrap(), vec![1; 1 << 12]);
        while file.write_all(&block).is_ok() {}
        path
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).output();
    }
}

fn serve(world: &World, folder: &Path, listen: &str) -> Program {
    let launch = Launch {
        rpc_url: world.node.url(),
        deployment: &world.deployment,
        folder,
        listen,
        confirmations: world.confirmations(),
        root: Some(world.published()),
    };
    let mut command = launch.command();
    command.args(["--free-reserve-mb", "0"]);
    Program::of(command)
}

#[tokio::test]
async fn a_full_disk_loses_nothing_and_heals_with_room() {
    let Some(small) = Small::mount() else {
        eprintln!("not tried: only root can mount a small file system");
        return;
    };
    let mut world = World::start().await;
    let scene = Scene::set(&world).await;
    let listen = world.sms.base().trim_start_matches("http://").to_owned();
    world.sms.stop().await;
    let folder = small.0.path().join("data");
    let copied = Command::new("cp").arg("-a").args([&world.sms.config.data_dir, &folder]).status();
    assert!(copied.unwrap().success());

    let mut service = serve(&world, &folder, &listen);
    service.ready().await;
    let (requester, mut kept) = (&world.requester, 0);
    let secret = requester.secret("kept-on-little-room");
    let value = vec![7; 2 << 20];
    let push = async || {
        requester
            .owner
            .push(now(), &secret, &value, &PushOptions::default())
            .await
            .map(|it| it.version)
    };
    kept = push().await.unwrap().max(kept);
    let enclave = world.attested(scene.build, scene.task).await;
    enclave.open(&enclave.ask(scene.task, Resource::Bundle).await);

    let filler = small.fill();
    // What was set aside for the next writes is used up first. Without receipts there is nothing to be served for.
    let (mut refused, mut denied) = (false, false);
    for _ in 0..100 {
        match push().await {
            Ok(version) => kept = version,
            Err(_) => refused = true,
        }
        let answer = enclave.asking(scene.task, Resource::Bundle).send().await;
        denied |= !answer.is_ok_and(|answer| answer.status().is_success());
        if refused && denied {
            break;
        }
    }
    assert!(refused && denied, "pushes refused: {refused}, releases: {denied}");
    assert_eq!(service.ended().await.code(), Some(69), "a supervisor starts it again");
    service.says("the log of receipts failed to write").await;
    // What the mirror cannot see.
    world.alice.chain.revoke(scene.data, scene.build.id()).await.unwrap();
    world.node.mine(1).await;

    fs::remove_file(filler).unwrap();
    let service = serve(&world, &folder, &listen);
    service.ready().await;
    let shown = requester.owner.show(now(), &secret).await.unwrap().unwrap();
    assert!((kept..=kept + 1).contains(&shown.version), "{kept} were kept, {shown:?}");
    assert_eq!(push().await.unwrap(), shown.version + 1);
    scene.ask(&world).await.is_denied(&["not_whitelisted"]);
    world.allow(&world.alice, scene.data, scene.build).await;
    world.node.mine(world.confirmations()).await;
    eventually("it releases again", async || (scene.ask(&world).await.status == 200).then_some(()))
        .await;
}
