//! Starting and stopping.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use sesame_attestation::{TokenKey, Verifier};
use sesame_indexer::{Backfill, Freshness, Mirror, MirrorError, Nodes, Pulse, SourceError};
use sesame_protocol::{
    operator::SOCKET,
    receipts::ReceiptLogKey,
    results::TaskDomain,
    signature::{SignatureError, Signer},
    status::{KeyProvider, Trust, VaultStore},
    typed::Domain,
};
use sesame_receipts::{Log, LogError};
use sesame_vault::{KeyError, KeyFile, KeyInUse, Vault, VaultError};
use sesame_view::View;
use tokio::{
    sync::{Semaphore, watch},
    time::sleep,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    clients::Clients,
    clock,
    collateral::Shelf,
    config::Config,
    crew::Crew,
    followed::Followed,
    health::Health,
    iexec::{self, Iexec},
    index::{self, IndexError},
    limits::{Gate, cores},
    listen::{Listeners, Network, Server, Tls, TlsError, nothing_to_reload},
    manager,
    metrics::Metrics,
    operator,
    overload::Room,
    pool::Pool,
    reserve::Reserve,
    router::router,
    sealing::{self, Sealing},
    service::{ASKING, Service, Shared, TURNS},
    vault::IDENTITY,
};

/// The service cannot start, or had to stop.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// A folder cannot be made.
    #[error("cannot use the data folder")]
    Folder(#[source] io::Error),
    /// A key file cannot be used. One that is missing beside an existing vault is never made anew.
    #[error("cannot use the keys of this service: restore them from your backup")]
    Keys(#[from] KeyError),
    /// A key file holds no key of its kind.
    #[error("the identity key is not a secp256k1 key")]
    Identity(#[from] SignatureError),
    /// A key file holds no key of its kind.
    #[error("the token key is not a P-256 key")]
    Token(#[from] p256::elliptic_curve::Error),
    /// The vault cannot be opened.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The index cannot be opened.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The receipts cannot be continued.
    #[error(transparent)]
    Receipts(#[from] LogError),
    /// No client can be made, for collateral or for the storage of sessions.
    #[error("no HTTP client can be made")]
    Client(#[from] reqwest::Error),
    /// The node's url cannot be used.
    #[error(transparent)]
    Node(#[from] SourceError),
    /// The mirror had to stop.
    #[error("the index stopped, and with it the service")]
    Mirror(#[from] MirrorError),
    /// What opens vault, index and receipts died.
    #[error("what opens vault, index and receipts died")]
    OpeningDied(#[source] tokio::task::JoinError),
    /// The mirror's task died.
    #[error("the index died, and with it the service")]
    MirrorDied(#[source] tokio::task::JoinError),
    /// The check of the receipts died.
    #[error("the check of the log of receipts died, and with it the service")]
    CheckDied(#[source] tokio::task::JoinError),
    /// Certificate or key cannot be used.
    #[error("the service cannot speak TLS")]
    Tls(#[from] TlsError),
    /// The operating system gives no threads.
    #[error("no threads can be started to work on requests")]
    Threads(#[source] io::Error),
    /// The listener failed.
    #[error("the listener failed")]
    Listener(#[source] io::Error),
}

/// Serves until `shutdown` resolves or the mirror has to stop.
///
/// # Errors
/// When the service cannot start, or the mirror stops because a person has to look.
pub async fn run(
    listeners: impl Into<Listeners>,
    config: Config,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let (request_time, network) = (config.request_time, config.network.clone());
    let clients = Clients::new(&network.trusted_proxies);
    let gate = Gate::new(&config.limits, clients.clone());
    let (data_dir, followed) = (config.data_dir.clone(), config.followed.clone());
    let sessions = config.sessions.clone();
    let listeners = listeners.into().with_surfaces(followed.native().is_some());
    let listeners = listeners.map_err(ServeError::Listener)?;
    let metrics = Metrics::new(config.program.clone());
    let tls = load_tls(&network, &metrics)?;
    let mut shutdown = Box::pin(shutdown);
    let (service, mirror) = tokio::select! {
        opened = open(config, metrics) => opened?,
        // Whatever its opening waits for.
        () = &mut shutdown => return Ok(()),
    };
    let service = Arc::new(service);
    let iexec = match followed {
        Followed::Native(_) => None,
        Followed::Iexec(deployment) => Some(Iexec::new(service.clone(), deployment, sessions)?),
    };
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    for listener in &listeners {
        listener.announce(service.address(), &network);
    }
    if let Some(first) = listeners.first() {
        manager::serving(first.address);
    }
    tasks.spawn(manager::keep_alive(stop.clone()));
    let mirror = tasks.spawn(follow(mirror, stop.clone()));
    if let Some(iexec) = iexec.clone() {
        tasks.spawn(iexec.count());
    }
    tasks.spawn({
        let (service, stop) = (service.clone(), stop.clone());
        async move { service.shelf.keep_fresh(stop).await }
    });
    tasks.spawn(Health::keep_asking(service.clone(), stop.clone()));
    // What is under way is finished while the mirror still follows: nothing is answered from a stale one.
    let leave = stop.child_token();
    let _left_by_all = leave.clone().drop_guard();
    tasks.spawn(operate(data_dir, service.clone(), leave.clone(), network.drain_time));
    let checked = tasks.spawn_blocking({
        let (service, stop) = (service.clone(), stop.clone());
        move || check(&service.receipts, &stop)
    });
    let routed = listeners.into_iter().map(|listener| {
        let router = match &iexec {
            Some(iexec) if listener.surfaces.iexec => {
                iexec::router::router(iexec.clone(), request_time, &gate)
            }
            _ => router(service.clone(), request_time, &gate, listener.surfaces),
        };
        (listener, router)
    });
    let routed: Vec<_> = routed.collect();
    tasks.spawn(gate.forget_idle(stop.clone()));
    match &tls {
        Some(tls) => tasks.spawn(tls.clone().keep_current(stop.clone())),
        None => tasks.spawn(nothing_to_reload(stop.clone())),
    };
    let server = Server::new(network, clients, tls, leave.clone());
    let until = async {
        let failed = end(&service.receipts, &stop, shutdown).await;
        manager::stopping();
        leave.cancel();
        failed
    };
    let (_, failed) = tokio::join!(server.serve(routed), until);
    stop.cancel();
    tasks.close();
    tasks.wait().await;
    mirror.await.map_err(ServeError::MirrorDied)??;
    checked.await.map_err(ServeError::CheckDied)??;
    failed.map_or(Ok(()), |error| Err(error.into()))
}

/// Mirrors the chain. However it ends, by a panic too, all stops with it.
async fn follow(mirror: Mirror, stop: CancellationToken) -> Result<(), MirrorError> {
    let _ends_with_it = stop.clone().drop_guard();
    mirror.run(stop).await
}

/// Checks the log of receipts. If it is not what it was, or the check dies, nothing is released any more and all stops.
fn check(receipts: &Log, stop: &CancellationToken) -> Result<(), LogError> {
    let unless_it_is_good = stop.clone().drop_guard();
    receipts.check(|| stop.is_cancelled()).inspect_err(|_| receipts.close())?;
    drop(unless_it_is_good.disarm());
    Ok(())
}

/// Waits for whatever ends the service first; gives what is wrong with the log of receipts, if that is it.
async fn end(
    receipts: &Log,
    stop: &CancellationToken,
    shutdown: impl Future<Output = ()>,
) -> Option<LogError> {
    tokio::select! {
        () = stop.cancelled() => None,
        () = shutdown => None,
        // Nothing can be released any more: whoever starts the service again finds out whether it passed.
        failed = receipts.failed() => Some(failed),
    }
}

fn load_tls(network: &Network, metrics: &Metrics) -> Result<Option<Arc<Tls>>, TlsError> {
    let files = network.tls.clone();
    files.map(|files| Tls::load(files, metrics.tls_not_after.clone()).map(Arc::new)).transpose()
}

/// Serves the operator's socket until the service stops, and then no longer than `drain_time`.
async fn operate(
    data_dir: PathBuf,
    service: Shared,
    stop: CancellationToken,
    drain_time: Duration,
) {
    let listener = match operator::listen(&data_dir) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::warn!(%error, "there is no socket for the operator: sesame vault works on a stopped service alone");
            return;
        }
    };
    let served = axum::serve(listener, operator::router(service))
        .with_graceful_shutdown(stop.clone().cancelled_owned());
    let late = async {
        stop.cancelled().await;
        sleep(drain_time).await;
    };
    tokio::select! {
        served = served.into_future() => if let Err(error) = served {
            tracing::warn!(%error, "the operator's socket failed");
        },
        () = late => tracing::warn!(
            "what the operator asked for did not end within {} s: left",
            drain_time.as_secs_f32()
        ),
    }
    let _ = fs::remove_file(data_dir.join(SOCKET));
}

/// Opens everything that the service stands on, refusing what does not belong together.
async fn open(config: Config, metrics: Metrics) -> Result<(Service, Mirror), ServeError> {
    let followed = config.followed.clone();
    let origin = followed.origin();
    let folder = &config.data_dir;
    let kept_in = config.places().kinds();
    let opening = tokio::task::spawn_blocking({
        let config = config.clone();
        move || Stores::open(&config)
    });
    let Stores { keys, vault, view, receipts } =
        opening.await.map_err(ServeError::OpeningDied)??;
    let view = Arc::new(view);
    let (chain_id, home) = (followed.chain_id(), followed.home());
    let domain = Domain { chain_id, asset_registry: home };
    let receipts_key = ReceiptLogKey::certify(receipts.verifier_key(), &domain, &keys.identity);
    let (publisher, pulse) = watch::channel(Pulse::default());
    let nodes = Nodes::new(&config.rpc_urls, config.quorum, origin.contracts.addresses()).await?;
    // With connections of its own: a mirror that fails over is no concern of owners.
    let asked = Nodes::new(&config.rpc_urls, config.quorum, origin.contracts.addresses()).await?;
    let trust = if nodes.is_quorum() { Trust::Quorum } else { Trust::SingleNode };
    let mirror = Mirror {
        nodes,
        view: view.clone(),
        family: followed.family(),
        chain_id,
        contracts: followed.contracts(),
        first_block: origin.first_block,
        confirmation: config.confirmation,
        prove_every: config.prove_every,
        history: config.history,
        backfill: Backfill::Logs,
        poll: config.poll,
        heads: config.heads_urls,
        metrics: metrics.index.clone(),
        pulse: publisher,
    };
    // Where records or keys are elsewhere, work waits for them most of its time, on as many threads as are waiting.
    let is_local = kept_in == (VaultStore::Rocksdb, KeyProvider::File);
    let crew = is_local.then(|| Crew::new(cores())).transpose().map_err(ServeError::Threads)?;
    let task_registry = followed.native().map_or(home, |deployment| deployment.task_registry);
    let service = Service {
        followed,
        domain,
        tasks: TaskDomain { chain_id, task_registry },
        identity: keys.identity,
        sealing: Sealing::default(),
        token: keys.token,
        verifier: Verifier::new(config.policy),
        shelf: Shelf::new(config.collateral)?.counting(metrics.collateral.clone()),
        view,
        nodes: asked,
        asking: Semaphore::new(ASKING),
        vault,
        receipts,
        receipts_key,
        reserve: Reserve { folder: folder.clone(), bytes: config.free_reserve_bytes },
        room: Arc::new(Room::new(config.limits.in_flight.get(), crew)),
        turns: Arc::new(Semaphore::new(TURNS)),
        pool: Pool::new(config.limits.verifications.get(), config.limits.verifications_waiting),
        pulse,
        metrics,
        trust,
        freshness: Freshness { max_lag: config.max_lag, max_head_age: config.max_head_age },
        health: Health::new(Instant::now()),
        since: Instant::now(),
        kept_in,
    };
    Ok((service, mirror))
}

/// What is at rest.
struct Stores {
    keys: Keys,
    vault: Vault,
    view: View,
    receipts: Log,
}

impl Stores {
    /// Opens what belongs together. Blocks for as long as a database takes to answer, and a log to be verified.
    fn open(config: &Config) -> Result<Self, ServeError> {
        let (places, folder) = (config.places(), &config.data_dir);
        let first_run = !places.hold_a_vault()?;
        let keys = Keys::open(folder, first_run, config.session_life)?;
        let vault = places.open(&config.followed)?;
        let identity = keys.identity.address();
        vault.belongs_to(identity)?;
        tell_key(&vault.key_in_use());
        sealing::first(&vault, clock::now())?;
        let view = index::open(folder, &config.followed)?;
        let (log, chain_id) = (folder.join("receipts.log"), config.followed.chain_id());
        let receipts = Log::open(&log, identity, chain_id, keys.receipts.bytes())?;
        Ok(Self { keys, vault, view, receipts })
    }
}

/// Tells the operator where the vault's key is, and where it should be.
fn tell_key(KeyInUse { key, place, next }: &KeyInUse) {
    tracing::info!("the vault's key {key} is in {place}");
    if place != next {
        tracing::warn!("the vault's key is not in {next} yet: sesame vault rotate-key moves it");
    }
}

struct Keys {
    identity: Signer,
    token: TokenKey,
    /// Signs the heads of the log of receipts.
    receipts: KeyFile,
}

impl Keys {
    /// Made on the first run; a vault that exists never gets new ones.
    fn open(folder: &Path, first_run: bool, session_life: u64) -> Result<Self, ServeError> {
        fs::create_dir_all(folder).map_err(ServeError::Folder)?;
        let load = |name: &str| {
            let path = folder.join("keys").join(name);
            if first_run { KeyFile::load_or_create(&path) } else { KeyFile::load(&path) }
        };
        Ok(Self {
            identity: Signer::from_bytes(load(IDENTITY)?.bytes())?,
            token: TokenKey::from_bytes(load("token.key")?.bytes(), session_life)?,
            // It opens nothing, and the identity vouches for whichever there is: made where it is missing.
            receipts: KeyFile::load_or_create(&folder.join("keys/receipts.key"))?,
        })
    }
}
