//! The service, in this process, on a free port.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use alloy::primitives::Address;
use reqwest::{Client, Method, RequestBuilder};
use sesame_chain::Deployment;
use sesame_client::{
    ClientError,
    public::{Public, Question},
};
use sesame_domain::TaskId;
use sesame_protocol::{
    explain::Explanation,
    keys::TrustedKeys,
    status::{State, Status},
    typed::Domain,
};
use sesame_sms::{Config, Followed, ServeError};
use tokio::{net::TcpListener, task::JoinHandle, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{Answer, eventually, free_port, now};

/// How long a service may take to stop.
const STOPPING: Duration = Duration::from_secs(30);

/// A running service. Stops when dropped.
#[derive(Debug)]
pub struct Sms {
    /// What the operator decided.
    pub config: Config,
    /// The identity that owners pin.
    pub identity: Address,
    address: SocketAddr,
    base: String,
    http: Client,
    stop: CancellationToken,
    running: Option<JoinHandle<Result<(), ServeError>>>,
}

impl Sms {
    /// Starts a service on a free port and waits until it answers.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(config: Config) -> Self {
        Self::start_at(config, SocketAddr::from(([127, 0, 0, 1], free_port()))).await
    }

    async fn start_at(config: Config, address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.expect("a port is free");
        let address = listener.local_addr().expect("it listens");
        let stop = CancellationToken::new();
        let shutdown = stop.clone().cancelled_owned();
        let serving = sesame_sms::run(listener, config.clone(), shutdown);
        let running = Some(TaskTracker::new().spawn(serving));
        let (base, http) = (format!("http://{address}"), Client::new());
        let identity = Address::ZERO;
        let mut sms = Self { config, identity, address, base, http, stop, running };
        let public = sms.public();
        let status = eventually("the service answers", async || {
            if sms.running.as_ref().is_some_and(JoinHandle::is_finished) {
                let ended = sms.running.take().expect("just seen").await;
                panic!("the service did not start: {ended:?}");
            }
            public.status().await.ok()
        });
        sms.identity = status.await.identity;
        sms
    }

    /// Starts a service that is expected to refuse, and gives its reason.
    ///
    /// # Panics
    /// When it runs nevertheless.
    pub async fn refusal(config: Config) -> ServeError {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let serving = sesame_sms::run(listener, config, std::future::pending());
        let ended = timeout(STOPPING, serving).await.expect("the service refuses to start");
        ended.expect_err("the service refuses to start")
    }

    /// Stops the service and waits for its end.
    ///
    /// # Panics
    /// When it fails or does not stop.
    pub async fn stop(&mut self) {
        self.stop.cancel();
        self.ended().await.expect("the service stops well");
    }

    /// Starts it again at the same address, on the same data.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start_again(&mut self) {
        assert!(self.running.is_none(), "stop it first");
        let again = Self::start_at(self.config.clone(), self.address).await;
        assert_eq!(again.identity, self.identity, "a service keeps its identity");
        *self = again;
    }

    /// Waits for the service's end and gives its reason.
    ///
    /// # Errors
    /// When the service had to stop.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn ended(&mut self) -> Result<(), ServeError> {
        let running = self.running.take().expect("the service runs");
        timeout(STOPPING, running).await.expect("the service ends").expect("it does not panic")
    }

    /// The base URL.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// A file or folder of its data.
    #[must_use]
    pub fn data(&self, name: &str) -> PathBuf {
        self.config.data_dir.join(name)
    }

    /// The contracts that it follows.
    ///
    /// # Panics
    /// When they are another family's.
    #[must_use]
    pub const fn deployment(&self) -> &Deployment {
        self.config.followed.native().expect("it follows our own contracts")
    }

    /// The domain of every signature.
    #[must_use]
    pub fn domain(&self) -> Domain {
        let deployment = self.deployment();
        Domain { chain_id: deployment.chain_id, asset_registry: deployment.asset_registry }
    }

    /// What anybody may ask.
    ///
    /// # Panics
    /// Never: the base is a URL.
    #[must_use]
    pub fn public(&self) -> Public {
        Public::new(&self.base).expect("the base is a URL")
    }

    /// How it says it is.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn status(&self) -> Status {
        self.public().status().await.expect("the service answers")
    }

    /// Waits until it releases.
    pub async fn ready(&self) {
        eventually("the service is ready", async || {
            (self.status().await.state == State::Ready).then_some(())
        })
        .await;
    }

    /// Its certified keys.
    ///
    /// # Panics
    /// When they are not to be trusted.
    pub async fn keys(&self) -> TrustedKeys {
        let keys = self.public().keys().await.expect("the service answers");
        keys.verify(self.identity, &self.domain(), now()).expect("its identity certifies its keys")
    }

    /// Why it would not release the task's bundle, if it would not.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn explain(&self, task: TaskId) -> Explanation {
        self.explain_to(&Question { task, ..Question::default() }).await
    }

    /// Why it would not release, if it would not. Asked again where it is not ready, as on a busy machine it may be at any time.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn explain_to(&self, question: &Question) -> Explanation {
        let public = self.public();
        eventually("the service explains", async || match public.explain(question).await {
            Err(ClientError::Problem(problem)) if problem.status == 503 => None,
            answered => Some(answered.expect("the service explains")),
        })
        .await
    }

    /// A request by hand.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}/{path}", self.base))
    }

    /// A `GET` by hand.
    pub async fn get(&self, path: &str) -> Answer {
        Answer::to(self.request(Method::GET, path)).await
    }
}

impl Drop for Sms {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(running) = self.running.take() {
            running.abort();
        }
    }
}

/// The contracts that a service will follow, to be changed.
///
/// # Panics
/// When they are another family's.
pub fn deployment_of(config: &mut Config) -> &mut Deployment {
    match &mut config.followed {
        Followed::Native(deployment) => deployment,
        Followed::Iexec(_) => panic!("not our own contracts"),
    }
}
