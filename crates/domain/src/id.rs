//! Identifiers, each with one parser.

use std::{fmt, str::FromStr};

use alloy_primitives::{Address, B256, U256};

use crate::IexecSecret;

/// A text or number is not the identifier it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseIdError {
    /// Not `0x` and 64 hexadecimal digits.
    #[error("expected 0x and 64 hexadecimal digits")]
    NotBytes32,
    /// Not 1 to 64 characters of `0-9A-Za-z_-`.
    #[error("a secret's name is 1 to 64 characters of 0-9 A-Z a-z _ -")]
    NotAName,
    /// Not `bundle/all`, `app-secret/1`, `requester-secret/<index>` or `protected-data/<n>`.
    #[error(
        "expected bundle/all, app-secret/1, requester-secret/<index from 1> or protected-data/<n from 1>"
    )]
    NotAResource,
    /// Not `assets/<asset>/secret` or `requesters/<address>/secrets/<name>`.
    #[error("expected assets/<asset>/secret or requesters/<address>/secrets/<name>")]
    NotASecret,
    /// Longer than 255 bytes.
    #[error("the name of a web2 secret has at most 255 bytes")]
    NotAWeb2Name,
    /// Not a kind of asset that the registry knows.
    #[error("kind {0} is no kind of asset")]
    NotAKind(u8),
}

macro_rules! bytes32_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub B256);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                // The length too, since hexadecimal text is read with a prefix of its own.
                let digits = text.strip_prefix("0x").filter(|digits| digits.len() == 64);
                let digits = digits.ok_or(ParseIdError::NotBytes32)?;
                digits.parse().map(Self).map_err(|_| ParseIdError::NotBytes32)
            }
        }
    };
}

bytes32_id! {
    /// An app or a protected data: the ERC-721 token id, big-endian.
    AssetId
}
bytes32_id! {
    /// One purchased run.
    TaskId
}
bytes32_id! {
    /// `keccak256(abi.encode(uint8 teeKind, bytes measurement))`; see [`crate::enclave_id`].
    EnclaveId
}

impl From<U256> for AssetId {
    fn from(id: U256) -> Self {
        Self(B256::from(id))
    }
}

impl From<Address> for AssetId {
    /// PoCo's assets are contracts: the token id is the address.
    fn from(address: Address) -> Self {
        Self(address.into_word())
    }
}

impl AssetId {
    /// The id as the contracts write it.
    #[must_use]
    pub fn to_u256(self) -> U256 {
        self.0.into()
    }

    /// The address of an asset that is a contract; none if the id is no address.
    #[must_use]
    pub fn address(self) -> Option<Address> {
        let (padding, address) = self.0.split_at(12);
        padding.iter().all(|byte| *byte == 0).then(|| Address::from_slice(address))
    }
}

/// The name of a requester's secret: 1 to 64 characters of `0-9A-Za-z_-`. Public on the chain.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretName(String);

impl SecretName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SecretName {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let valid = (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        if valid { Ok(Self(text.to_owned())) } else { Err(ParseIdError::NotAName) }
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which secret, whoever owns it now.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SecretId {
    /// The secret of an app, or the key of a protected data.
    Asset(AssetId),
    /// A named secret of a requester, linked to no app.
    Requester(Address, SecretName),
    /// One that iExec's clients push.
    Iexec(IexecSecret),
}

impl fmt::Display for SecretId {
    /// The path under `/v1` at which the owner surface serves the secret. Those of iExec's clients are not served there, and have
    /// paths that begin with `iexec/`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asset(asset) => write!(f, "assets/{asset}/secret"),
            Self::Requester(address, name) => {
                write!(f, "requesters/{}/secrets/{name}", address.to_string().to_lowercase())
            }
            Self::Iexec(secret) => secret.fmt(f),
        }
    }
}

impl FromStr for SecretId {
    type Err = ParseIdError;

    /// Reads the path that [`fmt::Display`] writes, of secrets that the owner surface serves.
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let parts: Vec<&str> = text.split('/').collect();
        let id = match parts.as_slice() {
            ["assets", asset, "secret"] => Self::Asset(asset.parse()?),
            ["requesters", address, "secrets", name] => {
                let address = address.parse().map_err(|_| ParseIdError::NotASecret)?;
                Self::Requester(address, name.parse()?)
            }
            _ => return Err(ParseIdError::NotASecret),
        };
        if id.to_string() == text { Ok(id) } else { Err(ParseIdError::NotASecret) }
    }
}

/// A block by number and hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct BlockRef {
    /// Height.
    pub number: u64,
    /// Hash of the header.
    pub hash: B256,
}

impl fmt::Display for BlockRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.number, self.hash)
    }
}

/// What the mirror keeps of a block's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Block {
    /// Height.
    pub number: u64,
    /// Hash of the header.
    pub hash: B256,
    /// Hash of the parent's header.
    pub parent: B256,
    /// Seconds since 1970.
    pub timestamp: u64,
}

impl Block {
    /// Number and hash alone.
    #[must_use]
    pub const fn as_ref(&self) -> BlockRef {
        BlockRef { number: self.number, hash: self.hash }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_parse_only_from_prefixed_32_bytes() {
        let text = format!("0x{}", "ab".repeat(32));
        assert_eq!(text.parse::<TaskId>().unwrap().to_string(), text);
        for bad in ["", "0x", "ab", &"ab".repeat(32), "0xzz", &format!("0x{}", "ab".repeat(33))] {
            assert_eq!(bad.parse::<TaskId>(), Err(ParseIdError::NotBytes32), "{bad}");
        }
    }

    #[test]
    fn a_second_prefix_makes_no_id() {
        for bad in [format!("0x0x{}", "ab".repeat(32)), format!("0x0x{}", "ab".repeat(31))] {
            assert_eq!(bad.parse::<TaskId>(), Err(ParseIdError::NotBytes32), "{bad}");
        }
    }

    #[test]
    fn an_asset_that_is_a_contract_has_its_address_and_no_other_asset_has_one() {
        let address = Address::repeat_byte(0xab);
        assert_eq!(AssetId::from(address).to_u256(), U256::from_be_slice(address.as_slice()));
        assert_eq!(AssetId::from(address).address(), Some(address));
        assert_eq!(AssetId::default().address(), Some(Address::ZERO));
        for byte in 0..12 {
            let mut id = AssetId::from(address);
            id.0.0[byte] = 1;
            assert_eq!(id.address(), None, "{byte}");
        }
    }

    #[test]
    fn secrets_have_one_path() {
        let name = "a-b_9".parse().unwrap();
        let ids = [
            SecretId::Asset(AssetId(B256::repeat_byte(0xab))),
            SecretId::Requester(Address::repeat_byte(0xcd), name),
        ];
        for id in ids {
            let path = id.to_string();
            assert_eq!(path.parse::<SecretId>().unwrap(), id);
            for bad in [path.to_uppercase(), format!("{path}/"), path.replace("0x", "")] {
                assert!(bad.parse::<SecretId>().is_err(), "{bad}");
            }
        }
    }

    #[test]
    fn names_are_short_and_plain() {
        for good in ["a", "A-b_9", &"x".repeat(64)] {
            assert!(good.parse::<SecretName>().is_ok(), "{good}");
        }
        for bad in ["", "a b", "é", "a/b", "a.b", &"x".repeat(65)] {
            assert_eq!(bad.parse::<SecretName>(), Err(ParseIdError::NotAName), "{bad}");
        }
    }
}
