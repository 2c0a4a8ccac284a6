//! What a node says, checked. Pure.

use std::collections::HashSet;

use alloy::{
    consensus::{
        constants::{EMPTY_ROOT_HASH, KECCAK_EMPTY},
        proofs::calculate_receipt_root,
    },
    network::AnyReceiptEnvelope,
    primitives::{Address, B256, Bloom, BloomInput, Bytes, keccak256},
    rpc::types::{EIP1186AccountProofResponse, Header, Log, TransactionReceipt},
};
use alloy_trie::{Nibbles, TrieAccount, proof::verify_proof};
use sesame_domain::{Block, Journal, Registry};

/// A check that a node's answer failed. Each has a name that logs, metrics and refusals carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are heights; the variants are documented")]
pub enum Lie {
    /// The header does not hash to the hash given for it.
    #[error("block {number} does not hash to its own hash")]
    BlockHash { number: u64 },
    /// A block of another height than was asked for.
    #[error("asked for block {asked}, got block {got}")]
    WrongBlock { asked: u64, got: u64 },
    /// The block does not name its predecessor as parent.
    #[error("block {number} does not join block {} before it", number.saturating_sub(1))]
    ParentLink { number: u64 },
    /// A log given for a block of another hash.
    #[error("a log was given for block {number} that belongs to another block")]
    LogOfOtherBlock { number: u64 },
    /// A log of a contract that was not asked for, or out of order.
    #[error("the logs of block {number} are not what was asked for, or out of order")]
    LogsOutOfPlace { number: u64 },
    /// A log that the header's bloom excludes.
    #[error("a log of block {number} does not fit the block's bloom")]
    LogNotInBloom { number: u64 },
    /// The receipts do not hash to the header's receipts root.
    #[error("the receipts of block {number} are not those of its header")]
    ReceiptsRoot { number: u64 },
    /// A storage proof that does not lead from the header's state root to the value.
    #[error("the proof of the {registry:?} journal at block {number} does not hold")]
    ProofInvalid { number: u64, registry: Registry },
    /// The journal is proven, and it is not ours: events are missing, added or altered in the mirror.
    #[error("the {registry:?} journal at block {number} is not the mirrored one")]
    JournalMismatch { number: u64, registry: Registry },
}

impl Lie {
    /// The check's stable name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::BlockHash { .. } => "block_hash",
            Self::WrongBlock { .. } => "wrong_block",
            Self::ParentLink { .. } => "parent_link",
            Self::LogOfOtherBlock { .. } => "log_of_other_block",
            Self::LogsOutOfPlace { .. } => "logs_out_of_place",
            Self::LogNotInBloom { .. } => "log_not_in_bloom",
            Self::ReceiptsRoot { .. } => "receipts_root",
            Self::ProofInvalid { .. } => "proof_invalid",
            Self::JournalMismatch { .. } => "journal_mismatch",
        }
    }

    /// Whether the mirror itself is in doubt, and not this answer alone.
    pub(crate) const fn doubts_the_mirror(&self) -> bool {
        matches!(self, Self::ProofInvalid { .. } | Self::JournalMismatch { .. })
    }
}

/// A receipt as a node gives it, of whatever type the chain knows: those of Arbitrum are not Ethereum's.
pub type Receipt = TransactionReceipt<AnyReceiptEnvelope<Log>>;

/// A contract and the first topics of its events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// Where the contract is.
    pub address: Address,
    /// The first topics of the events that matter.
    pub topics: Vec<B256>,
}

/// A header that hashes to its own hash. Only [`VerifiedHeader::check`] makes one.
#[derive(Debug, Clone, Copy)]
pub struct VerifiedHeader {
    block: Block,
    bloom: Bloom,
    receipts_root: B256,
    state_root: B256,
}

impl VerifiedHeader {
    /// Recomputes the header's hash.
    ///
    /// # Errors
    /// When it differs from the hash given.
    pub fn check(header: &Header) -> Result<Self, Lie> {
        let hash = header.inner.hash_slow();
        if hash != header.hash {
            return Err(Lie::BlockHash { number: header.inner.number });
        }
        Ok(Self {
            block: Block {
                number: header.inner.number,
                hash,
                parent: header.inner.parent_hash,
                timestamp: header.inner.timestamp,
            },
            bloom: header.inner.logs_bloom,
            receipts_root: header.inner.receipts_root,
            state_root: header.inner.state_root,
        })
    }

    /// What the mirror keeps of it.
    #[must_use]
    pub const fn block(&self) -> Block {
        self.block
    }

    /// Whether `logs`, in the order given, can be logs of this block.
    ///
    /// # Errors
    /// When one belongs to another block, is out of order, or is excluded by the bloom.
    pub fn owns(&self, logs: &[Log]) -> Result<(), Lie> {
        let number = self.block.number;
        let mut previous = None;
        // Most logs of a block repeat contract and topics, and each question to the bloom costs a hash.
        let mut found = HashSet::new();
        for log in logs {
            if log.block_hash != Some(self.block.hash) || log.block_number != Some(number) {
                return Err(Lie::LogOfOtherBlock { number });
            }
            if log.removed || log.log_index.is_none() || log.log_index <= previous {
                return Err(Lie::LogsOutOfPlace { number });
            }
            previous = log.log_index;
            let address = std::iter::once(log.inner.address.as_slice());
            for input in address.chain(log.topics().iter().map(|topic| topic.as_slice())) {
                if found.insert(input) && !self.bloom.contains_input(BloomInput::Raw(input)) {
                    return Err(Lie::LogNotInBloom { number });
                }
            }
        }
        Ok(())
    }

    /// Whether the bloom promises an event of `watched` that is not among `logs`. It may promise too much, never too little.
    pub(crate) fn promises_more(&self, watched: &[Watched], logs: &[Log]) -> bool {
        let came = |address, topic| {
            let mut these = logs.iter().filter(|log| log.inner.address == address);
            these.any(|log| log.topic0() == Some(topic))
        };
        watched.iter().any(|contract| {
            let address = contract.address;
            let promised =
                |topic: &&B256| self.blooms(address.as_slice(), std::slice::from_ref(*topic));
            contract.topics.iter().filter(promised).any(|topic| !came(address, topic))
        })
    }

    /// Whether the bloom is too full to tell anything apart.
    pub(crate) fn bloom_is_full(&self) -> bool {
        let ones: u32 = self.bloom.iter().map(|byte| byte.count_ones()).sum();
        ones * 2 > Bloom::len_bytes() as u32 * 8
    }

    /// The logs of `contracts` in this block, from receipts that hash to the header's receipts root.
    ///
    /// # Errors
    /// When they do not.
    pub fn logs_of(&self, receipts: Vec<Receipt>, contracts: &[Address]) -> Result<Vec<Log>, Lie> {
        let receipts: Vec<AnyReceiptEnvelope> = receipts.into_iter().map(envelope).collect();
        if calculate_receipt_root(&receipts) != self.receipts_root {
            return Err(Lie::ReceiptsRoot { number: self.block.number });
        }
        let all = receipts.iter().flat_map(AnyReceiptEnvelope::logs);
        let numbered = (0..).zip(all).filter(|(_, log)| contracts.contains(&log.address));
        let log = |(index, log): (u64, &alloy::primitives::Log)| Log {
            inner: log.clone(),
            block_hash: Some(self.block.hash),
            block_number: Some(self.block.number),
            block_timestamp: Some(self.block.timestamp),
            log_index: Some(index),
            ..Log::default()
        };
        Ok(numbered.map(log).collect())
    }

    /// A registry's journal after this block, from a proof that leads to it from the header's state root.
    ///
    /// # Errors
    /// When the proof does not.
    pub fn journal(
        &self,
        registry: Registry,
        contract: Address,
        proof: &EIP1186AccountProofResponse,
    ) -> Result<Journal, Lie> {
        let invalid = Lie::ProofInvalid { number: self.block.number, registry };
        let storage_root = self.storage_root(contract, proof).ok_or(invalid)?;
        let slot = Journal::slot();
        let storage = proof.storage_proof.iter().find(|proof| proof.key.as_b256() == slot);
        let (value, nodes) = match storage {
            Some(storage) => (storage.value, storage.proof.as_slice()),
            None if storage_root == EMPTY_ROOT_HASH => Default::default(),
            None => return Err(invalid),
        };
        let expected = (!value.is_zero()).then(|| alloy_rlp::encode(value));
        proves(storage_root, slot.as_slice(), expected, nodes).ok_or(invalid)?;
        Ok(Journal(value.into()))
    }

    fn storage_root(&self, contract: Address, proof: &EIP1186AccountProofResponse) -> Option<B256> {
        let key = contract.as_slice();
        let absent = proof.nonce == 0
            && proof.balance.is_zero()
            && (proof.code_hash == KECCAK_EMPTY || proof.code_hash.is_zero());
        if absent && proves(self.state_root, key, None, &proof.account_proof).is_some() {
            return Some(EMPTY_ROOT_HASH);
        }
        let account = TrieAccount {
            nonce: proof.nonce,
            balance: proof.balance,
            storage_root: proof.storage_hash,
            code_hash: proof.code_hash,
        };
        let account = Some(alloy_rlp::encode(account));
        proves(self.state_root, key, account, &proof.account_proof)?;
        Some(proof.storage_hash)
    }

    fn blooms(&self, address: &[u8], topics: &[B256]) -> bool {
        self.bloom.contains_input(BloomInput::Raw(address))
            && topics.iter().all(|topic| self.bloom.contains_input(BloomInput::Raw(topic.as_ref())))
    }
}

/// The part of a receipt that the root is made of.
fn envelope(receipt: Receipt) -> AnyReceiptEnvelope {
    let AnyReceiptEnvelope { inner, r#type } = receipt.inner;
    AnyReceiptEnvelope { inner: inner.into_primitives_receipt(), r#type }
}

fn proves(root: B256, key: &[u8], value: Option<Vec<u8>>, nodes: &[Bytes]) -> Option<()> {
    verify_proof(root, Nibbles::unpack(keccak256(key)), value, nodes).ok()
}

/// Whether `child` follows `parent`.
///
/// # Errors
/// When it names another parent.
pub(crate) fn joins(parent: &Block, child: &Block) -> Result<(), Lie> {
    if child.number == parent.number + 1 && child.parent == parent.hash {
        Ok(())
    } else {
        Err(Lie::ParentLink { number: child.number })
    }
}

#[cfg(test)]
mod tests;
