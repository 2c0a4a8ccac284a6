//! The key-encryption keys of one vault: the one that seals, and while they change those that still open.

use std::sync::Arc;

use alloy_primitives::FixedBytes;
use alloy_rlp::{Decodable, Encodable, RlpDecodable, RlpEncodable};

use super::{Kek, KeyId, Keys};
use crate::{
    error::{KeyError, VaultError},
    store::{KEYS, Store},
};

/// What is under each key: some modules seal nothing, but not nothing at all.
const CHECK: &[u8] = b"sesame";

/// A key by name, and [`CHECK`] under it: proof that a key of that name is the one.
#[derive(Debug, RlpEncodable, RlpDecodable)]
struct Named {
    id: FixedBytes<8>,
    check: Vec<u8>,
}

/// The fact [`KEYS`].
#[derive(Debug, RlpEncodable, RlpDecodable)]
struct Names {
    sealing: Named,
    opening: Vec<Named>,
}

/// The keys that a vault had when its fact was read.
#[derive(Debug, Clone)]
pub(crate) struct Ring {
    sealing: Arc<dyn Kek>,
    opening: Vec<Arc<dyn Kek>>,
    fact: Vec<u8>,
}

impl Ring {
    /// A ring of one new key, which no vault names yet.
    pub(crate) fn of(key: Box<dyn Kek>, origin: &[u8]) -> Result<Self, VaultError> {
        Self::naming(key.into(), Vec::new(), origin)
    }

    /// The keys that the store names.
    pub(crate) fn read(
        store: &dyn Store,
        keys: &dyn Keys,
        origin: &[u8],
    ) -> Result<Self, VaultError> {
        Self::named(store.fact(KEYS)?.ok_or(VaultError::Damaged)?, keys, origin)
    }

    /// The keys that this fact names.
    pub(crate) fn named(fact: Vec<u8>, keys: &dyn Keys, origin: &[u8]) -> Result<Self, VaultError> {
        let names = Names::decode(&mut fact.as_slice()).map_err(|_| VaultError::Damaged)?;
        let find = |named: &Named| -> Result<Arc<dyn Kek>, VaultError> {
            let key = keys.find(KeyId(named.id))?;
            match key.unwrap(&named.check, origin) {
                Ok(_) => Ok(key.into()),
                Err(KeyError::Refused) => Err(VaultError::WrongKey(key.id())),
                Err(error) => Err(error.into()),
            }
        };
        let opening = names.opening.iter().map(find).collect::<Result<_, _>>()?;
        Ok(Self { sealing: find(&names.sealing)?, opening, fact })
    }

    fn naming(
        sealing: Arc<dyn Kek>,
        opening: Vec<Arc<dyn Kek>>,
        origin: &[u8],
    ) -> Result<Self, VaultError> {
        let name = |key: &Arc<dyn Kek>| -> Result<Named, VaultError> {
            Ok(Named { id: key.id().0, check: key.wrap(CHECK, origin)? })
        };
        let names = Names {
            sealing: name(&sealing)?,
            opening: opening.iter().map(name).collect::<Result<_, _>>()?,
        };
        let mut fact = Vec::new();
        names.encode(&mut fact);
        Ok(Self { sealing, opening, fact })
    }

    /// The same with another key that seals; the one before still opens.
    pub(crate) fn sealing_with(
        &self,
        key: Box<dyn Kek>,
        origin: &[u8],
    ) -> Result<Self, VaultError> {
        let opening = std::iter::once(&self.sealing).chain(&self.opening).cloned().collect();
        Self::naming(key.into(), opening, origin)
    }

    /// The same without the keys that only open.
    pub(crate) fn sealing_alone(&self, origin: &[u8]) -> Result<Self, VaultError> {
        Self::naming(self.sealing.clone(), Vec::new(), origin)
    }

    /// Whether keys are changing.
    pub(crate) const fn is_changing(&self) -> bool {
        !self.opening.is_empty()
    }

    /// What the store says of these keys, [`KEYS`].
    pub(crate) fn fact(&self) -> &[u8] {
        &self.fact
    }

    /// The key that seals.
    pub(crate) fn sealing(&self) -> &dyn Kek {
        self.sealing.as_ref()
    }

    /// Seals and opens with the key that seals.
    pub(crate) fn try_sealing(&self, origin: &[u8]) -> Result<(), VaultError> {
        self.sealing.unwrap(&self.sealing.wrap(CHECK, origin)?, origin)?;
        Ok(())
    }

    /// The names of all, the one that seals first.
    pub(crate) fn names(&self) -> Vec<KeyId> {
        std::iter::once(&self.sealing).chain(&self.opening).map(|key| key.id()).collect()
    }

    /// The key of that name, if it is one of these.
    pub(crate) fn key(&self, id: KeyId) -> Option<&dyn Kek> {
        std::iter::once(&self.sealing)
            .chain(&self.opening)
            .map(AsRef::as_ref)
            .find(|key| key.id() == id)
    }
}
