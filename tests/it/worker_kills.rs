//! `kill -9` of a worker at random moments: every task ends exactly once.
//!
//! What can be promised: the chain takes one result of a task, ever. A run that is killed before its result is on the disk
//! leaves nothing that could be reported, and the task is run again. Once a result is on the disk, that one is reported and the
//! task is not run again. The app's result is another each time it runs, so each of these shows.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use alloy::{primitives::B256, sol_types::SolEvent};
use rand::Rng;
use serde_json::{Value, json};
use sesame_chain::abi::tasks::ITaskRegistry::{TaskCompleted, TaskStarted};
use sesame_domain::{Order, TaskId};
use sesame_tests::{Workshop, World, eventually, seeded};
use tokio::time::sleep;

use crate::{replay::all, worker::while_the_chain_grows};

/// Tasks and kills.
const SOME: (usize, usize) = (24, 4);
const ALL: (usize, usize) = (200, 20);
/// How many run at a time.
const PARALLEL: &str = "8";

const APP: &str =
    "#!/bin/sh\nsleep 0.5\nod -An -N16 -tx1 /dev/urandom >\"$IEXEC_OUT/result.txt\"\n";

/// What was seen of the runs.
#[derive(Debug, Default)]
struct Runs {
    /// TEEs that were launched, by task.
    launched: BTreeMap<TaskId, usize>,
    /// Apps that began in them.
    apps: usize,
    /// Results found on the disk after a kill.
    kept: BTreeMap<TaskId, B256>,
    reported_later: usize,
    kills_amid: usize,
}

impl Runs {
    /// Takes in what a worker said before it ended.
    fn heard(&mut self, tasks: &[TaskId], said: &str) {
        for task in tasks {
            let launched = said.matches(&format!("task {task} measured")).count();
            assert!(
                launched == 0 || !self.kept.contains_key(task),
                "task {task} had a result and was run again: {said}"
            );
            *self.launched.entry(*task).or_default() += launched;
            self.apps += said.matches(&format!("task {task} prepared")).count();
        }
        self.reported_later += said.matches("has its result from an earlier run").count();
    }

    /// A result that is on the disk once is never another.
    fn found(&mut self, shop: &Workshop, tasks: &[TaskId]) {
        for task in tasks {
            if let Some(digest) = shop.kept(*task) {
                let before = *self.kept.entry(*task).or_insert(digest);
                assert_eq!(before, digest, "task {task} had another result");
            }
        }
    }
}

#[tokio::test]
async fn killed_at_any_moment_every_task_ends_exactly_once() {
    let mut random = seeded();
    let (count, kills) = if all() { ALL } else { SOME };
    let world = World::start().await;
    let shop = Workshop::new(&world).with(&["--parallel", PARALLEL]);
    let app = shop.app(&world, APP).await;
    world.confirmed().await;
    let word = format!("run-{:032x}", random.random::<u128>());
    let order = Order {
        params: word.clone(),
        deadline: sesame_tests::now() + 3600,
        ..Workshop::order(&world, app)
    };
    let mut tasks = Vec::new();
    for _ in 0..count {
        tasks.push(world.buy(&order).await);
    }

    let mut runs = Runs::default();
    while_the_chain_grows(&world, async {
        for kill in 0..kills {
            let left = count - ends(&world, TaskCompleted::SIGNATURE_HASH).await.len();
            let mut worker = shop.start();
            worker.says("is ready").await;
            // Every other one while apps run, if there are enough of them.
            let moment = if kill % 2 == 0 && left > 8 {
                worker.says(" prepared").await;
                random.random_range(0..800)
            } else {
                random.random_range(100..2500)
            };
            sleep(Duration::from_millis(moment)).await;
            runs.kills_amid += usize::from(!shop.processes(&word).is_empty());
            runs.heard(&tasks, &worker.kill());
            runs.found(&shop, &tasks);
        }
        let worker = shop.start();
        let mut done = 0;
        while done < count {
            done = eventually("one more task ends", async || {
                let now = ends(&world, TaskCompleted::SIGNATURE_HASH).await.len();
                (now > done).then_some(now)
            })
            .await;
        }
        shop.quiet(&word).await;
        worker.terminate();
        let mut worker = worker;
        assert_eq!(worker.ended().await.code(), Some(0), "{}", worker.said());
        runs.heard(&tasks, &worker.said());
    })
    .await;
    check(&world, &shop, &tasks, &runs).await;
    let launched: usize = runs.launched.values().sum();
    eprintln!(
        "{count} tasks, {kills} kills ({} while something ran): {launched} runs started, {} of them with their app; {} runs \
         interrupted, {} results kept over a kill and reported by a later worker; {count} results reported, each task's once",
        runs.kills_amid,
        runs.apps,
        launched - count,
        runs.reported_later,
    );
}

/// Every task is started once and completed once, with the result of a run that nobody interrupted.
async fn check(world: &World, shop: &Workshop, tasks: &[TaskId], runs: &Runs) {
    for event in [TaskStarted::SIGNATURE_HASH, TaskCompleted::SIGNATURE_HASH] {
        let ended = ends(world, event).await;
        assert_eq!(ended.keys().copied().collect::<BTreeSet<_>>(), tasks.iter().copied().collect());
        assert!(ended.values().all(|times| *times == 1), "{ended:?}");
    }
    for task in tasks {
        let result = world.requester.chain.result_of(*task).await.unwrap().unwrap();
        if let Some(kept) = runs.kept.get(task) {
            assert_eq!(result.digest, *kept, "a result that was kept is the one that is reported");
        }
        assert!(runs.launched[task] >= 1, "it ran");
        let folder = shop.folder_of(*task);
        assert!(folder.join("tee/out/result.txt").exists(), "and its result is there");
        assert!(!folder.join("app").exists(), "nothing else is");
    }
}

/// How often there is such an event of each task.
async fn ends(world: &World, event: B256) -> BTreeMap<TaskId, usize> {
    let filter = json!({
        "address": world.deployment.task_registry,
        "fromBlock": "0x0",
        "topics": [event],
    });
    let logs: Vec<Value> = world.node.call("eth_getLogs", (filter,)).await;
    let mut ends = BTreeMap::new();
    for log in logs {
        *ends.entry(log["topics"][1].as_str().unwrap().parse().unwrap()).or_default() += 1;
    }
    ends
}
