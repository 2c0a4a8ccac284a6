//! The head of a log as a signed note, and what follows from it.

use std::{cell::RefCell, collections::HashMap, fmt};

use ed25519_dalek::{Signer as _, SigningKey};
use signed_note::{Note, Signer, StandardVerifier, VerifierList};
use tlog_tiles::{
    checkpoint::Checkpoint,
    tile::Tile,
    tlog::{
        EMPTY_HASH, Error, Hash, HashReader, check_record, check_tree, prove_record, prove_tree,
        record_hash,
    },
};

use crate::tree::{TILE_HEIGHT, Tree};

/// The byte before an Ed25519 key in a note's key.
const ED25519: u8 = 1;

/// A checkpoint does not count.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The key is no note's key.
    #[error("the log's key is malformed")]
    Key,
    /// It is no signed note with a checkpoint.
    #[error("the checkpoint is malformed")]
    Malformed,
    /// It is not signed by the log's key, or of another log.
    #[error("the checkpoint is not signed by the log {0}")]
    NotSigned(String),
}

/// Something does not follow from a head.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// These tiles are needed first, by their paths under `tile/`.
    #[error("tiles of the log are needed: {0:?}")]
    Missing(Vec<String>),
    /// A tile has not the length that it should have.
    #[error("the log shows tiles of a wrong length")]
    WrongTile,
    /// The receipt is not in the log at its index.
    #[error("receipt {0} is not in the log")]
    NotIncluded(u64),
    /// The log was cut off: it is smaller than it was.
    #[error("the log had {before} receipts and now has {now}: it was cut off")]
    Shrunk {
        /// How many it had.
        before: u64,
        /// How many it has.
        now: u64,
    },
    /// The log is not what it was: an old receipt was replaced, or it was forked.
    #[error(
        "the first {0} receipts of the log are not those that it had: it was forked or rewritten"
    )]
    Forked(u64),
    /// The heads are those of two logs.
    #[error("the checkpoint that was kept is of the log {kept}, this is the log {shown}")]
    AnotherLog {
        /// The origin that is known.
        kept: String,
        /// The origin of the newer head.
        shown: String,
    },
}

/// The Ed25519 key that signs the heads of one log. Its debug form shows the origin only.
pub struct LogKey {
    origin: String,
    key: SigningKey,
}

impl fmt::Debug for LogKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogKey({})", self.origin)
    }
}

impl LogKey {
    /// The key of the log with this origin: a name without spaces and pluses.
    #[must_use]
    pub fn new(origin: &str, secret: &[u8; 32]) -> Self {
        Self { origin: origin.to_owned(), key: SigningKey::from_bytes(secret) }
    }

    /// The log's name.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The public key as signed notes write it: `{origin}+{key id}+{key}`.
    #[must_use]
    pub fn verifier_key(&self) -> String {
        signed_note::new_ed25519_verifier_key(&self.origin, &self.key.verifying_key())
    }

    /// The tree's head as a signed note.
    ///
    /// # Panics
    /// When the origin is no note's name.
    #[must_use]
    pub fn sign(&self, tree: &Tree) -> Vec<u8> {
        let checkpoint = Checkpoint::new(&self.origin, tree.size(), Hash(tree.root()), "");
        let checkpoint = checkpoint.expect("an origin is not empty").to_bytes();
        let mut note = Note::new(&checkpoint, &[]).expect("a checkpoint is a note's text");
        note.add_sigs(&[self]).expect("an origin is a key's name");
        note.to_bytes()
    }
}

impl Signer for LogKey {
    fn name(&self) -> &str {
        &self.origin
    }

    fn key_id(&self) -> u32 {
        let key = [&[ED25519], self.key.verifying_key().as_bytes().as_slice()].concat();
        signed_note::key_id(&self.origin, &key)
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, ed25519_dalek::SignatureError> {
        Ok(self.key.try_sign(message)?.to_vec())
    }
}

/// What a log's key signed: how many receipts there are, and the hash over them. Only [`verify_checkpoint`] makes one.
#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    origin: String,
    size: u64,
    root: Hash,
}

/// Reads a checkpoint that the key signed.
///
/// # Errors
/// When it is malformed, of another log, or not signed by the key.
pub fn verify_checkpoint(note: &[u8], verifier_key: &str) -> Result<Head, CheckpointError> {
    let verifier = StandardVerifier::new(verifier_key).map_err(|_| CheckpointError::Key)?;
    let origin = verifier_key.split('+').next().unwrap_or_default();
    let note = Note::from_bytes(note).map_err(|_| CheckpointError::Malformed)?;
    let not_signed = || CheckpointError::NotSigned(origin.to_owned());
    note.verify(&VerifierList::new(vec![Box::new(verifier)])).map_err(|_| not_signed())?;
    let checkpoint = Checkpoint::from_bytes(note.text()).map_err(|_| CheckpointError::Malformed)?;
    if checkpoint.origin() != origin {
        return Err(not_signed());
    }
    Ok(Head { origin: origin.to_owned(), size: checkpoint.size(), root: *checkpoint.hash() })
}

/// Tiles as they were fetched, by their paths under `tile/`. They count as far as they fit a head.
#[derive(Debug, Default)]
pub struct Tiles(HashMap<String, Vec<u8>>);

impl Tiles {
    /// Adds a tile.
    pub fn insert(&mut self, path: String, hashes: Vec<u8>) {
        self.0.insert(path, hashes);
    }
}

/// Hashes out of tiles, as they were fetched: proofs are made of them, and only what a proof shows counts.
struct Reading<'t> {
    size: u64,
    tiles: &'t Tiles,
    missing: RefCell<Vec<String>>,
}

impl HashReader for Reading<'_> {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, Error> {
        let read = |index: &u64| {
            let tile = Tile::from_index(TILE_HEIGHT, *index).parent(0, self.size)?;
            let path = tile.path();
            let path = path.strip_prefix(&format!("tile/{TILE_HEIGHT}/")).unwrap_or(&path);
            let Some(hashes) = self.tiles.0.get(path) else {
                self.missing.borrow_mut().push(path.to_owned());
                return None;
            };
            tile.hash_at_index(hashes, *index).ok()
        };
        let read: Vec<_> = indexes.iter().map(read).collect();
        read.into_iter().collect::<Option<_>>().ok_or(Error::InvalidTile)
    }
}

impl Head {
    /// The log's name.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// How many receipts there are.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The hash over them.
    #[must_use]
    pub const fn root(&self) -> [u8; 32] {
        self.root.0
    }

    /// The line is receipt number `index` of the log.
    ///
    /// # Errors
    /// [`ProofError::Missing`] until the tiles are there that decide it; another when it is not.
    pub fn includes(&self, index: u64, line: &[u8], tiles: &Tiles) -> Result<(), ProofError> {
        if index >= self.size {
            return Err(ProofError::NotIncluded(index));
        }
        let proof = self.read(tiles, |reader| prove_record(self.size, index, reader))?;
        check_record(&proof, self.size, self.root, index, record_hash(line))
            .map_err(|_| ProofError::NotIncluded(index))
    }

    /// The log was once at `older`, and only grew since.
    ///
    /// # Errors
    /// [`ProofError::Missing`] until the tiles are there that decide it; another when it was cut off, forked or rewritten.
    pub fn extends(&self, older: &Self, tiles: &Tiles) -> Result<(), ProofError> {
        if older.origin != self.origin {
            let (kept, shown) = (older.origin.clone(), self.origin.clone());
            return Err(ProofError::AnotherLog { kept, shown });
        }
        if older.size > self.size {
            return Err(ProofError::Shrunk { before: older.size, now: self.size });
        }
        let forked = ProofError::Forked(older.size);
        if older.size == 0 || older.size == self.size {
            let root = if older.size == 0 { EMPTY_HASH } else { self.root };
            return if root == older.root { Ok(()) } else { Err(forked) };
        }
        let proof = self.read(tiles, |reader| prove_tree(self.size, older.size, reader))?;
        check_tree(&proof, self.size, self.root, older.size, older.root).map_err(|_| forked)
    }

    fn read<T>(
        &self,
        tiles: &Tiles,
        read: impl FnOnce(&Reading<'_>) -> Result<T, Error>,
    ) -> Result<T, ProofError> {
        let reading = Reading { size: self.size, tiles, missing: RefCell::default() };
        let result = read(&reading);
        let missing = reading.missing.into_inner();
        if missing.is_empty() {
            result.map_err(|_| ProofError::WrongTile)
        } else {
            Err(ProofError::Missing(missing))
        }
    }
}

#[cfg(test)]
mod tests;
