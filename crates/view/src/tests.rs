//! Random histories, with reorgs, confirmations, proofs, retractions and restarts, against a model that keeps every state there
//! ever was.
//!
//! `SESAME_TEST_ALL=1` runs 100,000 of them, `SESAME_TEST_SEED=N` the one that a failure named.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256};
use rand::{Rng, SeedableRng, rngs::StdRng};
use sesame_domain::{
    Asset, AssetId, Authorization, Block, BlockEvents, ChainEvent, EnclaveId, EventAt, Facts,
    Journal, Registry, Resource, Standing, Task, TaskId, TaskStatus,
};

use crate::{
    BothViews, Cursor, History as Kept, Snapshot, WriteError,
    testing::{
        ROWS, Raw, Scratch, asset, at, block_on, enclave, order, purchased, task, terms,
        transferred, who, word,
    },
};

const HISTORIES: u64 = 2000;
const ALL_HISTORIES: u64 = 100_000;
/// Histories that share a folder, since making one costs more than a history.
const PER_FOLDER: usize = 50;
/// How many histories pass between two words of a long campaign.
const TOLD: usize = 1000;
const STEPS: usize = 30;
const ENTITIES: u8 = 3;

/// A row and the block that wrote it.
type Written<T> = (u64, Option<T>);

/// The registries after some block.
#[derive(Clone, Default)]
struct State {
    block: Block,
    assets: BTreeMap<AssetId, Written<Asset>>,
    words: BTreeMap<(AssetId, EnclaveId), Written<Authorization>>,
    tasks: BTreeMap<TaskId, Written<Task>>,
    journals: BTreeMap<Registry, Journal>,
}

impl State {
    fn asset(&mut self, id: AssetId) -> Option<&mut Asset> {
        let number = self.block.number;
        let (written, row) = self.assets.get_mut(&id)?;
        *written = number;
        row.as_mut()
    }

    fn task(&mut self, id: TaskId) -> Option<&mut Task> {
        let number = self.block.number;
        let (written, row) = self.tasks.get_mut(&id)?;
        *written = number;
        row.as_mut()
    }

    fn status(&self, id: TaskId) -> Option<TaskStatus> {
        Some(self.tasks.get(&id)?.1.as_ref()?.status)
    }

    /// What the event means, written out once more.
    fn take(&mut self, at: &EventAt) {
        let journal = self.journals.entry(at.registry).or_default();
        *journal = journal.fold(&at.image);
        let number = self.block.number;
        match at.event.clone() {
            ChainEvent::AssetRegistered { asset, kind, digest, uri } => {
                let row = Asset { kind, owner: Address::ZERO, epoch: 0, digest, uri };
                self.assets.insert(asset, (number, Some(row)));
            }
            ChainEvent::ContentSet { asset, digest, uri } => {
                let row = self.asset(asset).unwrap();
                (row.digest, row.uri) = (digest, uri);
            }
            ChainEvent::AssetTransferred { asset, from, to } => {
                let row = self.asset(asset).unwrap();
                row.owner = to;
                if from != Address::ZERO {
                    row.epoch += 1;
                }
            }
            ChainEvent::EnclaveAuthorized { asset, enclave, epoch, serial, terms } => {
                let row = Authorization { epoch, serial, terms };
                self.words.insert((asset, enclave), (number, Some(row)));
            }
            ChainEvent::EnclaveRevoked { asset, enclave } => {
                self.words.insert((asset, enclave), (number, None));
            }
            ChainEvent::TaskPurchased { task, requester, order, app, data } => {
                let status = TaskStatus::Purchased;
                let revoked_grants = Default::default();
                let row = Task { requester, status, order: *order, app, data, revoked_grants };
                self.tasks.insert(task, (number, Some(row)));
            }
            ChainEvent::TaskStarted { task } => {
                self.task(task).unwrap().status = TaskStatus::Started;
            }
            ChainEvent::TaskCompleted { task } => {
                self.task(task).unwrap().status = TaskStatus::Completed;
            }
            ChainEvent::TaskCancelled { task } => {
                self.task(task).unwrap().status = TaskStatus::Cancelled;
            }
            ChainEvent::TaskExpired { task } => {
                self.task(task).unwrap().status = TaskStatus::Expired;
            }
            ChainEvent::TaskSettled { task } => {
                self.task(task).unwrap();
            }
            ChainEvent::GrantRevoked { task, index } => {
                self.task(task).unwrap().revoked_grants.insert(index);
            }
        }
    }

    fn standing(&self, id: AssetId, enclave: EnclaveId, changed_at: &mut u64) -> Standing {
        let asset = self.assets.get(&id);
        let word = self.words.get(&(id, enclave));
        *changed_at = [*changed_at, asset.map_or(0, |row| row.0), word.map_or(0, |row| row.0)]
            .into_iter()
            .max()
            .unwrap();
        Standing {
            id,
            asset: asset.and_then(|row| row.1.clone()),
            authorization: word.and_then(|row| row.1.clone()),
        }
    }
}

/// Every state of a chain, and how much of it is confirmed.
struct Model {
    states: BTreeMap<u64, State>,
    confirmed: u64,
    proven: Option<u64>,
    /// Nothing is known of blocks below this one any more.
    oldest: u64,
}

impl Model {
    fn head(&self) -> &State {
        self.states.last_key_value().unwrap().1
    }

    fn cursor(&self) -> Cursor {
        Cursor { head: self.head().block, confirmed: self.states[&self.confirmed].block }
    }

    /// What both views say when `confirmed` and `head` are the blocks asked about.
    fn facts(
        &self,
        (head, confirmed): (u64, u64),
        id: TaskId,
        enclave: Option<EnclaveId>,
        resource: Resource,
    ) -> BothViews<Facts> {
        let (head, confirmed) = (&self.states[&head], &self.states[&confirmed]);
        let known = head.tasks.get(&id).and_then(|row| row.1.as_ref());
        let of = |state: &State| {
            let mut facts = Facts { at: state.block, ..Facts::default() };
            let Some(known) = known else { return facts };
            let enclave = enclave.unwrap_or(known.order.enclave);
            let row = state.tasks.get(&id);
            let mut changed_at = row.map_or(0, |row| row.0);
            facts.task = row.and_then(|row| row.1.clone()).map(Into::into);
            facts.app = state.standing(known.order.app, enclave, &mut changed_at);
            for (place, data) in known.order.data.iter().enumerate() {
                let n = u32::try_from(place).unwrap() + 1;
                if resource == Resource::Bundle || resource == Resource::ProtectedData(n) {
                    facts.data.push((n, state.standing(*data, enclave, &mut changed_at)));
                }
            }
            facts.changed_at = changed_at;
            facts
        };
        // When a fact changed is asked of the head alone.
        BothViews { head: of(head), confirmed: Facts { changed_at: 0, ..of(confirmed) } }
    }
}

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

    fn step(&mut self) {
        match self.rng.random_range(0..100) {
            0..55 => self.extend(),
            55..62 => self.contradict(),
            62..77 => self.unwind(),
            77..82 => self.unwind_too_far(),
            82..90 => self.confirm(),
            90..93 => self.prove(),
            93..96 => self.retract(),
            96..98 => self.prune(),
            _ => self.scratch.reopen(),
        }
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
                let Some(event) = event(&mut self.rng, &state) else { continue };
                let mut event = at(event);
                event.image.topics[0] = B256::new(self.rng.random());
                state.take(&event);
                block.events.push(event);
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
        let head = self.model.head().block.number;
        let to = self.rng.random_range(self.model.confirmed..=head);
        self.scratch.view().unwind(to).unwrap();
        self.model.states.split_off(&(to + 1));
        self.rows.split_off(&(to + 1));
        self.chain.split_off(&(to + 1));
        self.fork = self.fork.wrapping_add(1);
        if let Some(rows) = self.rows.get(&to) {
            assert_eq!(&self.scratch.dump_of(&ROWS), rows, "unwound to {to}");
        }
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
        self.model.states.split_off(&(to + 1));
        self.rows.split_off(&(to + 1));
        self.chain.split_off(&(to + 1));
        self.model.confirmed = self.model.confirmed.min(to);
        self.fork = self.fork.wrapping_add(1);
        if let Some(rows) = self.rows.get(&to) {
            assert_eq!(&self.scratch.dump_of(&ROWS), rows, "retracted to {to}");
        }
    }

    /// What nobody can ask for any more goes, a table at a time.
    fn prune(&mut self) {
        let kept = self.rng.random_range(0..12);
        for _ in 0..self.rng.random_range(1..=4) {
            self.scratch.view().prune(Kept::Blocks(kept)).unwrap();
        }
        if let Some(proven) = self.model.proven {
            let oldest = proven.min(self.model.confirmed).saturating_sub(kept);
            self.model.oldest = self.model.oldest.max(oldest);
        }
        self.rows.clear();
    }

    /// Every answer of the mirror is the model's.
    fn check(&mut self) {
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
        let snapshot = view.snapshot().unwrap().unwrap();
        check_snapshot(&self.model, &snapshot, (head, confirmed));
        let past = self.rng.random_range(self.model.oldest..=head);
        let snapshot = snapshot.back_to(past).unwrap().unwrap();
        check_snapshot(&self.model, &snapshot, (past, past));
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
    let resources = [Resource::Bundle, Resource::AppSecret, Resource::ProtectedData(2)];
    for id in (1..=ENTITIES).map(task) {
        for enclave in [None, Some(enclave(1)), Some(enclave(2))] {
            for resource in resources {
                let expected = model.facts(at, id, enclave, resource);
                let facts = snapshot.facts(id, enclave, resource).unwrap();
                assert_eq!(facts, expected, "{id}, {enclave:?}, {resource} at {at:?}");
            }
        }
    }
}

/// Something that can happen after `state`; none if the dice asked for what cannot.
fn event(rng: &mut StdRng, state: &State) -> Option<ChainEvent> {
    let about = asset(rng.random_range(1..=ENTITIES));
    let of = task(rng.random_range(1..=ENTITIES));
    let enclave = enclave(rng.random_range(1..=2));
    let number = rng.random_range(0..1000);
    let uri = format!("ipfs://{number}");
    let digest = word(rng.random());
    let registered = state.assets.contains_key(&about);
    let status = state.status(of);
    let live = status.is_some_and(|status| !status.is_final());
    let possible = |possible: bool, event| possible.then_some(event);
    match rng.random_range(0..12) {
        0 => {
            let kind = sesame_domain::AssetKind::try_from(rng.random_range(1..=2)).unwrap();
            let event = ChainEvent::AssetRegistered { asset: about, kind, digest, uri };
            possible(!registered, event)
        }
        1 => possible(registered, ChainEvent::ContentSet { asset: about, digest, uri }),
        2 => {
            let from = if rng.random_bool(0.3) { Address::ZERO } else { who(rng.random()) };
            possible(registered, transferred(about, from, who(rng.random())))
        }
        3 | 4 => Some(ChainEvent::EnclaveAuthorized {
            asset: about,
            enclave,
            epoch: number % 5,
            serial: number,
            terms: terms(number),
        }),
        5 => Some(ChainEvent::EnclaveRevoked { asset: about, enclave }),
        6 => {
            let mut order = order();
            order.app = about;
            order.enclave = enclave;
            order.params = uri;
            order.data.truncate(rng.random_range(0..=2));
            possible(status.is_none(), purchased(of, order))
        }
        7 => possible(live, ChainEvent::TaskStarted { task: of }),
        8 => {
            let event = match number % 3 {
                0 => ChainEvent::TaskCompleted { task: of },
                1 => ChainEvent::TaskCancelled { task: of },
                _ => ChainEvent::TaskExpired { task: of },
            };
            possible(live, event)
        }
        9 => possible(status.is_some(), ChainEvent::TaskSettled { task: of }),
        _ => {
            let index = rng.random_range(1..4);
            possible(status.is_some(), ChainEvent::GrantRevoked { task: of, index })
        }
    }
}

fn run(seeds: impl IntoIterator<Item = u64>) {
    let mut used: Option<Scratch> = None;
    for (place, seed) in seeds.into_iter().enumerate() {
        let _told = Seed(seed);
        let scratch = used.take().filter(|_| place % PER_FOLDER != 0).unwrap_or_else(Scratch::new);
        let mut history = History::over(scratch, seed);
        for _ in 0..STEPS {
            history.step();
            if history.rng.random_bool(0.2) {
                history.check();
            }
        }
        history.check();
        // Below every floor: the whole mirror is forgotten.
        history.scratch.view().retract(0).unwrap();
        assert_eq!(history.scratch.dump_of(&ROWS), []);
        used = Some(history.scratch);
        if place % TOLD == TOLD - 1 {
            eprintln!("{} histories, the last of seed {seed}", place + 1);
        }
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
