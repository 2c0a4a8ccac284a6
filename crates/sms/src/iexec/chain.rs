//! Who owns an asset of iExec's registries, and how long it is waited for.

use std::time::Duration;

use alloy_primitives::Address;
use sesame_domain::AssetId;
use tokio::time::sleep;

use super::refusal::Refusal;
use crate::{
    overload::blocking,
    problem::ApiError,
    service::{Service, Shared},
};

/// How long the index may take to see what the caller has seen already. Clients do not ask again.
const PATIENCE: Duration = Duration::from_secs(3);

/// What the index shows.
pub(super) enum Seen<T> {
    /// This counts.
    Now(T),
    /// This counts if nothing else comes soon.
    NotYet(T),
}

/// Looks again after every block, for a short while. Nothing is held meanwhile.
pub(super) async fn patiently<T: Send + 'static>(
    service: &Shared,
    look: impl Fn(&Service) -> Result<Seen<T>, ApiError> + Clone + Send + 'static,
) -> Result<T, Refusal> {
    let mut pulse = service.pulse.clone();
    let patience = sleep(PATIENCE);
    tokio::pin!(patience);
    loop {
        // Before looking, so that nothing that is published meanwhile is missed.
        pulse.borrow_and_update();
        let (asked, look) = (service.clone(), look.clone());
        let seen = match blocking(service.place().await?, move || look(&asked)).await? {
            Seen::Now(seen) => return Ok(seen),
            Seen::NotYet(seen) => seen,
        };
        tokio::select! {
            () = &mut patience => return Ok(seen),
            changed = pulse.changed() => if changed.is_err() { return Ok(seen) },
        }
    }
}

/// The owner of an asset at the newest block: a new one may push at once, the one before no more.
///
/// One that no registry has minted is waited for, since its owner may push right behind the mint.
pub(super) async fn owner_of(service: &Shared, asset: Address) -> Result<Address, Refusal> {
    let owner = patiently(service, move |service| {
        let known = service.fresh()?.asset(AssetId::from(asset))?.head;
        Ok(known.map_or(Seen::NotYet(None), |asset| Seen::Now(Some(asset.owner))))
    });
    owner.await?.ok_or(Refusal::NotSigned)
}
