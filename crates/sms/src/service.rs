//! What the handlers share.

use std::{sync::Arc, time::Instant};

use alloy_primitives::Address;
use axum::http::{HeaderMap, HeaderValue};
use sesame_attestation::{TokenKey, Verifier};
use sesame_domain::Block;
use sesame_indexer::{Freshness, Nodes, Pulse};
use sesame_protocol::{
    receipts::ReceiptLogKey,
    results::TaskDomain,
    signature::Signer,
    status::{KeyProvider, Trust, VaultStore},
    typed::Domain,
};
use sesame_receipts::Log;
use sesame_vault::Vault;
use sesame_view::{Snapshot, View};
use tokio::sync::{Semaphore, watch};

use crate::{
    clock,
    collateral::Shelf,
    followed::Followed,
    health::Health,
    metrics::Metrics,
    overload::{Place, Room},
    pool::Pool,
    problem::{ApiError, Code},
    reserve::Reserve,
    sealing::Sealing,
    stack::wiped,
};

/// Demands an answer at this block or later.
pub(crate) const MIN_BLOCK: &str = "sesame-min-block";

/// One running service.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) followed: Followed,
    pub(crate) domain: Domain,
    pub(crate) tasks: TaskDomain,
    pub(crate) identity: Signer,
    pub(crate) sealing: Sealing,
    pub(crate) token: TokenKey,
    pub(crate) verifier: Verifier,
    pub(crate) shelf: Shelf,
    pub(crate) view: Arc<View>,
    /// Asked about owners that are contracts.
    pub(crate) nodes: Nodes,
    /// Bounds how many of these questions are open.
    pub(crate) asking: Semaphore,
    pub(crate) vault: Vault,
    pub(crate) receipts: Log,
    /// Certifies whose log it is.
    pub(crate) receipts_key: ReceiptLogKey,
    pub(crate) trust: Trust,
    pub(crate) reserve: Reserve,
    /// Bounds what is worked on at a time.
    pub(crate) room: Arc<Room>,
    /// Bounds the memory that answers with secrets take together.
    pub(crate) turns: Arc<Semaphore>,
    /// Where evidence is verified.
    pub(crate) pool: Pool,
    pub(crate) pulse: watch::Receiver<Pulse>,
    pub(crate) metrics: Metrics,
    pub(crate) freshness: Freshness,
    pub(crate) health: Health,
    /// When it was opened.
    pub(crate) since: Instant,
    /// Where its secrets and their keys are, in one word each.
    pub(crate) kept_in: (VaultStore, KeyProvider),
}

/// What a decision rests on: a head, and when it was read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Basis {
    head: Block,
    read: Instant,
}

impl Basis {
    /// A reading of just now.
    pub(crate) fn of(snapshot: &Snapshot<'_>) -> Self {
        Self { head: snapshot.head(), read: Instant::now() }
    }
}

/// Turns that there are: a bundle takes [`BUNDLE_TURNS`] of them, a single secret one.
pub(crate) const TURNS: usize = 32;
pub(crate) const BUNDLE_TURNS: u32 = 8;

/// Questions to owners' contracts that may be open at a time.
pub(crate) const ASKING: usize = 32;

pub(crate) type Shared = Arc<Service>;

impl Service {
    /// The SMS identity.
    pub(crate) const fn address(&self) -> Address {
        self.identity.address()
    }

    /// The same, at the block that the caller demands or later: who has just revoked can see that it is in force.
    pub(crate) fn fresh_since(&self, least: Option<u64>) -> Result<Snapshot<'_>, ApiError> {
        let snapshot = self.fresh()?;
        let (least, head) = (least.unwrap_or_default(), snapshot.head().number);
        if head < least {
            let detail = format!("The index is at block {head}, block {least} is demanded.");
            return Err(ApiError::new(Code::BlockNotReached, detail));
        }
        Ok(snapshot)
    }

    /// A reading of the mirror that may be believed now.
    pub(crate) fn fresh(&self) -> Result<Snapshot<'_>, ApiError> {
        // The pulse before and after: what the mirror writes while it is in doubt is in no snapshot that is believed.
        let before = self.pulse.borrow().clone();
        let snapshot = self.view.snapshot()?;
        let after = self.pulse.borrow().clone();
        let head = snapshot.as_ref().map(Snapshot::head);
        for pulse in [before, after] {
            self.freshness.check(&pulse, head, Instant::now(), clock::now())?;
        }
        snapshot.ok_or_else(|| sesame_indexer::Unready::Starting.into())
    }

    /// Whether an answer may still rest on this, whatever it waited for since: a database, a module, a disk. No revocation goes
    /// unseen for longer than a silent node would let it.
    pub(crate) fn still_believes(&self, basis: Basis) -> Result<(), ApiError> {
        let now = Instant::now();
        self.freshness.check(&self.pulse.borrow(), Some(basis.head), now, clock::now())?;
        let age = now.saturating_duration_since(basis.read);
        if age <= self.freshness.max_lag {
            return Ok(());
        }
        let detail = format!("The answer was decided {} s ago, too long ago.", age.as_secs());
        Err(ApiError::new(Code::IndexStale, detail))
    }

    /// A place to be worked on, unless the service is overloaded.
    pub(crate) async fn place(&self) -> Result<Place, ApiError> {
        self.room.place().await
    }
}

/// Runs what blocks (database, cryptography) off the async threads, and leaves nothing of it on their stacks.
pub(crate) async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let span = tracing::Span::current();
    match tokio::task::spawn_blocking(move || span.in_scope(|| wiped(work))).await {
        Ok(result) => result,
        Err(error) => Err(ApiError::internal(&error)),
    }
}

/// The same for work that holds something (a permit, say) to its end: a caller who leaves early makes no room that is not there.
pub(crate) async fn holding<H: Send + 'static, T: Send + 'static>(
    held: H,
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    off_thread(move || {
        let _held = held;
        work()
    })
    .await
}

/// The block that a caller demands by `Sesame-Min-Block`.
pub(crate) fn min_block(headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    let mut values = headers.get_all(MIN_BLOCK).iter();
    let (value, more) = (values.next(), values.next());
    let number = |value: &HeaderValue| value.to_str().ok()?.parse().ok();
    match (value, more) {
        (None, _) => Ok(None),
        (Some(value), None) if let Some(number) = number(value) => Ok(Some(number)),
        _ => Err(ApiError::new(
            Code::MalformedHeader,
            format!("The header {MIN_BLOCK} holds one block number."),
        )),
    }
}

/// The text of a header that may come at most once.
pub(crate) fn header<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, ApiError> {
    let mut values = headers.get_all(name).iter();
    let (value, more) = (values.next(), values.next());
    let malformed = || {
        ApiError::new(
            Code::SignatureMalformed,
            format!("The header {name} is repeated or no text."),
        )
    };
    if more.is_some() {
        return Err(malformed());
    }
    value.map(|value| value.to_str().map_err(|_| malformed())).transpose()
}
