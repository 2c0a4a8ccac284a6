//! The file: a line that names the log, then a line per receipt.
//!
//! Decisions that come together share one sync: a thread of the log's own takes all lines that wait, writes and syncs them. Who
//! appends gets a [`Pending`], which tells when its line is on disk. A line that a power cut tore is dropped at the next start;
//! its decision was never answered.
//!
//! Beside the log lie the newest checkpoint of what was verified, and an index. A start takes the index's tree if the
//! checkpoint is of it, reads the receipts after it alone and checks their signatures, and refuses a log that is shorter than
//! either says. That what lies under the checkpoint is still what was verified is for [`Log::check`] to say, and for every
//! reading of a receipt.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Seek, SeekFrom, Write},
    iter, mem,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, mpsc},
    thread,
};

use alloy_primitives::{Address, B256, keccak256};
use sesame_protocol::signature::Signer;
use tlog_tiles::tlog::{self, HashReader as _, record_hash, stored_hash_index};
use tokio::sync::watch;

use crate::{
    checkpoint::{Head, LogKey, verify_checkpoint},
    index::{Cursor, Index, Rows},
    lines::{self, Lines},
    receipt::{Decision, Receipt, SignedReceipt},
    tree::{self, Tree},
};

/// How many receipts a start puts into the index at once.
const AT_ONCE: u64 = 1024;
/// No receipt is longer, bytes.
const MAX_LINE: u64 = 16 << 20;
/// How many receipts wait for the writer: more than one sync of a busy service takes along. While a disk hangs, whoever comes then
/// waits with them, whether or not the others still listen.
const QUEUED: usize = 256;
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
    /// Receipts that were verified are not those any more.
    #[error("the first {0} receipts of this log are not those that it had: it was rewritten")]
    Rewritten(u64),
    /// Receipts that a checkpoint was signed for are not there any more.
    #[error("the log of receipts had {before} receipts and has {now}: it was cut off")]
    CutOff {
        /// How many the checkpoint or the index beside it name.
        before: u64,
        /// How many there are.
        now: u64,
    },
    /// The index beside it cannot be read or written. It holds nothing that is not in the log.
    #[error(
        "the index of the receipts cannot be used: stop the service, remove the folder receipts.index, and start again"
    )]
    Index(#[from] rocksdb::Error),
    /// Hashes are missing in the index.
    #[error(
        "the index of the receipts has gaps: stop the service, remove the folder receipts.index, and start again"
    )]
    Tree(#[from] tlog::Error),
    /// An earlier write failed; nothing is released any more until the program is started again.
    #[error("the log of receipts failed to write and refuses to go on; start again")]
    Poisoned(#[source] Arc<Self>),
}

impl LogError {
    /// Whether it is the disk that fails, and starting again may be enough; else the receipts are not what they were.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Io(_) | Self::Poisoned(_) => true,
            Self::Index(error) => error.kind() == rocksdb::ErrorKind::IOError,
            Self::OldFormat(_)
            | Self::Header
            | Self::Broken(_)
            | Self::Rewritten(_)
            | Self::CutOff { .. }
            | Self::Tree(_) => false,
        }
    }
}

/// The log of one replica.
#[derive(Debug)]
pub struct Log {
    identity: Address,
    /// The head that was signed before this start.
    verified: Option<Head>,
    /// Held for as long as a signature takes.
    chain: Mutex<Chain>,
    disk: Arc<Disk>,
    written: watch::Receiver<Written>,
    /// Closed when the writer has ended. Apart from the former, which wakes whoever waits for it at every receipt.
    ended: watch::Receiver<()>,
    writer: Option<thread::JoinHandle<()>>,
}

/// The end of the log, lines that wait to be written included.
#[derive(Debug)]
struct Chain {
    next: u64,
    previous: B256,
    /// To the writer, in the order in which they will stand.
    lines: mpsc::SyncSender<Line>,
}

type Line = (String, Decision);

/// How far the writer has come.
#[derive(Debug, Clone)]
enum Written {
    /// So many receipts are on disk.
    UpTo(u64),
    /// So many, and no other will be.
    Failed(u64, Arc<LogError>),
}

/// A receipt on its way to the disk.
#[derive(Debug)]
#[must_use = "nobody may hear of a decision before its receipt is on disk"]
pub struct Pending {
    index: u64,
    written: watch::Receiver<Written>,
}

/// The file and what is known of it.
#[derive(Debug)]
struct Disk {
    key: LogKey,
    path: PathBuf,
    file: File,
    index: Index,
    kept: RwLock<Kept>,
}

/// What is on disk, whatever its size: some thousand bytes of memory.
#[derive(Debug, Clone)]
struct Kept {
    tree: Tree,
    /// Bytes of whole lines.
    end: u64,
    /// Keccak-256 of the last line.
    last: B256,
}

impl Log {
    /// Continues the log at `path`, or begins one. `secret` is the key that signs its heads.
    ///
    /// # Errors
    /// When the log cannot be read, was begun by an earlier version, or was cut off, or when a receipt after the last
    /// checkpoint was altered. What lies before it is for [`Self::check`] to look at.
    pub fn open(
        path: &Path,
        identity: Address,
        chain_id: u64,
        secret: &[u8; 32],
    ) -> Result<Self, LogError> {
        let mut options = OpenOptions::new();
        let mut file = options.read(true).write(true).create(true).truncate(false).open(path)?;
        let origin = match Lines::new(&file)?.next()? {
            Some(line) => lines::origin(&line, path)?,
            None => lines::begin(&mut file, path, identity, chain_id)?,
        };
        let index = Index::open(&path.with_extension("index"), &origin)?;
        let key = LogKey::new(&origin, secret);
        let verified = fs::read(checkpoint_beside(path)).ok();
        let verified = verified.and_then(|note| verify_checkpoint(&note, &key.verifier_key()).ok());
        let (index, kept) = catch_up(&file, index, identity, verified.as_ref())?;
        file.set_len(kept.end)?;
        file.seek(SeekFrom::End(0))?;
        file.sync_data()?;
        let disk = Disk { key, path: path.to_owned(), file, index, kept: RwLock::new(kept) };
        disk.remember()?;
        Ok(Self::on(Arc::new(disk), identity, verified)?)
    }

    /// The log on this disk, with a thread that writes it.
    fn on(disk: Arc<Disk>, identity: Address, verified: Option<Head>) -> io::Result<Self> {
        let (lines, queued) = mpsc::sync_channel(QUEUED);
        let kept = disk.kept().clone();
        let chain = Mutex::new(Chain { next: kept.tree.size(), previous: kept.last, lines });
        let (tell, written) = watch::channel(Written::UpTo(kept.tree.size()));
        let (until, ended) = watch::channel(());
        let write = {
            let disk = disk.clone();
            move || {
                let _until = until;
                disk.write_all(&queued, &tell);
            }
        };
        let writer = Some(thread::Builder::new().name("receipts".to_owned()).spawn(write)?);
        Ok(Self { identity, verified, chain, disk, written, ended, writer })
    }

    /// Reads again what [`Self::open`] took on the word of its checkpoint, until `stop` says so: the lines have to give the
    /// hash that was signed. It takes a second for some hundred thousand receipts, and stands in nobody's way.
    ///
    /// # Errors
    /// When a receipt was altered since, or cannot be read.
    pub fn check(&self, stop: impl Fn() -> bool) -> Result<(), LogError> {
        let Some(verified) = &self.verified else { return Ok(()) };
        let file = File::open(&self.disk.path)?;
        let mut lines = Lines::new(&file)?;
        lines.next()?;
        let mut tree = Tree::default();
        while tree.size() < verified.size() {
            if stop() {
                return Ok(());
            }
            let index = tree.size();
            let line = lines.next()?.ok_or(LogError::Broken(index))?;
            tree.push(line.as_bytes());
            let leaf = self.disk.index.read_hashes(&[stored_hash_index(0, index)])?;
            if leaf != [record_hash(line.as_bytes())] {
                return Err(LogError::Broken(index));
            }
        }
        if tree.root() == verified.root() { Ok(()) } else { Err(LogError::Rewritten(tree.size())) }
    }

    /// Puts a decision on record, signed and behind all before it. It is on disk when [`Pending::kept`] says so. Blocks while
    /// too many wait for a disk that hangs.
    ///
    /// # Errors
    /// When the decision cannot be written as JSON.
    pub fn append(&self, decision: Decision, identity: &Signer) -> Result<Pending, LogError> {
        let mut chain = lock(&self.chain);
        let (index, previous) = (chain.next, chain.previous);
        let receipt = Receipt { index, previous, salt: B256::random(), decision };
        let line = SignedReceipt::line(&receipt, identity).map_err(io::Error::from)?;
        let hash = keccak256(&line);
        // Who does not listen any more has said why.
        let _ = chain.lines.send((line, receipt.decision));
        (chain.next, chain.previous) = (index + 1, hash);
        Ok(Pending { index, written: self.written.clone() })
    }

    /// Puts nothing more on record. Who appends from now on hears that it is not kept.
    pub fn close(&self) {
        // The writer ends with what it has.
        lock(&self.chain).lines = mpsc::sync_channel(0).0;
    }

    /// Waits until nothing more can be put on record, and says why.
    pub async fn failed(&self) -> LogError {
        // It never changes: what comes of it is its end.
        let _ = self.ended.clone().changed().await;
        match &*self.written.borrow() {
            Written::Failed(_, cause) => LogError::Poisoned(cause.clone()),
            Written::UpTo(_) => closed().into(),
        }
    }

    /// The head of what is on disk, as a signed note.
    #[must_use]
    pub fn checkpoint(&self) -> Vec<u8> {
        self.disk.key.sign(&self.disk.kept().tree)
    }

    /// The public key that heads are signed with, as signed notes write it.
    #[must_use]
    pub fn verifier_key(&self) -> String {
        self.disk.key.verifier_key()
    }

    /// The hashes of a tile, by its path under `tile/`. `None` if the log has no such tile yet.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn tile(&self, path: &str) -> Result<Option<Vec<u8>>, LogError> {
        let size = self.disk.kept().tree.size();
        Ok(tree::tile(path, size, &self.disk.index)?)
    }

    /// Whether anything of the task was released.
    ///
    /// # Errors
    /// When that cannot be read, or the receipt of it was altered.
    pub fn has_released(&self, task: B256) -> Result<bool, LogError> {
        let Some(index) = self.disk.index.release(task)? else { return Ok(false) };
        let (_, decision) = self.receipt(index)?;
        Ok(decision.task == task && decision.is_release())
    }

    /// The lines about an asset in one epoch, from index `from` on, at most `limit`.
    ///
    /// # Errors
    /// When they cannot be read, or one was altered.
    pub fn of_asset(
        &self,
        asset: B256,
        epoch: u64,
        from: u64,
        limit: usize,
    ) -> Result<Vec<(u64, String)>, LogError> {
        let asset = (asset, epoch);
        let indexes = self.disk.index.of_asset(asset, from, limit)?;
        self.lines(&indexes, |decision| decision.assets.contains(&asset))
    }

    /// The lines about tasks that the requester bought, from index `from` on, at most `limit`.
    ///
    /// # Errors
    /// When they cannot be read, or one was altered.
    pub fn of_requester(
        &self,
        requester: Address,
        from: u64,
        limit: usize,
    ) -> Result<Vec<(u64, String)>, LogError> {
        let indexes = self.disk.index.of_requester(requester, from, limit)?;
        self.lines(&indexes, |decision| decision.requester == requester)
    }

    /// The index says where they are; whether they are about what was asked for, they say themselves.
    fn lines(
        &self,
        indexes: &[u64],
        is_about: impl Fn(&Decision) -> bool,
    ) -> Result<Vec<(u64, String)>, LogError> {
        let line = |index: &u64| match self.receipt(*index)? {
            (line, decision) if is_about(&decision) => Ok((*index, line)),
            _ => Err(LogError::Broken(*index)),
        };
        indexes.iter().map(line).collect()
    }

    /// A line, and what it says: signed, and at its place.
    fn receipt(&self, index: u64) -> Result<(String, Decision), LogError> {
        let broken = || LogError::Broken(index);
        let line = read_line(&self.disk.file, &self.disk.index, index)?.ok_or_else(broken)?;
        let receipt = SignedReceipt::parse(&line).and_then(|signed| signed.verify(self.identity));
        let receipt = receipt.filter(|receipt| receipt.index == index).ok_or_else(broken)?;
        Ok((line, receipt.decision))
    }
}

/// A service that stops leaves nothing to be verified or read again.
impl Drop for Log {
    fn drop(&mut self) {
        self.close();
        let _ = self.writer.take().map(thread::JoinHandle::join);
        let _ = self.disk.remember();
        let _ = self.disk.index.flush();
    }
}

impl Pending {
    /// The receipt's index, when it is on disk.
    ///
    /// # Errors
    /// When it, or one before it, could not be written; then nothing is recorded until the log is opened again.
    pub async fn kept(mut self) -> Result<u64, LogError> {
        let index = self.index;
        let told = self.written.wait_for(|written| written.tells_of(index)).await;
        match &*told.map_err(|_| closed())? {
            Written::Failed(size, cause) if *size <= index => {
                Err(LogError::Poisoned(cause.clone()))
            }
            Written::UpTo(_) | Written::Failed(..) => Ok(index),
        }
    }
}

impl Written {
    /// Whether it is settled if this receipt is on disk.
    const fn tells_of(&self, index: u64) -> bool {
        matches!(self, Self::Failed(..)) || matches!(self, Self::UpTo(size) if *size > index)
    }
}

impl Disk {
    /// Writes what comes until nothing more will, or until it cannot.
    fn write_all(&self, queued: &mpsc::Receiver<Line>, tell: &watch::Sender<Written>) {
        while let Ok(first) = queued.recv() {
            let lines: Vec<_> = iter::once(first).chain(queued.try_iter()).collect();
            let written = self.write(&lines);
            let size = self.kept().tree.size();
            match written {
                Ok(()) => drop(tell.send_replace(Written::UpTo(size))),
                Err(error) => {
                    return drop(tell.send_replace(Written::Failed(size, Arc::new(error))));
                }
            }
        }
    }

    /// Writes and syncs these lines, and only then lets them be seen.
    fn write(&self, lines: &[Line]) -> Result<(), LogError> {
        let text: String = lines.iter().flat_map(|(line, _)| [line, "\n"]).collect();
        (&self.file).write_all(text.as_bytes())?;
        self.file.sync_data()?;
        let mut kept = self.kept().clone();
        let (before, mut rows) = (kept.tree.size(), Rows::default());
        for (line, decision) in lines {
            kept.push(line, decision, &mut rows);
        }
        let after = kept.tree.size();
        self.index.write(rows.up_to(kept.cursor()))?;
        *self.kept.write().unwrap_or_else(PoisonError::into_inner) = kept;
        if before / VERIFIED_EVERY < after / VERIFIED_EVERY {
            // What it would have spared the next start is no reason to release nothing.
            let _ = self.remember();
        }
        Ok(())
    }

    /// Puts the newest head beside the log. Lost, it costs the next start the check of every signature.
    fn remember(&self) -> io::Result<()> {
        let path = checkpoint_beside(&self.path);
        let draft = path.with_extension("checkpoint-draft");
        let mut file = File::create(&draft)?;
        file.write_all(&self.key.sign(&self.kept().tree))?;
        file.sync_data()?;
        fs::rename(draft, path)
    }

    fn kept(&self) -> RwLockReadGuard<'_, Kept> {
        self.kept.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Before the first receipt.
    fn before_the_first(header: &str) -> Self {
        Self { tree: Tree::default(), end: header.len() as u64 + 1, last: B256::ZERO }
    }

    fn push(&mut self, line: &str, decision: &Decision, rows: &mut Rows) {
        self.end += line.len() as u64 + 1;
        self.last = keccak256(line);
        rows.push(&mut self.tree, line, self.end, decision);
    }

    const fn cursor(&self) -> Cursor {
        Cursor { size: self.tree.size(), end: self.end }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// There is no writer any more, and it did not say why.
fn closed() -> io::Error {
    io::Error::other("no more receipts are written: the log was closed, or its thread died")
}

fn checkpoint_beside(path: &Path) -> PathBuf {
    path.with_extension("checkpoint")
}

/// A line as the index finds it. `None` if there is none.
fn read_line(file: &File, index: &Index, number: u64) -> Result<Option<String>, LogError> {
    let (Some(start), Some(end)) = (index.start(number)?, index.start(number + 1)?) else {
        return Ok(None);
    };
    let length = end.checked_sub(start).filter(|length| (1..=MAX_LINE).contains(length));
    let Some(length) = length.and_then(|length| usize::try_from(length).ok()) else {
        return Ok(None);
    };
    let mut line = vec![0; length];
    file.read_exact_at(&mut line, start)?;
    Ok((line.pop() == Some(b'\n')).then(|| String::from_utf8(line).ok()).flatten())
}

/// Brings the index up to the log, and checks what no checkpoint speaks for. An index that does not fit the log is made anew.
fn catch_up(
    file: &File,
    index: Index,
    identity: Address,
    verified: Option<&Head>,
) -> Result<(Index, Kept), LogError> {
    let known = verified.map_or(0, Head::size);
    // Whatever is in the index was synced in the log before.
    let had = index.cursor().unwrap_or_default();
    let least = had.size.max(known);
    if file.metadata()?.len() < had.end {
        return Err(LogError::CutOff { before: least, now: count(file)? });
    }
    let whole = |kept: Kept| match kept.tree.size() {
        now if now < least => Err(LogError::CutOff { before: least, now }),
        _ => Ok(kept),
    };
    if let Some(kept) = resume(file, &index, verified) {
        let proven = kept.tree.size() == known;
        let write = |rows: Rows, cursor: Cursor| {
            // What the index knew of the log's length stays, until the log is that long again.
            index.write(if cursor.size < had.size { rows } else { rows.up_to(cursor) })
        };
        match scan(file, identity, verified, kept, write).and_then(whole) {
            Ok(kept) => return Ok((index, kept)),
            Err(error) if proven => return Err(error),
            // It may be the index that is wrong.
            Err(_) => {}
        }
    }
    let index = index.emptied()?;
    let kept = first(file)?;
    index.write(Rows::default().first_line(kept.end))?;
    let write = |rows: Rows, cursor| index.write(rows.up_to(cursor));
    let kept = scan(file, identity, verified, kept, write).and_then(whole)?;
    Ok((index, kept))
}

/// Where reading goes on: after what is both in the index and under the checkpoint. `None` if the index does not fit.
fn resume(file: &File, index: &Index, verified: Option<&Head>) -> Option<Kept> {
    let verified = verified?;
    let size = index.cursor()?.size.min(verified.size());
    let tree = Tree::read(size, index).ok()?;
    if size == 0 || (size == verified.size() && tree.root() != verified.root()) {
        return None;
    }
    let last = read_line(file, index, size - 1).ok()??;
    let leaf = index.read_hashes(&[stored_hash_index(0, size - 1)]).ok()?;
    (leaf == [record_hash(last.as_bytes())]).then_some(())?;
    Some(Kept { tree, end: index.start(size).ok()??, last: keccak256(last) })
}

fn first(file: &File) -> Result<Kept, LogError> {
    let header = Lines::new(file)?.next()?.unwrap_or_default();
    Ok(Kept::before_the_first(&header))
}

/// How many whole receipts there are.
fn count(file: &File) -> Result<u64, LogError> {
    let (mut lines, mut count) = (Lines::new(file)?, 0);
    lines.next()?;
    while lines.next()?.is_some() {
        count += 1;
    }
    Ok(count)
}

/// Reads a log to its end, and hands on what the index has to take. Receipts under `verified`, a head that was signed for
/// them, are checked by its root alone.
fn scan(
    file: &File,
    identity: Address,
    verified: Option<&Head>,
    mut kept: Kept,
    write: impl Fn(Rows, Cursor) -> Result<(), rocksdb::Error>,
) -> Result<Kept, LogError> {
    let mut lines = Lines::from(file, kept.end)?;
    let (known, mut rows) = (verified.map_or(0, Head::size), Rows::default());
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
        kept.push(&line, &receipt.decision, &mut rows);
        let altered = |head: &Head| head.size() == index + 1 && head.root() != kept.tree.root();
        if verified.is_some_and(altered) {
            return Err(broken());
        }
        if kept.tree.size().is_multiple_of(AT_ONCE) {
            write(mem::take(&mut rows), kept.cursor())?;
        }
    }
    write(rows, kept.cursor())?;
    Ok(kept)
}

/// Checks a whole log against the SMS identity, every signature included, and gives the tree over its receipts. A line that
/// was torn is not counted.
///
/// # Errors
/// When the file cannot be read, or a receipt was altered, left out or added.
pub fn verify_log(path: &Path, identity: Address) -> Result<Tree, LogError> {
    let file = File::open(path)?;
    let header = Lines::new(&file)?.next()?.ok_or(LogError::Header)?;
    lines::origin(&header, path)?;
    Ok(scan(&file, identity, None, first(&file)?, |_, _| Ok(()))?.tree)
}

#[cfg(test)]
mod tests;
