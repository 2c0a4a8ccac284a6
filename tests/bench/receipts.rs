//! What a durable receipt costs a release: alone, and where many share one sync.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use alloy_primitives::{Address, B256};
use sesame_protocol::signature::Signer;
use sesame_receipts::{Decision, Log};

use crate::figures::Figures;

pub(crate) const NAMES: &[&str] = &["receipt_us_1", "receipt_us_256"];

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
                    log.append(decision(), &identity)?;
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

/// A bundle of four secrets.
fn decision() -> Decision {
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
