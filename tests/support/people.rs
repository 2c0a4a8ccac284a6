//! People: owners, requesters, workers. Each has one key, for the chain and for the service.

use alloy::{primitives::Address, signers::local::PrivateKeySigner};
use sesame_chain::{Contracts, Deployment};
use sesame_client::owner::{Owner, PushOptions};
use sesame_domain::SecretId;
use sesame_protocol::{owner::SecretMetadata, signature::Signer, typed::Domain};

use crate::now;

/// Somebody with a key.
#[derive(Debug)]
pub struct Person {
    key: [u8; 32],
    /// Their transactions.
    pub chain: Contracts,
    /// Their requests to the service.
    pub owner: Owner,
}

impl Person {
    /// Somebody with this key, who knows the node, the contracts and the service.
    ///
    /// # Panics
    /// When the node does not answer.
    pub async fn new(
        key: [u8; 32],
        node: &str,
        deployment: &Deployment,
        sms: (&str, Address),
    ) -> Self {
        let wallet = PrivateKeySigner::from_slice(&key).expect("anvil's keys are keys");
        let chain = Contracts::connect(node, deployment, wallet).await.expect("the node answers");
        let domain =
            Domain { chain_id: deployment.chain_id, asset_registry: deployment.asset_registry };
        let signer = Signer::from_bytes(&key).expect("anvil's keys are keys");
        let owner = Owner::new(sms.0, domain, sms.1, signer).expect("the service has a URL");
        Self { key, chain, owner }
    }

    /// Who they are.
    #[must_use]
    pub const fn address(&self) -> Address {
        self.chain.account()
    }

    /// Signs as they do.
    ///
    /// # Panics
    /// Never: the key was used before.
    #[must_use]
    pub fn signer(&self) -> Signer {
        Signer::from_bytes(&self.key).expect("the key was used before")
    }

    /// Their key, as the command line takes it from its environment.
    #[must_use]
    pub fn private_key(&self) -> String {
        format!("0x{}", hex::encode(self.key))
    }

    /// One of their own secrets.
    ///
    /// # Panics
    /// When that is no name.
    #[must_use]
    pub fn secret(&self, name: &str) -> SecretId {
        SecretId::Requester(self.address(), name.parse().expect("a name"))
    }

    /// Pushes a new version of a secret, the plain way.
    ///
    /// # Panics
    /// When the service refuses.
    pub async fn push(&self, secret: &SecretId, value: &[u8]) -> SecretMetadata {
        self.push_with(secret, value, &PushOptions::default()).await
    }

    /// Pushes a new version of a secret.
    ///
    /// # Panics
    /// When the service refuses.
    pub async fn push_with(
        &self,
        secret: &SecretId,
        value: &[u8],
        options: &PushOptions,
    ) -> SecretMetadata {
        let pushed = self.owner.push(now(), secret, value, options).await;
        pushed.unwrap_or_else(|error| panic!("{secret} is not taken: {error}"))
    }
}
