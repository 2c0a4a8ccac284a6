//! The decision's input: what one view says about one task and what it asks for.

use std::{fmt, str::FromStr, sync::Arc};

use crate::{Asset, AssetId, Authorization, Block, ParseIdError, Task};

/// What an enclave may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// Everything that the task declares, all or nothing.
    Bundle,
    /// The app developer's secret.
    AppSecret,
    /// The requester's secret of this index, from 1.
    RequesterSecret(u32),
    /// The key of protected data number n, from 1.
    ProtectedData(u32),
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bundle => f.write_str("bundle/all"),
            Self::AppSecret => f.write_str("app-secret/1"),
            Self::RequesterSecret(index) => write!(f, "requester-secret/{index}"),
            Self::ProtectedData(n) => write!(f, "protected-data/{n}"),
        }
    }
}

impl FromStr for Resource {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let number = |digits: &str| {
            let canonical = !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit());
            digits.parse::<u32>().ok().filter(|_| canonical).ok_or(ParseIdError::NotAResource)
        };
        match text.split_once('/') {
            Some(("bundle", "all")) => Ok(Self::Bundle),
            Some(("app-secret", "1")) => Ok(Self::AppSecret),
            Some(("requester-secret", index)) => number(index).map(Self::RequesterSecret),
            Some(("protected-data", n)) => number(n).map(Self::ProtectedData),
            _ => Err(ParseIdError::NotAResource),
        }
    }
}

/// An asset of the task beside its owner's word about the enclave in question.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// Which asset.
    pub id: AssetId,
    /// The asset, if the view knows it.
    pub asset: Option<Asset>,
    /// The authorization of (asset, enclave in question), if there is one.
    pub authorization: Option<Authorization>,
}

/// What one view says about one task, for one enclave.
///
/// `data` holds the protected data that the question is about: all of the task's for [`Resource::Bundle`], one or none
/// otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// The block after which this holds.
    pub at: Block,
    /// The newest block that wrote any of these facts.
    pub changed_at: u64,
    /// The task, if the view knows it.
    pub task: Option<Arc<Task>>,
    /// The task's app.
    pub app: Standing,
    /// Protected data by number, from 1.
    pub data: Vec<(u32, Standing)>,
}

impl Facts {
    /// Protected data number `n`.
    #[must_use]
    pub fn data(&self, n: u32) -> Option<&Standing> {
        self.data.iter().find(|(number, _)| *number == n).map(|(_, standing)| standing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_have_one_spelling() {
        for good in ["bundle/all", "app-secret/1", "requester-secret/32", "protected-data/1"] {
            assert_eq!(good.parse::<Resource>().unwrap().to_string(), good);
        }
        for bad in
            ["", "bundle", "bundle/1", "app-secret/2", "requester-secret/0", "protected-data/01"]
        {
            assert_eq!(bad.parse::<Resource>(), Err(ParseIdError::NotAResource), "{bad}");
        }
        assert!("protected-data/+1".parse::<Resource>().is_err());
    }
}
