//! A reorg of 64 blocks with 1,000 events each.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use alloy_primitives::{B256, keccak256};
use sesame_domain::{
    AssetId, Block, BlockEvents, ChainEvent, EnclaveId, EventAt, LogImage, Registry, Terms,
};
use sesame_view::{Origin, View};

use crate::figures::{Figures, Samples};

pub(crate) const NAMES: &[&str] = &["unwind_64k_ms", "unwind_64k_done_ms"];

const DEPTH: u64 = 64;
const EVENTS: u64 = 1_000;
/// How often a reader looks.
const LOOK: Duration = Duration::from_micros(100);
/// The block that both forks share.
const FORK: u64 = 1_000;

pub(crate) fn measure(figures: &Figures, folder: &Path) -> anyhow::Result<()> {
    let rounds = if figures.quick { 5 } else { 20 };
    let view = View::open(&folder.join("unwind"), &Origin::default())?;
    view.apply(&[BlockEvents { block: block(0, FORK), events: Vec::new() }])?;
    let (mut seen, mut done) = (Vec::new(), Vec::new());
    for fork in 0..rounds {
        for number in FORK + 1..=FORK + DEPTH {
            view.apply(&[full(fork, number)])?;
        }
        anyhow::ensure!(holds(&view, DEPTH * EVENTS - 1)?, "the last event is mirrored");
        let (corrected, ended) = unwind(&view)?;
        seen.push(corrected);
        done.push(ended);
        anyhow::ensure!(!holds(&view, 0)?, "the first event is gone as well");
    }
    figures.print("unwind_64k_ms", Samples::new(seen).p50() / 1e3, "ms");
    figures.print("unwind_64k_done_ms", Samples::new(done).p50() / 1e3, "ms");
    Ok(())
}

/// When a reader sees the corrected view, and when the writer has removed what was undone.
fn unwind(view: &View) -> anyhow::Result<(Duration, Duration)> {
    let start = Instant::now();
    thread::scope(|scope| {
        let writer = scope.spawn(|| view.unwind(FORK).map(|()| start.elapsed()));
        while holds(view, DEPTH * EVENTS - 1)? {
            thread::sleep(LOOK);
        }
        let seen = start.elapsed();
        Ok((seen, writer.join().expect("no panic")?))
    })
}

fn holds(view: &View, pair: u64) -> anyhow::Result<bool> {
    let snapshot = view.snapshot()?.expect("blocks were written");
    let (asset, enclave) = ids(pair);
    Ok(snapshot.authorization(asset, enclave)?.head.is_some())
}

fn ids(pair: u64) -> (AssetId, EnclaveId) {
    let id = |space: u8, number: u64| {
        keccak256([[space].as_slice(), number.to_be_bytes().as_slice()].concat())
    };
    (AssetId(id(1, pair / 100)), EnclaveId(id(2, pair % 100)))
}

fn full(fork: u64, number: u64) -> BlockEvents {
    let first = (number - FORK - 1) * EVENTS;
    let event = |pair: u64| {
        let (asset, enclave) = ids(pair);
        let (epoch, serial, terms) = (0, fork, Terms::default());
        let event = ChainEvent::EnclaveAuthorized { asset, enclave, epoch, serial, terms };
        let image = LogImage { timestamp: 0, topics: [B256::ZERO; 4], data_hash: B256::ZERO };
        EventAt { journal: Some((Registry::Whitelist, image)), event }
    };
    let block = block(fork, number);
    BlockEvents { block, events: (first..first + EVENTS).map(event).collect() }
}

fn block(fork: u64, number: u64) -> Block {
    let hash = |number: u64| {
        let fork = if number <= FORK { 0 } else { fork };
        keccak256([fork.to_be_bytes(), number.to_be_bytes()].concat())
    };
    Block { number, hash: hash(number), parent: hash(number - 1), timestamp: number }
}
