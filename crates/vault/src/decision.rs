//! The decision: may this enclave have this secret? Pure.
//!
//! Read [`authorize`], then `refusals`; the rest is what they read. What other families of contracts have in common with it is in
//! `common`; iExec's rule is in `deal`. The rules are those of one table:
//!
//! | resource | must hold, at the head and at the confirmed block |
//! | --- | --- |
//! | every one | task started, not ended, in time; order names this SMS; proven worker is the order's; enclave is the pinned one; the app's owner whitelists it and the terms hold |
//! | app secret | pushed by the app's owner in this epoch |
//! | requester secret *i* | granted, not revoked; the requester has a secret of that name |
//! | protected data *n* | listed; its owner whitelists the enclave and the terms hold; key pushed in this epoch for the content bought |

mod common;
pub(crate) mod deal;

use alloy_primitives::{Address, B256};
use sesame_attestation::{VerifiedEnclave, WorkerProof};
use sesame_domain::{
    AssetId, AssetSnapshot, Authorization, BlockRef, Denial, EnclaveId, Facts, Resource, SecretId,
    Standing, Task, TaskId,
};
use sesame_protocol::jwk::Jwk;

use self::common::{Clock, agreed, not_running};
use crate::record::Metadata;

/// What is asked, of which service, when.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// The task.
    pub task: TaskId,
    /// What of it.
    pub resource: Resource,
    /// The identity of the SMS that is asked.
    pub sms: Address,
    /// Wall clock, seconds since 1970.
    pub now: u64,
}

/// Who asks, as far as the rules care. Proven for [`authorize`], supposed for [`explain`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// The worker that vouches for the run.
    pub worker: Address,
    /// The enclave.
    pub enclave: EnclaveId,
}

/// Why the answer is no; never empty, sorted, each reason once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denials(Vec<Denial>);

impl Denials {
    /// The reasons.
    #[must_use]
    pub fn reasons(&self) -> &[Denial] {
        &self.0
    }
}

/// What the vault holds for each secret that a question needs: the newest version, or nothing.
#[derive(Debug, Clone, Default)]
pub struct Secrets(pub(crate) Vec<(Resource, Option<Metadata>)>);

impl Secrets {
    fn of(&self, resource: Resource) -> Option<&Metadata> {
        self.0.iter().find(|(of, _)| *of == resource).and_then(|(_, found)| found.as_ref())
    }
}

/// The answer "yes", and the only key to the vault. Names the blocks that it rests on.
#[derive(Debug)]
#[must_use = "a release that is not spent on the vault gives nobody anything"]
pub struct Release {
    pub(crate) items: Vec<ReleasedItem>,
    key: Jwk,
    head: BlockRef,
    confirmed: BlockRef,
}

impl Release {
    /// What is released.
    #[must_use]
    pub fn items(&self) -> &[ReleasedItem] {
        &self.items
    }

    /// Splits what is released: as many of the first secrets as have `bytes` together, and the rest.
    pub(crate) fn split(mut self, bytes: u64) -> (Vec<ReleasedItem>, Vec<ReleasedItem>) {
        let mut total = 0u64;
        let fits = |item: &&ReleasedItem| {
            total = total.saturating_add(item.size);
            total <= bytes
        };
        let kept = self.items.iter().take_while(fits).count();
        let rest = self.items.split_off(kept);
        (self.items, rest)
    }

    /// The attested key that the answer is encrypted to.
    #[must_use]
    pub const fn key(&self) -> &Jwk {
        &self.key
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
}

/// One secret of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleasedItem {
    /// What the enclave asked for.
    pub resource: Resource,
    pub(crate) secret: SecretId,
    /// Which version of it.
    pub version: u64,
    /// How many bytes it has.
    pub size: u64,
}

/// A secret that a question needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub(crate) resource: Resource,
    pub(crate) secret: SecretId,
    /// For protected data: the content whose key is wanted.
    pub(crate) content: Option<B256>,
}

/// Decides for a proven enclave and a proven worker. Reads nothing but its arguments.
///
/// # Errors
/// Every reason why not.
pub fn authorize(
    asked: &Asked,
    head: &Facts,
    confirmed: &Facts,
    secrets: &Secrets,
    worker: &WorkerProof,
    enclave: &VerifiedEnclave,
) -> Result<Release, Denials> {
    let vouched = if worker.task() == asked.task { worker.worker() } else { Address::ZERO };
    let claim = Claim { worker: vouched, enclave: enclave.id() };
    explain(asked, head, confirmed, secrets, Some(claim))?;
    Ok(Release {
        items: released(asked.resource, head, confirmed, secrets),
        key: enclave.key().clone(),
        head: head.at.as_ref(),
        confirmed: confirmed.at.as_ref(),
    })
}

/// The same rules for a supposed claim; without one, the order's own worker and enclave. Can never yield a release.
///
/// # Errors
/// Every reason why not.
pub fn explain(
    asked: &Asked,
    head: &Facts,
    confirmed: &Facts,
    secrets: &Secrets,
    claim: Option<Claim>,
) -> Result<(), Denials> {
    let clock = Clock::new(&head.at, asked.now);
    let mut reasons = agreed(
        refusals(asked, head, secrets, claim, clock),
        || refusals(asked, confirmed, secrets, claim, clock),
        || Denial::NotYetConfirmed { block: head.changed_at, confirmed: confirmed.at.number },
    );
    reasons.sort();
    reasons.dedup();
    if reasons.is_empty() { Ok(()) } else { Err(Denials(reasons)) }
}

/// Which secrets the vault has to look for.
#[must_use]
pub fn wanted(resource: Resource, facts: &Facts) -> Vec<Wanted> {
    let Some(task) = &facts.task else { return Vec::new() };
    declared(resource, task)
        .into_iter()
        .filter_map(|resource| {
            let (secret, content) = match resource {
                Resource::Bundle => return None,
                Resource::AppSecret => (SecretId::Asset(task.order.app), None),
                Resource::RequesterSecret(index) => {
                    let name = task.grant(index)?.name.clone();
                    (SecretId::Requester(task.requester, name), None)
                }
                Resource::ProtectedData(n) => {
                    let (asset, snapshot) = task.data(n)?;
                    (SecretId::Asset(asset), Some(snapshot.digest))
                }
            };
            Some(Wanted { resource, secret, content })
        })
        .collect()
}

/// Every reason that one view has against the claim.
fn refusals(
    asked: &Asked,
    facts: &Facts,
    secrets: &Secrets,
    claim: Option<Claim>,
    clock: Clock,
) -> Vec<Denial> {
    let Some(task) = &facts.task else { return vec![Denial::TaskUnknown] };
    let order = &task.order;
    let claim = claim.unwrap_or(Claim { worker: order.worker, enclave: order.enclave });
    let mut reasons = not_running(task, clock);
    if order.sms != asked.sms {
        reasons.push(Denial::WrongSms { expected: order.sms, got: asked.sms });
    }
    if order.worker != claim.worker {
        reasons.push(Denial::WrongWorker { expected: order.worker, got: claim.worker });
    }
    if order.enclave != claim.enclave {
        reasons.push(Denial::WrongEnclave { expected: order.enclave, got: claim.enclave });
    }
    let judge = Judge { task, sms: asked.sms, enclave: claim.enclave, clock };
    judge.standing(&facts.app, &task.app, &mut reasons);
    for resource in declared(asked.resource, task) {
        judge.resource(resource, asked.resource, facts, secrets, &mut reasons);
    }
    reasons
}

/// The single secrets behind a resource.
fn declared(resource: Resource, task: &Task) -> Vec<Resource> {
    if resource != Resource::Bundle {
        return vec![resource];
    }
    let grants = task.order.grants.iter().map(|grant| Resource::RequesterSecret(grant.index));
    let data = (1..).zip(&task.order.data).map(|(n, _)| Resource::ProtectedData(n));
    std::iter::once(Resource::AppSecret).chain(grants).chain(data).collect()
}

struct Judge<'a> {
    task: &'a Task,
    sms: Address,
    enclave: EnclaveId,
    clock: Clock,
}

impl Judge<'_> {
    /// Does the asset's owner let this enclave near it, on terms that this task meets?
    fn standing(&self, standing: &Standing, bought: &AssetSnapshot, reasons: &mut Vec<Denial>) {
        let (id, enclave) = (standing.id, self.enclave);
        let Some(asset) = &standing.asset else {
            reasons.push(Denial::AssetUnknown { asset: id });
            return;
        };
        match &standing.authorization {
            None => reasons.push(Denial::NotWhitelisted { asset: id, enclave }),
            Some(word) if word.epoch != asset.epoch => {
                reasons.push(Denial::AuthorizationVoid { asset: id });
            }
            Some(word) => self.terms(id, word, bought, reasons),
        }
    }

    fn terms(
        &self,
        asset: AssetId,
        word: &Authorization,
        bought: &AssetSnapshot,
        reasons: &mut Vec<Denial>,
    ) {
        let terms = &word.terms;
        if self.clock.head < terms.not_before {
            reasons.push(Denial::NotYetValid { asset, not_before: terms.not_before });
        }
        if terms.not_after != 0 && self.clock.latest > terms.not_after {
            reasons.push(Denial::AuthorizationExpired { asset, not_after: terms.not_after });
        }
        if terms.app != AssetId::default() && terms.app != self.task.order.app {
            reasons.push(Denial::WrongApp { asset, expected: terms.app });
        }
        if !terms.requester.is_zero() && terms.requester != self.task.requester {
            reasons.push(Denial::WrongRequester { asset, expected: terms.requester });
        }
        if !terms.sms.is_zero() && terms.sms != self.sms {
            reasons.push(Denial::WrongSms { expected: terms.sms, got: self.sms });
        }
        let (price, paid) = (terms.price, bought.price);
        let in_other_coin = terms.currency != self.task.order.currency;
        if !price.is_zero() && (price > paid || in_other_coin) {
            reasons.push(Denial::PriceNotPaid { asset, price, paid });
        }
        // The contract counts uses per serial, at purchase: this limit has never counted a task of another serial.
        let (max_tasks, serial, bought_serial) = (terms.max_tasks, word.serial, bought.serial);
        if max_tasks != 0 && serial != bought_serial {
            reasons.push(Denial::MaxTasks { asset, max_tasks, serial, bought_serial });
        }
    }

    fn resource(
        &self,
        resource: Resource,
        asked: Resource,
        facts: &Facts,
        secrets: &Secrets,
        reasons: &mut Vec<Denial>,
    ) {
        match resource {
            Resource::Bundle => {}
            Resource::AppSecret => {
                // An app that has no secret simply has none in its bundle.
                let needed = asked == Resource::AppSecret;
                if needed && !belongs(secrets.of(resource), &facts.app) {
                    reasons.extend(missing_of(&facts.app));
                }
            }
            Resource::RequesterSecret(index) => self.grant(index, secrets, reasons),
            Resource::ProtectedData(n) => match facts.data(n).zip(self.task.data(n)) {
                None => reasons.push(Denial::AssetUnknown { asset: AssetId::default() }),
                Some((standing, (_, bought))) => {
                    self.standing(standing, bought, reasons);
                    if !belongs(secrets.of(resource), standing) {
                        reasons.extend(missing_of(standing));
                    }
                }
            },
        }
    }

    fn grant(&self, index: u32, secrets: &Secrets, reasons: &mut Vec<Denial>) {
        let Some(grant) = self.task.grant(index) else {
            reasons.push(Denial::SecretNotGranted { index });
            return;
        };
        if self.task.revoked_grants.contains(&index) {
            reasons.push(Denial::GrantRevoked { index });
        }
        let owner = self.task.requester;
        let found = secrets.of(Resource::RequesterSecret(index));
        if found.is_none_or(|found| found.owner != owner) {
            let name = Some(grant.name.clone());
            reasons.push(Denial::SecretMissing { owner, name, asset: None });
        }
    }
}

/// A secret belongs to the owner and epoch that pushed it, unless it was pushed to go with the asset.
fn belongs(found: Option<&Metadata>, standing: &Standing) -> bool {
    let (Some(found), Some(asset)) = (found, &standing.asset) else { return false };
    found.transferable || (found.owner == asset.owner && found.epoch == asset.epoch)
}

fn missing_of(standing: &Standing) -> Option<Denial> {
    let owner = standing.asset.as_ref()?.owner;
    Some(Denial::SecretMissing { owner, name: None, asset: Some(standing.id) })
}

/// What an allowed question releases: everything asked for, but an app secret that is not the owner's.
fn released(
    resource: Resource,
    head: &Facts,
    confirmed: &Facts,
    secrets: &Secrets,
) -> Vec<ReleasedItem> {
    wanted(resource, head)
        .into_iter()
        .filter_map(|wanted| {
            let found = secrets.of(wanted.resource)?;
            let of_the_app = wanted.resource == Resource::AppSecret;
            let owned = [head, confirmed].iter().all(|facts| belongs(Some(found), &facts.app));
            (!of_the_app || owned).then_some(ReleasedItem {
                resource: wanted.resource,
                secret: wanted.secret,
                version: found.version,
                size: found.size,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests;
