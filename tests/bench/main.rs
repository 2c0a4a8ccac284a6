//! Prints figures, one a line: `bench NAME VALUE UNIT`; a name with `_vs_` is a ratio of two figures of the same run.
//!
//! Figures are for people and graphs; nothing here asserts how long something takes.

mod decision;
mod eth_call;
mod figures;

use figures::print;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let rounds = if quick { 20_000 } else { 200_000 };
    let folder = tempfile::tempdir()?;
    eprintln!("writing 1,000,000 authorizations …");
    let million = decision::Million::write(folder.path())?;
    eprintln!("deciding {rounds} times …");
    let decided = million.decide(rounds)?;
    print("decision_p50_us_1m", decided.p50(), "us");
    print("decision_p99_us_1m", decided.p99(), "us");
    let seeks = million.bare_seeks(rounds)?;
    print("seeks_p50_us_1m", seeks.p50(), "us");
    print("decision_p50_vs_seeks", decided.p50() / seeks.p50(), "ratio");
    eprintln!("asking a node instead …");
    let calls = eth_call::five_calls(if quick { 500 } else { 5_000 }).await?;
    print("eth_call_x5_p50_us", calls.p50(), "us");
    print("decision_p50_vs_eth_call", calls.p50() / decided.p50(), "ratio");
    Ok(())
}
