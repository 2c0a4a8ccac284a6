//! The start of a task inside the simulated TEE, without its app, step by step as the launcher reports them to its host.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use alloy_primitives::B256;
use anyhow::Context as _;
use serde_json::{Value, json};
use sesame_domain::{Order, SecretId, TaskId};
use sesame_protocol::voucher::SignedVoucher;
use sesame_tests::{Workshop, World, now};

use crate::figures::{Figures, Samples};

pub(crate) const NAMES: &[&str] =
    &["launch_ms", "launch_attest_ms", "launch_fetch_ms", "launch_prepare_ms"];

/// It is not measured.
const APP: &str = "#!/bin/sh\nexit 0\n";

/// The steps, as the launcher reports them.
const STEPS: [&str; 3] = ["attested", "released", "prepared"];

pub(crate) async fn measure(figures: &Figures) -> anyhow::Result<()> {
    let world = World::start().await;
    let shop = Workshop::new(&world);
    let app = shop.app(&world, APP).await;
    world.confirmed().await;
    world.developer.push(&SecretId::Asset(app.0), b"the developer's own").await;
    world.requester.push(&world.requester.secret("password"), b"correct horse").await;
    let grants = vec![World::grant(1, "password")];
    let task = world.buy_and_begin(&Order { grants, ..Workshop::order(&world, app) }).await;
    let rounds = if figures.quick { 10 } else { 50 };
    let (mut all, mut parts) = (Vec::new(), STEPS.map(|_| Vec::new()));
    for round in 0..=rounds {
        let folder = tempfile::tempdir()?;
        let took = launch(&world, &shop, task, folder.path())?;
        // The first knows no platform yet.
        if round > 0 {
            all.push(took.iter().sum());
            parts.iter_mut().zip(took).for_each(|(part, took)| part.push(took));
        }
    }
    figures.print("launch_ms", Samples::new(all).p50() / 1e3, "ms");
    for (name, part) in NAMES.iter().skip(1).zip(parts) {
        figures.print(name, Samples::new(part).p50() / 1e3, "ms");
    }
    Ok(())
}

/// One launch, with this process as its host. Gives how long each step took.
fn launch(
    world: &World,
    shop: &Workshop,
    task: TaskId,
    folder: &Path,
) -> anyhow::Result<Vec<Duration>> {
    let mut command = shop.tee(APP, task, folder);
    let mut since = Instant::now();
    let mut tee = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut input = tee.stdin.take().context("the TEE listens")?;
    let output = tee.stdout.take().context("the TEE speaks")?;
    let mut took = Vec::new();
    for line in BufReader::new(output).lines() {
        let said: Value = serde_json::from_str(&line?)?;
        let progress = said.get("progress").and_then(Value::as_str);
        if let Some(key) = said.pointer("/vouch/enclaveKey").and_then(Value::as_str) {
            writeln!(input, "{}", json!({"voucher": voucher(world, task, key.parse()?)}))?;
        } else if progress.is_some() && progress == STEPS.get(took.len()).copied() {
            took.push(since.elapsed());
            since = Instant::now();
        } else if progress.is_none() {
            anyhow::ensure!(said.get("result").is_some(), "the launch failed: {said}");
        }
    }
    tee.wait()?;
    anyhow::ensure!(took.len() == STEPS.len(), "the launch ended before its app could start");
    Ok(took)
}

fn voucher(world: &World, task: TaskId, key: B256) -> SignedVoucher {
    let (domain, signer) = (world.sms.domain(), world.worker.signer());
    SignedVoucher::sign(task, world.sms.identity, key, now() + 300, &domain, &signer)
}
