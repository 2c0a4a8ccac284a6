//! Every read of one decision, from one consistent snapshot.

use std::sync::Arc;

use alloy_primitives::{Address, B256};
use rocksdb::{DB, DBRawIteratorWithThreadMode, ReadOptions};
use sesame_domain::{
    Asset, AssetId, Authorization, Block, EnclaveId, Facts, Journal, OrderUse, Registry, Resource,
    Standing, Task, TaskId,
};

use crate::{
    error::ReadError,
    schema::{
        self, Assets, Authorizations, HEADERS, Holdings, Journals, META, META_CURSOR, Orders,
        Table, Tasks,
    },
    write::{Cursor, View},
};

/// What the head and the confirmed view say about the same thing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BothViews<T> {
    /// After the newest block.
    pub head: T,
    /// After the confirmed block.
    pub confirmed: T,
}

/// A consistent reading of the mirror.
pub struct Snapshot<'a> {
    view: &'a View,
    inner: rocksdb::Snapshot<'a>,
    cursor: Cursor,
}

impl std::fmt::Debug for Snapshot<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot").field("cursor", &self.cursor).finish_non_exhaustive()
    }
}

/// A version of an entity: the block that wrote it, and the row unless that block deleted it.
struct Version<R> {
    block: u64,
    row: Option<R>,
}

impl<'a> Snapshot<'a> {
    pub(crate) fn take(view: &'a View) -> Result<Option<Self>, ReadError> {
        let inner = view.db.snapshot();
        let Some(bytes) = inner.get_cf(view.family(META), META_CURSOR)? else { return Ok(None) };
        let cursor = schema::decode_row(META, &bytes)?;
        Ok(Some(Self { view, inner, cursor }))
    }

    /// The newest block mirrored.
    #[must_use]
    pub const fn head(&self) -> Block {
        self.cursor.head
    }

    /// The newest block deep enough for the operator.
    #[must_use]
    pub const fn confirmed(&self) -> Block {
        self.cursor.confirmed
    }

    /// The header mirrored at `number`, if there is one.
    ///
    /// # Errors
    /// When the database fails.
    pub fn header(&self, number: u64) -> Result<Option<Block>, ReadError> {
        if number > self.cursor.head.number {
            return Ok(None);
        }
        let bytes = self.inner.get_cf(self.view.family(HEADERS), number.to_be_bytes())?;
        bytes.map(|bytes| schema::decode_row(HEADERS, &bytes)).transpose()
    }

    /// The journal of a registry at the head.
    ///
    /// # Errors
    /// When the database fails.
    pub fn journal(&self, registry: Registry) -> Result<Journal, ReadError> {
        self.journal_at(registry, self.cursor.head.number)
    }

    /// The journal of a registry after block `number`.
    ///
    /// # Errors
    /// When the database fails.
    pub fn journal_at(&self, registry: Registry, number: u64) -> Result<Journal, ReadError> {
        let version = self.reader::<Journals>().at(registry, number)?;
        Ok(version.and_then(|version| version.row).unwrap_or_default())
    }

    /// An asset as both views know it.
    ///
    /// # Errors
    /// When the database fails.
    pub fn asset(&self, id: AssetId) -> Result<BothViews<Option<Asset>>, ReadError> {
        let (head, confirmed) =
            self.reader::<Assets>().both(id, self.cursor, |version| version.row)?;
        Ok(BothViews { head: head.flatten(), confirmed: confirmed.flatten() })
    }

    /// A task as both views know it.
    ///
    /// # Errors
    /// When the database fails.
    pub fn task(&self, id: TaskId) -> Result<BothViews<Option<Arc<Task>>>, ReadError> {
        let (head, confirmed) =
            self.reader::<Tasks>().both(id, self.cursor, |version| version.row.map(Arc::new))?;
        Ok(BothViews { head: head.flatten(), confirmed: confirmed.flatten() })
    }

    /// What became of the order with this EIP-712 hash, as both views know it.
    ///
    /// # Errors
    /// When the database fails.
    pub fn order_use(&self, order: B256) -> Result<BothViews<OrderUse>, ReadError> {
        let (head, confirmed) =
            self.reader::<Orders>().both(order, self.cursor, |version| version.row)?;
        let used = |row: Option<Option<OrderUse>>| row.flatten().unwrap_or_default();
        Ok(BothViews { head: used(head), confirmed: used(confirmed) })
    }

    /// The assets that `owner` has at the head, in the order of their ids, past `after`; at most `limit` of them.
    ///
    /// # Errors
    /// When the database fails.
    pub fn holdings(
        &self,
        owner: Address,
        after: Option<AssetId>,
        limit: usize,
    ) -> Result<Vec<AssetId>, ReadError> {
        let damaged = || ReadError::Damaged { table: Holdings::NAME };
        let mut options = ReadOptions::default();
        options.set_total_order_seek(true);
        let mut rows = self.rows::<Holdings>(options);
        match after {
            None => rows.seek(owner),
            // Past every version of that asset.
            Some(asset) => rows.seek([&Holdings::entity((owner, asset))[..], &[0xff; 9]].concat()),
        }
        let (mut held, mut done) = (Vec::new(), None);
        while let Some((key, value)) = rows.item().filter(|(key, _)| key.starts_with(&owner[..])) {
            let (entity, _) = key.split_at_checked(Holdings::ENTITY_LENGTH).ok_or_else(damaged)?;
            let asset = AssetId(entity.last_chunk::<32>().ok_or_else(damaged)?.into());
            let block = schema::block_of(key).ok_or_else(damaged)?;
            if block <= self.cursor.head.number && done != Some(asset) {
                done = Some(asset);
                if schema::decode_version::<Holdings>(value)?.is_some() {
                    held.push(asset);
                }
            }
            if held.len() == limit {
                break;
            }
            rows.next();
        }
        rows.status()?;
        Ok(held)
    }

    /// The authorization of a pair as both views know it; it holds only in the epoch that it names.
    ///
    /// # Errors
    /// When the database fails.
    pub fn authorization(
        &self,
        asset: AssetId,
        enclave: EnclaveId,
    ) -> Result<BothViews<Option<Authorization>>, ReadError> {
        let pair = (asset, enclave);
        let (head, confirmed) =
            self.reader::<Authorizations>().both(pair, self.cursor, |version| version.row)?;
        Ok(BothViews { head: head.flatten(), confirmed: confirmed.flatten() })
    }

    /// What both views say about `task` and `resource`, were `enclave` to ask; the task's own enclave when none is given.
    ///
    /// # Errors
    /// When the database fails.
    pub fn facts(
        &self,
        task: TaskId,
        enclave: Option<EnclaveId>,
        resource: Resource,
    ) -> Result<BothViews<Facts>, ReadError> {
        let (head, confirmed) = (self.cursor.head, self.cursor.confirmed);
        let mut facts = BothViews {
            head: Facts { at: head, ..Facts::default() },
            confirmed: Facts { at: confirmed, ..Facts::default() },
        };
        let (at_head, at_confirmed) = self.reader::<Tasks>().both(task, self.cursor, shared)?;
        let Some((block, Some(row))) = at_head else { return Ok(facts) };
        facts.head.note(block);
        facts.head.task = Some(row.clone());
        facts.confirmed.task = at_confirmed.and_then(|(_, row)| row);
        let enclave = enclave.unwrap_or(row.order.enclave);
        let mut standings = Standings::of(self);
        let app = standings.both(row.order.app, enclave, &mut facts)?;
        (facts.head.app, facts.confirmed.app) = (app.head, app.confirmed);
        for (n, id) in data_asked_for(&row, resource) {
            let data = standings.both(id, enclave, &mut facts)?;
            facts.head.data.push((n, data.head));
            facts.confirmed.data.push((n, data.confirmed));
        }
        Ok(facts)
    }

    /// The same reading as it was after block `number`: both views at that block. None when it is not mirrored.
    ///
    /// # Errors
    /// When the database fails.
    pub fn back_to(self, number: u64) -> Result<Option<Self>, ReadError> {
        let Some(block) = self.header(number)? else { return Ok(None) };
        Ok(Some(Self { cursor: Cursor { head: block, confirmed: block }, ..self }))
    }

    fn reader<T: Table>(&self) -> Reader<'_, T> {
        let mut options = ReadOptions::default();
        options.set_prefix_same_as_start(true);
        Reader { iterator: self.rows::<T>(options), table: std::marker::PhantomData }
    }

    /// The rows of a table as this reading sees them.
    pub(crate) fn rows<T: Table>(
        &self,
        mut options: ReadOptions,
    ) -> DBRawIteratorWithThreadMode<'_, DB> {
        options.set_snapshot(&self.inner);
        self.view.db.raw_iterator_cf_opt(self.view.family(T::NAME), options)
    }
}

trait Note {
    fn note(&mut self, block: u64);
}

impl Note for Facts {
    fn note(&mut self, block: u64) {
        self.changed_at = self.changed_at.max(block);
    }
}

fn shared(version: Version<Task>) -> (u64, Option<Arc<Task>>) {
    (version.block, version.row.map(Arc::new))
}

fn data_asked_for(task: &Task, resource: Resource) -> Vec<(u32, AssetId)> {
    let numbered = (1..).zip(task.order.data.iter().copied());
    match resource {
        Resource::Bundle => numbered.collect(),
        Resource::ProtectedData(n) => numbered.filter(|(number, _)| *number == n).collect(),
        Resource::AppSecret | Resource::RequesterSecret(_) => Vec::new(),
    }
}

/// One table's iterator, reused for every seek of a decision.
struct Reader<'a, T> {
    iterator: DBRawIteratorWithThreadMode<'a, DB>,
    table: std::marker::PhantomData<T>,
}

impl<T: Table> Reader<'_, T> {
    /// The newest version of the entity at or before `block`.
    fn at(&mut self, key: T::Key, block: u64) -> Result<Option<Version<T::Row>>, ReadError> {
        let entity = T::entity(key);
        let start = schema::versioned_key(entity.clone(), block);
        self.iterator.seek(&start);
        let found = self.iterator.item().filter(|(key, _)| key.starts_with(&entity));
        let Some((key, value)) = found else {
            self.iterator.status()?;
            return Ok(None);
        };
        let block = schema::block_of(key).ok_or(ReadError::Damaged { table: T::NAME })?;
        Ok(Some(Version { block, row: schema::decode_version::<T>(value)? }))
    }

    /// Head and confirmed; one seek serves both when what stands at the head is confirmed already.
    fn both<U: Clone>(
        &mut self,
        key: T::Key,
        cursor: Cursor,
        convert: impl Fn(Version<T::Row>) -> U,
    ) -> Result<(Option<U>, Option<U>), ReadError> {
        let Some(head) = self.at(key, cursor.head.number)? else { return Ok((None, None)) };
        if head.block <= cursor.confirmed.number {
            let value = convert(head);
            return Ok((Some(value.clone()), Some(value)));
        }
        let confirmed = self.at(key, cursor.confirmed.number)?;
        Ok((Some(convert(head)), confirmed.map(convert)))
    }
}

struct Standings<'a> {
    assets: Reader<'a, Assets>,
    authorizations: Reader<'a, Authorizations>,
    cursor: Cursor,
}

impl<'a> Standings<'a> {
    fn of(snapshot: &'a Snapshot<'_>) -> Self {
        Self {
            assets: snapshot.reader(),
            authorizations: snapshot.reader(),
            cursor: snapshot.cursor,
        }
    }

    fn both(
        &mut self,
        id: AssetId,
        enclave: EnclaveId,
        facts: &mut BothViews<Facts>,
    ) -> Result<BothViews<Standing>, ReadError> {
        let split = |version: Version<_>| (version.block, version.row);
        let (asset, asset_before) = self.assets.both(id, self.cursor, split)?;
        let split = |version: Version<_>| (version.block, version.row);
        let (word, word_before) = self.authorizations.both((id, enclave), self.cursor, split)?;
        for block in [asset.as_ref().map(|v| v.0), word.as_ref().map(|v| v.0)].into_iter().flatten()
        {
            facts.head.note(block);
        }
        let standing = |asset: Option<(u64, Option<Asset>)>, word: Option<(u64, Option<_>)>| {
            Standing { id, asset: asset.and_then(|v| v.1), authorization: word.and_then(|v| v.1) }
        };
        Ok(BothViews {
            head: standing(asset, word),
            confirmed: standing(asset_before, word_before),
        })
    }
}

#[cfg(test)]
mod tests;
