//! What PoCo, iExec's protocol, adds: deals and the orders that they consume.

use alloy_primitives::{Address, B256, U256, keccak256};

use crate::{EnclaveId, Framework};

/// Opens what is hashed for [`Deal::enclave`], so that no other hash is one.
const TDX_DOMAIN: &[u8] = b"sesame: an iExec app of this checksum in Intel TDX";

/// Of which deal a task is a run, and what the deal says beside the order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deal {
    /// `keccak256(hash of the request order ‖ first)`.
    pub id: B256,
    /// Which run: from `first` on, and less than `first + size`.
    pub index: u64,
    /// The first run of the deal.
    pub first: u64,
    /// How many runs were bought; the greatest number stands for any that is greater still.
    pub size: u64,
    /// What the task needs, bit by bit; the low four say in which TEE it runs.
    pub tag: B256,
    /// The workerpool, an asset as well.
    pub workerpool: Address,
    /// Who owned the workerpool when the deal was made: the one who says which worker may run the task.
    pub scheduler: Address,
    /// Who is called with the result; zero for nobody.
    pub callback: Address,
    /// When the deal was made, seconds since 1970.
    pub start_time: u64,
}

impl Deal {
    /// The TEE that its tag names, if it does.
    #[must_use]
    pub fn framework(&self) -> Option<Framework> {
        Framework::of_tag(self.tag)
    }

    /// What stands for the enclave where no whitelist knows any: the app of this checksum in the TEE that the tag names. Zero unless
    /// that is Intel TDX.
    #[must_use]
    pub fn enclave(&self, checksum: B256) -> EnclaveId {
        if self.framework() == Some(Framework::Tdx) {
            EnclaveId(keccak256([TDX_DOMAIN, checksum.as_slice()].concat()))
        } else {
            EnclaveId::default()
        }
    }
}

/// What the event of a deal's making says about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DealMatch {
    /// Hash of the request order.
    pub request: B256,
    /// How many runs were bought; the greatest number stands for any that is greater still.
    pub volume: u64,
}

impl DealMatch {
    /// Whether the deal can be the one that was made.
    #[must_use]
    pub fn fits(&self, deal: &Deal) -> bool {
        let first = B256::from(U256::from(deal.first));
        keccak256([self.request.0, first.0].concat()) == deal.id && self.volume == deal.size
    }
}

/// What became of an order, by its EIP-712 hash. One that nothing is known of is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OrderUse {
    /// How many runs were bought by it.
    pub consumed: U256,
    /// Whether who signed it took it back: nothing more can be bought by it.
    pub closed: bool,
    /// Who signed it on the chain, which counts as a signature as long as the asset is theirs.
    pub presigned_by: Option<Address>,
}

#[cfg(test)]
mod tests {
    use alloy_primitives::b256;

    use super::*;

    fn deal() -> Deal {
        Deal {
            id: b256!("0x16cb43d034ed6e80566ab57c4dd5697e92d5a8866db3f0ec1bfc47ad711ba7c9"),
            index: 0,
            first: 0,
            size: 3,
            tag: B256::with_last_byte(0x9),
            workerpool: Address::ZERO,
            scheduler: Address::ZERO,
            callback: Address::ZERO,
            start_time: 1,
        }
    }

    #[test]
    fn a_deal_is_known_by_its_request_order_its_first_run_and_its_size() {
        let made = DealMatch { request: B256::repeat_byte(0x55), volume: 3 };
        assert!(made.fits(&deal()));
        assert!(!made.fits(&Deal { first: 1, index: 1, ..deal() }));
        assert!(!made.fits(&Deal { size: 2, ..deal() }));
        assert!(!made.fits(&Deal { id: B256::repeat_byte(0x16), ..deal() }));
        assert!(!DealMatch { request: B256::repeat_byte(0x54), ..made }.fits(&deal()));
    }

    #[test]
    fn an_app_in_tdx_has_an_enclave_and_in_another_tee_none() {
        let (one, other) = (B256::repeat_byte(1), B256::repeat_byte(2));
        assert_ne!(deal().enclave(one), deal().enclave(other));
        let gpu = Deal { tag: B256::from(U256::from(0x109)), ..deal() };
        assert_eq!(deal().enclave(one), gpu.enclave(one));
        for tag in [0, 1, 3, 5, 8, 0xb, 0xf] {
            let tagged = Deal { tag: B256::with_last_byte(tag), ..deal() };
            assert_eq!(tagged.enclave(one), EnclaveId::default(), "{tag}");
        }
    }
}
