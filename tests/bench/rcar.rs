//! Attesting and fetching a secret of 1 KiB over HTTP, against a handler that does nothing.
//!
//! The service's data lies on memory-backed storage, so that a receipt costs its signature and its writing but no disk; the
//! figures named `durable` have it where temporary files are.

use std::{
    net::SocketAddr,
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Router, routing::get};
use rustix::time::{ClockId, clock_gettime};
use sesame_attestation::{Policy, TOKEN_LIFE, TokenKey};
use sesame_domain::{Resource, SecretId};
use sesame_protocol::{
    jwe::{self, EnclaveKey},
    rcar::{self, SESSION_COOKIE},
    signature::Signer,
};
use sesame_receipts::Log;
use sesame_tests::{Scene, Sms, World, now};
use sesame_vault::KeyFile;
use tokio::{net::TcpListener, task::JoinSet};

use crate::{
    figures::Figures,
    load::{Until, load},
    receipts::decision,
    secrets::status_mb,
};

pub(crate) const NAMES: &[&str] = &[
    "empty_rps_1",
    "empty_p99_us_1",
    "empty_rps_16",
    "empty_p99_us_16",
    "empty_rps_256",
    "empty_p99_us_256",
    "resource_rps_1",
    "resource_p99_us_1",
    "resource_rps_16",
    "resource_p99_us_16",
    "resource_rps_256",
    "resource_p99_us_256",
    "attest_rps_1",
    "attest_p99_us_1",
    "attest_rps_16",
    "attest_p99_us_16",
    "attest_rps_256",
    "attest_p99_us_256",
    "resource_durable_rps_16",
    "resource_durable_p99_us_16",
    "resource_vs_empty_handler",
    "attest_vs_empty_handler",
    "resource_crypto_us",
    "resource_receipt_us",
    "resource_vs_crypto",
    "resource_net_vs_crypto",
];

/// Resident memory after a million requests, less what it was after the first hundred thousand.
pub(crate) const MILLION: &[&str] = &["requests_1m_rss_growth_mb", "requests_1m_rps"];

const CLIENTS: [usize; 3] = [1, 16, 256];
const MEMORY: &str = "/dev/shm";
/// What the service is asked for.
pub(crate) const SECRET: [u8; 1024] = [7; 1024];

pub(crate) async fn measure(figures: &Figures) -> anyhow::Result<()> {
    let time = Duration::from_millis(if figures.quick { 500 } else { 5_000 });
    let (mut world, scene) = set().await?;
    let durable = Requests::new(&world.sms, &world, &scene).await;
    let load_of = async |address, request: &[u8], clients| {
        load(address, request, clients, Until::Passed(time)).await
    };
    let on_disk = load_of(durable.address, &durable.resource, 16).await?;
    figures.print("resource_durable_rps_16", on_disk.rate, "1/s");
    figures.print("resource_durable_p99_us_16", on_disk.samples.p99(), "us");

    let (folder, sms) = move_to_memory(&mut world).await?;
    let requests = Requests::new(&sms, &world, &scene).await;
    let mut tasks = JoinSet::new();
    let (nothing, empty) = (empty_handler(&mut tasks).await?, requests_to("/"));
    let mut rates = Vec::new();
    for (name, address, request) in [
        ("empty", nothing, &empty),
        ("resource", requests.address, &requests.resource),
        ("attest", requests.address, &requests.attest),
    ] {
        for clients in CLIENTS {
            let load = load_of(address, request, clients).await?;
            figures.print(&format!("{name}_rps_{clients}"), load.rate, "1/s");
            figures.print(&format!("{name}_p99_us_{clients}"), load.samples.p99(), "us");
            if clients == 16 {
                rates.push(load.rate);
            }
        }
    }
    let [empty, resource, attest] = rates.as_slice() else { unreachable!("three were measured") };
    figures.print("resource_vs_empty_handler", resource / empty, "ratio");
    figures.print("attest_vs_empty_handler", attest / empty, "ratio");
    let crypto = public_key_work(&requests.session, if figures.quick { 500 } else { 5_000 })?;
    figures.print("resource_crypto_us", crypto, "us");
    let cores = std::thread::available_parallelism()?.get() as f64;
    let receipt = receipt_cost(&folder.path().join("alone.log"), time).await?;
    figures.print("resource_receipt_us", receipt, "us");
    let cost = |rate: f64| cores * 1e6 / rate;
    let without_receipt = cost(*resource) - receipt;
    figures.print("resource_vs_crypto", without_receipt / crypto, "ratio");
    figures.print("resource_net_vs_crypto", (without_receipt - cost(*empty)) / crypto, "ratio");
    Ok(())
}

/// Ten times a hundred thousand resources, each time with a new session, since one does not live long enough.
pub(crate) async fn million(figures: &Figures) -> anyhow::Result<()> {
    let (mut world, scene) = set().await?;
    let (_folder, sms) = move_to_memory(&mut world).await?;
    let (mut after, start) = (Vec::new(), Instant::now());
    for _ in 0..10 {
        let requests = Requests::new(&sms, &world, &scene).await;
        load(requests.address, &requests.resource, 16, Until::Answered(100_000 / 16)).await?;
        after.push(status_mb("VmRSS:")?);
    }
    let (first, last) = (after.first().copied(), after.last().copied());
    let growth = last.unwrap_or_default() - first.unwrap_or_default();
    figures.print("requests_1m_rss_growth_mb", growth, "MB");
    figures.print("requests_1m_rps", 1e6 / start.elapsed().as_secs_f64(), "1/s");
    Ok(())
}

/// Everything in order, and an app secret of 1 KiB.
pub(crate) async fn set() -> anyhow::Result<(World, Scene)> {
    let world = World::start().await;
    let scene = Scene::set(&world).await;
    world.developer.push(&SecretId::Asset(scene.app), &SECRET).await;
    Ok((world, scene))
}

/// The same service on a copy of its data in memory; the world's own is stopped.
pub(crate) async fn move_to_memory(world: &mut World) -> anyhow::Result<(tempfile::TempDir, Sms)> {
    let folder = tempfile::tempdir_in(if Path::new(MEMORY).is_dir() { MEMORY } else { "/tmp" })?;
    world.sms.stop().await;
    let mut config = world.sms.config.clone();
    config.data_dir = folder.path().join("data");
    let from = &world.sms.config.data_dir;
    let copied = Command::new("cp").arg("-r").arg(from).arg(&config.data_dir).status()?;
    anyhow::ensure!(copied.success(), "the data is not copied: {copied}");
    let sms = Sms::start(config).await;
    sms.ready().await;
    Ok((folder, sms))
}

async fn empty_handler(tasks: &mut JoinSet<()>) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let routes = Router::new().route("/", get(async || {}));
    tasks.spawn(async move { drop(axum::serve(listener, routes).await) });
    Ok(address)
}

fn requests_to(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: sesame\r\n\r\n").into_bytes()
}

/// What one attested enclave sends.
pub(crate) struct Requests {
    pub(crate) address: SocketAddr,
    /// Who can read the answers.
    pub(crate) key: EnclaveKey,
    /// The attestation once more: a challenge holds for a while, and whoever repeats it gains nothing.
    pub(crate) attest: Vec<u8>,
    pub(crate) resource: Vec<u8>,
    session: sesame_attestation::AttestedSession,
}

impl Requests {
    pub(crate) async fn new(sms: &Sms, world: &World, scene: &Scene) -> Self {
        let mut enclave = sesame_tests::Attester::challenged(scene.build, sms, &world.root).await;
        let (challenge, body) = (enclave.cookie.clone(), enclave.attestation().to_string());
        let voucher = enclave.voucher(scene.task, &world.worker).to_header();
        enclave.attest(scene.task, &world.worker).await;
        enclave.open(&enclave.ask(scene.task, Resource::AppSecret).await);
        let (cookie, length) = (&enclave.cookie, body.len());
        let path = rcar::resource_path(scene.task, Resource::AppSecret);
        let head = |line: &str, cookie: &str| {
            format!("{line} HTTP/1.1\r\nhost: sesame\r\ncookie: {SESSION_COOKIE}={cookie}\r\n")
        };
        let attest = head("POST /kbs/v0/attest", &challenge);
        let attest = format!(
            "{attest}sesame-run-voucher: {voucher}\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        let resource = format!("{}\r\n", head(&format!("GET /{path}"), cookie));
        let address = sms.base().trim_start_matches("http://").parse().expect("an address");
        let key = KeyFile::load(&sms.data("keys/token.key")).expect("the service has a token key");
        let key = token_key(key.bytes());
        let policy = Policy::insecure_trusting_simulated(world.root.published().clone());
        let session = key.open_session(cookie, &policy, now()).expect("it was just issued");
        let (attest, resource) = (attest.into_bytes(), resource.into_bytes());
        Self { address, key: enclave.key, attest, resource, session }
    }
}

fn token_key(scalar: &[u8; 32]) -> TokenKey {
    TokenKey::from_bytes(scalar, TOKEN_LIFE).expect("a P-256 key")
}

/// CPU time of a receipt where 16 decisions at a time want one, in microseconds: the service has no switch to leave them off.
async fn receipt_cost(path: &Path, time: Duration) -> anyhow::Result<f64> {
    let signer = Arc::new(Signer::random());
    let log = Arc::new(Log::open(path, signer.address(), 31337, &[7; 32])?);
    let (before, start, mut writers) = (cpu_time(), Instant::now(), JoinSet::new());
    for _ in 0..16 {
        let (log, signer) = (log.clone(), signer.clone());
        writers.spawn(async move {
            let mut kept = 0_u32;
            while start.elapsed() < time {
                log.append(decision(), &signer)?.kept().await?;
                kept += 1;
            }
            anyhow::Ok(kept)
        });
    }
    let mut kept = 0;
    while let Some(written) = writers.join_next().await {
        kept += written??;
    }
    Ok((cpu_time() - before).as_secs_f64() * 1e6 / f64::from(kept))
}

/// Of this process, all threads together.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.try_into().expect("a process has run for some time")
}

/// The public-key work that no answer can do without, in microseconds: the session's signature checked, the content key wrapped
/// for the enclave (and 1 KiB encrypted).
fn public_key_work(
    session: &sesame_attestation::AttestedSession,
    rounds: u32,
) -> anyhow::Result<f64> {
    let key = token_key(&[7; 32]);
    let policy = Policy::hardware_only();
    let token = key.session(session, now());
    let start = Instant::now();
    for _ in 0..rounds {
        drop(std::hint::black_box(key.open_session(&token, &policy, now())));
        std::hint::black_box(jwe::encrypt(session.enclave.key(), &SECRET)?);
    }
    Ok(start.elapsed().as_secs_f64() * 1e6 / f64::from(rounds))
}
