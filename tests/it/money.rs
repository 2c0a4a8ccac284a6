//! Who is paid what, when the service's signatures decide.

use alloy::{
    network::TransactionBuilder,
    primitives::{Address, B256, U256},
    rpc::types::{TransactionReceipt, TransactionRequest},
    sol_types::SolCall,
};
use sesame_chain::{ChainError, abi::tasks::ITaskRegistry};
use sesame_client::ClientError;
use sesame_domain::{Order, Registry, TaskId, TaskStatus, Terms};
use sesame_tests::{Person, Scene, World, eventually};

const NATIVE: Address = Address::ZERO;
const APP: u64 = 3_000;
const DATA: u64 = 50_000;
const REWARD: u64 = 200;
const COST: u64 = APP + DATA + REWARD;
/// What the requester has of a token.
const COINS: u64 = 100_000;

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
    let max_cost = U256::from(COST);
    Order { reward: U256::from(REWARD), max_cost, ..scene.order.clone() }
}

/// What developer, Alice, worker and requester can withdraw.
async fn credits(world: &World) -> [U256; 4] {
    credits_in(world, NATIVE).await
}

async fn credits_in(world: &World, currency: Address) -> [U256; 4] {
    let credit = async |person: &Person| {
        world.requester.chain.credit_of(person.address(), currency).await.unwrap()
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
    assert_eq!((held.currency, held.amount), (NATIVE, U256::from(COST)));
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

    assert_eq!(credits(&world).await, are([0, 0, 0, COST]));
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

/// A scene priced in an ERC-20 of which the requester has `COINS`, and an order for it that was not bought.
async fn priced_in_tokens(world: &World) -> (Scene, Order) {
    let token = world.node.token(&[world.requester.address()], U256::from(COINS)).await;
    let scene = Scene::bought(world).await;
    let enclave = scene.build.id();
    let price = |price| Terms { price: U256::from(price), currency: token, ..Terms::default() };
    world.allow_on(&world.developer, scene.app, enclave, &price(APP)).await;
    world.allow_on(&world.alice, scene.data, enclave, &price(DATA)).await;
    world.confirmed().await;
    let order = Order { currency: token, ..order(&scene) };
    (scene, order)
}

/// What developer, Alice, worker, requester and the task registry have of a token.
async fn balances(world: &World, token: Address) -> [U256; 5] {
    let balance = async |who| world.requester.chain.balance_of(who, token).await.unwrap();
    let World { developer, alice, worker, requester, .. } = world;
    let registry = world.deployment.task_registry;
    let [developer, alice, worker, requester] =
        [developer, alice, worker, requester].map(Person::address);
    [
        balance(developer).await,
        balance(alice).await,
        balance(worker).await,
        balance(requester).await,
        balance(registry).await,
    ]
}

/// Sends a purchase without asking beforehand whether it would succeed: it comes into a block, and fails there.
async fn fails_in_its_block(world: &World, order: &Order) {
    let purchase = ITaskRegistry::purchaseCall { order: order.into() };
    let transaction = TransactionRequest::default()
        .with_from(world.requester.address())
        .with_to(world.deployment.task_registry)
        .with_gas_limit(5_000_000)
        .with_input(purchase.abi_encode());
    let hash: B256 = world.node.call("eth_sendTransaction", (transaction,)).await;
    let receipt = eventually("the purchase is in a block", async || {
        let receipt: Option<TransactionReceipt> =
            world.node.call("eth_getTransactionReceipt", (hash,)).await;
        receipt
    });
    assert!(!receipt.await.status(), "the purchase succeeded");
}

fn have(balances: [u64; 5]) -> [U256; 5] {
    balances.map(U256::from)
}

#[tokio::test]
async fn a_task_in_an_erc_20_is_paid_in_it_to_the_last_unit() {
    let world = World::start().await;
    let (scene, order) = priced_in_tokens(&world).await;
    let (token, buyer) = (order.currency, &world.requester.chain);
    let left = COINS - COST;
    assert_eq!(buyer.cost_of(&order).await.unwrap(), U256::from(COST));
    assert_eq!(balances(&world, token).await, have([0, 0, 0, COINS, 0]));

    buyer.approve(token, U256::from(COST)).await.unwrap();
    assert_eq!(buyer.allowance_of(buyer.account(), token).await.unwrap(), U256::from(COST));
    let task = world.buy_and_begin(&order).await;
    assert_eq!(balances(&world, token).await, have([0, 0, 0, left, COST]));
    assert_eq!(buyer.allowance_of(buyer.account(), token).await.unwrap(), U256::ZERO);
    let held = buyer.escrow_of(task).await.unwrap();
    assert_eq!((held.currency, held.amount), (token, U256::from(COST)));

    Scene { task, ..scene }.complete(&world).await;
    assert_eq!(credits_in(&world, token).await, are([APP, DATA, REWARD, 0]));
    assert_eq!(credits(&world).await, are([0; 4]), "nobody earned any native coin");
    assert_eq!(refused(world.alice.chain.withdraw(NATIVE).await), "NothingToWithdraw");
    assert_eq!(refused(world.stranger.chain.withdraw(token).await), "NothingToWithdraw");
    for (person, earned) in [(&world.developer, APP), (&world.alice, DATA), (&world.worker, REWARD)]
    {
        assert_eq!(person.chain.withdraw(token).await.unwrap().result, U256::from(earned));
        assert_eq!(refused(person.chain.withdraw(token).await), "NothingToWithdraw");
    }
    assert_eq!(balances(&world, token).await, have([APP, DATA, REWARD, left, 0]));
}

#[tokio::test]
async fn a_purchase_in_an_erc_20_that_is_refused_leaves_nothing_behind() {
    let world = World::start().await;
    let (_, order) = priced_in_tokens(&world).await;
    let (token, buyer) = (order.currency, &world.requester.chain);
    let other = world.node.token(&[buyer.account()], U256::from(COINS)).await;
    buyer.approve(other, U256::MAX).await.unwrap();
    let journal = async || buyer.journal_of(Registry::Tasks).await.unwrap();
    let before = journal().await;

    assert_eq!(refused(buyer.purchase(&order).await), "ERC20InsufficientAllowance");
    buyer.approve(token, U256::from(COST - 1)).await.unwrap();
    assert_eq!(refused(buyer.purchase(&order).await), "ERC20InsufficientAllowance");
    fails_in_its_block(&world, &order).await;
    buyer.approve(token, U256::MAX).await.unwrap();
    for currency in [other, NATIVE] {
        let order = Order { currency, ..order.clone() };
        assert_eq!(refused(buyer.purchase(&order).await), "WrongCurrency");
        fails_in_its_block(&world, &order).await;
    }
    let least = Order { max_cost: U256::from(COST - 1), ..order.clone() };
    assert_eq!(refused(buyer.purchase(&least).await), "CostAboveMaximum");
    let dear = U256::from(COINS - COST + 1);
    let dear = Order { reward: order.reward + dear, max_cost: U256::MAX, ..order.clone() };
    assert_eq!(refused(buyer.purchase(&dear).await), "ERC20InsufficientBalance");
    fails_in_its_block(&world, &dear).await;

    assert_eq!(journal().await, before, "no task was bought");
    for token in [token, other] {
        assert_eq!(balances(&world, token).await, have([0, 0, 0, COINS, 0]));
    }
    world.buy(&order).await;
    assert_eq!(balances(&world, token).await, have([0, 0, 0, COINS - COST, COST]));
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
