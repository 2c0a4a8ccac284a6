//! PoCo's contracts as a family of the index.

pub mod abi;
mod asset;
mod deployment;
mod read;
mod task;
#[cfg(test)]
mod tests;

use alloy::{
    primitives::{Address, B256, Bytes, U256},
    rpc::types::Log,
    sol_types::{self, SolCall, SolEvent, SolEventInterface},
};
use sesame_domain::{AssetKind, Block, ChainEvent, TaskId};
use sesame_indexer::{Adapter, DecodeError, Facts, Tie, Watched};

pub use self::deployment::{Deployment, DeploymentError};
use self::{
    abi::{
        IHub::{self, IHubEvents},
        IRegistry,
    },
    read::{Reader, STRICT, Stop},
};

/// What the logs of one deployment of PoCo mean.
///
/// An asset is registered when its registry mints its token. A task is bought and started when somebody initializes it: until then
/// nothing on the chain is about it but its deal. Deals and tasks of PoCo's Boost, of which the hub's views know nothing, are no
/// tasks of ours; what they consume of orders counts.
#[derive(Debug, Clone, Copy)]
pub struct Poco {
    deployment: Deployment,
}

impl Poco {
    /// What the logs of `deployment` mean.
    #[must_use]
    pub const fn new(deployment: Deployment) -> Self {
        Self { deployment }
    }

    /// What the registry at this address registers.
    fn registered_by(&self, contract: Address) -> Option<AssetKind> {
        let Deployment { app_registry, dataset_registry, workerpool_registry, .. } =
            self.deployment;
        let registries = [
            (app_registry, AssetKind::App),
            (dataset_registry, AssetKind::ProtectedData),
            (workerpool_registry, AssetKind::Workerpool),
        ];
        registries.into_iter().find(|(at, _)| *at == contract).map(|(_, kind)| kind)
    }
}

impl Adapter for Poco {
    fn watched(&self) -> Vec<Watched> {
        let hub: Vec<B256> = IHubEvents::SELECTORS.iter().map(|topic| B256::new(*topic)).collect();
        let registry = vec![IRegistry::Transfer::SIGNATURE_HASH];
        let [at, apps, datasets, workerpools] = self.deployment.contracts();
        let registries = [apps, datasets, workerpools];
        let registries = registries.map(|address| Watched { address, topics: registry.clone() });
        [Watched { address: at, topics: hub }].into_iter().chain(registries).collect()
    }

    fn ties(&self) -> Vec<Tie> {
        let Deployment { hub, app_registry, dataset_registry, workerpool_registry, .. } =
            self.deployment;
        let tie = |input: Vec<u8>, names| Tie { contract: hub, input: input.into(), names };
        vec![
            tie(IHub::appregistryCall {}.abi_encode(), app_registry),
            tie(IHub::datasetregistryCall {}.abi_encode(), dataset_registry),
            tie(IHub::workerpoolregistryCall {}.abi_encode(), workerpool_registry),
        ]
    }

    fn events(
        &self,
        block: &Block,
        logs: &[Log],
        facts: &mut Facts,
    ) -> Result<Vec<ChainEvent>, DecodeError> {
        let mut reader = Reader { block, facts };
        let mut events = Vec::with_capacity(logs.len());
        for log in logs {
            let contract = log.inner.address;
            let said = match self.registered_by(contract) {
                Some(kind) => asset::moved(&mut reader, kind, log),
                None if contract == self.deployment.hub => hub(&mut reader, log),
                None => return Err(DecodeError::OtherContract(contract)),
            };
            match said {
                Ok(said) => events.extend(said),
                // Whatever else the block leaves open is asked for in one go.
                Err(Stop::Unknown) => {}
                Err(Stop::Refused(error)) => return Err(error),
            }
        }
        Ok(events)
    }
}

/// What a log of the hub says; nothing if no view needs it.
fn hub(reader: &mut Reader<'_>, log: &Log) -> Result<Vec<ChainEvent>, Stop> {
    use IHubEvents as Event;

    let known = log.topic0().is_some_and(|topic| IHubEvents::SELECTORS.contains(&topic.0));
    if !known {
        return Ok(Vec::new());
    }
    let hub = log.inner.address;
    let event = IHubEvents::decode_log_with_config(&log.inner, STRICT)
        .map_err(|source| no_event(hub, source))?;
    Ok(match event.data {
        Event::OrdersMatched(event) => matched(&event),
        Event::TaskInitialize(event) => task::initialized(reader, hub, &event)?,
        Event::TaskConsensus(event) => {
            vec![ChainEvent::TaskRevealing { task: TaskId(event.taskid) }]
        }
        Event::TaskReopen(event) => vec![ChainEvent::TaskStarted { task: TaskId(event.taskid) }],
        Event::TaskFinalize(event) => {
            vec![ChainEvent::TaskCompleted { task: TaskId(event.taskid) }]
        }
        Event::TaskClaimed(event) => vec![ChainEvent::TaskExpired { task: TaskId(event.taskid) }],
        Event::SignedDatasetOrder(IHub::SignedDatasetOrder { datasetHash: order }) => {
            let by = reader.ask(hub, &IHub::viewPresignedCall { id: order })?;
            if by.is_zero() {
                return Err(Stop::lie(hub, "an order that was signed here has no signer"));
            }
            vec![ChainEvent::OrderPresigned { order, by }]
        }
        Event::ClosedAppOrder(event) => vec![ChainEvent::OrderClosed { order: event.appHash }],
        Event::ClosedDatasetOrder(event) => {
            vec![ChainEvent::OrderClosed { order: event.datasetHash }]
        }
        Event::ClosedWorkerpoolOrder(event) => {
            vec![ChainEvent::OrderClosed { order: event.workerpoolHash }]
        }
        Event::ClosedRequestOrder(event) => {
            vec![ChainEvent::OrderClosed { order: event.requestHash }]
        }
    })
}

/// A deal, and what it takes of each order. A deal without a dataset has no dataset order.
fn matched(event: &IHub::OrdersMatched) -> Vec<ChainEvent> {
    let IHub::OrdersMatched { dealid, requestHash, volume, .. } = *event;
    let deal =
        ChainEvent::DealMatched { deal: dealid, request: requestHash, volume: at_most(volume) };
    let orders = [event.appHash, event.datasetHash, event.workerpoolHash, requestHash];
    let consumed = orders.into_iter().filter(|order| !order.is_zero());
    let consumed = consumed.map(|order| ChainEvent::OrderConsumed { order, volume });
    std::iter::once(deal).chain(consumed).collect()
}

/// The number, or the greatest there is.
fn at_most(number: U256) -> u64 {
    number.saturating_to()
}

fn no_event(contract: Address, source: sol_types::Error) -> Stop {
    Stop::Refused(DecodeError::NoEvent { contract, source })
}

/// What a contract takes for text.
fn text(bytes: &Bytes) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
