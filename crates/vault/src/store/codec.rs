//! How secrets, versions and headers are spelt in every store.
//!
//! A secret is 1 ‖ asset (32), or 2 ‖ requester (20) ‖ length of the name (1) ‖ name. A key is a secret ‖ !version (8), so that the
//! newest version comes first. A record is a header (RLP) after the byte 1, or the byte 0 for a tombstone.

use alloy_primitives::{Address, B256};
use alloy_rlp::Decodable;
use sesame_domain::{AssetId, SecretId, SecretName};

use crate::{error::VaultError, record::Header};

const ASSET: u8 = 1;
const REQUESTER: u8 = 2;

const TOMBSTONE: u8 = 0;
const RECORD: u8 = 1;

pub(crate) fn encode(header: Option<&Header>) -> Vec<u8> {
    let Some(header) = header else { return vec![TOMBSTONE] };
    let mut encoded = vec![RECORD];
    alloy_rlp::Encodable::encode(header, &mut encoded);
    encoded
}

/// None is a tombstone.
pub(crate) fn decode(record: &[u8]) -> Result<Option<Header>, VaultError> {
    match record.split_first() {
        Some((&TOMBSTONE, [])) => Ok(None),
        Some((&RECORD, mut rest)) => match Header::decode(&mut rest) {
            Ok(header) if rest.is_empty() => Ok(Some(header)),
            _ => Err(VaultError::Damaged),
        },
        _ => Err(VaultError::Damaged),
    }
}

pub(crate) fn secret(secret: &SecretId) -> Vec<u8> {
    match secret {
        SecretId::Asset(asset) => [[ASSET].as_slice(), asset.0.as_slice()].concat(),
        SecretId::Requester(address, name) => {
            let name = name.as_str().as_bytes();
            let length = u8::try_from(name.len()).expect("a name has at most 64 bytes");
            [[REQUESTER].as_slice(), address.as_slice(), &[length], name].concat()
        }
        SecretId::Iexec(_) => Vec::new(),
    }
}

/// What the secrets that a requester named begin with, and no others.
pub(crate) fn named_by(requester: Address) -> Vec<u8> {
    [[REQUESTER].as_slice(), requester.as_slice()].concat()
}

pub(crate) fn parse_secret(bytes: &[u8]) -> Result<SecretId, VaultError> {
    match bytes {
        [ASSET, asset @ ..] => {
            let asset = asset.try_into().map_err(|_| VaultError::Damaged)?;
            Ok(SecretId::Asset(AssetId(B256::new(asset))))
        }
        [REQUESTER, rest @ ..] => {
            let (address, name) = rest.split_first_chunk::<20>().ok_or(VaultError::Damaged)?;
            let (length, name) = name.split_first().ok_or(VaultError::Damaged)?;
            let name = std::str::from_utf8(name).map_err(|_| VaultError::Damaged)?;
            let name: SecretName = name.parse().map_err(|_| VaultError::Damaged)?;
            if usize::from(*length) != name.as_str().len() {
                return Err(VaultError::Damaged);
            }
            Ok(SecretId::Requester(Address::from(*address), name))
        }
        _ => Err(VaultError::Damaged),
    }
}

pub(crate) fn key(of: &SecretId, version: u64) -> Vec<u8> {
    [secret(of), (!version).to_be_bytes().to_vec()].concat()
}

/// Which version of which secret a key is about.
pub(crate) fn parse_key(key: &[u8]) -> Result<(SecretId, u64), VaultError> {
    let (secret, version) = key.split_last_chunk::<8>().ok_or(VaultError::Damaged)?;
    Ok((parse_secret(secret)?, !u64::from_be_bytes(*version)))
}
