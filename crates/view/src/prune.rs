//! Forgetting the past: versions that a newer one at or below the oldest kept block has replaced.
//!
//! The headers go first, so that nobody can ask about a block whose rows are going. The rows follow a few at a time: what is
//! left of a forgotten past takes room and answers nothing.

use std::{fmt, str::FromStr, sync::PoisonError};

use rocksdb::{ReadOptions, WriteBatch};

use crate::{
    error::{ReadError, WriteError},
    schema::{
        self, Assets, Authorizations, Deals, HEADERS, Holdings, Journals, Orders, Table, Tasks,
    },
    write::View,
};

/// Rows looked at in one step.
const STEP: usize = 4096;

/// How far back the mirror can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum History {
    /// To its first block.
    #[default]
    All,
    /// This many blocks below the newest that is confirmed and proven.
    Blocks(u64),
}

/// The text is neither a number of blocks nor `all`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a number of blocks or `all`")]
pub struct ParseHistoryError;

impl FromStr for History {
    type Err = ParseHistoryError;

    fn from_str(text: &str) -> Result<Self, ParseHistoryError> {
        match text {
            "all" => Ok(Self::All),
            number => number.parse().map(Self::Blocks).map_err(|_| ParseHistoryError),
        }
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Blocks(blocks) => write!(f, "{blocks}"),
        }
    }
}

/// Where the next step goes on.
#[derive(Debug, Default)]
pub(crate) struct Place {
    table: usize,
    key: Vec<u8>,
    /// The entity whose further versions are all replaced.
    replaced: Vec<u8>,
    /// No header below this one is left.
    oldest: u64,
}

const TABLES: usize = 7;

impl View {
    /// Forgets a little of what `history` does not keep; nothing that going back to the proven block needs.
    ///
    /// # Errors
    /// When the database fails.
    pub fn prune(&self, history: History) -> Result<(), WriteError> {
        let History::Blocks(kept) = history else { return Ok(()) };
        self.refuse_if_poisoned()?;
        let (Some(cursor), Some(proven)) = (self.cursor()?, self.proven()?) else { return Ok(()) };
        let oldest = cursor.confirmed.number.min(proven.number).saturating_sub(kept);
        let mut place = self.pruned.lock().unwrap_or_else(PoisonError::into_inner);
        let mut batch = WriteBatch::default();
        if place.oldest < oldest {
            let (from, to) = (place.oldest.to_be_bytes(), oldest.to_be_bytes());
            batch.delete_range_cf(self.family(HEADERS), from, to);
            place.oldest = oldest;
        }
        let more = match place.table {
            0 => self.prune_rows::<Assets>(oldest, &mut place, &mut batch)?,
            1 => self.prune_rows::<Authorizations>(oldest, &mut place, &mut batch)?,
            2 => self.prune_rows::<Tasks>(oldest, &mut place, &mut batch)?,
            3 => self.prune_rows::<Journals>(oldest, &mut place, &mut batch)?,
            4 => self.prune_rows::<Orders>(oldest, &mut place, &mut batch)?,
            5 => self.prune_rows::<Deals>(oldest, &mut place, &mut batch)?,
            _ => self.prune_rows::<Holdings>(oldest, &mut place, &mut batch)?,
        };
        if !more {
            *place = Place { table: (place.table + 1) % TABLES, oldest, ..Place::default() };
        }
        self.write(batch)
    }

    /// Deletes what is replaced among the next rows; whether the table goes on.
    fn prune_rows<T: Table>(
        &self,
        oldest: u64,
        place: &mut Place,
        batch: &mut WriteBatch,
    ) -> Result<bool, ReadError> {
        let damaged = || ReadError::Damaged { table: T::NAME };
        let family = self.family(T::NAME);
        let mut options = ReadOptions::default();
        options.set_total_order_seek(true);
        let mut rows = self.db.raw_iterator_cf_opt(family, options);
        rows.seek(&place.key);
        for _ in 0..STEP {
            let Some(key) = rows.key() else { break };
            let (entity, _) = key.split_at_checked(T::ENTITY_LENGTH).ok_or_else(damaged)?;
            let block = schema::block_of(key).ok_or_else(damaged)?;
            if entity == place.replaced.as_slice() {
                batch.delete_cf(family, key);
            } else if block <= oldest {
                // What the oldest kept block sees; the versions that follow are older.
                place.replaced = entity.to_vec();
            }
            rows.next();
        }
        rows.status()?;
        place.key = rows.key().map(<[u8]>::to_vec).unwrap_or_default();
        Ok(rows.valid())
    }
}

#[cfg(test)]
mod tests;
