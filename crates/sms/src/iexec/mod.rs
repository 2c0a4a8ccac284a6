//! What iExec's clients, schedulers and workers ask, at the root of a listener of their own, over PoCo's contracts.
//!
//! Paths, statuses, bodies and the order of checks are those of iExec's SMS, which have no description in OpenAPI; where this one
//! differs, the README of `sesame-iexec` says so. Signatures here hold no nonce, chain or deadline, and are good for nothing else.

mod bulk;
mod chain;
mod counts;
mod explain;
mod refusal;
pub(crate) mod router;
mod secrets;
mod session;
mod standing;
mod storage;
mod tee;
mod value;

use std::sync::Arc;

use sesame_iexec::{pipeline::Pipeline, poco::Deployment};
use url::Url;

use self::{
    counts::Counts,
    storage::{Outside, is_private},
};
use crate::service::Shared;

/// How sessions are made for iExec's workers.
#[derive(Debug, Clone)]
pub struct SessionsConfig {
    pipeline: Pipeline,
    storage: Url,
    provisioning: String,
    ipfs_gateway: Option<Url>,
}

/// Sessions cannot be made this way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionsError {
    /// They hold secrets.
    #[error("sessions are posted by https, or by http on this very machine, and not to {0}")]
    NotPrivate(String),
    /// Lists are fetched by HTTP.
    #[error("a gateway to IPFS is asked by https or http")]
    Gateway,
}

impl SessionsConfig {
    /// With `pipeline` around the app. Sessions are posted to `/session` below `storage`; workers are told to get theirs at
    /// `provisioning`, or at the storage. `ipfs_gateway` has the lists of bulks, whose slices are empty without one.
    ///
    /// # Errors
    /// When the storage is neither asked by `https` nor on this machine, or the gateway is none.
    pub fn new(
        pipeline: Pipeline,
        storage: Url,
        provisioning: Option<String>,
        ipfs_gateway: Option<Url>,
    ) -> Result<Self, SessionsError> {
        if !is_private(&storage) {
            return Err(SessionsError::NotPrivate(
                storage.host_str().unwrap_or("nobody").to_owned(),
            ));
        }
        if ipfs_gateway.as_ref().is_some_and(|url| !["https", "http"].contains(&url.scheme())) {
            return Err(SessionsError::Gateway);
        }
        let provisioning = provisioning.unwrap_or_else(|| storage.to_string());
        Ok(Self { pipeline, storage, provisioning, ipfs_gateway })
    }
}

/// What the handlers of this surface share.
#[derive(Debug, Clone)]
pub(crate) struct Iexec {
    service: Shared,
    deployment: Deployment,
    sessions: Option<Arc<Sessions>>,
    counts: Arc<Counts>,
}

/// How sessions are made, and by which connections.
#[derive(Debug)]
struct Sessions {
    pipeline: Pipeline,
    outside: Outside,
}

/// The kinds of secrets that are counted apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Web2,
    Web3,
    Compute,
    Challenge,
}

impl Iexec {
    pub(crate) fn new(
        service: Shared,
        deployment: Deployment,
        sessions: Option<SessionsConfig>,
    ) -> Result<Self, reqwest::Error> {
        let sessions = sessions.map(|config| {
            let SessionsConfig { pipeline, storage, provisioning, ipfs_gateway } = config;
            let outside = Outside::new(storage, provisioning, ipfs_gateway)?;
            Ok(Arc::new(Sessions { pipeline, outside }))
        });
        let counts = Arc::default();
        Ok(Self { service, deployment, sessions: sessions.transpose()?, counts })
    }

    /// Counts what the vault has, once.
    pub(crate) async fn count(self) {
        self.counts.begin(&self.service).await;
    }
}
