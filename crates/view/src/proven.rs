//! How far the chain's own journals have proven the mirror, and the way back when they disagree.
//!
//! Undo lists above the proven block are kept even when their blocks are confirmed: the blocks stand, but what was mirrored of
//! them may be wrong.

use std::sync::PoisonError;

use rocksdb::WriteBatch;
use sesame_domain::Block;

use crate::{
    error::{ReadError, WriteError},
    prune::Place,
    schema::{self, HEADERS, META, META_CURSOR, META_PROVEN, META_SETTLED, UNDO, VERSIONED},
    write::{Cursor, View, encode},
};

/// Blocks undone in one batch.
const STEP: u64 = 4096;

impl View {
    /// The newest block at which the journals were proven; none when they never were.
    ///
    /// # Errors
    /// When the database fails.
    pub fn proven(&self) -> Result<Option<Block>, ReadError> {
        self.noted(META_PROVEN)
    }

    /// The newest block that ever was confirmed, if the mirror went back behind it since.
    ///
    /// # Errors
    /// When the database fails.
    pub fn settled(&self) -> Result<Option<Block>, ReadError> {
        self.noted(META_SETTLED)
    }

    /// Notes that the journals were proven at block `number`, which is confirmed; never goes back. The first proof counts at the
    /// confirmed block alone, since before it nothing was kept for going back further.
    ///
    /// # Errors
    /// When the block is not confirmed, or the database fails.
    pub fn prove(&self, number: u64) -> Result<(), WriteError> {
        self.refuse_if_poisoned()?;
        let Some(cursor) = self.cursor()? else { return Ok(()) };
        if number > cursor.confirmed.number {
            let head = cursor.confirmed.number;
            return Err(WriteError::NotNext { block: number, head });
        }
        let before = self.proven()?.map(|block| block.number);
        if before.map_or(number < cursor.confirmed.number, |before| number <= before) {
            return Ok(());
        }
        let Some(block) = self.header(number)? else { return Ok(()) };
        let mut batch = WriteBatch::default();
        batch.put_cf(self.family(META), META_PROVEN, encode(&block));
        self.forget_undo(before.unwrap_or_default(), number, &mut batch);
        if self.settled()?.is_some_and(|settled| settled.number <= number) {
            batch.delete_cf(self.family(META), META_SETTLED);
        }
        self.write(batch)
    }

    /// Forgets every block past `to`, confirmed ones as well: what was mirrored of them is wrong. Goes back to the proven block
    /// at most; an index that cannot go back that far is forgotten whole.
    ///
    /// # Errors
    /// When the database fails.
    pub fn retract(&self, to: u64) -> Result<(), WriteError> {
        self.refuse_if_poisoned()?;
        let Some(cursor) = self.cursor()? else { return Ok(()) };
        self.note_settled(cursor.confirmed)?;
        let floor = self.proven()?.unwrap_or(cursor.confirmed).number;
        if to < floor {
            return self.forget_all();
        }
        let mut newest = cursor.head.number;
        while newest > to {
            let next = newest.saturating_sub(STEP).max(to);
            let Some(head) = self.header(next)? else { return self.forget_all() };
            let mut batch = WriteBatch::default();
            for number in next + 1..=newest {
                self.undo(number, &mut batch)?;
            }
            let confirmed = if cursor.confirmed.number > next { head } else { cursor.confirmed };
            batch.put_cf(self.family(META), META_CURSOR, encode(&Cursor { head, confirmed }));
            self.write(batch)?;
            newest = next;
        }
        Ok(())
    }

    /// Back to an empty mirror of the same origin.
    fn forget_all(&self) -> Result<(), WriteError> {
        let mut batch = WriteBatch::default();
        for table in VERSIONED.into_iter().chain([HEADERS, UNDO]) {
            // Past every key: none is longer than 72 bytes.
            batch.delete_range_cf(self.family(table), &[][..], &[0xff; 80][..]);
        }
        batch.delete_cf(self.family(META), META_CURSOR);
        batch.delete_cf(self.family(META), META_PROVEN);
        *self.pruned.lock().unwrap_or_else(PoisonError::into_inner) = Place::default();
        self.write(batch)
    }

    pub(crate) fn note_settled(&self, confirmed: Block) -> Result<(), WriteError> {
        if self.settled()?.is_some_and(|settled| settled.number >= confirmed.number) {
            return Ok(());
        }
        let mut batch = WriteBatch::default();
        batch.put_cf(self.family(META), META_SETTLED, encode(&confirmed));
        self.write(batch)
    }

    /// Undo lists from `first` to `last`, both included.
    pub(crate) fn forget_undo(&self, first: u64, last: u64, batch: &mut WriteBatch) {
        let (from, to) = (first.to_be_bytes(), last.saturating_add(1).to_be_bytes());
        if first <= last {
            batch.delete_range_cf(self.family(UNDO), from, to);
        }
    }

    fn noted(&self, name: &[u8]) -> Result<Option<Block>, ReadError> {
        let value = self.db.get_cf(self.family(META), name)?;
        value.map(|bytes| schema::decode_row(META, &bytes)).transpose()
    }
}

#[cfg(test)]
mod tests;
