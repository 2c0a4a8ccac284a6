//! Prints figures, one a line: `bench NAME VALUE UNIT`; a name with `_vs_` is a ratio of two figures of the same run.
//!
//! Figures are for people and graphs; nothing here asserts how long something takes. The README beside this file says what each one means.

mod actors;
mod backfill;
mod bare;
mod data;
mod decision;
mod eth_call;
mod events;
mod fail_closed;
mod figures;
mod floor;
mod follower;
mod ground;
mod launch;
mod load;
mod mix;
mod owner;
mod pace;
mod poco;
mod rcar;
mod receipts;
mod restart;
mod scale;
mod secrets;
mod soak;
mod synthetic;
mod unwind;
mod vault;
mod verify;
mod visible;
mod wire;

use anyhow::Context as _;
use figures::Figures;

/// The service's own.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Every figure there is.
const NAMES: [&[&str]; 19] = [
    scale::NAMES_1M,
    unwind::NAMES,
    visible::NAMES,
    fail_closed::NAMES,
    backfill::NAMES,
    scale::NAMES_10M,
    restart::NAMES,
    verify::NAMES,
    receipts::NAMES,
    receipts::MILLION,
    secrets::NAMES,
    vault::NAMES,
    rcar::NAMES,
    launch::NAMES,
    rcar::MILLION,
    soak::NAMES,
    data::NAMES,
    data::LARGE,
    poco::NAMES,
];

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, order] = arguments.as_slice()
        && first == backfill::CHILD
    {
        return backfill::child(order).await;
    }
    if let [first, digest, path] = arguments.as_slice()
        && first == data::CHILD
    {
        return data::child(digest, path).await;
    }
    let (mut quick, mut minutes, mut names) = (false, 1, Vec::new());
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--quick" => quick = true,
            "--minutes" => minutes = arguments.next().context("--minutes N")?.parse()?,
            option if option.starts_with("--") => anyhow::bail!("unknown option {option}"),
            _ => names.push(argument),
        }
    }
    let known: Vec<&str> = NAMES.concat();
    if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
        anyhow::bail!("there is no figure {unknown}; there are {}", known.join(", "));
    }
    measure(&Figures { quick, minutes, names }).await
}

async fn measure(figures: &Figures) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    if figures.want(scale::NAMES_1M) {
        scale::one_million(figures, folder.path()).await?;
    }
    if figures.want(unwind::NAMES) {
        unwind::measure(figures, folder.path())?;
    }
    if figures.want(visible::NAMES) {
        visible::measure(figures, folder.path()).await?;
    }
    if figures.want(fail_closed::NAMES) {
        fail_closed::measure(figures).await?;
    }
    if figures.want(verify::NAMES) {
        verify::measure(figures)?;
    }
    if figures.want(receipts::NAMES) {
        receipts::measure(figures, folder.path())?;
    }
    if figures.want(secrets::NAMES) {
        secrets::measure(figures).await?;
    }
    if figures.want(vault::NAMES) {
        // The database's client waits for its own threads.
        tokio::task::block_in_place(|| vault::measure(figures, folder.path()))?;
    }
    if figures.want(rcar::NAMES) {
        rcar::measure(figures).await?;
    }
    if figures.want(launch::NAMES) {
        launch::measure(figures).await?;
    }
    if figures.want(poco::NAMES) {
        poco::measure(figures, folder.path()).await?;
    }
    if figures.want(data::NAMES) {
        data::measure(figures, folder.path()).await?;
    }
    if !figures.names.is_empty() && figures.want(data::LARGE) {
        data::large(figures, folder.path())?;
    }
    if figures.quick {
        return Ok(());
    }
    if figures.want(receipts::MILLION) {
        receipts::million(figures, folder.path())?;
    }
    if figures.want(rcar::MILLION) {
        rcar::million(figures).await?;
    }
    if figures.want(soak::NAMES) {
        soak::measure(figures).await?;
    }
    if figures.want(backfill::NAMES) {
        backfill::measure(figures).await?;
    }
    if figures.want(scale::NAMES_10M) || figures.want(restart::NAMES) {
        scale::ten_million(figures, folder.path()).await?;
    }
    Ok(())
}
