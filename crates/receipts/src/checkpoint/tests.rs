//! What follows from a head, and what does not.

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;
use crate::tree::tests::Whole;

fn key() -> LogKey {
    LogKey::new("sesame/31337/test", &[7; 32])
}

fn leaf(index: u64) -> Vec<u8> {
    format!("receipt {index}").into_bytes()
}

fn tree(size: u64) -> Whole {
    let mut tree = Whole::default();
    (0..size).for_each(|index| tree.push(&leaf(index)));
    tree
}

fn head(tree: &Tree) -> Head {
    verify_checkpoint(&key().sign(tree), &key().verifier_key()).unwrap()
}

/// Asks again with the tiles that are missing, as a client does.
fn with_tiles(
    tree: &Whole,
    tiles: &mut Tiles,
    ask: impl Fn(&Tiles) -> Result<(), ProofError>,
) -> Result<(), ProofError> {
    loop {
        match ask(tiles) {
            Err(ProofError::Missing(paths)) => {
                for path in paths {
                    let tile = tree.tile(&path).unwrap_or_else(|| panic!("no tile {path}"));
                    tiles.insert(path, tile);
                }
            }
            decided => return decided,
        }
    }
}

#[test]
fn every_receipt_is_included_and_no_other() {
    for size in [1, 2, 3, 255, 256, 257, 700, 66_000] {
        let tree = tree(size);
        let (head, mut tiles) = (head(&tree), Tiles::default());
        let step = (size / 50).max(1);
        for index in (0..size).step_by(usize::try_from(step).unwrap()) {
            let includes = |line: Vec<u8>, tiles: &mut Tiles| {
                with_tiles(&tree, tiles, |tiles| head.includes(index, &line, tiles))
            };
            assert_eq!(includes(leaf(index), &mut tiles), Ok(()), "{index} of {size}");
            let other = includes(leaf(index + 1), &mut tiles);
            assert_eq!(other, Err(ProofError::NotIncluded(index)));
        }
        let beyond = head.includes(size, &leaf(size), &tiles);
        assert_eq!(beyond, Err(ProofError::NotIncluded(size)));
    }
}

#[test]
fn a_head_extends_every_earlier_head_of_its_log() {
    for (before, after) in [(0, 0), (0, 1), (1, 1), (1, 2), (255, 256), (256, 257), (300, 70_000)] {
        let (before, after) = (tree(before), tree(after));
        let (older, newer) = (head(&before), head(&after));
        let ask = |tiles: &Tiles| newer.extends(&older, tiles);
        assert_eq!(with_tiles(&after, &mut Tiles::default(), ask), Ok(()));
    }
}

#[test]
fn a_log_that_was_cut_off_forked_or_rewritten_is_noticed() {
    let kept = head(&tree(500));
    let shrunk = head(&tree(499)).extends(&kept, &Tiles::default());
    assert_eq!(shrunk, Err(ProofError::Shrunk { before: 500, now: 499 }));
    for (replaced, size) in [(0, 500), (0, 501), (255, 900), (499, 500), (499, 501), (499, 900)] {
        let mut forged = Whole::default();
        for index in 0..size {
            let other = [b"not ".to_vec(), leaf(index)].concat();
            forged.push(&if index == replaced { other } else { leaf(index) });
        }
        let newer = head(&forged);
        let ask = |tiles: &Tiles| newer.extends(&kept, tiles);
        let noticed = with_tiles(&forged, &mut Tiles::default(), ask);
        assert_eq!(noticed, Err(ProofError::Forked(500)), "{replaced} of {size}");
    }
    let other = LogKey::new("sesame/31337/other", &[7; 32]);
    let other = verify_checkpoint(&other.sign(&tree(501)), &other.verifier_key()).unwrap();
    let noticed = other.extends(&kept, &Tiles::default());
    assert!(matches!(noticed, Err(ProofError::AnotherLog { .. })), "{noticed:?}");
}

#[test]
fn one_flipped_bit_of_a_tile_is_noticed() {
    let tree = tree(70_000);
    let (head, mut random) = (head(&tree), StdRng::seed_from_u64(7));
    let mut refused = 0;
    for _ in 0..100 {
        let index = random.random_range(0..70_000);
        let mut tiles = Tiles::default();
        let ask = |tiles: &Tiles| head.includes(index, &leaf(index), tiles);
        with_tiles(&tree, &mut tiles, ask).unwrap();
        let paths: Vec<_> = tiles.0.keys().cloned().collect();
        for path in paths {
            let bytes = tiles.0.get_mut(&path).unwrap();
            let bit = random.random_range(0..bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            // The bit is of a hash that the proof needs, or of another; never is another receipt proven.
            let asked = ask(&tiles);
            assert!(matches!(asked, Ok(()) | Err(ProofError::NotIncluded(_))), "{asked:?}");
            refused += usize::from(asked.is_err());
            let forged = head.includes(index, b"forged", &tiles);
            assert_eq!(forged, Err(ProofError::NotIncluded(index)));
            tiles.0.get_mut(&path).unwrap()[bit / 8] ^= 1 << (bit % 8);
        }
        tiles.0.values_mut().for_each(|hashes| hashes.truncate(hashes.len() - 1));
        assert_eq!(ask(&tiles), Err(ProofError::WrongTile));
    }
    assert!(refused > 0, "no bit mattered");
}

#[test]
fn a_checkpoint_with_one_bit_flipped_is_none() {
    let note = key().sign(&tree(5));
    for bit in 0..note.len() * 8 {
        let mut flipped = note.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(verify_checkpoint(&flipped, &key().verifier_key()).is_err(), "bit {bit}");
    }
    let stranger = LogKey::new(key().origin(), &[8; 32]);
    let refused = verify_checkpoint(&note, &stranger.verifier_key());
    assert!(matches!(refused, Err(CheckpointError::NotSigned(_))), "{refused:?}");
    let text = String::from_utf8(note).unwrap();
    assert!(text.starts_with("sesame/31337/test\n5\n"), "{text}");
    assert!(text.contains("\n\n— sesame/31337/test "), "{text}");
}

#[test]
fn only_tiles_that_there_are_are_shown() {
    let tree = tree(300);
    for (path, hashes) in [("0/000", 256), ("0/001.p/44", 44), ("0/001.p/3", 3), ("1/000.p/1", 1)] {
        assert_eq!(tree.tile(path).map(|tile| tile.len()), Some(32 * hashes), "{path}");
    }
    for path in [
        "",
        "0",
        "0/1",
        "0/001",
        "0/001.p/45",
        "0/000.p/0",
        "0/002",
        "1/000",
        "1/000.p/2",
        "8/000",
        "31/000",
        "255/000",
        "data/000",
        "entries/000",
        "0/x018/x446/x744/x073/x709/x551/615",
        "0/../000",
    ] {
        assert_eq!(tree.tile(path), None, "{path}");
    }
}
