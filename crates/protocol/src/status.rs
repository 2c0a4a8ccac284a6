//! `GET /v1/status`: what the SMS follows, how far it is, and what its word rests on.

use alloy_primitives::{Address, B256};
use serde::{Deserialize, Serialize};
use sesame_domain::{Block, BlockRef};

/// The status document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The version of the service.
    pub version: String,
    /// The chain that it follows.
    pub chain_id: u64,
    /// The registries that it follows.
    pub contracts: Contracts,
    /// The SMS identity: what owners pin and orders name.
    pub identity: Address,
    /// Whether it releases secrets.
    pub state: State,
    /// Why it does not; absent when ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The newest block followed; absent before the first.
    pub head: Option<BlockBody>,
    /// The newest block that grants may rest on; absent before the first.
    pub confirmed: Option<BlockBody>,
    /// The newest block at which the chain's own journals proved the mirror; absent before the first proof.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_proof: Option<BlockBody>,
    /// How many blocks the mirror is behind the chain's head.
    pub lag_blocks: u64,
    /// Seconds since the head's timestamp; absent before the first block.
    pub head_age_seconds: Option<u64>,
    /// How many nodes would have to lie together.
    pub trust: Trust,
    /// Whether evidence of the simulated TEE is accepted: never on a service that keeps real secrets.
    pub simulated_tee: bool,
    /// The most seconds that pass between a revocation's block and the refusal of what it revokes, even when the node shows an
    /// old head as if it were the newest.
    pub revocation_bound_seconds: u64,
    /// The same when the node falls silent.
    pub silence_bound_seconds: u64,
    /// Seconds since the service was started; absent from services of before this was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uptime_seconds: Option<u64>,
    /// What keeps the sealed secrets; absent as above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault_store: Option<VaultStore>,
    /// What keeps the keys that open them; absent as above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_provider: Option<KeyProvider>,
}

/// The registries of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Contracts {
    /// Who owns what.
    pub asset_registry: Address,
    /// Which enclaves owners let near their assets.
    pub enclave_whitelist: Address,
    /// Which tasks were bought.
    pub task_registry: Address,
}

/// Whether the service releases secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It does.
    Ready,
    /// It reads the chain's history first.
    Backfilling,
    /// Its head is too old.
    Stale,
    /// What it stands on fails: the vault's store, or the key that opens it.
    Failed,
}

/// How many nodes would have to lie together for the service to be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// One.
    SingleNode,
    /// A quorum of several.
    Quorum,
}

/// What keeps sealed secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum VaultStore {
    /// A RocksDB of the service's own.
    Rocksdb,
    /// A PostgreSQL that several services may share.
    Postgres,
}

/// What keeps the key-encryption keys of a vault: where it makes new ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum KeyProvider {
    /// Files.
    File,
    /// The token of a hardware security module.
    Pkcs11,
}

/// A block in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BlockBody {
    /// Height.
    pub number: u64,
    /// Hash of the header.
    pub hash: B256,
    /// Seconds since 1970.
    pub timestamp: u64,
}

impl From<&Block> for BlockBody {
    fn from(block: &Block) -> Self {
        Self { number: block.number, hash: block.hash, timestamp: block.timestamp }
    }
}

/// A block in JSON and CBOR, by number and hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BlockRefBody {
    /// Height.
    pub number: u64,
    /// Hash of the header.
    pub hash: B256,
}

impl From<BlockRef> for BlockRefBody {
    fn from(block: BlockRef) -> Self {
        Self { number: block.number, hash: block.hash }
    }
}

impl From<BlockRefBody> for BlockRef {
    fn from(block: BlockRefBody) -> Self {
        Self { number: block.number, hash: block.hash }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_has_its_golden_form() {
        let golden = include_str!("../../../tests/fixtures/protocol/status.json");
        let status: Status = serde_json::from_str(golden).unwrap();
        assert_eq!((status.state, status.trust), (State::Stale, Trust::SingleNode));
        let kept_in = (status.vault_store, status.key_provider);
        assert_eq!(kept_in, (Some(VaultStore::Postgres), Some(KeyProvider::Pkcs11)));
        let value: serde_json::Value = serde_json::from_str(golden).unwrap();
        assert_eq!(serde_json::to_value(&status).unwrap(), value);
    }

    /// Services of before tell less, later ones more.
    #[test]
    fn what_is_not_told_or_not_known_is_passed_over() {
        let golden = include_str!("../../../tests/fixtures/protocol/status.json");
        let mut value: serde_json::Value = serde_json::from_str(golden).unwrap();
        let fields = value.as_object_mut().unwrap();
        for added in ["uptimeSeconds", "vaultStore", "keyProvider"] {
            fields.remove(added).unwrap();
        }
        fields.insert("moonPhase".to_owned(), 3.into());
        let status: Status = serde_json::from_value(value).unwrap();
        assert_eq!((status.uptime_seconds, status.vault_store), (None, None));
    }

    #[test]
    fn unknown_states_are_refused() {
        for bad in ["\"Ready\"", "\"ok\"", "null", "true"] {
            assert!(serde_json::from_str::<State>(bad).is_err(), "{bad}");
        }
    }
}
