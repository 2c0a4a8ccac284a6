//! How secrets, versions and headers are spelt in every store.
//!
//! A secret is 1 ‖ asset (32), or 2 ‖ requester (20) ‖ length of the name (1) ‖ name, or 3 ‖ one of iExec's. These are 1 ‖ dataset
//! (20), 2 ‖ app (20), 3 ‖ requester (20) ‖ length of the name (1) ‖ name, 4 ‖ owner (20) ‖ length of the name (1) ‖ name, 5 ‖ task
//! (32), 6 ‖ hash of a signature (32). A key is a secret ‖ !version (8), so that the newest version comes first. A record is a header
//! (RLP) after the byte 1, or the byte 0 for a tombstone.

use std::str::FromStr;

use alloy_primitives::{Address, B256};
use alloy_rlp::Decodable;
use sesame_domain::{AssetId, IexecSecret, SecretId, TaskId};

use crate::{error::VaultError, record::Header};

const ASSET: u8 = 1;
const REQUESTER: u8 = 2;
const IEXEC: u8 = 3;

/// Kinds of iExec's.
const DATASET: u8 = 1;
const APP: u8 = 2;
const OF_REQUESTER: u8 = 3;
const WEB2: u8 = 4;
const CHALLENGE: u8 = 5;
const SPENT: u8 = 6;

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
        SecretId::Requester(address, name) => named(&[REQUESTER], *address, name.as_str()),
        SecretId::Iexec(secret) => iexec(secret),
    }
}

fn iexec(secret: &IexecSecret) -> Vec<u8> {
    let of = |kind: u8, rest: &[u8]| [[IEXEC, kind].as_slice(), rest].concat();
    match secret {
        IexecSecret::Dataset(address) => of(DATASET, address.as_slice()),
        IexecSecret::App(address) => of(APP, address.as_slice()),
        IexecSecret::Requester(address, name) => {
            named(&[IEXEC, OF_REQUESTER], *address, name.as_str())
        }
        IexecSecret::Web2(address, name) => named(&[IEXEC, WEB2], *address, name.as_str()),
        IexecSecret::Challenge(task) => of(CHALLENGE, task.0.as_slice()),
        IexecSecret::Spent(signature) => of(SPENT, signature.as_slice()),
    }
}

fn named(kind: &[u8], owner: Address, name: &str) -> Vec<u8> {
    let length = u8::try_from(name.len()).expect("no name has more than 255 bytes");
    [kind, owner.as_slice(), &[length], name.as_bytes()].concat()
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
            let (address, name) = parse_named(rest)?;
            Ok(SecretId::Requester(address, name))
        }
        [IEXEC, kind, rest @ ..] => parse_iexec(*kind, rest).map(SecretId::Iexec),
        _ => Err(VaultError::Damaged),
    }
}

fn parse_iexec(kind: u8, rest: &[u8]) -> Result<IexecSecret, VaultError> {
    let address = || Address::try_from(rest).map_err(|_| VaultError::Damaged);
    let word = || B256::try_from(rest).map_err(|_| VaultError::Damaged);
    match kind {
        DATASET => Ok(IexecSecret::Dataset(address()?)),
        APP => Ok(IexecSecret::App(address()?)),
        OF_REQUESTER => parse_named(rest).map(|(owner, name)| IexecSecret::Requester(owner, name)),
        WEB2 => parse_named(rest).map(|(owner, name)| IexecSecret::Web2(owner, name)),
        CHALLENGE => Ok(IexecSecret::Challenge(TaskId(word()?))),
        SPENT => Ok(IexecSecret::Spent(word()?)),
        _ => Err(VaultError::Damaged),
    }
}

fn parse_named<N: FromStr>(bytes: &[u8]) -> Result<(Address, N), VaultError> {
    let (address, name) = bytes.split_first_chunk::<20>().ok_or(VaultError::Damaged)?;
    let (length, name) = name.split_first().ok_or(VaultError::Damaged)?;
    if usize::from(*length) != name.len() {
        return Err(VaultError::Damaged);
    }
    let name = std::str::from_utf8(name).map_err(|_| VaultError::Damaged)?;
    Ok((Address::from(*address), name.parse().map_err(|_| VaultError::Damaged)?))
}

pub(crate) fn key(of: &SecretId, version: u64) -> Vec<u8> {
    [secret(of), (!version).to_be_bytes().to_vec()].concat()
}

/// Which version of which secret a key is about.
pub(crate) fn parse_key(key: &[u8]) -> Result<(SecretId, u64), VaultError> {
    let (secret, version) = key.split_last_chunk::<8>().ok_or(VaultError::Damaged)?;
    Ok((parse_secret(secret)?, !u64::from_be_bytes(*version)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<SecretId> {
        let (who, word) = (Address::repeat_byte(0xab), B256::repeat_byte(0xcd));
        let iexec = [
            IexecSecret::Dataset(who),
            IexecSecret::App(who),
            IexecSecret::Requester(who, "a".parse().unwrap()),
            IexecSecret::Requester(who, "ab".parse().unwrap()),
            IexecSecret::Web2(who, "a".parse().unwrap()),
            IexecSecret::Web2(who, "".parse().unwrap()),
            IexecSecret::Web2(who, "é".repeat(127).parse().unwrap()),
            IexecSecret::Challenge(TaskId(word)),
            IexecSecret::Spent(word),
        ];
        let native = [
            SecretId::Asset(AssetId(word)),
            SecretId::Requester(who, "a".parse().unwrap()),
            SecretId::Requester(who, "x".repeat(64).parse().unwrap()),
        ];
        native.into_iter().chain(iexec.map(SecretId::Iexec)).collect()
    }

    #[test]
    fn every_secret_comes_back_and_none_begins_another() {
        let all = all();
        for id in &all {
            let spelt = secret(id);
            assert_eq!(parse_secret(&spelt).unwrap(), *id);
            assert_eq!(parse_key(&key(id, 7)).unwrap(), (id.clone(), 7));
            for other in all.iter().filter(|other| *other != id) {
                assert!(!secret(other).starts_with(&spelt), "{other} begins with {id}");
            }
            for end in 0..spelt.len() {
                assert!(parse_secret(&spelt[..end]).is_err(), "{id} cut off at {end}");
            }
            assert!(parse_secret(&[&spelt[..], &[0]].concat()).is_err(), "{id} with more");
        }
    }

    #[test]
    fn what_is_spelt_otherwise_is_damaged() {
        let who = [0xab; 20];
        for bad in [
            vec![],
            vec![4],
            [&[IEXEC, 7][..], &who].concat(),
            // A name that is none, and one that is not in lower case.
            [&[IEXEC, OF_REQUESTER][..], &who, b"\x03a b"].concat(),
            [&[IEXEC, WEB2][..], &who, b"\x01\xff"].concat(),
        ] {
            assert!(parse_secret(&bad).is_err(), "{bad:?}");
        }
    }
}
