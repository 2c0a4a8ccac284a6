//! One hash over everything that the mirror says after a block, however the mirror was built.

use alloy_primitives::{B256, Keccak256};
use rocksdb::ReadOptions;

use crate::{
    error::ReadError,
    read::Snapshot,
    schema::{self, Assets, Authorizations, Deals, Holdings, Journals, Orders, Table, Tasks},
};

impl Snapshot<'_> {
    /// The digest of every row as it stands after block `number`; none when that block is not mirrored.
    ///
    /// Two mirrors of one chain have equal digests at equal blocks, whatever they went through to get there.
    ///
    /// # Errors
    /// When the database fails.
    pub fn digest(&self, number: u64) -> Result<Option<B256>, ReadError> {
        if number > self.head().number {
            return Ok(None);
        }
        let Some(block) = self.header(number)? else { return Ok(None) };
        let mut hasher = Keccak256::new();
        hasher.update(number.to_be_bytes());
        hasher.update(block.hash);
        self.digest_table::<Assets>(number, &mut hasher)?;
        self.digest_table::<Authorizations>(number, &mut hasher)?;
        self.digest_table::<Tasks>(number, &mut hasher)?;
        self.digest_table::<Orders>(number, &mut hasher)?;
        self.digest_table::<Deals>(number, &mut hasher)?;
        self.digest_table::<Journals>(number, &mut hasher)?;
        self.digest_table::<Holdings>(number, &mut hasher)?;
        Ok(Some(hasher.finalize()))
    }

    /// Each entity's newest version at or before `number`, in the order of the keys; deleted ones are as if never there.
    fn digest_table<T: Table>(&self, number: u64, hasher: &mut Keccak256) -> Result<(), ReadError> {
        let damaged = || ReadError::Damaged { table: T::NAME };
        hasher.update(T::NAME);
        let mut options = ReadOptions::default();
        options.set_total_order_seek(true);
        let mut rows = self.rows::<T>(options);
        let mut done = Vec::new();
        rows.seek_to_first();
        while let Some((key, value)) = rows.item() {
            let (entity, _) = key.split_at_checked(T::ENTITY_LENGTH).ok_or_else(damaged)?;
            let block = schema::block_of(key).ok_or_else(damaged)?;
            if block <= number && entity != done.as_slice() {
                done = entity.to_vec();
                if schema::decode_version::<T>(value)?.is_some() {
                    hasher.update((value.len() as u64).to_be_bytes());
                    hasher.update(entity);
                    hasher.update(value);
                }
            }
            rows.next();
        }
        rows.status()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
