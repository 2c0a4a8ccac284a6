//! A task's `params` as iExec's clients write them: a JSON object of the keys below and of no others.
//!
//! | key | holds |
//! | --- | --- |
//! | `iexec_args` | text: the app's arguments |
//! | `iexec_input_files` | URLs of public files |
//! | `iexec_secrets` | index → name of a requester's secret |
//! | `iexec_result_encryption` | whether the result is encrypted |
//! | `iexec_result_storage_provider` | `ipfs` or `dropbox` |
//! | `iexec_result_storage_proxy` | an address |
//! | `bulk_cid` | a list of orders for datasets, on IPFS |
//!
//! Each may be left out or `null`. Whoever reads them decides what other text means.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

/// What the object says, as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields are the keys of the table above")]
pub struct IexecParams {
    pub iexec_args: Option<String>,
    pub iexec_input_files: Option<Vec<String>>,
    pub iexec_secrets: Option<BTreeMap<String, String>>,
    pub iexec_result_encryption: Option<bool>,
    pub iexec_result_storage_provider: Option<String>,
    pub iexec_result_storage_proxy: Option<String>,
    pub bulk_cid: Option<String>,
}

impl IexecParams {
    /// Reads an object; where it has a key twice, the last one counts.
    ///
    /// # Errors
    /// If it has a key that is none of these, or a value of another type.
    pub fn from_object(object: Map<String, Value>) -> Result<Self, serde_json::Error> {
        serde_json::from_value(Value::Object(object))
    }

    /// `iexec_args` alone.
    #[must_use]
    pub fn of_arguments(text: &str) -> Self {
        Self { iexec_args: Some(text.to_owned()), ..Self::default() }
    }

    /// The bulk, if the task is one.
    #[must_use]
    pub fn bulk(&self) -> Option<&str> {
        self.bulk_cid.as_deref().filter(|cid| !cid.trim().is_empty())
    }
}
