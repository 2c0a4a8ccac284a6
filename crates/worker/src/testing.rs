//! A purchase for tests.

use alloy::primitives::{Address, B256, U256};
use sesame_chain::PurchasedTask;
use sesame_domain::{AssetId, AssetSnapshot, BlockRef, EnclaveId, Order, TaskId};

/// A task of this app that this requester bought.
pub(crate) fn purchase(app: AssetId, requester: Address) -> PurchasedTask {
    PurchasedTask {
        id: TaskId(B256::repeat_byte(7)),
        requester,
        block: BlockRef { number: 1, hash: B256::repeat_byte(1) },
        order: Order {
            app,
            enclave: EnclaveId(B256::repeat_byte(3)),
            data: Vec::new(),
            grants: Vec::new(),
            worker: Address::repeat_byte(5),
            sms: Address::repeat_byte(4),
            beneficiary: requester,
            deadline: u64::MAX,
            currency: Address::ZERO,
            reward: U256::ZERO,
            max_cost: U256::ZERO,
            params: String::new(),
        },
        app: AssetSnapshot {
            uri: "file:///app".to_owned(),
            digest: B256::ZERO,
            epoch: 0,
            serial: 1,
            price: U256::ZERO,
        },
        data: Vec::new(),
    }
}
