//! The file on disk: what is appended stays, together or alone, and what is altered is noticed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use futures::executor::block_on;

use super::*;

const SECRET: [u8; 32] = [3; 32];

struct Place {
    folder: tempfile::TempDir,
    identity: Arc<Signer>,
}

impl Place {
    fn new() -> Self {
        // A word of RocksDB's for another process's index, which says nothing here.
        let folder = tempfile::Builder::new().prefix("lock-").tempdir().unwrap();
        Self { folder, identity: Arc::new(Signer::random()) }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("receipts.log")
    }

    fn open(&self) -> Result<Log, LogError> {
        Log::open(&self.path(), self.identity.address(), 31337, &SECRET)
    }

    /// A log of so many receipts, closed.
    fn filled(count: u64) -> Self {
        let place = Self::new();
        let log = place.open().unwrap();
        for task in 0..count {
            assert_eq!(place.append(&log, decision(task)).unwrap(), task);
        }
        place
    }

    /// The decision's index, when it is on disk.
    fn append(&self, log: &Log, decision: Decision) -> Result<u64, LogError> {
        block_on(log.append(decision, &self.identity)?.kept())
    }

    fn verify(&self) -> Result<u64, LogError> {
        verify_log(&self.path(), self.identity.address()).map(|tree| tree.size())
    }

    fn beside(&self, extension: &str) -> PathBuf {
        self.path().with_extension(extension)
    }

    fn forget_the_checkpoint(&self) {
        fs::remove_file(self.beside("checkpoint")).unwrap();
    }

    fn forget_the_index(&self) {
        fs::remove_dir_all(self.beside("index")).unwrap();
    }

    /// The index, without the log.
    fn index(&self) -> Index {
        let header = fs::read_to_string(self.path()).unwrap();
        let origin = lines::origin(header.lines().next().unwrap(), &self.path()).unwrap();
        Index::open(&self.beside("index"), &origin).unwrap()
    }

    /// Opens it, and looks at all that was verified before.
    fn open_and_check(&self) -> Result<Log, LogError> {
        let log = self.open()?;
        log.check(|| false)?;
        Ok(log)
    }
}

/// From many threads, which share their syncs.
fn append_at_once(log: &Log, place: &Place, tasks: std::ops::Range<u64>) {
    let tasks = Mutex::new(tasks);
    let next = || lock(&tasks).next();
    thread::scope(|scope| {
        for _ in 0..128 {
            scope.spawn(|| {
                while let Some(task) = next() {
                    place.append(log, decision(task)).unwrap();
                }
            });
        }
    });
}

fn copy(from: &Path, to: &Path) {
    try_copy(from, to).unwrap();
}

fn try_copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for file in fs::read_dir(from)? {
        let file = file?;
        fs::copy(file.path(), to.join(file.file_name()))?;
    }
    Ok(())
}

/// Copies what is on disk now of a log that is open. RocksDB may remove a file meanwhile: then all is copied anew.
fn copy_of_open(place: &Place) -> Place {
    loop {
        let elsewhere = Place { identity: place.identity.clone(), ..Place::new() };
        for extension in ["log", "checkpoint"] {
            fs::copy(place.beside(extension), elsewhere.beside(extension)).unwrap();
        }
        match try_copy(&place.beside("index"), &elsewhere.beside("index")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            copied => {
                copied.unwrap();
                return elsewhere;
            }
        }
    }
}

/// Lines, each with its index.
type Lines = Vec<(u64, String)>;

/// All that a log says of itself.
fn told(log: &Log) -> (Vec<bool>, Lines, Lines, Vec<u8>) {
    let size = log.disk.kept().tree.size();
    let released = (0..size).map(|task| log.has_released(decision(task).task).unwrap()).collect();
    let of_asset = log.of_asset(B256::repeat_byte(0xa1), 1, 0, 10_000).unwrap();
    let of_requester = log.of_requester(Address::repeat_byte(1), 0, 10_000).unwrap();
    let tile = log.tile(&format!("0/000.p/{}", size.min(255))).unwrap().unwrap();
    (released, of_asset, of_requester, tile)
}

fn decision(task: u64) -> Decision {
    Decision {
        decided_at: 1_800_000_000,
        head: (7, B256::repeat_byte(7)),
        confirmed: (5, B256::repeat_byte(5)),
        task: B256::left_padding_from(&task.to_be_bytes()),
        requester: Address::repeat_byte(u8::try_from(task % 2).unwrap()),
        assets: vec![(B256::repeat_byte(0xa1), task % 3)],
        enclave: B256::repeat_byte(0xe1),
        resource: "bundle/all".to_owned(),
        released: vec![("app-secret/1".to_owned(), 1)],
        denials: if task % 5 == 4 { vec!["not_whitelisted".to_owned()] } else { Vec::new() },
    }
}

#[test]
fn what_was_appended_is_there_again() {
    let place = Place::filled(10);
    let log = place.open().unwrap();
    assert!(log.has_released(decision(3).task).unwrap());
    assert!(!log.has_released(decision(4).task).unwrap());
    let indexes = |lines: Vec<(u64, String)>| -> Vec<u64> {
        lines.into_iter().map(|(index, _)| index).collect()
    };
    let asset = B256::repeat_byte(0xa1);
    assert_eq!(indexes(log.of_asset(asset, 1, 0, 10).unwrap()), [1, 4, 7]);
    assert_eq!(indexes(log.of_asset(asset, 1, 2, 1).unwrap()), [4]);
    assert!(indexes(log.of_asset(asset, 9, 0, 10).unwrap()).is_empty());
    let requester = Address::repeat_byte(1);
    assert_eq!(indexes(log.of_requester(requester, 0, 10).unwrap()), [1, 3, 5, 7, 9]);
    let (_, line) = log.of_requester(requester, 5, 1).unwrap().remove(0);
    let signed = SignedReceipt::parse(&line).unwrap();
    let receipt = signed.verify(place.identity.address()).unwrap();
    assert_eq!((receipt.index, receipt.decision), (5, decision(5)));
    assert_eq!(signed.verify(Address::ZERO), None);

    // It goes on where it stood.
    let before = verify_checkpoint(&log.checkpoint(), &log.verifier_key()).unwrap();
    assert_eq!(place.append(&log, decision(10)).unwrap(), 10);
    let after = verify_checkpoint(&log.checkpoint(), &log.verifier_key()).unwrap();
    assert_eq!((before.size(), after.size(), before.origin()), (10, 11, after.origin()));
    assert_eq!(place.verify().unwrap(), 11);
}

#[test]
fn no_two_logs_have_one_name() {
    let place = Place::new();
    let other =
        Log::open(&place.folder.path().join("other.log"), place.identity.address(), 31337, &SECRET);
    assert_ne!(place.open().unwrap().verifier_key(), other.unwrap().verifier_key());
}

#[test]
fn many_at_once_are_one_log() {
    let place = Place::new();
    let log = place.open().unwrap();
    thread::scope(|scope| {
        for thread in 0..16 {
            let (log, place) = (&log, &place);
            scope.spawn(move || {
                for n in 0..50 {
                    let index = place.append(log, decision(thread * 50 + n)).unwrap();
                    // What is answered is on disk.
                    assert!(place.verify().unwrap() > index || n % 10 != 0);
                }
            });
        }
    });
    assert_eq!(place.verify().unwrap(), 800);
    drop(log);
    place.open().unwrap();
}

#[test]
fn a_torn_line_is_dropped() {
    let place = Place::filled(3);
    let whole = fs::read(place.path()).unwrap();
    for cut in [1, 100, 400] {
        fs::write(
            place.path(),
            [whole.as_slice(), &whole[whole.len() - cut - 100..whole.len() - 50]].concat(),
        )
        .unwrap();
        if whole[whole.len() - cut - 100..whole.len() - 50].contains(&b'\n') {
            continue;
        }
        drop(place.open().unwrap());
        assert_eq!(fs::read(place.path()).unwrap(), whole);
    }
    // So is the line that names the log, before there is a receipt.
    let place = Place::new();
    fs::write(place.path(), "{\"format\":").unwrap();
    place.append(&place.open().unwrap(), decision(0)).unwrap();
    assert_eq!(place.verify().unwrap(), 1);
}

#[test]
fn one_flipped_bit_is_noticed_with_and_without_a_checkpoint() {
    let place = Place::filled(6);
    drop(place.open().unwrap());
    let whole = fs::read(place.path()).unwrap();
    let first = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    for at in (first..whole.len()).step_by(101).chain([whole.len() - 1]) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        fs::write(place.path(), &flipped).unwrap();
        let refused = place.open_and_check();
        // Without its end, the last line is torn, and before the checkpoint that is a log cut off.
        assert!(
            matches!(refused, Err(LogError::Broken(_) | LogError::CutOff { .. })),
            "byte {at}: {refused:?}"
        );
    }
    place.forget_the_checkpoint();
    place.forget_the_index();
    for at in (first..whole.len() - 1).step_by(11) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        fs::write(place.path(), &flipped).unwrap();
        assert!(matches!(place.verify(), Err(LogError::Broken(_))), "byte {at}");
        if at % 8 == 0 {
            assert!(matches!(place.open(), Err(LogError::Broken(_))), "byte {at}");
        }
    }
}

#[test]
fn a_log_that_was_cut_off_is_refused() {
    let place = Place::filled(6);
    drop(place.open().unwrap());
    let whole = fs::read(place.path()).unwrap();
    let last = whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    fs::write(place.path(), &whole[..last]).unwrap();
    let refused = place.open();
    assert!(matches!(refused, Err(LogError::CutOff { before: 6, now: 5 })), "{refused:?}");
    // The index alone tells, too, and keeps telling.
    place.forget_the_checkpoint();
    for _ in 0..2 {
        let refused = place.open();
        assert!(matches!(refused, Err(LogError::CutOff { before: 6, now: 5 })), "{refused:?}");
    }
    // Without both, nobody but who kept a checkpoint can tell.
    place.forget_the_index();
    assert_eq!(place.open_and_check().unwrap().disk.kept().tree.size(), 5);
}

/// Signed by the identity, and yet not what stood there: the checkpoint knows.
#[test]
fn a_replaced_receipt_is_refused() {
    let place = Place::filled(1);
    drop(place.open().unwrap());
    let text = fs::read_to_string(place.path()).unwrap();
    let header = text.lines().next().unwrap();
    let other = Receipt { index: 0, previous: B256::ZERO, salt: B256::ZERO, decision: decision(4) };
    let line = SignedReceipt::line(&other, &place.identity).unwrap();
    fs::write(place.path(), format!("{header}\n{line}\n")).unwrap();
    let refused = place.open_and_check();
    assert!(matches!(refused, Err(LogError::Broken(0))), "{refused:?}");
    place.forget_the_index();
    let refused = place.open();
    assert!(matches!(refused, Err(LogError::Broken(0))), "{refused:?}");
    place.forget_the_checkpoint();
    assert!(place.open().is_ok(), "without one it looks well: the identity signed it");
}

#[test]
fn a_log_of_an_earlier_version_is_refused_with_what_to_do() {
    let place = Place::new();
    let signature = place.identity.sign_hash(B256::ZERO);
    let line = format!("{{\"receipt\":{{\"sequence\":1}},\"signature\":\"{signature}\"}}\n");
    fs::write(place.path(), &line).unwrap();
    let refused = place.open().unwrap_err();
    assert!(matches!(refused, LogError::OldFormat(_)), "{refused:?}");
    assert!(refused.to_string().contains("move"), "{refused}");
    assert_eq!(fs::read_to_string(place.path()).unwrap(), line, "it is left alone");

    fs::write(place.path(), "{\"format\":3,\"origin\":\"later\"}\n").unwrap();
    assert!(matches!(place.open(), Err(LogError::Header)));
}

/// A log that writes into another file than its own.
fn redirected(place: &Place, file: File) -> Log {
    let mut log = place.open().unwrap();
    lock(&log.chain).lines = mpsc::sync_channel(0).0;
    log.writer.take().unwrap().join().unwrap();
    Arc::get_mut(&mut log.disk).unwrap().file = file;
    let disk = log.disk.clone();
    drop(log);
    Log::on(disk, place.identity.address(), None).unwrap()
}

/// A bug: those who had asked and left were queued without bound.
#[test]
fn a_disk_that_hangs_makes_those_wait_who_come_then() {
    let place = Place::filled(1);
    let (reader, writer) = io::pipe().unwrap();
    // Nobody reads: writing hangs where the pipe is full, which the first of them makes it.
    let log = redirected(&place, File::from(std::os::fd::OwnedFd::from(writer)));
    let (appended, all) = (AtomicUsize::new(0), 4 * QUEUED);
    let pending = thread::scope(|scope| {
        let append = scope.spawn(|| {
            let append = |task| {
                let resource = "x".repeat(if task == 1 { 1 << 20 } else { 1 });
                let decision = Decision { resource, ..decision(task) };
                let pending = log.append(decision, &place.identity).unwrap();
                appended.fetch_add(1, Ordering::SeqCst);
                pending
            };
            (1..=all as u64).map(append).collect::<Vec<_>>()
        });
        let mut before = usize::MAX;
        while before != appended.load(Ordering::SeqCst) || before < QUEUED {
            before = appended.load(Ordering::SeqCst);
            thread::sleep(Duration::from_millis(500));
        }
        assert!(before < all, "all {all} were taken");
        drop(reader);
        append.join().unwrap()
    });
    for pending in pending {
        assert!(matches!(block_on(pending.kept()), Err(LogError::Poisoned(_))));
    }
}

#[test]
fn a_log_that_failed_to_write_refuses_to_go_on() {
    let place = Place::filled(1);
    // A file that is open for reading alone cannot be written.
    let log = redirected(&place, File::open(place.path()).unwrap());
    let together = [1, 2].map(|task| log.append(decision(task), &place.identity).unwrap());
    for pending in together {
        let refused = block_on(pending.kept());
        assert!(
            matches!(&refused, Err(LogError::Poisoned(cause)) if matches!(**cause, LogError::Io(_))),
            "{refused:?}"
        );
    }
    assert!(matches!(place.append(&log, decision(3)), Err(LogError::Poisoned(_))));
    assert!(matches!(block_on(log.failed()), LogError::Poisoned(_)));
    assert!(!log.has_released(decision(1).task).unwrap());
    drop(log);
    place.append(&place.open().unwrap(), decision(1)).unwrap();
    assert_eq!(place.verify().unwrap(), 2);
}

/// A decision of which nobody waits to hear is on record all the same, and a log that is closed has written all of them.
#[test]
fn a_closed_log_keeps_what_it_has_and_takes_no_more() {
    let place = Place::new();
    let log = place.open().unwrap();
    let before = log.append(decision(0), &place.identity).unwrap();
    log.close();
    assert_eq!(block_on(before.kept()).unwrap(), 0);
    let refused = place.append(&log, decision(1));
    assert!(matches!(&refused, Err(LogError::Io(_))), "{refused:?}");
    assert!(matches!(block_on(log.failed()), LogError::Io(_)));
    drop(log);
    assert_eq!(place.verify().unwrap(), 1);
}

#[test]
fn a_checkpoint_that_cannot_be_written_stops_no_receipt() {
    let place = Place::new();
    let log = place.open().unwrap();
    fs::create_dir(place.beside("checkpoint-draft")).unwrap();
    append_at_once(&log, &place, 0..VERIFIED_EVERY + 1);
    drop(log);
    assert_eq!(place.verify().unwrap(), VERIFIED_EVERY + 1);
}

#[test]
fn who_does_not_wait_is_on_record_all_the_same() {
    let place = Place::new();
    let log = place.open().unwrap();
    let pending: Vec<_> =
        (0..100).map(|task| log.append(decision(task), &place.identity).unwrap()).collect();
    drop(log);
    assert_eq!(place.verify().unwrap(), 100);
    for (index, pending) in (0..).zip(pending) {
        assert_eq!(block_on(pending.kept()).unwrap(), index);
    }
}

/// Every way in which the index can be behind: it is brought up to the log, and says the same.
#[test]
fn an_index_that_is_missing_older_or_damaged_is_made_of_the_log() {
    let place = Place::new();
    append_at_once(&place.open().unwrap(), &place, 0..300);
    let older = place.folder.path().join("older");
    copy(&place.beside("index"), &older);
    let old_checkpoint = fs::read(place.beside("checkpoint")).unwrap();
    let log = place.open().unwrap();
    append_at_once(&log, &place, 300..700);
    let whole = told(&log);
    drop(log);
    let newer = place.folder.path().join("newer");
    copy(&place.beside("index"), &newer);
    let new_checkpoint = fs::read(place.beside("checkpoint")).unwrap();
    let spoil = |spoiled: fn(&str) -> bool| {
        for file in fs::read_dir(place.beside("index")).unwrap().map(|file| file.unwrap()) {
            if spoiled(file.file_name().to_str().unwrap()) {
                let length = usize::try_from(file.metadata().unwrap().len()).unwrap();
                fs::write(file.path(), vec![7; length]).unwrap();
            }
        }
    };
    for checkpoint in [Some(&new_checkpoint), Some(&old_checkpoint), None] {
        let ways: [(&str, &dyn Fn()); 5] = [
            ("as it was", &|| copy(&newer, &place.beside("index"))),
            ("missing", &|| {}),
            ("older", &|| copy(&older, &place.beside("index"))),
            ("tables damaged", &|| {
                copy(&newer, &place.beside("index"));
                spoil(|name| name.ends_with(".sst"));
            }),
            ("manifest damaged", &|| {
                copy(&newer, &place.beside("index"));
                spoil(|name| name.starts_with("MANIFEST") || name == "CURRENT");
            }),
        ];
        for (way, prepare) in ways {
            fs::remove_dir_all(place.beside("index")).unwrap();
            prepare();
            match checkpoint {
                Some(note) => fs::write(place.beside("checkpoint"), note).unwrap(),
                None => place.forget_the_checkpoint(),
            }
            let log = place.open_and_check().unwrap_or_else(|error| panic!("{way}: {error}"));
            assert_eq!(told(&log), whole, "{way}");
        }
    }
}

/// It is written without a sync: what a kill leaves is behind the log.
/// It knows how long the log was, and nothing else does where there is no checkpoint.
#[test]
fn an_index_that_cannot_be_read_now_is_not_thrown_away() {
    let place = Place::filled(3);
    let before = told(&place.open().unwrap());
    let files = fs::read_dir(place.beside("index")).unwrap().map(|file| file.unwrap().path());
    let is_manifest = |path: &PathBuf| path.to_string_lossy().contains("MANIFEST");
    let manifest = files.into_iter().find(is_manifest).unwrap();
    let aside = place.folder.path().join("aside");
    fs::rename(&manifest, &aside).unwrap();
    fs::create_dir(&manifest).unwrap();

    let refused = place.open().unwrap_err();
    assert!(matches!(refused, LogError::Index(_)), "{refused:?}");
    assert!(refused.may_pass());

    fs::remove_dir(&manifest).unwrap();
    fs::rename(aside, manifest).unwrap();
    assert_eq!(told(&place.open().unwrap()), before);
}

#[test]
fn after_a_kill_the_index_is_caught_up() {
    let place = Place::new();
    let mut size = 0;
    for batch in [1, 7, 300, 5_000] {
        let log = place.open().unwrap();
        append_at_once(&log, &place, size..size + batch);
        size += batch;
        // Another process would find what is on disk now.
        let elsewhere = copy_of_open(&place);
        let found = elsewhere.open_and_check().unwrap();
        assert_eq!(told(&found), told(&log), "{size}");
        drop(log);
    }
}

/// A receipt that is in the index was on disk: a log without it lost it.
#[test]
fn a_log_that_is_torn_before_the_end_of_its_index_is_refused() {
    let place = Place::filled(6);
    let whole = fs::read(place.path()).unwrap();
    place.forget_the_checkpoint();
    for cut in [1, 100] {
        fs::write(place.path(), &whole[..whole.len() - cut]).unwrap();
        let refused = place.open();
        assert!(matches!(refused, Err(LogError::CutOff { before: 6, now: 5 })), "{refused:?}");
    }
    // Put back, it goes on.
    fs::write(place.path(), &whole).unwrap();
    assert_eq!(place.open_and_check().unwrap().disk.kept().tree.size(), 6);
}

#[test]
fn an_index_of_another_log_is_not_taken() {
    let (place, other) = (Place::filled(20), Place::filled(30));
    place.forget_the_index();
    copy(&other.beside("index"), &place.beside("index"));
    let log = place.open_and_check().unwrap();
    assert_eq!((log.disk.kept().tree.size(), log.disk.index.cursor().unwrap().size), (20, 20));
}

/// What an index says is a hint: where to look. The log itself says what is there.
#[test]
fn an_altered_index_makes_nobody_believe_anything() {
    let place = Place::filled(20);
    let (asset, other) = (B256::repeat_byte(0xa1), B256::repeat_byte(0xa2));
    let index = place.index();
    // Task 4 was denied, another was never asked for; the asset and the requester are of nobody here.
    let mut rows = rocksdb::WriteBatch::default();
    for (task, receipt) in [(4, 4_u64), (99, 3)] {
        rows.put([b"t", decision(task).task.as_slice()].concat(), receipt.to_be_bytes());
    }
    let epoch = 0_u64.to_be_bytes();
    rows.put([b"a", other.as_slice(), &epoch, &3_u64.to_be_bytes()].concat(), []);
    rows.put([b"r", Address::repeat_byte(9).as_slice(), &3_u64.to_be_bytes()].concat(), []);
    index.alter(rows);
    drop(index);
    let log = place.open_and_check().unwrap();
    for task in [4, 99] {
        assert!(!log.has_released(decision(task).task).unwrap(), "{task}");
    }
    assert!(matches!(log.of_asset(other, 0, 0, 9), Err(LogError::Broken(3))));
    assert!(matches!(log.of_requester(Address::repeat_byte(9), 0, 9), Err(LogError::Broken(3))));
    assert_eq!(log.of_asset(asset, 0, 0, 9).unwrap().len(), 7);
    drop(log);

    // A hash at the tree's edge: the checkpoint knows, and the index is made anew.
    let alter = |number: u64| {
        let mut rows = rocksdb::WriteBatch::default();
        rows.put([b"h".as_slice(), &number.to_be_bytes()].concat(), [1; 32]);
        let index = place.index();
        index.alter(rows);
    };
    let whole = told(&place.open().unwrap());
    alter(stored_hash_index(4, 0));
    assert_eq!(told(&place.open_and_check().unwrap()), whole);
    // Another: who looks at all that was verified before.
    alter(stored_hash_index(0, 7));
    let refused = place.open_and_check();
    assert!(matches!(refused, Err(LogError::Broken(7))), "{refused:?}");
    // Where a line begins: what stands there is no receipt of that number.
    place.forget_the_index();
    drop(place.open().unwrap());
    let index = place.index();
    let mut rows = rocksdb::WriteBatch::default();
    let (start, next) = (index.start(2).unwrap().unwrap(), index.start(3).unwrap().unwrap());
    rows.put([b"l".as_slice(), &5_u64.to_be_bytes()].concat(), start.to_be_bytes());
    rows.put([b"l".as_slice(), &6_u64.to_be_bytes()].concat(), next.to_be_bytes());
    rows.put([b"l".as_slice(), &9_u64.to_be_bytes()].concat(), u64::MAX.to_be_bytes());
    index.alter(rows);
    drop(index);
    let log = place.open_and_check().unwrap();
    assert!(matches!(log.has_released(decision(5).task), Err(LogError::Broken(5))));
    assert!(matches!(log.has_released(decision(8).task), Err(LogError::Broken(8))));
    assert!(log.has_released(decision(2).task).unwrap());
}

/// What was verified once is not read by a start, and is not forgotten.
#[test]
fn an_altered_old_receipt_is_noticed_by_whoever_reads_it() {
    let place = Place::filled(20);
    let text = fs::read_to_string(place.path()).unwrap();
    fs::write(place.path(), text.replacen("bundle/all", "bundle/one", 1)).unwrap();
    let log = place.open().unwrap();
    assert!(matches!(log.has_released(decision(0).task), Err(LogError::Broken(0))));
    assert!(matches!(log.of_asset(B256::repeat_byte(0xa1), 0, 0, 9), Err(LogError::Broken(0))));
    assert!(matches!(log.check(|| false), Err(LogError::Broken(0))));
    assert!(log.has_released(decision(1).task).unwrap());
    assert!(log.check(|| true).is_ok(), "it stops when it is told to");
}
