//! The Merkle tree over the log's lines (RFC 6962), in memory.

use std::fmt;

use tlog_tiles::tile::Tile;
use tlog_tiles::tlog::{
    EMPTY_HASH, Error, Hash, HashReader, record_hash, stored_hashes_for_record_hash, tree_hash,
};

/// Tiles are this high, as tlog-tiles wants it: 256 hashes wide.
pub(crate) const TILE_HEIGHT: u8 = 8;
/// Higher tiles would need more than 2^64 leaves.
const LEVELS: u8 = 8;

/// A tree that grows; 64 bytes of memory for each leaf.
#[derive(Clone, Default)]
pub struct Tree {
    size: u64,
    /// In the order of tlog-tiles: each leaf, and after it the subtrees that it completes.
    hashes: Vec<Hash>,
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tree({} leaves)", self.size)
    }
}

impl Tree {
    /// Appends a leaf.
    ///
    /// # Panics
    /// Never: the hashes that it needs are those of earlier leaves.
    pub fn push(&mut self, leaf: &[u8]) {
        let hashes = stored_hashes_for_record_hash(self.size, record_hash(leaf), self);
        self.hashes.extend(hashes.expect("earlier leaves are in the tree"));
        self.size += 1;
    }

    /// How many leaves there are.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The hash over all leaves.
    #[must_use]
    pub fn root(&self) -> [u8; 32] {
        tree_hash(self.size, self).unwrap_or(EMPTY_HASH).0
    }

    /// The hashes of a tile, by its path under `tile/`: `{level}/{index}[.p/{width}]`. `None` if the tree has no such tile
    /// yet.
    #[must_use]
    pub fn tile(&self, path: &str) -> Option<Vec<u8>> {
        let level: u8 = path.split('/').next()?.parse().ok()?;
        if level >= LEVELS || path.ends_with(".p/0") {
            return None;
        }
        let tile = Tile::from_path(&format!("tile/{TILE_HEIGHT}/{path}")).ok()?;
        let last = tile.level_index().checked_mul(1 << TILE_HEIGHT)?;
        let end = last.checked_add(tile.width().into())?;
        let there = self.size >> (TILE_HEIGHT * tile.level());
        if end > there { None } else { tile.read_data(self).ok() }
    }
}

impl HashReader for Tree {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, Error> {
        let hash = |index: &u64| self.hashes.get(usize::try_from(*index).ok()?).copied();
        indexes.iter().map(|index| hash(index).ok_or(Error::IndexesNotInTree)).collect()
    }
}
