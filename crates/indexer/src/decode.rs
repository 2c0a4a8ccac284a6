//! Logs to events.

use alloy::{
    primitives::{Address, B256, keccak256},
    rpc::types::Log,
    sol_types::{self, SolEvent, SolEventInterface, abi::AbiDecoderConfig},
};
use sesame_chain::{
    Deployment,
    abi::{
        assets::{IAssetRegistry::IAssetRegistryEvents, IERC721},
        tasks::ITaskRegistry::{ITaskRegistryEvents, Withdrawn},
        whitelist::IEnclaveWhitelist::IEnclaveWhitelistEvents,
    },
    convert,
};
use sesame_domain::{ChainEvent, EnclaveId, EventAt, LogImage, ParseIdError, Registry, TaskId};

use crate::verify::Watched;

/// What a contract encodes has one encoding: any other was made by somebody else.
const STRICT: AbiDecoderConfig = AbiDecoderConfig::new().strict(true);

/// Stands where text is not UTF-8. The contracts take any bytes for text, so nobody must be able to stop the mirror by them.
const REPLACEMENT: char = '\u{FFFD}';

/// Strictly, or, where nothing but text keeps a log from that, with its text made readable.
fn decode<E: std::fmt::Debug>(
    decode: impl Fn(AbiDecoderConfig) -> Result<E, sol_types::Error>,
) -> Result<E, Refusal> {
    decode(STRICT).or_else(|error| match decode(AbiDecoderConfig::new()) {
        Ok(event) if format!("{event:?}").contains(REPLACEMENT) => Ok(event),
        _ => Err(error.into()),
    })
}

/// A log of our contracts that is not one of their events: other contracts than the manifest says, or a node that lies.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A log of a contract that was not asked for.
    #[error("a log of {0}, which is none of the deployment's contracts")]
    OtherContract(Address),
    /// Topics and data fit no event of the contract.
    #[error("a log of the {registry:?} registry fits none of its events")]
    Malformed {
        /// Which contract.
        registry: Registry,
        /// Why.
        #[source]
        source: sol_types::Error,
    },
    /// An event holds a value that the contract would have refused.
    #[error("a log of the {registry:?} registry holds an impossible value")]
    Impossible {
        /// Which contract.
        registry: Registry,
        /// Why.
        #[source]
        source: ParseIdError,
    },
    /// Topics and data fit no event of a contract of another family.
    #[error("a log of {contract} fits none of its events")]
    NoEvent {
        /// Which contract.
        contract: Address,
        /// Why.
        #[source]
        source: sol_types::Error,
    },
    /// What a contract is said to have answered cannot be.
    #[error("what {contract} was said to answer cannot be: {what}")]
    FalseFact {
        /// Which contract.
        contract: Address,
        /// Why.
        what: &'static str,
    },
}

/// Decodes the logs of one deployment.
#[derive(Debug, Clone)]
pub struct Decoder {
    registries: [(Address, Registry); 3],
}

impl Decoder {
    /// A decoder for the contracts of `deployment`.
    #[must_use]
    pub const fn new(deployment: &Deployment) -> Self {
        Self {
            registries: [
                (deployment.asset_registry, Registry::Assets),
                (deployment.enclave_whitelist, Registry::Whitelist),
                (deployment.task_registry, Registry::Tasks),
            ],
        }
    }

    /// The contracts with the first topics of the events that the view needs.
    pub(crate) fn watched(&self) -> Vec<Watched> {
        let watched = |(address, registry): &(Address, Registry)| {
            let own = match registry {
                Registry::Assets => IAssetRegistryEvents::SELECTORS,
                Registry::Whitelist => IEnclaveWhitelistEvents::SELECTORS,
                Registry::Tasks => ITaskRegistryEvents::SELECTORS,
            };
            let mut topics: Vec<B256> = own.iter().map(|topic| B256::new(*topic)).collect();
            if *registry == Registry::Assets {
                topics.push(IERC721::Transfer::SIGNATURE_HASH);
            }
            topics.retain(|topic| !is_unmirrored(*registry, Some(topic)));
            Watched { address: *address, topics }
        };
        self.registries.iter().map(watched).collect()
    }

    /// What `log`, of a block with this timestamp in seconds, says; nothing if no view needs it.
    ///
    /// # Errors
    /// When the log is not an event of the deployment's contracts.
    pub fn decode(&self, log: &Log, timestamp: u64) -> Result<Option<EventAt>, DecodeError> {
        let address = log.inner.address;
        let registry = self.registries.iter().find(|(at, _)| *at == address);
        let (_, registry) = *registry.ok_or(DecodeError::OtherContract(address))?;
        if is_unmirrored(registry, log.topic0()) {
            return Ok(None);
        }
        let event = match registry {
            Registry::Assets => asset_event(log),
            Registry::Whitelist => whitelist_event(log),
            Registry::Tasks => task_event(log),
        };
        let event = event.map_err(|error| match error {
            Refusal::Abi(source) => DecodeError::Malformed { registry, source },
            Refusal::Value(source) => DecodeError::Impossible { registry, source },
        })?;
        Ok(Some(EventAt { journal: Some((registry, image(log, timestamp))), event }))
    }
}

/// The part of a log that its registry's journal folds in.
fn image(log: &Log, timestamp: u64) -> LogImage {
    let mut topics = [B256::ZERO; 4];
    for (slot, topic) in topics.iter_mut().zip(log.topics()) {
        *slot = *topic;
    }
    LogImage { timestamp, topics, data_hash: keccak256(&log.inner.data.data) }
}

enum Refusal {
    Abi(sol_types::Error),
    Value(ParseIdError),
}

impl From<sol_types::Error> for Refusal {
    fn from(error: sol_types::Error) -> Self {
        Self::Abi(error)
    }
}

impl From<ParseIdError> for Refusal {
    fn from(error: ParseIdError) -> Self {
        Self::Value(error)
    }
}

/// Events that change nothing the view holds, and that the journals leave out.
fn is_unmirrored(registry: Registry, topic: Option<&B256>) -> bool {
    let Some(topic) = topic else { return false };
    match registry {
        Registry::Assets => {
            *topic == IERC721::Approval::SIGNATURE_HASH
                || *topic == IERC721::ApprovalForAll::SIGNATURE_HASH
        }
        Registry::Whitelist => false,
        Registry::Tasks => *topic == Withdrawn::SIGNATURE_HASH,
    }
}

fn asset_event(log: &Log) -> Result<ChainEvent, Refusal> {
    if log.topic0() == Some(&IERC721::Transfer::SIGNATURE_HASH) {
        let transfer = IERC721::Transfer::decode_log_with_config(&log.inner, STRICT)?;
        let (asset, from, to) = (transfer.tokenId.into(), transfer.from, transfer.to);
        return Ok(ChainEvent::AssetTransferred { asset, from, to });
    }
    let events = |how| IAssetRegistryEvents::decode_log_with_config(&log.inner, how);
    Ok(match decode(events)?.data {
        IAssetRegistryEvents::AssetRegistered(event) => ChainEvent::AssetRegistered {
            asset: event.assetId.into(),
            kind: convert::kind(event.kind)?,
            digest: event.digest,
            uri: event.uri,
        },
        IAssetRegistryEvents::ContentSet(event) => ChainEvent::ContentSet {
            asset: event.assetId.into(),
            digest: event.digest,
            uri: event.uri,
        },
    })
}

fn whitelist_event(log: &Log) -> Result<ChainEvent, Refusal> {
    let events = |how| IEnclaveWhitelistEvents::decode_log_with_config(&log.inner, how);
    Ok(match decode(events)?.data {
        IEnclaveWhitelistEvents::EnclaveAuthorized(event) => ChainEvent::EnclaveAuthorized {
            asset: event.assetId.into(),
            enclave: EnclaveId(event.enclaveId),
            epoch: event.epoch,
            serial: event.serial,
            terms: convert::terms(event.terms),
        },
        IEnclaveWhitelistEvents::EnclaveRevoked(event) => ChainEvent::EnclaveRevoked {
            asset: event.assetId.into(),
            enclave: EnclaveId(event.enclaveId),
        },
    })
}

fn task_event(log: &Log) -> Result<ChainEvent, Refusal> {
    use ITaskRegistryEvents as Event;

    let events = |how| Event::decode_log_with_config(&log.inner, how);
    Ok(match decode(events)?.data {
        Event::TaskPurchased(event) => ChainEvent::TaskPurchased {
            task: TaskId(event.taskId),
            requester: event.requester,
            order: Box::new(convert::order(event.order)?),
            app: convert::snapshot(event.app),
            data: event.data.into_iter().map(convert::snapshot).collect(),
            deal: None,
        },
        Event::TaskStarted(event) => ChainEvent::TaskStarted { task: TaskId(event.taskId) },
        Event::TaskCompleted(event) => ChainEvent::TaskCompleted { task: TaskId(event.taskId) },
        Event::TaskCancelled(event) => ChainEvent::TaskCancelled { task: TaskId(event.taskId) },
        Event::TaskExpired(event) => ChainEvent::TaskExpired { task: TaskId(event.taskId) },
        Event::TaskSettled(event) => ChainEvent::TaskSettled { task: TaskId(event.taskId) },
        Event::GrantRevoked(event) => {
            ChainEvent::GrantRevoked { task: TaskId(event.taskId), index: event.index }
        }
        Event::Withdrawn(_) => return Err(sol_types::Error::custom("not mirrored").into()),
    })
}

#[cfg(test)]
mod tests;
