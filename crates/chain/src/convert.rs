//! The ABI's structs as the domain's, and back.

use sesame_domain::{
    AssetKind, AssetSnapshot, EnclaveId, Grant, Order, ParseIdError, TaskStatus, Terms,
};

use crate::abi::{tasks, whitelist};

/// What a requester ordered.
///
/// # Errors
/// When a grant's name is not a secret's name. The contract refuses such an order, so it comes from no honest registry.
pub fn order(order: tasks::Order) -> Result<Order, ParseIdError> {
    Ok(Order {
        app: order.app.into(),
        enclave: EnclaveId(order.enclaveId),
        data: order.data.into_iter().map(Into::into).collect(),
        grants: order.grants.into_iter().map(grant).collect::<Result<_, _>>()?,
        worker: order.worker,
        sms: order.sms,
        beneficiary: order.beneficiary,
        deadline: order.deadline,
        currency: order.currency,
        reward: order.reward,
        max_cost: order.maxCost,
        params: order.params,
    })
}

fn grant(grant: tasks::Grant) -> Result<Grant, ParseIdError> {
    Ok(Grant { index: grant.index, name: grant.name.parse()? })
}

/// What an asset was when a task was bought.
#[must_use]
pub fn snapshot(snapshot: tasks::AssetSnapshot) -> AssetSnapshot {
    AssetSnapshot {
        uri: snapshot.uri,
        digest: snapshot.digest,
        epoch: snapshot.epoch,
        serial: snapshot.serial,
        price: snapshot.price,
    }
}

/// What an owner asks of a task.
#[must_use]
pub fn terms(terms: whitelist::Terms) -> Terms {
    Terms {
        not_before: terms.notBefore,
        not_after: terms.notAfter,
        app: terms.app.into(),
        requester: terms.requester,
        sms: terms.sms,
        max_tasks: terms.maxTasks,
        currency: terms.currency,
        price: terms.price,
    }
}

/// What an asset of the registry is.
///
/// # Errors
/// When the registry knows no such kind.
pub fn kind(kind: u8) -> Result<AssetKind, ParseIdError> {
    match AssetKind::try_from(kind)? {
        // Another family's.
        AssetKind::Workerpool => Err(ParseIdError::NotAKind(kind)),
        ours @ (AssetKind::App | AssetKind::ProtectedData) => Ok(ours),
    }
}

/// What became of a task; none when the registry does not know it.
#[must_use]
pub const fn status(status: tasks::ITaskRegistry::Status) -> Option<TaskStatus> {
    use tasks::ITaskRegistry::Status;

    match status {
        Status::Purchased => Some(TaskStatus::Purchased),
        Status::Started => Some(TaskStatus::Started),
        Status::Completed => Some(TaskStatus::Completed),
        Status::Cancelled => Some(TaskStatus::Cancelled),
        Status::Expired => Some(TaskStatus::Expired),
        Status::None | Status::__Invalid => None,
    }
}

impl From<&Order> for tasks::Order {
    fn from(order: &Order) -> Self {
        Self {
            app: order.app.to_u256(),
            enclaveId: order.enclave.0,
            data: order.data.iter().map(|asset| asset.to_u256()).collect(),
            grants: order.grants.iter().map(Into::into).collect(),
            worker: order.worker,
            sms: order.sms,
            beneficiary: order.beneficiary,
            deadline: order.deadline,
            currency: order.currency,
            reward: order.reward,
            maxCost: order.max_cost,
            params: order.params.clone(),
        }
    }
}

impl From<&Grant> for tasks::Grant {
    fn from(grant: &Grant) -> Self {
        Self { index: grant.index, name: grant.name.to_string() }
    }
}

impl From<&AssetSnapshot> for tasks::AssetSnapshot {
    fn from(snapshot: &AssetSnapshot) -> Self {
        Self {
            uri: snapshot.uri.clone(),
            digest: snapshot.digest,
            epoch: snapshot.epoch,
            serial: snapshot.serial,
            price: snapshot.price,
        }
    }
}

impl From<&Terms> for whitelist::Terms {
    fn from(terms: &Terms) -> Self {
        Self {
            notBefore: terms.not_before,
            notAfter: terms.not_after,
            app: terms.app.to_u256(),
            requester: terms.requester,
            sms: terms.sms,
            maxTasks: terms.max_tasks,
            currency: terms.currency,
            price: terms.price,
        }
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::{Address, B256, U256};
    use sesame_domain::AssetId;

    use super::*;

    fn an_order() -> Order {
        Order {
            app: AssetId(B256::repeat_byte(1)),
            enclave: EnclaveId(B256::repeat_byte(2)),
            data: vec![AssetId(B256::repeat_byte(3)), AssetId(B256::repeat_byte(4))],
            grants: vec![Grant { index: 7, name: "db-password".parse().unwrap() }],
            worker: Address::repeat_byte(5),
            sms: Address::repeat_byte(6),
            beneficiary: Address::repeat_byte(7),
            deadline: 8,
            currency: Address::repeat_byte(9),
            reward: U256::from(10),
            max_cost: U256::from(11),
            params: "--fast".to_owned(),
        }
    }

    #[test]
    fn an_order_comes_back_as_it_went() {
        let there = tasks::Order::from(&an_order());
        assert_eq!(order(there), Ok(an_order()));
    }

    #[test]
    fn an_order_with_an_impossible_name_is_refused() {
        let mut bad = tasks::Order::from(&an_order());
        bad.grants[0].name = "no spaces".to_owned();
        assert_eq!(order(bad), Err(ParseIdError::NotAName));
    }

    #[test]
    fn terms_come_back_as_they_went() {
        let asked = Terms {
            not_before: 1,
            not_after: 2,
            app: AssetId(B256::repeat_byte(3)),
            requester: Address::repeat_byte(4),
            sms: Address::repeat_byte(5),
            max_tasks: 6,
            currency: Address::repeat_byte(7),
            price: U256::from(8),
        };
        assert_eq!(terms(whitelist::Terms::from(&asked)), asked);
    }

    #[test]
    fn a_snapshot_comes_back_as_it_went() {
        let taken = AssetSnapshot {
            uri: "https://example.org/app".to_owned(),
            digest: B256::repeat_byte(1),
            epoch: 2,
            serial: 3,
            price: U256::from(4),
        };
        assert_eq!(snapshot(tasks::AssetSnapshot::from(&taken)), taken);
    }
}
