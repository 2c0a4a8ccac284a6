//! The running hash that each registry keeps over its events; the same fold as `Journal.sol`.

use alloy_primitives::{B256, U256, keccak256};

/// What the journal folds of one log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogImage {
    /// The block's timestamp, seconds.
    pub timestamp: u64,
    /// The topics; absent ones are zero.
    pub topics: [B256; 4],
    /// Keccak-256 of the log's data.
    pub data_hash: B256,
}

/// The storage word of a registry's journal: the hash in the high 192 bits, the sequence in the low 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Journal(pub B256);

impl Journal {
    /// The ERC-7201 slot of the namespace `sesame.journal`:
    /// `keccak256(abi.encode(uint256(keccak256("sesame.journal")) - 1)) & ~bytes32(uint256(0xff))`.
    #[must_use]
    pub fn slot() -> B256 {
        let inner = U256::from_be_bytes(keccak256("sesame.journal").0) - U256::from(1);
        let mut slot = keccak256(inner.to_be_bytes::<32>());
        slot.0[31] = 0;
        slot
    }

    /// How many events were folded in.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        U256::from_be_bytes(self.0.0).as_limbs()[0]
    }

    /// The journal after one more event.
    #[must_use]
    pub fn fold(self, log: &LogImage) -> Self {
        let sequence = self.sequence().wrapping_add(1);
        let entry = keccak256(words(&[
            B256::from(U256::from(log.timestamp)),
            log.topics[0],
            log.topics[1],
            log.topics[2],
            log.topics[3],
            log.data_hash,
        ]));
        let mut previous = self.0;
        previous.0[24..].fill(0);
        let mut next = keccak256(words(&[previous, B256::from(U256::from(sequence)), entry]));
        next.0[24..].copy_from_slice(&sequence.to_be_bytes());
        Self(next)
    }
}

fn words(words: &[B256]) -> Vec<u8> {
    words.iter().flat_map(|word| word.0).collect()
}
