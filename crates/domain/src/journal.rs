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

#[cfg(test)]
mod tests {
    use alloy_primitives::{Bytes, b256};
    use serde::Deserialize;

    use super::*;

    /// A step of `Journal.sol`: what it folded, from which word to which.
    #[derive(Deserialize)]
    struct Step {
        timestamp: u64,
        topics: Vec<B256>,
        data: Bytes,
        previous: B256,
        next: B256,
    }

    impl Step {
        fn image(&self) -> LogImage {
            let mut topics = [B256::ZERO; 4];
            topics[..self.topics.len()].copy_from_slice(&self.topics);
            LogImage { timestamp: self.timestamp, topics, data_hash: keccak256(&self.data) }
        }
    }

    fn steps() -> Vec<Step> {
        let steps: Vec<Step> =
            serde_json::from_str(include_str!("../../../tests/fixtures/journal.json")).unwrap();
        assert!(steps.len() > 1);
        steps
    }

    #[test]
    fn each_step_folds_as_the_contract_folded_it() {
        for step in steps() {
            assert_eq!(Journal(step.previous).fold(&step.image()), Journal(step.next));
        }
    }

    #[test]
    fn the_whole_history_folds_from_nothing_and_counts_its_events() {
        let mut journal = Journal::default();
        for (number, step) in (1..).zip(steps()) {
            assert_eq!(journal.0, step.previous, "before event {number}");
            journal = journal.fold(&step.image());
            assert_eq!(journal.sequence(), number);
        }
        assert_eq!(journal.0, steps().last().unwrap().next);
    }

    #[test]
    fn every_part_of_an_event_enters_the_fold() {
        let step = &steps()[0];
        let (image, previous) = (step.image(), Journal(step.previous));
        let check = |change: &dyn Fn(&mut LogImage)| {
            let mut altered = image;
            change(&mut altered);
            assert_ne!(previous.fold(&altered).0, step.next, "{altered:?}");
        };
        check(&|image| image.timestamp += 1);
        check(&|image| image.data_hash.0[31] ^= 1);
        for topic in 0..4 {
            check(&|image| image.topics[topic].0[0] ^= 0x80);
        }
        check(&|image| image.topics.swap(0, 1));
        check(&|image| image.topics.swap(2, 3));
    }

    #[test]
    fn order_omission_and_repetition_show() {
        let steps = steps();
        let fold = |order: &[usize]| {
            order.iter().fold(Journal::default(), |journal, at| journal.fold(&steps[*at].image()))
        };
        let honest = fold(&[0, 1, 2]);
        for other in
            [&[1, 0, 2][..], &[0, 2, 1], &[0, 1], &[0, 2], &[1, 2], &[0, 1, 1, 2], &[0, 1, 2, 2]]
        {
            assert_ne!(fold(other), honest, "{other:?}");
        }
    }

    #[test]
    fn the_slot_is_the_one_that_the_contracts_use() {
        let slot = b256!("0xb5eb1be91e63e7a5290b13add6b727d07cf66520075de8364fb70f1d47001700");
        assert_eq!(Journal::slot(), slot);
        let contract = include_str!("../../../contracts/Journal.sol");
        assert!(contract.contains(&slot.to_string()), "Journal.sol names another slot");
    }

    #[test]
    fn the_sequence_is_the_low_word_alone() {
        let mut word = B256::repeat_byte(0xff);
        assert_eq!(Journal(word).sequence(), u64::MAX);
        word.0[24..].fill(0);
        assert_eq!(Journal(word).sequence(), 0);
        assert_eq!(Journal::default().sequence(), 0);
    }
}
