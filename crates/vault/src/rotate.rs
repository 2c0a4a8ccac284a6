//! A new key-encryption key: every data key is wrapped anew, no value is touched.
//!
//! The new key is on disk before anything is under it, and the old one goes when nothing is under it any more. Killed anywhere
//! in between, the vault opens with both, seals with the new one, and rotating goes on where it was.

use std::path::Path;

use crate::{error::VaultError, record, safe::Vault, store::rocks::Entry};

/// Records that are wrapped anew in one write.
const STEP: usize = 256;

impl Vault {
    /// Puts a new key into `key_file`, the file that the vault was opened with, or goes on with it. `progress` hears how many
    /// records are under the new key. Gives their number.
    ///
    /// # Errors
    /// When a record opens with neither key, or the store or a key file fails. The vault is as good as before, and the next
    /// attempt goes on.
    pub fn rotate_key(
        mut self,
        key_file: &Path,
        mut progress: impl FnMut(u64),
    ) -> Result<u64, VaultError> {
        let origin = self.home.origin();
        self.keys = self.keys.begin(&self.store, key_file, &origin)?;
        let (mut done, mut wrapped) = (0, Vec::new());
        for record in self.store.records() {
            let (secret, Entry { version, header }) = record?.record.ok_or(VaultError::Damaged)?;
            let Some(header) = header else { continue };
            if let Some(header) = record::rewrap(self.home, &secret, &header, &self.keys)? {
                wrapped.push((secret, version, header));
            }
            done += 1;
            if wrapped.len() == STEP {
                self.store.put_headers(&wrapped)?;
                wrapped.clear();
                progress(done);
            }
        }
        self.store.put_headers(&wrapped)?;
        self.keys.finish(&self.store, key_file, &origin)?;
        Ok(done)
    }
}

#[cfg(test)]
mod tests;
