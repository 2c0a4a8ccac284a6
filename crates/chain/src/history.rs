//! What the contracts' logs tell a client that has no mirror, fetched in bounded ranges.

use alloy::{
    primitives::{Address, B256},
    providers::Provider,
    rpc::types::{Filter, Log},
    sol_types::SolEvent,
};
use sesame_domain::{AssetId, AssetSnapshot, Authorization, BlockRef, EnclaveId, Order, TaskId};

use crate::{
    ChainError, Reader,
    abi::{
        tasks::ITaskRegistry::{TaskCompleted, TaskPurchased},
        whitelist::IEnclaveWhitelist::{EnclaveAuthorized, EnclaveRevoked},
    },
    convert,
};

/// How many blocks one request covers; halved where a node finds that too much.
const RANGE: u64 = 2000;

/// How many blocks [`Reader::tasks_for`] looks at in one go.
const STEP: u64 = 20_000;

/// A task as it was bought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PurchasedTask {
    /// Which task.
    pub id: TaskId,
    /// Who bought it.
    pub requester: Address,
    /// The block that it was bought in; a reorg may still move it.
    pub block: BlockRef,
    /// What was ordered.
    pub order: Order,
    /// The app at purchase.
    pub app: AssetSnapshot,
    /// Each of `order.data` at purchase.
    pub data: Vec<AssetSnapshot>,
}

/// The tasks of a range of blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TasksUpTo {
    /// The last block that was looked at.
    pub block: u64,
    /// The newest block of the node then.
    pub head: u64,
    /// The tasks, oldest first.
    pub tasks: Vec<PurchasedTask>,
}

/// What a worker reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskResult {
    /// Says which result; how it is made is the launcher's (`crates/enclave/README.md`).
    pub digest: B256,
    /// Where the result is.
    pub uri: String,
    /// The address of the key that signed the result inside the TEE.
    pub enclave_key: Address,
}

/// How an authorization stands now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthorizationState {
    /// It holds, on its terms.
    Active,
    /// The owner took it back.
    Revoked,
    /// It was given by a former owner.
    Void,
}

/// An enclave that an asset's owners said something about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedEnclave {
    /// Which enclave.
    pub enclave: EnclaveId,
    /// The newest authorization.
    pub authorization: Authorization,
    /// How it stands now.
    pub state: AuthorizationState,
}

impl Reader {
    /// The tasks that name this worker, bought in block `from_block` or in one of the 20,000 after it: a long history is
    /// read in several goes, each from the block after [`TasksUpTo::block`], up to [`TasksUpTo::head`].
    ///
    /// The newest blocks may be undone by a reorg: ask again for some blocks before the head.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn tasks_for(
        &self,
        worker: Address,
        from_block: u64,
    ) -> Result<TasksUpTo, ChainError> {
        let head = self.head().await?.number;
        let block = head.min(from_block.saturating_add(STEP));
        let filter = self.purchases().topic3(worker.into_word());
        let logs = self.logs(filter, from_block, block).await?;
        Ok(TasksUpTo { block, head, tasks: logs.iter().filter_map(purchased).collect() })
    }

    /// The tasks that this requester bought in block `from_block` or later.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn tasks_of(
        &self,
        requester: Address,
        from_block: u64,
    ) -> Result<TasksUpTo, ChainError> {
        let head = self.head().await?.number;
        let filter = self.purchases().topic2(requester.into_word());
        let logs = self.logs(filter, from_block, head).await?;
        Ok(TasksUpTo { block: head, head, tasks: logs.iter().filter_map(purchased).collect() })
    }

    /// A task as it was bought; none when no log tells of it.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn purchase_of(&self, task: TaskId) -> Result<Option<PurchasedTask>, ChainError> {
        let logs = self.all_logs(self.purchases().topic1(task.0)).await?;
        Ok(logs.last().and_then(purchased))
    }

    /// What a task's worker reported; none when it did not yet.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn result_of(&self, task: TaskId) -> Result<Option<TaskResult>, ChainError> {
        let filter = Filter::new()
            .address(self.deployment().task_registry)
            .event_signature(TaskCompleted::SIGNATURE_HASH)
            .topic1(task.0);
        let logs = self.all_logs(filter).await?;
        let event = logs.last().and_then(|log| TaskCompleted::decode_log(&log.inner).ok());
        Ok(event.map(|event| TaskResult {
            digest: event.resultDigest,
            uri: event.resultUri.clone(),
            enclave_key: event.enclaveKey,
        }))
    }

    /// Every enclave that an asset's owners ever allowed, oldest first, and how that stands now.
    ///
    /// # Errors
    /// When the node does not answer or there is no such asset.
    pub async fn enclaves_of(&self, asset: AssetId) -> Result<Vec<ListedEnclave>, ChainError> {
        let epoch = self.epoch_of(asset).await?;
        let filter = Filter::new()
            .address(self.deployment().enclave_whitelist)
            .event_signature(vec![
                EnclaveAuthorized::SIGNATURE_HASH,
                EnclaveRevoked::SIGNATURE_HASH,
            ])
            .topic1(asset.0);
        Ok(listed(&self.all_logs(filter).await?, epoch))
    }

    fn purchases(&self) -> Filter {
        Filter::new()
            .address(self.deployment().task_registry)
            .event_signature(TaskPurchased::SIGNATURE_HASH)
    }

    async fn all_logs(&self, filter: Filter) -> Result<Vec<Log>, ChainError> {
        let head = self.head().await?.number;
        self.logs(filter, self.deployment().first_block, head).await
    }

    async fn logs(&self, filter: Filter, from: u64, to: u64) -> Result<Vec<Log>, ChainError> {
        let (mut next, mut range, mut logs) = (from, RANGE, Vec::new());
        while next <= to {
            let last = to.min(next.saturating_add(range - 1));
            let part = filter.clone().from_block(next).to_block(last);
            match self.provider.get_logs(&part).await.map_err(|error| self.failed(error)) {
                Ok(found) => {
                    logs.extend(found.into_iter().filter(|log| !log.removed));
                    next = last + 1;
                }
                // Nodes limit ranges and answers each in their own words.
                Err(ChainError::Rejected { .. }) if range > 1 => range /= 2,
                Err(error) => return Err(error),
            }
        }
        Ok(logs)
    }
}

/// The task of a log, unless the log is malformed.
fn purchased(log: &Log) -> Option<PurchasedTask> {
    let event = TaskPurchased::decode_log(&log.inner).ok()?.data;
    let id = TaskId(event.taskId);
    let block = BlockRef { number: log.block_number?, hash: log.block_hash? };
    let order = match convert::order(event.order) {
        Ok(order) => order,
        Err(error) => {
            tracing::warn!(task.id = %id, %error, "passing over task {id}: its order is malformed");
            return None;
        }
    };
    Some(PurchasedTask {
        id,
        requester: event.requester,
        block,
        order,
        app: convert::snapshot(event.app),
        data: event.data.into_iter().map(convert::snapshot).collect(),
    })
}

fn listed(logs: &[Log], epoch: u64) -> Vec<ListedEnclave> {
    let mut listed: Vec<ListedEnclave> = Vec::new();
    for log in logs {
        if let Ok(event) = EnclaveAuthorized::decode_log(&log.inner) {
            let event = event.data;
            let enclave = EnclaveId(event.enclaveId);
            let state = if event.epoch == epoch {
                AuthorizationState::Active
            } else {
                AuthorizationState::Void
            };
            let terms = convert::terms(event.terms);
            let authorization = Authorization { epoch: event.epoch, serial: event.serial, terms };
            listed.retain(|known| known.enclave != enclave);
            listed.push(ListedEnclave { enclave, authorization, state });
        } else if let Ok(event) = EnclaveRevoked::decode_log(&log.inner) {
            let revoked = listed.iter_mut().find(|known| known.enclave.0 == event.enclaveId);
            if let Some(known) = revoked {
                known.state = AuthorizationState::Revoked;
            }
        }
    }
    listed
}

#[cfg(test)]
mod tests {
    use alloy::{primitives::U256, sol_types::SolEvent};

    use super::*;
    use crate::abi::whitelist;

    fn log(event: &impl SolEvent) -> Log {
        let inner =
            alloy::primitives::Log { address: Address::ZERO, data: event.encode_log_data() };
        Log { inner, ..Log::default() }
    }

    fn authorized(enclave: u8, epoch: u64, serial: u64) -> Log {
        log(&EnclaveAuthorized {
            assetId: U256::from(1),
            enclaveId: B256::repeat_byte(enclave),
            epoch,
            serial,
            terms: whitelist::Terms::from(&sesame_domain::Terms::default()),
        })
    }

    fn revoked(enclave: u8, serial: u64) -> Log {
        log(&EnclaveRevoked {
            assetId: U256::from(1),
            enclaveId: B256::repeat_byte(enclave),
            serial,
        })
    }

    #[test]
    fn the_newest_word_about_an_enclave_counts() {
        let logs = [
            authorized(1, 0, 1),
            authorized(2, 0, 1),
            authorized(3, 1, 1),
            revoked(3, 1),
            authorized(4, 1, 1),
            revoked(4, 1),
            authorized(4, 1, 2),
        ];
        let states: Vec<_> = listed(&logs, 1)
            .into_iter()
            .map(|known| (known.enclave.0[0], known.authorization.serial, known.state))
            .collect();
        assert_eq!(
            states,
            [
                (1, 1, AuthorizationState::Void),
                (2, 1, AuthorizationState::Void),
                (3, 1, AuthorizationState::Revoked),
                (4, 2, AuthorizationState::Active),
            ]
        );
    }
}
