//! What PoCo's tasks and orders hash to.

use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_sol_types::{Eip712Domain, SolStruct};
use sesame_domain::TaskId;

pub use order::DatasetOrder;

mod order {
    //! The struct as Solidity would write it; its spelling is its EIP-712 type.

    alloy_sol_types::sol! {
        /// The owner of a dataset lets deals have it.
        #[derive(Debug, PartialEq, Eq)]
        struct DatasetOrder {
            /// The dataset.
            address dataset;
            /// What each task costs, in nano RLC.
            uint256 datasetprice;
            /// How many tasks may have it.
            uint256 volume;
            /// What the deal's tag has to hold.
            bytes32 tag;
            /// The app, a group of apps (ERC-734), or zero for any.
            address apprestrict;
            /// The workerpool, a group of them, or zero for any.
            address workerpoolrestrict;
            /// The requester, a group of them, or zero for any.
            address requesterrestrict;
            /// Makes equal orders different.
            bytes32 salt;
        }
    }
}

/// The EIP-712 domain in which PoCo's orders are signed.
#[must_use]
pub fn domain(chain_id: u64, hub: Address) -> Eip712Domain {
    Eip712Domain::new(
        Some("iExecODB".into()),
        Some("5.0.0".into()),
        Some(U256::from(chain_id)),
        Some(hub),
        None,
    )
}

impl DatasetOrder {
    /// What is signed for the order, and by which the hub knows it.
    #[must_use]
    pub fn hash(&self, chain_id: u64, hub: Address) -> B256 {
        self.eip712_signing_hash(&domain(chain_id, hub))
    }
}

/// A task: `keccak256(deal ‖ index)`, counted from the deal's `botFirst`, not from 0.
#[must_use]
pub fn task_id(deal: B256, index: U256) -> TaskId {
    TaskId(keccak256([deal.0, index.to_be_bytes()].concat()))
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{address, b256};

    use super::*;

    const HUB: Address = address!("5907CE3a77e92348Fb919b5a04113881fF7a925d");

    fn order() -> DatasetOrder {
        DatasetOrder {
            dataset: address!("00000000000000000000000000000000000a55e7"),
            datasetprice: U256::ZERO,
            volume: U256::from(9_007_199_254_740_991u64),
            tag: B256::with_last_byte(9),
            apprestrict: Address::ZERO,
            workerpoolrestrict: Address::ZERO,
            requesterrestrict: Address::ZERO,
            salt: B256::repeat_byte(0x44),
        }
    }

    #[test]
    fn a_dataset_order_hashes_as_on_the_chain() {
        assert_eq!(
            order().eip712_type_hash(),
            b256!("6cfc932a5a3d22c4359295b9f433edff52b60703fa47690a04a83e40933dd47c")
        );
        assert_eq!(
            domain(31337, HUB).separator(),
            b256!("6a75e8f4858e7915df2a89ff4e1f9665c8cc5fac0c7aa2d75f49b8beae233d4e")
        );
        assert_eq!(
            order().hash(31337, HUB),
            b256!("c96dc1094f23de28ef458af11cb68555357b436093527e0c4ec26aaf2c26ea80")
        );
    }

    #[test]
    fn every_field_chain_and_hub_count() {
        let hash = order().hash(31337, HUB);
        assert_ne!(order().hash(1, HUB), hash);
        assert_ne!(order().hash(31337, Address::ZERO), hash);
        let one = Address::with_last_byte(1);
        for other in [
            DatasetOrder { dataset: one, ..order() },
            DatasetOrder { datasetprice: U256::ONE, ..order() },
            DatasetOrder { volume: U256::ONE, ..order() },
            DatasetOrder { tag: B256::ZERO, ..order() },
            DatasetOrder { apprestrict: one, ..order() },
            DatasetOrder { workerpoolrestrict: one, ..order() },
            DatasetOrder { requesterrestrict: one, ..order() },
            DatasetOrder { salt: B256::ZERO, ..order() },
        ] {
            assert_ne!(other.hash(31337, HUB), hash, "{other:?}");
        }
    }

    #[test]
    fn tasks_have_the_ids_of_the_chain() {
        let deal = B256::repeat_byte(0x33);
        let tasks = [
            b256!("a2198913505ba0684e7b9125ca79002c1058535fa2266e5471bd84ae2a18dbf5"),
            b256!("cf61c38d3656d57548ac113ddddca3959b0b3fa4bae50b2232563fd725b5a3fb"),
        ];
        for (index, expected) in (0..).zip(tasks) {
            assert_eq!(task_id(deal, U256::from(index)), TaskId(expected));
        }
    }
}
