//! Secrets as iExec's clients know them. They belong to an address and stay through a sale, whoever owns that address's asset.

use std::{fmt, str::FromStr};

use alloy_primitives::{Address, B256, hex};

use crate::{ParseIdError, SecretName, TaskId};

/// The longest name of a [`IexecSecret::Web2`], in bytes.
pub const MAX_WEB2_NAME: usize = 255;

/// A secret that iExec's clients push, or that the service makes for them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IexecSecret {
    /// The key of a dataset ("web3").
    Dataset(Address),
    /// The secret of an app's developer.
    App(Address),
    /// A named secret of a requester, for tasks that say so.
    Requester(Address, SecretName),
    /// A named secret of anybody's, such as a token of a storage ("web2").
    Web2(Address, Web2Name),
    /// The key that a task's enclave signs its result with.
    Challenge(TaskId),
    /// No secret: that a signature with this Keccak-256 replaced a [`Self::Web2`] once, and does so no more.
    Spent(B256),
}

/// The name of a [`IexecSecret::Web2`]: any text of at most 255 bytes, without case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Web2Name(String);

impl Web2Name {
    /// The name in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Web2Name {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let name = text.to_lowercase();
        if name.len() <= MAX_WEB2_NAME { Ok(Self(name)) } else { Err(ParseIdError::NotAWeb2Name) }
    }
}

impl fmt::Display for IexecSecret {
    /// `iexec/…`; a web2 name, which may be any text, in hexadecimal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("iexec/")?;
        match self {
            Self::Dataset(address) => write!(f, "datasets/{}", lower(*address)),
            Self::App(address) => write!(f, "apps/{}", lower(*address)),
            Self::Requester(address, name) => write!(f, "requesters/{}/{name}", lower(*address)),
            Self::Web2(address, name) => {
                write!(f, "web2/{}/{}", lower(*address), hex::encode(name.as_str()))
            }
            Self::Challenge(task) => write!(f, "challenges/{task}"),
            Self::Spent(signature) => write!(f, "spent/{signature}"),
        }
    }
}

fn lower(address: Address) -> String {
    address.to_string().to_lowercase()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::SecretId;

    #[test]
    fn each_has_one_path() {
        let (who, word) = (Address::repeat_byte(0xab), B256::repeat_byte(0xcd));
        let all = [
            (IexecSecret::Dataset(who), "iexec/datasets/0xabab"),
            (IexecSecret::App(who), "iexec/apps/0xabab"),
            (IexecSecret::Requester(who, "My-key".parse().unwrap()), "iexec/requesters/0xabab"),
            (IexecSecret::Web2(who, "A/é token".parse().unwrap()), "iexec/web2/0xabab"),
            (IexecSecret::Web2(who, "".parse().unwrap()), "iexec/web2/0xabab"),
            (IexecSecret::Web2(who, "4".parse().unwrap()), "iexec/web2/0xabab"),
            (IexecSecret::Web2(who, "a/e".parse().unwrap()), "iexec/web2/0xabab"),
            (IexecSecret::Challenge(TaskId(word)), "iexec/challenges/0xcdcd"),
            (IexecSecret::Spent(word), "iexec/spent/0xcdcd"),
        ];
        let mut seen = BTreeSet::new();
        for (secret, beginning) in all {
            let path = secret.to_string();
            assert!(path.starts_with(beginning), "{path}");
            assert!(seen.insert(path.clone()), "{path} is another's");
            assert!(path.parse::<SecretId>().is_err(), "the owner surface serves none of them");
        }
    }

    #[test]
    fn a_web2_name_has_no_case_and_an_end() {
        let name = |text: &str| text.parse::<Web2Name>();
        assert_eq!(name("iExec-Result-Token"), name("IEXEC-RESULT-TOKEN"));
        assert_eq!(name("É").unwrap().as_str(), "é");
        assert!(name(&"x".repeat(MAX_WEB2_NAME)).is_ok());
        assert_eq!(name(&"x".repeat(MAX_WEB2_NAME + 1)), Err(ParseIdError::NotAWeb2Name));
        // Longer in lower case than as it was written.
        assert_eq!(name(&"İ".repeat(127)), Err(ParseIdError::NotAWeb2Name));
    }
}
