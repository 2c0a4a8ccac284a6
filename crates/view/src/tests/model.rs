//! What the mirror is compared with: every state there ever was, in maps.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256};
use sesame_domain::{
    Asset, AssetId, Authorization, Block, ChainEvent, DealMatch, EnclaveId, EventAt, Facts,
    Journal, OrderUse, Registry, Resource, Standing, Task, TaskId, TaskStatus,
};

use crate::{BothViews, Cursor};

/// A row and the block that wrote it.
pub(super) type Written<T> = (u64, Option<T>);

/// The registries after some block.
#[derive(Clone, Default)]
pub(super) struct State {
    pub(super) block: Block,
    pub(super) assets: BTreeMap<AssetId, Written<Asset>>,
    pub(super) words: BTreeMap<(AssetId, EnclaveId), Written<Authorization>>,
    pub(super) tasks: BTreeMap<TaskId, Written<Task>>,
    pub(super) orders: BTreeMap<B256, OrderUse>,
    pub(super) deals: BTreeMap<B256, DealMatch>,
    pub(super) journals: BTreeMap<Registry, Journal>,
}

impl State {
    fn asset(&mut self, id: AssetId) -> Option<&mut Asset> {
        let number = self.block.number;
        let (written, row) = self.assets.get_mut(&id)?;
        *written = number;
        row.as_mut()
    }

    fn task(&mut self, id: TaskId) -> Option<&mut Task> {
        let number = self.block.number;
        let (written, row) = self.tasks.get_mut(&id)?;
        *written = number;
        row.as_mut()
    }

    pub(super) fn owned(&self, id: AssetId) -> Option<&Asset> {
        self.assets.get(&id)?.1.as_ref()
    }

    pub(super) fn word(&self, id: AssetId, enclave: EnclaveId) -> Option<&Authorization> {
        self.words.get(&(id, enclave))?.1.as_ref()
    }

    pub(super) fn bought(&self, id: TaskId) -> Option<&Task> {
        self.tasks.get(&id)?.1.as_ref()
    }

    pub(super) fn status(&self, id: TaskId) -> Option<TaskStatus> {
        self.bought(id).map(|task| task.status)
    }

    /// What the event means, written out once more.
    pub(super) fn take(&mut self, at: &EventAt) {
        if let Some((registry, image)) = &at.journal {
            let journal = self.journals.entry(*registry).or_default();
            *journal = journal.fold(image);
        }
        let number = self.block.number;
        match at.event.clone() {
            ChainEvent::AssetRegistered { asset, kind, digest, uri } => {
                let row = Asset { kind, owner: Address::ZERO, epoch: 0, digest, uri };
                self.assets.insert(asset, (number, Some(row)));
            }
            ChainEvent::ContentSet { asset, digest, uri } => {
                let row = self.asset(asset).unwrap();
                (row.digest, row.uri) = (digest, uri);
            }
            ChainEvent::AssetTransferred { asset, from, to } => {
                let row = self.asset(asset).unwrap();
                row.owner = to;
                if from != Address::ZERO {
                    row.epoch += 1;
                }
            }
            ChainEvent::EnclaveAuthorized { asset, enclave, epoch, serial, terms } => {
                let row = Authorization { epoch, serial, terms };
                self.words.insert((asset, enclave), (number, Some(row)));
            }
            ChainEvent::EnclaveRevoked { asset, enclave } => {
                self.words.insert((asset, enclave), (number, None));
            }
            ChainEvent::TaskPurchased { task, requester, order, app, data, deal } => {
                let status = TaskStatus::Purchased;
                let revoked_grants = Default::default();
                let order = *order;
                let mut row = Task { requester, status, order, app, data, revoked_grants, deal };
                self.describe(&mut row);
                self.tasks.insert(task, (number, Some(row)));
            }
            ChainEvent::TaskRevealing { task } => {
                if let Some(row) = self.task(task) {
                    row.status = TaskStatus::Revealing;
                }
            }
            ChainEvent::TaskStarted { task } => {
                self.task(task).unwrap().status = TaskStatus::Started;
            }
            ChainEvent::TaskCompleted { task } => {
                self.task(task).unwrap().status = TaskStatus::Completed;
            }
            ChainEvent::TaskCancelled { task } => {
                self.task(task).unwrap().status = TaskStatus::Cancelled;
            }
            ChainEvent::TaskExpired { task } => {
                self.task(task).unwrap().status = TaskStatus::Expired;
            }
            ChainEvent::TaskSettled { task } => {
                self.task(task).unwrap();
            }
            ChainEvent::GrantRevoked { task, index } => {
                self.task(task).unwrap().revoked_grants.insert(index);
            }
            ChainEvent::DealMatched { deal, request, volume } => {
                self.deals.insert(deal, DealMatch { request, volume });
            }
            ChainEvent::OrderConsumed { order, volume } => {
                let order = self.orders.entry(order).or_default();
                order.consumed = order.consumed.checked_add(volume).unwrap();
            }
            ChainEvent::OrderClosed { order } => {
                self.orders.entry(order).or_default().closed = true
            }
            ChainEvent::OrderPresigned { order, by } => {
                self.orders.entry(order).or_default().presigned_by = Some(by);
            }
        }
    }

    /// A deal's task is about its assets as they are now.
    fn describe(&self, task: &mut Task) {
        let Some(deal) = &task.deal else { return };
        let assets = std::iter::once(&task.order.app).chain(&task.order.data);
        for (id, bought) in assets.zip(std::iter::once(&mut task.app).chain(&mut task.data)) {
            if let Some(Asset { epoch, digest, uri, .. }) = self.owned(*id) {
                bought.uri = uri.clone();
                bought.digest = *digest;
                bought.epoch = *epoch;
            }
        }
        task.order.enclave = deal.enclave(task.app.digest);
    }

    fn standing(&self, id: AssetId, enclave: EnclaveId, changed_at: &mut u64) -> Standing {
        let asset = self.assets.get(&id);
        let word = self.words.get(&(id, enclave));
        *changed_at = [*changed_at, asset.map_or(0, |row| row.0), word.map_or(0, |row| row.0)]
            .into_iter()
            .max()
            .unwrap();
        Standing {
            id,
            asset: asset.and_then(|row| row.1.clone()),
            authorization: word.and_then(|row| row.1.clone()),
        }
    }
}

/// Every state of a chain, and how much of it is confirmed.
pub(super) struct Model {
    pub(super) states: BTreeMap<u64, State>,
    pub(super) confirmed: u64,
    pub(super) proven: Option<u64>,
    /// Nothing is known of blocks below this one any more.
    pub(super) oldest: u64,
}

impl Model {
    pub(super) fn head(&self) -> &State {
        self.states.last_key_value().unwrap().1
    }

    pub(super) fn cursor(&self) -> Cursor {
        Cursor { head: self.head().block, confirmed: self.states[&self.confirmed].block }
    }

    /// What both views say when `confirmed` and `head` are the blocks asked about.
    pub(super) fn facts(
        &self,
        (head, confirmed): (u64, u64),
        id: TaskId,
        enclave: Option<EnclaveId>,
        resource: Resource,
    ) -> BothViews<Facts> {
        let (head, confirmed) = (&self.states[&head], &self.states[&confirmed]);
        let known = head.tasks.get(&id).and_then(|row| row.1.as_ref());
        let of = |state: &State| {
            let mut facts = Facts { at: state.block, ..Facts::default() };
            let Some(known) = known else { return facts };
            let enclave = enclave.unwrap_or(known.order.enclave);
            let row = state.tasks.get(&id);
            let mut changed_at = row.map_or(0, |row| row.0);
            facts.task = row.and_then(|row| row.1.clone()).map(Into::into);
            facts.app = state.standing(known.order.app, enclave, &mut changed_at);
            for (place, data) in known.order.data.iter().enumerate() {
                let n = u32::try_from(place).unwrap() + 1;
                if resource == Resource::Bundle || resource == Resource::ProtectedData(n) {
                    facts.data.push((n, state.standing(*data, enclave, &mut changed_at)));
                }
            }
            facts.changed_at = changed_at;
            facts
        };
        // When a fact changed is asked of the head alone.
        BothViews { head: of(head), confirmed: Facts { changed_at: 0, ..of(confirmed) } }
    }
}
