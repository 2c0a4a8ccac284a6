//! The decision at one million and at ten million authorizations.

use std::path::Path;

use crate::{
    actors::Actors,
    decision::{self, Place},
    eth_call,
    figures::Figures,
    ground::Ground,
    restart, synthetic,
    synthetic::Size,
};

pub(crate) const NAMES_1M: &[&str] = &[
    "decision_p50_us_1m",
    "decision_p99_us_1m",
    "decisions_per_s_1m",
    "decisions_per_s_1m_2t",
    "decision_cold_p50_us_1m",
    "decision_cold_p99_us_1m",
    "seeks_p50_us_1m",
    "decision_p50_vs_seeks",
    "eth_call_x5_p50_us",
    "decision_p50_vs_eth_call",
];

pub(crate) const NAMES_10M: &[&str] = &[
    "decision_p50_us_10m",
    "decision_p99_us_10m",
    "decisions_per_s_10m",
    "decisions_per_s_10m_2t",
    "seeks_p50_us_10m",
    "decision_p50_vs_seeks_10m",
    "decision_cold_p50_us_10m",
    "decision_cold_p99_us_10m",
];

/// How many decisions are timed cold: few enough that hardly any two read the same bytes.
const COLD: usize = 1_000;

pub(crate) async fn one_million(figures: &Figures, root: &Path) -> anyhow::Result<()> {
    let tasks = if figures.quick { 100_000 } else { 1_000_000 };
    let size = Size { enclaves: 100, tasks };
    let actors = Actors::new(size.enclaves)?;
    let (place, ground) = build(root, "1m", size, &actors).await?;
    drop(ground);
    let questions = if figures.quick { 20_000 } else { 100_000 };
    let p50 = warm(figures, &place, &actors, questions, "1m")?;
    let unasked = decision::questions(size, &actors, COLD, 2)?;
    let cold = decision::cold(&place, &actors, &unasked)?;
    figures.print("decision_cold_p50_us_1m", cold.p50(), "us");
    figures.print("decision_cold_p99_us_1m", cold.p99(), "us");
    eprintln!("asking a node instead …");
    let calls = eth_call::five_calls(if figures.quick { 500 } else { 5_000 }).await?;
    figures.print("eth_call_x5_p50_us", calls.p50(), "us");
    figures.print("decision_p50_vs_eth_call", calls.p50() / p50, "ratio");
    Ok(())
}

pub(crate) async fn ten_million(figures: &Figures, root: &Path) -> anyhow::Result<()> {
    let size = Size { enclaves: 1_000, tasks: 1_000_000 };
    let actors = Actors::new(size.enclaves)?;
    let (place, ground) = build(root, "10m", size, &actors).await?;
    if figures.want(NAMES_10M) {
        warm(figures, &place, &actors, 100_000, "10m")?;
        let questions = decision::questions(size, &actors, COLD, 2)?;
        let cold = decision::cold(&place, &actors, &questions)?;
        figures.print("decision_cold_p50_us_10m", cold.p50(), "us");
        figures.print("decision_cold_p99_us_10m", cold.p99(), "us");
    }
    if figures.want(restart::NAMES) {
        restart::measure(figures, &ground, &place).await?;
    }
    Ok(())
}

/// Writes an index of this size and the chain under it.
async fn build(
    root: &Path,
    name: &str,
    size: Size,
    actors: &Actors,
) -> anyhow::Result<(Place, Ground)> {
    let authorizations = synthetic::ASSETS * size.enclaves;
    eprintln!("writing {authorizations} authorizations and {} tasks …", size.tasks);
    let ground = Ground::lay(size.blocks()).await?;
    let place = Place { folder: root.join(name), origin: ground.origin(), size };
    std::fs::create_dir_all(&place.folder)?;
    let (view, vault) = place.open()?;
    synthetic::fill(&vault)?;
    synthetic::write(&view, &ground.blocks, size, actors)?;
    ground.adopt(&view).await?;
    drop((view, vault));
    place.settle()?;
    Ok((place, ground))
}

/// Prints what was measured warm; gives the median decision, microseconds.
fn warm(
    figures: &Figures,
    place: &Place,
    actors: &Actors,
    questions: usize,
    scale: &str,
) -> anyhow::Result<f64> {
    eprintln!("deciding {questions} times …");
    let questions = decision::questions(place.size, actors, questions, 1)?;
    let warm = decision::warm(place, actors, &questions)?;
    let ratio = warm.decided.p50() / warm.seeks.p50();
    let suffix = if scale == "1m" { "" } else { "_10m" };
    figures.print(&format!("decision_p50_us_{scale}"), warm.decided.p50(), "us");
    figures.print(&format!("decision_p99_us_{scale}"), warm.decided.p99(), "us");
    figures.print(&format!("seeks_p50_us_{scale}"), warm.seeks.p50(), "us");
    figures.print(&format!("decision_p50_vs_seeks{suffix}"), ratio, "ratio");
    let [one, two] = warm.rates;
    figures.print(&format!("decisions_per_s_{scale}"), one, "1/s");
    figures.print(&format!("decisions_per_s_{scale}_2t"), two, "1/s");
    Ok(warm.decided.p50())
}
