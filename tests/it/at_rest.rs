//! Secrets of every kind are pushed and released by the service as a program of its own; then they are looked for: in all its
//! files, in a backup, in its log, and in its memory.

use std::{
    collections::HashMap,
    fs::{self, File},
    os::unix::{fs::FileExt, process::CommandExt},
    path::Path,
    process::Command,
};

use rand::RngCore;
use sesame_domain::{Resource, SecretId};
use sesame_tests::{Launch, Program, Scene, World, eventually, key_of, program, seeded};

/// Bytes of a secret that are looked for as one.
const PIECE: usize = 32;
const PAGE: usize = 4096;

/// Where pieces of secrets are, by their first eight bytes.
struct Pieces {
    by_start: HashMap<[u8; 8], Vec<(String, Vec<u8>)>>,
    /// Which first two bytes there are, to be quick.
    starts: Vec<bool>,
}

impl Pieces {
    fn of(secrets: &[(&str, Vec<u8>)]) -> Self {
        let mut pieces = Self { by_start: HashMap::new(), starts: vec![false; 1 << 16] };
        for (name, value) in secrets {
            // All of a small secret, and of a great one a piece of each 1 KiB.
            let step = if value.len() <= 4096 { PIECE } else { 1024 };
            for at in (0..=value.len() - PIECE).step_by(step) {
                let piece = value[at..at + PIECE].to_vec();
                pieces.starts[usize::from(u16::from_be_bytes([piece[0], piece[1]]))] = true;
                let start = piece[..8].try_into().unwrap();
                pieces.by_start.entry(start).or_default().push((format!("{name}@{at}"), piece));
            }
        }
        pieces
    }

    /// Those that lie in these bytes, and where.
    fn within(&self, bytes: &[u8]) -> Vec<(usize, &str)> {
        let mut found = Vec::new();
        for (at, window) in bytes.windows(PIECE).enumerate() {
            if !self.starts[usize::from(u16::from_be_bytes([window[0], window[1]]))] {
                continue;
            }
            for (name, piece) in self.by_start.get(&window[..8]).into_iter().flatten() {
                if piece == window {
                    found.push((at, name.as_str()));
                }
            }
        }
        found
    }
}

fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            found.extend(files(&entry.path()));
        } else if kind.is_file() {
            found.push((entry.path().display().to_string(), fs::read(entry.path()).unwrap()));
        }
    }
    found
}

/// Everything in a process's memory that can be read, page by page: what a core dump would hold, if the program allowed one. None
/// if it may not be looked at.
fn memory(pid: u32) -> Option<Vec<(String, Vec<u8>)>> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
    let memory = File::open(format!("/proc/{pid}/mem")).ok()?;
    let mut regions = Vec::new();
    for line in maps.lines().filter(|line| line.contains(" r") && !line.contains("[vvar")) {
        let (range, rest) = line.split_once(' ').unwrap();
        let (start, end) = range.split_once('-').unwrap();
        let [start, end] = [start, end].map(|text| u64::from_str_radix(text, 16).unwrap());
        let mut bytes = vec![0; usize::try_from(end - start).unwrap()];
        if memory.read_exact_at(&mut bytes, start).is_err() {
            // A part of it may be gone by now, or was never there: that part is left out.
            for (page, place) in bytes.chunks_mut(PAGE).zip((start..).step_by(PAGE)) {
                let _ = memory.read_exact_at(page, place);
            }
        }
        regions.push((format!("{range} {rest}"), bytes));
    }
    Some(regions)
}

/// Whether the look at a process's memory sees what must be there: an address that its answers hold.
fn sees(regions: &[(String, Vec<u8>)], known: &[u8]) -> bool {
    regions.iter().any(|(_, bytes)| bytes.windows(known.len()).any(|window| window == known))
}

/// Neither a core dump nor a debugger of another user gets at it.
fn is_guarded(pid: u32) {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
    if !rustix::process::geteuid().is_root() {
        // Of the same user, and nevertheless.
        assert!(File::open(format!("/proc/{pid}/mem")).is_err(), "its memory can be read");
        return;
    }
    let core = std::env::temp_dir().join("core-of-sesame");
    let script = format!(
        "dd if=/proc/{pid}/mem of={} bs=1 count=1 || cat /proc/{pid}/environ",
        core.display()
    );
    let nobody = Command::new("sh").arg("-c").arg(script).uid(65534).gid(65534).output().unwrap();
    assert!(!nobody.status.success(), "another user looks at it: {nobody:?}");
}

#[tokio::test]
async fn secrets_lie_nowhere_in_the_clear() {
    let mut random = seeded();
    let mut world = World::start().await;
    let scene = Scene::set(&world).await;
    let listen = world.sms.base().trim_start_matches("http://").to_owned();
    world.sms.stop().await;
    let service = Program::start(&Launch {
        rpc_url: world.node.url(),
        deployment: &world.deployment,
        folder: &world.sms.config.data_dir,
        listen: &listen,
        confirmations: world.confirmations(),
        root: Some(world.published()),
    });
    service.ready().await;

    let mut marked = |bytes: usize| {
        let mut value = vec![0; bytes];
        random.fill_bytes(&mut value);
        value
    };
    let secrets = [
        ("app secret", marked(4 << 20)),
        ("db-password", marked(1 << 10)),
        ("api_token", marked(4 << 20)),
        ("data key", marked(1 << 10)),
    ];
    let [(_, app), (_, password), (_, token), (_, key)] = &secrets;
    let World { developer, alice, requester, .. } = &world;
    developer.push(&SecretId::Asset(scene.app), app).await;
    requester.push(&requester.secret("db-password"), password).await;
    requester.push(&requester.secret("api_token"), token).await;
    alice.push_with(&SecretId::Asset(scene.data), key, &key_of(Scene::DATA)).await;

    // A bundle, each secret alone, and a task to its end.
    let bundle = scene.run(&world).await;
    assert_eq!(bundle.secrets.len(), 4);
    let enclave = world.attested(scene.build, scene.task).await;
    for (resource, value) in [
        (Resource::AppSecret, app),
        (Resource::RequesterSecret(1), password),
        (Resource::RequesterSecret(2), token),
        (Resource::ProtectedData(1), key),
    ] {
        assert!(enclave.open(&enclave.ask(scene.task, resource).await) == *value);
    }
    scene.complete(&world).await;
    world.confirmed().await;
    let backup = world.folder().join("vault.backup");
    let manifest = world.folder().join("manifest.json");
    fs::write(&manifest, serde_json::to_string(&world.deployment).unwrap()).unwrap();
    let mut command = Command::new(program());
    command.args(["vault", "backup", "--out"]).arg(&backup).arg("--deployment").arg(&manifest);
    command.arg("--data-dir").arg(&world.sms.config.data_dir);
    let taken = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert!(taken.status.success(), "{taken:?}");

    let pieces = Pieces::of(&secrets);
    // It would find them: this process pushed them.
    assert!(pieces.within(app).len() > 4000 && pieces.within(key).len() == 32);
    let mut texts = files(&world.sms.config.data_dir);
    let vault = texts.iter().filter(|(path, _)| path.contains("/vault/"));
    let bytes: usize = vault.map(|(_, bytes)| bytes.len()).sum();
    assert!(bytes > 8 << 20, "the secrets are elsewhere: {bytes} bytes");
    texts.push(("the backup".to_owned(), fs::read(&backup).unwrap()));
    texts.push(("the log".to_owned(), service.said().into_bytes()));
    assert!(texts.iter().any(|(path, bytes)| path == "the backup" && bytes.len() > 8 << 20));
    for (path, bytes) in &texts {
        assert_eq!(pieces.within(bytes), [], "{path}");
    }

    is_guarded(service.pid());
    let Some(dump) = memory(service.pid()) else {
        eprintln!("its memory was not searched: only root can look at it");
        return;
    };
    assert!(sees(&dump, world.sms.identity.as_slice()), "the search would find nothing");
    drop(dump);
    let left = async || {
        let regions = memory(service.pid())?;
        let within = regions.iter().flat_map(|(region, bytes)| {
            let found = pieces.within(bytes).into_iter();
            found.map(move |(at, name)| format!("{name} at {at:#x} of {region}"))
        });
        Some(within.collect::<Vec<_>>())
    };
    let last = eventually("its memory can be read", left).await;
    eprintln!("{} pieces just after the last answer: {last:?}", last.len());
    eventually("no secret lies in its memory", async || left().await?.is_empty().then_some(()))
        .await;
}
