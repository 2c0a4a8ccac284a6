//! The manifest that the deployment script writes.

use std::{path::Path, str::FromStr};

use alloy::primitives::Address;
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
}

impl Deployment {
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
        let deployment = Deployment {
            chain_id: 31337,
            first_block: 1,
            asset_registry: Address::repeat_byte(1),
            enclave_whitelist: Address::repeat_byte(2),
            task_registry: Address::repeat_byte(3),
        };
        let text = serde_json::to_string(&deployment).unwrap();
        assert!(text.contains("\"chainId\":31337") && text.contains("\"assetRegistry\""));
        assert_eq!(text.parse::<Deployment>().unwrap(), deployment);
        assert!(matches!("{}".parse::<Deployment>(), Err(DeploymentError::Malformed(_))));
    }
}
