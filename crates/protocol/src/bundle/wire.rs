//! The bundle's CBOR: maps with text keys, identifiers and values as byte strings.

use std::fmt;

use alloy_primitives::{Address, B256, U256};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeOwned, Error, Visitor},
};
use sesame_domain::{AssetId, AssetSnapshot, EnclaveId, Grant, Order, ParseIdError, TaskId};
use zeroize::Zeroizing;

use super::{Bundle, BundleError, BundledSecret, Omitted};
use crate::{random, signature::Signature65, status::BlockRefBody};

/// Writes a document into a buffer that has room for it.
pub(super) fn write<T: Serialize>(document: &T, room: usize) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    ciborium::into_writer(document, &mut *bytes).expect("memory takes any CBOR");
    bytes
}

/// Reads one document, and nothing after it.
pub(super) fn read<T: DeserializeOwned>(mut bytes: &[u8]) -> Result<T, BundleError> {
    let document = ciborium::from_reader(&mut bytes).map_err(BundleError::Malformed)?;
    if bytes.is_empty() { Ok(document) } else { Err(BundleError::TrailingBytes) }
}

#[derive(Serialize, Deserialize)]
pub(super) struct Envelope {
    pub(super) chain_id: u64,
    pub(super) asset_registry: Address,
    pub(super) task: B256,
    pub(super) enclave_key: B256,
    pub(super) nonce: B256,
    pub(super) payload: Blob,
    pub(super) signature: Signature65,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Payload {
    /// Random: the payload's digest becomes public with the result, and must not let anybody guess a short secret.
    salt: Blob,
    task: B256,
    chain_id: u64,
    task_registry: Address,
    sms: Address,
    requester: Address,
    order: OrderBody,
    app: SnapshotBody,
    data: Vec<SnapshotBody>,
    secrets: Vec<SecretBody>,
    omitted: Vec<OmittedBody>,
    head: BlockRefBody,
    confirmed: BlockRefBody,
}

#[derive(Serialize, Deserialize)]
struct OrderBody {
    app: B256,
    enclave: B256,
    data: Vec<B256>,
    grants: Vec<GrantBody>,
    worker: Address,
    sms: Address,
    beneficiary: Address,
    deadline: u64,
    currency: Address,
    reward: U256,
    max_cost: U256,
    params: String,
}

#[derive(Serialize, Deserialize)]
struct GrantBody {
    index: u32,
    name: String,
}

#[derive(Serialize, Deserialize)]
struct SnapshotBody {
    uri: String,
    digest: B256,
    epoch: u64,
    serial: u64,
    price: U256,
}

#[derive(Serialize, Deserialize)]
struct SecretBody {
    resource: String,
    version: u64,
    value: Blob,
}

#[derive(Serialize, Deserialize)]
struct OmittedBody {
    resource: String,
    version: u64,
    digest: B256,
}

/// A CBOR byte string whose memory is erased.
pub(super) struct Blob(pub(super) Zeroizing<Vec<u8>>);

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;

        impl Visitor<'_> for Bytes {
            type Value = Blob;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a byte string")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Blob, E> {
                Ok(Blob(Zeroizing::new(bytes.to_vec())))
            }

            fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Blob, E> {
                Ok(Blob(Zeroizing::new(bytes)))
            }
        }

        deserializer.deserialize_byte_buf(Bytes)
    }
}

impl From<&Bundle> for Payload {
    fn from(bundle: &Bundle) -> Self {
        Self {
            salt: Blob(Zeroizing::new(random::bytes::<32>().to_vec())),
            task: bundle.task.0,
            chain_id: bundle.chain_id,
            task_registry: bundle.task_registry,
            sms: bundle.sms,
            requester: bundle.requester,
            order: OrderBody::from(&bundle.order),
            app: SnapshotBody::from(&bundle.app),
            data: bundle.data.iter().map(SnapshotBody::from).collect(),
            secrets: bundle.secrets.iter().map(SecretBody::from).collect(),
            omitted: bundle.omitted.iter().map(OmittedBody::from).collect(),
            head: bundle.head.into(),
            confirmed: bundle.confirmed.into(),
        }
    }
}

impl TryFrom<Payload> for Bundle {
    type Error = ParseIdError;

    fn try_from(payload: Payload) -> Result<Self, ParseIdError> {
        Ok(Self {
            task: TaskId(payload.task),
            chain_id: payload.chain_id,
            task_registry: payload.task_registry,
            sms: payload.sms,
            requester: payload.requester,
            order: payload.order.try_into()?,
            app: payload.app.into(),
            data: payload.data.into_iter().map(Into::into).collect(),
            secrets: payload
                .secrets
                .into_iter()
                .map(TryInto::try_into)
                .collect::<Result<_, _>>()?,
            omitted: payload
                .omitted
                .into_iter()
                .map(TryInto::try_into)
                .collect::<Result<_, _>>()?,
            head: payload.head.into(),
            confirmed: payload.confirmed.into(),
        })
    }
}

impl From<&Order> for OrderBody {
    fn from(order: &Order) -> Self {
        let grant = |grant: &Grant| GrantBody { index: grant.index, name: grant.name.to_string() };
        Self {
            app: order.app.0,
            enclave: order.enclave.0,
            data: order.data.iter().map(|data| data.0).collect(),
            grants: order.grants.iter().map(grant).collect(),
            worker: order.worker,
            sms: order.sms,
            beneficiary: order.beneficiary,
            deadline: order.deadline,
            currency: order.currency,
            reward: order.reward,
            max_cost: order.max_cost,
            params: order.params.clone(),
        }
    }
}

impl TryFrom<OrderBody> for Order {
    type Error = ParseIdError;

    fn try_from(order: OrderBody) -> Result<Self, ParseIdError> {
        let grant = |grant: GrantBody| Ok(Grant { index: grant.index, name: grant.name.parse()? });
        Ok(Self {
            app: AssetId(order.app),
            enclave: EnclaveId(order.enclave),
            data: order.data.into_iter().map(AssetId).collect(),
            grants: order.grants.into_iter().map(grant).collect::<Result<_, ParseIdError>>()?,
            worker: order.worker,
            sms: order.sms,
            beneficiary: order.beneficiary,
            deadline: order.deadline,
            currency: order.currency,
            reward: order.reward,
            max_cost: order.max_cost,
            params: order.params,
        })
    }
}

impl From<&AssetSnapshot> for SnapshotBody {
    fn from(asset: &AssetSnapshot) -> Self {
        Self {
            uri: asset.uri.clone(),
            digest: asset.digest,
            epoch: asset.epoch,
            serial: asset.serial,
            price: asset.price,
        }
    }
}

impl From<SnapshotBody> for AssetSnapshot {
    fn from(asset: SnapshotBody) -> Self {
        Self {
            uri: asset.uri,
            digest: asset.digest,
            epoch: asset.epoch,
            serial: asset.serial,
            price: asset.price,
        }
    }
}

impl From<&BundledSecret> for SecretBody {
    fn from(secret: &BundledSecret) -> Self {
        Self {
            resource: secret.resource.to_string(),
            version: secret.version,
            value: Blob(secret.value.clone()),
        }
    }
}

impl TryFrom<SecretBody> for BundledSecret {
    type Error = ParseIdError;

    fn try_from(secret: SecretBody) -> Result<Self, ParseIdError> {
        Ok(Self {
            resource: secret.resource.parse()?,
            version: secret.version,
            value: secret.value.0,
        })
    }
}

impl From<&Omitted> for OmittedBody {
    fn from(omitted: &Omitted) -> Self {
        Self {
            resource: omitted.resource.to_string(),
            version: omitted.version,
            digest: omitted.digest,
        }
    }
}

impl TryFrom<OmittedBody> for Omitted {
    type Error = ParseIdError;

    fn try_from(omitted: OmittedBody) -> Result<Self, ParseIdError> {
        Ok(Self {
            resource: omitted.resource.parse()?,
            version: omitted.version,
            digest: omitted.digest,
        })
    }
}
