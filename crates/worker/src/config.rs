//! What a worker is told.

use std::{path::PathBuf, time::Duration};

use alloy::{primitives::Address, signers::local::PrivateKeySigner};
use sesame_chain::Deployment;
use url::Url;

use crate::Tee;

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
}
