//! What a receipt says.

use alloy_primitives::{Address, B256, keccak256};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sesame_protocol::signature::{Signature65, Signer, recover};

/// What receipts of certified result keys begin with.
const RESULT_KEY: &str = "result-key/";

/// One decision, and where it stands in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Receipt {
    /// Its number in the log, from 0.
    pub index: u64,
    /// Keccak-256 of the line before; zero for the first.
    pub previous: B256,
    /// Random, so that nobody can guess a receipt from its hash.
    pub salt: B256,
    /// What was decided.
    pub decision: Decision,
}

/// What was decided, on which blocks, and about whose assets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Decision {
    /// Seconds since 1970.
    pub decided_at: u64,
    /// Height and hash of the head that it rests on.
    pub head: (u64, B256),
    /// Height and hash of the confirmed block that it rests on.
    pub confirmed: (u64, B256),
    /// The task.
    pub task: B256,
    /// Who bought it.
    pub requester: Address,
    /// The assets that it was about, each with its epoch at the head.
    pub assets: Vec<(B256, u64)>,
    /// The attested enclave.
    pub enclave: B256,
    /// What it asked for: a resource, or `result-key/{address}`.
    pub resource: String,
    /// What it was given, each with its version; empty for a denial.
    pub released: Vec<(String, u64)>,
    /// Why it was denied, by code; empty for a release.
    pub denials: Vec<String>,
}

impl Decision {
    /// Whether anything of the task was handed over.
    #[must_use]
    pub fn is_release(&self) -> bool {
        self.denials.is_empty() && !self.resource.starts_with(RESULT_KEY)
    }
}

/// A receipt's text with the SMS identity's signature over its Keccak-256. A line of the log is its JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedReceipt {
    receipt: Box<RawValue>,
    signature: Signature65,
}

impl SignedReceipt {
    /// The line of a receipt.
    pub(crate) fn line(receipt: &Receipt, identity: &Signer) -> serde_json::Result<String> {
        let receipt = serde_json::value::to_raw_value(receipt)?;
        let signature = identity.sign_hash(keccak256(receipt.get()));
        serde_json::to_string(&Self { receipt, signature })
    }

    /// Reads a line of the log; `None` if it is none.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        serde_json::from_str(line).ok()
    }

    /// What the receipt says, whoever signed it; `None` if it is no receipt.
    #[must_use]
    pub fn unverified(&self) -> Option<Receipt> {
        serde_json::from_str(self.receipt.get()).ok()
    }

    /// What the receipt says, if `identity` signed it.
    #[must_use]
    pub fn verify(&self, identity: Address) -> Option<Receipt> {
        let signer = recover(keccak256(self.receipt.get()), &self.signature).ok()?;
        self.unverified().filter(|_| signer == identity)
    }
}
