//! `sesame status`.

use anyhow::Context as _;
use serde_json::json;
use sesame_protocol::status::{BlockBody, State, Trust};

use crate::{context::Context, output::Answer};

pub(crate) async fn run(context: &Context) -> anyhow::Result<()> {
    let status = context.public()?.status().await.context("cannot read the SMS's status")?;
    let state = match status.state {
        State::Ready => "ready",
        State::Backfilling => "backfilling",
        State::Stale => "stale",
        State::Failed => "failed",
    };
    let trust = match status.trust {
        Trust::SingleNode => "a single node",
        Trust::Quorum => "a quorum of nodes",
    };
    let view = Answer::Fields(vec![
        ("state", json!(state)),
        ("reason", json!(status.reason)),
        ("identity", json!(status.identity)),
        ("chain", json!(status.chain_id)),
        ("asset_registry", json!(status.contracts.asset_registry)),
        ("enclave_whitelist", json!(status.contracts.enclave_whitelist)),
        ("task_registry", json!(status.contracts.task_registry)),
        ("head", json!(status.head.as_ref().map(block))),
        ("confirmed", json!(status.confirmed.as_ref().map(block))),
        ("last_proof", json!(status.last_proof.as_ref().map(block))),
        ("lag_blocks", json!(status.lag_blocks)),
        ("head_age_seconds", json!(status.head_age_seconds)),
        ("revocation_bound_seconds", json!(status.revocation_bound_seconds)),
        ("silence_bound_seconds", json!(status.silence_bound_seconds)),
        ("trust", json!(trust)),
        ("simulated_tee", json!(status.simulated_tee)),
        ("vault_store", json!(status.vault_store)),
        ("key_provider", json!(status.key_provider)),
        ("uptime_seconds", json!(status.uptime_seconds)),
        ("version", json!(status.version)),
    ]);
    context.output.show(&Answer::Document { json: json!(status), view: vec![view] });
    Ok(())
}

fn block(block: &BlockBody) -> String {
    format!("{} ({})", block.number, block.hash)
}
