//! What a TDX worker is given for one run: three services, and for each its environment.
//!
//! [`Description::of`] reads a task, [`Description::secrets`] says what to ask the vault for, [`Description::session`] puts it
//! together. Nothing here judges who may have it.

mod app;
mod environment;
mod error;
mod post_compute;
mod pre_compute;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
};

use alloy_primitives::{Address, B256};
use serde::Serialize;
use sesame_domain::{AssetId, AssetSnapshot, Deal, Framework, IexecSecret, Task, TaskId};
use zeroize::Zeroizing;

pub use environment::{Environment, Value};
pub use error::SessionError;

use crate::{
    bulk::SliceDataset,
    params::DealParams,
    pipeline::{Compute, Pipeline},
};

/// The form of the document.
const VERSION: &str = "0.1.0";

/// Where the parts of a session find the app's input, and leave it.
const INPUT_FOLDER: &str = "/iexec_in";

/// What the vault has of what [`Description::secrets`] asks for.
pub type Secrets = BTreeMap<IexecSecret, Zeroizing<String>>;

/// A task of a deal for TDX, read for one worker.
#[derive(Debug, Clone)]
pub struct Description<'a> {
    id: TaskId,
    task: &'a Task,
    deal: &'a Deal,
    params: DealParams,
    app: Address,
    dataset: Option<(Address, &'a AssetSnapshot)>,
    worker: Address,
}

/// The document, as it is posted to the storage of sessions.
#[derive(Debug, Serialize)]
pub struct Session {
    /// The session's id.
    pub name: String,
    /// The document's form.
    pub version: &'static str,
    /// `pre-compute` where there is something to fetch, `app`, `post-compute`.
    pub services: Vec<Service>,
}

/// One container of a session.
#[derive(Debug, Serialize)]
pub struct Service {
    /// Which of the three.
    pub name: &'static str,
    /// Its image.
    pub image_name: String,
    /// What identifies its content.
    pub fingerprint: String,
    /// What it is told.
    pub environment: Environment,
}

impl<'a> Description<'a> {
    /// Reads a task.
    ///
    /// # Errors
    /// [`SessionError::NoTaskDescription`] if it is not of a deal, [`SessionError::NoTeeFramework`] if that is not for TDX.
    pub fn of(id: TaskId, task: &'a Task, worker: Address) -> Result<Self, SessionError> {
        let deal = task.deal.as_deref().ok_or(SessionError::NoTaskDescription)?;
        if deal.framework() != Some(Framework::Tdx) {
            return Err(SessionError::NoTeeFramework);
        }
        let address = |id: AssetId| id.address().ok_or(SessionError::NoTaskDescription);
        let dataset = match task.data(1) {
            Some((id, snapshot)) => Some((address(id)?, snapshot)),
            None => None,
        };
        let params = DealParams::read(&task.order.params);
        Ok(Self { id, task, deal, params, app: address(task.order.app)?, dataset, worker })
    }

    /// What the deal says of its tasks.
    #[must_use]
    pub const fn params(&self) -> &DealParams {
        &self.params
    }

    /// Every secret that the session may hold, whether anybody pushed it or not.
    #[must_use]
    pub fn secrets(&self, slice: &[SliceDataset]) -> BTreeSet<IexecSecret> {
        let of_slice = slice.iter().filter_map(|dataset| dataset.found.as_ref());
        let datasets = of_slice.map(|found| found.address);
        let datasets = datasets.chain(self.dataset().map(|(address, _)| address));
        let mut wanted: BTreeSet<_> = datasets.map(IexecSecret::Dataset).collect();
        wanted.insert(IexecSecret::App(self.app));
        wanted.extend(self.requester_secrets().map(|(_, secret)| secret));
        wanted.extend(self.of_the_result());
        wanted
    }

    /// Puts the session together. `id` names it, `challenge_key` is the key behind the task's enclave challenge, `slice` holds the
    /// datasets of a bulk's task.
    ///
    /// # Errors
    /// If a secret is missing without which the task cannot run.
    pub fn session(
        &self,
        id: &str,
        challenge_key: &Zeroizing<[u8; 32]>,
        pipeline: &Pipeline,
        slice: &[SliceDataset],
        secrets: &Secrets,
    ) -> Result<Session, SessionError> {
        let part = |name, compute: &Compute, environment| Service {
            name,
            image_name: compute.image.clone(),
            fingerprint: compute.fingerprint.clone(),
            environment,
        };
        let mut services = Vec::new();
        if self.needs_input() {
            let environment = self.pre_compute(challenge_key, slice, secrets)?;
            services.push(part("pre-compute", &pipeline.pre_compute_properties, environment));
        }
        services.push(Service {
            name: "app",
            image_name: self.task.app.uri.clone(),
            fingerprint: self.task.app.digest.to_string(),
            environment: self.app(slice, secrets),
        });
        let environment = self.post_compute(challenge_key, secrets)?;
        services.push(part("post-compute", &pipeline.post_compute_properties, environment));
        Ok(Session { name: id.to_owned(), version: VERSION, services })
    }

    /// The deal's dataset, if there is something to fetch of it.
    fn dataset(&self) -> Option<(Address, &'a AssetSnapshot)> {
        self.dataset.filter(|(_, snapshot)| !snapshot.uri.trim().is_empty())
    }

    const fn is_bulk(&self) -> bool {
        self.params.bulk_cid.is_some()
    }

    fn needs_input(&self) -> bool {
        self.dataset().is_some() || !self.params.input_files.is_empty() || self.is_bulk()
    }

    /// What the parts that speak for the enclave sign with.
    fn signing(&self, challenge_key: &Zeroizing<[u8; 32]>) -> Environment {
        let mut environment = Environment::default();
        environment.set("IEXEC_TASK_ID", self.id.to_string());
        environment.set("SIGN_WORKER_ADDRESS", self.worker.to_checksum(None));
        environment.set("SIGN_TEE_CHALLENGE_PRIVATE_KEY", Value::hex(challenge_key));
        environment
    }

    /// The app's input files, for the part that fetches them and for the one that reads them.
    fn input_files(&self, environment: &mut Environment, name: &str, each: fn(&str) -> String) {
        let files = &self.params.input_files;
        environment.set("IEXEC_INPUT_FILES_NUMBER", files.len().to_string());
        if !files.is_empty() {
            environment.set("IEXEC_INPUT_FILES_FOLDER", INPUT_FOLDER);
        }
        for (n, url) in (1..).zip(files) {
            environment.set(format!("{name}_{n}"), each(url));
        }
    }
}

impl Session {
    /// The document as bytes that are erased when they are dropped.
    ///
    /// # Errors
    /// None that is known: text is always written.
    pub fn to_json(&self) -> serde_json::Result<Zeroizing<Vec<u8>>> {
        // Written twice, so that the buffer never grows and leaves no copy behind.
        let mut length = Counter(0);
        serde_json::to_writer(&mut length, self)?;
        let mut bytes = Zeroizing::new(Vec::with_capacity(length.0));
        serde_json::to_writer(&mut *bytes, self)?;
        Ok(bytes)
    }
}

/// Counts what is written.
struct Counter(usize);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An address as sessions write it.
fn lower(address: Address) -> String {
    format!("{address:#x}")
}

/// A checksum as sessions write it.
fn checksum(digest: B256) -> String {
    format!("{digest:#x}")
}
