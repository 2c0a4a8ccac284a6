//! The keys that owners seal to: kept in the vault, so that every replica has them, and told apart by their public half.
//!
//! The newest one is for what is sealed from now on. One that was retired still opens for as long as its retirement said, so that
//! nobody who sealed just before it has to seal again; after that its private half is forgotten and only its public half is
//! remembered.

use std::fmt;

use alloy_primitives::{B256, FixedBytes};
use alloy_rlp::{Decodable, Encodable, RlpDecodable, RlpEncodable};
use zeroize::Zeroizing;

use crate::{
    error::VaultError,
    keys::{KeyId, ring::Ring},
    record::Home,
    safe::Vault,
    store::{Facts, KEYS},
};

/// The fact that lists them, the newest first.
const SEALING: &str = "sealing";

const TAG: &[u8] = b"sesame vault sealing key v1";

/// How often a change is tried again when others change the same.
const TRIES: usize = 8;

/// A key that owners seal to, or sealed to once.
pub struct SealingKey {
    /// The public half, X25519.
    pub public: B256,
    /// Since when owners seal to it, seconds since 1970.
    pub issued_at: u64,
    /// When another took its place.
    pub retired: Option<Retired>,
    /// The private half; none once it is forgotten.
    pub secret: Option<Zeroizing<[u8; 32]>>,
}

/// The end of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retired {
    /// When another took its place, seconds since 1970.
    pub at: u64,
    /// Until when it still opens, seconds since 1970.
    pub opens_until: u64,
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealingKey").field("public", &self.public).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, RlpEncodable, RlpDecodable)]
struct Kept {
    public: B256,
    issued_at: u64,
    /// 0 while it is in use.
    retired_at: u64,
    opens_until: u64,
    /// Which key-encryption key the private half is under.
    key: FixedBytes<8>,
    /// Empty once it is forgotten.
    wrapped: Vec<u8>,
}

impl Kept {
    fn new(
        home: Home,
        public: B256,
        secret: &[u8; 32],
        issued_at: u64,
        ring: &Ring,
    ) -> Result<Self, VaultError> {
        let key = ring.sealing();
        let wrapped = key.wrap(secret, &associated_data(home, public))?;
        Ok(Self { public, issued_at, retired_at: 0, opens_until: 0, key: key.id().0, wrapped })
    }

    fn open(&self, home: Home, ring: &Ring) -> Result<Option<Zeroizing<[u8; 32]>>, VaultError> {
        if self.wrapped.is_empty() {
            return Ok(None);
        }
        let id = KeyId(self.key);
        let key = ring.key(id).ok_or(VaultError::UnknownKey(id))?;
        let secret = key.unwrap(&self.wrapped, &associated_data(home, self.public))?;
        let secret = secret.as_slice().try_into().map_err(|_| VaultError::Damaged)?;
        Ok(Some(Zeroizing::new(secret)))
    }

    fn into_key(self, home: Home, ring: &Ring) -> Result<SealingKey, VaultError> {
        let secret = self.open(home, ring)?;
        let retired = (self.retired_at != 0)
            .then_some(Retired { at: self.retired_at, opens_until: self.opens_until });
        Ok(SealingKey { public: self.public, issued_at: self.issued_at, retired, secret })
    }

    fn forget(&mut self) {
        self.wrapped.clear();
    }
}

fn associated_data(home: Home, public: B256) -> Vec<u8> {
    [TAG, &home.origin(), public.as_slice()].concat()
}

fn encode(keys: &Vec<Kept>) -> Vec<u8> {
    let mut fact = Vec::new();
    keys.encode(&mut fact);
    fact
}

fn decode(mut fact: &[u8]) -> Result<Vec<Kept>, VaultError> {
    Vec::decode(&mut fact).map_err(|_| VaultError::Damaged)
}

/// Every private half among these facts opens.
pub(crate) fn check(facts: &Facts, home: Home, ring: &Ring) -> Result<(), VaultError> {
    let kept = facts.get(SEALING).map_or(Ok(Vec::new()), |fact| decode(fact))?;
    kept.iter().try_for_each(|kept| kept.open(home, ring).map(drop))
}

impl Vault {
    /// All of them, the newest first; none before the first was added.
    ///
    /// # Errors
    /// When they do not open, or the store fails.
    pub fn sealing_keys(&self) -> Result<Vec<SealingKey>, VaultError> {
        let (_, keys) = self.kept_sealing_keys()?;
        let open =
            |ring: &Ring| keys.iter().cloned().map(|kept| kept.into_key(self.home, ring)).collect();
        match open(&self.ring()) {
            Err(VaultError::UnknownKey(_)) => open(&*self.read_ring()?),
            opened => opened,
        }
    }

    /// Takes a new key into use; the one before opens until `opens_until`, and what is past its time at `now` is forgotten.
    ///
    /// # Errors
    /// When the store fails, or others keep changing the same.
    pub fn add_sealing_key(
        &self,
        public: B256,
        secret: &[u8; 32],
        now: u64,
        opens_until: u64,
    ) -> Result<(), VaultError> {
        self.change_sealing_keys(|keys, ring| {
            for kept in keys.iter_mut() {
                if kept.retired_at == 0 {
                    (kept.retired_at, kept.opens_until) = (now.max(1), opens_until);
                }
                // A retirement that is at once ends what an earlier one still left open.
                kept.opens_until = kept.opens_until.min(opens_until);
                if kept.opens_until <= now {
                    kept.forget();
                }
            }
            keys.insert(0, Kept::new(self.home, public, secret, now, ring)?);
            Ok(())
        })
    }

    /// The first key of a vault that has none; does nothing where there is one.
    ///
    /// # Errors
    /// As [`Self::add_sealing_key`].
    pub fn first_sealing_key(
        &self,
        public: B256,
        secret: &[u8; 32],
        now: u64,
    ) -> Result<(), VaultError> {
        self.change_sealing_keys(|keys, ring| {
            if keys.is_empty() {
                keys.push(Kept::new(self.home, public, secret, now, ring)?);
            }
            Ok(())
        })
    }

    /// Wraps them by the ring's newest key.
    pub(crate) fn rewrap_sealing_keys(&self) -> Result<(), VaultError> {
        self.change_sealing_keys(|keys, ring| {
            for kept in keys.iter_mut().filter(|kept| KeyId(kept.key) != ring.sealing().id()) {
                let Some(secret) = kept.open(self.home, ring)? else { continue };
                let renewed = Kept::new(self.home, kept.public, &secret, kept.issued_at, ring)?;
                (kept.key, kept.wrapped) = (renewed.key, renewed.wrapped);
            }
            Ok(())
        })
    }

    /// Changes them as one, under the keys that the vault has at that moment.
    fn change_sealing_keys(
        &self,
        change: impl Fn(&mut Vec<Kept>, &Ring) -> Result<(), VaultError>,
    ) -> Result<(), VaultError> {
        for _ in 0..TRIES {
            let ring = self.read_ring()?;
            let (before, mut keys) = self.kept_sealing_keys()?;
            change(&mut keys, &ring)?;
            let after = encode(&keys);
            let before = [(SEALING, before.as_deref()), (KEYS, Some(ring.fact()))];
            if self.store.change_facts(&before, &[(SEALING, Some(&after))])? {
                return Ok(());
            }
        }
        Err(VaultError::KeysChanging)
    }

    /// The fact, and what it says.
    fn kept_sealing_keys(&self) -> Result<(Option<Vec<u8>>, Vec<Kept>), VaultError> {
        let fact = self.store.fact(SEALING)?;
        let keys = match &fact {
            Some(fact) => decode(fact)?,
            None => Vec::new(),
        };
        Ok((fact, keys))
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
#[path = "sealing/tests.rs"]
#[expect(clippy::duplicate_mod, reason = "the same tests, on the other store")]
mod tests_on_postgres;
