//! From the moment that a node falls silent to the first refusal of a real service, over HTTP.

use std::time::{Duration, Instant};

use sesame_domain::TaskId;
use sesame_tests::{Options, World};

use crate::figures::{Figures, Samples};

pub(crate) const NAMES: &[&str] =
    &["fail_closed_ms", "fail_closed_bound_ms", "fail_closed_vs_bound"];

/// What the operator allows; it is published in `/v1/status`, and read from there.
const MAX_LAG: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(2);

pub(crate) async fn measure(figures: &Figures) -> anyhow::Result<()> {
    let world = World::with(Options { max_lag: MAX_LAG, ..Options::default() }).await;
    let explain = format!("v1/tasks/{}/explain", TaskId::default());
    let rounds = if figures.quick { 3 } else { 10 };
    let mut samples = Vec::new();
    for _ in 0..rounds {
        world.sms.ready().await;
        world.sms.get(&explain).await.is_ok();
        world.node.pause();
        let start = Instant::now();
        while world.sms.get(&explain).await.header("sesame-problem") != Some("index_stale") {
            anyhow::ensure!(start.elapsed() < 5 * MAX_LAG, "the service still answers");
            tokio::time::sleep(PAUSE).await;
        }
        samples.push(start.elapsed());
        world.node.resume();
    }
    let bound = world.sms.status().await.silence_bound_seconds as f64 * 1e3;
    let worst = Samples::new(samples).worst() / 1e3;
    figures.print("fail_closed_ms", worst, "ms");
    figures.print("fail_closed_bound_ms", bound, "ms");
    figures.print("fail_closed_vs_bound", worst / bound, "ratio");
    Ok(())
}
