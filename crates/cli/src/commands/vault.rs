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
    Check(CheckArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The service's data folder; the service must be stopped.
    #[arg(long, value_name = "FOLDER", default_value = "data")]
    data_dir: PathBuf,
}

/// Runs the command; gives the exit code.
pub(crate) fn run(command: &VaultCommand, context: &Context) -> anyhow::Result<u8> {
    match command {
        VaultCommand::Check(args) => check(args, context),
    }
}

fn check(args: &CheckArgs, context: &Context) -> anyhow::Result<u8> {
    let mut told = Instant::now();
    let tally = vault::check(&args.data_dir, &context.deployment()?, |tally| {
        if told.elapsed() >= TOLD {
            context.output.note(&format!("{} records so far", tally.records));
            told = Instant::now();
        }
    });
    let tally = tally.context("cannot check the vault")?;
    context.output.show(&Answer::Fields(vec![
        ("records", json!(tally.records)),
        ("bytes", json!(tally.bytes)),
        ("tombstones", json!(tally.tombstones)),
        ("damaged", json!(tally.damaged)),
    ]));
    Ok(if tally.damaged.is_empty() { 0 } else { 2 })
}
