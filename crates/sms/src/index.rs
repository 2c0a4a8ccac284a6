//! The index of a stopped service: its digest, and whether the chain says the same.

use std::{fs, io, path::Path, sync::Arc, time::Duration};

use alloy_primitives::B256;
use sesame_domain::Block;
use sesame_indexer::{
    Backfill, Confirmation, Metrics, Mirror, MirrorError, Nodes, Pulse, SourceError, State,
};
use sesame_view::{History, OpenError, ReadError, View};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::followed::Followed;

/// Pause between two rounds of the mirror that verifies.
const POLL: Duration = Duration::from_millis(200);

/// The index cannot be looked at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// There is none in the data folder.
    #[error("there is no index in {0}")]
    Missing(String),
    /// It cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It does not reach that far, or holds nothing.
    #[error("the index does not hold that block")]
    NoBlock,
    /// A folder for an index cannot be made or removed.
    #[error("cannot make or remove the folder of an index")]
    Folder(#[source] io::Error),
    /// The node's url cannot be used.
    #[error(transparent)]
    Node(#[from] SourceError),
    /// The second index could not be built.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
}

/// Everything that an index says after a block, as one hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest {
    /// After which block.
    pub block: Block,
    /// The hash.
    pub digest: B256,
}

/// An index beside a second one, built from the chain and proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// What the index says.
    pub ours: Digest,
    /// The digest that the chain gives for the same block.
    pub chain: B256,
}

/// The service's mirror. One of an older schema is thrown away first, since the chain has everything that was in it.
pub(crate) fn open(data_dir: &Path, followed: &Followed) -> Result<View, IndexError> {
    let (path, origin) = (data_dir.join("index"), followed.origin());
    // What a removal left that was interrupted.
    let discarded = data_dir.join("index.discarded");
    remove(&discarded)?;
    match View::open(&path, &origin) {
        Err(OpenError::OlderSchema { found, expected, .. }) => {
            tracing::warn!(
                "the index has schema {found}, this program writes schema {expected}: it is rebuilt from the chain"
            );
            // Renamed first: half of a folder would be neither an index nor none.
            fs::rename(&path, &discarded).map_err(IndexError::Folder)?;
            remove(&discarded)?;
            Ok(View::open(&path, &origin)?)
        }
        opened => Ok(opened?),
    }
}

/// The digest after block `number`, the confirmed one when not given.
///
/// # Errors
/// When the service runs, or the index does not hold the block.
pub fn digest(
    data_dir: &Path,
    followed: &Followed,
    number: Option<u64>,
) -> Result<Digest, IndexError> {
    let path = data_dir.join("index");
    if !path.exists() {
        return Err(IndexError::Missing(data_dir.display().to_string()));
    }
    digest_of(&View::open(&path, &followed.origin())?, number)
}

fn digest_of(view: &View, number: Option<u64>) -> Result<Digest, IndexError> {
    let snapshot = view.snapshot()?.ok_or(IndexError::NoBlock)?;
    let number = number.unwrap_or_else(|| snapshot.confirmed().number);
    let block = snapshot.header(number)?.ok_or(IndexError::NoBlock)?;
    let digest = snapshot.digest(number)?.ok_or(IndexError::NoBlock)?;
    Ok(Digest { block, digest })
}

/// Builds a second index up to the first one's confirmed block, proven by the chain's journals, and compares.
///
/// # Errors
/// When the service runs, or no second index can be built.
pub async fn verify(
    data_dir: &Path,
    followed: &Followed,
    rpc_urls: &[String],
    quorum: Option<usize>,
) -> Result<Verdict, IndexError> {
    let ours = digest(data_dir, followed, None)?;
    let folder = data_dir.join("index.verify");
    remove(&folder)?;
    let chain = rebuilt(&folder, followed, rpc_urls, quorum, ours.block.number).await;
    remove(&folder)?;
    Ok(Verdict { ours, chain: chain?.digest })
}

async fn rebuilt(
    folder: &Path,
    followed: &Followed,
    rpc_urls: &[String],
    quorum: Option<usize>,
    number: u64,
) -> Result<Digest, IndexError> {
    let origin = followed.origin();
    let view = Arc::new(View::open(folder, &origin)?);
    let (publisher, mut pulse) = watch::channel(Pulse::default());
    let mirror = Mirror {
        nodes: Nodes::new(rpc_urls, quorum, origin.contracts.addresses()).await?,
        view: view.clone(),
        family: followed.family(),
        chain_id: origin.chain_id,
        contracts: followed.contracts(),
        first_block: origin.first_block,
        confirmation: Confirmation::Blocks(0),
        prove_every: 1,
        history: History::All,
        backfill: Backfill::Receipts,
        poll: POLL,
        heads: Vec::new(),
        metrics: Metrics::default(),
        pulse: publisher,
    };
    let proven = async {
        loop {
            // The mirror runs beside this and keeps the sender.
            let _ = pulse.wait_for(|pulse| pulse.state == State::Following).await;
            if view.proven()?.is_some_and(|proven| proven.number >= number) {
                return digest_of(&view, Some(number));
            }
            let _ = pulse.changed().await;
        }
    };
    tokio::select! {
        digest = proven => digest,
        ended = mirror.run(CancellationToken::new()) => Err(ended.err().map_or(IndexError::NoBlock, Into::into)),
    }
}

fn remove(folder: &Path) -> Result<(), IndexError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(IndexError::Folder(error)),
        _ => Ok(()),
    }
}
