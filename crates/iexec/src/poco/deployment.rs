//! Where PoCo's contracts are.

use std::{path::Path, str::FromStr, sync::Arc};

use alloy::primitives::Address;
use serde::{Deserialize, Serialize};
use sesame_indexer::Family;

use super::Poco;

/// The manifest of PoCo's contracts cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeploymentError {
    /// The file cannot be read.
    #[error("cannot read the manifest of iExec's contracts {path}")]
    Unreadable {
        /// Which file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The text is not a manifest.
    #[error(
        "the manifest of iExec's contracts is malformed: it is a JSON object of chainId, firstBlock, hub, appRegistry, \
         datasetRegistry and workerpoolRegistry, and nothing else"
    )]
    Malformed(#[from] serde_json::Error),
    /// One contract in two places, or none in one.
    #[error("the manifest of iExec's contracts names {0} twice, or where no contract can be")]
    NoContract(Address),
}

/// Where PoCo's contracts are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Deployment {
    /// EIP-155 id of the chain.
    pub chain_id: u64,
    /// The first block that can hold an event of the contracts.
    pub first_block: u64,
    /// Deals, tasks and orders: the proxy (EIP-2535).
    pub hub: Address,
    /// Who owns which app.
    pub app_registry: Address,
    /// Who owns which dataset.
    pub dataset_registry: Address,
    /// Who owns which workerpool.
    pub workerpool_registry: Address,
}

impl Deployment {
    /// The contracts: the hub, and the registries of apps, datasets and workerpools.
    #[must_use]
    pub const fn contracts(&self) -> [Address; 4] {
        [self.hub, self.app_registry, self.dataset_registry, self.workerpool_registry]
    }

    /// The contracts as a mirror follows them.
    #[must_use]
    pub fn family(&self) -> Family {
        Family::Adapted(Arc::new(Poco::new(*self)))
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
        let deployment: Self = serde_json::from_str(text)?;
        let mut seen = vec![Address::ZERO];
        for contract in deployment.contracts() {
            if seen.contains(&contract) {
                return Err(DeploymentError::NoContract(contract));
            }
            seen.push(contract);
        }
        Ok(deployment)
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    const ARBITRUM: &str = r#"{
        "chainId": 42161,
        "firstBlock": 363864242,
        "hub": "0x098bFCb1E50ebcA0BaA92C12eA0c3F045A1aD9f0",
        "appRegistry": "0x9950D94fb074182ee93ff79A50Cd698C4983281F",
        "datasetRegistry": "0x07Cc4E1EA30dD02796795876509A3BfC5053128D",
        "workerpoolRegistry": "0xe3c13bb4A5068601c6A08041Cb50887B07B5F398"
    }"#;

    #[test]
    fn a_manifest_is_read_and_comes_back() {
        let deployment: Deployment = ARBITRUM.parse().unwrap();
        assert_eq!((deployment.chain_id, deployment.first_block), (42161, 363_864_242));
        let [hub, apps, datasets, workerpools] = deployment.contracts();
        assert!(hub.to_string().starts_with("0x098b") && apps.to_string().starts_with("0x9950"));
        assert_eq!(datasets, deployment.dataset_registry);
        assert_eq!(workerpools, deployment.workerpool_registry);
        let text = serde_json::to_string(&deployment).unwrap();
        assert_eq!(text.parse::<Deployment>().unwrap(), deployment);
    }

    #[test]
    fn what_is_no_manifest_is_told_by_its_place() {
        for (from, to, told) in [
            (r#""hub""#, r#""hubAddress""#, "unknown field `hubAddress`"),
            (r#""chainId": 42161,"#, "", "missing field `chainId`"),
            (r#""chainId": 42161"#, r#""chainId": -1"#, "invalid value"),
            ("0x098bFCb1E50ebcA0BaA92C12eA0c3F045A1aD9f0", "0x098b", "invalid"),
            (r#""hub""#, r#""hub": "", "hub""#, "line"),
            ("}", "", "EOF"),
        ] {
            let refused = ARBITRUM.replacen(from, to, 1).parse::<Deployment>().unwrap_err();
            assert!(matches!(refused, DeploymentError::Malformed(_)), "{to}: {refused}");
            let source = refused.source().unwrap().to_string();
            assert!(source.contains(told), "{to}: {source}");
        }
    }

    #[test]
    fn one_contract_is_not_two_and_zero_is_none() {
        let apps = "0x9950D94fb074182ee93ff79A50Cd698C4983281F";
        let zero = Address::ZERO.to_string();
        for to in ["0x098bFCb1E50ebcA0BaA92C12eA0c3F045A1aD9f0", &zero] {
            let refused = ARBITRUM.replace(apps, to).parse::<Deployment>().unwrap_err();
            assert!(matches!(refused, DeploymentError::NoContract(_)), "{refused}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_told_by_its_path() {
        let refused = Deployment::read(Path::new("/nowhere/iexec.json")).unwrap_err();
        assert!(refused.to_string().contains("/nowhere/iexec.json"), "{refused}");
    }
}
