//! What a worker is told.

use std::{collections::BTreeSet, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use alloy::{primitives::Address, signers::local::PrivateKeySigner};
use prometheus_client::registry::Registry;
use sesame_chain::{Deployment, PurchasedTask};
use sesame_domain::AssetId;
use sesame_enclave::HostOptions;
use url::Url;

use crate::{Runner, TaskError, Tee, WorkerError};

/// How many tasks run at a time unless told otherwise.
pub const DEFAULT_PARALLEL: usize = 2;

/// How often the chain is asked for new tasks unless told otherwise.
pub const DEFAULT_POLL: Duration = Duration::from_secs(1);

/// What a worker is told. The debug form shows of the account its address alone.
#[derive(Debug, Clone)]
pub struct Config {
    /// JSON-RPC endpoint of a node.
    pub rpc_url: String,
    /// Where the contracts are.
    pub deployment: Deployment,
    /// The account that orders name; it pays for `start` and `complete`, and vouches for enclave keys.
    pub account: PrivateKeySigner,
    /// Where enclaves find the SMS.
    pub sms_url: Url,
    /// The SMS that enclaves are told to trust; orders that name another are left alone.
    pub sms_identity: Address,
    /// Holds a folder per task.
    pub work_dir: PathBuf,
    /// What tasks run in.
    pub tee: Tee,
    /// How often the chain is asked for new tasks.
    pub poll_interval: Duration,
    /// How many tasks run at a time, at least 1.
    pub max_parallel: usize,
    /// Whose tasks run here.
    pub allowed: Allowed,
    /// Where launchers look for content, how much of it there may be, and where results go.
    pub options: HostOptions,
    /// How long running tasks may take to end once the worker is told to stop; to their deadlines unless said.
    pub drain_timeout: Option<Duration>,
    /// Where to serve metrics; nowhere unless said.
    pub metrics: Option<SocketAddr>,
    /// What is measured of the program around the worker; served with the worker's own metrics.
    pub program: Arc<Registry>,
}

impl Config {
    /// The same with the file that authorizes to storage as it is from anywhere.
    ///
    /// # Errors
    /// When that file is not there, or cannot be shown to the TEE.
    pub fn settled(mut self) -> Result<Self, WorkerError> {
        if let Some(file) = &mut self.options.result_authorization {
            if matches!(self.tee.runner, Runner::Gramine(_)) {
                return Err(WorkerError::NoAuthorizationInGramine);
            }
            let found = file.canonicalize();
            *file = found
                .map_err(|source| WorkerError::Authorization { path: file.clone(), source })?;
        }
        Ok(self)
    }
}

/// Which tasks a worker runs: those of listed apps by listed requesters. An empty list lets in any.
///
/// An app is listed by its id: what its owner registers under that id is let in too.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Allowed {
    /// The apps that run here.
    pub apps: BTreeSet<AssetId>,
    /// Who may have them run here.
    pub requesters: BTreeSet<Address>,
}

impl Allowed {
    /// The task is of a listed app and a listed requester.
    pub(crate) fn check(&self, purchase: &PurchasedTask) -> Result<(), TaskError> {
        let (app, requester) = (purchase.order.app, purchase.requester);
        if !self.apps.is_empty() && !self.apps.contains(&app) {
            return Err(TaskError::AppNotAllowed(app));
        }
        if !self.requesters.is_empty() && !self.requesters.contains(&requester) {
            return Err(TaskError::RequesterNotAllowed(requester));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::B256;

    use super::*;
    use crate::testing::purchase;

    const APP: AssetId = AssetId(B256::repeat_byte(1));
    const REQUESTER: Address = Address::repeat_byte(2);

    fn check(apps: &[AssetId], requesters: &[Address]) -> Result<(), TaskError> {
        let allowed = Allowed {
            apps: apps.iter().copied().collect(),
            requesters: requesters.iter().copied().collect(),
        };
        allowed.check(&purchase(APP, REQUESTER))
    }

    #[test]
    fn an_empty_list_lets_in_any() {
        assert!(check(&[], &[]).is_ok());
        assert!(check(&[APP], &[]).is_ok());
        assert!(check(&[], &[REQUESTER]).is_ok());
    }

    #[test]
    fn both_lists_must_let_a_task_in() {
        let (app, requester) = (AssetId(B256::repeat_byte(8)), Address::repeat_byte(9));
        assert!(check(&[app, APP], &[requester, REQUESTER]).is_ok());
        for requesters in [&[][..], &[REQUESTER], &[requester]] {
            let refused = check(&[app], requesters);
            assert!(matches!(refused, Err(TaskError::AppNotAllowed(APP))), "{refused:?}");
        }
        for apps in [&[][..], &[APP]] {
            let refused = check(apps, &[requester]).unwrap_err();
            assert!(matches!(refused, TaskError::RequesterNotAllowed(REQUESTER)), "{refused}");
            assert!(!refused.is_retryable());
        }
    }
}
