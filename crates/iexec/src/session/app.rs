//! What the app is told.

use alloy_primitives::Address;
use sesame_domain::{Grant, IexecSecret};
use sha2::{Digest, Sha256};

use super::{Description, Environment, INPUT_FOLDER, Secrets, lower};
use crate::bulk::SliceDataset;

const OUTPUT_FOLDER: &str = "/iexec_out";

impl Description<'_> {
    pub(super) fn app(&self, slice: &[SliceDataset], secrets: &Secrets) -> Environment {
        let mut environment = Environment::default();
        let dataset = lower(self.dataset.map_or(Address::ZERO, |(address, _)| address));
        for (name, value) in [
            ("IEXEC_DEAL_ID", self.deal.id.to_string()),
            ("IEXEC_TASK_ID", self.id.to_string()),
            ("IEXEC_TASK_INDEX", self.deal.index.to_string()),
            ("IEXEC_BOT_TASK_INDEX", self.deal.index.to_string()),
            ("IEXEC_BOT_SIZE", self.deal.size.to_string()),
            ("IEXEC_BOT_FIRST_INDEX", self.deal.first.to_string()),
            ("IEXEC_IN", INPUT_FOLDER.to_owned()),
            ("IEXEC_OUT", OUTPUT_FOLDER.to_owned()),
            ("IEXEC_DATASET_ADDRESS", dataset.clone()),
            ("IEXEC_DATASET_FILENAME", dataset),
        ] {
            environment.set(name, value);
        }
        self.input_files(&mut environment, "IEXEC_INPUT_FILE_NAME", file_name);
        if let Some(secret) = secrets.get(&IexecSecret::App(self.app)) {
            environment.set("IEXEC_APP_DEVELOPER_SECRET", secret.as_str());
            environment.set("IEXEC_APP_DEVELOPER_SECRET_1", secret.as_str());
        }
        for (index, secret) in self.requester_secrets() {
            if let Some(secret) = secrets.get(&secret) {
                environment.set(format!("IEXEC_REQUESTER_SECRET_{index}"), secret.as_str());
            }
        }
        if self.is_bulk() {
            environment.set("IEXEC_BULK_SLICE_SIZE", slice.len().to_string());
            for (n, dataset) in (1..).zip(slice) {
                environment.set(format!("IEXEC_DATASET_{n}_FILENAME"), dataset.name.as_str());
            }
        }
        environment
    }

    /// The requester's secrets that the deal asks for, by the number under which the app sees them.
    pub(super) fn requester_secrets(&self) -> impl Iterator<Item = (u32, IexecSecret)> {
        let requester = self.task.requester;
        let secret = move |grant: &Grant| IexecSecret::Requester(requester, grant.name.clone());
        self.task.order.grants.iter().map(move |grant| (grant.index, secret(grant)))
    }
}

/// The name of an input file: `0x` and the SHA-256 of its URL as it was written.
fn file_name(url: &str) -> String {
    format!("0x{}", hex::encode(Sha256::digest(url)))
}
