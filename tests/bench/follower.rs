//! A mirror as the service runs it, without the service.

use std::{path::Path, sync::Arc, time::Duration};

use alloy_primitives::{Address, B256};
use sesame_chain::Deployment;
use sesame_domain::{AssetId, Authorization, EnclaveId};
use sesame_indexer::{
    Backfill, Confirmation, Decoder, Family, Metrics, Mirror, MirrorError, Nodes, Pulse, State,
};
use sesame_tests::Node;
use sesame_view::{History, Origin, View};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::ground::origin;

/// How a mirror is told to work; the rest is as the service does by default.
#[derive(Debug, Clone)]
pub(crate) struct How {
    pub(crate) url: String,
    pub(crate) poll: Duration,
    pub(crate) backfill: Backfill,
    /// Who announces new heads.
    pub(crate) heads: Vec<String>,
}

impl How {
    /// Polling as the service does by default, far blocks by their logs.
    pub(crate) fn of(node: &Node) -> Self {
        let poll = Duration::from_millis(500);
        Self { url: node.url(), poll, backfill: Backfill::Logs, heads: Vec::new() }
    }
}

/// Whose logs are mirrored.
pub(crate) struct Followed {
    pub(crate) origin: Origin,
    pub(crate) family: Family,
    /// With the hash of the code of each, where it is known.
    pub(crate) contracts: Vec<(Address, Option<B256>)>,
}

/// A running mirror.
pub(crate) struct Follower {
    pub(crate) view: Arc<View>,
    pulse: watch::Receiver<Pulse>,
    stop: CancellationToken,
    running: JoinHandle<Result<(), MirrorError>>,
}

impl Follower {
    pub(crate) async fn start(
        index: &Path,
        deployment: &Deployment,
        how: How,
    ) -> anyhow::Result<Self> {
        let followed = Followed {
            origin: origin(deployment),
            family: Family::Native(Decoder::new(deployment)),
            contracts: deployment.contracts().to_vec(),
        };
        Self::follow(index, followed, how).await
    }

    pub(crate) async fn follow(index: &Path, followed: Followed, how: How) -> anyhow::Result<Self> {
        let Followed { origin, family, contracts } = followed;
        let view = Arc::new(View::open(index, &origin)?);
        let (publisher, pulse) = watch::channel(Pulse::default());
        let mirror = Mirror {
            nodes: Nodes::new(&[how.url], None, origin.contracts.addresses()).await?,
            view: view.clone(),
            family,
            chain_id: origin.chain_id,
            contracts,
            first_block: origin.first_block,
            confirmation: Confirmation::Blocks(2),
            prove_every: 64,
            history: History::All,
            backfill: how.backfill,
            poll: how.poll,
            heads: how.heads,
            metrics: Metrics::default(),
            pulse: publisher,
        };
        let stop = CancellationToken::new();
        let running = TaskTracker::new().spawn(mirror.run(stop.clone()));
        Ok(Self { view, pulse, stop, running })
    }

    /// Waits until it is in step with its node, the journals proven.
    pub(crate) async fn ready(&mut self) -> anyhow::Result<()> {
        self.pulse.wait_for(|pulse| pulse.state == State::Following).await?;
        Ok(())
    }

    /// What the newest block says about a pair.
    pub(crate) fn authorization(
        &self,
        asset: AssetId,
        enclave: EnclaveId,
    ) -> anyhow::Result<Option<Authorization>> {
        let snapshot = self.view.snapshot()?;
        let both = snapshot.map(|snapshot| snapshot.authorization(asset, enclave)).transpose()?;
        Ok(both.and_then(|both| both.head))
    }

    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.stop.cancel();
        Ok(self.running.await??)
    }
}
