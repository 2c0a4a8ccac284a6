//! Starting, routing, stopping.

use std::{fs, io, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{DefaultBodyLimit, MatchedPath, Request, State},
    http::{Method, Uri},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use sesame_attestation::{TokenKey, Verifier};
use sesame_indexer::{
    Backfill, Decoder, Freshness, Mirror, MirrorError, Nodes, Pulse, SourceError,
};
use sesame_protocol::{
    operator::SOCKET,
    receipts::ReceiptLogKey,
    results::TaskDomain,
    signature::{SignatureError, Signer},
    status::Trust,
    typed::Domain,
};
use sesame_receipts::{Log, LogError};
use sesame_vault::{KeyError, KeyFile, KeyInUse, Vault, VaultError};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower_http::catch_panic::CatchPanicLayer;

use crate::{
    clock,
    collateral::Shelf,
    config::Config,
    enclave::{attest, auth, body, resource, result_key},
    index::{self, IndexError},
    limits::Gate,
    metrics::Metrics,
    operator, owner,
    pool::Pool,
    problem::{ApiError, Code, KbsError},
    public,
    reserve::Reserve,
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
    /// No client for collateral can be made.
    #[error("no HTTP client for the collateral service can be made")]
    Collateral(#[from] reqwest::Error),
    /// The node's url cannot be used.
    #[error(transparent)]
    Node(#[from] SourceError),
    /// The mirror had to stop.
    #[error("the index stopped, and with it the service")]
    Mirror(#[from] MirrorError),
    /// What opens the vault died.
    #[error("the vault's opening died")]
    OpeningDied(#[source] tokio::task::JoinError),
    /// The mirror's task died.
    #[error("the index died, and with it the service")]
    MirrorDied(#[source] tokio::task::JoinError),
    /// The check of the receipts died.
    #[error("the check of the log of receipts died, and with it the service")]
    CheckDied(#[source] tokio::task::JoinError),
    /// The listener failed.
    #[error("the listener failed")]
    Listener(#[source] io::Error),
}

/// Serves until `shutdown` resolves or the mirror has to stop.
///
/// # Errors
/// When the service cannot start, or the mirror stops because a person has to look.
pub async fn run(
    listener: TcpListener,
    config: Config,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let request_time = config.request_time;
    let gate = Gate::new(&config.limits);
    let data_dir = config.data_dir.clone();
    let (service, mirror) = open(config).await?;
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let address = listener.local_addr().map_err(ServeError::Listener)?;
    tracing::info!(sms.identity = %service.address(), "serving at http://{address}");
    let mirror = tasks.spawn({
        let stop = stop.clone();
        async move {
            let result = mirror.run(stop.clone()).await;
            stop.cancel();
            result
        }
    });
    let stopped = stop.clone();
    let until = async move {
        tokio::select! {
            () = shutdown => {}
            () = stopped.cancelled() => {}
        }
    };
    let service = Arc::new(service);
    tasks.spawn({
        let (service, stop) = (service.clone(), stop.clone());
        async move { service.shelf.keep_fresh(stop).await }
    });
    operate(&data_dir, service.clone(), &stop, &tasks);
    let checked = tasks.spawn_blocking({
        let (service, stop) = (service.clone(), stop.clone());
        move || {
            let checked = service.receipts.check(|| stop.is_cancelled());
            // What releases rest on is not what it was: nothing is released any more.
            if checked.is_err() {
                stop.cancel();
            }
            checked
        }
    });
    let router = router(service, request_time, &gate);
    tasks.spawn(gate.forget_idle(stop.clone()));
    let served = axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>())
        .with_graceful_shutdown(until)
        .await
        .map_err(ServeError::Listener);
    stop.cancel();
    tasks.close();
    tasks.wait().await;
    mirror.await.map_err(ServeError::MirrorDied)??;
    checked.await.map_err(ServeError::CheckDied)??;
    served
}

/// Serves the operator's socket until the service stops.
fn operate(data_dir: &Path, service: Shared, stop: &CancellationToken, tasks: &TaskTracker) {
    let listener = match operator::listen(data_dir) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::warn!(%error, "there is no socket for the operator: sesame vault works on a stopped service alone");
            return;
        }
    };
    let (stop, socket) = (stop.clone(), data_dir.join(SOCKET));
    tasks.spawn(async move {
        let served = axum::serve(listener, operator::router(service));
        if let Err(error) = served.with_graceful_shutdown(stop.cancelled_owned()).await {
            tracing::warn!(%error, "the operator's socket failed");
        }
        let _ = fs::remove_file(socket);
    });
}

/// Opens everything that the service stands on, refusing what does not belong together.
async fn open(config: Config) -> Result<(Service, Mirror), ServeError> {
    let deployment = config.deployment.clone();
    let origin = index::origin(&deployment);
    let folder = &config.data_dir;
    let opening = tokio::task::spawn_blocking({
        let config = config.clone();
        move || open_vault(&config)
    });
    let (keys, vault) = opening.await.map_err(ServeError::OpeningDied)??;
    let view = Arc::new(index::open(folder, &deployment)?);
    let domain =
        Domain { chain_id: deployment.chain_id, asset_registry: deployment.asset_registry };
    let receipts = Log::open(
        &folder.join("receipts.log"),
        keys.identity.address(),
        deployment.chain_id,
        keys.receipts.bytes(),
    )?;
    let receipts_key = ReceiptLogKey::certify(receipts.verifier_key(), &domain, &keys.identity);
    let (publisher, pulse) = watch::channel(Pulse::default());
    let nodes = Nodes::new(&config.rpc_urls, config.quorum, &origin.registries).await?;
    // With connections of its own: a mirror that fails over is no concern of owners.
    let asked = Nodes::new(&config.rpc_urls, config.quorum, &origin.registries).await?;
    let trust = if nodes.is_quorum() { Trust::Quorum } else { Trust::SingleNode };
    let metrics = Metrics::new();
    let mirror = Mirror {
        nodes,
        view: view.clone(),
        decoder: Decoder::new(&deployment),
        chain_id: deployment.chain_id,
        contracts: deployment.contracts(),
        first_block: deployment.first_block,
        confirmation: config.confirmation,
        prove_every: config.prove_every,
        history: config.history,
        backfill: Backfill::Logs,
        poll: config.poll,
        heads: config.heads_urls,
        metrics: metrics.index.clone(),
        pulse: publisher,
    };
    let tasks =
        TaskDomain { chain_id: deployment.chain_id, task_registry: deployment.task_registry };
    let service = Service {
        deployment,
        domain,
        tasks,
        identity: keys.identity,
        sealing: Sealing::default(),
        token: keys.token,
        verifier: Verifier::new(config.policy),
        shelf: Shelf::new(config.collateral)?,
        view,
        nodes: asked,
        asking: Semaphore::new(ASKING),
        vault,
        receipts,
        receipts_key,
        reserve: Reserve { folder: folder.clone(), bytes: config.free_reserve_bytes },
        turns: Semaphore::new(TURNS),
        pool: Pool::new(config.limits.verifications.get(), config.limits.verifications_waiting),
        pulse,
        metrics,
        trust,
        freshness: Freshness { max_lag: config.max_lag, max_head_age: config.max_head_age },
    };
    Ok((service, mirror))
}

/// The service's keys and its vault, which belong together. Blocks for as long as a database takes to answer.
fn open_vault(config: &Config) -> Result<(Keys, Vault), ServeError> {
    let places = config.places();
    let first_run = !places.hold_a_vault()?;
    let keys = Keys::open(&config.data_dir, first_run, config.session_life)?;
    let vault = places.open(&config.deployment)?;
    vault.belongs_to(keys.identity.address())?;
    tell_key(&vault.key_in_use());
    sealing::first(&vault, clock::now())?;
    Ok((keys, vault))
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

const ROUTES: &[&str] = &[
    "GET /healthz",
    "GET /readyz",
    "GET /metrics",
    "GET /v1/status",
    "GET /v1/keys",
    "GET /.well-known/jwks.json",
    "GET /v1/tasks/{task}/explain",
    "GET /v1/tasks/{task}/settlement",
    "GET /v1/receipts/key",
    "GET /v1/receipts/checkpoint",
    "GET /v1/receipts/tile/{level}/{index}[.p/{width}]",
    "GET /v1/assets/{asset}/receipts",
    "GET /v1/requesters/{address}/receipts",
    "PUT /v1/assets/{asset}/secret",
    "HEAD /v1/assets/{asset}/secret",
    "DELETE /v1/assets/{asset}/secret",
    "PUT /v1/requesters/{address}/secrets/{name}",
    "HEAD /v1/requesters/{address}/secrets/{name}",
    "DELETE /v1/requesters/{address}/secrets/{name}",
    "GET /v1/owners/{address}/secrets",
    "POST /kbs/v0/auth",
    "POST /kbs/v0/attest",
    "GET /kbs/v0/resource/{task}/{type}/{tag}",
    "POST /kbs/v0/result-key",
    "POST /kbs/{voucher}/v0/auth",
    "POST /kbs/{voucher}/v0/attest",
    "GET /kbs/{voucher}/v0/resource/{task}/{type}/{tag}",
];

/// What the service serves.
pub fn routes() -> impl Iterator<Item = &'static str> {
    ROUTES.iter().copied()
}

fn router(service: Shared, request_time: Duration, gate: &Gate) -> Router {
    Router::new()
        .merge(public_surface())
        .merge(questions().route_layer(gate.layer(IntoResponse::into_response)))
        .merge(owner_surface().route_layer(gate.layer(IntoResponse::into_response)))
        .merge(
            enclave_surface()
                .route_layer(CatchPanicLayer::custom(|_: Panic| {
                    KbsError::from(panicked()).into_response()
                }))
                .route_layer(gate.layer(|e| KbsError::from(e).into_response())),
        )
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        .layer(CatchPanicLayer::custom(|_: Panic| panicked().into_response()))
        .layer(middleware::from_fn_with_state(request_time, in_time))
        .layer(middleware::from_fn(log))
        .with_state(service)
}

fn public_surface() -> Router<Shared> {
    Router::new()
        .route("/healthz", get(public::health::healthz))
        .route("/readyz", get(public::health::readyz))
        .route("/metrics", get(public::metrics::metrics))
        .route("/v1/status", get(public::status::status))
        .route("/v1/keys", get(public::keys::keys))
        .route("/.well-known/jwks.json", get(public::keys::jwks))
        .route("/v1/receipts/checkpoint", get(public::receipts::checkpoint))
        .route("/v1/receipts/tile/{*path}", get(public::receipts::tile))
}

/// What anybody may ask for, and what costs a decision or a signature each time.
fn questions() -> Router<Shared> {
    Router::new()
        .route("/v1/tasks/{task}/explain", get(public::explain::explain))
        .route("/v1/tasks/{task}/settlement", get(public::settlement::settlement))
        .route("/v1/receipts/key", get(public::receipts::key))
}

fn owner_surface() -> Router<Shared> {
    let asset = put(owner::put::asset).head(owner::head::asset).delete(owner::delete::asset);
    let requester =
        put(owner::put::requester).head(owner::head::requester).delete(owner::delete::requester);
    Router::new()
        .route("/v1/assets/{asset}/secret", asset)
        .route("/v1/requesters/{address}/secrets/{name}", requester)
        .route("/v1/owners/{address}/secrets", get(owner::list::owned))
        .route("/v1/assets/{asset}/receipts", get(owner::receipts::asset))
        .route("/v1/requesters/{address}/receipts", get(owner::receipts::requester))
}

fn enclave_surface() -> Router<Shared> {
    let small = || DefaultBodyLimit::max(body::MAX_SMALL);
    let attestation = || DefaultBodyLimit::max(body::MAX_ATTESTATION);
    Router::new()
        .route("/kbs/v0/auth", post(auth::auth).layer(small()))
        .route("/kbs/{voucher}/v0/auth", post(auth::auth).layer(small()))
        .route("/kbs/v0/attest", post(attest::attest).layer(attestation()))
        .route("/kbs/{voucher}/v0/attest", post(attest::attest_in_path).layer(attestation()))
        .route("/kbs/v0/result-key", post(result_key::result_key).layer(small()))
        .route("/kbs/v0/resource/{task}/{kind}/{tag}", get(resource::resource))
        .route("/kbs/{voucher}/v0/resource/{task}/{kind}/{tag}", get(resource::resource_in_path))
}

async fn not_found(uri: Uri) -> Response {
    let detail = format!("There is nothing at {}.", uri.path());
    in_form_of(&uri, ApiError::new(Code::NotFound, detail))
}

async fn method_not_allowed(method: Method, uri: Uri) -> Response {
    let detail = format!("{method} is not allowed here.");
    in_form_of(&uri, ApiError::new(Code::MethodNotAllowed, detail))
}

/// An error as the surface has it that was asked.
fn in_form_of(uri: &Uri, error: ApiError) -> Response {
    let of_an_enclave = uri.path().starts_with("/kbs/");
    if of_an_enclave { KbsError::from(error).into_response() } else { error.into_response() }
}

/// The panic's message may hold anything, so it stays out of log and answer; its place is in the panic hook's output.
type Panic = Box<dyn std::any::Any + Send + 'static>;

fn panicked() -> ApiError {
    tracing::error!("a handler panicked");
    ApiError::new(Code::Internal, "The service failed to answer; its log says why.")
}

/// Answers for a handler that takes longer than `limit`, in the form of its surface. What the handler had handed to a
/// blocking thread goes on to its end.
async fn in_time(State(limit): State<Duration>, request: Request, next: Next) -> Response {
    let uri = request.uri().clone();
    if let Ok(response) = timeout(limit, next.run(request)).await {
        return response;
    }
    let detail = format!(
        "No answer was ready within {} s, the time for the request's body included. What was asked for may have been done \
         nevertheless: look before you ask again.",
        limit.as_secs_f32()
    );
    in_form_of(&uri, ApiError::new(Code::RequestTimeout, detail))
}

/// One line per request: never a header, a body or a query.
async fn log(path: Option<MatchedPath>, request: Request, next: Next) -> Response {
    let started = std::time::Instant::now();
    let method = request.method().clone();
    let response = next.run(request).await;
    let route = path.as_ref().map_or("unmatched", MatchedPath::as_str);
    let problem = response.headers().get("sesame-problem").and_then(|code| code.to_str().ok());
    tracing::info!(
        http.status = response.status().as_u16(),
        took_us = started.elapsed().as_micros(),
        problem,
        "{method} {route}"
    );
    response
}
