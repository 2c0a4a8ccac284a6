//! Sealed records: what lies at rest.

use aes_gcm::{
    Aes256Gcm, Nonce,
    aead::{Aead, KeyInit, Payload},
};
use alloy_primitives::{Address, B256, FixedBytes};
use alloy_rlp::{RlpDecodable, RlpEncodable};
use sesame_domain::SecretId;
use zeroize::Zeroizing;

use crate::{
    error::VaultError,
    keys::{Kek, KeyId, ring::Ring},
    secret::Plaintext,
};

const TAG: &[u8] = b"sesame vault record v1";

/// How records are kept; the first way was not numbered.
const FORMAT: u8 = 2;

/// What is known of a stored secret without opening it.
#[derive(Debug, Clone, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub struct Metadata {
    /// Who pushed it.
    pub owner: Address,
    /// The asset's epoch in which it was pushed; 0 for a requester's.
    pub epoch: u64,
    /// Rises by one with every write.
    pub version: u64,
    /// Whether it goes with the asset when that is sold.
    pub transferable: bool,
    /// For a protected data's key: the content that it opens.
    pub content_digest: B256,
    /// Keccak-256 of the sealed body that it came in; of the signature for one of iExec's, which come in the clear.
    pub sealed_digest: B256,
    /// Seconds since 1970.
    pub updated_at: u64,
    /// Bytes of the secret.
    pub size: u64,
}

/// The vault that a record belongs to: EIP-155 chain id and asset registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Home {
    pub(crate) chain_id: u64,
    pub(crate) registry: Address,
}

impl Home {
    /// As the store remembers it: format (1) ‖ chain id (8) ‖ registry (20).
    pub(crate) fn origin(self) -> Vec<u8> {
        [[FORMAT].as_slice(), &self.chain_id.to_be_bytes(), self.registry.as_slice()].concat()
    }

    /// Whether `origin` is this one.
    ///
    /// # Errors
    /// [`VaultError::OldFormat`], [`VaultError::NewerFormat`] or [`VaultError::OtherOrigin`] if it is not.
    pub(crate) fn check(self, origin: &[u8]) -> Result<(), VaultError> {
        let ours = self.origin();
        let (ours, unnumbered) = (ours.as_slice(), ours.get(1..).unwrap_or_default());
        match origin {
            origin if origin == ours => Ok(()),
            origin if origin == unnumbered => Err(VaultError::OldFormat),
            [format, rest @ ..] if rest == unnumbered && *format > FORMAT => {
                Err(VaultError::NewerFormat { found: *format, known: FORMAT })
            }
            _ => Err(VaultError::OtherOrigin),
        }
    }
}

/// The part of a record that is read without the value.
#[derive(Debug, Clone, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub(crate) struct Header {
    pub(crate) metadata: Metadata,
    /// Which key-encryption key the data key is under.
    key: FixedBytes<8>,
    /// The data key under it: nonce (12) ‖ ciphertext ‖ tag.
    wrapped_key: Vec<u8>,
}

/// Everything that a record must be, bound to its ciphertext.
fn associated_data(home: Home, secret: &SecretId, metadata: &Metadata) -> Vec<u8> {
    let mut data = TAG.to_vec();
    let path = secret.to_string();
    alloy_rlp::Encodable::encode(&home.chain_id, &mut data);
    alloy_rlp::Encodable::encode(&home.registry, &mut data);
    alloy_rlp::Encodable::encode(path.as_str(), &mut data);
    alloy_rlp::Encodable::encode(metadata, &mut data);
    data
}

/// Seals a value under a fresh data key.
pub(crate) fn seal(
    home: Home,
    secret: &SecretId,
    metadata: Metadata,
    value: &Plaintext,
    key: &dyn Kek,
) -> Result<(Header, Vec<u8>), VaultError> {
    let aad = associated_data(home, secret, &metadata);
    let data_key = Zeroizing::new(rand::random::<[u8; 32]>());
    let sealed = encrypt(&data_key, value.expose(), &aad)?;
    let wrapped_key = key.wrap(data_key.as_slice(), &aad)?;
    Ok((Header { metadata, key: key.id().0, wrapped_key }, sealed))
}

/// Opens a value; any bit changed in header or value is refused.
pub(crate) fn open(
    home: Home,
    secret: &SecretId,
    header: &Header,
    sealed: &[u8],
    keys: &Ring,
) -> Result<Plaintext, VaultError> {
    let aad = associated_data(home, secret, &header.metadata);
    let data_key = unwrap(header, &aad, keys)?;
    let data_key: Zeroizing<[u8; 32]> =
        Zeroizing::new(data_key.as_slice().try_into().map_err(|_| VaultError::Damaged)?);
    let value = decrypt(&data_key, sealed, &aad)?;
    if value.len() as u64 != header.metadata.size {
        return Err(VaultError::Damaged);
    }
    Ok(value.into())
}

fn unwrap(header: &Header, aad: &[u8], keys: &Ring) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    let id = KeyId(header.key);
    let key = keys.key(id).ok_or(VaultError::UnknownKey(id))?;
    Ok(key.unwrap(&header.wrapped_key, aad)?)
}

/// The header with its data key under the key that seals; none if it is already. The value is not touched.
pub(crate) fn rewrap(
    home: Home,
    secret: &SecretId,
    header: &Header,
    keys: &Ring,
) -> Result<Option<Header>, VaultError> {
    let newest = keys.sealing();
    if KeyId(header.key) == newest.id() {
        return Ok(None);
    }
    let aad = associated_data(home, secret, &header.metadata);
    let wrapped_key = newest.wrap(&unwrap(header, &aad, keys)?, &aad)?;
    Ok(Some(Header { metadata: header.metadata.clone(), key: newest.id().0, wrapped_key }))
}

/// nonce (12) ‖ ciphertext ‖ tag (16).
pub(crate) fn encrypt(key: &[u8; 32], value: &[u8], aad: &[u8]) -> Result<Vec<u8>, VaultError> {
    let nonce = rand::random::<[u8; 12]>();
    let sealed = Aes256Gcm::new(key.into())
        .encrypt(&Nonce::from(nonce), Payload { msg: value, aad })
        .map_err(|_| VaultError::Damaged)?;
    Ok([nonce.as_slice(), &sealed].concat())
}

pub(crate) fn decrypt(
    key: &[u8; 32],
    sealed: &[u8],
    aad: &[u8],
) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    let (nonce, sealed) = sealed.split_first_chunk::<12>().ok_or(VaultError::Damaged)?;
    Aes256Gcm::new(key.into())
        .decrypt(&Nonce::from(*nonce), Payload { msg: sealed, aad })
        .map(Zeroizing::new)
        .map_err(|_| VaultError::Damaged)
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng};
    use sesame_domain::AssetId;

    use super::*;
    use crate::{
        keys::{Keys, file::Folder},
        store::codec,
    };

    const HOME: Home = Home { chain_id: 1, registry: Address::ZERO };

    fn key() -> Ring {
        let folder = tempfile::tempdir().unwrap();
        Ring::of(Folder(folder.path().into()).make().unwrap(), &HOME.origin()).unwrap()
    }

    fn metadata() -> Metadata {
        Metadata {
            owner: Address::repeat_byte(1),
            epoch: 2,
            version: 3,
            transferable: false,
            content_digest: B256::repeat_byte(4),
            sealed_digest: B256::repeat_byte(5),
            updated_at: 6,
            size: 6,
        }
    }

    fn secret(byte: u8) -> SecretId {
        SecretId::Asset(AssetId(B256::repeat_byte(byte)))
    }

    fn sealed(key: &Ring) -> (Header, Vec<u8>) {
        let value = Zeroizing::new(b"secret".to_vec()).into();
        seal(HOME, &secret(7), metadata(), &value, key.sealing()).unwrap()
    }

    #[test]
    fn what_was_sealed_opens() {
        let key = key();
        let (header, value) = sealed(&key);
        let opened = open(HOME, &secret(7), &header, &value, &key).unwrap();
        assert_eq!(opened.expose(), b"secret");
    }

    #[test]
    fn one_flipped_bit_anywhere_refuses() {
        let key = key();
        let (header, value) = sealed(&key);
        for bit in 0..value.len() * 8 {
            let mut altered = value.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert!(open(HOME, &secret(7), &header, &altered, &key).is_err(), "value bit {bit}");
        }
        for bit in 0..header.wrapped_key.len() * 8 {
            let mut altered = header.clone();
            altered.wrapped_key[bit / 8] ^= 1 << (bit % 8);
            assert!(open(HOME, &secret(7), &altered, &value, &key).is_err(), "key bit {bit}");
        }
    }

    /// As the stores keep it, so that the key's name, lengths and all are in it.
    #[test]
    fn one_flipped_bit_of_a_kept_header_refuses() {
        let key = key();
        let (header, value) = sealed(&key);
        let kept = codec::encode(Some(&header));
        let mut decoded = 0;
        for bit in 0..kept.len() * 8 {
            let mut altered = kept.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            let Ok(Some(altered)) = codec::decode(&altered) else { continue };
            decoded += 1;
            assert!(open(HOME, &secret(7), &altered, &value, &key).is_err(), "bit {bit}");
        }
        assert!(decoded > kept.len(), "only {decoded} of them were headers");
    }

    #[test]
    fn what_was_swapped_between_records_refuses() {
        let key = key();
        let value = |text: &[u8]| Zeroizing::new(text.to_vec()).into();
        let seal = |byte, metadata, text: &[u8]| {
            seal(HOME, &secret(byte), metadata, &value(text), key.sealing()).unwrap()
        };
        let (mine, yours) = (metadata(), Metadata { version: 4, ..metadata() });
        // Another version, another secret, and the very same sealed twice.
        for (byte, metadata) in [(7, yours), (8, mine.clone()), (7, mine.clone())] {
            let (one, first) = seal(7, mine.clone(), b"secret");
            let (two, second) = seal(byte, metadata, b"public");
            let refuses = |byte, header: &Header, sealed: &[u8]| {
                assert!(open(HOME, &secret(byte), header, sealed, &key).is_err());
            };
            refuses(7, &one, &second);
            refuses(byte, &two, &first);
            let with = |header: &Header, other: &Header| Header {
                wrapped_key: other.wrapped_key.clone(),
                ..header.clone()
            };
            refuses(7, &with(&one, &two), &first);
            refuses(byte, &with(&two, &one), &second);
            if two.metadata != one.metadata || byte != 7 {
                refuses(7, &with(&one, &two), &second);
                refuses(byte, &with(&two, &one), &first);
            }
            assert_eq!(open(HOME, &secret(7), &one, &first, &key).unwrap().expose(), b"secret");
        }
    }

    /// Whatever it is, of whatever length, under whatever name and version.
    #[test]
    fn whatever_was_sealed_opens() {
        let key = key();
        let mut random = StdRng::seed_from_u64(seed());
        for _ in 0..200 {
            let mut value = vec![0; random.random_range(0..5000)];
            random.fill(value.as_mut_slice());
            let home =
                Home { chain_id: random.random(), registry: random.random::<[u8; 20]>().into() };
            let secret = match random.random() {
                true => secret(random.random()),
                false => SecretId::Requester(
                    random.random::<[u8; 20]>().into(),
                    format!("n{}", random.random::<u32>()).parse().unwrap(),
                ),
            };
            let metadata = Metadata {
                owner: random.random::<[u8; 20]>().into(),
                epoch: random.random(),
                version: random.random(),
                transferable: random.random(),
                content_digest: random.random::<[u8; 32]>().into(),
                sealed_digest: random.random::<[u8; 32]>().into(),
                updated_at: random.random(),
                size: value.len() as u64,
            };
            let plain = Zeroizing::new(value.clone()).into();
            let (header, sealed) = seal(home, &secret, metadata, &plain, key.sealing()).unwrap();
            let header = codec::decode(&codec::encode(Some(&header))).unwrap().unwrap();
            let opened = open(home, &secret, &header, &sealed, &key).unwrap();
            assert_eq!(opened.expose(), value);
        }
    }

    /// Printed, so that a failure can be repeated by writing it here.
    fn seed() -> u64 {
        let seed = rand::random();
        eprintln!("seed {seed}");
        seed
    }

    #[test]
    fn every_field_is_bound() {
        let key = key();
        let (header, value) = sealed(&key);
        let with = |change: fn(&mut Metadata)| {
            let mut altered = header.clone();
            change(&mut altered.metadata);
            open(HOME, &secret(7), &altered, &value, &key).is_err()
        };
        assert!(with(|m| m.owner = Address::ZERO));
        assert!(with(|m| m.epoch += 1));
        assert!(with(|m| m.version += 1));
        assert!(with(|m| m.transferable = true));
        assert!(with(|m| m.content_digest = B256::ZERO));
        assert!(with(|m| m.sealed_digest = B256::ZERO));
        assert!(with(|m| m.updated_at += 1));
        assert!(with(|m| m.size += 1));
        assert!(open(HOME, &secret(8), &header, &value, &key).is_err(), "another asset");
        let elsewhere = Home { chain_id: 2, ..HOME };
        assert!(open(elsewhere, &secret(7), &header, &value, &key).is_err(), "another chain");
        let elsewhere = Home { registry: Address::repeat_byte(9), ..HOME };
        assert!(open(elsewhere, &secret(7), &header, &value, &key).is_err(), "another registry");
    }

    #[test]
    fn another_key_refuses() {
        let (header, value) = sealed(&key());
        assert!(open(HOME, &secret(7), &header, &value, &key()).is_err());
    }
}
