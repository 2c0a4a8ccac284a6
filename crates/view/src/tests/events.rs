//! What can happen: few owners who fight about few assets, and requesters who buy from them.

use alloy_primitives::{Address, B256, U256};
use rand::{Rng, rngs::StdRng, seq::IndexedRandom};
use sesame_domain::{
    AssetId, AssetKind, AssetSnapshot, ChainEvent, Deal, EnclaveId, Grant, Order, TaskId,
    TaskStatus, Terms,
};

use super::{
    ENTITIES,
    gate::{CONTENTS, NAMES, OWNERS, REQUESTERS, SMS, enclave, worker},
    model::State,
};
use crate::testing::{asset, bought_by, deal, matched, order, task, transferred, who, word};

/// Seconds at which blocks, dates and wall clocks of these histories lie.
pub(super) const SECONDS: std::ops::Range<u64> = 2200..2900;

/// What can happen next, in one go; nothing if the dice asked for what cannot.
pub(super) fn events(rng: &mut StdRng, state: &State) -> Vec<ChainEvent> {
    let about = asset(rng.random_range(1..=ENTITIES));
    let of = task(rng.random_range(1..=ENTITIES));
    let pair = (about, enclave(rng.random_range(1..=2)).id());
    let registered = state.assets.contains_key(&about);
    let status = state.status(of);
    let live = status.is_some_and(|status| !status.is_final());
    match rng.random_range(0..19) {
        0 if !registered => registration(rng, about),
        1 if registered => vec![content(rng, about)],
        2 if registered => {
            let from = if rng.random_bool(0.3) { Address::ZERO } else { some(rng, &OWNERS) };
            vec![transferred(about, from, some(rng, &OWNERS))]
        }
        3 if registered => fight(rng, state, pair),
        4..7 => vec![authorization(rng, state, pair)],
        7 => vec![ChainEvent::EnclaveRevoked { asset: pair.0, enclave: pair.1 }],
        8 | 9 if status.is_none() => vec![purchase(rng, state, of)],
        10 | 11 if live => vec![ChainEvent::TaskStarted { task: of }],
        12 if live => vec![match rng.random_range(0..3) {
            0 => ChainEvent::TaskCompleted { task: of },
            1 => ChainEvent::TaskCancelled { task: of },
            _ => ChainEvent::TaskExpired { task: of },
        }],
        13 if status.is_some() => vec![ChainEvent::TaskSettled { task: of }],
        14 if status == Some(TaskStatus::Purchased) => vec![ChainEvent::TaskStarted { task: of }],
        15 if status.is_some() => {
            vec![ChainEvent::GrantRevoked { task: of, index: rng.random_range(1..4) }]
        }
        16 => vec![of_order(rng)],
        17 if status.is_none() => vec![
            matched(),
            bought_by(Deal { index: rng.random_range(0..3), ..deal() }, of, ordered(rng)),
        ],
        // Of a task that is not there it says nothing.
        18 if live || status.is_none() => vec![ChainEvent::TaskRevealing { task: of }],
        _ => Vec::new(),
    }
}

fn of_order(rng: &mut StdRng) -> ChainEvent {
    let order = word(rng.random_range(1..=ENTITIES));
    match rng.random_range(0..4) {
        0 => ChainEvent::OrderClosed { order },
        1 => ChainEvent::OrderPresigned { order, by: some(rng, &OWNERS) },
        _ => ChainEvent::OrderConsumed { order, volume: U256::from(rng.random_range(0..9)) },
    }
}

/// What a deal is about.
fn ordered(rng: &mut StdRng) -> Order {
    let mut some = || asset(rng.random_range(1..=ENTITIES));
    Order { app: some(), data: vec![some()], worker: Address::ZERO, ..order() }
}

fn some<T: Copy>(rng: &mut StdRng, all: &[T]) -> T {
    *all.choose(rng).unwrap()
}

fn uri(rng: &mut StdRng) -> String {
    format!("ipfs://{}", rng.random_range(0..1000))
}

fn registration(rng: &mut StdRng, asset: AssetId) -> Vec<ChainEvent> {
    let kind = AssetKind::try_from(rng.random_range(1..=2)).unwrap();
    let (digest, uri) = (some(rng, &CONTENTS), uri(rng));
    vec![
        ChainEvent::AssetRegistered { asset, kind, digest, uri },
        transferred(asset, Address::ZERO, some(rng, &OWNERS)),
    ]
}

fn content(rng: &mut StdRng, asset: AssetId) -> ChainEvent {
    ChainEvent::ContentSet { asset, digest: some(rng, &CONTENTS), uri: uri(rng) }
}

/// The asset changes hands and back within a block, and each owner has a word while it lasts.
fn fight(
    rng: &mut StdRng,
    state: &State,
    (asset, enclave): (AssetId, EnclaveId),
) -> Vec<ChainEvent> {
    let Some(row) = state.owned(asset) else { return Vec::new() };
    let (mut owner, mut epoch, mut events) = (row.owner, row.epoch, Vec::new());
    for _ in 0..rng.random_range(1..4) {
        let next = some(rng, &OWNERS);
        events.push(transferred(asset, owner, next));
        epoch += u64::from(!owner.is_zero());
        owner = next;
        match rng.random_range(0..4) {
            0 => events.push(ChainEvent::EnclaveRevoked { asset, enclave }),
            1 | 2 => {
                let (serial, terms) = (epoch + 10, terms(rng));
                let event = ChainEvent::EnclaveAuthorized { asset, enclave, epoch, serial, terms };
                events.push(event);
            }
            _ => {}
        }
    }
    events
}

/// Mostly by the present owner.
fn authorization(
    rng: &mut StdRng,
    state: &State,
    (asset, enclave): (AssetId, EnclaveId),
) -> ChainEvent {
    let known = state.owned(asset).map(|row| row.epoch).filter(|_| rng.random_bool(0.9));
    let epoch = known.unwrap_or_else(|| rng.random_range(0..5));
    let serial = 1 + serial(state, asset, enclave);
    ChainEvent::EnclaveAuthorized { asset, enclave, epoch, serial, terms: terms(rng) }
}

fn serial(state: &State, asset: AssetId, enclave: EnclaveId) -> u64 {
    state.word(asset, enclave).map_or(0, |word| word.serial)
}

/// Most terms ask for nothing, since each demand alone can be enough for a no.
fn terms(rng: &mut StdRng) -> Terms {
    let mut demands = || rng.random_bool(0.08);
    let demanded: [bool; 7] = std::array::from_fn(|_| demands());
    let [not_before, not_after, app, requester, sms, max_tasks, price] = demanded;
    let mut terms = Terms::default();
    if not_before {
        terms.not_before = rng.random_range(SECONDS);
    }
    if not_after {
        terms.not_after = rng.random_range(SECONDS);
    }
    if app {
        terms.app = asset(rng.random_range(1..=ENTITIES));
    }
    if requester {
        terms.requester = some(rng, &REQUESTERS);
    }
    if sms {
        terms.sms = some(rng, &SMS);
    }
    if max_tasks {
        terms.max_tasks = some(rng, &[1, u64::MAX]);
    }
    if price {
        terms.price = some(rng, &[U256::from(1), U256::from(2), U256::MAX]);
        terms.currency = some(rng, &[Address::ZERO, who(6)]);
    }
    terms
}

/// Mostly of what is there, for this service, by a worker of ours, in time.
fn purchase(rng: &mut StdRng, state: &State, task: TaskId) -> ChainEvent {
    let enclave = enclave(rng.random_range(1..=2)).id();
    let usually = |rng: &mut StdRng, usual: Address, other| {
        if rng.random_bool(0.9) { usual } else { other }
    };
    let data: Vec<AssetId> =
        (0..rng.random_range(0..3)).map(|_| asset(rng.random_range(1..=ENTITIES))).collect();
    let grants = [1, 2, 9].into_iter().filter(|_| rng.random_bool(0.4)).collect::<Vec<u32>>();
    let grant = |index| Grant { index, name: some(rng, &NAMES).parse().unwrap() };
    let order = Order {
        app: asset(1),
        enclave,
        data,
        grants: grants.into_iter().map(grant).collect(),
        ..order()
    };
    let order = Order {
        app: asset(rng.random_range(1..=ENTITIES)),
        worker: usually(rng, worker(1), worker(2)),
        sms: usually(rng, SMS[0], SMS[1]),
        deadline: if rng.random_bool(0.8) { u64::MAX } else { rng.random_range(SECONDS) },
        currency: usually(rng, Address::ZERO, who(6)),
        params: uri(rng),
        ..order
    };
    let mut bought = |id| bought(rng, state, id, enclave);
    ChainEvent::TaskPurchased {
        task,
        app: bought(order.app),
        data: order.data.iter().map(|id| bought(*id)).collect(),
        requester: some(rng, &REQUESTERS),
        order: Box::new(order),
        deal: None,
    }
}

fn bought(rng: &mut StdRng, state: &State, id: AssetId, enclave: EnclaveId) -> AssetSnapshot {
    let asset = state.owned(id);
    let digest: B256 = asset.map_or_else(|| some(rng, &CONTENTS), |asset| asset.digest);
    AssetSnapshot {
        uri: uri(rng),
        digest,
        epoch: asset.map_or(0, |asset| asset.epoch),
        serial: serial(state, id, enclave),
        price: U256::from(rng.random_range(0..3)),
    }
}
