//! Every reason that the decision has for a no, reached by an attested enclave over HTTP.

use alloy::primitives::{Address, B256, U256};
use serde_json::json;
use sesame_chain::{ChainError, Content};
use sesame_client::{enclave::EnclaveError, public::Question};
use sesame_domain::{AssetId, Order, Resource, SecretId, TaskId, Terms};
use sesame_tests::{Build, Scene, World, codes_of, now};

/// What the public learns of a task.
async fn explained(world: &World, task: TaskId) -> Vec<String> {
    codes_of(&world.sms.explain(task).await.denials)
}

#[tokio::test]
async fn a_task_that_nobody_bought_is_unknown() {
    let world = World::start().await;
    let task = TaskId(B256::repeat_byte(7));

    world.ask(Build::of("any"), task, Resource::Bundle).await.is_denied(&["task_unknown"]);
    assert_eq!(explained(&world, task).await, ["task_unknown"]);
}

#[tokio::test]
async fn a_task_runs_between_start_and_end_only() {
    let world = World::start().await;
    let scene = Scene::bought(&world).await;
    world.confirmed().await;

    scene.ask(&world).await.is_denied(&["task_not_started"]);
    assert_eq!(explained(&world, scene.task).await, ["task_not_started"]);

    world.begin(scene.task).await;
    world.confirmed().await;
    scene.run(&world).await;

    scene.complete(&world).await;
    world.followed().await;
    let answer = scene.ask(&world).await;
    answer.is_denied(&["task_ended"]);
    assert_eq!(answer.json()["denials"][0]["status"], "completed");
    assert_eq!(explained(&world, scene.task).await, ["task_ended"]);
}

#[tokio::test]
async fn a_cancelled_task_has_ended() {
    let world = World::start().await;
    let scene = Scene::bought(&world).await;

    world.requester.chain.cancel(scene.task).await.unwrap();
    world.confirmed().await;

    let answer = scene.ask(&world).await;
    answer.is_denied(&["task_ended"]);
    assert_eq!(answer.json()["denials"][0]["status"], "cancelled");
}

/// The chain's clock counts, and nobody has to say `expire` first.
#[tokio::test]
async fn a_task_past_its_deadline_has_expired() {
    let world = World::start().await;
    let scene = Scene::set(&world).await;
    scene.run(&world).await;

    world.node.mine_at(scene.order.deadline).await;
    world.followed().await;
    scene.run(&world).await;
    world.node.mine_at(scene.order.deadline + 1).await;
    world.followed().await;

    let answer = scene.ask(&world).await;
    answer.is_denied(&["task_expired"]);
    assert_eq!(answer.json()["denials"][0]["deadline"], scene.order.deadline);

    // It started, so that its owners have a week to claim their prices before the requester gets them back.
    let early = world.stranger.chain.expire(scene.task).await.unwrap_err();
    assert!(early.to_string().contains("ClaimWindowOpen"), "{early}");
    world.node.mine_at(scene.order.deadline + 7 * 24 * 3600 + 1).await;
    world.stranger.chain.expire(scene.task).await.unwrap();
    world.followed().await;
    let answer = scene.ask(&world).await;
    answer.is_denied(&["task_ended", "task_expired"]);
    assert_eq!(answer.json()["denials"][0]["status"], "expired");
}

#[tokio::test]
async fn a_task_for_another_sms_is_refused() {
    let world = World::start().await;
    let scene = Scene::set(&world).await;
    let order = Order { sms: Address::repeat_byte(9), ..scene.order.clone() };

    let task = world.buy_and_begin(&order).await;

    let answer = world.ask(scene.build, task, Resource::Bundle).await;
    answer.is_denied(&["wrong_sms"]);
    let expected = Address::repeat_byte(9).to_string().to_lowercase();
    assert_eq!(answer.json()["denials"][0]["expected"], expected);
    assert_eq!(explained(&world, task).await, ["wrong_sms"]);
}

#[tokio::test]
async fn nobody_runs_a_task_but_its_worker() {
    let world = World::start().await;
    let scene = Scene::set(&world).await;

    let with = world.attested_by(scene.build, scene.task, &world.stranger).await;
    with.ask(scene.task, Resource::Bundle).await.is_denied(&["wrong_worker"]);

    let worker = Some(world.stranger.address());
    let question = Question { task: scene.task, worker, ..Question::default() };
    let explanation = world.sms.explain_to(&question).await;
    assert_eq!(codes_of(&explanation.denials), ["wrong_worker"]);
}

/// One byte of the app is another enclave; whitelisting that one as well does not help, because the task is pinned.
#[tokio::test]
async fn a_task_is_pinned_to_its_enclave() {
    let world = World::start().await;
    let scene = Scene::set(&world).await;
    let altered = Build::of("print(2)");

    let answer = world.ask(altered, scene.task, Resource::Bundle).await;
    answer.is_denied(&["wrong_enclave", "not_whitelisted", "not_whitelisted"]);
    assert_eq!(answer.json()["denials"][0]["got"], altered.id().to_string());

    world.allow(&world.developer, scene.app, altered).await;
    world.allow(&world.alice, scene.data, altered).await;
    world.confirmed().await;
    world.ask(altered, scene.task, Resource::Bundle).await.is_denied(&["wrong_enclave"]);
    let enclave = Some(altered.id());
    let question = Question { task: scene.task, enclave, ..Question::default() };
    let explanation = world.sms.explain_to(&question).await;
    assert_eq!(codes_of(&explanation.denials), ["wrong_enclave"]);
}

#[tokio::test]
async fn what_a_task_does_not_declare_is_refused() {
    let world = World::start().await;
    let scene = Scene::set(&world).await;
    let enclave = world.attested(scene.build, scene.task).await;

    let answer = enclave.ask(scene.task, Resource::RequesterSecret(3)).await;
    answer.is_denied(&["secret_not_granted"]);
    assert_eq!(answer.json()["denials"][0]["index"], 3);
    enclave.ask(scene.task, Resource::ProtectedData(2)).await.is_denied(&["asset_unknown"]);
}

#[tokio::test]
async fn each_owner_can_stop_their_part() {
    let world = World::start().await;
    let scene = Scene::set(&world).await;

    world.alice.chain.revoke(scene.data, scene.build.id()).await.unwrap();
    world.followed().await;
    let enclave = world.attested(scene.build, scene.task).await;
    let answer = enclave.ask(scene.task, Resource::Bundle).await;
    answer.is_denied(&["not_whitelisted"]);
    assert_eq!(answer.json()["denials"][0]["asset"], scene.data.to_string());
    enclave.open(&enclave.ask(scene.task, Resource::AppSecret).await);

    world.developer.chain.revoke(scene.app, scene.build.id()).await.unwrap();
    world.followed().await;
    enclave.ask(scene.task, Resource::AppSecret).await.is_denied(&["not_whitelisted"]);
    let both = ["not_whitelisted", "not_whitelisted"];
    enclave.ask(scene.task, Resource::Bundle).await.is_denied(&both);
    assert_eq!(explained(&world, scene.task).await, both);
}

/// The registry enforces terms at purchase; here they change afterwards.
#[tokio::test]
async fn terms_that_change_after_the_purchase_bite() {
    let world = World::start().await;
    let scene = Scene::set(&world).await;
    let other = AssetId(world.app(&world.bob).await.0);
    let stranger = world.stranger.address();
    let plain = Terms::default;
    for (terms, reason) in [
        (Terms { not_before: now() + 10_000, ..plain() }, "not_yet_valid"),
        (Terms { app: other, ..plain() }, "wrong_app"),
        (Terms { requester: stranger, ..plain() }, "wrong_requester"),
        (Terms { price: U256::from(1), ..plain() }, "price_not_paid"),
        (Terms { price: U256::from(1), currency: stranger, ..plain() }, "price_not_paid"),
        (Terms { sms: stranger, ..plain() }, "wrong_sms"),
        (Terms { max_tasks: u64::MAX, ..plain() }, "max_tasks"),
    ] {
        world.allow_on(&world.alice, scene.data, scene.build.id(), &terms).await;
        world.confirmed().await;
        scene.ask(&world).await.is_denied(&[reason]);
        assert_eq!(explained(&world, scene.task).await, [reason]);
        let enclave = world.attested(scene.build, scene.task).await;
        enclave.open(&enclave.ask(scene.task, Resource::AppSecret).await);
    }
    world.allow(&world.alice, scene.data, scene.build).await;
    world.confirmed().await;
    scene.run(&world).await;
}

/// A limit counts the tasks that are bought under it; one that was bought before is none of them.
#[tokio::test]
async fn a_task_that_a_limit_did_not_count_is_refused() {
    let world = World::start().await;
    let scene = Scene::set(&world).await;
    let (data, enclave) = (scene.data, scene.build.id());
    let limit = |max_tasks| Terms { max_tasks, ..Terms::default() };
    scene.run(&world).await;

    world.allow_on(&world.alice, data, enclave, &limit(1)).await;
    world.followed().await;
    scene.ask(&world).await.is_denied(&["max_tasks"]);
    let somebody = &world.stranger.chain;
    somebody.purchase(&scene.order).await.unwrap();
    let used_up = somebody.purchase(&scene.order).await.unwrap_err();
    assert!(used_up.to_string().contains("TasksUsedUp"), "{used_up}");
    world.confirmed().await;
    let answer = scene.ask(&world).await;
    answer.is_denied(&["max_tasks"]);
    let expected = json!({
        "code": "max_tasks", "asset": data.0, "max_tasks": 1, "serial": 2, "bought_serial": 1,
    });
    assert_eq!(answer.json()["denials"][0], expected);
    assert_eq!(explained(&world, scene.task).await, ["max_tasks"]);

    // Bought anew, it is counted; the old one stays out, though there is room.
    world.allow_on(&world.alice, data, enclave, &limit(2)).await;
    let anew = world.buy_and_begin(&scene.order).await;
    world.run(scene.build, anew).await.unwrap();
    scene.ask(&world).await.is_denied(&["max_tasks"]);

    world.allow(&world.alice, data, scene.build).await;
    world.followed().await;
    scene.ask(&world).await.is_denied(&["not_yet_confirmed"]);
    world.confirmed().await;
    scene.run(&world).await;
    world.run(scene.build, anew).await.unwrap();
}

#[tokio::test]
async fn an_authorization_begins_and_ends_in_time() {
    let world = World::start().await;
    let scene = Scene::set(&world).await;
    let start = world.node.head().await.timestamp + 600;
    let terms = Terms { not_before: start, not_after: start + 60, ..Terms::default() };
    world.allow_on(&world.developer, scene.app, scene.build.id(), &terms).await;
    world.confirmed().await;

    let answer = scene.ask(&world).await;
    answer.is_denied(&["not_yet_valid"]);
    assert_eq!(answer.json()["denials"][0]["not_before"], start);
    world.node.mine_at(start).await;
    world.followed().await;
    scene.run(&world).await;
    world.node.mine_at(start + 60).await;
    world.followed().await;
    scene.run(&world).await;
    world.node.mine_at(start + 61).await;
    world.followed().await;
    let answer = scene.ask(&world).await;
    answer.is_denied(&["authorization_expired"]);
    assert_eq!(answer.json()["denials"][0]["not_after"], start + 60);
    assert_eq!(explained(&world, scene.task).await, ["authorization_expired"]);
}

#[tokio::test]
async fn a_sale_voids_what_the_former_owner_allowed() {
    let world = World::start().await;
    let scene = Scene::set(&world).await;

    world.developer.chain.transfer(scene.app, world.bob.address()).await.unwrap();
    world.followed().await;

    scene.ask(&world).await.is_denied(&["authorization_void"]);
    assert_eq!(explained(&world, scene.task).await, ["authorization_void"]);
}

/// The new owner lets the same enclave in: the old owner's key stays with the old owner.
#[tokio::test]
async fn a_sale_leaves_the_old_owners_key_behind() {
    let world = World::start().await;
    let scene = Scene::set(&world).await;
    let bob = world.bob.address();

    world.alice.chain.transfer(scene.data, bob).await.unwrap();
    world.allow(&world.bob, scene.data, scene.build).await;
    world.confirmed().await;

    let answer = scene.ask(&world).await;
    answer.is_denied(&["secret_missing"]);
    assert_eq!(answer.json()["denials"][0]["owner"], bob.to_string().to_lowercase());
    assert_eq!(explained(&world, scene.task).await, ["secret_unavailable"]);

    // Nor does it come back when the asset does: that is another epoch.
    world.bob.chain.transfer(scene.data, world.alice.address()).await.unwrap();
    world.allow(&world.alice, scene.data, scene.build).await;
    world.confirmed().await;
    scene.ask(&world).await.is_denied(&["secret_missing"]);
}

#[tokio::test]
async fn a_grant_that_was_taken_back_is_refused() {
    let world = World::start().await;
    let scene = Scene::set(&world).await;

    world.requester.chain.revoke_grant(scene.task, 2).await.unwrap();
    world.followed().await;

    let enclave = world.attested(scene.build, scene.task).await;
    let answer = enclave.ask(scene.task, Resource::Bundle).await;
    answer.is_denied(&["grant_revoked"]);
    assert_eq!(answer.json()["denials"][0]["index"], 2);
    enclave.ask(scene.task, Resource::RequesterSecret(2)).await.is_denied(&["grant_revoked"]);
    let other = enclave.ask(scene.task, Resource::RequesterSecret(1)).await;
    assert_eq!(enclave.open(&other), Scene::DB_PASSWORD);
    assert_eq!(explained(&world, scene.task).await, ["grant_revoked"]);
}

/// The attested enclave learns what is missing and whose it is; the public learns neither.
#[tokio::test]
async fn a_secret_that_was_never_pushed_is_missing() {
    let world = World::start().await;
    let (build, app) = (Build::of("sum"), world.app(&world.developer).await);
    let data = world.data(&world.alice, b"rows").await;
    world.allow(&world.developer, app, build).await;
    world.allow(&world.alice, data, build).await;
    let grants = vec![World::grant(1, "nowhere")];
    let order = Order { data: vec![data], grants, ..world.order(app, build) };
    let task = world.buy_and_begin(&order).await;

    let answer = world.ask(build, task, Resource::Bundle).await;
    answer.is_denied(&["secret_missing", "secret_missing"]);
    let denials = answer.json()["denials"].clone();
    let named = |name: &str| denials.as_array().unwrap().iter().any(|d| d["name"] == name);
    assert!(named("nowhere"), "{denials}");
    world.ask(build, task, Resource::AppSecret).await.is_denied(&["secret_missing"]);
    let explanation = world.sms.explain(task).await;
    let unavailable = codes_of(&explanation.denials);
    assert!(unavailable.iter().all(|code| code == "secret_unavailable"), "{unavailable:?}");
    assert!(!serde_json::to_string(&explanation).unwrap().contains("nowhere"));

    // A key for another content is no key for this one.
    let key = sesame_tests::key_of(b"other rows");
    world.alice.push_with(&SecretId::Asset(data), b"k", &key).await;
    let data = world.ask(build, task, Resource::ProtectedData(1)).await;
    data.is_denied(&["secret_missing"]);
}

/// A removed secret is as gone as one that never was.
#[tokio::test]
async fn a_removed_secret_is_missing() {
    let world = World::start().await;
    let scene = Scene::set(&world).await;
    let id = world.requester.secret("db-password");

    world.requester.owner.remove(now(), &id, 0).await.unwrap();

    scene.ask(&world).await.is_denied(&["secret_missing"]);
    world.requester.push(&id, b"again").await;
    scene.run(&world).await;
}

#[tokio::test]
async fn a_start_counts_once_it_is_confirmed() {
    let world = World::start().await;
    let scene = Scene::bought(&world).await;
    world.confirmed().await;
    world.begin(scene.task).await;
    world.followed().await;

    let refused = world.run(scene.build, scene.task).await.unwrap_err();
    assert!(refused.passes_with_time(), "{refused:?}");
    let EnclaveError::Denied(denials) = refused else { panic!("{refused:?}") };
    assert_eq!(codes_of(&denials), ["not_yet_confirmed"]);
    scene.ask(&world).await.is_denied(&["not_yet_confirmed"]);
    assert_eq!(explained(&world, scene.task).await, ["not_yet_confirmed"]);

    world.confirmed().await;
    scene.run(&world).await;
}

/// All or nothing: everything that is wrong is said at once.
#[tokio::test]
async fn all_reasons_are_told_at_once() {
    let world = World::start().await;
    let scene = Scene::bought(&world).await;
    world.alice.chain.revoke(scene.data, scene.build.id()).await.unwrap();
    world.requester.chain.revoke_grant(scene.task, 1).await.unwrap();
    let content = Content { uri: "https://example.org/2".to_owned(), digest: B256::repeat_byte(2) };
    world.developer.chain.set_content(scene.app, &content).await.unwrap();
    world.confirmed().await;

    let with = world.attested_by(scene.build, scene.task, &world.stranger).await;
    let answer = with.ask(scene.task, Resource::Bundle).await;

    answer.is_denied(&["task_not_started", "wrong_worker", "not_whitelisted", "grant_revoked"]);
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.len() > 100, "a sentence for each: {detail}");
}

/// What was allowed before is answered for the block that is asked about.
#[tokio::test]
async fn the_past_is_explained_as_it_was() {
    let world = World::start().await;
    let scene = Scene::set(&world).await;
    let before = world.node.head().await.number;
    world.alice.chain.revoke(scene.data, scene.build.id()).await.unwrap();
    world.confirmed().await;

    let block = Some(before);
    let then = Question { task: scene.task, block, ..Question::default() };
    assert!(world.sms.explain_to(&then).await.allowed);
    assert_eq!(explained(&world, scene.task).await, ["not_whitelisted"]);

    let task = scene.task;
    let future = world.sms.get(&format!("v1/tasks/{task}/explain?block=1000000")).await;
    future.is_problem(404, "block_unknown");
    for bad in ["enclave=0x12", "resource=bundle", "worker=bob", "block=-1", "unknown=1"] {
        let answer = world.sms.get(&format!("v1/tasks/{task}/explain?{bad}")).await;
        answer.is_problem(400, "malformed_id");
    }
    for bad in ["12", "0x", "%ff"] {
        world.sms.get(&format!("v1/tasks/{bad}/explain")).await.is_problem(400, "malformed_id");
    }
}

/// What the registry refuses leaves the account's next transaction unharmed.
#[tokio::test]
async fn a_refused_transaction_does_not_block_the_account() {
    let world = World::start().await;
    let scene = Scene::set(&world).await;
    let elsewhere = Order { enclave: Build::of("other").id(), ..scene.order.clone() };

    let refused = world.requester.chain.purchase(&elsewhere).await;

    assert!(matches!(refused, Err(ChainError::Refused(_))), "{refused:?}");
    world.buy(&scene.order).await;
}
