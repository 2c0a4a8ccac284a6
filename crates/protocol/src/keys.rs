//! `GET /v1/keys`: the keys that the SMS works with, certified by its identity.

use alloy_primitives::{Address, B256};
use serde::{Deserialize, Serialize};

use crate::{
    jwk::Jwk,
    signature::{Signature65, SignatureError, Signer, recover},
    typed::{Domain, RetiredKey, SmsKeys},
};

/// How old a document may be, seconds: a day. An older one may name keys that were retired since, or stolen.
pub const MAX_AGE: u64 = 24 * 60 * 60;

/// How far into the future it may be signed, seconds: clocks differ.
const MAX_SKEW: u64 = 10 * 60;

/// The keys document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct KeysDocument {
    /// The chain that the SMS follows.
    pub chain_id: u64,
    /// The asset registry that it follows.
    pub asset_registry: Address,
    /// The SMS identity, which signed the document.
    pub identity: Address,
    /// The key that owners seal to.
    pub sealing: SealingPublicKey,
    /// Those before it, the newest first.
    pub retired: Vec<RetiredSealingKey>,
    /// The P-256 key that signs attestation tokens.
    pub token: Jwk,
    /// When the document was signed, seconds since 1970.
    pub signed_at: u64,
    /// The identity's signature over [`SmsKeys`].
    pub signature: Signature65,
}

/// The X25519 key that owners seal to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct SealingPublicKey {
    /// The key, 32 bytes.
    pub key: B256,
    /// Since when it is in use, seconds since 1970.
    pub issued_at: u64,
}

/// A key that owners sealed to before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct RetiredSealingKey {
    /// The key, 32 bytes.
    pub key: B256,
    /// Since when it was in use, seconds since 1970.
    pub issued_at: u64,
    /// When another took its place, seconds since 1970.
    pub retired_at: u64,
    /// Until when it opens what was sealed to it, seconds since 1970.
    pub opens_until: u64,
}

/// Keys that a pinned identity certified. Only [`KeysDocument::verify`] makes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedKeys {
    identity: Address,
    sealing: B256,
    token: Jwk,
    issued_at: u64,
}

impl TrustedKeys {
    /// The identity that certified them.
    #[must_use]
    pub const fn identity(&self) -> Address {
        self.identity
    }

    /// The key to seal to.
    #[must_use]
    pub const fn sealing(&self) -> B256 {
        self.sealing
    }

    /// The key that signs attestation tokens.
    #[must_use]
    pub const fn token(&self) -> &Jwk {
        &self.token
    }

    /// Since when the key to seal to is in use, seconds since 1970.
    #[must_use]
    pub const fn issued_at(&self) -> u64 {
        self.issued_at
    }
}

/// A keys document is not to be trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeysError {
    /// The document is about another chain or registry.
    #[error("the SMS serves registry {asset_registry} on chain {chain_id}, not the expected one")]
    WrongDeployment {
        /// The chain that the document names.
        chain_id: u64,
        /// The registry that the document names.
        asset_registry: Address,
    },
    /// The document names, or was signed by, another identity than the pinned one.
    #[error("the keys are certified by {got}, not by the pinned {pinned}")]
    WrongIdentity {
        /// Whom the caller trusts.
        pinned: Address,
        /// Who signed, or who the document says did.
        got: Address,
    },
    /// The document was signed too long ago, or in the future.
    #[error(
        "the keys were certified at {signed_at}, more than a day from now ({now}): compare the clocks; if they agree, \
         somebody shows you an old answer"
    )]
    Stale {
        /// When it says that it was signed, seconds since 1970.
        signed_at: u64,
        /// The caller's time.
        now: u64,
    },
    /// The signature is malformed.
    #[error(transparent)]
    Signature(#[from] SignatureError),
}

impl KeysDocument {
    /// Certifies keys.
    #[must_use]
    pub fn certify(
        domain: &Domain,
        identity: &Signer,
        sealing: SealingPublicKey,
        retired: Vec<RetiredSealingKey>,
        token: Jwk,
        signed_at: u64,
    ) -> Self {
        let mut document = Self {
            chain_id: domain.chain_id,
            asset_registry: domain.asset_registry,
            identity: identity.address(),
            sealing,
            retired,
            token,
            signed_at,
            signature: Signature65::default(),
        };
        document.signature = identity.sign_hash(domain.signing_hash(&document.message()));
        document
    }

    fn message(&self) -> SmsKeys {
        let retired = self.retired.iter().map(|retired| RetiredKey {
            sealingKey: retired.key,
            issuedAt: retired.issued_at,
            retiredAt: retired.retired_at,
            opensUntil: retired.opens_until,
        });
        SmsKeys {
            sealingKey: self.sealing.key,
            issuedAt: self.sealing.issued_at,
            retired: retired.collect(),
            tokenKey: self.token.thumbprint(),
            signedAt: self.signed_at,
        }
    }

    /// Trusts the keys if the pinned identity certified them for this deployment, not long before `now`.
    ///
    /// # Errors
    ///
    /// If the deployment or the identity is another, the signature is not the identity's over these very keys, or it is older
    /// than [`MAX_AGE`].
    pub fn verify(
        &self,
        pinned: Address,
        domain: &Domain,
        now: u64,
    ) -> Result<TrustedKeys, KeysError> {
        if self.chain_id != domain.chain_id || self.asset_registry != domain.asset_registry {
            return Err(KeysError::WrongDeployment {
                chain_id: self.chain_id,
                asset_registry: self.asset_registry,
            });
        }
        if self.identity != pinned {
            return Err(KeysError::WrongIdentity { pinned, got: self.identity });
        }
        let got = recover(domain.signing_hash(&self.message()), &self.signature)?;
        if got != pinned {
            return Err(KeysError::WrongIdentity { pinned, got });
        }
        let allowed = now.saturating_sub(MAX_AGE)..=now.saturating_add(MAX_SKEW);
        if !allowed.contains(&self.signed_at) {
            return Err(KeysError::Stale { signed_at: self.signed_at, now });
        }
        Ok(TrustedKeys {
            identity: pinned,
            sealing: self.sealing.key,
            token: self.token.clone(),
            issued_at: self.sealing.issued_at,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{jwe::EnclaveKey, jwk::ES256};

    const DOMAIN: Domain = Domain { chain_id: 31337, asset_registry: Address::repeat_byte(0x11) };

    fn token() -> Jwk {
        Jwk::new(*EnclaveKey::random().public().p256().unwrap(), ES256)
    }

    const NOW: u64 = 1_800_000_000;

    fn certified() -> (Signer, KeysDocument) {
        let identity = Signer::random();
        let sealing = SealingPublicKey { key: B256::repeat_byte(5), issued_at: NOW - 10 };
        let retired = RetiredSealingKey {
            key: B256::repeat_byte(4),
            issued_at: NOW - 20,
            retired_at: NOW - 10,
            opens_until: NOW,
        };
        let document =
            KeysDocument::certify(&DOMAIN, &identity, sealing, vec![retired], token(), NOW);
        (identity, document)
    }

    #[test]
    fn certified_keys_are_trusted_by_who_pinned_the_identity() {
        let (identity, document) = certified();
        let json = serde_json::to_string(&document).unwrap();
        let document: KeysDocument = serde_json::from_str(&json).unwrap();
        let keys = document.verify(identity.address(), &DOMAIN, NOW).unwrap();
        assert_eq!((keys.identity(), keys.sealing()), (identity.address(), document.sealing.key));
        assert_eq!((keys.token(), keys.issued_at()), (&document.token, NOW - 10));
    }

    #[test]
    fn every_altered_field_is_refused() {
        let (identity, document) = certified();
        let pinned = identity.address();
        let alter: [fn(&mut KeysDocument); 10] = [
            |document| document.signed_at += 1,
            |document| document.retired.clear(),
            |document| document.retired[0].key = B256::ZERO,
            |document| document.retired[0].issued_at += 1,
            |document| document.retired[0].retired_at += 1,
            |document| document.retired[0].opens_until += 1,
            |document| document.sealing.key = B256::ZERO,
            |document| document.sealing.issued_at += 1,
            |document| document.token = token(),
            |document| document.identity = Address::ZERO,
        ];
        for alter in alter {
            let mut altered = document.clone();
            alter(&mut altered);
            let refused = altered.verify(pinned, &DOMAIN, NOW);
            assert!(matches!(refused, Err(KeysError::WrongIdentity { .. })), "{refused:?}");
        }
    }

    /// Who shows an owner yesterday's answer could have them seal to a key that was stolen and retired since.
    #[test]
    fn an_old_document_is_refused() {
        let (identity, document) = certified();
        let verify = |now| document.verify(identity.address(), &DOMAIN, now);
        for now in [NOW - MAX_SKEW, NOW, NOW + MAX_AGE] {
            assert!(verify(now).is_ok(), "{now}");
        }
        for now in [0, NOW - MAX_SKEW - 1, NOW + MAX_AGE + 1, u64::MAX] {
            assert_eq!(verify(now), Err(KeysError::Stale { signed_at: NOW, now }));
        }
    }

    #[test]
    fn another_identity_or_deployment_is_refused() {
        let (identity, document) = certified();
        let stranger = Signer::random().address();
        let refused = document.verify(stranger, &DOMAIN, NOW);
        assert_eq!(
            refused,
            Err(KeysError::WrongIdentity { pinned: stranger, got: identity.address() })
        );
        for other in
            [Domain { chain_id: 1, ..DOMAIN }, Domain { asset_registry: Address::ZERO, ..DOMAIN }]
        {
            let refused = document.verify(identity.address(), &other, NOW);
            assert!(matches!(refused, Err(KeysError::WrongDeployment { .. })), "{refused:?}");
            // Relabelled to fit, the signature is somebody else's.
            let relabelled = KeysDocument {
                chain_id: other.chain_id,
                asset_registry: other.asset_registry,
                ..document.clone()
            };
            let refused = relabelled.verify(identity.address(), &other, NOW);
            assert!(matches!(refused, Err(KeysError::WrongIdentity { .. })), "{refused:?}");
        }
    }

    #[test]
    fn a_malformed_signature_is_refused_by_name() {
        let (identity, mut document) = certified();
        document.signature[64] = 99;
        let refused = document.verify(identity.address(), &DOMAIN, NOW);
        assert_eq!(refused, Err(KeysError::Signature(SignatureError::BadRecoveryId(99))));
    }
}
