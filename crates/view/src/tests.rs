//! Random histories, with reorgs, confirmations, proofs, retractions, restarts and kills between any two writes, against a model
//! that keeps every state there ever was: every row, every fact and every decision is the model's.
//!
//! `SESAME_TEST_ALL=1` runs 100,000 of them, `SESAME_TEST_SEED=N` the one that a failure named.

mod events;
mod gate;
mod model;
mod rule;

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
};

use alloy_primitives::B256;
use rand::{Rng, SeedableRng, rngs::StdRng};
use sesame_domain::{BlockEvents, ChainEvent, Registry};

use self::{
    gate::Gate,
    model::{Model, State},
};
use crate::{
    BothViews, Cursor, History as Kept, Snapshot, WriteError,
    testing::{ROWS, Raw, Scratch, asset, at, block_on, task, transferred, who, word},
};

const HISTORIES: u64 = 2000;
const ALL_HISTORIES: u64 = 100_000;
/// Histories that share a folder, since making one costs more than a history.
const PER_FOLDER: usize = 50;
/// How many histories pass between two words of a long campaign.
const TOLD: usize = 500;
const STEPS: usize = 30;
const ENTITIES: u8 = 3;

/// Says which history failed.
pub(crate) struct Seed(pub(crate) u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the history failed: replay it with SESAME_TEST_SEED={}", self.0);
        }
    }
}

/// A mirror, its model, the chain as it stands, and the rows that the mirror had after each block.
pub(crate) struct History {
    pub(crate) rng: StdRng,
    pub(crate) scratch: Scratch,
    pub(crate) chain: BTreeMap<u64, BlockEvents>,
    model: Model,
    rows: BTreeMap<u64, Vec<Raw>>,
    fork: u8,
}

impl History {
    pub(crate) fn new(seed: u64) -> Self {
        Self::over(Scratch::new(), seed)
    }

    /// A history on an empty mirror.
    fn over(scratch: Scratch, seed: u64) -> Self {
        let ground = block_on(0, 100, Vec::new());
        scratch.view().apply(std::slice::from_ref(&ground)).unwrap();
        let states = BTreeMap::from([(100, State { block: ground.block, ..State::default() })]);
        let rows = BTreeMap::from([(100, scratch.dump_of(&ROWS))]);
        let model = Model { states, confirmed: 100, proven: None, oldest: 100 };
        let (rng, chain) = (StdRng::seed_from_u64(seed), BTreeMap::from([(100, ground)]));
        Self { rng, scratch, chain, model, rows, fork: 0 }
    }

    /// One thing that the indexer does, or that happens to it. Each is one write; going back is two at most, and
    /// [`Self::killed`] ends between them. So a restart is a kill between any two writes.
    fn step(&mut self) {
        let before = self.writes();
        let most = match self.rng.random_range(0..100) {
            0..53 => self.once(Self::extend),
            53..59 => self.once(Self::contradict),
            59..73 => self.twice(Self::unwind),
            73..78 => self.once(Self::unwind_too_far),
            78..87 => self.once(Self::confirm),
            87..90 => self.once(Self::prove),
            90..92 => self.twice(Self::retract),
            92..96 => self.once(Self::prune),
            96..98 => self.twice(Self::killed),
            _ => self.once(|history| history.scratch.reopen()),
        };
        let writes = self.writes() - before;
        assert!(writes <= most, "{writes} writes: a kill between them is not tried");
    }

    fn once(&mut self, happens: impl FnOnce(&mut Self)) -> u64 {
        happens(self);
        1
    }

    fn twice(&mut self, happens: impl FnOnce(&mut Self)) -> u64 {
        happens(self);
        2
    }

    fn writes(&self) -> u64 {
        self.scratch.view().writes.load(Ordering::SeqCst)
    }

    pub(crate) fn extend(&mut self) {
        let blocks = self.blocks();
        self.scratch.view().apply(&blocks).unwrap();
        for block in &blocks {
            let mut state = self.model.head().clone();
            state.block = block.block;
            block.events.iter().for_each(|event| state.take(event));
            self.model.states.insert(block.block.number, state);
        }
        self.chain.extend(blocks.into_iter().map(|block| (block.block.number, block)));
        self.rows.insert(self.model.head().block.number, self.scratch.dump_of(&ROWS));
    }

    /// One to four blocks that continue the head.
    fn blocks(&mut self) -> Vec<BlockEvents> {
        let mut state = self.model.head().clone();
        let count = self.rng.random_range(1..=4);
        let mut blocks = Vec::new();
        for _ in 0..count {
            let mut block = block_on(self.fork, state.block.number + 1, Vec::new());
            block.block.parent = state.block.hash;
            state.block = block.block;
            for _ in 0..self.rng.random_range(0..6) {
                for event in events::events(&mut self.rng, &state) {
                    let mut event = at(event);
                    if let Some((_, image)) = &mut event.journal {
                        image.topics[0] = B256::new(self.rng.random());
                    }
                    state.take(&event);
                    block.events.push(event);
                }
            }
            blocks.push(block);
        }
        blocks
    }

    /// Good blocks with one bad event somewhere: nothing of them may stay.
    fn contradict(&mut self) {
        let mut blocks = self.blocks();
        let bad = match self.rng.random_range(0..3) {
            0 => ChainEvent::TaskStarted { task: task(99) },
            1 => transferred(asset(99), who(1), who(2)),
            _ => ChainEvent::GrantRevoked { task: task(98), index: 1 },
        };
        let block = self.rng.random_range(0..blocks.len());
        let place = self.rng.random_range(0..=blocks[block].events.len());
        blocks[block].events.insert(place, at(bad));
        let before = self.scratch.dump();
        let refused = self.scratch.view().apply(&blocks).unwrap_err();
        assert!(matches!(refused, WriteError::Contradiction { .. }), "{refused}");
        assert_eq!(self.scratch.dump(), before);
    }

    pub(crate) fn unwind(&mut self) {
        let to = self.rng.random_range(self.model.confirmed..=self.model.head().block.number);
        self.scratch.view().unwind(to).unwrap();
        self.went_back(to);
    }

    /// The chain, the model and the rows are those up to block `to`.
    fn went_back(&mut self, to: u64) {
        self.model.states.split_off(&(to + 1));
        self.rows.split_off(&(to + 1));
        self.chain.split_off(&(to + 1));
        self.model.confirmed = self.model.confirmed.min(to);
        self.fork = self.fork.wrapping_add(1);
        if let Some(rows) = self.rows.get(&to) {
            assert_eq!(&self.scratch.dump_of(&ROWS), rows, "back to {to}");
        }
    }

    /// Ends between the two writes of what has two, and starts again.
    fn killed(&mut self) {
        let cursor = self.model.cursor();
        if self.rng.random_bool(0.3) {
            // A retraction that got no further: nothing is gone yet.
            self.scratch.view().note_settled(cursor.confirmed).unwrap();
            return self.scratch.reopen();
        }
        let to = self.rng.random_range(self.model.confirmed..=cursor.head.number);
        let head = self.model.states[&to].block;
        self.scratch.view().hide(Cursor { head, ..cursor }, cursor.head.number).unwrap();
        self.scratch.reopen();
        self.went_back(to);
    }

    fn unwind_too_far(&mut self) {
        let to = self.rng.random_range(0..self.model.confirmed);
        let before = self.scratch.dump();
        let refused = self.scratch.view().unwind(to).unwrap_err();
        assert!(matches!(refused, WriteError::BelowConfirmed { .. }), "{refused}");
        assert_eq!(self.scratch.dump(), before);
    }

    pub(crate) fn confirm(&mut self) {
        let head = self.model.head().block.number;
        let number = self.rng.random_range(self.model.confirmed.saturating_sub(3)..head + 3);
        self.scratch.view().confirm(number).unwrap();
        self.model.confirmed = self.model.confirmed.max(number.min(head));
    }

    pub(crate) fn prove(&mut self) {
        let least = self.model.proven.unwrap_or(self.model.confirmed);
        let number = self.rng.random_range(least..=self.model.confirmed);
        self.scratch.view().prove(number).unwrap();
        self.model.proven = Some(number);
    }

    /// Back to the proven block at most, below the confirmed one as well.
    fn retract(&mut self) {
        let floor = self.model.proven.unwrap_or(self.model.confirmed);
        let to = self.rng.random_range(floor..=self.model.head().block.number);
        self.scratch.view().retract(to).unwrap();
        self.went_back(to);
    }

    /// What nobody can ask for any more goes, a table at a time.
    fn prune(&mut self) {
        let kept = self.rng.random_range(0..12);
        self.scratch.view().prune(Kept::Blocks(kept)).unwrap();
        if let Some(proven) = self.model.proven {
            let oldest = proven.min(self.model.confirmed).saturating_sub(kept);
            self.model.oldest = self.model.oldest.max(oldest);
        }
        self.rows.clear();
    }

    /// Every answer of the mirror is the model's.
    fn check(&mut self, gate: &mut Gate) {
        let cursor = self.model.cursor();
        let view = self.scratch.view();
        assert_eq!(view.cursor().unwrap(), Some(cursor));
        assert_eq!(view.proven().unwrap().map(|block| block.number), self.model.proven);
        let (head, confirmed) = (cursor.head.number, cursor.confirmed.number);
        for number in head.saturating_sub(6)..head + 3 {
            let known = self.model.states.get(&number).map(|state| state.block);
            let known = known.filter(|_| number >= self.model.oldest);
            assert_eq!(view.header(number).unwrap(), known);
        }
        let now = self.rng.random_range(events::SECONDS);
        let past = self.rng.random_range(self.model.oldest..=head);
        let snapshot = view.snapshot().unwrap().unwrap();
        check_snapshot(&self.model, &snapshot, (head, confirmed));
        gate.check(&self.model, &snapshot, (head, confirmed), now);
        let snapshot = snapshot.back_to(past).unwrap().unwrap();
        check_snapshot(&self.model, &snapshot, (past, past));
        gate.check(&self.model, &snapshot, (past, past), now);
    }
}

fn check_snapshot(model: &Model, snapshot: &Snapshot<'_>, at: (u64, u64)) {
    for registry in Registry::ALL {
        let expected = model.states[&at.0].journals.get(&registry).copied().unwrap_or_default();
        assert_eq!(snapshot.journal(registry).unwrap(), expected, "{registry:?} at {at:?}");
    }
    for id in (1..=ENTITIES).map(asset) {
        let row = |number| model.states[&number].assets.get(&id).and_then(|row| row.1.clone());
        let expected = BothViews { head: row(at.0), confirmed: row(at.1) };
        assert_eq!(snapshot.asset(id).unwrap(), expected, "asset {id} at {at:?}");
    }
    for id in (1..=ENTITIES).map(task) {
        let row = |number| model.states[&number].bought(id).cloned().map(Arc::new);
        let expected = BothViews { head: row(at.0), confirmed: row(at.1) };
        assert_eq!(snapshot.task(id).unwrap(), expected, "task {id} at {at:?}");
    }
    for order in (1..=ENTITIES).map(word) {
        let row = |number| model.states[&number].orders.get(&order).copied().unwrap_or_default();
        let expected = BothViews { head: row(at.0), confirmed: row(at.1) };
        assert_eq!(snapshot.order_use(order).unwrap(), expected, "order {order} at {at:?}");
    }
}

fn run(seeds: impl IntoIterator<Item = u64>) {
    let mut gate = Gate::new();
    let mut used: Option<Scratch> = None;
    let mut count = 0;
    for seed in seeds {
        let _told = Seed(seed);
        let scratch = used.take().filter(|_| count % PER_FOLDER != 0).unwrap_or_else(Scratch::new);
        let mut history = History::over(scratch, seed);
        for _ in 0..STEPS {
            history.step();
            if history.rng.random_bool(0.2) {
                history.check(&mut gate);
            }
        }
        history.check(&mut gate);
        // Below every floor: the whole mirror is forgotten.
        history.scratch.view().retract(0).unwrap();
        assert_eq!(history.scratch.dump_of(&ROWS), []);
        used = Some(history.scratch);
        count += 1;
        if count % TOLD == 0 {
            eprintln!("{count} histories, the last of seed {seed}");
        }
    }
    // One history that is replayed need not come to everything.
    if count >= HISTORIES as usize / 2 {
        gate.check_that_all_was_seen();
    }
}

#[expect(clippy::disallowed_methods, reason = "tests have no configuration")]
pub(crate) fn seeds(some: u64, all: u64) -> Vec<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("SESAME_TEST_SEED") {
        return vec![seed];
    }
    (0..if number("SESAME_TEST_ALL") == Some(1) { all } else { some }).collect()
}

fn half(first: usize) -> impl Iterator<Item = u64> {
    seeds(HISTORIES, ALL_HISTORIES).into_iter().skip(first).step_by(2)
}

// Two halves, so that two cores share the work.

#[test]
fn the_mirror_of_even_histories_says_what_the_model_says() {
    run(half(0));
}

#[test]
fn the_mirror_of_odd_histories_says_what_the_model_says() {
    run(half(1));
}

#[test]
fn replaying_what_is_left_gives_the_same_rows() {
    for seed in 1000..1030 {
        let _told = Seed(seed);
        let mut history = History::new(seed);
        for _ in 0..STEPS {
            if history.rng.random_bool(0.3) {
                history.unwind();
            } else {
                history.extend();
            }
        }
        let chain: Vec<BlockEvents> = history.chain.into_values().collect();
        let replayed = Scratch::new();
        replayed.view().apply(&chain).unwrap();
        assert_eq!(replayed.dump_of(&ROWS), history.scratch.dump_of(&ROWS));
    }
}
