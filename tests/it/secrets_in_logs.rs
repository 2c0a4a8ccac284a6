//! A whole story with the most talkative log: no secret is in it, nor in any file that the service keeps.

use std::{
    fs,
    io::{self, Write},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use sesame_domain::{Resource, SecretId};
use sesame_tests::{Build, Scene, World, now};

/// Everything that was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The ways in which a value may be written down.
fn spellings(value: &[u8]) -> Vec<Vec<u8>> {
    let numbers: Vec<_> = value.iter().map(u8::to_string).collect();
    let escaped: Vec<u8> = value.iter().copied().flat_map(std::ascii::escape_default).collect();
    let mut spellings = vec![
        value.to_vec(),
        hex::encode(value).into(),
        hex::encode_upper(value).into(),
        numbers.join(", ").into(),
        escaped,
    ];
    // Base64 of something that holds the value: three alignments, without the edges that depend on the rest.
    for skip in 0..3 {
        let whole = (value.len() - skip) / 3 * 3;
        let inner = &value[skip..skip + whole];
        spellings.push(STANDARD_NO_PAD.encode(inner).into());
        spellings.push(URL_SAFE_NO_PAD.encode(inner).into());
    }
    spellings
}

fn holds(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push((entry.path().display().to_string(), fs::read(entry.path()).unwrap()));
        }
    }
    found
}

#[tokio::test]
async fn no_secret_is_logged_or_kept_in_the_clear() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .init();

    let mut world = World::start().await;
    let scene = Scene::set(&world).await;
    scene.run(&world).await;
    let enclave = world.attested(scene.build, scene.task).await;
    for resource in [Resource::AppSecret, Resource::RequesterSecret(2), Resource::ProtectedData(1)]
    {
        enclave.open(&enclave.ask(scene.task, resource).await);
    }
    let session = enclave.cookie.clone();
    // Refusals of every surface, and a conflict with a value in hand.
    world.ask(Build::of("other"), scene.task, Resource::Bundle).await.is_problem(403, "denied");
    let app = SecretId::Asset(scene.app);
    world
        .stranger
        .owner
        .push(now(), &app, Scene::APP_SECRET, &Default::default())
        .await
        .unwrap_err();
    world.developer.owner.remove(now(), &app, 0).await.unwrap();
    world.sms.stop().await;

    let text = log.text();
    let shown = String::from_utf8_lossy(&text);
    for expected in ["released bundle/all", "denied bundle/all", "TRACE", "DEBUG"] {
        assert!(shown.contains(expected), "the log is not the story's: no {expected}");
    }
    let files = files(&world.sms.config.data_dir);
    assert!(files.iter().any(|(path, _)| path.contains("vault")));
    for value in [Scene::APP_SECRET, Scene::DB_PASSWORD, Scene::API_TOKEN, Scene::DATA_KEY] {
        for spelling in spellings(value) {
            let readable = String::from_utf8_lossy(&spelling).into_owned();
            assert!(!holds(&text, &spelling), "the log holds {readable}");
            for (path, bytes) in &files {
                assert!(!holds(bytes, &spelling), "{path} holds {readable}");
            }
        }
    }
    // The session's token is as good as the enclave until it ends.
    assert!(!holds(&text, session.as_bytes()), "the log holds a session");
}
