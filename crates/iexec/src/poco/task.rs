//! Tasks: what a deal says about one of its runs.

use alloy::primitives::{Address, B256, U256};
use sesame_domain::{AssetId, AssetSnapshot, ChainEvent, Deal, EnclaveId, Grant, Order};

use super::{
    abi::{self, IHub},
    at_most,
    read::{Reader, Stop},
    text,
};
use crate::{ids::task_id, params::DealParams};

/// A task that was initialized: bought and started at once. Of a run whose number is beyond all counting nothing is said.
pub(super) fn initialized(
    reader: &mut Reader<'_>,
    hub: Address,
    event: &IHub::TaskInitialize,
) -> Result<Vec<ChainEvent>, Stop> {
    let said = reader.ask(hub, &IHub::viewTaskCall { id: event.taskid })?;
    let task = task_id(said.dealid, said.idx);
    if task.0 != event.taskid {
        return Err(Stop::lie(hub, "the task's deal and number do not hash to its id"));
    }
    let deal = reader.ask(hub, &IHub::viewDealCall { id: said.dealid })?;
    check(reader, event, &said, &deal).map_err(|what| Stop::lie(hub, what))?;
    let (Ok(index), Ok(first)) = (u64::try_from(said.idx), u64::try_from(deal.botFirst)) else {
        return Ok(Vec::new());
    };
    let bought = ChainEvent::TaskPurchased {
        task,
        requester: deal.requester,
        order: Box::new(order(&said, &deal)),
        app: named(&deal.app),
        data: dataset(&deal).map(named).into_iter().collect(),
        deal: Some(Box::new(Deal {
            id: said.dealid,
            index,
            first,
            size: at_most(deal.botSize),
            tag: deal.tag,
            workerpool: deal.workerpool.pointer,
            scheduler: deal.workerpool.owner,
            callback: deal.callback,
            start_time: at_most(deal.startTime),
        })),
    };
    Ok(vec![bought, ChainEvent::TaskStarted { task }])
}

/// What the hub's own rules make certain of a task that was just initialized.
fn check(
    reader: &Reader<'_>,
    event: &IHub::TaskInitialize,
    task: &abi::Task,
    deal: &abi::Deal,
) -> Result<(), &'static str> {
    let end = deal.botFirst.saturating_add(deal.botSize);
    let sound = [
        (task.status != 0, "a task that was initialized is in no state"),
        (!deal.startTime.is_zero(), "a task was initialized of a deal that nobody made"),
        (deal.startTime <= U256::from(reader.block.timestamp), "a deal was made in the future"),
        (
            (deal.botFirst..end).contains(&task.idx),
            "a task was initialized that its deal does not hold",
        ),
        (deal.workerpool.pointer == event.workerpool, "a task's deal is with another workerpool"),
        (
            deal.startTime <= task.contributionDeadline
                && task.contributionDeadline <= task.finalDeadline,
            "a task ends before it begins",
        ),
    ];
    sound.into_iter().try_for_each(|(holds, what)| if holds { Ok(()) } else { Err(what) })
}

fn order(task: &abi::Task, deal: &abi::Deal) -> Order {
    let params = text(&deal.params);
    let granted = DealParams::read(&params).secrets.into_iter();
    let price = |resource: &abi::Resource| resource.price;
    let data_price = dataset(deal).map(price).unwrap_or_default();
    Order {
        app: deal.app.pointer.into(),
        // The view knows the app, and with it this.
        enclave: EnclaveId::default(),
        data: dataset(deal).map(|dataset| AssetId::from(dataset.pointer)).into_iter().collect(),
        grants: granted
            .filter_map(|(index, name)| Some(Grant { index, name: name.parse().ok()? }))
            .collect(),
        worker: Address::ZERO,
        sms: Address::ZERO,
        beneficiary: deal.beneficiary,
        deadline: at_most(task.finalDeadline),
        currency: Address::ZERO,
        reward: deal.workerpool.price,
        max_cost: [deal.app.price, data_price, deal.workerpool.price]
            .into_iter()
            .fold(U256::ZERO, U256::saturating_add),
        params,
    }
}

/// The deal's dataset, if there is one.
fn dataset(deal: &abi::Deal) -> Option<&abi::Resource> {
    Some(&deal.dataset).filter(|dataset| !dataset.pointer.is_zero())
}

/// An asset of which the deal says no more than its address and price; the view knows the rest.
const fn named(resource: &abi::Resource) -> AssetSnapshot {
    AssetSnapshot {
        uri: String::new(),
        digest: B256::ZERO,
        epoch: 0,
        serial: 0,
        price: resource.price,
    }
}
