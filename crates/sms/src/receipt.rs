//! Decisions to receipts, of which nobody hears before they are on disk.

use std::time::Instant;

use sesame_domain::{Denial, EnclaveId, Facts, Standing, TaskId};
use sesame_receipts::{Decision, Pending};
use sesame_vault::{Denials, Release};
use sesame_view::BothViews;

use crate::{
    problem::ApiError,
    service::{Basis, Service},
};

/// A decision to record, with what it rests on.
#[derive(Debug)]
pub(crate) struct Decided<'a> {
    pub(crate) task: TaskId,
    pub(crate) enclave: EnclaveId,
    /// The resource, or what else was decided: `result-key/{address}`.
    pub(crate) label: &'a str,
    pub(crate) now: u64,
    pub(crate) result: &'a Result<Release, Denials>,
    pub(crate) basis: Basis,
}

impl Decided<'_> {
    /// What goes on record.
    pub(crate) fn on(&self, facts: &BothViews<Facts>) -> Record {
        let Self { task, enclave, label, now, result, basis } = *self;
        let (released, reasons) = match result {
            Ok(release) => {
                let items = release.items().iter();
                (items.map(|item| (item.resource.to_string(), item.version)).collect(), Vec::new())
            }
            Err(denials) => (Vec::new(), denials.reasons().iter().map(Denial::code).collect()),
        };
        let about = About { task, enclave, label, now };
        Record { receipt: about.on(facts, released, &reasons), reasons, basis }
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
    pub(crate) basis: Basis,
}

impl Record {
    /// Puts it on record, and withholds what is to be told of it until it is on disk.
    pub(crate) fn keep<T>(self, service: &Service, told: T) -> Result<Withheld<T>, ApiError> {
        service.metrics.decisions.decided(&self.reasons);
        let begun = Instant::now();
        let append = |receipt| service.receipts.append(receipt, &service.identity);
        let receipt = self.receipt.map(append).transpose()?;
        Ok(Withheld { told, begun, receipt, basis: self.basis })
    }
}

/// An answer that nobody hears before its receipt is on disk. Work goes on meanwhile, on no thread that waits.
#[derive(Debug)]
#[must_use = "somebody waits for the answer"]
pub(crate) struct Withheld<T> {
    told: T,
    begun: Instant,
    /// None for an unknown task.
    receipt: Option<Pending>,
    basis: Basis,
}

impl<T> Withheld<T> {
    /// The same, and what follows from it.
    pub(crate) fn map<U>(self, follow: impl FnOnce(T) -> U) -> Withheld<U> {
        let Self { told, begun, receipt, basis } = self;
        Withheld { told: follow(told), begun, receipt, basis }
    }

    /// The answer, when its receipt is on disk, unless what it rests on is out of date by then.
    #[tracing::instrument(name = "receipt", skip_all)]
    pub(crate) async fn until_kept(self, service: &Service) -> Result<T, ApiError> {
        if let Some(receipt) = self.receipt {
            receipt.kept().await?;
            service.metrics.receipts.observe(self.begun.elapsed().as_secs_f64());
        }
        service.still_believes(self.basis)?;
        Ok(self.told)
    }
}
