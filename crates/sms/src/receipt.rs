//! The signed, append-only record of decisions: one line of JSON per decision on a known task, each naming the one before.
//!
//! A release is answered only after its receipt is on disk. A line that a power cut tore is dropped at the next start; its
//! decision was never answered.

use std::{
    collections::HashSet,
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Seek, SeekFrom, Write},
    path::Path,
    sync::{Mutex, PoisonError, RwLock},
};

use alloy_primitives::{Address, B256, keccak256};
use serde::{Deserialize, Serialize};
use sesame_domain::{EnclaveId, Facts, TaskId};
use sesame_protocol::signature::{Signature65, Signer, recover};
use sesame_vault::{Denials, Release};
use sesame_view::BothViews;

/// What receipts of certified result keys begin with.
const RESULT_KEY: &str = "result-key/";

/// The log of receipts is broken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiptError {
    /// It cannot be read or written.
    #[error("the log of receipts cannot be used")]
    Io(#[from] io::Error),
    /// A line is not a receipt, does not follow the one before, or is not signed by this SMS.
    #[error("receipt {0} does not belong to this log: it was altered, or is another service's")]
    Broken(u64),
    /// An earlier write failed; nothing is released any more until the program is started again.
    #[error("the log of receipts failed to write before and refuses to go on; start again")]
    Poisoned,
}

/// One decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Receipt {
    /// From 1.
    pub sequence: u64,
    /// Keccak-256 of the line before; zero for the first.
    pub previous: B256,
    /// Random, so that nobody can guess a receipt from its hash.
    pub salt: B256,
    /// Seconds since 1970.
    pub decided_at: u64,
    /// Height and hash of the head that it rests on.
    pub head: (u64, B256),
    /// Height and hash of the confirmed block that it rests on.
    pub confirmed: (u64, B256),
    /// The task.
    pub task: B256,
    /// The attested enclave.
    pub enclave: B256,
    /// What it asked for: a resource, or `result-key/{address}`.
    pub resource: String,
    /// What it was given, each with its version; empty for a denial.
    pub released: Vec<(String, u64)>,
    /// Why it was denied, by code; empty for a release.
    pub denials: Vec<String>,
}

/// A receipt with the SMS's signature over the Keccak-256 of its JSON.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    receipt: Box<serde_json::value::RawValue>,
    signature: Signature65,
}

/// A decision to record.
#[derive(Debug)]
pub(crate) struct Decision<'a> {
    pub(crate) task: TaskId,
    pub(crate) enclave: EnclaveId,
    /// The resource, or what else was decided: `result-key/{address}`.
    pub(crate) label: &'a str,
    pub(crate) now: u64,
    pub(crate) result: &'a Result<Release, Denials>,
}

/// The log of one service.
#[derive(Debug)]
pub(crate) struct ReceiptLog {
    tail: Mutex<Tail>,
    /// The tasks of which something was released; apart from the tail, which is held while the disk works.
    released: RwLock<HashSet<B256>>,
}

#[derive(Debug)]
struct Tail {
    file: File,
    sequence: u64,
    previous: B256,
    poisoned: bool,
}

impl ReceiptLog {
    /// Continues the log at `path`, or begins one. Every receipt in it is checked.
    pub(crate) fn open(path: &Path, identity: Address) -> Result<Self, ReceiptError> {
        let mut options = OpenOptions::new();
        let mut file = options.read(true).write(true).create(true).truncate(false).open(path)?;
        let checked = check(BufReader::new(&file), identity)?;
        file.set_len(checked.length)?;
        file.seek(SeekFrom::End(0))?;
        let Checked { receipts: sequence, previous, released, .. } = checked;
        let tail = Mutex::new(Tail { file, sequence, previous, poisoned: false });
        Ok(Self { tail, released: RwLock::new(released) })
    }

    /// Whether anything of the task was released.
    pub(crate) fn has_released(&self, task: TaskId) -> bool {
        self.released.read().unwrap_or_else(PoisonError::into_inner).contains(&task.0)
    }

    /// Records a decision; on disk when this returns.
    pub(crate) fn append(
        &self,
        decision: &Decision<'_>,
        facts: &BothViews<Facts>,
        identity: &Signer,
    ) -> Result<(), ReceiptError> {
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        if tail.poisoned {
            return Err(ReceiptError::Poisoned);
        }
        let receipt = receipt(decision, facts, tail.sequence + 1, tail.previous);
        let released = receipt.is_release().then_some(receipt.task);
        let receipt = serde_json::value::to_raw_value(&receipt).map_err(io::Error::from)?;
        let signature = identity.sign_hash(keccak256(receipt.get()));
        let mut line = serde_json::to_vec(&Line { receipt, signature }).map_err(io::Error::from)?;
        tail.previous = keccak256(&line);
        tail.sequence += 1;
        line.push(b'\n');
        let written = tail.file.write_all(&line).and_then(|()| tail.file.sync_data());
        tail.poisoned = written.is_err();
        written?;
        self.released.write().unwrap_or_else(PoisonError::into_inner).extend(released);
        Ok(())
    }
}

impl Receipt {
    /// Whether anything of the task was handed over.
    fn is_release(&self) -> bool {
        self.denials.is_empty() && !self.resource.starts_with(RESULT_KEY)
    }
}

fn receipt(
    decision: &Decision<'_>,
    facts: &BothViews<Facts>,
    sequence: u64,
    previous: B256,
) -> Receipt {
    let (released, denials) = match decision.result {
        Ok(release) => {
            let items = release.items().iter();
            (items.map(|item| (item.resource.to_string(), item.version)).collect(), Vec::new())
        }
        Err(denials) => {
            let reasons = denials.reasons().iter();
            (Vec::new(), reasons.map(|reason| reason.code().to_owned()).collect())
        }
    };
    Receipt {
        sequence,
        previous,
        salt: B256::random(),
        decided_at: decision.now,
        head: (facts.head.at.number, facts.head.at.hash),
        confirmed: (facts.confirmed.at.number, facts.confirmed.at.hash),
        task: decision.task.0,
        enclave: decision.enclave.0,
        resource: decision.label.to_owned(),
        released,
        denials,
    }
}

#[derive(Default)]
struct Checked {
    receipts: u64,
    previous: B256,
    /// Bytes of whole lines.
    length: u64,
    /// The tasks of which something was released.
    released: HashSet<B256>,
}

fn check(mut lines: impl BufRead, identity: Address) -> Result<Checked, ReceiptError> {
    let mut checked = Checked::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = lines.read_until(b'\n', &mut line)?;
        let Some((b'\n', text)) = line.split_last() else { return Ok(checked) };
        let sequence = checked.receipts + 1;
        let receipt = check_line(text, sequence, checked.previous, identity)
            .ok_or(ReceiptError::Broken(sequence))?;
        if receipt.is_release() {
            checked.released.insert(receipt.task);
        }
        checked.receipts = sequence;
        checked.previous = keccak256(text);
        checked.length += read as u64;
    }
}

fn check_line(text: &[u8], sequence: u64, previous: B256, identity: Address) -> Option<Receipt> {
    let line: Line = serde_json::from_slice(text).ok()?;
    let receipt: Receipt = serde_json::from_str(line.receipt.get()).ok()?;
    let signer = recover(keccak256(line.receipt.get()), &line.signature).ok()?;
    let holds = receipt.sequence == sequence && receipt.previous == previous && signer == identity;
    holds.then_some(receipt)
}

/// Checks a whole log against the SMS identity and counts its receipts.
///
/// # Errors
/// When the file cannot be read, or a receipt was altered, left out or added.
pub fn verify_log(path: &Path, identity: Address) -> Result<u64, ReceiptError> {
    Ok(check(BufReader::new(File::open(path)?), identity)?.receipts)
}
