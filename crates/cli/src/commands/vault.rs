//! `sesame vault`: the secrets and keys of a service, looked after, whether it runs or not.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::json;
use sesame_protocol::operator::{Checked, KeyRotated, SealingKeyRotated};
use sesame_sms::vault::{KeyId, Upkeep};

use super::hsm::HsmArgs;
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
where it is: older copies of the vault open with it alone. Move it away when you keep none.

A key moves into an HSM with the options that name one, and out again with --leave-hsm. A service that runs has been started with
these options itself; then they are not needed here:
  sesame serve … --hsm-module /usr/lib/softhsm/libsofthsm2.so --hsm-token sesame --hsm-pin-file pin
  sesame vault rotate-key --data-dir /var/lib/sesame")]
    RotateKey(RotateArgs),
    /// Make a key-encryption key and use it for nothing yet.
    #[command(after_help = "\
Example:
  sesame vault make-key --data-dir /var/lib/sesame
  (copy keys/vault-<name>.key to every replica)
  sesame vault rotate-key --to <name> --data-dir /var/lib/sesame")]
    MakeKey(VaultArgs),
    /// Make another key for owners to seal to.
    #[command(after_help = "\
Example:
  sesame vault rotate-sealing-key --data-dir /var/lib/sesame
  sesame vault rotate-sealing-key --overlap-h 0        # the key was stolen

Owners ask for the key before they seal, so they notice nothing. Keys of before stay in /v1/keys as a record. An owner's client
refuses an answer of /v1/keys that is older than a day: that is how long a stolen key can be shown to owners after all.")]
    RotateSealingKey(RotateSealingArgs),
}

#[derive(Debug, Args)]
pub(crate) struct VaultArgs {
    /// The service's data folder. A service that runs does the work itself; be the user that it runs as.
    #[arg(long, value_name = "FOLDER", default_value = "data")]
    data_dir: PathBuf,
    #[command(flatten)]
    hsm: HsmArgs,
}

impl VaultArgs {
    fn upkeep(&self, context: &Context) -> anyhow::Result<Upkeep> {
        Ok(Upkeep {
            places: self.hsm.places(&self.data_dir),
            data_dir: self.data_dir.clone(),
            deployment: context.deployment()?,
        })
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

#[derive(Debug, Args)]
pub(crate) struct RotateSealingArgs {
    #[command(flatten)]
    vault: VaultArgs,
    /// For how long the key before still opens what was sealed to it, in hours; 0 if it was stolen: then what is on its way has to
    /// be sealed again.
    #[arg(long, value_name = "HOURS", default_value_t = 24)]
    overlap_h: u64,
}

/// Runs the command; gives the exit code.
pub(crate) async fn run(command: VaultCommand, context: &Context) -> anyhow::Result<u8> {
    match command {
        VaultCommand::Check(args) => check(&args, context).await,
        VaultCommand::RotateKey(args) => rotate_key(&args, context).await,
        VaultCommand::MakeKey(args) => make_key(&args, context).await,
        VaultCommand::RotateSealingKey(args) => rotate_sealing_key(&args, context).await,
    }
}

async fn check(args: &VaultArgs, context: &Context) -> anyhow::Result<u8> {
    let checked = args.upkeep(context)?.check(told_now_and_then(context)).await;
    let Checked { records, bytes, tombstones, damaged } =
        checked.context("cannot check the vault")?;
    context.output.show(&Answer::Fields(vec![
        ("records", json!(records)),
        ("bytes", json!(bytes)),
        ("tombstones", json!(tombstones)),
        ("damaged", json!(damaged)),
    ]));
    Ok(if damaged.is_empty() { 0 } else { 2 })
}

async fn rotate_key(args: &RotateArgs, context: &Context) -> anyhow::Result<u8> {
    let rotated = args.vault.upkeep(context)?.rotate_key(args.to, told_now_and_then(context)).await;
    let KeyRotated { records, key } = rotated.context("cannot change the vault's key")?;
    context.output.show(&Answer::Fields(vec![("records", json!(records)), ("key", json!(key))]));
    Ok(0)
}

async fn make_key(args: &VaultArgs, context: &Context) -> anyhow::Result<u8> {
    let made = args.upkeep(context)?.make_key().await.context("cannot make a key")?;
    context.output.show(&Answer::Fields(vec![("key", json!(made.key))]));
    Ok(0)
}

async fn rotate_sealing_key(args: &RotateSealingArgs, context: &Context) -> anyhow::Result<u8> {
    let overlap = args.overlap_h.saturating_mul(60 * 60);
    let rotated = args.vault.upkeep(context)?.rotate_sealing_key(overlap).await;
    let SealingKeyRotated { key, issued_at } = rotated.context("cannot change the sealing key")?;
    context.output.show(&Answer::Fields(vec![("key", json!(key)), ("issuedAt", json!(issued_at))]));
    Ok(0)
}

/// Tells a person how far it is, every now and then.
fn told_now_and_then(context: &Context) -> impl FnMut(u64) + Send + 'static {
    let (output, mut told) = (context.output, Instant::now());
    move |records| {
        if told.elapsed() >= TOLD {
            output.note(&format!("{records} records so far"));
            told = Instant::now();
        }
    }
}
