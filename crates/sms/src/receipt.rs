//! Decisions to receipts.

use sesame_domain::{EnclaveId, Facts, Standing, TaskId};
use sesame_receipts::Decision;
use sesame_vault::{Denials, Release};
use sesame_view::BothViews;

/// A decision to record, with what it rests on.
#[derive(Debug)]
pub(crate) struct Decided<'a> {
    pub(crate) task: TaskId,
    pub(crate) enclave: EnclaveId,
    /// The resource, or what else was decided: `result-key/{address}`.
    pub(crate) label: &'a str,
    pub(crate) now: u64,
    pub(crate) result: &'a Result<Release, Denials>,
}

impl Decided<'_> {
    /// What the receipt will say; none for an unknown task, which is not recorded.
    pub(crate) fn on(&self, facts: &BothViews<Facts>) -> Option<Decision> {
        let (released, denials) = match self.result {
            Ok(release) => {
                let items = release.items().iter();
                (items.map(|item| (item.resource.to_string(), item.version)).collect(), Vec::new())
            }
            Err(denials) => {
                let reasons = denials.reasons().iter();
                (Vec::new(), reasons.map(|reason| reason.code().to_owned()).collect())
            }
        };
        let epoch = |standing: &Standing| standing.asset.as_ref().map_or(0, |asset| asset.epoch);
        let standings = facts.head.data.iter().map(|(_, standing)| standing);
        let standings = std::iter::once(&facts.head.app).chain(standings);
        Some(Decision {
            decided_at: self.now,
            head: (facts.head.at.number, facts.head.at.hash),
            confirmed: (facts.confirmed.at.number, facts.confirmed.at.hash),
            task: self.task.0,
            requester: facts.head.task.as_ref()?.requester,
            assets: standings.map(|standing| (standing.id.0, epoch(standing))).collect(),
            enclave: self.enclave.0,
            resource: self.label.to_owned(),
            released,
            denials,
        })
    }
}
