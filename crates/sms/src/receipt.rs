//! Decisions to receipts, of which nobody hears before they are on disk.

use std::time::Instant;

use sesame_domain::{Denial, EnclaveId, Facts, Standing, TaskId};
use sesame_receipts::Decision;
use sesame_vault::{Denials, Release};
use sesame_view::BothViews;

use crate::{problem::ApiError, service::Service};

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
    /// What goes on record.
    pub(crate) fn on(&self, facts: &BothViews<Facts>) -> Record {
        let Self { task, enclave, label, now, result } = *self;
        let (released, reasons) = match result {
            Ok(release) => {
                let items = release.items().iter();
                (items.map(|item| (item.resource.to_string(), item.version)).collect(), Vec::new())
            }
            Err(denials) => (Vec::new(), denials.reasons().iter().map(Denial::code).collect()),
        };
        let about = About { task, enclave, label, now };
        Record { receipt: about.on(facts, released, &reasons), reasons }
    }
}

/// What a receipt is about.
#[derive(Debug)]
pub(crate) struct About<'a> {
    pub(crate) task: TaskId,
    pub(crate) enclave: EnclaveId,
    /// As [`Decided::label`].
    pub(crate) label: &'a str,
    pub(crate) now: u64,
}

impl About<'_> {
    /// What the receipt will say; none for an unknown task, which is not recorded.
    pub(crate) fn on(
        &self,
        facts: &BothViews<Facts>,
        released: Vec<(String, u64)>,
        denials: &[&'static str],
    ) -> Option<Decision> {
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
            denials: denials.iter().map(|code| (*code).to_owned()).collect(),
        })
    }
}

/// What goes on record before anybody hears of a decision.
#[derive(Debug)]
#[must_use = "every decision is on record"]
pub(crate) struct Record {
    /// Why it is a no; none if it is a yes.
    pub(crate) reasons: Vec<&'static str>,
    /// None for an unknown task.
    pub(crate) receipt: Option<Decision>,
}

impl Record {
    /// Durably.
    #[tracing::instrument(name = "receipt", skip_all)]
    pub(crate) fn keep(self, service: &Service) -> Result<(), ApiError> {
        service.metrics.decisions.decided(&self.reasons);
        if let Some(receipt) = self.receipt {
            let begun = Instant::now();
            service.receipts.append(receipt, &service.identity)?;
            service.metrics.receipts.observe(begun.elapsed().as_secs_f64());
        }
        Ok(())
    }
}
