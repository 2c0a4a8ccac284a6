//! Tasks: what a requester bought.

use std::collections::BTreeSet;

use alloy_primitives::{Address, B256, U256};

use crate::{AssetId, Deal, EnclaveId, SecretName};

/// One of the requester's secrets that a task may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// From 1: the number under which the app sees the secret.
    pub index: u32,
    /// The name under which the requester pushed it.
    pub name: SecretName,
}

/// The whole order of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The app to run.
    pub app: AssetId,
    /// The enclave that the task is pinned to.
    pub enclave: EnclaveId,
    /// The protected data that the app will see, number 1 first.
    pub data: Vec<AssetId>,
    /// Which of the requester's secrets the task may read.
    pub grants: Vec<Grant>,
    /// Who runs the task.
    pub worker: Address,
    /// The identity of the SMS that releases the secrets.
    pub sms: Address,
    /// Who may have the result.
    pub beneficiary: Address,
    /// Last second at which the task may run.
    pub deadline: u64,
    /// The ERC-20 that everything is paid in; zero for the native coin.
    pub currency: Address,
    /// What the worker gets.
    pub reward: U256,
    /// The most that the requester pays in all.
    pub max_cost: U256,
    /// What the app is told.
    pub params: String,
}

/// What an asset was when the task was bought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssetSnapshot {
    /// Where its content was.
    pub uri: String,
    /// SHA-256 of that content.
    pub digest: B256,
    /// The asset's epoch.
    pub epoch: u64,
    /// The serial of the authorization used.
    pub serial: u64,
    /// What the owner is paid.
    pub price: U256,
}

/// What became of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum TaskStatus {
    /// Bought, not started.
    Purchased = 1,
    /// Started by its worker.
    Started = 2,
    /// Ended with a result.
    Completed = 3,
    /// Ended by the requester before it started.
    Cancelled = 4,
    /// Ended by its deadline.
    Expired = 5,
    /// Its result is agreed on and not yet shown (PoCo): it may go back to started.
    Revealing = 6,
}

impl TaskStatus {
    /// Whether nothing can happen to the task any more.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Cancelled | Self::Expired)
    }

    /// The status as the wire and the logs write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Purchased => "purchased",
            Self::Started => "started",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::Revealing => "revealing",
        }
    }
}

/// A task as a view knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Who bought it.
    pub requester: Address,
    /// What became of it.
    pub status: TaskStatus,
    /// What was ordered.
    pub order: Order,
    /// The app at purchase.
    pub app: AssetSnapshot,
    /// Each of `order.data` at purchase.
    pub data: Vec<AssetSnapshot>,
    /// The grants that the requester took back.
    pub revoked_grants: BTreeSet<u32>,
    /// The deal that it belongs to, where it was bought by PoCo.
    pub deal: Option<Box<Deal>>,
}

impl Task {
    /// The protected data number `n`, from 1, with its snapshot.
    #[must_use]
    pub fn data(&self, n: u32) -> Option<(AssetId, &AssetSnapshot)> {
        let place = usize::try_from(n).ok()?.checked_sub(1)?;
        Some((*self.order.data.get(place)?, self.data.get(place)?))
    }

    /// The grant of index `index`.
    #[must_use]
    pub fn grant(&self, index: u32) -> Option<&Grant> {
        self.order.grants.iter().find(|grant| grant.index == index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task() -> Task {
        let snapshot = |epoch| AssetSnapshot {
            uri: String::new(),
            digest: B256::ZERO,
            epoch,
            serial: 0,
            price: U256::ZERO,
        };
        let order = Order {
            app: AssetId::default(),
            enclave: EnclaveId::default(),
            data: vec![AssetId(B256::repeat_byte(1)), AssetId(B256::repeat_byte(2))],
            grants: vec![Grant { index: 7, name: "name".parse().unwrap() }],
            worker: Address::ZERO,
            sms: Address::ZERO,
            beneficiary: Address::ZERO,
            deadline: 0,
            currency: Address::ZERO,
            reward: U256::ZERO,
            max_cost: U256::ZERO,
            params: String::new(),
        };
        Task {
            requester: Address::ZERO,
            status: TaskStatus::Purchased,
            order,
            app: snapshot(0),
            data: vec![snapshot(1), snapshot(2)],
            revoked_grants: BTreeSet::new(),
            deal: None,
        }
    }

    #[test]
    fn protected_data_counts_from_one() {
        let task = task();
        let found = |n| task.data(n).map(|(id, snapshot)| (id.0[0], snapshot.epoch));
        assert_eq!(found(0), None);
        assert_eq!(found(1), Some((1, 1)));
        assert_eq!(found(2), Some((2, 2)));
        assert_eq!(found(3), None);
        assert_eq!(found(u32::MAX), None);
    }

    #[test]
    fn grants_are_found_by_index_and_not_by_place() {
        assert!(task().grant(7).is_some());
        for absent in [0, 1, 6, 8, u32::MAX] {
            assert_eq!(task().grant(absent), None, "{absent}");
        }
    }

    #[test]
    fn three_of_six_states_are_final() {
        use TaskStatus::{Cancelled, Completed, Expired, Purchased, Revealing, Started};

        for (status, text, last) in [
            (Purchased, "purchased", false),
            (Started, "started", false),
            (Completed, "completed", true),
            (Cancelled, "cancelled", true),
            (Expired, "expired", true),
            (Revealing, "revealing", false),
        ] {
            assert_eq!((status.as_str(), status.is_final()), (text, last));
        }
    }
}
