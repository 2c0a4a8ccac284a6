//! What fetches and decrypts the app's input is told.

use sesame_domain::IexecSecret;
use zeroize::Zeroizing;

use super::{Description, Environment, INPUT_FOLDER, Secrets, SessionError, checksum, lower};
use crate::bulk::SliceDataset;

impl Description<'_> {
    pub(super) fn pre_compute(
        &self,
        challenge_key: &Zeroizing<[u8; 32]>,
        slice: &[SliceDataset],
        secrets: &Secrets,
    ) -> Result<Environment, SessionError> {
        let mut environment = self.signing(challenge_key);
        let dataset = self.dataset();
        environment.set("IEXEC_PRE_COMPUTE_OUT", INPUT_FOLDER);
        environment.set("IS_DATASET_REQUIRED", dataset.is_some().to_string());
        environment.set("IEXEC_DEAL_ID", self.deal.id.to_string());
        environment.set("IEXEC_TASK_INDEX", self.deal.index.to_string());
        self.input_files(&mut environment, "IEXEC_INPUT_FILE_URL", ToOwned::to_owned);
        if let Some((address, content)) = dataset {
            let key = secrets.get(&IexecSecret::Dataset(address));
            let key = key.ok_or(SessionError::DatasetSecret)?;
            environment.set("IEXEC_DATASET_KEY", key.as_str());
            environment.set("IEXEC_DATASET_URL", content.uri.as_str());
            environment.set("IEXEC_DATASET_CHECKSUM", checksum(content.digest));
            environment.set("IEXEC_DATASET_FILENAME", lower(address));
        }
        if self.is_bulk() {
            self.slice(&mut environment, slice, secrets);
        }
        Ok(environment)
    }

    /// Every dataset of the slice has all four variables; they are empty where its order does not fit.
    fn slice(&self, environment: &mut Environment, slice: &[SliceDataset], secrets: &Secrets) {
        environment.set("IEXEC_BULK_SLICE_SIZE", slice.len().to_string());
        for (n, dataset) in (1..).zip(slice) {
            let found = dataset.found.as_ref();
            let key = found.and_then(|found| secrets.get(&IexecSecret::Dataset(found.address)));
            let mut set = |what: &str, value: &str| {
                environment.set(format!("IEXEC_DATASET_{n}_{what}"), value);
            };
            set("FILENAME", &dataset.name);
            set("URL", found.map_or("", |found| &found.uri));
            set("CHECKSUM", &found.map(|found| checksum(found.digest)).unwrap_or_default());
            set("KEY", key.map_or("", |key| key.as_str()));
        }
    }
}
