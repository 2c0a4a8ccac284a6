//! A service that follows PoCo on a chain of its own, in this process, and people who sign as iExec's clients do.
//!
//! What it serves is described by `crates/iexec/README.md` and not by OpenAPI: answers are not held against that here.

use std::{net::SocketAddr, time::Duration};

use alloy::{
    primitives::{Address, B256, Bytes, eip191_hash_message, hex},
    sol_types::{SolCall, SolValue},
};
use reqwest::{Client, Method, RequestBuilder, header::HeaderMap};
use serde_json::{Value, json};
use sesame_domain::TaskId;
use sesame_iexec::challenge;
use sesame_protocol::signature::Signer;
use sesame_sms::{
    CollateralSource, Config, Confirmation, Followed, History, IexecDeployment, Listeners, Policy,
    ServeError, SessionsConfig, TOKEN_LIFE,
};
use sesame_tests::{Node, Options, deploy_poco, eventually};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

alloy::sol! {
    /// PoCo's registries, as far as the stories need them.
    interface IRegistries {
        function createApp(address owner, string name, string kind, bytes multiaddr, bytes32 checksum, bytes mrenclave) external returns (address);
        function createDataset(address owner, string name, bytes multiaddr, bytes32 checksum) external returns (address);
        function predictDataset(address owner, string name, bytes multiaddr, bytes32 checksum) external view returns (address);
        function transferFrom(address from, address to, uint256 tokenId) external;
    }
}

/// A chain with PoCo, and a service for iExec's clients. Both end when it is dropped.
pub(super) struct Iexec {
    pub(super) node: Node,
    pub(super) deployment: IexecDeployment,
    config: Config,
    /// Where owners and enclaves would be served.
    pub(super) main: SocketAddr,
    /// Where iExec's clients are.
    address: SocketAddr,
    pub(super) http: Client,
    stop: CancellationToken,
    running: Option<JoinHandle<Result<(), ServeError>>>,
    pub(super) folder: TempDir,
}

/// An answer as it came.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl Reply {
    pub(super) async fn to(request: RequestBuilder) -> Self {
        let answer = request.send().await.expect("the service answers");
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Self { status, headers, body: answer.text().await.expect("the answer is whole") }
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Status and body, byte for byte.
    #[track_caller]
    pub(super) fn is(&self, status: u16, body: &str) {
        assert_eq!((self.status, self.body.as_str()), (status, body), "{self:?}");
    }

    /// The status alone.
    #[track_caller]
    pub(super) fn is_bare(&self, status: u16) {
        self.is(status, "");
    }
}

impl Iexec {
    pub(super) async fn start() -> Self {
        Self::with(Options::default(), None).await
    }

    pub(super) async fn with(options: Options, sessions: Option<SessionsConfig>) -> Self {
        let node = Node::start();
        let manifest = deploy_poco(&node).await;
        let deployment: IexecDeployment = manifest.to_string().parse().unwrap();
        let folder = TempDir::new().unwrap();
        let config = Config {
            rpc_urls: vec![node.url()],
            quorum: None,
            prove_every: 4,
            followed: Followed::Iexec(deployment),
            sessions,
            data_dir: folder.path().join("data"),
            vault: None,
            confirmation: Confirmation::Blocks(options.confirmations),
            history: History::All,
            poll: Duration::from_millis(20),
            heads_urls: Vec::new(),
            max_lag: options.max_lag,
            max_head_age: options.max_head_age,
            free_reserve_bytes: options.free_reserve_bytes,
            request_time: options.request_time,
            session_life: TOKEN_LIFE,
            limits: options.limits,
            network: options.network,
            collateral: CollateralSource::None,
            policy: Policy::hardware_only(),
            program: Default::default(),
        };
        let mut iexec = Self {
            node,
            deployment,
            config,
            main: SocketAddr::from(([127, 0, 0, 1], 0)),
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            http: Client::new(),
            stop: CancellationToken::new(),
            running: None,
            folder,
        };
        iexec.serve().await;
        iexec
    }

    /// Serves at the addresses that it has, or at free ones.
    pub(super) async fn serve(&mut self) {
        let owners = TcpListener::bind(self.main).await.unwrap();
        let iexec = TcpListener::bind(self.address).await.unwrap();
        (self.main, self.address) = (owners.local_addr().unwrap(), iexec.local_addr().unwrap());
        self.stop = CancellationToken::new();
        let listeners = Listeners { iexec: Some(iexec), ..Listeners::from(owners) };
        let shutdown = self.stop.clone().cancelled_owned();
        let serving = sesame_sms::run(listeners, self.config.clone(), shutdown);
        self.running = Some(TaskTracker::new().spawn(serving));
        eventually("the service is up", async || {
            if self.running.as_ref().is_some_and(JoinHandle::is_finished) {
                panic!("the service did not start: {:?}", self.running.take().unwrap().await);
            }
            let health = self.request(Method::GET, "actuator/health").send().await.ok()?;
            health.status().is_success().then_some(())
        })
        .await;
    }

    /// Stops it and starts it again on the same data.
    pub(super) async fn restart(&mut self) {
        self.stop.cancel();
        let running = self.running.take().unwrap();
        timeout(Duration::from_secs(30), running).await.unwrap().unwrap().unwrap();
        self.serve().await;
    }

    pub(super) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("http://{}/{path}", self.address))
    }

    pub(super) async fn ask(&self, method: Method, path: &str) -> Reply {
        Reply::to(self.request(method, path)).await
    }

    pub(super) async fn head(&self, path: &str) -> Reply {
        self.ask(Method::HEAD, path).await
    }

    /// A push as iExec's client sends it.
    pub(super) async fn push(
        &self,
        method: Method,
        path: &str,
        signature: &str,
        value: &str,
    ) -> Reply {
        let request = self.request(method, path).header("authorization", signature);
        Reply::to(request.header("content-type", "text/plain").body(value.to_owned())).await
    }

    /// Sends a transaction of one of the node's accounts, and waits until it is mined.
    pub(super) async fn send(&self, from: Address, to: Address, call: impl SolCall) {
        let data: Bytes = call.abi_encode().into();
        let transaction = json!({ "from": from, "to": to, "data": data, "gas": "0x200000" });
        let hash: B256 = self.node.call("eth_sendTransaction", (transaction,)).await;
        eventually("the transaction is mined", async || {
            let receipt: Value = self.node.call("eth_getTransactionReceipt", (hash,)).await;
            let mined = receipt["status"].as_str()?;
            assert_eq!(mined, "0x1", "it failed: {receipt}");
            Some(())
        })
        .await;
    }

    /// Where a dataset of this name will be.
    pub(super) async fn place_of_dataset(&self, owner: Address, name: &str) -> Address {
        let call = IRegistries::predictDatasetCall {
            owner,
            name: name.to_owned(),
            multiaddr: Bytes::from_static(b"https://files.example.org/data"),
            checksum: B256::repeat_byte(1),
        };
        let data: Bytes = call.abi_encode().into();
        let call = json!({ "to": self.deployment.dataset_registry, "data": data });
        let answer: Bytes = self.node.call("eth_call", (call, "latest")).await;
        Address::abi_decode(&answer).unwrap()
    }

    pub(super) async fn mint_dataset(&self, owner: Address, name: &str) -> Address {
        let place = self.place_of_dataset(owner, name).await;
        let call = IRegistries::createDatasetCall {
            owner,
            name: name.to_owned(),
            multiaddr: Bytes::from_static(b"https://files.example.org/data"),
            checksum: B256::repeat_byte(1),
        };
        self.send(owner, self.deployment.dataset_registry, call).await;
        place
    }

    pub(super) async fn transfer_dataset(&self, dataset: Address, from: Address, to: Address) {
        let token = dataset.into_word().into();
        let call = IRegistries::transferFromCall { from, to, tokenId: token };
        self.send(from, self.deployment.dataset_registry, call).await;
    }

    /// One of the node's accounts, which signs as iExec's clients do.
    pub(super) fn person(&self, index: usize) -> Person {
        Person(Signer::from_bytes(&self.node.key(index)).unwrap())
    }
}

impl Drop for Iexec {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(running) = self.running.take() {
            running.abort();
        }
    }
}

/// Somebody with a key.
pub(super) struct Person(Signer);

impl Person {
    pub(super) const fn address(&self) -> Address {
        self.0.address()
    }

    /// As `personal_sign` does over 32 bytes.
    pub(super) fn sign(&self, challenge: B256) -> String {
        hex::encode_prefixed(self.0.sign_hash(eip191_hash_message(challenge)))
    }
}

pub(super) const KEY: &str = "my-key";
pub(super) const TOKEN: &str = "iexec-result-dropbox-token";
pub(super) const VALUE: &str = "s3cret";

/// What strangers are answered about apps' and requesters' secrets.
pub(super) const UNAUTHORIZED: &str = r#"{"error":["Invalid authorization"]}"#;
pub(super) const EXISTS: &str = r#"{"error":["Secret already exists"]}"#;
pub(super) const TOO_LONG: &str = r#"{"error":["Secret size should not exceed 4 Kb"]}"#;

/// An enclave challenge.
pub(super) const ENCLAVE: Address = Address::repeat_byte(0x22);

pub(super) fn of_requester(owner: Address, key: &str) -> String {
    format!("requesters/{owner}/secrets/{key}")
}

pub(super) fn web2(owner: Address, name: &str) -> String {
    format!("secrets/web2?ownerAddress={owner}&secretName={name}")
}

pub(super) fn web3(dataset: Address) -> String {
    format!("secrets/web3?secretAddress={dataset}")
}

/// What a worker sends that is its own scheduler.
pub(super) fn session_body(scheduler: &Person, task: B256) -> String {
    let hash = challenge::session(scheduler.address(), TaskId(task), ENCLAVE);
    json!({
        "chainTaskId": task,
        "dealId": B256::ZERO,
        "taskIndex": 0,
        "workerWallet": scheduler.address(),
        "enclaveChallenge": ENCLAVE,
        "signature": { "value": scheduler.sign(hash), "more": true },
        "more": null,
    })
    .to_string()
}
