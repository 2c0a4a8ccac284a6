//! What an event makes of the entity that it is about. Pure.

use std::collections::BTreeSet;

use alloy_primitives::{Address, B256};
use sesame_domain::{
    Asset, AssetId, AssetSnapshot, Authorization, ChainEvent, DealMatch, EnclaveId, OrderUse, Task,
    TaskId, TaskStatus,
};

use crate::error::ProjectError;

/// The entity that an event writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Entity {
    /// An asset.
    Asset(AssetId),
    /// The authorization of a pair.
    Authorization(AssetId, EnclaveId),
    /// A task.
    Task(TaskId),
    /// An order, by its hash.
    Order(B256),
    /// A deal.
    Deal(B256),
}

/// Which entity `event` writes.
#[must_use]
pub const fn entity(event: &ChainEvent) -> Entity {
    match event {
        ChainEvent::AssetRegistered { asset, .. }
        | ChainEvent::ContentSet { asset, .. }
        | ChainEvent::AssetTransferred { asset, .. } => Entity::Asset(*asset),
        ChainEvent::EnclaveAuthorized { asset, enclave, .. }
        | ChainEvent::EnclaveRevoked { asset, enclave } => Entity::Authorization(*asset, *enclave),
        ChainEvent::TaskPurchased { task, .. }
        | ChainEvent::TaskStarted { task }
        | ChainEvent::TaskRevealing { task }
        | ChainEvent::TaskCompleted { task }
        | ChainEvent::TaskCancelled { task }
        | ChainEvent::TaskExpired { task }
        | ChainEvent::TaskSettled { task }
        | ChainEvent::GrantRevoked { task, .. } => Entity::Task(*task),
        ChainEvent::OrderConsumed { order, .. }
        | ChainEvent::OrderClosed { order }
        | ChainEvent::OrderPresigned { order, .. } => Entity::Order(*order),
        ChainEvent::DealMatched { deal, .. } => Entity::Deal(*deal),
    }
}

/// The asset after `event`.
///
/// # Errors
/// When the event contradicts what was before.
pub fn asset(
    id: AssetId,
    before: Option<Asset>,
    event: &ChainEvent,
) -> Result<Option<Asset>, ProjectError> {
    if let ChainEvent::AssetRegistered { kind, digest, uri, .. } = event {
        return match before {
            Some(_) => Err(ProjectError::AssetExists(id)),
            None => Ok(Some(Asset {
                kind: *kind,
                owner: Address::ZERO,
                epoch: 0,
                digest: *digest,
                uri: uri.clone(),
            })),
        };
    }
    let mut asset = before.ok_or(ProjectError::AssetUnknown(id))?;
    if let ChainEvent::ContentSet { digest, uri, .. } = event {
        asset.digest = *digest;
        asset.uri.clone_from(uri);
    }
    if let ChainEvent::AssetTransferred { from, to, .. } = event {
        asset.owner = *to;
        asset.epoch += u64::from(!from.is_zero());
    }
    Ok(Some(asset))
}

/// The authorization after `event`; none when it was revoked.
#[must_use]
pub fn authorization(event: &ChainEvent) -> Option<Authorization> {
    if let ChainEvent::EnclaveAuthorized { epoch, serial, terms, .. } = event {
        return Some(Authorization { epoch: *epoch, serial: *serial, terms: terms.clone() });
    }
    None
}

/// The task after `event`.
///
/// # Errors
/// When the event contradicts what was before.
pub fn task(
    id: TaskId,
    before: Option<Task>,
    event: &ChainEvent,
) -> Result<Option<Task>, ProjectError> {
    if let ChainEvent::TaskPurchased { requester, order, app, data, deal, .. } = event {
        return match before {
            Some(_) => Err(ProjectError::TaskExists(id)),
            None => Ok(Some(Task {
                requester: *requester,
                status: TaskStatus::Purchased,
                order: (**order).clone(),
                app: app.clone(),
                data: data.clone(),
                revoked_grants: BTreeSet::new(),
                deal: deal.clone(),
            })),
        };
    }
    let mut task = before.ok_or(ProjectError::TaskUnknown(id))?;
    if let Some(next) = status_after(event) {
        if task.status.is_final() {
            return Err(ProjectError::TaskEnded(id));
        }
        task.status = next;
    }
    if let ChainEvent::GrantRevoked { index, .. } = event {
        task.revoked_grants.insert(*index);
    }
    Ok(Some(task))
}

/// A deal's task with what its app and data are: the deal names them by address alone.
///
/// # Errors
/// When another deal of that name was made. One that nobody saw made is as old as that.
pub fn deal_task(
    id: TaskId,
    mut task: Task,
    made: Option<DealMatch>,
    app: Option<&Asset>,
    data: &[Option<Asset>],
) -> Result<Task, ProjectError> {
    let Some(deal) = &task.deal else { return Ok(task) };
    if made.is_some_and(|made| !made.fits(deal)) {
        return Err(ProjectError::OtherDeal(id));
    }
    describe(&mut task.app, app);
    for (snapshot, asset) in task.data.iter_mut().zip(data) {
        describe(snapshot, asset.as_ref());
    }
    task.order.enclave = deal.enclave(task.app.digest);
    Ok(task)
}

fn describe(snapshot: &mut AssetSnapshot, asset: Option<&Asset>) {
    if let Some(asset) = asset {
        snapshot.uri.clone_from(&asset.uri);
        (snapshot.digest, snapshot.epoch) = (asset.digest, asset.epoch);
    }
}

/// The order after `event`.
#[must_use]
pub fn order(before: Option<OrderUse>, event: &ChainEvent) -> OrderUse {
    let mut order = before.unwrap_or_default();
    if let ChainEvent::OrderConsumed { volume, .. } = event {
        order.consumed = order.consumed.saturating_add(*volume);
    }
    if let ChainEvent::OrderPresigned { by, .. } = event {
        order.presigned_by = Some(*by);
    }
    order.closed |= matches!(event, ChainEvent::OrderClosed { .. });
    order
}

/// The deal that `event` speaks of.
#[must_use]
pub const fn deal(event: &ChainEvent) -> Option<DealMatch> {
    if let ChainEvent::DealMatched { request, volume, .. } = event {
        return Some(DealMatch { request: *request, volume: *volume });
    }
    None
}

const fn status_after(event: &ChainEvent) -> Option<TaskStatus> {
    match event {
        ChainEvent::TaskStarted { .. } => Some(TaskStatus::Started),
        ChainEvent::TaskRevealing { .. } => Some(TaskStatus::Revealing),
        ChainEvent::TaskCompleted { .. } => Some(TaskStatus::Completed),
        ChainEvent::TaskCancelled { .. } => Some(TaskStatus::Cancelled),
        ChainEvent::TaskExpired { .. } => Some(TaskStatus::Expired),
        ChainEvent::TaskPurchased { .. }
        | ChainEvent::TaskSettled { .. }
        | ChainEvent::GrantRevoked { .. }
        | ChainEvent::AssetRegistered { .. }
        | ChainEvent::ContentSet { .. }
        | ChainEvent::AssetTransferred { .. }
        | ChainEvent::EnclaveAuthorized { .. }
        | ChainEvent::EnclaveRevoked { .. }
        | ChainEvent::DealMatched { .. }
        | ChainEvent::OrderConsumed { .. }
        | ChainEvent::OrderClosed { .. }
        | ChainEvent::OrderPresigned { .. } => None,
    }
}

#[cfg(test)]
mod tests;
