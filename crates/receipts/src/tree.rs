//! The Merkle tree over the log's lines (RFC 6962), of which the right edge alone is in memory.

use std::fmt;

use tlog_tiles::tile::Tile;
use tlog_tiles::tlog::{
    EMPTY_HASH, Error, Hash, HashReader, node_hash, record_hash, stored_hash_index,
};

/// Tiles are this high, as tlog-tiles wants it: 256 hashes wide.
pub(crate) const TILE_HEIGHT: u8 = 8;
/// Higher tiles would need more than 2^64 leaves.
const LEVELS: u8 = 8;

/// A tree that grows: 64 hashes of memory at most, however many leaves it has.
#[derive(Clone, Default, PartialEq)]
pub struct Tree {
    size: u64,
    /// The roots of the full subtrees, from left to right: one for each bit of the size.
    edge: Vec<Hash>,
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tree({} leaves)", self.size)
    }
}

impl Tree {
    /// Appends a leaf.
    pub fn push(&mut self, leaf: &[u8]) {
        self.grow(leaf);
    }

    /// Appends a leaf, and gives the hashes that are new in the tree, in the order of tlog-tiles: the leaf, and after it the
    /// subtrees that it completes.
    pub(crate) fn grow(&mut self, leaf: &[u8]) -> Vec<Hash> {
        let mut hash = record_hash(leaf);
        let mut grown = vec![hash];
        for _ in 0..self.size.trailing_ones() {
            hash = self.edge.pop().map_or(hash, |left| node_hash(left, hash));
            grown.push(hash);
        }
        self.edge.push(hash);
        self.size += 1;
        grown
    }

    /// The tree of so many leaves, out of its hashes. What they say is the caller's to check, by the root.
    pub(crate) fn read(size: u64, hashes: &impl HashReader) -> Result<Self, Error> {
        let mut full = Vec::new();
        let mut start = 0;
        for level in (0..64).rev().filter(|level| size >> level & 1 == 1) {
            full.push(stored_hash_index(level, start >> level));
            start += 1 << level;
        }
        Ok(Self { size, edge: hashes.read_hashes(&full)? })
    }

    /// How many leaves there are.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The hash over all leaves.
    #[must_use]
    pub fn root(&self) -> [u8; 32] {
        let whole = self.edge.iter().rev().copied().reduce(|right, left| node_hash(left, right));
        whole.unwrap_or(EMPTY_HASH).0
    }
}

/// The hashes of a tile of a tree of `size` leaves, by its path under `tile/`: `{level}/{index}[.p/{width}]`. `None` if the
/// tree has no such tile yet.
pub(crate) fn tile(
    path: &str,
    size: u64,
    hashes: &impl HashReader,
) -> Result<Option<Vec<u8>>, Error> {
    tile_of(path, size).map(|tile| tile.read_data(hashes)).transpose()
}

fn tile_of(path: &str, size: u64) -> Option<Tile> {
    let level: u8 = path.split('/').next()?.parse().ok()?;
    if level >= LEVELS || path.ends_with(".p/0") {
        return None;
    }
    let tile = Tile::from_path(&format!("tile/{TILE_HEIGHT}/{path}")).ok()?;
    let first = tile.level_index().checked_mul(1 << TILE_HEIGHT)?;
    let end = first.checked_add(tile.width().into())?;
    let there = size >> (TILE_HEIGHT * tile.level());
    (end <= there).then_some(tile)
}

#[cfg(test)]
pub(crate) mod tests {
    use tlog_tiles::tlog::{stored_hashes_for_record_hash, tree_hash};

    use super::*;

    /// All hashes of a tree, in memory.
    #[derive(Default)]
    struct Hashes(Vec<Hash>);

    impl HashReader for Hashes {
        fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, Error> {
            let hash = |index: &u64| self.0.get(usize::try_from(*index).ok()?).copied();
            indexes.iter().map(|index| hash(index).ok_or(Error::IndexesNotInTree)).collect()
        }
    }

    /// A tree with all its hashes.
    #[derive(Default)]
    pub(crate) struct Whole {
        tree: Tree,
        hashes: Hashes,
    }

    impl Whole {
        pub(crate) fn push(&mut self, leaf: &[u8]) {
            self.hashes.0.extend(self.tree.grow(leaf));
        }

        pub(crate) fn tile(&self, path: &str) -> Option<Vec<u8>> {
            tile(path, self.tree.size(), &self.hashes).unwrap()
        }
    }

    impl std::ops::Deref for Whole {
        type Target = Tree;

        fn deref(&self) -> &Tree {
            &self.tree
        }
    }

    #[test]
    fn the_library_makes_the_same_tree_of_every_size() {
        let (mut tree, mut hashes) = (Tree::default(), Hashes::default());
        for size in 0..1_200_u64 {
            assert_eq!(tree.size(), size);
            assert_eq!(tree_hash(size, &hashes).unwrap_or(EMPTY_HASH).0, tree.root(), "{size}");
            assert_eq!(Tree::read(size, &hashes).unwrap(), tree, "{size}");
            let leaf = size.to_be_bytes();
            let library = stored_hashes_for_record_hash(size, record_hash(&leaf), &hashes);
            let grown = tree.grow(&leaf);
            assert_eq!(library.unwrap(), grown, "{size}");
            hashes.0.extend(grown);
        }
    }
}
