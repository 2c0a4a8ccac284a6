//! `sesame vault`: the secrets of a stopped service, looked after.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::json;
use sesame_sms::vault::{self, KeyId, Places, Rotated};

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

Killed in the middle, the vault opens all the same, as long as both keys are kept; run it again to finish. The key before stays
where it is: older copies of the vault open with it alone. Move it away when you keep none.")]
    RotateKey(RotateArgs),
    /// Make a key-encryption key and use it for nothing yet.
    #[command(after_help = "\
Example:
  sesame vault make-key --data-dir /var/lib/sesame
  (copy keys/vault-<name>.key to every replica)
  sesame vault rotate-key --to <name> --data-dir /var/lib/sesame")]
    MakeKey(VaultArgs),
}

#[derive(Debug, Args)]
pub(crate) struct VaultArgs {
    /// The service's data folder; the service must be stopped.
    #[arg(long, value_name = "FOLDER", default_value = "data")]
    data_dir: PathBuf,
}

impl VaultArgs {
    fn places(&self) -> Places {
        Places::in_folder(&self.data_dir)
    }
}

#[derive(Debug, Args)]
pub(crate) struct RotateArgs {
    #[command(flatten)]
    vault: VaultArgs,
    /// The key to change to, as `make-key` printed it; a new one by default.
    #[arg(long, value_name = "KEY")]
    to: Option<KeyId>,
}

/// Runs the command; gives the exit code.
pub(crate) fn run(command: &VaultCommand, context: &Context) -> anyhow::Result<u8> {
    match command {
        VaultCommand::Check(args) => check(args, context),
        VaultCommand::RotateKey(args) => rotate_key(args, context),
        VaultCommand::MakeKey(args) => make_key(args, context),
    }
}

fn check(args: &VaultArgs, context: &Context) -> anyhow::Result<u8> {
    let mut tell = told_now_and_then(context);
    let deployment = context.deployment()?;
    let tally = vault::check(&args.places(), &deployment, |tally| tell(tally.records));
    let tally = tally.context("cannot check the vault")?;
    context.output.show(&Answer::Fields(vec![
        ("records", json!(tally.records)),
        ("bytes", json!(tally.bytes)),
        ("tombstones", json!(tally.tombstones)),
        ("damaged", json!(tally.damaged)),
    ]));
    Ok(if tally.damaged.is_empty() { 0 } else { 2 })
}

fn rotate_key(args: &RotateArgs, context: &Context) -> anyhow::Result<u8> {
    let (places, tell) = (args.vault.places(), told_now_and_then(context));
    let rotated = vault::rotate_key(&places, &context.deployment()?, args.to, tell);
    let Rotated { records, key } = rotated.context("cannot change the vault's key")?;
    context
        .output
        .show(&Answer::Fields(vec![("records", json!(records)), ("key", json!(key.to_string()))]));
    Ok(0)
}

fn make_key(args: &VaultArgs, context: &Context) -> anyhow::Result<u8> {
    let key = vault::make_key(&args.places(), &context.deployment()?);
    let key = key.context("cannot make a key")?;
    context.output.show(&Answer::Fields(vec![("key", json!(key.to_string()))]));
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
