//! iExec's rule: may a worker have the secrets of a task of this deal? Pure.
//!
//! PoCo pins no enclave and asks no owner: who matched the orders of a deal gave its task everything that the orders name. What is
//! left to check, at the head and at the confirmed block, in this order:
//!
//! | what must hold | name on the wire, after `EXECUTION_NOT_AUTHORIZED_` |
//! | --- | --- |
//! | the task is known | `GET_CHAIN_TASK_FAILED` |
//! | it is active, and its final deadline has not passed | `TASK_NOT_ACTIVE` |
//! | its deal is known, and has begun | `GET_CHAIN_DEAL_FAILED` |
//! | the deal's tag names a TEE | `NO_MATCH_ONCHAIN_TYPE` |
//! | the owner of the workerpool, as the deal froze it, signed for this worker, task and enclave challenge | `INVALID_SIGNATURE` |
//!
//! What only the confirmed block lacks is `GET_CHAIN_TASK_FAILED`: wait for it.

use std::{fmt, sync::Arc};

use alloy_primitives::{Address, B256};
use sesame_domain::{
    AssetId, BlockRef, Deal, Denial, Facts, IexecSecret, Task, TaskId, TaskStatus,
};

use super::common::{Clock, agreed, not_running};

/// Which task is asked about, when.
#[derive(Debug, Clone, Copy)]
pub struct DealAsked {
    /// The task.
    pub task: TaskId,
    /// Wall clock, seconds since 1970.
    pub now: u64,
}

/// Who asks for a session. That the worker signed it is for the caller to have checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionClaim {
    /// The worker.
    pub worker: Address,
    /// The enclave challenge that both signed.
    pub challenge: Address,
    /// The one that the vault issued for the task, if it did.
    pub issued: Option<Address>,
    /// Who signed for the workerpool; none if that is no signature.
    pub scheduler: Option<Address>,
}

/// Why a deal's secrets are not released.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DealDenial {
    /// The view knows no such task.
    TaskUnknown,
    /// It does not run: it has not started, has ended, or its time is up.
    NotRunning(Denial),
    /// Its deal has not begun.
    DealUnknown,
    /// The deal's tag names no TEE.
    NoTee {
        /// The tag.
        tag: B256,
    },
    /// Not signed by the owner of the workerpool.
    NotSigned {
        /// Who should have.
        scheduler: Address,
    },
    /// Signed for another enclave challenge than the one that this service issued.
    WrongChallenge {
        /// The one that it issued, if it did.
        issued: Option<Address>,
    },
    /// The view at the head allows it; the confirmed view, older, does not yet.
    NotYetConfirmed {
        /// The newest block that changed the task.
        block: u64,
        /// The confirmed block.
        confirmed: u64,
    },
}

impl DealDenial {
    /// The reason's name on the wire.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::TaskUnknown | Self::NotYetConfirmed { .. } => {
                "EXECUTION_NOT_AUTHORIZED_GET_CHAIN_TASK_FAILED"
            }
            Self::NotRunning(_) => "EXECUTION_NOT_AUTHORIZED_TASK_NOT_ACTIVE",
            Self::DealUnknown => "EXECUTION_NOT_AUTHORIZED_GET_CHAIN_DEAL_FAILED",
            Self::NoTee { .. } => "EXECUTION_NOT_AUTHORIZED_NO_MATCH_ONCHAIN_TYPE",
            Self::NotSigned { .. } | Self::WrongChallenge { .. } => {
                "EXECUTION_NOT_AUTHORIZED_INVALID_SIGNATURE"
            }
        }
    }
}

impl fmt::Display for DealDenial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TaskUnknown => f.write_str("the chain knows no such task: nobody initialized it"),
            Self::NotRunning(Denial::TaskEnded { status: TaskStatus::Revealing }) => {
                f.write_str("its contributions have reached a consensus already")
            }
            Self::NotRunning(Denial::TaskEnded { status }) => {
                write!(f, "the task is {}", status.as_str())
            }
            Self::NotRunning(Denial::TaskExpired { deadline }) => {
                write!(f, "its final deadline was {deadline}")
            }
            Self::NotRunning(other) => f.write_str(other.code()),
            Self::DealUnknown => f.write_str("the task's deal has not begun"),
            Self::NoTee { tag } => write!(f, "the deal's tag {tag} names no TEE"),
            Self::NotSigned { scheduler } => {
                write!(f, "the workerpool's owner, {scheduler}, did not sign this")
            }
            Self::WrongChallenge { issued: Some(issued) } => {
                write!(f, "signed for another enclave challenge than {issued}, which was issued")
            }
            Self::WrongChallenge { issued: None } => {
                f.write_str("no enclave challenge was issued for this task yet")
            }
            Self::NotYetConfirmed { block, confirmed } => {
                write!(f, "it is so since block {block}, and block {confirmed} is confirmed")
            }
        }
    }
}

/// The answer "yes" to whoever wants to know a task's enclave challenge.
#[derive(Debug)]
#[must_use = "the vault makes the challenge for it"]
pub struct ChallengeGrant {
    pub(crate) task: TaskId,
}

/// The answer "yes" to a session, and the only key to the secrets that it may hold. Names the blocks that it rests on.
#[derive(Debug)]
#[must_use = "a release that is not spent on the vault gives nobody anything"]
pub struct DealRelease {
    id: TaskId,
    task: Arc<Task>,
    deal: Deal,
    worker: Address,
    bulk: Vec<Address>,
    head: BlockRef,
    confirmed: BlockRef,
}

impl DealRelease {
    /// The same with the datasets of the task's slice of a bulk. Whoever says so has checked that each one's order fits the deal.
    pub fn with_bulk(self, datasets: Vec<Address>) -> Self {
        Self { bulk: datasets, ..self }
    }

    /// The task as the head has it.
    #[must_use]
    pub fn task(&self) -> &Arc<Task> {
        &self.task
    }

    /// The task's deal.
    #[must_use]
    pub const fn deal(&self) -> &Deal {
        &self.deal
    }

    /// Who runs it.
    #[must_use]
    pub const fn worker(&self) -> Address {
        self.worker
    }

    /// The head that allowed it.
    #[must_use]
    pub const fn head(&self) -> BlockRef {
        self.head
    }

    /// The confirmed block that allowed it.
    #[must_use]
    pub const fn confirmed(&self) -> BlockRef {
        self.confirmed
    }

    /// Whether this secret is one that the deal gives to the task, its worker, or those whom the result concerns.
    pub(crate) fn covers(&self, secret: &IexecSecret) -> bool {
        let order = &self.task.order;
        match secret {
            IexecSecret::Dataset(address) => {
                order.data.contains(&AssetId::from(*address)) || self.bulk.contains(address)
            }
            IexecSecret::App(address) => order.app == AssetId::from(*address),
            IexecSecret::Requester(address, name) => {
                let granted = order.grants.iter().any(|grant| grant.name == *name);
                granted && *address == self.task.requester
            }
            IexecSecret::Web2(owner, _) => {
                let concerned = [self.task.requester, order.beneficiary, self.worker];
                concerned.contains(owner) || *owner == self.deal.scheduler
            }
            IexecSecret::Challenge(task) => *task == self.id,
            IexecSecret::Spent(_) => false,
        }
    }
}

/// Decides about the challenge of a task, for whoever signed the request for it.
///
/// # Errors
/// Every reason why not, in the order of the checks.
pub fn authorize_challenge(
    asked: &DealAsked,
    head: &Facts,
    confirmed: &Facts,
    signer: Option<Address>,
) -> Result<ChallengeGrant, Vec<DealDenial>> {
    decide(asked, head, confirmed, Some(&Claim { signer, challenge: None }))?;
    Ok(ChallengeGrant { task: asked.task })
}

/// Decides about a session.
///
/// # Errors
/// Every reason why not, in the order of the checks.
pub fn authorize_session(
    asked: &DealAsked,
    head: &Facts,
    confirmed: &Facts,
    claim: &SessionClaim,
) -> Result<DealRelease, Vec<DealDenial>> {
    let challenge = Some((claim.challenge, claim.issued));
    decide(asked, head, confirmed, Some(&Claim { signer: claim.scheduler, challenge }))?;
    let known = head.task.as_ref().and_then(|task| Some((task, task.deal.as_deref()?)));
    let (task, deal) = known.ok_or_else(|| vec![DealDenial::TaskUnknown])?;
    Ok(DealRelease {
        id: asked.task,
        task: Arc::clone(task),
        deal: deal.clone(),
        worker: claim.worker,
        bulk: Vec::new(),
        head: head.at.as_ref(),
        confirmed: confirmed.at.as_ref(),
    })
}

/// The same rule for whoever asks what it would say, were everything signed. Can never yield a release.
///
/// # Errors
/// Every reason why not, in the order of the checks.
pub fn explain_deal(
    asked: &DealAsked,
    head: &Facts,
    confirmed: &Facts,
) -> Result<(), Vec<DealDenial>> {
    decide(asked, head, confirmed, None)
}

/// What was signed, and by whom.
struct Claim {
    signer: Option<Address>,
    /// The enclave challenge that was signed for, and the one that was issued.
    challenge: Option<(Address, Option<Address>)>,
}

fn decide(
    asked: &DealAsked,
    head: &Facts,
    confirmed: &Facts,
    claim: Option<&Claim>,
) -> Result<(), Vec<DealDenial>> {
    let clock = Clock::new(&head.at, asked.now);
    let reasons = agreed(
        refusals(head, claim, clock),
        || refusals(confirmed, claim, clock),
        || DealDenial::NotYetConfirmed { block: head.changed_at, confirmed: confirmed.at.number },
    );
    if reasons.is_empty() { Ok(()) } else { Err(reasons) }
}

/// Every reason that one view has against the claim.
fn refusals(facts: &Facts, claim: Option<&Claim>, clock: Clock) -> Vec<DealDenial> {
    let known = facts.task.as_ref().and_then(|task| Some((task, task.deal.as_deref()?)));
    let Some((task, deal)) = known else { return vec![DealDenial::TaskUnknown] };
    let mut reasons: Vec<_> =
        not_running(task, clock).into_iter().map(DealDenial::NotRunning).collect();
    if deal.start_time == 0 {
        reasons.push(DealDenial::DealUnknown);
    }
    if deal.framework().is_none() {
        reasons.push(DealDenial::NoTee { tag: deal.tag });
    }
    if claim.is_some_and(|claim| claim.signer != Some(deal.scheduler)) {
        reasons.push(DealDenial::NotSigned { scheduler: deal.scheduler });
    }
    if let Some((signed, issued)) = claim.and_then(|claim| claim.challenge)
        && issued != Some(signed)
    {
        reasons.push(DealDenial::WrongChallenge { issued });
    }
    reasons
}

#[cfg(test)]
mod tests;
