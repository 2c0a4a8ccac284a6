//! Another key-encryption key: every data key is wrapped anew, no value is touched, and the vault is used all the while.
//!
//! The store names the new key before anything is under it, and drops the old one's name when nothing is under it any more. A
//! write that was sealed under the key before is refused by the store and sealed again. Killed anywhere in between, the vault
//! opens with both keys, seals with the new one, and rotating goes on where it was.

use std::sync::Arc;

use crate::{
    error::VaultError,
    keys::{KeyId, ring::Ring},
    record,
    safe::Vault,
    store::{Entry, KEYS, Rewrapped, Values},
};

/// Records that are wrapped anew in one write.
const STEP: usize = 256;

/// What a rotation did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotated {
    /// Records under the new key.
    pub records: u64,
    /// The new key.
    pub key: KeyId,
}

impl Vault {
    /// Makes a key where the vault's keys live and uses it for nothing yet: for replicas, each of which needs the key before
    /// [`Self::rotate_key`] takes it up.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn make_key(&self) -> Result<KeyId, VaultError> {
        Ok(self.keys.make()?.id())
    }

    /// Puts every data key under the key `to`, or a new one; or, where a rotation was begun and died, goes on with its key.
    /// `progress` hears how many records are under the new key.
    ///
    /// # Errors
    /// When a record opens with none of the keys, a key is missing, or the store fails. The vault is as good as before, and the
    /// next attempt goes on.
    pub fn rotate_key(
        &self,
        to: Option<KeyId>,
        mut progress: impl FnMut(u64),
    ) -> Result<Rotated, VaultError> {
        let ring = self.begin(to)?;
        let (mut records, mut wrapped) = (0, Vec::new());
        let walked = self.store.walk(Values::Left, &mut |found| {
            let (secret, Entry { version, header }) = found.record.ok_or(VaultError::Damaged)?;
            let Some(before) = header else { return Ok(()) };
            records += 1;
            if let Some(after) = record::rewrap(self.home, &secret, &before, &ring)? {
                wrapped.push(Rewrapped { secret, version, before, after });
            }
            if wrapped.len() == STEP {
                self.store.rewrap(&wrapped)?;
                wrapped.clear();
                progress(records);
            }
            Ok(())
        });
        // A key that is none of ours may be one that somebody else began meanwhile.
        if matches!(walked, Err(VaultError::UnknownKey(_)))
            && self.read_ring()?.fact() != ring.fact()
        {
            return Err(VaultError::KeysChanging);
        }
        walked?;
        self.store.rewrap(&wrapped)?;
        self.rewrap_sealing_keys()?;
        self.finish(&ring)?;
        Ok(Rotated { records, key: ring.sealing().id() })
    }

    /// From now on another key seals, and the one before still opens.
    fn begin(&self, to: Option<KeyId>) -> Result<Arc<Ring>, VaultError> {
        let ring = self.read_ring()?;
        if ring.is_changing() || to == Some(ring.sealing().id()) {
            return Ok(ring);
        }
        let key = match to {
            Some(id) => self.keys.find(id)?,
            None => self.keys.make()?,
        };
        let changed = ring.sealing_with(key, &self.home.origin())?;
        self.name(&ring, &changed)
    }

    /// Forgets the older keys: nothing is under them any more.
    fn finish(&self, ring: &Ring) -> Result<Arc<Ring>, VaultError> {
        self.name(ring, &ring.sealing_alone(&self.home.origin())?)
    }

    fn name(&self, before: &Ring, after: &Ring) -> Result<Arc<Ring>, VaultError> {
        let [before, after] = [before, after].map(|ring| [(KEYS, Some(ring.fact()))]);
        if !self.store.change_facts(&before, &after)? {
            return Err(VaultError::KeysChanging);
        }
        self.read_ring()
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
#[path = "rotate/tests.rs"]
#[expect(clippy::duplicate_mod, reason = "the same tests, on the other store")]
mod tests_on_postgres;
