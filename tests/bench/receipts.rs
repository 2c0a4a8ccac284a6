//! What a durable receipt costs a release: alone, and where many share one sync.

use std::{
    fs,
    ops::Range,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use alloy_primitives::{Address, B256, keccak256};
use futures::executor::block_on;
use sesame_protocol::signature::Signer;
use sesame_receipts::{Decision, Log};

use crate::{figures::Figures, secrets::status_mb};

pub(crate) const NAMES: &[&str] = &["receipt_us_1", "receipt_us_256"];

/// What a log of a million receipts takes.
pub(crate) const MILLION: &[&str] = &[
    "receipts_1m_memory_bytes",
    "receipts_1m_open_ms",
    "receipts_1m_check_s",
    "receipts_1m_index_s",
    "receipts_1m_index_mb",
];

const MANY: u64 = 256;

/// On the file system of temporary files, as the service appends them: made, signed, chained, written and synced.
pub(crate) fn measure(figures: &Figures, folder: &Path) -> anyhow::Result<()> {
    let time = Duration::from_millis(if figures.quick { 500 } else { 5_000 });
    for (name, writers) in [("receipt_us_1", 1), ("receipt_us_256", MANY)] {
        let path = folder.join(format!("{name}.log"));
        let identity = Signer::random();
        let log = Log::open(&path, identity.address(), 31337, &[7; 32])?;
        let start = Instant::now();
        let written: anyhow::Result<u64> = thread::scope(|scope| {
            let write = || -> anyhow::Result<u64> {
                let mut written = 0;
                while start.elapsed() < time {
                    block_on(log.append(decision(), &identity)?.kept())?;
                    written += 1;
                }
                Ok(written)
            };
            let writers: Vec<_> = (0..writers).map(|_| scope.spawn(write)).collect();
            let join = |writer: thread::ScopedJoinHandle<'_, _>| writer.join().expect("no panic");
            writers.into_iter().map(join).sum()
        });
        figures.print(name, start.elapsed().as_secs_f64() * 1e6 / written? as f64, "us");
    }
    Ok(())
}

/// A million receipts of as many tasks and requesters: memory while they are appended, then a start.
pub(crate) fn million(figures: &Figures, folder: &Path) -> anyhow::Result<()> {
    let (path, identity) = (folder.join("million.log"), Signer::random());
    let open = || Log::open(&path, identity.address(), 31337, &[7; 32]);
    let log = open()?;
    append(&log, &identity, 0..100_000)?;
    let first = status_mb("VmRSS:")?;
    append(&log, &identity, 100_000..1_000_000)?;
    let growth = (status_mb("VmRSS:")? - first) * f64::from(1 << 20) / 900_000.0;
    figures.print("receipts_1m_memory_bytes", growth, "B");
    drop(log);

    let start = Instant::now();
    let log = open()?;
    figures.print("receipts_1m_open_ms", start.elapsed().as_secs_f64() * 1e3, "ms");
    let start = Instant::now();
    log.check(|| false)?;
    figures.print("receipts_1m_check_s", start.elapsed().as_secs_f64(), "s");
    drop(log);

    let index = path.with_extension("index");
    let bytes: u64 = fs::read_dir(&index)?
        .map(|file| Ok(file?.metadata()?.len()))
        .sum::<std::io::Result<u64>>()?;
    figures.print("receipts_1m_index_mb", bytes as f64 / f64::from(1 << 20), "MB");
    fs::remove_dir_all(&index)?;
    let start = Instant::now();
    open()?;
    figures.print("receipts_1m_index_s", start.elapsed().as_secs_f64(), "s");
    Ok(())
}

fn append(log: &Log, identity: &Signer, tasks: Range<u64>) -> anyhow::Result<()> {
    let next = AtomicU64::new(tasks.start);
    thread::scope(|scope| {
        let write = || -> anyhow::Result<()> {
            loop {
                let task = next.fetch_add(1, Ordering::Relaxed);
                if task >= tasks.end {
                    return Ok(());
                }
                let id = keccak256(task.to_be_bytes());
                let requester = Address::from_word(id);
                let decision = Decision { task: id, requester, ..decision() };
                block_on(log.append(decision, identity)?.kept())?;
            }
        };
        let writers: Vec<_> = (0..MANY).map(|_| scope.spawn(write)).collect();
        writers.into_iter().try_for_each(|writer| writer.join().expect("no panic"))
    })
}

/// A bundle of four secrets.
pub(crate) fn decision() -> Decision {
    let released = |name: &str| (name.to_owned(), 1);
    Decision {
        decided_at: 1_800_000_000,
        head: (1_000, B256::repeat_byte(1)),
        confirmed: (990, B256::repeat_byte(2)),
        task: B256::repeat_byte(3),
        requester: Address::repeat_byte(4),
        assets: vec![(B256::repeat_byte(5), 0), (B256::repeat_byte(6), 0)],
        enclave: B256::repeat_byte(7),
        resource: "bundle/all".to_owned(),
        released: ["app-secret/1", "requester-secret/1", "requester-secret/2", "protected-data/1"]
            .map(released)
            .to_vec(),
        denials: Vec::new(),
    }
}
