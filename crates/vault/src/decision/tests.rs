//! Every reason for a refusal, at the head alone, at the confirmed block alone and at both.

use std::collections::BTreeSet;

use alloy_primitives::U256;
use rand::{Rng, SeedableRng, rngs::StdRng};
use sesame_domain::{Asset, TaskStatus};

use super::*;
use crate::{
    safe::Push,
    testing::{
        DEADLINE, EPOCH, NOW, World, asset, asset_secret, attested, content_of, metadata, owner_of,
        plaintext, requester, requester_secret, sms, task_of, terms_of, the_task, vault_in,
        vouched, who, word, worker,
    },
};

const ALL_RESOURCES: [Resource; 5] = [
    Resource::AppSecret,
    Resource::RequesterSecret(1),
    Resource::RequesterSecret(5),
    Resource::ProtectedData(1),
    Resource::ProtectedData(2),
];

fn denials(world: &World) -> Vec<Denial> {
    world.authorize().err().map(|denials| denials.0).unwrap_or_default()
}

fn claim_of(world: &World) -> Claim {
    Claim { worker: world.worker.worker(), enclave: world.enclave.id() }
}

/// Exactly these reasons, for the proven and for the supposed claim.
fn check_world(world: &World, expected: &[Denial]) {
    let expected: Vec<_> = BTreeSet::from_iter(expected.iter().cloned()).into_iter().collect();
    assert_eq!(denials(world), expected, "{:?}", world.asked);
    let explained = world.explain(Some(claim_of(world)));
    assert_eq!(explained.err().map(|denials| denials.0).unwrap_or_default(), expected);
}

/// What is wrong with the facts is wrong at both views and at the head alone; at the confirmed block alone, it waits.
fn check(resource: Resource, change: impl Fn(&mut Facts), expected: &[Denial]) {
    let world = World::new(resource);
    check_world(&world.clone().both(&change), expected);
    let mut at_head = world.clone();
    change(&mut at_head.head);
    check_world(&at_head, expected);
    let mut before = world;
    change(&mut before.confirmed);
    check_world(&before, &[Denial::NotYetConfirmed { block: 99, confirmed: 90 }]);
}

/// A reason that every resource of the task meets.
fn check_all(change: impl Fn(&mut Facts), expected: &[Denial]) {
    check(Resource::Bundle, &change, expected);
    for resource in ALL_RESOURCES {
        check(resource, &change, expected);
    }
}

fn released_by(world: &World) -> Vec<Resource> {
    world.authorize().unwrap().items().iter().map(|item| item.resource).collect()
}

fn missing(byte: u8) -> Denial {
    Denial::SecretMissing { owner: owner_of(byte), name: None, asset: Some(asset(byte)) }
}

fn missing_named(name: &str) -> Denial {
    let name = Some(name.parse().unwrap());
    Denial::SecretMissing { owner: requester(), name, asset: None }
}

fn not_whitelisted(byte: u8) -> Denial {
    Denial::NotWhitelisted { asset: asset(byte), enclave: attested(7).id() }
}

fn asset_of(standing: &mut Standing) -> &mut Asset {
    standing.asset.as_mut().unwrap()
}

#[test]
fn everything_in_order_releases_everything() {
    assert_eq!(released_by(&World::new(Resource::Bundle)), ALL_RESOURCES);
    for resource in ALL_RESOURCES {
        assert_eq!(released_by(&World::new(resource)), [resource]);
    }
}

#[test]
fn a_release_names_its_key_and_the_blocks_that_it_rests_on() {
    let world = World::new(Resource::Bundle);
    let release = world.authorize().unwrap();
    assert_eq!(release.key(), world.enclave.key());
    assert_eq!(release.head(), BlockRef { number: 100, hash: word(100) });
    assert_eq!(release.confirmed(), BlockRef { number: 90, hash: word(90) });
    assert_eq!(release.items()[0].version, 1);
    assert_eq!(release.items()[0].size, 6);
}

#[test]
fn an_unknown_task_is_the_only_reason() {
    check_all(|facts| facts.task = None, &[Denial::TaskUnknown]);
    check_all(
        |facts| *facts = Facts { at: facts.at, changed_at: facts.changed_at, ..Facts::default() },
        &[Denial::TaskUnknown],
    );
}

#[test]
fn a_task_must_be_started_and_not_ended() {
    let status = |status| move |facts: &mut Facts| task_of(facts).status = status;
    check_all(status(TaskStatus::Purchased), &[Denial::TaskNotStarted]);
    for ended in [TaskStatus::Completed, TaskStatus::Cancelled, TaskStatus::Expired] {
        check_all(status(ended), &[Denial::TaskEnded { status: ended }]);
    }
}

#[test]
fn a_task_past_its_deadline_is_refused() {
    let deadline = NOW - 1;
    let change = |facts: &mut Facts| task_of(facts).order.deadline = deadline;
    check_all(change, &[Denial::TaskExpired { deadline }]);
}

#[test]
fn the_order_must_name_this_sms() {
    let change = |facts: &mut Facts| task_of(facts).order.sms = who(9);
    check_all(change, &[Denial::WrongSms { expected: who(9), got: sms() }]);
    check_all(
        |facts| task_of(facts).order.sms = Address::ZERO,
        &[Denial::WrongSms { expected: Address::ZERO, got: sms() }],
    );
}

#[test]
fn the_order_must_name_this_worker() {
    let change = |facts: &mut Facts| task_of(facts).order.worker = who(9);
    check_all(change, &[Denial::WrongWorker { expected: who(9), got: worker() }]);
}

#[test]
fn another_workers_proof_is_refused() {
    let mut world = World::new(Resource::Bundle);
    world.worker = vouched(3, the_task(), &world.enclave);
    let got = world.worker.worker();
    check_world(&world, &[Denial::WrongWorker { expected: worker(), got }]);
}

#[test]
fn the_right_workers_proof_for_another_task_is_refused() {
    let mut world = World::new(Resource::Bundle);
    world.worker = vouched(2, TaskId(word(0x31)), &world.enclave);
    assert_eq!(world.worker.worker(), worker());
    let expected = [Denial::WrongWorker { expected: worker(), got: Address::ZERO }];
    assert_eq!(denials(&world), expected);
}

#[test]
fn the_task_is_pinned_to_its_enclave() {
    let other = EnclaveId(word(9));
    let change = |facts: &mut Facts| task_of(facts).order.enclave = other;
    let got = attested(7).id();
    check_all(change, &[Denial::WrongEnclave { expected: other, got }]);
    let mut world = World::new(Resource::Bundle);
    let expected = world.enclave.id();
    world.enclave = attested(8);
    check_world(&world, &[Denial::WrongEnclave { expected, got: world.enclave.id() }]);
}

#[test]
fn the_app_must_be_known_and_whitelist_the_enclave_in_this_epoch() {
    check_all(|facts| facts.app.asset = None, &unknown_app());
    check_all(|facts| facts.app.authorization = None, &[not_whitelisted(1)]);
    let change = |facts: &mut Facts| facts.app.authorization.as_mut().unwrap().epoch = EPOCH - 1;
    check_all(change, &[Denial::AuthorizationVoid { asset: asset(1) }]);
    let change = |facts: &mut Facts| facts.app.authorization.as_mut().unwrap().epoch = EPOCH + 1;
    check_all(change, &[Denial::AuthorizationVoid { asset: asset(1) }]);
}

fn none_of(byte: u8, max_tasks: u64, serial: u64) -> Denial {
    Denial::MaxTasks { asset: asset(byte), max_tasks, serial, bought_serial: 1 }
}

/// An authorization given anew for so many tasks: the task at hand was bought under serial 1.
fn renew(standing: &mut Standing, max_tasks: u64, serial: u64) {
    let word = standing.authorization.as_mut().unwrap();
    (word.serial, word.terms.max_tasks) = (serial, max_tasks);
}

#[test]
fn a_task_of_another_serial_is_none_that_a_limit_counts() {
    for (max_tasks, serial) in [(1, 2), (1, 0), (u64::MAX, 2), (u64::MAX, u64::MAX)] {
        let change = |facts: &mut Facts| renew(&mut facts.app, max_tasks, serial);
        check_all(change, &[none_of(1, max_tasks, serial)]);
        check_data(|data| renew(data, max_tasks, serial), &[none_of(2, max_tasks, serial)]);
    }
    let both = World::new(Resource::Bundle).both(|facts| {
        renew(&mut facts.app, 1, 2);
        renew(&mut facts.data[1].1, 5, 9);
    });
    check_world(&both, &[none_of(1, 1, 2), none_of(3, 5, 9)]);
}

#[test]
fn a_limit_that_counted_this_task_and_no_limit_at_all_release() {
    for (max_tasks, serial) in [(1, 1), (u64::MAX, 1), (0, 2), (0, 0), (0, u64::MAX)] {
        let world = World::new(Resource::Bundle).both(|facts| {
            let standings = facts.data.iter_mut().map(|(_, data)| data);
            standings.chain([&mut facts.app]).for_each(|one| renew(one, max_tasks, serial));
        });
        assert_eq!(released_by(&world), ALL_RESOURCES, "{max_tasks} tasks under {serial}");
    }
}

/// What was bought of one asset says nothing of another: each has serials of its own.
#[test]
fn the_serial_bought_is_that_of_the_asset_in_question() {
    let mut world = World::new(Resource::Bundle).both(|facts| {
        renew(&mut facts.app, 1, 2);
        renew(&mut facts.data[0].1, 1, 3);
        let task = task_of(facts);
        (task.app.serial, task.data[0].serial) = (2, 3);
    });
    assert_eq!(released_by(&world), ALL_RESOURCES);
    task_of(&mut world.head).data.swap(0, 1);
    let bought_serial = 1;
    let swapped = Denial::MaxTasks { asset: asset(2), max_tasks: 1, serial: 3, bought_serial };
    assert!(denials(&world).contains(&swapped), "{:?}", denials(&world));
}

fn unknown_app() -> [Denial; 1] {
    [Denial::AssetUnknown { asset: asset(1) }]
}

#[test]
fn the_terms_of_the_app_hold_for_every_resource() {
    check_all(
        |facts| terms_of(&mut facts.app).not_before = NOW + 1,
        &[Denial::NotYetValid { asset: asset(1), not_before: NOW + 1 }],
    );
    check_all(
        |facts| terms_of(&mut facts.app).not_after = NOW - 1,
        &[Denial::AuthorizationExpired { asset: asset(1), not_after: NOW - 1 }],
    );
    check_all(
        |facts| terms_of(&mut facts.app).requester = who(9),
        &[Denial::WrongRequester { asset: asset(1), expected: who(9) }],
    );
    check_all(
        |facts| terms_of(&mut facts.app).sms = who(9),
        &[Denial::WrongSms { expected: who(9), got: sms() }],
    );
    check_all(
        |facts| terms_of(&mut facts.app).app = asset(9),
        &[Denial::WrongApp { asset: asset(1), expected: asset(9) }],
    );
    check_all(
        |facts| terms_of(&mut facts.app).price = U256::MAX,
        &[Denial::PriceNotPaid { asset: asset(1), price: U256::MAX, paid: U256::ZERO }],
    );
}

/// A reason about protected data 1: it denies the bundle and that data, and leaves the other resources alone.
fn check_data(change: impl Fn(&mut Standing), expected: &[Denial]) {
    let at = |facts: &mut Facts| {
        let found = facts.data.iter_mut().find(|(n, _)| *n == 1);
        if let Some((_, standing)) = found {
            change(standing);
        }
    };
    check(Resource::Bundle, at, expected);
    check(Resource::ProtectedData(1), at, expected);
    for resource in [Resource::AppSecret, Resource::RequesterSecret(1), Resource::ProtectedData(2)]
    {
        assert_eq!(released_by(&World::new(resource).both(at)), [resource]);
    }
}

#[test]
fn the_owner_of_protected_data_has_a_word_of_their_own() {
    check_data(|data| data.asset = None, &[Denial::AssetUnknown { asset: asset(2) }]);
    check_data(|data| data.authorization = None, &[not_whitelisted(2)]);
    check_data(
        |data| data.authorization.as_mut().unwrap().epoch = EPOCH - 1,
        &[Denial::AuthorizationVoid { asset: asset(2) }],
    );
    check_data(
        |data| terms_of(data).not_before = NOW + 1,
        &[Denial::NotYetValid { asset: asset(2), not_before: NOW + 1 }],
    );
    check_data(
        |data| terms_of(data).not_after = NOW - 1,
        &[Denial::AuthorizationExpired { asset: asset(2), not_after: NOW - 1 }],
    );
    check_data(
        |data| terms_of(data).app = asset(9),
        &[Denial::WrongApp { asset: asset(2), expected: asset(9) }],
    );
    check_data(
        |data| terms_of(data).requester = who(9),
        &[Denial::WrongRequester { asset: asset(2), expected: who(9) }],
    );
    check_data(
        |data| terms_of(data).sms = who(9),
        &[Denial::WrongSms { expected: who(9), got: sms() }],
    );
}

#[test]
fn terms_that_this_task_meets_allow() {
    let world = World::new(Resource::Bundle).both(|facts| {
        let standings = facts.data.iter_mut().map(|(_, data)| data);
        for standing in standings.chain([&mut facts.app]) {
            let terms = terms_of(standing);
            (terms.not_before, terms.not_after) = (NOW, NOW);
            (terms.app, terms.requester, terms.sms) = (asset(1), requester(), sms());
        }
    });
    assert_eq!(released_by(&world), ALL_RESOURCES);
}

#[test]
fn a_sale_of_protected_data_ends_authorization_and_key() {
    let sold = |data: &mut Standing| asset_of(data).epoch += 1;
    check_data(sold, &[Denial::AuthorizationVoid { asset: asset(2) }, missing(2)]);
    let new_owner = |data: &mut Standing| {
        asset_of(data).epoch += 1;
        asset_of(data).owner = owner_of(9);
        data.authorization.as_mut().unwrap().epoch += 1;
    };
    let missing = Denial::SecretMissing { owner: owner_of(9), name: None, asset: Some(asset(2)) };
    check_data(new_owner, &[missing]);
}

#[test]
fn an_asset_that_came_back_to_its_owner_needs_a_new_secret() {
    let sold_twice = |data: &mut Standing| {
        asset_of(data).epoch += 2;
        data.authorization.as_mut().unwrap().epoch += 2;
    };
    check_data(sold_twice, &[missing(2)]);
}

#[test]
fn a_revoked_grant_is_refused() {
    let revoke = |facts: &mut Facts| {
        task_of(facts).revoked_grants.insert(5);
    };
    check(Resource::Bundle, revoke, &[Denial::GrantRevoked { index: 5 }]);
    check(Resource::RequesterSecret(5), revoke, &[Denial::GrantRevoked { index: 5 }]);
    let world = World::new(Resource::RequesterSecret(1)).both(revoke);
    assert_eq!(released_by(&world), [Resource::RequesterSecret(1)]);
}

#[test]
fn what_the_order_does_not_declare_is_refused() {
    for index in [0, 2, 4, 6, u32::MAX] {
        let world = World::new(Resource::RequesterSecret(index));
        check_world(&world, &[Denial::SecretNotGranted { index }]);
    }
    for n in [0, 3, u32::MAX] {
        let world = World::new(Resource::ProtectedData(n));
        check_world(&world, &[Denial::AssetUnknown { asset: AssetId::default() }]);
    }
}

#[test]
fn a_grant_at_the_head_alone_waits() {
    let mut world = World::new(Resource::RequesterSecret(5));
    task_of(&mut world.confirmed).order.grants.pop();
    check_world(&world, &[Denial::NotYetConfirmed { block: 99, confirmed: 90 }]);
}

/// What the vault says of `resource` is spoilt; asked for are the bundle and the resource itself.
fn check_secret(of: Resource, change: impl Fn(&mut Option<Metadata>), expected: &[Denial]) {
    for asked in [Resource::Bundle, of] {
        let mut world = World::new(asked);
        change(world.secret(of));
        check_world(&world, expected);
    }
}

#[test]
fn a_secret_that_the_vault_does_not_have_is_refused() {
    check_secret(Resource::RequesterSecret(1), |secret| *secret = None, &[missing_named("a")]);
    check_secret(Resource::RequesterSecret(5), |secret| *secret = None, &[missing_named("ab")]);
    check_secret(Resource::ProtectedData(1), |secret| *secret = None, &[missing(2)]);
    check_secret(Resource::ProtectedData(2), |secret| *secret = None, &[missing(3)]);
}

#[test]
fn a_secret_of_somebody_else_is_as_good_as_none() {
    let others = |secret: &mut Option<Metadata>| secret.as_mut().unwrap().owner = who(9);
    check_secret(Resource::RequesterSecret(1), others, &[missing_named("a")]);
    check_secret(Resource::ProtectedData(1), others, &[missing(2)]);
    let elder = |secret: &mut Option<Metadata>| secret.as_mut().unwrap().epoch = EPOCH - 1;
    check_secret(Resource::ProtectedData(1), elder, &[missing(2)]);
    let younger = |secret: &mut Option<Metadata>| secret.as_mut().unwrap().epoch = EPOCH + 1;
    check_secret(Resource::ProtectedData(1), younger, &[missing(2)]);
}

#[test]
fn a_requesters_secret_cannot_be_made_to_go_with_anything() {
    let others = |secret: &mut Option<Metadata>| {
        let secret = secret.as_mut().unwrap();
        (secret.owner, secret.transferable) = (who(9), true);
    };
    check_secret(Resource::RequesterSecret(1), others, &[missing_named("a")]);
}

#[test]
fn a_transferable_secret_goes_with_the_asset() {
    for of in [Resource::AppSecret, Resource::ProtectedData(1)] {
        for asked in [Resource::Bundle, of] {
            let mut world = World::new(asked);
            let secret = world.secret(of).as_mut().unwrap();
            (secret.owner, secret.epoch, secret.transferable) = (who(9), EPOCH - 2, true);
            assert!(released_by(&world).contains(&of), "{of} of {asked}");
        }
    }
}

#[test]
fn an_app_without_a_secret_has_none_in_its_bundle() {
    let spoilt: [fn(&mut Option<Metadata>); 3] = [
        |secret| *secret = None,
        |secret| secret.as_mut().unwrap().owner = who(9),
        |secret| secret.as_mut().unwrap().epoch = EPOCH - 1,
    ];
    for spoil in spoilt {
        let mut world = World::new(Resource::Bundle);
        spoil(world.secret(Resource::AppSecret));
        assert_eq!(released_by(&world), ALL_RESOURCES[1..]);
        let mut world = World::new(Resource::AppSecret);
        spoil(world.secret(Resource::AppSecret));
        check_world(&world, &[missing(1)]);
    }
}

/// The app was sold: the confirmed block still knows the former owner, each has whitelisted the enclave.
fn sold_app(resource: Resource) -> World {
    let mut world = World::new(resource);
    let app = &mut world.head.app;
    asset_of(app).owner = owner_of(9);
    asset_of(app).epoch = EPOCH + 1;
    app.authorization.as_mut().unwrap().epoch = EPOCH + 1;
    world
}

#[test]
fn during_a_sale_neither_owners_secret_is_released() {
    let formers = sold_app(Resource::AppSecret);
    let missing = Denial::SecretMissing { owner: owner_of(9), name: None, asset: Some(asset(1)) };
    check_world(&formers, &[missing]);
    assert_eq!(released_by(&sold_app(Resource::Bundle)), ALL_RESOURCES[1..]);

    let new = |resource| {
        let mut world = sold_app(resource);
        let secret = world.secret(Resource::AppSecret).as_mut().unwrap();
        (secret.owner, secret.epoch) = (owner_of(9), EPOCH + 1);
        world
    };
    let waits = [Denial::NotYetConfirmed { block: 99, confirmed: 90 }];
    check_world(&new(Resource::AppSecret), &waits);
    assert_eq!(released_by(&new(Resource::Bundle)), ALL_RESOURCES[1..]);
}

#[test]
fn a_bundle_is_denied_with_every_reason_at_once() {
    let mut world = World::new(Resource::Bundle).both(|facts| {
        let task = task_of(facts);
        task.status = TaskStatus::Completed;
        task.order.deadline = 1;
        task.revoked_grants.insert(1);
        facts.app.authorization = None;
        facts.data[0].1.authorization.as_mut().unwrap().epoch = 0;
        terms_of(&mut facts.data[1].1).requester = who(9);
    });
    world.asked.sms = who(8);
    world.worker = vouched(3, the_task(), &world.enclave);
    *world.secret(Resource::RequesterSecret(5)) = None;
    *world.secret(Resource::ProtectedData(2)) = None;
    check_world(
        &world,
        &[
            Denial::TaskEnded { status: TaskStatus::Completed },
            Denial::TaskExpired { deadline: 1 },
            Denial::WrongSms { expected: sms(), got: who(8) },
            Denial::WrongWorker { expected: worker(), got: world.worker.worker() },
            not_whitelisted(1),
            Denial::AuthorizationVoid { asset: asset(2) },
            Denial::WrongRequester { asset: asset(3), expected: who(9) },
            Denial::GrantRevoked { index: 1 },
            missing_named("ab"),
            missing(3),
        ],
    );
}

#[test]
fn a_reason_that_several_assets_share_is_told_once() {
    let world = World::new(Resource::Bundle).both(|facts| {
        terms_of(&mut facts.app).sms = who(9);
        terms_of(&mut facts.data[0].1).sms = who(9);
        terms_of(&mut facts.data[1].1).sms = who(9);
    });
    check_world(&world, &[Denial::WrongSms { expected: who(9), got: sms() }]);
}

/// Whether the bundle is released when the clocks show these seconds.
fn released_at(change: impl Fn(&mut Facts), head: u64, wall: u64) -> bool {
    let mut world = World::new(Resource::Bundle).both(change);
    world.head.at.timestamp = head;
    world.confirmed.at.timestamp = head - 500;
    world.asked.now = wall;
    world.authorize().is_ok()
}

#[test]
fn the_deadline_is_reached_as_soon_as_either_clock_says_so() {
    let at = |head, wall| released_at(|_| (), head, wall);
    assert!(at(DEADLINE, DEADLINE));
    assert!(at(DEADLINE, 0));
    assert!(at(1000, DEADLINE));
    assert!(!at(DEADLINE + 1, 0));
    assert!(!at(DEADLINE + 1, DEADLINE));
    assert!(!at(1000, DEADLINE + 1));
    assert!(!at(1000, u64::MAX));
}

#[test]
fn an_authorization_ends_as_soon_as_either_clock_says_so() {
    let ends: [fn(&mut Facts); 2] = [
        |facts| terms_of(&mut facts.app).not_after = 5000,
        |facts| terms_of(&mut facts.data[1].1).not_after = 5000,
    ];
    for ends in ends {
        assert!(released_at(ends, 5000, 5000));
        assert!(released_at(ends, 5000, 0));
        assert!(released_at(ends, 1000, 5000));
        assert!(!released_at(ends, 5001, 0));
        assert!(!released_at(ends, 5001, 5000));
        assert!(!released_at(ends, 1000, 5001));
    }
}

#[test]
fn an_authorization_begins_when_the_head_says_so_whatever_the_wall_clock() {
    let begins: [fn(&mut Facts); 2] = [
        |facts| terms_of(&mut facts.app).not_before = 5000,
        |facts| terms_of(&mut facts.data[1].1).not_before = 5000,
    ];
    for begins in begins {
        assert!(released_at(begins, 5000, 0));
        assert!(released_at(begins, 5001, 9000));
        assert!(!released_at(begins, 4999, 5000));
        assert!(!released_at(begins, 4999, 9000));
        assert!(!released_at(begins, 1000, 19_000));
    }
}

#[test]
fn explaining_without_a_claim_supposes_the_orders_own() {
    let mut world = World::new(Resource::Bundle);
    world.worker = vouched(3, the_task(), &world.enclave);
    assert!(world.authorize().is_err());
    assert_eq!(world.explain(None), Ok(()));
    let other = Claim { worker: worker(), enclave: EnclaveId(word(9)) };
    let expected = world.enclave.id();
    let denied = world.explain(Some(other)).unwrap_err();
    assert_eq!(denied.reasons(), [Denial::WrongEnclave { expected, got: other.enclave }]);
}

#[test]
fn the_vault_is_asked_for_what_the_order_declares() {
    let facts = World::new(Resource::Bundle).head;
    let one = |resource, secret, content| Wanted { resource, secret, content };
    let all = [
        one(Resource::AppSecret, asset_secret(1), None),
        one(Resource::RequesterSecret(1), requester_secret("a"), None),
        one(Resource::RequesterSecret(5), requester_secret("ab"), None),
        one(Resource::ProtectedData(1), asset_secret(2), Some(content_of(2))),
        one(Resource::ProtectedData(2), asset_secret(3), Some(content_of(3))),
    ];
    assert_eq!(wanted(Resource::Bundle, &facts), all);
    for expected in &all {
        assert_eq!(&wanted(expected.resource, &facts), std::slice::from_ref(expected));
    }
    for undeclared in
        [Resource::RequesterSecret(2), Resource::ProtectedData(3), Resource::ProtectedData(0)]
    {
        assert_eq!(wanted(undeclared, &facts), []);
    }
    assert_eq!(wanted(Resource::Bundle, &Facts::default()), []);
}

#[test]
fn a_key_of_other_content_than_was_bought_is_as_good_as_none() {
    let folder = tempfile::tempdir().unwrap();
    let vault = vault_in(folder.path());
    let push = |version, content_digest| {
        let metadata = Metadata { content_digest, ..metadata(owner_of(2), EPOCH, version) };
        let push = Push { secret: asset_secret(2), metadata, value: plaintext(b"key") };
        vault.push(push).unwrap();
    };
    let ask = || {
        let mut world = World::new(Resource::ProtectedData(1));
        world.secrets = vault.look_up(&wanted(world.asked.resource, &world.head)).unwrap();
        world
    };
    check_world(&ask(), &[missing(2)]);
    push(1, word(0x77));
    check_world(&ask(), &[missing(2)]);
    push(2, B256::ZERO);
    check_world(&ask(), &[missing(2)]);
    push(3, content_of(2));
    assert_eq!(ask().authorize().unwrap().items()[0].version, 3);
    push(4, word(0x78));
    assert_eq!(ask().authorize().unwrap().items()[0].version, 3, "the content bought counts");
}

/// Ways to spoil the facts of a bundle, each a reason to deny it.
const SPOILT: [fn(&mut Facts); 16] = [
    |facts| facts.task = None,
    |facts| facts.app.asset = None,
    |facts| facts.app.authorization = None,
    |facts| spoil_task(facts, |task| task.status = TaskStatus::Purchased),
    |facts| spoil_task(facts, |task| task.status = TaskStatus::Expired),
    |facts| spoil_task(facts, |task| task.order.deadline = NOW - 1),
    |facts| spoil_task(facts, |task| task.order.sms = who(9)),
    |facts| spoil_task(facts, |task| task.order.worker = who(9)),
    |facts| spoil_task(facts, |task| task.order.enclave = EnclaveId(word(9))),
    |facts| spoil_task(facts, |task| task.revoked_grants.extend([1, 5])),
    |facts| spoil_standing(&mut facts.app, |word| word.epoch = EPOCH - 1),
    |facts| spoil_standing(&mut facts.app, |word| word.terms.requester = who(9)),
    |facts| spoil_standing(&mut facts.data[0].1, |word| word.terms.not_before = NOW + 1),
    |facts| spoil_standing(&mut facts.data[0].1, |word| word.terms.price = U256::ONE),
    |facts| {
        spoil_standing(&mut facts.data[1].1, |word| (word.serial, word.terms.max_tasks) = (2, 1));
    },
    |facts| facts.data[1].1.asset = None,
];

fn spoil_task(facts: &mut Facts, change: impl Fn(&mut Task)) {
    if facts.task.is_some() {
        change(task_of(facts));
    }
}

fn spoil_standing(standing: &mut Standing, change: impl Fn(&mut sesame_domain::Authorization)) {
    if let Some(word) = standing.authorization.as_mut() {
        change(word);
    }
}

fn spoil(rng: &mut StdRng, facts: &mut Facts) -> bool {
    let before = facts.clone();
    if rng.random_bool(0.6) {
        for _ in 0..rng.random_range(1..4) {
            SPOILT[rng.random_range(0..SPOILT.len())](facts);
        }
    }
    *facts != before
}

#[test]
fn explain_and_authorize_agree_and_both_views_must() {
    let seed = 0x5e5a_3e02;
    let mut rng = StdRng::seed_from_u64(seed);
    let (mut granted, mut waiting) = (0, 0);
    let base = World::new(Resource::Bundle);
    for round in 0..5000 {
        let mut world = base.clone();
        let (head, confirmed) =
            (spoil(&mut rng, &mut world.head), spoil(&mut rng, &mut world.confirmed));
        let told = format!("seed {seed}, round {round}");
        let decided = world.authorize().map(|_| ());
        let explained = world.explain(Some(claim_of(&world)));
        assert_eq!(decided, explained, "{told}");
        assert_eq!(decided.is_ok(), !head && !confirmed, "{told}");
        match decided {
            Ok(()) => granted += 1,
            Err(denials) => {
                let reasons = denials.reasons();
                assert!(!reasons.is_empty(), "{told}");
                assert!(reasons.is_sorted(), "{told}");
                assert!(reasons.windows(2).all(|pair| pair[0] != pair[1]), "{told}");
                let waits =
                    reasons.iter().any(|reason| matches!(reason, Denial::NotYetConfirmed { .. }));
                assert_eq!(waits, !head, "{told}: {reasons:?}");
                assert!(!waits || reasons.len() == 1, "{told}: {reasons:?}");
                waiting += u32::from(waits);
            }
        }
    }
    assert!(granted > 100 && waiting > 100, "{granted} granted, {waiting} waiting");
}

/// No new denial without a test: the cases above reach each of these.
#[test]
fn these_are_all_the_denials() {
    let bundle = |change: fn(&mut Facts)| denials(&World::new(Resource::Bundle).both(change));
    let mut reached: BTreeSet<&str> = BTreeSet::new();
    let mut note = |denials: Vec<Denial>| reached.extend(denials.iter().map(Denial::code));
    SPOILT.into_iter().for_each(|change| note(bundle(change)));
    note(bundle(|facts| terms_of(&mut facts.app).not_after = 1));
    note(bundle(|facts| terms_of(&mut facts.app).app = asset(9)));
    note(denials(&World::new(Resource::RequesterSecret(2))));
    let mut world = World::new(Resource::AppSecret);
    *world.secret(Resource::AppSecret) = None;
    note(denials(&world));
    let mut world = World::new(Resource::Bundle);
    world.confirmed.task = None;
    note(denials(&world));
    let all = [
        "asset_unknown",
        "authorization_expired",
        "authorization_void",
        "grant_revoked",
        "max_tasks",
        "not_whitelisted",
        "not_yet_confirmed",
        "not_yet_valid",
        "price_not_paid",
        "secret_missing",
        "secret_not_granted",
        "task_ended",
        "task_expired",
        "task_not_started",
        "task_unknown",
        "wrong_app",
        "wrong_enclave",
        "wrong_requester",
        "wrong_sms",
        "wrong_worker",
    ];
    assert_eq!(reached.into_iter().collect::<Vec<_>>(), all);
}
