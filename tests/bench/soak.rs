//! An ordinary day, a long one, and a bad one: how much the service answers at most, how fast at 80 % of that, what it holds
//! after minutes of it, and what it does when three times as much is asked.
//!
//! The service is a program of its own, its data and its log where temporary files are; the chain makes a block a second. The
//! service has one half of the processors and its clients the other, as if they were on machines of their own: who asks too much
//! does not take from it what it answers with.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use sesame_tests::{World, eventually};
use tokio::{
    runtime::Handle,
    sync::oneshot,
    time::{MissedTickBehavior, interval},
};

use crate::{
    figures::{Figures, Samples},
    mix::Mix,
    pace::{Pace, Tally, drive},
    rcar,
    secrets::status_mb_of,
};

pub(crate) const NAMES: &[&str] = &[
    "mix_rps_1",
    "mix_p50_us_1",
    "mix_p99_us_1",
    "mix_rps_64",
    "mix_p50_us_64",
    "mix_p99_us_64",
    "mix_rps_512",
    "mix_p50_us_512",
    "mix_p99_us_512",
    "mix_saturation_rps",
    "mix_80_rps",
    "mix_80_p50_us",
    "mix_80_p99_us",
    "mix_80_p999_us",
    "mix_80_shed",
    "mix_80_failed",
    "mix_80_unsent",
    "soak_min",
    "soak_rss_start_mb",
    "soak_rss_middle_mb",
    "soak_rss_end_mb",
    "soak_fds_start",
    "soak_fds_middle",
    "soak_fds_end",
    "overload_offered_rps",
    "overload_sent_rps",
    "overload_granted_rps",
    "overload_shed_share",
    "overload_failed",
    "overload_p50_us",
    "overload_p99_us",
    "overload_p99_vs_80",
    "overload_recovery_ms",
    "overload_rss_mb",
];

const CLIENTS: [usize; 3] = [1, 64, 512];
/// Connections of an ordinary day, and of a bad one.
const ORDINARY: usize = 64;
const MANY: usize = 512;

/// How long it is asked without pause, and too much.
const BURST: Duration = Duration::from_secs(10);
/// What one look at the time to recover takes, and how long that may take.
const LOOK: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(60);

/// How long until another enclave asks: well before its session ends.
const SESSION: Duration = Duration::from_secs(120);

pub(crate) async fn measure(figures: &Figures) -> anyhow::Result<()> {
    let (mut world, scene) = rcar::set().await?;
    let service = Service::in_place_of(&mut world).await?;
    let mix = Mix::new(&world, &scene).await?;
    let outside = async {
        let (mut block, mut session) = (interval(Duration::from_secs(1)), interval(SESSION));
        block.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = block.tick() => world.node.mine(1).await,
                _ = session.tick() => mix.attest_anew(&world, &scene).await,
            }
        }
    };
    let runtime = Handle::current();
    tokio::task::block_in_place(|| {
        std::thread::scope(|scope| {
            let (end, ended) = oneshot::channel();
            scope.spawn(|| end.send(run(figures, &mix, &service)));
            runtime.block_on(async {
                tokio::select! {
                    () = outside => anyhow::bail!("the chain ended"),
                    result = ended => result.context("the load died")?,
                }
            })
        })
    })
}

fn run(figures: &Figures, mix: &Mix, service: &Service) -> anyhow::Result<()> {
    sched_setaffinity(None, &halves()?.clients)?;
    let address = mix.address;
    let ask = |connections, pace, time| {
        let tally = drive(address, mix, connections, pace, time)?;
        if let Some(complaint) = &tally.complaint {
            eprintln!("{} failed, the first by {complaint}", tally.failed);
        }
        anyhow::Ok(tally)
    };
    ask(ORDINARY, Pace::Answered, BURST / 5)?;
    let saturation = saturation(figures, ask)?;
    let arriving = Pace::Arriving(saturation * 0.8);
    let ordinary = soak(figures, service, |time| ask(ORDINARY, arriving, time))?;

    let bad = ask(MANY, Pace::Arriving(saturation * 3.0), BURST)?;
    let since = Instant::now();
    let recovery = loop {
        let (begun, look) = (since.elapsed(), ask(ORDINARY, arriving, LOOK)?);
        if Samples::new(look.granted).p99() <= 2.0 * ordinary || begun > PATIENCE {
            break begun;
        }
    };
    let offered = bad.sent() + bad.unsent;
    figures.print("overload_offered_rps", bad.per_s(offered), "1/s");
    figures.print("overload_sent_rps", bad.per_s(bad.sent()), "1/s");
    figures.print("overload_granted_rps", bad.per_s(bad.granted.len()), "1/s");
    figures.print("overload_shed_share", bad.shed as f64 / bad.sent() as f64, "ratio");
    figures.print("overload_failed", bad.failed as f64, "answers");
    let granted = Samples::new(bad.granted);
    let slow = granted.p99();
    figures.print("overload_p50_us", granted.p50(), "us");
    figures.print("overload_p99_us", slow, "us");
    figures.print("overload_p99_vs_80", slow / ordinary, "ratio");
    figures.print("overload_recovery_ms", recovery.as_secs_f64() * 1e3, "ms");
    figures.print("overload_rss_mb", service.rss_mb()?, "MB");
    Ok(())
}

/// The highest rate of answers that any number of clients gets, each asking again when it was answered.
fn saturation(
    figures: &Figures,
    ask: impl Fn(usize, Pace, Duration) -> anyhow::Result<Tally>,
) -> anyhow::Result<f64> {
    let mut highest = 0.0_f64;
    for clients in CLIENTS {
        let tally = ask(clients, Pace::Answered, BURST / 2)?;
        let rate = tally.per_s(tally.granted.len());
        let samples = Samples::new(tally.granted);
        figures.print(&format!("mix_rps_{clients}"), rate, "1/s");
        figures.print(&format!("mix_p50_us_{clients}"), samples.p50(), "us");
        figures.print(&format!("mix_p99_us_{clients}"), samples.p99(), "us");
        highest = highest.max(rate);
    }
    figures.print("mix_saturation_rps", highest, "1/s");
    Ok(highest)
}

/// Minutes of an ordinary day. Gives its 99th percentile, microseconds.
fn soak(
    figures: &Figures,
    service: &Service,
    ask: impl Fn(Duration) -> anyhow::Result<Tally>,
) -> anyhow::Result<f64> {
    let half = Duration::from_secs(figures.minutes * 30);
    let look = |when: &str| {
        figures.print(&format!("soak_rss_{when}_mb"), service.rss_mb()?, "MB");
        figures.print(&format!("soak_fds_{when}"), service.descriptors()?, "open");
        anyhow::Ok(())
    };
    look("start")?;
    let first = ask(half)?;
    look("middle")?;
    let day = first.then(ask(half)?);
    look("end")?;
    figures.print("soak_min", figures.minutes as f64, "min");
    figures.print("mix_80_rps", day.per_s(day.granted.len()), "1/s");
    figures.print("mix_80_shed", day.shed as f64, "answers");
    figures.print("mix_80_failed", day.failed as f64, "answers");
    figures.print("mix_80_unsent", day.unsent as f64, "requests");
    let samples = Samples::new(day.granted);
    figures.print("mix_80_p50_us", samples.p50(), "us");
    figures.print("mix_80_p99_us", samples.p99(), "us");
    figures.print("mix_80_p999_us", samples.p999(), "us");
    Ok(samples.p99())
}

/// `sesame serve` of this build. Killed when dropped.
struct Service {
    child: Child,
}

impl Service {
    /// At the address and on the data of the world's own service, which is stopped.
    async fn in_place_of(world: &mut World) -> anyhow::Result<Self> {
        world.sms.stop().await;
        let manifest = world.folder().join("deployment.json");
        fs::write(&manifest, serde_json::to_vec(&world.deployment)?)?;
        let unlimited = u32::MAX.to_string();
        let halves = halves()?;
        // A child has the processors of the thread that starts it.
        sched_setaffinity(None, &halves.service)?;
        let child = Command::new(program()?)
            .args(["serve", "--confirmations", "2", "--rpc-url", &world.node.url()])
            .args(["--listen", world.sms.base().trim_start_matches("http://")])
            .args(["--rate-limit", &unlimited, "--rate-burst", &unlimited])
            .arg("--deployment")
            .arg(&manifest)
            .arg("--data-dir")
            .arg(&world.sms.config.data_dir)
            .arg("--insecure-trust-simulated-root")
            .arg(world.published())
            .stdin(Stdio::null())
            .stderr(File::create(world.folder().join("service.log"))?)
            .spawn();
        sched_setaffinity(None, &halves.all)?;
        let service = Self { child: child? };
        let public = world.sms.public();
        eventually("the program answers", async || public.status().await.ok()).await;
        world.node.mine(2).await;
        world.sms.ready().await;
        Ok(service)
    }

    fn proc(&self) -> PathBuf {
        Path::new("/proc").join(self.child.id().to_string())
    }

    /// What is resident of it, in MiB.
    fn rss_mb(&self) -> anyhow::Result<f64> {
        status_mb_of(&self.proc(), "VmRSS:")
    }

    /// How many descriptors it has open; only its user, or root, may look.
    fn descriptors(&self) -> anyhow::Result<f64> {
        Ok(fs::read_dir(self.proc().join("fd"))?.count() as f64)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Who has which processors.
struct Halves {
    all: CpuSet,
    service: CpuSet,
    clients: CpuSet,
}

/// Of those that this process has; with one alone, all share it.
fn halves() -> anyhow::Result<Halves> {
    let all = sched_getaffinity(None)?;
    let own: Vec<_> = (0..CpuSet::MAX_CPU).filter(|cpu| all.is_set(*cpu)).collect();
    let (service, clients) = own.split_at(own.len() / 2);
    let [service, clients] = [service, clients].map(|half| {
        let half = if half.is_empty() { clients } else { half };
        half.iter().fold(CpuSet::new(), |mut set, cpu| {
            set.set(*cpu);
            set
        })
    });
    Ok(Halves { all, service, clients })
}

/// Beside this program.
fn program() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name("sesame");
    anyhow::ensure!(program.exists(), "there is no {}: build it first", program.display());
    Ok(program)
}
