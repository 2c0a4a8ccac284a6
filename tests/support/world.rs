//! The world of one story.

use std::{
    fs,
    num::{NonZeroU32, NonZeroUsize},
    path::PathBuf,
    time::Duration,
};

use alloy::primitives::{Address, B256};
use sesame_attestation::simulated::Root;
use sesame_chain::{Content, Deployment};
use sesame_client::enclave::EnclaveError;
use sesame_domain::{AssetId, EnclaveId, Grant, Order, Resource, TaskId, Terms};
use sesame_protocol::bundle::Bundle;
use sesame_sms::{
    CollateralSource, Config, Confirmation, DEFAULT_REQUEST_TIME, Followed, History, Limits,
    Network, Policy, TOKEN_LIFE,
};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::{Answer, Attester, Build, Enclave, Node, Person, Sms, eventually, now};

/// Seconds: as good as for ever.
const TEN_YEARS: u64 = 315_360_000;

/// What the operator decides in a story.
#[derive(Debug, Clone)]
pub struct Options {
    /// How deep a block must be before grants count.
    pub confirmations: u64,
    /// Greatest time since the node last confirmed the head.
    pub max_lag: Duration,
    /// Greatest age of the head's timestamp, seconds.
    pub max_head_age: u64,
    /// Bytes of the disk that secrets leave free.
    pub free_reserve_bytes: u64,
    /// Longest time for one request.
    pub request_time: Duration,
    /// Seconds for which challenges and sessions hold.
    pub session_life: u64,
    /// How much strangers may ask for; by default as much as they can.
    pub limits: Limits,
    /// How connections are made, and how they end.
    pub network: Network,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            confirmations: 2,
            // Nobody is sent away because the machine is slow to follow the chain.
            max_lag: Duration::from_secs(30),
            // Stories move the chain's time as they like.
            max_head_age: TEN_YEARS,
            free_reserve_bytes: 0,
            request_time: DEFAULT_REQUEST_TIME,
            session_life: TOKEN_LIFE,
            limits: Limits {
                requests_per_second: NonZeroU32::MAX,
                burst: NonZeroU32::MAX,
                // Nobody is sent away for want of room, however slow the machine.
                verifications: NonZeroUsize::new(1024).expect("not zero"),
                verifications_waiting: 1024,
                in_flight: NonZeroUsize::new(1024).expect("not zero"),
            },
            network: Network::default(),
        }
    }
}

/// A chain, a service, and everybody who matters. Nothing is left when it is dropped.
#[derive(Debug)]
pub struct World {
    /// The service; declared first, so that it stops before its node.
    pub sms: Sms,
    /// Owns apps.
    pub developer: Person,
    /// Owns protected data.
    pub alice: Person,
    /// Owns protected data as well.
    pub bob: Person,
    /// Buys tasks.
    pub requester: Person,
    /// Runs tasks.
    pub worker: Person,
    /// Owns nothing and may nothing.
    pub stranger: Person,
    /// The contracts.
    pub deployment: Deployment,
    /// The root of the simulated TEE that the operator trusts.
    pub root: Root,
    /// The chain.
    pub node: Node,
    folder: TempDir,
}

impl World {
    /// A world as most stories want it.
    pub async fn start() -> Self {
        Self::with(Options::default()).await
    }

    /// A world with an operator who decided otherwise.
    ///
    /// # Panics
    /// When anything does not start.
    pub async fn with(options: Options) -> Self {
        let node = Node::start();
        let deployment = node.deploy().await;
        let folder = TempDir::new().expect("there is a folder for temporary files");
        let root = Root::make(now());
        let config = Config {
            rpc_urls: vec![node.url()],
            quorum: None,
            prove_every: 4,
            followed: Followed::Native(deployment.clone()),
            sessions: None,
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
            session_life: options.session_life,
            limits: options.limits,
            network: options.network,
            collateral: CollateralSource::None,
            policy: Policy::insecure_trusting_simulated(root.published().clone()),
            program: Default::default(),
        };
        let sms = Sms::start(config).await;
        let url = node.url();
        let person =
            |index| Person::new(node.key(index), &url, &deployment, (sms.base(), sms.identity));
        let (developer, alice, bob, requester, worker, stranger) =
            tokio::join!(person(0), person(1), person(2), person(3), person(4), person(5));
        let world = Self {
            sms,
            developer,
            alice,
            bob,
            requester,
            worker,
            stranger,
            deployment,
            root,
            node,
            folder,
        };
        world.confirmed().await;
        world
    }

    /// The folder that the root of the simulated TEE published.
    ///
    /// # Panics
    /// When it cannot be written.
    #[must_use]
    pub fn published(&self) -> PathBuf {
        let folder = self.folder.path().join("root.pub");
        fs::create_dir_all(&folder).expect("a folder can be made");
        for (name, bytes) in self.root.published().files() {
            fs::write(folder.join(name), bytes).expect("a file can be written");
        }
        folder
    }

    /// A folder of the story's own.
    #[must_use]
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Waits until the service has seen the newest block, and confirmed what is deep enough by it.
    pub async fn followed(&self) {
        let head = self.node.head().await;
        eventually("the service follows the chain", async || {
            let status = self.sms.status().await;
            let deep = match self.sms.config.confirmation {
                Confirmation::Blocks(depth) => head.number.saturating_sub(depth),
                Confirmation::Safe | Confirmation::Finalized => 0,
            };
            (status.head?.hash == head.hash && status.confirmed?.number >= deep).then_some(())
        })
        .await;
        self.sms.ready().await;
    }

    /// Mines until the newest block is confirmed, and waits until the service has seen that.
    pub async fn confirmed(&self) {
        let (block, depth) = (self.node.head().await.number, self.confirmations());
        self.node.mine(depth).await;
        self.followed().await;
        eventually("the service confirms the block", async || {
            let confirmed = self.sms.status().await.confirmed?;
            (confirmed.number >= block).then_some(())
        })
        .await;
    }

    /// How deep a block must be.
    ///
    /// # Panics
    /// When the operator asks for a tag.
    #[must_use]
    pub fn confirmations(&self) -> u64 {
        match self.sms.config.confirmation {
            Confirmation::Blocks(depth) => depth,
            Confirmation::Safe | Confirmation::Finalized => panic!("not a number of blocks"),
        }
    }

    /// Registers an app.
    ///
    /// # Panics
    /// When the contract refuses.
    pub async fn app(&self, owner: &Person) -> AssetId {
        let content = content("https://example.org/app", b"an app");
        let app = owner.chain.register_app(&content, B256::random()).await;
        app.expect("an app is registered").result
    }

    /// Registers a protected data with this content, which would be encrypted.
    ///
    /// # Panics
    /// When the contract refuses.
    pub async fn data(&self, owner: &Person, bytes: &[u8]) -> AssetId {
        let content = content("https://example.org/data", bytes);
        let data = owner.chain.register_data(&content, B256::random()).await;
        data.expect("a protected data is registered").result
    }

    /// The owner lets a build near an asset, on no terms.
    pub async fn allow(&self, owner: &Person, asset: AssetId, build: Build) {
        self.allow_on(owner, asset, build.id(), &Terms::default()).await;
    }

    /// The owner lets an enclave near an asset.
    ///
    /// # Panics
    /// When the contract refuses.
    pub async fn allow_on(
        &self,
        owner: &Person,
        asset: AssetId,
        enclave: EnclaveId,
        terms: &Terms,
    ) {
        owner.chain.authorize(asset, enclave, terms).await.expect("an enclave is authorized");
    }

    /// An order for an app and nothing else, for our worker and our service.
    #[must_use]
    pub fn order(&self, app: AssetId, build: Build) -> Order {
        Order {
            app,
            enclave: build.id(),
            data: Vec::new(),
            grants: Vec::new(),
            worker: self.worker.address(),
            sms: self.sms.identity,
            beneficiary: self.requester.address(),
            deadline: now() + 3600,
            currency: Address::ZERO,
            reward: Default::default(),
            max_cost: Default::default(),
            params: "--sum".to_owned(),
        }
    }

    /// The requester buys.
    ///
    /// # Panics
    /// When the contract refuses.
    pub async fn buy(&self, order: &Order) -> TaskId {
        self.requester.chain.purchase(order).await.expect("a task is bought").result
    }

    /// The worker starts.
    ///
    /// # Panics
    /// When the contract refuses.
    pub async fn begin(&self, task: TaskId) {
        self.worker.chain.start(task).await.expect("a task is started");
    }

    /// The requester buys, the worker starts, and both are confirmed.
    pub async fn buy_and_begin(&self, order: &Order) -> TaskId {
        let task = self.buy(order).await;
        self.begin(task).await;
        self.confirmed().await;
        task
    }

    /// A fresh enclave of this build.
    #[must_use]
    pub fn enclave(&self, build: Build) -> Enclave<'_> {
        Enclave::new(build, &self.sms, &self.root)
    }

    /// A fresh enclave that attests by hand, challenged.
    pub async fn challenged(&self, build: Build) -> Attester<'_> {
        Attester::challenged(build, &self.sms, &self.root).await
    }

    /// A fresh enclave that attests by hand, attested with our worker's word.
    pub async fn attested(&self, build: Build, task: TaskId) -> Attester<'_> {
        self.attested_by(build, task, &self.worker).await
    }

    /// The same with somebody's word.
    pub async fn attested_by(&self, build: Build, task: TaskId, worker: &Person) -> Attester<'_> {
        let mut attester = self.challenged(build).await;
        attester.attest(task, worker).await;
        attester
    }

    /// What a fresh enclave of this build gets for the task.
    ///
    /// # Errors
    /// When the service refuses.
    pub async fn run(&self, build: Build, task: TaskId) -> Result<Bundle, EnclaveError> {
        self.enclave(build).bundle(task, &self.worker).await
    }

    /// What a fresh enclave of this build is answered when it asks for a resource.
    pub async fn ask(&self, build: Build, task: TaskId, resource: Resource) -> Answer {
        self.attested(build, task).await.ask(task, resource).await
    }
}

/// A grant of one secret.
impl World {
    /// A grant by index and name.
    ///
    /// # Panics
    /// When that is no name.
    #[must_use]
    pub fn grant(index: u32, name: &str) -> Grant {
        Grant { index, name: name.parse().expect("a name") }
    }
}

fn content(uri: &str, bytes: &[u8]) -> Content {
    Content { uri: uri.to_owned(), digest: B256::new(Sha256::digest(bytes).into()) }
}
