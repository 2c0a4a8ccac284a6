//! The rule, written out once more from its description: whole states in, every objection out.
//!
//! It shares nothing with the vault's but the words of questions and answers, and is not in a hurry.

use std::collections::BTreeSet;

use alloy_primitives::{Address, B256};
use sesame_domain::{AssetId, Denial, EnclaveId, Resource, SecretId, TaskStatus};
use sesame_vault::{Asked, Claim, Metadata};

use super::model::{Model, State};

/// What an owner put into the vault or, without metadata, took out of it.
pub(super) struct Deposit {
    pub(super) secret: SecretId,
    pub(super) version: u64,
    pub(super) metadata: Option<Metadata>,
}

/// A question about the state after one block or, for what is not confirmed yet, about two.
pub(super) struct Question<'a> {
    pub(super) asked: &'a Asked,
    pub(super) claim: Option<Claim>,
    pub(super) shelf: &'a [Deposit],
}

/// What is released, or why not.
pub(super) type Answer = Result<Vec<(Resource, u64)>, BTreeSet<Denial>>;

impl Question<'_> {
    pub(super) fn answered(&self, model: &Model, (head, confirmed): (u64, u64)) -> Answer {
        let (head, confirmed) = (&model.states[&head], &model.states[&confirmed]);
        let time = head.block.timestamp;
        let no = self.objections(head, time);
        if !no.is_empty() {
            return Err(no);
        }
        if !self.objections(confirmed, time).is_empty() {
            let (block, confirmed) = (self.written_at(head), confirmed.block.number);
            return Err(BTreeSet::from([Denial::NotYetConfirmed { block, confirmed }]));
        }
        Ok(self.released(head, confirmed))
    }

    /// Everything that `state` has against it when the head's clock shows `time`.
    fn objections(&self, state: &State, time: u64) -> BTreeSet<Denial> {
        let asked = self.asked;
        let Some(task) = state.bought(asked.task) else {
            return BTreeSet::from([Denial::TaskUnknown]);
        };
        let order = &task.order;
        let (ours, late) = (asked.sms, time.max(asked.now));
        let (worker, enclave) =
            self.claim.map_or((order.worker, order.enclave), |claim| (claim.worker, claim.enclave));
        let mut no = Vec::new();
        let mut must = |holds: bool, otherwise: Denial| {
            if !holds {
                no.push(otherwise);
            }
        };
        let status = task.status;
        let alive = [TaskStatus::Purchased, TaskStatus::Started].contains(&status);
        must(status != TaskStatus::Purchased, Denial::TaskNotStarted);
        must(alive, Denial::TaskEnded { status });
        must(late <= order.deadline, Denial::TaskExpired { deadline: order.deadline });
        must(order.sms == ours, Denial::WrongSms { expected: order.sms, got: ours });
        must(order.worker == worker, Denial::WrongWorker { expected: order.worker, got: worker });
        let expected = order.enclave;
        must(expected == enclave, Denial::WrongEnclave { expected, got: enclave });

        let mut assets = vec![(order.app, &task.app)];
        for n in self.data(order.data.len()) {
            match order.data.get(n.wrapping_sub(1)) {
                Some(id) => assets.push((*id, &task.data[n - 1])),
                None => must(false, Denial::AssetUnknown { asset: AssetId::default() }),
            }
        }
        for (asset, bought) in assets {
            let Some(row) = state.owned(asset) else {
                must(false, Denial::AssetUnknown { asset });
                continue;
            };
            let Some(word) = state.word(asset, enclave) else {
                must(false, Denial::NotWhitelisted { asset, enclave });
                continue;
            };
            if word.epoch != row.epoch {
                must(false, Denial::AuthorizationVoid { asset });
                continue;
            }
            let terms = &word.terms;
            let (not_before, not_after) = (terms.not_before, terms.not_after);
            must(not_before <= time, Denial::NotYetValid { asset, not_before });
            let in_time = not_after == 0 || late <= not_after;
            must(in_time, Denial::AuthorizationExpired { asset, not_after });
            let expected = terms.app;
            let fits = [AssetId::default(), order.app].contains(&expected);
            must(fits, Denial::WrongApp { asset, expected });
            let expected = terms.requester;
            let fits = [Address::ZERO, task.requester].contains(&expected);
            must(fits, Denial::WrongRequester { asset, expected });
            let expected = terms.sms;
            let fits = [Address::ZERO, ours].contains(&expected);
            must(fits, Denial::WrongSms { expected, got: ours });
            let (price, paid) = (terms.price, bought.price);
            let paid_for = paid >= price && order.currency == terms.currency;
            must(price.is_zero() || paid_for, Denial::PriceNotPaid { asset, price, paid });
            let (max_tasks, serial, bought_serial) = (terms.max_tasks, word.serial, bought.serial);
            let counted = max_tasks == 0 || serial == bought_serial;
            must(counted, Denial::MaxTasks { asset, max_tasks, serial, bought_serial });
        }

        for index in self.indices(state) {
            let Some(grant) = order.grants.iter().find(|grant| grant.index == index) else {
                must(false, Denial::SecretNotGranted { index });
                continue;
            };
            must(!task.revoked_grants.contains(&index), Denial::GrantRevoked { index });
            let owner = task.requester;
            let secret = SecretId::Requester(owner, grant.name.clone());
            let name = Some(grant.name.clone());
            let there = self.held(&secret, None).is_some_and(|held| held.owner == owner);
            must(there, Denial::SecretMissing { owner, name, asset: None });
        }
        let app = (asked.resource == Resource::AppSecret).then_some((order.app, None));
        let data = self.data(order.data.len()).into_iter().filter_map(|n| {
            Some((*order.data.get(n.wrapping_sub(1))?, Some(task.data[n - 1].digest)))
        });
        for (asset, content) in app.into_iter().chain(data) {
            let Some(row) = state.owned(asset) else { continue };
            let missing =
                Denial::SecretMissing { owner: row.owner, name: None, asset: Some(asset) };
            must(self.of_the_owner(state, asset, content), missing);
        }
        no.into_iter().collect()
    }

    /// Which protected data the question is about, of so many.
    fn data(&self, count: usize) -> Vec<usize> {
        match self.asked.resource {
            Resource::Bundle => (1..=count).collect(),
            Resource::ProtectedData(n) => vec![n as usize],
            Resource::AppSecret | Resource::RequesterSecret(_) => Vec::new(),
        }
    }

    /// Which of the requester's secrets it is about.
    fn indices(&self, state: &State) -> Vec<u32> {
        let task = state.bought(self.asked.task);
        let grants = task.map(|task| task.order.grants.as_slice()).unwrap_or_default();
        match self.asked.resource {
            Resource::Bundle => grants.iter().map(|grant| grant.index).collect(),
            Resource::RequesterSecret(index) => vec![index],
            Resource::AppSecret | Resource::ProtectedData(_) => Vec::new(),
        }
    }

    /// The last deposit since the secret was last taken out; of a content, the last that opens it.
    fn held(&self, secret: &SecretId, content: Option<B256>) -> Option<&Metadata> {
        let mut held = None;
        for deposit in self.shelf.iter().filter(|deposit| deposit.secret == *secret) {
            match &deposit.metadata {
                None => held = None,
                Some(put) if content.is_none_or(|content| content == put.content_digest) => {
                    held = Some(put);
                }
                Some(_) => {}
            }
        }
        held
    }

    fn of_the_owner(&self, state: &State, asset: AssetId, content: Option<B256>) -> bool {
        let held = self.held(&SecretId::Asset(asset), content);
        held.zip(state.owned(asset)).is_some_and(|(held, row)| {
            held.transferable || (held.owner, held.epoch) == (row.owner, row.epoch)
        })
    }

    /// The newest block that wrote anything that the question is about.
    fn written_at(&self, state: &State) -> u64 {
        let Some(task) = state.bought(self.asked.task) else { return 0 };
        let enclave: EnclaveId = self.claim.map_or(task.order.enclave, |claim| claim.enclave);
        let data = self.data(task.order.data.len()).into_iter();
        let data = data.filter_map(|n| task.order.data.get(n - 1).copied());
        let of_assets = std::iter::once(task.order.app).chain(data).flat_map(|id| {
            let asset = state.assets.get(&id).map(|row| row.0);
            [asset, state.words.get(&(id, enclave)).map(|row| row.0)].into_iter().flatten()
        });
        of_assets.chain([state.tasks[&self.asked.task].0]).max().unwrap_or_default()
    }

    /// Everything asked for, with its version; of a bundle, an app's secret if there is one for this owner.
    fn released(&self, head: &State, confirmed: &State) -> Vec<(Resource, u64)> {
        let Some(task) = head.bought(self.asked.task) else { return Vec::new() };
        let mut items = Vec::new();
        if matches!(self.asked.resource, Resource::Bundle | Resource::AppSecret) {
            let app = task.order.app;
            let given = [head, confirmed].iter().all(|state| self.of_the_owner(state, app, None));
            let held = self.held(&SecretId::Asset(app), None).filter(|_| given);
            items.extend(held.map(|held| (Resource::AppSecret, held.version)));
        }
        for index in self.indices(head) {
            let grant = task.order.grants.iter().find(|grant| grant.index == index);
            let secret = grant.map(|grant| SecretId::Requester(task.requester, grant.name.clone()));
            let held = secret.and_then(|secret| self.held(&secret, None));
            items.extend(held.map(|held| (Resource::RequesterSecret(index), held.version)));
        }
        for n in self.data(task.order.data.len()) {
            let held =
                self.held(&SecretId::Asset(task.order.data[n - 1]), Some(task.data[n - 1].digest));
            let resource = Resource::ProtectedData(u32::try_from(n).unwrap());
            items.extend(held.map(|held| (resource, held.version)));
        }
        items
    }
}
