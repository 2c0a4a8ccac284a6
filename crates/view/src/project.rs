//! What an event makes of the entity that it is about. Pure.

use std::collections::BTreeSet;

use alloy_primitives::Address;
use sesame_domain::{
    Asset, AssetId, Authorization, ChainEvent, EnclaveId, Task, TaskId, TaskStatus,
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
        | ChainEvent::TaskCompleted { task }
        | ChainEvent::TaskCancelled { task }
        | ChainEvent::TaskExpired { task }
        | ChainEvent::TaskSettled { task }
        | ChainEvent::GrantRevoked { task, .. } => Entity::Task(*task),
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
    if let ChainEvent::TaskPurchased { requester, order, app, data, .. } = event {
        return match before {
            Some(_) => Err(ProjectError::TaskExists(id)),
            None => Ok(Some(Task {
                requester: *requester,
                status: TaskStatus::Purchased,
                order: (**order).clone(),
                app: app.clone(),
                data: data.clone(),
                revoked_grants: BTreeSet::new(),
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

const fn status_after(event: &ChainEvent) -> Option<TaskStatus> {
    match event {
        ChainEvent::TaskStarted { .. } => Some(TaskStatus::Started),
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
        | ChainEvent::EnclaveRevoked { .. } => None,
    }
}

#[cfg(test)]
mod tests;
