//! What the vault does for iExec's clients: challenges of tasks, names that are replaced once per signature, and secrets of a deal.

use alloy_primitives::{Address, B256};
use sesame_domain::{IexecSecret, SecretId, TaskId, Web2Name};
use sesame_protocol::signature::Signer;
use zeroize::Zeroizing;

use crate::{
    decision::deal::{ChallengeGrant, DealRelease},
    error::VaultError,
    record::Metadata,
    safe::{Push, TRIES, Vault},
    secret::Plaintext,
    store::Values,
};

/// A value that an owner signed for.
#[derive(Debug)]
pub struct Signed {
    /// Who signed.
    pub owner: Address,
    /// Keccak-256 of the signature.
    pub signature: B256,
    /// Wall clock, seconds since 1970.
    pub now: u64,
    /// The value.
    pub value: Plaintext,
}

/// What became of a value in another's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replacement {
    /// It is there.
    Done,
    /// It was there already, by this very signature.
    Unchanged,
    /// Its signature was used before, and another has taken its place since.
    Replayed,
    /// There is none to replace.
    Absent,
}

/// How many secrets there are of each of iExec's kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IexecCounts {
    /// Keys of datasets.
    pub datasets: u64,
    /// Secrets of apps and requesters.
    pub compute: u64,
    /// Named secrets of anybody's.
    pub web2: u64,
    /// Challenges of tasks.
    pub challenges: u64,
}

/// A secret of a deal.
#[derive(Debug)]
pub struct OpenedForDeal {
    /// Which version it is.
    pub version: u64,
    /// The secret.
    pub value: Plaintext,
}

impl Vault {
    /// Keeps the first value of a secret; durable when this returns. False if there is one already.
    ///
    /// # Errors
    /// When the store fails.
    pub fn create(&self, secret: IexecSecret, signed: Signed) -> Result<bool, VaultError> {
        let Signed { owner, signature, now, value } = signed;
        let metadata = metadata(owner, 1, signature, now);
        match self.push(Push { secret: SecretId::Iexec(secret), metadata, value }) {
            Ok(_) => Ok(true),
            Err(VaultError::VersionConflict { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Puts a value in the place of a web2 secret's, unless its signature did so before; durable when this returns.
    ///
    /// The signature of a value is remembered before the value is replaced: a crash in between leaves the value that is there in
    /// force and the other to be tried again.
    ///
    /// # Errors
    /// When the store fails, or others replace the value again and again.
    pub fn replace(&self, name: &Web2Name, signed: &Signed) -> Result<Replacement, VaultError> {
        let Signed { owner, signature, now, value } = signed;
        let secret = SecretId::Iexec(IexecSecret::Web2(*owner, name.clone()));
        for _ in 0..TRIES {
            let Some(present) = self.newest(&secret)? else { return Ok(Replacement::Absent) };
            if present.sealed_digest == *signature {
                return Ok(Replacement::Unchanged);
            }
            if self.newest(&spent(*signature))?.is_some() {
                return Ok(Replacement::Replayed);
            }
            self.spend(&present, *now)?;
            let metadata = metadata(*owner, present.version + 1, *signature, *now);
            let value = Zeroizing::new(value.expose().to_vec()).into();
            match self.push(Push { secret: secret.clone(), metadata, value }) {
                Ok(_) => return Ok(Replacement::Done),
                Err(VaultError::VersionConflict { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Err(VaultError::KeysChanging)
    }

    /// Remembers that the signature of a value is used up.
    fn spend(&self, present: &Metadata, now: u64) -> Result<(), VaultError> {
        let metadata = metadata(present.owner, 1, present.sealed_digest, now);
        let nothing = Zeroizing::new(Vec::new()).into();
        match self.push(Push { secret: spent(present.sealed_digest), metadata, value: nothing }) {
            Ok(_) | Err(VaultError::VersionConflict { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The address of the key that signs results of a task, which is made when it is first asked for, and kept. True if it was.
    ///
    /// # Errors
    /// When the store fails.
    pub fn challenge(
        &self,
        grant: &ChallengeGrant,
        now: u64,
    ) -> Result<(Address, bool), VaultError> {
        let secret = IexecSecret::Challenge(grant.task);
        for _ in 0..TRIES {
            if let Some(issued) = self.issued(grant.task)? {
                return Ok((issued, false));
            }
            let (address, value) = new_key();
            let signed = Signed { owner: address, signature: B256::ZERO, now, value };
            if self.create(secret.clone(), signed)? {
                return Ok((address, true));
            }
        }
        Err(VaultError::KeysChanging)
    }

    /// The challenge that was issued for a task, if one was.
    ///
    /// # Errors
    /// When the store fails.
    pub fn issued(&self, task: TaskId) -> Result<Option<Address>, VaultError> {
        let known = self.newest(&SecretId::Iexec(IexecSecret::Challenge(task)))?;
        Ok(known.map(|known| known.owner))
    }

    /// Opens a secret that a release allows; none if nobody pushed it.
    ///
    /// # Errors
    /// [`VaultError::NotReleased`] if the release does not allow it; when a record was altered, or the store fails.
    pub fn open_for_deal(
        &self,
        release: &DealRelease,
        secret: &IexecSecret,
    ) -> Result<Option<OpenedForDeal>, VaultError> {
        if !release.covers(secret) {
            return Err(VaultError::NotReleased);
        }
        let secret = SecretId::Iexec(secret.clone());
        for _ in 0..TRIES {
            let Some(newest) = self.newest(&secret)? else { return Ok(None) };
            match self.open_version(&secret, newest.version) {
                Ok(value) => return Ok(Some(OpenedForDeal { version: newest.version, value })),
                // Replacement since: the next one counts.
                Err(VaultError::Missing) => {}
                Err(error) => return Err(error),
            }
        }
        Err(VaultError::KeysChanging)
    }

    /// Counts what there is, by reading the name of every record.
    ///
    /// # Errors
    /// When the store fails.
    pub fn count_iexec(&self) -> Result<IexecCounts, VaultError> {
        let mut counts = IexecCounts::default();
        self.store.walk(Values::Left, &mut |found| {
            if let Some((SecretId::Iexec(secret), _)) = found.record {
                let count = match secret {
                    IexecSecret::Dataset(_) => &mut counts.datasets,
                    IexecSecret::App(_) | IexecSecret::Requester(..) => &mut counts.compute,
                    IexecSecret::Web2(..) => &mut counts.web2,
                    IexecSecret::Challenge(_) => &mut counts.challenges,
                    IexecSecret::Spent(_) => return Ok(()),
                };
                *count += 1;
            }
            Ok(())
        })?;
        Ok(counts)
    }
}

fn spent(signature: B256) -> SecretId {
    SecretId::Iexec(IexecSecret::Spent(signature))
}

/// What is known of one of iExec's: no epoch, since it stays through a sale; where others have the digest of a sealed body, that of
/// the signature.
const fn metadata(owner: Address, version: u64, signature: B256, now: u64) -> Metadata {
    Metadata {
        owner,
        epoch: 0,
        version,
        transferable: true,
        content_digest: B256::ZERO,
        sealed_digest: signature,
        updated_at: now,
        size: 0,
    }
}

/// A new secp256k1 key, 32 bytes big-endian, and its address.
fn new_key() -> (Address, Plaintext) {
    loop {
        let key = Zeroizing::new(rand::random::<[u8; 32]>());
        if let Ok(signer) = Signer::from_bytes(&key) {
            return (signer.address(), Zeroizing::new(key.to_vec()).into());
        }
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
#[path = "iexec/tests.rs"]
#[expect(clippy::duplicate_mod, reason = "the same tests, on the other store")]
mod tests_on_postgres;
