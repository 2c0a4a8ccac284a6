//! What an operator decides.

use std::{path::PathBuf, sync::Arc, time::Duration};

use prometheus_client::registry::Registry;
use sesame_attestation::Policy;
use sesame_indexer::Confirmation;
use sesame_view::History;

use crate::{
    collateral::CollateralSource, followed::Followed, iexec::SessionsConfig, limits::Limits,
    listen::Network, vault::Places,
};

/// How much of the data folder's file system stays free unless told otherwise: 1 GiB.
pub const DEFAULT_FREE_RESERVE: u64 = 1 << 30;

/// How long a request may take unless told otherwise.
pub const DEFAULT_REQUEST_TIME: Duration = Duration::from_secs(60);

/// The configuration of one service.
#[derive(Debug, Clone)]
pub struct Config {
    /// The JSON-RPC endpoint of a node, or of several that do not trust each other.
    pub rpc_urls: Vec<String>,
    /// How many endpoints have to agree on a block; the majority when not given.
    pub quorum: Option<usize>,
    /// After how many confirmed blocks the index is proven again by the chain's own journals.
    pub prove_every: u64,
    /// Where the contracts are, and whose.
    pub followed: Followed,
    /// How sessions are made for iExec's workers; without it, their clients' secrets are kept and none is given out.
    pub sessions: Option<SessionsConfig>,
    /// Holds `index/` and `receipts.index/` (disposable), `keys/` and `receipts.log` with its checkpoint (not disposable).
    pub data_dir: PathBuf,
    /// Where the vault is (not disposable); in the data folder if it is not said.
    pub vault: Option<Places>,
    /// Which block is deep enough for a grant.
    pub confirmation: Confirmation,
    /// How many past blocks can still be asked about.
    pub history: History,
    /// Longest pause between two questions for the head.
    pub poll: Duration,
    /// WebSocket endpoints of nodes that announce new heads, so that the pause ends early. Nothing that they say is believed.
    pub heads_urls: Vec<String>,
    /// Greatest time since the node last confirmed our head.
    pub max_lag: Duration,
    /// Greatest distance between the head's timestamp and the clock, either way, seconds.
    pub max_head_age: u64,
    /// Bytes of the data folder's file system that secrets leave free, so that index and receipts never find it full.
    pub free_reserve_bytes: u64,
    /// Longest time for one request, its body included.
    pub request_time: Duration,
    /// Seconds for which challenges and attested sessions hold; [`TOKEN_LIFE`](crate::TOKEN_LIFE) if this is more.
    pub session_life: u64,
    /// How much strangers may ask for.
    pub limits: Limits,
    /// How connections are made, and how they end.
    pub network: Network,
    /// Which enclaves are admitted at all.
    pub policy: Policy,
    /// Where it is said what Intel and AMD say about platforms.
    pub collateral: CollateralSource,
    /// What is measured of the program around the service; published with the service's own metrics.
    pub program: Arc<Registry>,
}

impl Config {
    /// Where the vault is.
    #[must_use]
    pub fn places(&self) -> Places {
        self.vault.clone().unwrap_or_else(|| Places::in_folder(&self.data_dir))
    }
}
