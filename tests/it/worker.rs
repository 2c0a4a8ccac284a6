//! A worker that is a good citizen: it stops when it is told to, gives up what is over, and outlives its node, its service and
//! itself.

use std::{process::Stdio, time::Duration};

use serde_json::Value;
use sesame_chain::Contracts;
use sesame_domain::{Order, TaskId, TaskStatus};
use sesame_tests::{Liar, Tale, Worker, Workshop, World, eventually, now};
use tokio::time::sleep;

/// Its result is another each time.
const QUICK: &str = "#!/bin/sh\nod -An -N16 -tx1 /dev/urandom >\"$IEXEC_OUT/result.txt\"\n";
/// Takes a while.
const SLOW: &str = "#!/bin/sh\nsleep 2\nod -An -N16 -tx1 /dev/urandom >\"$IEXEC_OUT/result.txt\"\n";
/// Takes longer than any story.
const ENDLESS: &str = "#!/bin/sh\necho partial >\"$IEXEC_OUT/result.txt\"\nsleep 300\n";

/// Tells a story while the chain grows, so that what happens on it is confirmed; no further, since each block takes a second of
/// its time, and deadlines are in seconds.
pub(crate) async fn while_the_chain_grows<T>(world: &World, story: impl Future<Output = T>) -> T {
    let growing = async {
        loop {
            sleep(Duration::from_millis(100)).await;
            let head = world.node.head().await.number;
            for number in head.saturating_sub(world.confirmations() - 1)..=head {
                if holds_transactions(world, number).await {
                    world.node.mine(1).await;
                    break;
                }
            }
        }
    };
    tokio::select! {
        told = story => told,
        () = growing => unreachable!("it grows for ever"),
    }
}

async fn holds_transactions(world: &World, number: u64) -> bool {
    let number = format!("{number:#x}");
    let block: Value = world.node.call("eth_getBlockByNumber", (number, false)).await;
    block["transactions"].as_array().is_some_and(|all| !all.is_empty())
}

pub(crate) async fn status(world: &World, task: TaskId) -> TaskStatus {
    world.requester.chain.task_status(task).await.unwrap().unwrap()
}

pub(crate) async fn completed(world: &World, task: TaskId) {
    eventually("the task is completed", async || {
        (status(world, task).await == TaskStatus::Completed).then_some(())
    })
    .await;
}

fn prepared(task: TaskId) -> String {
    format!("task {task} prepared")
}

/// A world, its worker's things, and what somebody orders of this app.
async fn scene(script: &str, options: &[&str]) -> (World, Workshop, Order) {
    let world = World::start().await;
    let shop = Workshop::new(&world).with(options);
    let app = shop.app(&world, script).await;
    world.confirmed().await;
    let order = Order { params: unique(), ..Workshop::order(&world, app) };
    (world, shop, order)
}

/// An argument of the app, by which its process is found.
fn unique() -> String {
    format!("run-{:032x}", rand::random::<u128>())
}

/// Its app runs.
async fn running(worker: &mut Worker, shop: &Workshop, order: &Order, task: TaskId) {
    worker.says(&prepared(task)).await;
    eventually("the app runs", async || (!shop.processes(&order.params).is_empty()).then_some(()))
        .await;
}

#[tokio::test]
async fn sigterm_lets_running_tasks_end_and_begins_no_other() {
    let (world, shop, order) = scene(SLOW, &["--parallel", "1"]).await;
    let (first, second) = (world.buy(&order).await, world.buy(&order).await);
    let mut worker = shop.start();
    while_the_chain_grows(&world, async {
        running(&mut worker, &shop, &order, first).await;
        worker.terminate();
        assert_eq!(worker.ended().await.code(), Some(0), "{}", worker.said());
    })
    .await;
    assert_eq!(status(&world, first).await, TaskStatus::Completed);
    assert_eq!(status(&world, second).await, TaskStatus::Purchased);
    assert!(worker.said().contains("no task was interrupted"), "{}", worker.said());
    shop.quiet(&order.params).await;
}

#[tokio::test]
async fn a_second_sigterm_ends_running_tasks_and_the_exit_code_says_so() {
    let (world, shop, order) = scene(ENDLESS, &[]).await;
    let task = world.buy(&order).await;
    let mut worker = shop.start();
    while_the_chain_grows(&world, running(&mut worker, &shop, &order, task)).await;
    worker.terminate();
    worker.says("1 tasks run to their end").await;
    worker.terminate();
    assert_eq!(worker.ended().await.code(), Some(3), "{}", worker.said());
    assert_eq!(status(&world, task).await, TaskStatus::Started, "the next worker runs it again");
    assert!(shop.processes(&order.params).is_empty(), "its processes have ended before it");
    let left = shop.folder_of(task);
    assert!(
        !left.join("app").exists() && !left.join("tee/out").exists(),
        "what it put out is gone"
    );
    assert!(left.join("launcher.log").exists(), "its log is not");
}

#[tokio::test]
async fn the_drain_has_a_limit_if_one_is_given() {
    let (world, shop, order) = scene(ENDLESS, &["--drain-timeout", "1"]).await;
    let task = world.buy(&order).await;
    let mut worker = shop.start();
    while_the_chain_grows(&world, running(&mut worker, &shop, &order, task)).await;
    worker.terminate();
    assert_eq!(worker.ended().await.code(), Some(3), "{}", worker.said());
    shop.quiet(&order.params).await;
}

#[tokio::test]
async fn a_task_that_is_cancelled_while_it_waits_is_left() {
    let (world, shop, order) = scene(SLOW, &["--parallel", "1"]).await;
    let (first, second) = (world.buy(&order).await, world.buy(&order).await);
    let mut worker = shop.start();
    while_the_chain_grows(&world, async {
        running(&mut worker, &shop, &order, first).await;
        world.requester.chain.cancel(second).await.unwrap();
        completed(&world, first).await;
        let third = world.buy(&order).await;
        completed(&world, third).await;
    })
    .await;
    worker.terminate();
    assert_eq!(worker.ended().await.code(), Some(0), "{}", worker.said());
    assert_eq!(status(&world, second).await, TaskStatus::Cancelled);
    assert!(!shop.folder_of(second).exists(), "nothing of it was begun");
}

#[tokio::test]
async fn an_app_that_runs_into_the_deadline_is_ended() {
    let (world, shop, order) = scene(ENDLESS, &[]).await;
    let task = world.buy(&Order { deadline: now() + 15, ..order.clone() }).await;
    let mut worker = shop.start();
    while_the_chain_grows(&world, async {
        running(&mut worker, &shop, &order, task).await;
        worker.says(&format!("task {task} gave no result")).await;
    })
    .await;
    assert!(worker.said().contains("time_limit"), "{}", worker.said());
    shop.quiet(&order.params).await;
    assert!(!shop.folder_of(task).join("tee/out").exists(), "what it put out is gone");
    worker.terminate();
    assert_eq!(worker.ended().await.code(), Some(0));
}

#[tokio::test]
async fn two_workers_cannot_share_a_folder() {
    let (_world, shop, _) = scene(QUICK, &[]).await;
    let mut first = shop.start();
    first.says("is ready").await;
    let second = shop.command().stdout(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(1), "{said}");
    assert!(said.contains("another worker works in"), "{said}");
    first.kill();
    let mut third = shop.start();
    third.says("is ready").await;
}

#[tokio::test]
async fn a_node_that_goes_away_or_talks_nonsense_costs_no_run() {
    let (world, mut shop, order) = scene(SLOW, &[]).await;
    let node = Liar::before(world.node.url(), Tale::Truth).await;
    shop.rpc_url = node.url();
    let task = world.buy(&order).await;
    let mut worker = shop.start();
    while_the_chain_grows(&world, async {
        running(&mut worker, &shop, &order, task).await;
        node.tell(Tale::Busy(10));
        worker.says("cannot ask the chain for tasks").await;
        worker.says(&format!("task {task} ran")).await;
        for tale in [Tale::Truncate, Tale::NullCalls] {
            node.tell(tale);
            let asked = node.asked("eth_call").len();
            eventually("the node is asked for the task", async || {
                (node.asked("eth_call").len() > asked).then_some(())
            })
            .await;
        }
        node.tell(Tale::Truth);
        completed(&world, task).await;
    })
    .await;
    worker.says("the node answers again").await;
    assert_eq!(worker.said().matches(&prepared(task)).count(), 1, "it ran once");
}

/// What a worker needs for its report is no block.
#[tokio::test]
async fn a_node_that_has_no_blocks_takes_a_result_all_the_same() {
    let (world, mut shop, order) = scene(SLOW, &[]).await;
    let node = Liar::before(world.node.url(), Tale::Truth).await;
    shop.rpc_url = node.url();
    let task = world.buy(&order).await;
    let mut worker = shop.start();
    while_the_chain_grows(&world, async {
        running(&mut worker, &shop, &order, task).await;
        node.tell(Tale::NullBlocks);
        worker.says("cannot ask the chain for tasks").await;
        completed(&world, task).await;
    })
    .await;
    assert_eq!(worker.said().matches(&prepared(task)).count(), 1, "it ran once");
}

/// A node that keeps its connections open and says nothing.
#[tokio::test]
async fn a_node_that_hangs_does_not_keep_a_worker_from_stopping() {
    let (world, shop, _) = scene(QUICK, &[]).await;
    let mut worker = shop.start();
    worker.says("is ready").await;
    world.node.pause();
    worker.terminate();
    assert_eq!(worker.ended().await.code(), Some(0), "{}", worker.said());
    world.node.resume();
}

#[tokio::test]
async fn a_service_that_goes_away_is_waited_for() {
    let (mut world, shop, order) = scene(QUICK, &[]).await;
    world.sms.stop().await;
    let task = world.buy(&order).await;
    let mut worker = shop.start();
    worker.says(&format!("task {task} started")).await;
    world.sms.start_again().await;
    while_the_chain_grows(&world, completed(&world, task)).await;
    assert_eq!(worker.said().matches(&prepared(task)).count(), 1, "it ran once");
}

#[tokio::test]
async fn a_result_that_could_not_be_reported_is_reported_by_the_next_worker() {
    let (world, mut shop, order) = scene(QUICK, &[]).await;
    let node = Liar::before(world.node.url(), Tale::Truth).await;
    shop.rpc_url = node.url();
    let task = world.buy(&order).await;
    let mut worker = shop.start();
    let kept = while_the_chain_grows(&world, async {
        worker.says(&prepared(task)).await;
        node.tell(Tale::Busy(10));
        eventually("the result is kept", async || shop.kept(task)).await
    })
    .await;
    worker.kill();
    assert_eq!(status(&world, task).await, TaskStatus::Started);
    node.tell(Tale::Truth);
    let mut worker = shop.start();
    completed(&world, task).await;
    let result = world.requester.chain.result_of(task).await.unwrap().unwrap();
    assert_eq!(result.digest, kept, "it is the result of the first run");
    worker.says("has its result from an earlier run").await;
    assert!(!worker.said().contains(&prepared(task)), "{}", worker.said());

    eventually("what nobody needs any more is removed", async || {
        world.node.mine(20).await;
        shop.kept(task).is_none().then_some(())
    })
    .await;
    assert!(shop.folder_of(task).join("tee/out/result.txt").exists(), "the result's file stays");
}

#[tokio::test]
async fn a_killed_worker_takes_its_tee_along_and_leaves_no_app_behind() {
    let (world, shop, order) = scene(SLOW, &[]).await;
    let task = world.buy(&order).await;
    let mut worker = shop.start();
    while_the_chain_grows(&world, running(&mut worker, &shop, &order, task)).await;
    worker.kill();
    shop.quiet(&order.params).await;
    assert!(shop.folder_of(task).join("app").exists(), "nobody could remove it");
    let mut worker = shop.start();
    worker.says("is ready").await;
    while_the_chain_grows(&world, completed(&world, task)).await;
    worker.says(&format!("task {task} completed")).await;
    assert!(!shop.folder_of(task).join("app").exists());
    shop.quiet(&order.params).await;
}

#[tokio::test]
async fn a_result_that_a_reorg_undid_is_reported_again() {
    let (world, shop, order) = scene(QUICK, &[]).await;
    let task = world.buy(&order).await;
    let mut worker = shop.start();
    while_the_chain_grows(&world, async {
        worker.says(&prepared(task)).await;
        completed(&world, task).await;
        worker.says(&format!("task {task} completed")).await;
    })
    .await;
    let digest = world.requester.chain.result_of(task).await.unwrap().unwrap().digest;
    let mut depth = 0;
    while status(&world, task).await == TaskStatus::Completed {
        depth += 1;
        assert!(depth < 60, "no reorg undoes it");
        world.node.reorg(depth).await;
    }
    assert_eq!(status(&world, task).await, TaskStatus::Started, "after {depth} blocks");
    eventually("it is completed again", async || {
        world.node.mine(20).await;
        (status(&world, task).await == TaskStatus::Completed).then_some(())
    })
    .await;
    let again = world.requester.chain.result_of(task).await.unwrap().unwrap().digest;
    assert_eq!(again, digest, "the same result of the same run");
    worker.says("a reorg undid the result").await;
}

#[tokio::test]
async fn what_a_worker_does_can_be_watched() {
    let (world, shop, order) = scene(QUICK, &["--metrics", "127.0.0.1:0"]).await;
    let shop = shop.with(&["--requester", &world.requester.address().to_string()]);
    let mut worker = shop.start();
    worker.says("metrics at http://").await;
    let said = worker.said();
    let url = said.split("metrics at ").nth(1).unwrap().split_whitespace().next().unwrap();
    let read = async || reqwest::get(url).await.unwrap().text().await.unwrap();
    let lacks = read().await;
    assert!(lacks.contains("sesame_worker_attempts_total 0"), "{lacks}");

    let task = world.buy(&order).await;
    let refused = world.stranger.chain.purchase(&order).await.unwrap().result;
    while_the_chain_grows(&world, completed(&world, task)).await;
    let expected = [
        r#"sesame_worker_tasks_total{outcome="completed",code="none"} 1"#,
        r#"sesame_worker_tasks_total{outcome="failed",code="requester_not_allowed"} 1"#,
        "sesame_worker_attempts_total 1",
        "sesame_worker_running 0",
        "sesame_worker_queued 0",
        r#"sesame_worker_step_seconds_count{step="attested"} 1"#,
        r#"sesame_worker_step_seconds_count{step="ran"} 1"#,
        r#"sesame_worker_step_seconds_count{step="reported"} 1"#,
    ];
    eventually("everything is counted", async || {
        let text = read().await;
        expected.iter().all(|line| text.lines().any(|found| found == *line)).then_some(())
    })
    .await;
    let text = read().await;
    for private in [task.to_string(), refused.to_string(), world.requester.private_key()] {
        assert!(!text.contains(&private[2..]), "{text}");
    }
}

#[tokio::test]
async fn logs_are_lines_of_json_if_they_are_asked_for() {
    let (world, shop, order) = scene(QUICK, &["--log-format", "json"]).await;
    let task = world.buy(&order).await;
    let mut worker = shop.start();
    while_the_chain_grows(&world, completed(&world, task)).await;
    worker.says(&format!("task {task} completed")).await;
    let said = worker.kill();
    let lines = said.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let steps: Vec<_> = lines
        .filter(|line| line["fields"]["task.id"] == task.to_string())
        .filter(|line| line["fields"]["took_ms"].is_number())
        .map(|line| line["fields"]["message"].as_str().unwrap().to_owned())
        .collect();
    let steps: Vec<_> = steps.iter().filter_map(|step| step.rsplit(' ').next()).collect();
    let all = ["fetched", "measured", "started", "attested", "released", "prepared", "ran"];
    assert_eq!(steps, all);
    assert!(!said.contains(&world.worker.private_key()[2..]), "no key is logged");
}

#[tokio::test]
async fn a_stuck_transaction_is_sent_again_with_higher_fees() {
    let world = World::start().await;
    let chain = impatient(&world).await;
    let task = stuck_task(&world).await;
    let (started, fees) = tokio::join!(chain.start(task), async {
        let first = eventually("it waits", async || fee_of(&world).await).await;
        let higher =
            eventually("it offers more", async || fee_of(&world).await.filter(|fee| *fee > first));
        let higher = higher.await;
        world.node.mine(1).await;
        (first, higher)
    });
    started.unwrap();
    assert!(fees.1 >= fees.0 + fees.0 / 10, "{fees:?}");
    assert_eq!(status(&world, task).await, TaskStatus::Started);
}

#[tokio::test]
async fn a_dropped_transaction_is_sent_again() {
    let world = World::start().await;
    // Long enough to see that the node forgot it before it is sent again.
    let chain = impatient(&world).await.with_patience(Duration::from_secs(3));
    let task = stuck_task(&world).await;
    let (started, ()) = tokio::join!(chain.start(task), async {
        eventually("it waits", async || fee_of(&world).await).await;
        let _: Value = world.node.call("anvil_dropAllTransactions", [(); 0]).await;
        assert_eq!(fee_of(&world).await, None, "the node forgot it");
        eventually("it waits again", async || fee_of(&world).await).await;
        world.node.mine(1).await;
    });
    started.unwrap();
    assert_eq!(status(&world, task).await, TaskStatus::Started);
}

/// What was given up does not keep later transactions out of the blocks.
#[tokio::test]
async fn a_transaction_that_was_given_up_leaves_its_place_to_the_next() {
    let world = World::start().await;
    let chain = impatient(&world).await;
    let chain = chain.with_patience(Duration::from_secs(60)).with_timeout(Duration::from_secs(1));
    let (task, other) = (stuck_task(&world).await, stuck_task(&world).await);
    let given_up = chain.start(task).await.unwrap_err();
    assert!(given_up.to_string().contains("not in a block"), "{given_up}");
    let first = fee_of(&world).await.unwrap();
    let again = chain.clone().with_timeout(Duration::from_secs(30));
    let (started, waits) = tokio::join!(again.start(other), async {
        let higher = eventually("it takes the place", async || {
            fee_of(&world).await.filter(|fee| *fee > first)
        });
        higher.await;
        let waits = waiting(&world).await;
        world.node.mine(1).await;
        waits
    });
    started.unwrap();
    assert_eq!(waits.len(), 1, "one place, one transaction");
    assert_eq!(status(&world, other).await, TaskStatus::Started);
    assert_eq!(status(&world, task).await, TaskStatus::Purchased);
}

/// Eight at a time from one account: none takes another's place.
#[tokio::test]
async fn transactions_of_one_account_do_not_collide() {
    let world = World::start().await;
    let (app, build) = (world.app(&world.developer).await, sesame_tests::Build::of("any"));
    world.allow(&world.developer, app, build).await;
    let order = world.order(app, build);
    let mut tasks = Vec::new();
    for _ in 0..16 {
        tasks.push(world.buy(&order).await);
    }
    let started =
        futures::future::join_all(tasks.iter().map(|task| world.worker.chain.start(*task)));
    for started in started.await {
        started.unwrap();
    }
}

/// The worker's transactions, which are sent again soon.
async fn impatient(world: &World) -> Contracts {
    world.worker.chain.clone().with_patience(Duration::from_millis(300))
}

/// A task of any app, and a chain that takes nothing into its blocks by itself from then on.
async fn stuck_task(world: &World) -> TaskId {
    let _: Value = world.node.call("evm_setAutomine", (true,)).await;
    let (app, build) = (world.app(&world.developer).await, sesame_tests::Build::of("any"));
    world.allow(&world.developer, app, build).await;
    let task = world.buy(&world.order(app, build)).await;
    let _: Value = world.node.call("evm_setAutomine", (false,)).await;
    task
}

/// The worker's transactions that are in no block.
async fn waiting(world: &World) -> Vec<Value> {
    let pool: Value = world.node.call("txpool_content", [(); 0]).await;
    let worker = world.worker.address().to_string().to_lowercase();
    let own = |(account, all): (&String, &Value)| {
        let all = all.as_object().unwrap().values().cloned().collect::<Vec<_>>();
        (account.to_lowercase() == worker).then_some(all)
    };
    pool["pending"].as_object().unwrap().iter().filter_map(own).flatten().collect()
}

/// What the first of them offers.
async fn fee_of(world: &World) -> Option<u128> {
    let fee = waiting(world).await.first()?["maxFeePerGas"].as_str()?.to_owned();
    u128::from_str_radix(fee.trim_start_matches("0x"), 16).ok()
}
