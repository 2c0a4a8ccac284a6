//! A new index built from a chain with 200,000 events, by a process of its own, so that memory and CPU are the backfill's alone.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use sesame_chain::Deployment;
use sesame_domain::Registry;
use sesame_indexer::Backfill;
use tempfile::TempDir;

use crate::{
    events::Events,
    figures::Figures,
    floor,
    follower::{Follower, How},
};

pub(crate) const NAMES: &[&str] = &[
    "backfill_s",
    "backfill_events_per_s",
    "backfill_cpu_s",
    "backfill_rss_mb",
    "backfill_floor_s",
    "backfill_vs_floor",
    "backfill_verified_s",
    "backfill_verified_events_per_s",
    "backfill_verified_cpu_s",
    "backfill_verified_rss_mb",
    "backfill_verified_vs_floor",
    "backfill_4x_rss_mb",
    "backfill_4x_rss_vs_1x",
];

/// Those that take a chain of their own.
const LONGER: &[&str] = &["backfill_4x_rss_mb", "backfill_4x_rss_vs_1x"];

/// The first argument of a process that does one backfill.
pub(crate) const CHILD: &str = "--one-backfill";

const EVENTS: usize = 200_000;
const ROUNDS: usize = 5;

/// What Linux counts CPU time in for programs, whatever the kernel's own clock.
const TICKS_PER_SECOND: u64 = 100;

/// What one process does.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Errand {
    /// Builds an index, proven by the journals.
    Journals,
    /// Builds an index from receipts alone.
    Receipts,
    /// Fetches the logs and decodes them.
    Floor,
}

/// What a process is told.
#[derive(Debug, Serialize, Deserialize)]
struct Order {
    errand: Errand,
    url: String,
    deployment: Deployment,
}

/// What a process did.
#[derive(Debug, Serialize, Deserialize)]
struct Account {
    seconds: f64,
    cpu_seconds: f64,
    peak_mib: f64,
    events: u64,
}

pub(crate) async fn measure(figures: &Figures) -> anyhow::Result<()> {
    eprintln!("writing {EVENTS} events to a chain …");
    let events = Events::emit(EVENTS).await?;
    eprintln!("mirroring them {ROUNDS} times each way …");
    let (floor, journals, receipts) = (
        best(&events, &Errand::Floor)?,
        best(&events, &Errand::Journals)?,
        best(&events, &Errand::Receipts)?,
    );
    anyhow::ensure!(floor.events == EVENTS as u64, "{} events came", floor.events);
    figures.print("backfill_floor_s", floor.seconds, "s");
    let usual_mib = journals.peak_mib;
    for (how, account) in [("backfill", journals), ("backfill_verified", receipts)] {
        anyhow::ensure!(account.events == EVENTS as u64, "{} events mirrored", account.events);
        let print = |what: &str, value, unit| figures.print(&format!("{how}_{what}"), value, unit);
        print("s", account.seconds, "s");
        print("events_per_s", account.events as f64 / account.seconds, "events/s");
        print("cpu_s", account.cpu_seconds, "s");
        print("rss_mb", account.peak_mib, "MiB");
        print("vs_floor", account.seconds / floor.seconds, "ratio");
    }
    if !figures.want(LONGER) {
        return Ok(());
    }
    drop(events);
    eprintln!("writing {} events to another chain …", 4 * EVENTS);
    let longer = run(&Events::emit(4 * EVENTS).await?, &Errand::Journals)?;
    anyhow::ensure!(longer.events == 4 * EVENTS as u64, "{} events mirrored", longer.events);
    figures.print("backfill_4x_rss_mb", longer.peak_mib, "MiB");
    figures.print("backfill_4x_rss_vs_1x", longer.peak_mib / usual_mib, "ratio");
    Ok(())
}

/// The fastest of several.
fn best(events: &Events, errand: &Errand) -> anyhow::Result<Account> {
    let accounts = (0..ROUNDS).map(|_| run(events, errand)).collect::<anyhow::Result<Vec<_>>>()?;
    let fastest = accounts.into_iter().min_by(|a, b| a.seconds.total_cmp(&b.seconds));
    fastest.context("there is at least one round")
}

fn run(events: &Events, errand: &Errand) -> anyhow::Result<Account> {
    let (url, deployment) = (events.node.url(), events.deployment.clone());
    let order = serde_json::to_string(&Order { errand: errand.clone(), url, deployment })?;
    let output = Command::new(std::env::current_exe()?)
        .args([CHILD, &order])
        .stderr(Stdio::inherit())
        .output()?;
    anyhow::ensure!(output.status.success(), "{errand:?}: {}", output.status);
    let account = serde_json::from_slice(&output.stdout)?;
    eprintln!("  {errand:?}: {account:?}");
    Ok(account)
}

/// Does what the order says, and prints the account.
#[expect(clippy::print_stdout, reason = "the account is this process's output")]
pub(crate) async fn child(order: &str) -> anyhow::Result<()> {
    let order: Order = serde_json::from_str(order)?;
    let folder = TempDir::new()?;
    let start = Instant::now();
    let events = match order.errand {
        Errand::Floor => floor::fetch(&order.url, &order.deployment).await?,
        Errand::Journals => mirror(&order, Backfill::Logs, folder.path()).await?,
        Errand::Receipts => mirror(&order, Backfill::Receipts, folder.path()).await?,
    };
    let seconds = start.elapsed().as_secs_f64();
    let (cpu_seconds, peak_mib) = (cpu()?.as_secs_f64(), peak_mib()?);
    let account = Account { seconds, cpu_seconds, peak_mib, events };
    println!("{}", serde_json::to_string(&account)?);
    Ok(())
}

/// Until the mirror is first believed, its journals proven.
async fn mirror(order: &Order, backfill: Backfill, folder: &Path) -> anyhow::Result<u64> {
    let poll = Duration::from_millis(500);
    let how = How { url: order.url.clone(), poll, backfill, heads: Vec::new() };
    let mut follower = Follower::start(folder, &order.deployment, how).await?;
    follower.ready().await?;
    let snapshot = follower.view.snapshot()?.context("it mirrored blocks")?;
    Ok(snapshot.journal(Registry::Whitelist)?.sequence())
}

/// User and system time of this process, by Linux's account.
fn cpu() -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(") ").context("the name stands in brackets")?;
    let ticks: u64 = fields.split(' ').skip(11).take(2).flat_map(str::parse::<u64>).sum();
    Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

/// The most memory that this process ever had resident, by Linux's account.
fn peak_mib() -> anyhow::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).context("there is a peak")?;
    Ok(kib.parse::<f64>()? / 1024.0)
}
