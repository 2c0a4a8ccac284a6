//! The file: a line that names the log, then a line per receipt.
//!
//! Decisions that come together share one sync: each queues its line, and whoever gets the file first writes and syncs all that
//! are queued. An append returns when its line is on disk. A line that a power cut tore is dropped at the next start; its
//! decision was never answered.
//!
//! Beside the log lies the newest checkpoint of what was verified. A start believes the receipts under it by its tree, checks
//! the signatures of those after it alone, and refuses a log that is shorter.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, Seek, SeekFrom, Write},
    mem,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard},
};

use alloy_primitives::{Address, B256, FixedBytes, keccak256};
use serde::{Deserialize, Serialize};
use sesame_protocol::signature::Signer;

use crate::{
    checkpoint::{Head, LogKey, verify_checkpoint},
    receipt::{Decision, Receipt, SignedReceipt},
    tree::Tree,
};

/// What the file's first line says. The first format had no such line.
const FORMAT: u32 = 2;
/// After how many receipts the checkpoint beside the log is written anew.
const VERIFIED_EVERY: u64 = 4096;

/// The log of receipts is broken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// It cannot be read or written.
    #[error("the log of receipts cannot be used")]
    Io(#[from] io::Error),
    /// It was begun by an earlier version.
    #[error(
        "the log of receipts was written by an earlier version: move {0} away, keep it as the record of what was released, \
         and start again; settlements of tasks in it have to be asked of the earlier version"
    )]
    OldFormat(String),
    /// Its first line is not one of a log, or of a format that this version does not know.
    #[error("the first line of the log of receipts is damaged, or of a later version")]
    Header,
    /// A line is not a receipt, does not follow the one before, or is not signed by this SMS.
    #[error("receipt {0} does not belong to this log: it was altered, or is another service's")]
    Broken(u64),
    /// Receipts that a checkpoint was signed for are not there any more.
    #[error("the log of receipts had {before} receipts and has {now}: it was cut off")]
    CutOff {
        /// How many the checkpoint beside it names.
        before: u64,
        /// How many there are.
        now: u64,
    },
    /// An earlier write failed; nothing is released any more until the program is started again.
    #[error("the log of receipts failed to write before and refuses to go on; start again")]
    Poisoned,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: u32,
    origin: String,
}

/// The log of one replica.
#[derive(Debug)]
pub struct Log {
    key: LogKey,
    checkpoint: PathBuf,
    /// What waits to be written. Held for as long as a signature takes.
    queue: Mutex<Queue>,
    turn: Mutex<Turn>,
    /// A turn has ended.
    ended: Condvar,
    /// What is on disk.
    kept: RwLock<Kept>,
    file: File,
}

/// Lines in the order in which they will stand.
#[derive(Debug)]
struct Queue {
    next: u64,
    previous: B256,
    lines: Vec<(String, Decision)>,
}

/// Who may write: whoever finds nobody writing takes all that is queued along.
#[derive(Debug, Default)]
struct Turn {
    taken: bool,
    poisoned: bool,
}

/// What the log holds, to be found without reading it: some 200 bytes of memory for each receipt.
#[derive(Debug, Default)]
struct Kept {
    tree: Tree,
    /// Where each line begins, and where the last ends.
    offsets: Vec<u64>,
    last: B256,
    released: HashSet<B256>,
    /// Receipts by asset and epoch.
    assets: HashMap<(B256, u64), Vec<u64>>,
    requesters: HashMap<Address, Vec<u64>>,
}

impl Log {
    /// Continues the log at `path`, or begins one. `secret` is the key that signs its heads.
    ///
    /// # Errors
    /// When the log cannot be read, was begun by an earlier version, or was altered or cut off.
    pub fn open(
        path: &Path,
        identity: Address,
        chain_id: u64,
        secret: &[u8; 32],
    ) -> Result<Self, LogError> {
        let mut options = OpenOptions::new();
        let mut file = options.read(true).write(true).create(true).truncate(false).open(path)?;
        let mut lines = Lines::new(&file);
        let header = match lines.next()? {
            Some(line) => read_header(&line, path)?,
            None => begin(&mut file, path, identity, chain_id)?,
        };
        let key = LogKey::new(&header.origin, secret);
        let checkpoint = path.with_extension("checkpoint");
        let verified = fs::read(&checkpoint).ok();
        let verified = verified.and_then(|note| verify_checkpoint(&note, &key.verifier_key()).ok());
        let kept = scan(&file, identity, verified.as_ref())?;
        file.set_len(kept.end())?;
        file.seek(SeekFrom::End(0))?;
        file.sync_data()?;
        let queue = Queue { next: kept.tree.size(), previous: kept.last, lines: Vec::new() };
        let log = Self {
            key,
            checkpoint,
            queue: Mutex::new(queue),
            file,
            turn: Mutex::default(),
            ended: Condvar::new(),
            kept: RwLock::new(kept),
        };
        log.remember()?;
        Ok(log)
    }

    /// Records a decision; on disk when this returns. Gives its index.
    ///
    /// # Errors
    /// When it cannot be written; then nothing is recorded until the log is opened again.
    pub fn append(&self, decision: Decision, identity: &Signer) -> Result<u64, LogError> {
        let index = self.queue(decision, identity)?;
        let mut turn = lock(&self.turn);
        loop {
            if self.kept().tree.size() > index {
                return Ok(index);
            }
            if turn.poisoned {
                lock(&self.queue).lines.clear();
                return Err(LogError::Poisoned);
            }
            if !turn.taken {
                break;
            }
            turn = self.ended.wait(turn).unwrap_or_else(PoisonError::into_inner);
        }
        turn.taken = true;
        drop(turn);
        let written = self.write_queued();
        *lock(&self.turn) = Turn { taken: false, poisoned: written.is_err() };
        self.ended.notify_all();
        written?;
        Ok(index)
    }

    /// Writes and syncs all that is queued, and only then lets it be seen.
    fn write_queued(&self) -> io::Result<()> {
        let lines = mem::take(&mut lock(&self.queue).lines);
        let text: String = lines.iter().flat_map(|(line, _)| [line, "\n"]).collect();
        (&self.file).write_all(text.as_bytes())?;
        self.file.sync_data()?;
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        let before = kept.tree.size();
        for (line, decision) in &lines {
            kept.push(line, decision);
        }
        let after = kept.tree.size();
        drop(kept);
        if before / VERIFIED_EVERY < after / VERIFIED_EVERY { self.remember() } else { Ok(()) }
    }

    fn queue(&self, decision: Decision, identity: &Signer) -> Result<u64, LogError> {
        let mut queue = lock(&self.queue);
        let (index, previous) = (queue.next, queue.previous);
        let receipt = Receipt { index, previous, salt: B256::random(), decision };
        let line = SignedReceipt::line(&receipt, identity).map_err(io::Error::from)?;
        queue.previous = keccak256(&line);
        queue.next += 1;
        queue.lines.push((line, receipt.decision));
        Ok(index)
    }

    /// The head of what is on disk, as a signed note.
    #[must_use]
    pub fn checkpoint(&self) -> Vec<u8> {
        self.key.sign(&self.kept().tree)
    }

    /// The public key that heads are signed with, as signed notes write it.
    #[must_use]
    pub fn verifier_key(&self) -> String {
        self.key.verifier_key()
    }

    /// The hashes of a tile, by its path under `tile/`.
    #[must_use]
    pub fn tile(&self, path: &str) -> Option<Vec<u8>> {
        self.kept().tree.tile(path)
    }

    /// Whether anything of the task was released.
    #[must_use]
    pub fn has_released(&self, task: B256) -> bool {
        self.kept().released.contains(&task)
    }

    /// The lines about an asset in one epoch, from index `from` on, at most `limit`.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn of_asset(
        &self,
        asset: B256,
        epoch: u64,
        from: u64,
        limit: usize,
    ) -> Result<Vec<(u64, String)>, LogError> {
        let kept = self.kept();
        self.lines(&kept, kept.assets.get(&(asset, epoch)), from, limit)
    }

    /// The lines about tasks that the requester bought, from index `from` on, at most `limit`.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn of_requester(
        &self,
        requester: Address,
        from: u64,
        limit: usize,
    ) -> Result<Vec<(u64, String)>, LogError> {
        let kept = self.kept();
        self.lines(&kept, kept.requesters.get(&requester), from, limit)
    }

    fn lines(
        &self,
        kept: &Kept,
        indexes: Option<&Vec<u64>>,
        from: u64,
        limit: usize,
    ) -> Result<Vec<(u64, String)>, LogError> {
        let indexes = indexes.map_or(&[][..], Vec::as_slice);
        let first = indexes.partition_point(|index| *index < from);
        indexes.iter().skip(first).take(limit).map(|index| self.line(kept, *index)).collect()
    }

    fn line(&self, kept: &Kept, index: u64) -> Result<(u64, String), LogError> {
        let broken = || LogError::Broken(index);
        let at = usize::try_from(index).map_err(|_| broken())?;
        let [start, end] = kept.offsets.get(at..at + 2).ok_or_else(broken)? else {
            return Err(broken());
        };
        let length = usize::try_from(end - start - 1).map_err(|_| broken())?;
        let mut line = vec![0; length];
        self.file.read_exact_at(&mut line, *start)?;
        Ok((index, String::from_utf8(line).map_err(|_| broken())?))
    }

    /// Puts the newest head beside the log. Lost, it costs the next start the check of every signature.
    fn remember(&self) -> io::Result<()> {
        let draft = self.checkpoint.with_extension("checkpoint-draft");
        fs::write(&draft, self.checkpoint())?;
        fs::rename(draft, &self.checkpoint)
    }

    fn kept(&self) -> RwLockReadGuard<'_, Kept> {
        self.kept.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A service that stops leaves nothing to be verified again.
impl Drop for Log {
    fn drop(&mut self) {
        let _ = self.remember();
    }
}

impl Kept {
    fn push(&mut self, line: &str, decision: &Decision) {
        let index = self.tree.size();
        self.tree.push(line.as_bytes());
        self.offsets.push(self.end() + line.len() as u64 + 1);
        self.last = keccak256(line);
        if decision.is_release() {
            self.released.insert(decision.task);
        }
        for asset in &decision.assets {
            self.assets.entry(*asset).or_default().push(index);
        }
        self.requesters.entry(decision.requester).or_default().push(index);
    }

    /// Bytes of whole lines.
    fn end(&self) -> u64 {
        self.offsets.last().copied().unwrap_or_default()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes the first line. No two logs have the same name, whoever keeps them.
fn begin(
    file: &mut File,
    path: &Path,
    identity: Address,
    chain_id: u64,
) -> Result<Header, LogError> {
    let random = FixedBytes::<8>::random();
    let origin = format!("sesame/{chain_id}/{identity:#x}/{random:x}");
    let header = Header { format: FORMAT, origin };
    let mut line = serde_json::to_vec(&header).map_err(io::Error::from)?;
    line.push(b'\n');
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&line)?;
    file.sync_all()?;
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        File::open(folder)?.sync_all()?;
    }
    Ok(header)
}

fn read_header(line: &str, path: &Path) -> Result<Header, LogError> {
    if SignedReceipt::parse(line).is_some() {
        return Err(LogError::OldFormat(path.display().to_string()));
    }
    let header: Header = serde_json::from_str(line).map_err(|_| LogError::Header)?;
    if header.format == FORMAT && signed_note::is_key_name_valid(&header.origin) {
        return Ok(header);
    }
    Err(LogError::Header)
}

/// Whole lines of a file, without their ends.
struct Lines<R>(R);

impl<'f> Lines<BufReader<&'f File>> {
    fn new(file: &'f File) -> Self {
        Self(BufReader::new(file))
    }

    /// `None` at the end, or at a line that was torn.
    fn next(&mut self) -> Result<Option<String>, LogError> {
        let mut line = Vec::new();
        self.0.read_until(b'\n', &mut line)?;
        match line.split_last() {
            // What is no text is no receipt: it is told with the line's number.
            Some((b'\n', text)) => Ok(Some(String::from_utf8_lossy(text).into_owned())),
            _ => Ok(None),
        }
    }
}

/// Reads a whole log. Receipts under `verified`, a head that was signed for them, are checked by its root alone.
fn scan(mut file: &File, identity: Address, verified: Option<&Head>) -> Result<Kept, LogError> {
    file.seek(SeekFrom::Start(0))?;
    let mut lines = Lines::new(file);
    let Some(header) = lines.next()? else { return Ok(Kept::default()) };
    let mut kept = Kept { offsets: vec![header.len() as u64 + 1], ..Kept::default() };
    let known = verified.map_or(0, Head::size);
    while let Some(line) = lines.next()? {
        let index = kept.tree.size();
        let broken = || LogError::Broken(index);
        let signed = SignedReceipt::parse(&line).ok_or_else(broken)?;
        // The signature covers the receipt alone: of the rest there is one spelling.
        if serde_json::to_string(&signed).ok().as_deref() != Some(line.as_str()) {
            return Err(broken());
        }
        let receipt = if index < known { signed.unverified() } else { signed.verify(identity) };
        let receipt = receipt.ok_or_else(broken)?;
        if receipt.index != index || receipt.previous != kept.last {
            return Err(broken());
        }
        kept.push(&line, &receipt.decision);
        let altered = |head: &Head| head.size() == index + 1 && head.root() != kept.tree.root();
        if verified.is_some_and(altered) {
            return Err(broken());
        }
    }
    if kept.tree.size() < known {
        return Err(LogError::CutOff { before: known, now: kept.tree.size() });
    }
    Ok(kept)
}

/// Checks a whole log against the SMS identity, every signature included, and gives the tree over its receipts. A line that
/// was torn is not counted.
///
/// # Errors
/// When the file cannot be read, or a receipt was altered, left out or added.
pub fn verify_log(path: &Path, identity: Address) -> Result<Tree, LogError> {
    let file = File::open(path)?;
    let header = Lines::new(&file).next()?.ok_or(LogError::Header)?;
    read_header(&header, path)?;
    Ok(scan(&file, identity, None)?.tree)
}

#[cfg(test)]
mod tests;
