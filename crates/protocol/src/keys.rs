//! `GET /v1/keys`: the keys that the SMS works with, certified by its identity.

use alloy_primitives::{Address, B256};
use serde::{Deserialize, Serialize};

use crate::{
    jwk::Jwk,
    signature::{Signature65, SignatureError, Signer, recover},
    typed::{Domain, SmsKeys},
};

/// The keys document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// The P-256 key that signs attestation tokens.
    pub token: Jwk,
    /// The identity's signature over [`SmsKeys`].
    pub signature: Signature65,
}

/// The X25519 key that owners seal to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SealingPublicKey {
    /// The key, 32 bytes.
    pub key: B256,
    /// When it was certified, seconds since 1970.
    pub issued_at: u64,
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

    /// When they were certified, seconds since 1970.
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
        sealing: B256,
        token: Jwk,
        issued_at: u64,
    ) -> Self {
        let message =
            SmsKeys { sealingKey: sealing, tokenKey: token.thumbprint(), issuedAt: issued_at };
        Self {
            chain_id: domain.chain_id,
            asset_registry: domain.asset_registry,
            identity: identity.address(),
            sealing: SealingPublicKey { key: sealing, issued_at },
            token,
            signature: identity.sign_hash(domain.signing_hash(&message)),
        }
    }

    /// Trusts the keys if the pinned identity certified them for this deployment.
    ///
    /// # Errors
    ///
    /// If the deployment or the identity is another, or the signature is not the identity's over these very keys.
    pub fn verify(&self, pinned: Address, domain: &Domain) -> Result<TrustedKeys, KeysError> {
        if self.chain_id != domain.chain_id || self.asset_registry != domain.asset_registry {
            return Err(KeysError::WrongDeployment {
                chain_id: self.chain_id,
                asset_registry: self.asset_registry,
            });
        }
        if self.identity != pinned {
            return Err(KeysError::WrongIdentity { pinned, got: self.identity });
        }
        let message = SmsKeys {
            sealingKey: self.sealing.key,
            tokenKey: self.token.thumbprint(),
            issuedAt: self.sealing.issued_at,
        };
        let got = recover(domain.signing_hash(&message), &self.signature)?;
        if got != pinned {
            return Err(KeysError::WrongIdentity { pinned, got });
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

    fn certified() -> (Signer, KeysDocument) {
        let identity = Signer::random();
        let sealing = B256::repeat_byte(5);
        let document = KeysDocument::certify(&DOMAIN, &identity, sealing, token(), 1_800_000_000);
        (identity, document)
    }

    #[test]
    fn certified_keys_are_trusted_by_who_pinned_the_identity() {
        let (identity, document) = certified();
        let json = serde_json::to_string(&document).unwrap();
        let document: KeysDocument = serde_json::from_str(&json).unwrap();
        let keys = document.verify(identity.address(), &DOMAIN).unwrap();
        assert_eq!((keys.identity(), keys.sealing()), (identity.address(), document.sealing.key));
        assert_eq!((keys.token(), keys.issued_at()), (&document.token, 1_800_000_000));
    }

    #[test]
    fn every_altered_field_is_refused() {
        let (identity, document) = certified();
        let pinned = identity.address();
        let alter: [fn(&mut KeysDocument); 4] = [
            |document| document.sealing.key = B256::ZERO,
            |document| document.sealing.issued_at += 1,
            |document| document.token = token(),
            |document| document.identity = Address::ZERO,
        ];
        for alter in alter {
            let mut altered = document.clone();
            alter(&mut altered);
            let refused = altered.verify(pinned, &DOMAIN);
            assert!(matches!(refused, Err(KeysError::WrongIdentity { .. })), "{refused:?}");
        }
    }

    #[test]
    fn another_identity_or_deployment_is_refused() {
        let (identity, document) = certified();
        let stranger = Signer::random().address();
        let refused = document.verify(stranger, &DOMAIN);
        assert_eq!(
            refused,
            Err(KeysError::WrongIdentity { pinned: stranger, got: identity.address() })
        );
        for other in
            [Domain { chain_id: 1, ..DOMAIN }, Domain { asset_registry: Address::ZERO, ..DOMAIN }]
        {
            let refused = document.verify(identity.address(), &other);
            assert!(matches!(refused, Err(KeysError::WrongDeployment { .. })), "{refused:?}");
            // Relabelled to fit, the signature is somebody else's.
            let relabelled = KeysDocument {
                chain_id: other.chain_id,
                asset_registry: other.asset_registry,
                ..document.clone()
            };
            let refused = relabelled.verify(identity.address(), &other);
            assert!(matches!(refused, Err(KeysError::WrongIdentity { .. })), "{refused:?}");
        }
    }

    #[test]
    fn a_malformed_signature_is_refused_by_name() {
        let (identity, mut document) = certified();
        document.signature[64] = 99;
        let refused = document.verify(identity.address(), &DOMAIN);
        assert_eq!(refused, Err(KeysError::Signature(SignatureError::BadRecoveryId(99))));
    }
}
