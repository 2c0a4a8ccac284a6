//! `sesame vault`: the secrets of a stopped service, looked after.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::json;
use sesame_sms::vault;

use crate::{context::Context, output::Answer};

/// How often a person is told how far it is.
const TOLD: Duration = Duration::from_secs(2);

#[derive(Debug, Subcommand)]
pub(crate) enum VaultCommand {
    /// Read every record again and authenticate it.
    #[command(after_help = "\
Example:
  sesame vault check --data-dir /var/lib/sesame

Exit code 2 when anything is damaged; it is named by its secret and version. No value is shown or kept.")]
    Check(VaultArgs),
    /// Make a new key-encryption key; no value is touched.
    #[command(after_help = "\
Example:
  sesame vault rotate-key --data-dir /var/lib/sesame

Killed in the middle, the vault opens all the same, as long as both keys/vault.key and keys/vault.next are kept; run it again
to finish. Older copies of the vault open with the older key alone: keep it elsewhere as long as you keep them.")]
    RotateKey(VaultArgs),
}

#[derive(Debug, Args)]
pub(crate) struct VaultArgs {
    /// The service's data folder; the service must be stopped.
    #[arg(long, value_name = "FOLDER", default_value = "data")]
    data_dir: PathBuf,
}

/// Runs the command; gives the exit code.
pub(crate) fn run(command: &VaultCommand, context: &Context) -> anyhow::Result<u8> {
    match command {
        VaultCommand::Check(args) => check(args, context),
        VaultCommand::RotateKey(args) => rotate_key(args, context),
    }
}

fn check(args: &VaultArgs, context: &Context) -> anyhow::Result<u8> {
    let mut tell = told_now_and_then(context);
    let deployment = context.deployment()?;
    let tally = vault::check(&args.data_dir, &deployment, |tally| tell(tally.records));
    let tally = tally.context("cannot check the vault")?;
    context.output.show(&Answer::Fields(vec![
        ("records", json!(tally.records)),
        ("bytes", json!(tally.bytes)),
        ("tombstones", json!(tally.tombstones)),
        ("damaged", json!(tally.damaged)),
    ]));
    Ok(if tally.damaged.is_empty() { 0 } else { 2 })
}

fn rotate_key(args: &VaultArgs, context: &Context) -> anyhow::Result<u8> {
    let tell = told_now_and_then(context);
    let records = vault::rotate_key(&args.data_dir, &context.deployment()?, tell);
    let records = records.context("cannot change the vault's key")?;
    context.output.show(&Answer::Fields(vec![("records", json!(records))]));
    Ok(0)
}

/// Tells a person how far it is, every now and then.
fn told_now_and_then(context: &Context) -> impl FnMut(u64) {
    let (output, mut told) = (context.output, Instant::now());
    move |records| {
        if told.elapsed() >= TOLD {
            output.note(&format!("{records} records so far"));
            told = Instant::now();
        }
    }
}
