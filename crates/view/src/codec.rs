//! Rows to bytes and back: RLP, field by field, in the order of the struct.

use std::collections::BTreeSet;

use alloy_primitives::{Address, B256, U256};
use alloy_rlp::{Decodable, Encodable, Error};
use sesame_domain::{
    Asset, AssetId, AssetKind, AssetSnapshot, Authorization, Block, Deal, DealMatch, EnclaveId,
    Grant, Journal, Order, OrderUse, Task, TaskStatus, Terms,
};

/// A value of a table.
pub(crate) trait Row: Sized {
    fn encode(&self, out: &mut Vec<u8>);
    fn decode(input: &mut &[u8]) -> Result<Self, Error>;
}

macro_rules! encode_all {
    ($out:expr, $($field:expr),+ $(,)?) => { $( Encodable::encode(&$field, $out); )+ };
}

fn decode<T: Decodable>(input: &mut &[u8]) -> Result<T, Error> {
    T::decode(input)
}

impl Row for Journal {
    fn encode(&self, out: &mut Vec<u8>) {
        encode_all!(out, self.0);
    }

    fn decode(input: &mut &[u8]) -> Result<Self, Error> {
        decode(input).map(Self)
    }
}

/// An owner has the asset: the key says it all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held;

impl Row for Held {
    fn encode(&self, _out: &mut Vec<u8>) {}

    fn decode(_input: &mut &[u8]) -> Result<Self, Error> {
        Ok(Self)
    }
}

impl Row for Block {
    fn encode(&self, out: &mut Vec<u8>) {
        encode_all!(out, self.number, self.hash, self.parent, self.timestamp);
    }

    fn decode(input: &mut &[u8]) -> Result<Self, Error> {
        Ok(Self {
            number: decode(input)?,
            hash: decode(input)?,
            parent: decode(input)?,
            timestamp: decode(input)?,
        })
    }
}

impl Row for Asset {
    fn encode(&self, out: &mut Vec<u8>) {
        encode_all!(out, self.kind as u8, self.owner, self.epoch, self.digest, self.uri);
    }

    fn decode(input: &mut &[u8]) -> Result<Self, Error> {
        Ok(Self {
            kind: AssetKind::try_from(decode::<u8>(input)?)
                .map_err(|_| Error::Custom("asset kind"))?,
            owner: decode(input)?,
            epoch: decode(input)?,
            digest: decode(input)?,
            uri: decode(input)?,
        })
    }
}

impl Row for Terms {
    fn encode(&self, out: &mut Vec<u8>) {
        encode_all!(out, self.not_before, self.not_after, self.app.0, self.requester, self.sms);
        encode_all!(out, self.max_tasks, self.currency, self.price);
    }

    fn decode(input: &mut &[u8]) -> Result<Self, Error> {
        Ok(Self {
            not_before: decode(input)?,
            not_after: decode(input)?,
            app: AssetId(decode(input)?),
            requester: decode(input)?,
            sms: decode(input)?,
            max_tasks: decode(input)?,
            currency: decode(input)?,
            price: decode(input)?,
        })
    }
}

impl Row for Authorization {
    fn encode(&self, out: &mut Vec<u8>) {
        encode_all!(out, self.epoch, self.serial);
        self.terms.encode(out);
    }

    fn decode(input: &mut &[u8]) -> Result<Self, Error> {
        Ok(Self { epoch: decode(input)?, serial: decode(input)?, terms: Terms::decode(input)? })
    }
}

impl Row for AssetSnapshot {
    fn encode(&self, out: &mut Vec<u8>) {
        encode_all!(out, self.uri, self.digest, self.epoch, self.serial, self.price);
    }

    fn decode(input: &mut &[u8]) -> Result<Self, Error> {
        Ok(Self {
            uri: decode(input)?,
            digest: decode(input)?,
            epoch: decode(input)?,
            serial: decode(input)?,
            price: decode(input)?,
        })
    }
}

impl Row for Grant {
    fn encode(&self, out: &mut Vec<u8>) {
        encode_all!(out, self.index, self.name.as_str());
    }

    fn decode(input: &mut &[u8]) -> Result<Self, Error> {
        let index = decode(input)?;
        let name = decode::<String>(input)?.parse().map_err(|_| Error::Custom("secret name"))?;
        Ok(Self { index, name })
    }
}

impl Row for Order {
    fn encode(&self, out: &mut Vec<u8>) {
        encode_all!(out, self.app.0, self.enclave.0);
        encode_list(&self.data, out);
        encode_list(&self.grants, out);
        encode_all!(out, self.worker, self.sms, self.beneficiary, self.deadline, self.currency);
        encode_all!(out, self.reward, self.max_cost, self.params);
    }

    fn decode(input: &mut &[u8]) -> Result<Self, Error> {
        Ok(Self {
            app: AssetId(decode(input)?),
            enclave: EnclaveId(decode(input)?),
            data: decode_list(input)?,
            grants: decode_list(input)?,
            worker: decode(input)?,
            sms: decode(input)?,
            beneficiary: decode(input)?,
            deadline: decode(input)?,
            currency: decode::<Address>(input)?,
            reward: decode::<U256>(input)?,
            max_cost: decode::<U256>(input)?,
            params: decode(input)?,
        })
    }
}

impl Row for AssetId {
    fn encode(&self, out: &mut Vec<u8>) {
        encode_all!(out, self.0);
    }

    fn decode(input: &mut &[u8]) -> Result<Self, Error> {
        decode::<B256>(input).map(Self)
    }
}

impl Row for u32 {
    fn encode(&self, out: &mut Vec<u8>) {
        encode_all!(out, *self);
    }

    fn decode(input: &mut &[u8]) -> Result<Self, Error> {
        decode(input)
    }
}

impl Row for Task {
    fn encode(&self, out: &mut Vec<u8>) {
        encode_all!(out, self.requester, self.status as u8);
        self.order.encode(out);
        self.app.encode(out);
        encode_list(&self.data, out);
        let revoked: Vec<u32> = self.revoked_grants.iter().copied().collect();
        encode_list(&revoked, out);
        encode_option(self.deal.as_deref(), out);
    }

    fn decode(input: &mut &[u8]) -> Result<Self, Error> {
        Ok(Self {
            requester: decode(input)?,
            status: status(decode(input)?)?,
            order: Order::decode(input)?,
            app: AssetSnapshot::decode(input)?,
            data: decode_list(input)?,
            revoked_grants: BTreeSet::from_iter(decode_list::<u32>(input)?),
            deal: decode_option(input)?.map(Box::new),
        })
    }
}

impl Row for Deal {
    fn encode(&self, out: &mut Vec<u8>) {
        encode_all!(out, self.id, self.index, self.first, self.size, self.tag, self.workerpool);
        encode_all!(out, self.scheduler, self.callback, self.start_time);
    }

    fn decode(input: &mut &[u8]) -> Result<Self, Error> {
        Ok(Self {
            id: decode(input)?,
            index: decode(input)?,
            first: decode(input)?,
            size: decode(input)?,
            tag: decode(input)?,
            workerpool: decode(input)?,
            scheduler: decode(input)?,
            callback: decode(input)?,
            start_time: decode(input)?,
        })
    }
}

impl Row for DealMatch {
    fn encode(&self, out: &mut Vec<u8>) {
        encode_all!(out, self.request, self.volume);
    }

    fn decode(input: &mut &[u8]) -> Result<Self, Error> {
        Ok(Self { request: decode(input)?, volume: decode(input)? })
    }
}

impl Row for OrderUse {
    fn encode(&self, out: &mut Vec<u8>) {
        encode_all!(out, self.consumed, self.closed);
        encode_option(self.presigned_by.as_ref(), out);
    }

    fn decode(input: &mut &[u8]) -> Result<Self, Error> {
        Ok(Self {
            consumed: decode(input)?,
            closed: decode(input)?,
            presigned_by: decode_option(input)?,
        })
    }
}

impl Row for Address {
    fn encode(&self, out: &mut Vec<u8>) {
        encode_all!(out, *self);
    }

    fn decode(input: &mut &[u8]) -> Result<Self, Error> {
        decode(input)
    }
}

fn status(byte: u8) -> Result<TaskStatus, Error> {
    [
        TaskStatus::Purchased,
        TaskStatus::Started,
        TaskStatus::Completed,
        TaskStatus::Cancelled,
        TaskStatus::Expired,
        TaskStatus::Revealing,
    ]
    .into_iter()
    .find(|status| *status as u8 == byte)
    .ok_or(Error::Custom("task status"))
}

fn encode_list<T: Row>(items: &[T], out: &mut Vec<u8>) {
    Encodable::encode(&(items.len() as u64), out);
    for item in items {
        item.encode(out);
    }
}

fn decode_list<T: Row>(input: &mut &[u8]) -> Result<Vec<T>, Error> {
    let length = decode::<u64>(input)?;
    (0..length).map(|_| T::decode(input)).collect()
}

fn encode_option<T: Row>(row: Option<&T>, out: &mut Vec<u8>) {
    encode_all!(out, row.is_some());
    if let Some(row) = row {
        row.encode(out);
    }
}

fn decode_option<T: Row>(input: &mut &[u8]) -> Result<Option<T>, Error> {
    if decode(input)? { T::decode(input).map(Some) } else { Ok(None) }
}

#[cfg(test)]
mod tests;
