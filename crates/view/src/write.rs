//! The one writer: a block is one atomic batch of rows, undo list, header, journals and cursor.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    hash::Hash,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use alloy_primitives::{Address, B256};
use rocksdb::{ColumnFamily, DB, WriteBatch};
use sesame_domain::{
    Asset, AssetId, Authorization, Block, BlockEvents, ChainEvent, DealMatch, EnclaveId, EventAt,
    Journal, OrderUse, Registry, Task, TaskId,
};

use crate::{
    codec::{Held, Row},
    error::{ProjectError, ReadError, WriteError},
    project::{self, Entity},
    prune::Place,
    read::Snapshot,
    schema::{
        self, Assets, Authorizations, Deals, HEADERS, Holdings, Journals, META, META_CURSOR,
        META_HIDDEN, Orders, Table, Tasks, UNDO, VERSIONED,
    },
};

/// What a mirror mirrors; an index made for another origin is refused.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origin {
    /// EIP-155 id of the chain.
    pub chain_id: u64,
    /// The first block that can hold an event of the contracts.
    pub first_block: u64,
    /// The contracts.
    pub contracts: Contracts,
}

/// Whose events a mirror is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contracts {
    /// Our own registries, in the order of [`Registry::ALL`].
    Native([Address; 3]),
    /// PoCo's hub, and its registries of apps, datasets and workerpools.
    Poco([Address; 4]),
}

impl Contracts {
    /// Where they are.
    #[must_use]
    pub const fn addresses(&self) -> &[Address] {
        match self {
            Self::Native(registries) => registries,
            Self::Poco(contracts) => contracts,
        }
    }
}

impl Default for Contracts {
    fn default() -> Self {
        Self::Native(Default::default())
    }
}

/// How far the mirror has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The newest block mirrored.
    pub head: Block,
    /// The newest block deep enough for the operator.
    pub confirmed: Block,
}

/// The mirror. One process writes it, any number of threads read it.
pub struct View {
    pub(crate) db: DB,
    pub(crate) pruned: Mutex<Place>,
    pub(crate) poisoned: AtomicBool,
    /// How many writes there were.
    pub(crate) writes: AtomicU64,
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View").field("path", &self.db.path()).finish_non_exhaustive()
    }
}

impl View {
    /// A consistent reading of the mirror; none before the first block.
    ///
    /// # Errors
    /// When the database fails.
    pub fn snapshot(&self) -> Result<Option<Snapshot<'_>>, ReadError> {
        Snapshot::take(self)
    }

    /// How far the mirror has come; none before the first block.
    ///
    /// # Errors
    /// When the database fails.
    pub fn cursor(&self) -> Result<Option<Cursor>, ReadError> {
        let value = self.db.get_cf(self.family(META), META_CURSOR)?;
        value.map(|bytes| schema::decode_row(META, &bytes)).transpose()
    }

    /// The header mirrored at `number`.
    ///
    /// # Errors
    /// When the database fails.
    pub fn header(&self, number: u64) -> Result<Option<Block>, ReadError> {
        let value = self.db.get_cf(self.family(HEADERS), number.to_be_bytes())?;
        value.map(|bytes| schema::decode_row(HEADERS, &bytes)).transpose()
    }

    /// Mirrors consecutive blocks, all or none.
    ///
    /// # Errors
    /// When they do not continue the head, contradict the mirror, or the database fails. After a failed write the handle
    /// refuses every further one.
    pub fn apply(&self, blocks: &[BlockEvents]) -> Result<(), WriteError> {
        let Some(last) = blocks.last() else { return Ok(()) };
        self.refuse_if_poisoned()?;
        let cursor = self.cursor()?;
        let mut batch = Pending::new(self);
        let mut head = cursor.map(|cursor| cursor.head);
        for events in blocks {
            check_follows(head, &events.block)?;
            batch.block(events)?;
            head = Some(events.block);
        }
        let confirmed = match (cursor, blocks.first()) {
            (Some(cursor), _) => cursor.confirmed,
            (None, first) => first.map_or(last.block, |first| first.block),
        };
        let batch = batch.finish(Cursor { head: last.block, confirmed });
        self.write(batch)
    }

    /// Forgets every block past `to`.
    ///
    /// # Errors
    /// When `to` lies below the confirmed block, or the database fails.
    pub fn unwind(&self, to: u64) -> Result<(), WriteError> {
        self.refuse_if_poisoned()?;
        let Some(cursor) = self.cursor()? else { return Ok(()) };
        if to < cursor.confirmed.number {
            return Err(WriteError::BelowConfirmed { to, confirmed: cursor.confirmed.number });
        }
        let Some(head) = self.header(to)? else { return Ok(()) };
        self.hide(Cursor { head, ..cursor }, cursor.head.number)?;
        // Over rows that should be gone nothing may be written.
        self.clear().inspect_err(|_| self.poisoned.store(true, Ordering::SeqCst))
    }

    /// Moves the head back to the cursor's. Nobody reads past the cursor, so the correction shows at once, and rows up to block
    /// `newest` can go afterwards.
    pub(crate) fn hide(&self, cursor: Cursor, newest: u64) -> Result<(), WriteError> {
        let mut batch = WriteBatch::default();
        batch.put_cf(self.family(META), META_CURSOR, encode(&cursor));
        batch.put_cf(self.family(META), META_HIDDEN, newest.to_be_bytes());
        self.write(batch)
    }

    /// Removes what was hidden, if anything is, even by a program that was killed since.
    pub(crate) fn clear(&self) -> Result<(), WriteError> {
        let hidden = self.db.get_cf(self.family(META), META_HIDDEN)?;
        let (Some(newest), Some(cursor)) = (hidden, self.cursor()?) else { return Ok(()) };
        let newest = newest.as_slice().try_into().map(u64::from_be_bytes);
        let newest = newest.map_err(|_| ReadError::Damaged { table: META })?;
        let mut batch = WriteBatch::default();
        for number in cursor.head.number + 1..=newest {
            self.undo(number, &mut batch)?;
        }
        batch.delete_cf(self.family(META), META_HIDDEN);
        self.write(batch)
    }

    pub(crate) fn undo(&self, number: u64, batch: &mut WriteBatch) -> Result<(), WriteError> {
        let key = number.to_be_bytes();
        let list = self.db.get_cf(self.family(UNDO), key)?.unwrap_or_default();
        for (table, written) in undo_entries(&list)? {
            batch.delete_cf(self.family(table), written);
        }
        batch.delete_cf(self.family(UNDO), key);
        batch.delete_cf(self.family(HEADERS), key);
        Ok(())
    }

    /// Moves the confirmed block forward to `number`, at most to the head; never back.
    ///
    /// # Errors
    /// When the database fails.
    pub fn confirm(&self, number: u64) -> Result<(), WriteError> {
        self.refuse_if_poisoned()?;
        let Some(cursor) = self.cursor()? else { return Ok(()) };
        let number = number.min(cursor.head.number);
        if number <= cursor.confirmed.number {
            return Ok(());
        }
        let Some(confirmed) = self.header(number)? else { return Ok(()) };
        let mut batch = WriteBatch::default();
        batch.put_cf(self.family(META), META_CURSOR, encode(&Cursor { confirmed, ..cursor }));
        // A mirror that proves itself keeps what it needs to go back to its last proof.
        let settled = self.proven()?.map_or(number, |proven| proven.number.min(number));
        self.forget_undo(cursor.confirmed.number, settled, &mut batch);
        self.write(batch)
    }

    /// The one way into the database: all of a batch or nothing of it, and no batch without all before it.
    pub(crate) fn write(&self, mut batch: WriteBatch) -> Result<(), WriteError> {
        let before = self.writes.fetch_add(1, Ordering::SeqCst);
        batch.delete_cf(self.family(META), schema::mark(before));
        batch.put_cf(self.family(META), schema::mark(before + 1), b"");
        self.db.write(batch).map_err(|error| {
            self.poisoned.store(true, Ordering::SeqCst);
            error.into()
        })
    }

    pub(crate) fn refuse_if_poisoned(&self) -> Result<(), WriteError> {
        if self.poisoned.load(Ordering::SeqCst) { Err(WriteError::Poisoned) } else { Ok(()) }
    }

    pub(crate) fn family(&self, name: &str) -> &ColumnFamily {
        self.db.cf_handle(name).expect("every table was opened with the database")
    }
}

fn check_follows(head: Option<Block>, next: &Block) -> Result<(), WriteError> {
    match head {
        Some(head) if next.number != head.number + 1 || next.parent != head.hash => {
            Err(WriteError::NotNext { block: next.number, head: head.number })
        }
        _ => Ok(()),
    }
}

impl Origin {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = [self.chain_id.to_be_bytes(), self.first_block.to_be_bytes()].concat();
        bytes.push(match self.contracts {
            Contracts::Native(_) => 1,
            Contracts::Poco(_) => 2,
        });
        for contract in self.contracts.addresses() {
            bytes.extend_from_slice(contract.as_slice());
        }
        bytes
    }
}

impl Row for Cursor {
    fn encode(&self, out: &mut Vec<u8>) {
        self.head.encode(out);
        self.confirmed.encode(out);
    }

    fn decode(input: &mut &[u8]) -> Result<Self, alloy_rlp::Error> {
        Ok(Self { head: Block::decode(input)?, confirmed: Block::decode(input)? })
    }
}

pub(crate) fn encode<R: Row>(row: &R) -> Vec<u8> {
    let mut out = Vec::new();
    row.encode(&mut out);
    out
}

/// A batch in the making, with the rows that it has changed so far.
struct Pending<'a> {
    view: &'a View,
    batch: WriteBatch,
    assets: HashMap<AssetId, Option<Asset>>,
    authorizations: HashMap<(AssetId, EnclaveId), Option<Authorization>>,
    tasks: HashMap<TaskId, Option<Task>>,
    orders: HashMap<B256, Option<OrderUse>>,
    deals: HashMap<B256, Option<DealMatch>>,
    journals: HashMap<Registry, Journal>,
    /// What changed hands in the block at hand: whether the owner has the asset after it.
    holdings: BTreeMap<(Address, AssetId), Option<Held>>,
}

impl<'a> Pending<'a> {
    fn new(view: &'a View) -> Self {
        Self {
            view,
            batch: WriteBatch::default(),
            assets: HashMap::new(),
            authorizations: HashMap::new(),
            tasks: HashMap::new(),
            orders: HashMap::new(),
            deals: HashMap::new(),
            journals: HashMap::new(),
            holdings: BTreeMap::new(),
        }
    }

    fn block(&mut self, events: &BlockEvents) -> Result<(), WriteError> {
        let number = events.block.number;
        let mut touched = HashSet::new();
        let mut spoke = HashSet::new();
        for event in &events.events {
            touched.extend(self.event(number, event)?);
            spoke.extend(event.journal.map(|(registry, _)| registry));
        }
        let mut undo = Vec::new();
        for entity in touched {
            self.write_entity(entity, number, &mut undo);
        }
        for (holding, held) in std::mem::take(&mut self.holdings) {
            self.put::<Holdings>(holding, number, held.as_ref(), &mut undo);
        }
        for registry in spoke {
            let journal = self.journals.get(&registry).copied();
            self.put::<Journals>(registry, number, journal.as_ref(), &mut undo);
        }
        let key = number.to_be_bytes();
        self.batch.put_cf(self.view.family(HEADERS), key, encode(&events.block));
        if !undo.is_empty() {
            self.batch.put_cf(self.view.family(UNDO), key, undo);
        }
        Ok(())
    }

    /// Gives the entity that was written.
    fn event(&mut self, block: u64, at: &EventAt) -> Result<Option<Entity>, WriteError> {
        let entity = project::entity(&at.event);
        match &at.journal {
            Some((registry, image)) => {
                let journal = match self.journals.get(registry) {
                    Some(journal) => *journal,
                    None => self.newest::<Journals>(*registry)?.unwrap_or_default(),
                };
                self.journals.insert(*registry, journal.fold(image));
            }
            None if self.is_of_no_task(entity, &at.event)? => return Ok(None),
            None => {}
        }
        if let ChainEvent::AssetTransferred { asset, from, to } = &at.event {
            self.holdings.insert((*from, *asset), None);
            self.holdings.insert((*to, *asset), Some(Held));
            self.holdings.remove(&(Address::ZERO, *asset));
        }
        self.project(entity, at)?
            .map_err(|source| WriteError::Contradiction { block, source })
            .map(|()| Some(entity))
    }

    /// What happens to a task that was never bought. Contracts that keep no journal may tell of tasks that are none of ours (PoCo's
    /// Boost); those of ours never do.
    fn is_of_no_task(&self, entity: Entity, event: &ChainEvent) -> Result<bool, ReadError> {
        let Entity::Task(id) = entity else { return Ok(false) };
        let bought = matches!(event, ChainEvent::TaskPurchased { .. });
        Ok(!bought && self.now::<Tasks>(&self.tasks, id)?.is_none())
    }

    fn project(
        &mut self,
        entity: Entity,
        at: &EventAt,
    ) -> Result<Result<(), ProjectError>, ReadError> {
        Ok(match entity {
            Entity::Asset(id) => {
                let before = match self.assets.remove(&id) {
                    Some(row) => row,
                    None => self.newest::<Assets>(id)?,
                };
                project::asset(id, before, &at.event).map(|row| {
                    self.assets.insert(id, row);
                })
            }
            Entity::Authorization(asset, enclave) => {
                let row = project::authorization(&at.event);
                self.authorizations.insert((asset, enclave), row);
                Ok(())
            }
            Entity::Task(id) => {
                let before = match self.tasks.remove(&id) {
                    Some(row) => row,
                    None => self.newest::<Tasks>(id)?,
                };
                let row = match project::task(id, before, &at.event) {
                    Ok(Some(task)) => self.with_assets(id, task, &at.event)?.map(Some),
                    row => row,
                };
                row.map(|row| {
                    self.tasks.insert(id, row);
                })
            }
            Entity::Order(hash) => {
                let before = self.now::<Orders>(&self.orders, hash)?;
                self.orders.insert(hash, Some(project::order(before, &at.event)));
                Ok(())
            }
            Entity::Deal(id) => {
                self.deals.insert(id, project::deal(&at.event));
                Ok(())
            }
        })
    }

    /// A task that `event` bought by a deal, completed.
    fn with_assets(
        &self,
        id: TaskId,
        task: Task,
        event: &ChainEvent,
    ) -> Result<Result<Task, ProjectError>, ReadError> {
        let ChainEvent::TaskPurchased { deal: Some(deal), order, .. } = event else {
            return Ok(Ok(task));
        };
        let made = self.now::<Deals>(&self.deals, deal.id)?;
        let asset = |id| self.now::<Assets>(&self.assets, id);
        let app = asset(order.app)?;
        let data = order.data.iter().map(|id| asset(*id)).collect::<Result<Vec<_>, _>>()?;
        Ok(project::deal_task(id, task, made, app.as_ref(), &data))
    }

    fn write_entity(&mut self, entity: Entity, block: u64, undo: &mut Vec<u8>) {
        match entity {
            Entity::Asset(id) => {
                let row = self.assets.get(&id).cloned().flatten();
                self.put::<Assets>(id, block, row.as_ref(), undo);
            }
            Entity::Authorization(asset, enclave) => {
                let row = self.authorizations.get(&(asset, enclave)).cloned().flatten();
                self.put::<Authorizations>((asset, enclave), block, row.as_ref(), undo);
            }
            Entity::Task(id) => {
                let row = self.tasks.get(&id).cloned().flatten();
                self.put::<Tasks>(id, block, row.as_ref(), undo);
            }
            Entity::Order(hash) => {
                let row = self.orders.get(&hash).copied().flatten();
                self.put::<Orders>(hash, block, row.as_ref(), undo);
            }
            Entity::Deal(id) => {
                let row = self.deals.get(&id).copied().flatten();
                self.put::<Deals>(id, block, row.as_ref(), undo);
            }
        }
    }

    fn put<T: Table>(&mut self, key: T::Key, block: u64, row: Option<&T::Row>, undo: &mut Vec<u8>) {
        let key = schema::versioned_key(T::entity(key), block);
        self.batch.put_cf(self.view.family(T::NAME), &key, schema::encode_version(row));
        push_undo::<T>(undo, &key);
    }

    /// An entity as this batch leaves it so far.
    fn now<T: Table>(
        &self,
        pending: &HashMap<T::Key, Option<T::Row>>,
        key: T::Key,
    ) -> Result<Option<T::Row>, ReadError>
    where
        T::Key: Eq + Hash,
        T::Row: Clone,
    {
        match pending.get(&key) {
            Some(row) => Ok(row.clone()),
            None => self.newest::<T>(key),
        }
    }

    fn newest<T: Table>(&self, key: T::Key) -> Result<Option<T::Row>, ReadError> {
        let start = schema::versioned_key(T::entity(key), u64::MAX);
        let mut options = rocksdb::ReadOptions::default();
        options.set_prefix_same_as_start(true);
        // A long backfill must not fill the cache with what nobody asked for.
        options.fill_cache(false);
        let mut cursor = self.view.db.raw_iterator_cf_opt(self.view.family(T::NAME), options);
        cursor.seek(&start);
        let row = cursor.value().map(schema::decode_version::<T>).transpose()?.flatten();
        cursor.status()?;
        Ok(row)
    }

    fn finish(mut self, cursor: Cursor) -> WriteBatch {
        self.batch.put_cf(self.view.family(META), META_CURSOR, encode(&cursor));
        self.batch
    }
}

/// Appends `table (1) ‖ length of the key (1) ‖ key`.
fn push_undo<T: Table>(undo: &mut Vec<u8>, key: &[u8]) {
    let table = VERSIONED.iter().position(|name| *name == T::NAME);
    let table = table.expect("every versioned table is undoable");
    undo.push(u8::try_from(table).expect("there are few tables"));
    undo.push(u8::try_from(key.len()).expect("keys are at most 72 bytes"));
    undo.extend_from_slice(key);
}

fn undo_entries(mut list: &[u8]) -> Result<Vec<(&'static str, &[u8])>, ReadError> {
    let damaged = || ReadError::Damaged { table: UNDO };
    let mut entries = Vec::new();
    while let [table, length, rest @ ..] = list {
        let table = VERSIONED.get(usize::from(*table)).ok_or_else(damaged)?;
        let (key, rest) = rest.split_at_checked(usize::from(*length)).ok_or_else(damaged)?;
        entries.push((*table, key));
        list = rest;
    }
    if list.is_empty() { Ok(entries) } else { Err(damaged()) }
}

#[cfg(test)]
mod tests;
