//! The manifest that the deployment script writes.

use std::{path::Path, str::FromStr};

use alloy::primitives::{Address, B256};
use serde::{Deserialize, Serialize};

/// A deployment's manifest cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeploymentError {
    /// The file cannot be read.
    #[error("cannot read the deployment's manifest {path}")]
    Unreadable {
        /// Which file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The text is not a manifest.
    #[error("the deployment's manifest is malformed")]
    Malformed(#[from] serde_json::Error),
}

/// Where the contracts of one deployment are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deployment {
    /// EIP-155 id of the chain.
    pub chain_id: u64,
    /// The first block that can hold an event of the contracts.
    pub first_block: u64,
    /// Who owns what.
    pub asset_registry: Address,
    /// Which enclaves an owner lets near an asset.
    pub enclave_whitelist: Address,
    /// What was bought.
    pub task_registry: Address,
    /// Which code stands there; a manifest written by hand may leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_hashes: Option<CodeHashes>,
}

/// Keccak-256 of the code at each contract's address. The code holds the chain's id, so that these differ by chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CodeHashes {
    /// Who owns what.
    pub asset_registry: B256,
    /// Which enclaves an owner lets near an asset.
    pub enclave_whitelist: B256,
    /// What was bought.
    pub task_registry: B256,
}

impl Deployment {
    /// The contracts with the hash of the code that each should have, where the manifest says so.
    #[must_use]
    pub fn contracts(&self) -> [(Address, Option<B256>); 3] {
        let hash = |of: fn(&CodeHashes) -> B256| self.code_hashes.as_ref().map(of);
        [
            (self.asset_registry, hash(|hashes| hashes.asset_registry)),
            (self.enclave_whitelist, hash(|hashes| hashes.enclave_whitelist)),
            (self.task_registry, hash(|hashes| hashes.task_registry)),
        ]
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// When the file cannot be read or is not a manifest.
    pub fn read(path: &Path) -> Result<Self, DeploymentError> {
        std::fs::read_to_string(path)
            .map_err(|source| DeploymentError::Unreadable {
                path: path.display().to_string(),
                source,
            })?
            .parse()
    }
}

impl FromStr for Deployment {
    type Err = DeploymentError;

    fn from_str(text: &str) -> Result<Self, DeploymentError> {
        Ok(serde_json::from_str(text)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_comes_back_as_it_went() {
        let mut deployment = Deployment {
            chain_id: 31337,
            first_block: 1,
            asset_registry: Address::repeat_byte(1),
            enclave_whitelist: Address::repeat_byte(2),
            task_registry: Address::repeat_byte(3),
            code_hashes: None,
        };
        let text = serde_json::to_string(&deployment).unwrap();
        assert!(text.contains("\"chainId\":31337") && text.contains("\"assetRegistry\""));
        assert_eq!(text.parse::<Deployment>().unwrap(), deployment);

        assert!(deployment.contracts().iter().all(|(_, hash)| hash.is_none()));
        deployment.code_hashes = Some(CodeHashes {
            asset_registry: B256::repeat_byte(4),
            enclave_whitelist: B256::repeat_byte(5),
            task_registry: B256::repeat_byte(6),
        });
        let text = serde_json::to_string(&deployment).unwrap();
        assert!(text.contains("\"codeHashes\":{\"assetRegistry\""));
        assert_eq!(text.parse::<Deployment>().unwrap(), deployment);
        let third = (deployment.task_registry, Some(B256::repeat_byte(6)));
        assert_eq!(deployment.contracts()[2], third);
        assert!(matches!("{}".parse::<Deployment>(), Err(DeploymentError::Malformed(_))));
    }
}
