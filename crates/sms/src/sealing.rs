//! What owners seal to. The keys are in the vault; what was read of them counts for some seconds, since another replica may have
//! changed them, and the document that names them is signed anew every hour.

use std::sync::{Arc, Mutex, PoisonError};

use alloy_primitives::B256;
use sesame_protocol::{
    keys::{KeysDocument, RetiredSealingKey, SealingPublicKey},
    owner::OwnerError,
    sealing::SealingKey,
};
use sesame_vault::{Vault, VaultError};

use crate::{clock, problem::ApiError, service::Service};

/// For how long what was read counts, seconds.
const READ: u64 = 10;

/// After how long the document is signed anew, seconds.
const SIGNED: u64 = 60 * 60;

/// What is known of the keys.
#[derive(Debug, Default)]
pub(crate) struct Sealing(Mutex<Option<Known>>);

#[derive(Debug, Clone)]
struct Known {
    /// Those that open, with the second from which on they do no more.
    openers: Vec<(Arc<SealingKey>, Option<u64>)>,
    document: Arc<KeysDocument>,
    read_at: u64,
}

impl Known {
    fn opener(&self, public: B256, now: u64) -> Option<Arc<SealingKey>> {
        let opens = |until: &Option<u64>| until.is_none_or(|until| now < until);
        let mut openers = self.openers.iter();
        let found = openers.find(|(key, until)| key.public() == public && opens(until));
        found.map(|(key, _)| key.clone())
    }
}

/// Gives a vault its first key; does nothing where it has one.
pub(crate) fn first(vault: &Vault, now: u64) -> Result<(), VaultError> {
    let (public, secret) = SealingKey::random_pair();
    vault.first_sealing_key(public, &secret, now)
}

/// Gives it another one. The one before opens for `overlap` seconds.
pub(crate) fn rotate(vault: &Vault, now: u64, overlap: u64) -> Result<B256, VaultError> {
    let (public, secret) = SealingKey::random_pair();
    vault.add_sealing_key(public, &secret, now, now.saturating_add(overlap))?;
    Ok(public)
}

impl Service {
    /// The keys as they are now, certified.
    pub(crate) fn keys(&self) -> Result<Arc<KeysDocument>, VaultError> {
        Ok(self.known_keys(READ)?.document)
    }

    /// The key that opens what was sealed to `public`.
    pub(crate) fn sealing_key(&self, public: B256) -> Result<Arc<SealingKey>, ApiError> {
        let now = clock::now();
        if let Some(key) = self.known_keys(READ)?.opener(public, now) {
            return Ok(key);
        }
        // Another replica may have begun to use it just now.
        let known = self.known_keys(0)?;
        known.opener(public, now).ok_or_else(|| {
            OwnerError::WrongKey { signed: public, ours: known.document.sealing.key }.into()
        })
    }

    /// Takes a new key into use. The one before opens for `overlap` seconds.
    pub(crate) fn rotate_sealing_key(&self, overlap: u64) -> Result<Arc<KeysDocument>, VaultError> {
        rotate(&self.vault, clock::now(), overlap)?;
        Ok(self.known_keys(0)?.document)
    }

    /// What was read less than `seconds` ago, or is read now.
    fn known_keys(&self, seconds: u64) -> Result<Known, VaultError> {
        let now = clock::now();
        let mut known = self.sealing.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.as_ref().filter(|known| now < known.read_at + seconds) {
            return Ok(known.clone());
        }
        let read = self.read_keys(known.as_ref(), now)?;
        Ok(known.insert(read).clone())
    }

    fn read_keys(&self, before: Option<&Known>, now: u64) -> Result<Known, VaultError> {
        let (mut openers, mut sealing, mut retired) = (Vec::new(), None, Vec::new());
        for key in self.vault.sealing_keys()? {
            match key.retired {
                None => {
                    sealing = Some(SealingPublicKey { key: key.public, issued_at: key.issued_at })
                }
                Some(end) => retired.push(RetiredSealingKey {
                    key: key.public,
                    issued_at: key.issued_at,
                    retired_at: end.at,
                    opens_until: end.opens_until,
                }),
            }
            if let Some(secret) = &key.secret {
                let opener = SealingKey::from_bytes(secret)
                    .ok()
                    .filter(|opener| opener.public() == key.public)
                    .ok_or(VaultError::Damaged)?;
                openers.push((Arc::new(opener), key.retired.map(|end| end.opens_until)));
            }
        }
        let sealing = sealing.ok_or(VaultError::Damaged)?;
        let unchanged = before.map(|known| &known.document).filter(|document| {
            document.sealing == sealing
                && document.retired == retired
                && now < document.signed_at + SIGNED
        });
        let document = unchanged.cloned().unwrap_or_else(|| {
            let token = self.token.public().clone();
            KeysDocument::certify(&self.domain, &self.identity, sealing, retired, token, now).into()
        });
        Ok(Known { openers, document, read_at: now })
    }
}
