//! Bulks: a deal that names no dataset, and a list of dataset orders on IPFS, of which each task reads its slice.
//!
//! An order is judged from what the mirror knows, as the hub's `assertDatasetDealCompatibility` judges it. Two of its questions
//! can be answered by a contract alone ([`Misfit::a_contract_may_say_otherwise`]).

mod misfit;

#[cfg(test)]
mod tests;

use alloy_primitives::{Address, B256, Bytes, U256};
use serde::Deserialize;
use sesame_domain::{AssetId, Deal, OrderUse, Task};

pub use misfit::{Misfit, Restriction};

use crate::{challenge, ids::DatasetOrder};

/// An order of a smaller volume is for few tasks, and is passed over: 2^53 − 2.
pub const LEAST_VOLUME: u64 = (1 << 53) - 2;

/// Bits 1 to 3 name TEE frameworks; those of a dataset's order say nothing (since PoCo 6.2.0).
const FRAMEWORKS: u64 = 0b1110;

/// An order as a slice has it: all text. What is left out is empty.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are those of DatasetOrder")]
pub struct SignedOrder {
    pub dataset: String,
    pub datasetprice: String,
    pub volume: String,
    pub tag: String,
    pub apprestrict: String,
    pub workerpoolrestrict: String,
    pub requesterrestrict: String,
    pub salt: String,
    pub sign: String,
}

/// A dataset of a slice: under which name the app finds it, and what there is to fetch if its order fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SliceDataset {
    /// The dataset's address, as the order has it.
    pub name: String,
    /// The dataset, if it is there and its order fits.
    pub found: Option<SliceContent>,
}

/// What there is to fetch of a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SliceContent {
    /// The dataset.
    pub address: Address,
    /// Where its content is.
    pub uri: String,
    /// SHA-256 of it.
    pub digest: B256,
}

/// Whether the text can be the name of a content on IPFS, and no path or query: letters and digits.
#[must_use]
pub fn is_cid(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The slice of the task with this absolute index: a CID. `json` is the bulk, a list of them.
#[must_use]
pub fn slice_cid(json: &[u8], index: u64) -> Option<String> {
    let mut slices: Vec<String> = serde_json::from_slice(json).ok()?;
    let place = usize::try_from(index).ok().filter(|place| *place < slices.len())?;
    Some(slices.swap_remove(place)).filter(|cid| is_cid(cid))
}

/// The orders of a slice; none if it cannot be read.
#[must_use]
pub fn orders(json: &[u8]) -> Vec<SignedOrder> {
    serde_json::from_slice(json).unwrap_or_default()
}

impl SignedOrder {
    /// Reads the fields.
    ///
    /// # Errors
    /// [`Misfit::Malformed`] with the first field that is not what it should be.
    pub fn read(&self) -> Result<(DatasetOrder, Bytes), Misfit> {
        fn field<T: std::str::FromStr>(name: &'static str, text: &str) -> Result<T, Misfit> {
            text.parse().map_err(|_| Misfit::Malformed(name))
        }
        let order = DatasetOrder {
            dataset: field("dataset", &self.dataset)?,
            datasetprice: field("datasetprice", &self.datasetprice)?,
            volume: field("volume", &self.volume)?,
            tag: field("tag", &self.tag)?,
            apprestrict: field("apprestrict", &self.apprestrict)?,
            workerpoolrestrict: field("workerpoolrestrict", &self.workerpoolrestrict)?,
            requesterrestrict: field("requesterrestrict", &self.requesterrestrict)?,
            salt: field("salt", &self.salt)?,
        };
        Ok((order, field("sign", &self.sign)?))
    }
}

/// Whether the tasks of a deal may have a dataset by this order. `hash` and `signature` are the order's, `usage` is what became of
/// it, and `owner` who owns the dataset now, if there is one.
///
/// # Errors
/// The first reason why not: its volume, then what the hub would say, in its order.
pub fn fits(
    order: &DatasetOrder,
    hash: B256,
    signature: &[u8],
    usage: &OrderUse,
    owner: Option<Address>,
    task: &Task,
) -> Result<(), Misfit> {
    // First, so that nothing is left to ask where a contract has the last word.
    check(order.volume >= U256::from(LEAST_VOLUME), || Misfit::VolumeTooSmall(order.volume))?;
    check(!usage.closed && usage.consumed < order.volume, || Misfit::UsedUp)?;
    let owner = owner.ok_or(Misfit::DatasetUnknown)?;
    let signed = signer(hash, signature) == Some(owner) || usage.presigned_by == Some(owner);
    check(signed, || Misfit::NotSigned { owner })?;
    let deal = task.deal.as_deref().ok_or(Misfit::NoDeal)?;
    check(task.order.data.is_empty(), || Misfit::DealHasDataset)?;
    restrictions(order, task, deal)?;
    let missing = order.tag & !B256::from(U256::from(FRAMEWORKS)) & !deal.tag;
    check(missing.is_zero(), || Misfit::Tag { missing })
}

fn restrictions(order: &DatasetOrder, task: &Task, deal: &Deal) -> Result<(), Misfit> {
    for (what, to, actual) in [
        (Restriction::App, order.apprestrict, task.order.app),
        (Restriction::Workerpool, order.workerpoolrestrict, deal.workerpool.into()),
        (Restriction::Requester, order.requesterrestrict, task.requester.into()),
    ] {
        let holds = to.is_zero() || AssetId::from(to) == actual;
        check(holds, || Misfit::NeedsGroup { what, to })?;
    }
    Ok(())
}

fn check(holds: bool, misfit: impl FnOnce() -> Misfit) -> Result<(), Misfit> {
    if holds { Ok(()) } else { Err(misfit()) }
}

/// Whose key signed: 65 bytes, or 64 with v in the highest bit of s (EIP-2098).
fn signer(hash: B256, signature: &[u8]) -> Option<Address> {
    let whole = match signature.len() {
        64 => expanded(signature.try_into().ok()?),
        _ => signature.try_into().ok()?,
    };
    challenge::signer(hash, &whole)
}

fn expanded(compact: [u8; 64]) -> [u8; 65] {
    let mut whole = [0; 65];
    let [rs @ .., v] = &mut whole;
    *rs = compact;
    *v = 27 + (rs[32] >> 7);
    rs[32] &= 0x7f;
    whole
}
