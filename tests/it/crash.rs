//! `kill -9` at random moments, while the chain moves and forks: what is left is the chain up to some block, and goes on.

use std::{
    fmt, fs,
    path::Path,
    thread::{self, JoinHandle},
    time::Duration,
};

use rand::Rng;
use sesame_tests::{Launch, Program, Truth, eventually, seeded};
use sesame_view::View;
use tempfile::TempDir;

use crate::replay::{History, all};

const KILLS: usize = 20;
const ALL_KILLS: usize = 300;
/// Blocks of empty chain between the events of the history that is there to begin with.
const STRETCH: u64 = 300;
/// A program this far behind reads ranges.
const FAR: u64 = 32;

/// Where a kill found the index.
#[derive(Debug, Default)]
struct Found {
    empty: usize,
    far_behind: usize,
    near: usize,
    on_a_lost_fork: usize,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { empty, far_behind, near, on_a_lost_fork } = self;
        write!(
            f,
            "killed before the first block {empty} times, far behind {far_behind} times, near the head {near} times, \
             on a fork that had lost {on_a_lost_fork} times"
        )
    }
}

#[tokio::test]
async fn killed_at_any_moment_the_index_is_a_prefix_of_the_truth_and_goes_on() {
    let mut random = seeded();
    let mut history = History::new(&mut random).await;
    let folder = TempDir::new().unwrap();
    let mut truth = Truth::at(&folder.path().join("truth"), &history.deployment);
    for _ in 0..6 {
        history.act(10).await;
        history.pass(STRETCH).await;
    }
    let (data, deployment) = (folder.path().join("data"), history.deployment.clone());
    let origin = Truth::origin(&deployment);
    let launch = Launch {
        rpc_url: history.node.url(),
        deployment: &deployment,
        folder: &data,
        listen: "127.0.0.1:0",
        confirmations: Truth::CONFIRMATIONS,
        root: None,
    };
    let mut found = Found::default();
    for _ in 0..if all() { ALL_KILLS } else { KILLS } {
        match history.random.random_range(0..3) {
            0 => in_backfill(&mut history, &launch).await,
            1 => in_following(&mut history, &launch).await,
            _ => in_unwinding(&mut history, &launch, &mut truth).await,
        }
        truth.follow(&history.node).await;
        // Of a copy: what it takes to open it again is the program's own task.
        let left = copied(&data.join("index"));
        let index = View::open(left.path(), &origin).unwrap();
        check(&truth, &index, &mut found, history.random.random_range(0..100));
    }
    eprintln!("{found}");
    // A few kills may all come late, on a machine that is fast that day; of many, some do not.
    assert!(!all() || (found.far_behind > 0 && found.near > 0), "the kills missed: {found}");

    let program = Program::start(&launch);
    program.ready().await;
    let head = history.node.head().await;
    eventually("it has the chain's head", async || {
        (program.status().await.head?.hash == head.hash).then_some(())
    })
    .await;
    program.kill();
    truth.follow(&history.node).await;
    truth.agrees(&View::open(&data.join("index"), &origin).unwrap());
}

/// Killed while it reads history; from the first block on unless enough of it is new.
async fn in_backfill(history: &mut History<'_>, launch: &Launch<'_>) {
    if history.random.random() {
        history.act(5).await;
        history.pass(STRETCH).await;
        history.act(5).await;
        history.pass(2 * FAR).await;
    } else if launch.folder.join("index").exists() {
        fs::remove_dir_all(launch.folder.join("index")).unwrap();
    }
    let program = Program::start(launch);
    // Early more often than late: a fast machine has read all of it in some fifty milliseconds.
    let latest = 1 << history.random.random_range(0..8);
    let killed = kill_after(program, history.random.random_range(0..latest));
    killed.join().unwrap();
}

/// Killed while it follows a chain that moves.
async fn in_following(history: &mut History<'_>, launch: &Launch<'_>) {
    let program = Program::start(launch);
    let killed = kill_after(program, history.random.random_range(50..600));
    while !killed.is_finished() {
        history.act(2).await;
    }
    killed.join().unwrap();
}

/// Killed about when it notices that the newest blocks are others.
async fn in_unwinding(history: &mut History<'_>, launch: &Launch<'_>, truth: &mut Truth) {
    let depth = history.random.random_range(1..Truth::CONFIRMATIONS);
    history.act(6).await;
    let program = Program::start(launch);
    let head = history.node.head().await;
    eventually("it follows", async || {
        (program.status().await.head?.hash == head.hash).then_some(())
    })
    .await;
    truth.remember(&history.node, depth).await;
    let killed = kill_after(program, history.random.random_range(0..120));
    history.reorg(depth).await;
    history.act(2).await;
    killed.join().unwrap();
}

/// From a thread of its own, so that it comes at any moment of what goes on here.
fn kill_after(program: Program, millis: u64) -> JoinHandle<()> {
    thread::spawn(move || {
        thread::sleep(Duration::from_millis(millis));
        program.kill();
    })
}

fn copied(from: &Path) -> TempDir {
    let to = TempDir::new().unwrap();
    // Before it made its folder, there is nothing.
    for file in fs::read_dir(from).into_iter().flatten().map(Result::unwrap) {
        fs::copy(file.path(), to.path().join(file.file_name())).unwrap();
    }
    to
}

/// What the killed program left says at its head, and at a block before (`percent` of the way), what these blocks say.
fn check(truth: &Truth, index: &View, found: &mut Found, percent: u64) {
    let Some(cursor) = index.cursor().unwrap() else {
        found.empty += 1;
        return;
    };
    let chain = truth.view.cursor().unwrap().unwrap().head;
    let (number, confirmed) = (cursor.head.number, cursor.confirmed.number);
    if truth.view.header(number).unwrap() != Some(cursor.head) {
        found.on_a_lost_fork += 1;
    } else if number + FAR < chain.number {
        found.far_behind += 1;
    } else {
        found.near += 1;
    }
    let before = (0..=number * percent / 100).rev();
    let before = before.take_while(|number| index.header(*number).unwrap().is_some()).next();
    for number in [number, confirmed].into_iter().chain(before) {
        truth.agrees_at(index, number);
    }
}
