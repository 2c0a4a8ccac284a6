//! The file on disk: what is appended stays, together or alone, and what is altered is noticed.

use std::thread;

use super::*;

const SECRET: [u8; 32] = [3; 32];

struct Place {
    folder: tempfile::TempDir,
    identity: Signer,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), identity: Signer::random() }
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
            assert_eq!(log.append(decision(task), &place.identity).unwrap(), task);
        }
        place
    }

    fn verify(&self) -> Result<u64, LogError> {
        verify_log(&self.path(), self.identity.address()).map(|tree| tree.size())
    }

    fn forget_the_checkpoint(&self) {
        fs::remove_file(self.folder.path().join("receipts.checkpoint")).unwrap();
    }
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
    assert!(log.has_released(decision(3).task) && !log.has_released(decision(4).task));
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
    assert_eq!(log.append(decision(10), &place.identity).unwrap(), 10);
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
                    let index = log.append(decision(thread * 50 + n), &place.identity).unwrap();
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
    place.open().unwrap().append(decision(0), &place.identity).unwrap();
    assert_eq!(place.verify().unwrap(), 1);
}

#[test]
fn one_flipped_bit_is_noticed_with_and_without_a_checkpoint() {
    let place = Place::filled(6);
    drop(place.open().unwrap());
    let whole = fs::read(place.path()).unwrap();
    let first = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    // The last line's end aside: without it, the line is torn, and before the checkpoint that is a log cut off.
    for at in (first..whole.len()).step_by(11) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        fs::write(place.path(), &flipped).unwrap();
        let refused = place.open();
        assert!(
            matches!(refused, Err(LogError::Broken(_) | LogError::CutOff { .. })),
            "byte {at}: {refused:?}"
        );
    }
    place.forget_the_checkpoint();
    for at in (first..whole.len() - 1).step_by(11) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        fs::write(place.path(), &flipped).unwrap();
        assert!(matches!(place.verify(), Err(LogError::Broken(_))), "byte {at}");
        assert!(matches!(place.open(), Err(LogError::Broken(_))), "byte {at}");
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
    // Nobody but who kept a checkpoint can tell.
    assert_eq!(place.verify().unwrap(), 5);
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

#[test]
fn a_log_that_failed_to_write_refuses_to_go_on() {
    let place = Place::filled(1);
    let mut log = place.open().unwrap();
    // A file that is open for reading alone cannot be written.
    log.file = File::open(place.path()).unwrap();
    assert!(matches!(log.append(decision(1), &place.identity), Err(LogError::Io(_))));
    assert!(matches!(log.append(decision(2), &place.identity), Err(LogError::Poisoned)));
    assert!(lock(&log.queue).lines.is_empty() && !log.has_released(decision(1).task));
    drop(log);
    place.open().unwrap().append(decision(1), &place.identity).unwrap();
    assert_eq!(place.verify().unwrap(), 2);
}
