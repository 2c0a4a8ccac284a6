//! What a power cut leaves: a log torn, zeroed or garbled anywhere, with some tables written out before and others not.
//!
//! The mirror that opens is the mirror after some write and all writes before it, and goes on; or it does not open at all.

use std::{collections::BTreeMap, fs, io, path::Path, sync::atomic::Ordering};

use rand::{Rng, rngs::StdRng, seq::IndexedRandom};
use rocksdb::WriteBatch;
use tempfile::TempDir;

use crate::{
    OpenError, View,
    schema::TABLES,
    testing::{ROWS, Raw, Scratch, block, dump, origin},
    tests::{History, Seed, seeds},
};

const WRITES: usize = 25;
const IMAGES: u64 = 3;
const ALL_IMAGES: u64 = 200;

/// What happened to a file.
#[derive(Debug, Clone, Copy)]
enum Damage {
    /// It ends here.
    Cut(usize),
    /// From here on it is zeros.
    Zeros(usize),
    /// From here on it is anything.
    Garbage(usize),
    /// Zeros from here on for a while, and then again what was written.
    Hole(usize, usize),
    /// One bit is another.
    Flip(usize),
    /// It is not there.
    Gone,
}

impl Damage {
    fn done_to(self, path: &Path, rng: &mut StdRng) {
        if matches!(self, Self::Gone) {
            return fs::remove_file(path).unwrap();
        }
        let mut bytes = fs::read(path).unwrap();
        match self {
            Self::Cut(at) => bytes.truncate(at),
            Self::Zeros(at) => bytes[at..].fill(0),
            Self::Garbage(at) => rng.fill(&mut bytes[at..]),
            Self::Hole(at, length) => {
                let end = bytes.len().min(at + length);
                bytes[at..end].fill(0);
            }
            Self::Flip(at) => bytes[at] ^= 1 << rng.random_range(0..8),
            Self::Gone => {}
        }
        fs::write(path, bytes).unwrap();
    }
}

/// The folder of a mirror that was being written when the power went.
struct Image {
    folder: TempDir,
    /// The newest last.
    logs: Vec<String>,
    /// What the mirror held after so many writes.
    states: BTreeMap<u64, Vec<Raw>>,
    history: History,
}

impl Image {
    fn new(seed: u64) -> Self {
        let mut history = History::new(seed);
        let mut states = BTreeMap::from([(0, Scratch::new().dump()), now(&history)]);
        for _ in 0..WRITES {
            match history.rng.random_range(0..10) {
                0..6 => history.extend(),
                6 => history.unwind(),
                7 | 8 => history.confirm(),
                _ => history.prove(),
            }
            states.extend([now(&history)]);
            if history.rng.random_bool(0.15) {
                let table = TABLES.choose(&mut history.rng).unwrap();
                let view = history.scratch.view();
                view.db.flush_cf(view.family(table)).unwrap();
            }
        }
        // One more, so that the newest log is not empty.
        history.extend();
        states.extend([now(&history)]);
        let folder = copied(history.scratch.path());
        let mut logs = files(folder.path(), "log");
        logs.sort();
        Self { folder, logs, states, history }
    }

    fn length(&self, file: &str) -> usize {
        usize::try_from(fs::metadata(self.folder.path().join(file)).unwrap().len()).unwrap()
    }

    /// Damages one file of a copy, and opens that.
    fn opened(&mut self, file: &str, damage: Damage) -> (TempDir, Result<View, OpenError>) {
        let folder = copied(self.folder.path());
        damage.done_to(&folder.path().join(file), &mut self.history.rng);
        let view = View::open(folder.path(), &origin());
        (folder, view)
    }

    /// After how many writes the mirror was as this one is.
    fn writes(&self, view: &View) -> u64 {
        let writes = view.writes.load(Ordering::SeqCst);
        assert_eq!(Some(&dump(view, &TABLES).unwrap()), self.states.get(&writes), "{writes}");
        writes
    }

    fn all_writes(&self) -> u64 {
        *self.states.last_key_value().unwrap().0
    }

    /// Follows the chain from wherever it is, as the indexer would.
    fn follow(&self, view: &View) {
        let chain = &self.history.chain;
        let mut next = *chain.first_key_value().unwrap().0;
        if let Some(cursor) = view.cursor().unwrap() {
            let stands = |number: &u64| {
                let ours = view.header(*number).unwrap();
                ours.is_some() && ours == chain.get(number).map(|block| block.block)
            };
            let fork = (0..=cursor.head.number).rev().find(stands).unwrap();
            view.unwind(fork).unwrap();
            next = fork + 1;
        }
        let rest: Vec<_> = chain.range(next..).map(|(_, block)| block.clone()).collect();
        view.apply(&rest).unwrap();
        let now = dump(view, &ROWS).unwrap();
        assert_eq!(now, self.history.scratch.dump_of(&ROWS), "it went on to something else");
    }

    /// Lengths worth cutting at: all of the last bytes, and as many before.
    fn places(&mut self, length: usize, count: usize) -> Vec<usize> {
        let last = length.saturating_sub(count / 2)..length;
        let rng = &mut self.history.rng;
        let before = (0..count / 2).map(|_| rng.random_range(0..length));
        let mut places: Vec<usize> = before.chain(last).collect();
        places.sort_unstable();
        places
    }
}

/// How often the mirror was written, and what it holds.
fn now(history: &History) -> (u64, Vec<Raw>) {
    (history.scratch.view().writes.load(Ordering::SeqCst), history.scratch.dump())
}

fn files(folder: &Path, extension: &str) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name());
    let names = names.map(|name| name.into_string().unwrap());
    names.filter(|name| name.ends_with(&format!(".{extension}"))).collect()
}

/// The files of an open mirror as they lie on the disk. A file that goes while they are copied is not needed any more, but
/// then the list of files is not the one that was copied: once more.
fn copied(from: &Path) -> TempDir {
    loop {
        match copy(from) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            copied => return copied.unwrap(),
        }
    }
}

fn copy(from: &Path) -> io::Result<TempDir> {
    let to = TempDir::new()?;
    for file in fs::read_dir(from)? {
        let file = file?;
        if file.file_name() != "LOCK" {
            fs::copy(file.path(), to.path().join(file.file_name()))?;
        }
    }
    Ok(to)
}

#[test]
fn a_log_cut_at_any_length_leaves_a_prefix_that_goes_on() {
    let (mut cuts, mut lost) = (0, 0);
    for seed in seeds(IMAGES, ALL_IMAGES) {
        let _told = Seed(seed);
        let mut image = Image::new(seed);
        let newest = image.logs.last().unwrap().clone();
        let length = image.length(&newest);
        let mut least = 0;
        for at in [vec![0], image.places(length, 60), vec![length]].concat() {
            let (_folder, view) = image.opened(&newest, Damage::Cut(at));
            let view = view.unwrap_or_else(|error| panic!("cut at {at} of {length}: {error}"));
            let writes = image.writes(&view);
            assert!(writes >= least, "cut at {at} it knows less than when cut before");
            least = writes;
            lost += usize::from(writes < image.all_writes());
            image.follow(&view);
            cuts += 1;
        }
        assert_eq!(least, image.all_writes(), "the whole log has all of it");
    }
    assert!(lost > cuts / 4, "only {lost} of {cuts} cuts took anything");
}

#[test]
fn a_log_that_the_disk_garbled_leaves_a_prefix_or_a_refusal() {
    let mut refused = 0;
    for seed in seeds(IMAGES, ALL_IMAGES) {
        let _told = Seed(1_000_000 + seed);
        let mut image = Image::new(1_000_000 + seed);
        let newest = image.logs.last().unwrap().clone();
        let mut damages = vec![Damage::Gone];
        for at in image.places(image.length(&newest), 14) {
            let length = image.history.rng.random_range(1..5000);
            damages.extend([Damage::Zeros(at), Damage::Garbage(at), Damage::Hole(at, length)]);
            damages.push(Damage::Flip(at));
        }
        for damage in damages {
            let (_folder, view) = image.opened(&newest, damage);
            match view {
                Ok(view) => {
                    image.writes(&view);
                    image.follow(&view);
                }
                Err(error) => {
                    assert!(error.to_string().contains("delete that folder"), "{error}");
                    refused += 1;
                }
            }
        }
    }
    eprintln!("{refused} garbled mirrors were refused");
}

/// Whatever a table's file says, it is not believed when it does not match its checksums.
#[test]
fn a_garbled_table_is_an_error_and_never_another_answer() {
    let mut image = Image::new(7);
    let tables = files(image.folder.path(), "sst");
    assert!(!tables.is_empty(), "nothing was written out");
    for file in tables {
        for at in image.places(image.length(&file), 12) {
            let (_folder, view) = image.opened(&file, Damage::Flip(at));
            let Ok(view) = view else { continue };
            let Ok(rows) = dump(&view, &TABLES) else { continue };
            let last = image.states.last_key_value().unwrap().1;
            assert_eq!(&rows, last, "a flip at {at} of {file}");
        }
    }
}

/// RocksDB passes over a hole of zeros between whole blocks of its log, without a word.
#[test]
fn a_mirror_that_lost_a_write_and_kept_a_later_one_is_refused() {
    let mut history = History::new(3);
    for _ in 0..12 {
        history.extend();
    }
    history.confirm();
    history.unwind();
    history.extend();
    let updates = history.scratch.view().db.get_updates_since(0).unwrap();
    let writes: Vec<Vec<u8>> = updates.map(|write| write.unwrap().1.data().to_vec()).collect();
    assert!(writes.len() > 14, "{} writes", writes.len());
    // The first is the schema, which a new mirror has.
    for lost in 1..writes.len() {
        let mut scratch = Scratch::new();
        for (place, write) in writes.iter().enumerate().skip(1) {
            if place != lost {
                scratch.view().db.write(WriteBatch::from_data(write)).unwrap();
            }
        }
        scratch.close();
        let opened = View::open(scratch.path(), &origin());
        if lost + 1 == writes.len() {
            assert!(opened.is_ok(), "the last may be lost: {opened:?}");
        } else {
            let told = opened.unwrap_err();
            assert!(matches!(told, OpenError::Damaged { .. }), "write {lost}: {told:?}");
            assert!(told.to_string().contains("delete that folder"), "{told}");
        }
    }
}

/// The first write of all is lost, and what came after it was kept.
#[test]
fn a_mirror_without_a_schema_is_refused_unless_it_is_empty() {
    let mut scratch = Scratch::new();
    let schema = crate::schema::META_SCHEMA;
    let without = |scratch: &mut Scratch| {
        let view = scratch.view();
        view.db.delete_cf(view.family(crate::schema::META), schema).unwrap();
        scratch.close();
        View::open(scratch.path(), &origin())
    };
    scratch.view().apply(&[block(10, Vec::new())]).unwrap();
    let told = without(&mut scratch).unwrap_err();
    assert!(matches!(told, OpenError::Damaged { .. }), "{told:?}");
}
