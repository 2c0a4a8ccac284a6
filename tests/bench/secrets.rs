//! Pushing and releasing secrets of 1 KiB and 4 MiB over HTTP, against the cryptography alone and against a bare server that moves
//! as many bytes. The service's data lies on memory-backed storage, as for the figures of [`crate::rcar`].

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use aes_gcm::{
    Aes256Gcm, Nonce,
    aead::{Aead, KeyInit, Payload},
};
use alloy_primitives::B256;
use axum::{
    Router,
    body::Bytes,
    extract::DefaultBodyLimit,
    routing::{get, put},
};
use sesame_domain::{Resource, SecretId};
use sesame_protocol::{
    jwe::{self, EnclaveKey},
    owner::{AUTHORIZATION_HEADER, MAX_SEALED_BYTES, SEALED_CONTENT_TYPE, SignedUpdate},
    rcar::{self, SESSION_COOKIE},
    sealing::{self, SealingKey},
    typed::SecretUpdate,
};
use sesame_tests::{Attester, Person, Scene, Sms, World, now};
use tokio::{net::TcpListener, task::JoinSet};

use crate::{
    figures::{Figures, Samples},
    rcar::move_to_memory,
    wire::Wire,
};

pub(crate) const NAMES: &[&str] = &[
    "push_1k_us",
    "push_1k_floor_us",
    "push_1k_vs_floor",
    "push_1k_bare_us",
    "push_1k_vs_bare",
    "release_1k_us",
    "release_1k_floor_us",
    "release_1k_vs_floor",
    "release_1k_bare_us",
    "release_1k_vs_bare",
    "push_4m_us",
    "push_4m_floor_us",
    "push_4m_vs_floor",
    "push_4m_bare_us",
    "push_4m_vs_bare",
    "release_4m_us",
    "release_4m_floor_us",
    "release_4m_vs_floor",
    "release_4m_bare_us",
    "release_4m_vs_bare",
    "push_4m_rss_mb",
    "release_4m_rss_mb",
];

/// Requests in flight at once while memory is measured.
const AT_ONCE: usize = 8;

/// A size, how it is called, and how often it is measured: quickly and otherwise.
const SIZES: [(usize, &str, [usize; 2]); 2] =
    [(1 << 10, "1k", [200, 2000]), (4 << 20, "4m", [10, 50])];

pub(crate) async fn measure(figures: &Figures) -> anyhow::Result<()> {
    let mut world = World::start().await;
    let scene = Scene::set(&world).await;
    let (_folder, sms) = move_to_memory(&mut world).await?;
    let mut tasks = JoinSet::new();
    for (size, name, [quick, long]) in SIZES {
        let rounds = if figures.quick { quick } else { long };
        let value = vec![7; size];
        let mut owner = Pushes::new(&sms, &world, &scene).await?;
        let pushed = times(owner.at, rounds, || owner.next(&value)).await?;
        let release = release(&sms, &world, &scene).await;
        let released = times(address(&sms), rounds, || Ok(release.clone())).await?;
        let bare = bare(&mut tasks, jwe::encrypt(EnclaveKey::random().public(), &value)?).await?;
        let (sent, asked) = (owner.next(&value)?, b"GET / HTTP/1.1\r\nhost: bare\r\n\r\n");
        let sent = redirected(&sent);
        let bare_push = times(bare, rounds, || Ok(sent.clone())).await?;
        let bare_release = times(bare, rounds, || Ok(asked.to_vec())).await?;
        let (floor_push, floor_release) = floors(&value, rounds)?;
        for (verb, took, floor, bare) in [
            ("push", pushed, floor_push, bare_push),
            ("release", released, floor_release, bare_release),
        ] {
            figures.print(&format!("{verb}_{name}_us"), took.p50(), "us");
            figures.print(&format!("{verb}_{name}_floor_us"), floor.p50(), "us");
            figures.print(&format!("{verb}_{name}_vs_floor"), took.p50() / floor.p50(), "ratio");
            figures.print(&format!("{verb}_{name}_bare_us"), bare.p50(), "us");
            figures.print(&format!("{verb}_{name}_vs_bare"), took.p50() / bare.p50(), "ratio");
        }
    }
    memory(figures, &sms, &world, &scene).await
}

/// One request after the other over one connection; making them is not measured. The first is not counted.
async fn times(
    at: SocketAddr,
    rounds: usize,
    mut request: impl FnMut() -> anyhow::Result<Vec<u8>>,
) -> anyhow::Result<Samples> {
    let (mut wire, mut samples) = (Wire::to(at).await?, Vec::new());
    wire.ask(&request()?).await?;
    for _ in 0..rounds {
        samples.push(wire.ask(&request()?).await?);
    }
    Ok(Samples::new(samples))
}

/// What the cryptography of a push and of a release takes alone: HPKE open and AES-GCM seal; AES-GCM open and JWE.
fn floors(value: &[u8], rounds: usize) -> anyhow::Result<(Samples, Samples)> {
    let (key, info) = (SealingKey::random(), B256::repeat_byte(1));
    let body = sealing::seal(key.public(), info, value)?;
    let enclave = EnclaveKey::random();
    let (aead, nonce) = (Aes256Gcm::new(&[7; 32].into()), Nonce::from([1; 12]));
    let failed = |_| anyhow::anyhow!("AES-GCM failed");
    let (mut pushes, mut releases) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let start = std::time::Instant::now();
        let opened = key.open(info, &body)?;
        let sealed = aead.encrypt(&nonce, Payload { msg: &opened, aad: &[3; 100] });
        let sealed = std::hint::black_box(sealed.map_err(failed)?);
        pushes.push(start.elapsed());
        let start = std::time::Instant::now();
        let opened = aead.decrypt(&nonce, Payload { msg: &sealed, aad: &[3; 100] });
        std::hint::black_box(jwe::encrypt(enclave.public(), &opened.map_err(failed)?)?);
        releases.push(start.elapsed());
    }
    Ok((Samples::new(pushes), Samples::new(releases)))
}

/// A server that reads a body as large as a sealed secret, and gives this answer.
async fn bare(tasks: &mut JoinSet<()>, answer: rcar::Response) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let (address, answer) = (listener.local_addr()?, serde_json::to_vec(&answer)?);
    let answer = Bytes::from(answer);
    let routes = Router::new()
        .route("/", get(async move || answer.clone()))
        .route("/", put(async |body: Bytes| body.len().to_string()))
        .layer(DefaultBodyLimit::max(MAX_SEALED_BYTES));
    tasks.spawn(async move { drop(axum::serve(listener, routes).await) });
    Ok(address)
}

/// The same request, to the bare server's only path.
fn redirected(request: &[u8]) -> Vec<u8> {
    let line = request.iter().position(|byte| *byte == b'\r').unwrap_or_default();
    [b"PUT / HTTP/1.1", request.split_at(line).1].concat()
}

/// The app's owner, who pushes version after version.
struct Pushes<'a> {
    at: SocketAddr,
    secret: SecretId,
    owner: &'a Person,
    key: B256,
    version: u64,
    domain: sesame_protocol::typed::Domain,
}

impl<'a> Pushes<'a> {
    async fn new(sms: &Sms, world: &'a World, scene: &Scene) -> anyhow::Result<Self> {
        let (secret, owner) = (SecretId::Asset(scene.app), &world.developer);
        let key = sms.keys().await.sealing();
        // The client is bound to the world's own service, which is stopped; this one has a copy of its data.
        let session = sesame_client::owner::Owner::new(
            sms.base(),
            sms.domain(),
            sms.identity,
            owner.signer(),
        )?;
        let newest = session.show(now(), &secret).await?;
        let version = newest.map_or(0, |metadata| metadata.version);
        Ok(Self { at: address(sms), secret, owner, key, version, domain: sms.domain() })
    }

    /// The next version's request.
    fn next(&mut self, value: &[u8]) -> anyhow::Result<Vec<u8>> {
        self.version += 1;
        let update = SecretUpdate::new(
            &self.secret,
            self.owner.address(),
            0,
            self.version,
            self.key,
            now() + 300,
        );
        let (signed, body) = SignedUpdate::seal(update, value, &self.domain, &self.owner.signer())?;
        let head = format!(
            "PUT /v1/{} HTTP/1.1\r\nhost: sesame\r\ncontent-type: {SEALED_CONTENT_TYPE}\r\n{AUTHORIZATION_HEADER}: {}\r\ncontent-length: {}\r\n\r\n",
            self.secret,
            signed.to_header(),
            body.len()
        );
        Ok([head.as_bytes(), &body].concat())
    }
}

/// What an attested enclave sends for the app's secret.
async fn release(sms: &Sms, world: &World, scene: &Scene) -> Vec<u8> {
    let mut enclave = Attester::challenged(scene.build, sms, &world.root).await;
    enclave.attest(scene.task, &world.worker).await;
    let path = rcar::resource_path(scene.task, Resource::AppSecret);
    let cookie = &enclave.cookie;
    format!("GET /{path} HTTP/1.1\r\nhost: sesame\r\ncookie: {SESSION_COOKIE}={cookie}\r\n\r\n")
        .into_bytes()
}

fn address(sms: &Sms) -> SocketAddr {
    sms.base().trim_start_matches("http://").parse().expect("an address")
}

/// How much the peak of resident memory rises for each 4 MiB request in flight. What clients send is in memory beforehand, and what
/// they are answered they throw away.
async fn memory(figures: &Figures, sms: &Sms, world: &World, scene: &Scene) -> anyhow::Result<()> {
    let value = vec![7; 4 << 20];
    let mut owner = Pushes::new(sms, world, scene).await?;
    let first = owner.next(&value)?;
    Wire::to(owner.at).await?.ask(&first).await?;
    let release = release(sms, world, scene).await;
    // Of other secrets: versions of one take turns.
    let mut pushes = Vec::new();
    for number in 0..AT_ONCE {
        let secret = world.requester.secret(&format!("large{number}"));
        let (at, key, domain) = (owner.at, owner.key, sms.domain());
        let mut other = Pushes { at, secret, owner: &world.requester, key, version: 0, domain };
        pushes.push(other.next(&value)?);
    }
    figures.print("push_4m_rss_mb", peak(owner.at, pushes).await?, "MB");
    figures.print("release_4m_rss_mb", peak(owner.at, vec![release; AT_ONCE]).await?, "MB");
    Ok(())
}

async fn peak(at: SocketAddr, requests: Vec<Vec<u8>>) -> anyhow::Result<f64> {
    let number = requests.len() as f64;
    // What earlier requests left in memory is given back to the system, or used again.
    tokio::time::sleep(Duration::from_millis(200)).await;
    fs::write("/proc/self/clear_refs", "5")?;
    let before = status_mb("VmRSS:")?;
    let mut asking = JoinSet::new();
    for request in requests {
        let mut wire = Wire::to(at).await?;
        asking.spawn(async move { wire.ask(&request).await });
    }
    while let Some(asked) = asking.join_next().await {
        asked??;
    }
    Ok((status_mb("VmHWM:")? - before) / number)
}

/// What `/proc` says of this process's memory.
pub(crate) fn status_mb(field: &str) -> anyhow::Result<f64> {
    status_mb_of(Path::new("/proc/self"), field)
}

/// The same of the process with this folder in `/proc`.
pub(crate) fn status_mb_of(process: &Path, field: &str) -> anyhow::Result<f64> {
    let status = fs::read_to_string(process.join("status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib: f64 = line.unwrap_or_default().trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1024.0)
}
