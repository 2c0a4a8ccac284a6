//! Who is paid what, when the service's signatures decide.

use alloy::primitives::{Address, U256};
use sesame_chain::ChainError;
use sesame_client::ClientError;
use sesame_domain::{Order, TaskId, TaskStatus, Terms};
use sesame_tests::{Person, Scene, World};

const NATIVE: Address = Address::ZERO;
const APP: u64 = 3_000;
const DATA: u64 = 50_000;
const REWARD: u64 = 200;

/// A scene whose app and data have a price, and whose worker has a reward; bought anew and started.
async fn priced(world: &World) -> (Scene, TaskId) {
    let scene = Scene::bought(world).await;
    let enclave = scene.build.id();
    let price = |price| Terms { price: U256::from(price), ..Terms::default() };
    world.allow_on(&world.developer, scene.app, enclave, &price(APP)).await;
    world.allow_on(&world.alice, scene.data, enclave, &price(DATA)).await;
    world.confirmed().await;
    let task = world.buy_and_begin(&order(&scene)).await;
    (scene, task)
}

fn order(scene: &Scene) -> Order {
    let max_cost = U256::from(APP + DATA + REWARD);
    Order { reward: U256::from(REWARD), max_cost, ..scene.order.clone() }
}

/// What developer, Alice, worker and requester can withdraw.
async fn credits(world: &World) -> [U256; 4] {
    let credit = async |person: &Person| {
        world.requester.chain.credit_of(person.address(), NATIVE).await.unwrap()
    };
    let World { developer, alice, worker, requester, .. } = world;
    [credit(developer).await, credit(alice).await, credit(worker).await, credit(requester).await]
}

fn are(credits: [u64; 4]) -> [U256; 4] {
    credits.map(U256::from)
}

fn refused<T: std::fmt::Debug>(answer: Result<T, ChainError>) -> &'static str {
    match answer {
        Err(ChainError::Refused(refused)) => {
            assert!(!refused.hint.is_empty());
            refused.name
        }
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn a_completed_task_pays_owners_and_worker() {
    let world = World::start().await;
    let (scene, task) = priced(&world).await;
    let held = world.requester.chain.escrow_of(task).await.unwrap();
    assert_eq!((held.currency, held.amount), (NATIVE, U256::from(APP + DATA + REWARD)));
    assert_eq!(credits(&world).await, are([0; 4]));

    Scene { task, ..scene }.complete(&world).await;

    assert_eq!(credits(&world).await, are([APP, DATA, REWARD, 0]));
    assert_eq!(world.requester.chain.escrow_of(task).await.unwrap().amount, U256::ZERO);
    let alice = &world.alice.chain;
    assert_eq!(alice.withdraw(NATIVE).await.unwrap().result, U256::from(DATA));
    assert_eq!(credits(&world).await, are([APP, 0, REWARD, 0]));
    assert_eq!(refused(alice.withdraw(NATIVE).await), "NothingToWithdraw");
}

/// The enclave got everything and nobody completes: the service's word pays the owners, and the rest comes back.
#[tokio::test]
async fn a_released_task_that_nobody_completes_is_settled() {
    let world = World::start().await;
    let (scene, task) = priced(&world).await;
    let public = world.sms.public();
    let nothing = public.settlement(task).await.unwrap_err();
    assert!(matches!(&nothing, ClientError::Problem(problem) if problem.code == "not_released"));
    let somebody = &world.stranger.chain;
    world.run(scene.build, task).await.unwrap();

    let settlement = public.settlement(task).await.unwrap();
    assert_eq!(settlement.task, task.0);
    let word = || settlement.signature.to_vec().into();
    // One task's word is not another's.
    world.begin(scene.task).await;
    assert_eq!(refused(somebody.settle(scene.task, word()).await), "SmsSignatureInvalid");
    somebody.settle(task, word()).await.unwrap();

    assert_eq!(credits(&world).await, are([APP, DATA, 0, 0]));
    assert_eq!(refused(somebody.settle(task, word()).await), "AlreadySettled");
    world.node.mine_at(scene.order.deadline + 1).await;
    somebody.expire(task).await.unwrap();
    assert_eq!(credits(&world).await, are([APP, DATA, 0, REWARD]));
}

#[tokio::test]
async fn a_cancelled_task_pays_nobody() {
    let world = World::start().await;
    let (scene, _) = priced(&world).await;
    let task = world.buy(&order(&scene)).await;

    world.requester.chain.cancel(task).await.unwrap();

    assert_eq!(credits(&world).await, are([0, 0, 0, APP + DATA + REWARD]));
    let status = world.requester.chain.task_status(task).await.unwrap();
    assert_eq!(status, Some(TaskStatus::Cancelled));
}

/// The requester names the most it pays; a price that was raised meanwhile takes no more.
#[tokio::test]
async fn a_raised_price_costs_nobody_more_than_they_allow() {
    let world = World::start().await;
    let (scene, _) = priced(&world).await;
    let order = order(&scene);
    let buyer = &world.requester.chain;
    assert_eq!(buyer.cost_of(&order).await.unwrap(), order.max_cost);
    let raised = Terms { price: U256::from(DATA + 1), ..Terms::default() };
    world.allow_on(&world.alice, scene.data, scene.build.id(), &raised).await;

    assert_eq!(refused(buyer.purchase(&order).await), "CostAboveMaximum");
    let free = Order { reward: U256::ZERO, max_cost: U256::ZERO, ..order };
    assert_eq!(refused(buyer.purchase(&free).await), "CostAboveMaximum");
}

#[tokio::test]
async fn all_that_is_paid_is_in_one_currency() {
    let world = World::start().await;
    let (scene, _) = priced(&world).await;
    let buyer = &world.requester.chain;
    // Any contract will do: nothing is taken from it before the terms are checked.
    let token = world.deployment.asset_registry;
    let other = Order { currency: token, ..order(&scene) };
    assert_eq!(refused(buyer.purchase(&other).await), "WrongCurrency");
    let nowhere = Order { currency: Address::repeat_byte(9), ..order(&scene) };
    assert_eq!(refused(buyer.purchase(&nowhere).await), "CurrencyWithoutCode");
}
