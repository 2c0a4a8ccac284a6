//! `sesame index`: the mirror of a stopped service, looked at from outside.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::json;
use sesame_sms::index::{self, Verdict};

use super::stopped;
use crate::{context::Context, iexec::FamilyArgs, output::Answer};

#[derive(Debug, Subcommand)]
pub(crate) enum IndexCommand {
    /// Print one hash over everything that the index says after a block.
    #[command(after_help = "\
Example:
  sesame index digest --data-dir /var/lib/sesame --block 1234

Two indexes of one chain have equal digests at equal blocks, however they were built.")]
    Digest(DigestArgs),
    /// Build the index once more from the chain, proven, and compare.
    #[command(after_help = "\
Example:
  sesame index verify --data-dir /var/lib/sesame --rpc-url http://127.0.0.1:8545

Exit code 2 when the index differs from the chain.")]
    Verify(VerifyArgs),
}

#[derive(Debug, Args)]
pub(crate) struct DigestArgs {
    /// The service's data folder; the service must be stopped.
    #[arg(long, value_name = "FOLDER", default_value = "data")]
    data_dir: PathBuf,
    /// After which block; the confirmed one by default.
    #[arg(long, value_name = "N")]
    block: Option<u64>,
    #[command(flatten)]
    family: FamilyArgs,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The service's data folder; the service must be stopped.
    #[arg(long, value_name = "FOLDER", default_value = "data")]
    data_dir: PathBuf,
    /// How many of the nodes have to agree on a block; the majority by default.
    #[arg(long, value_name = "N")]
    quorum: Option<usize>,
    #[command(flatten)]
    family: FamilyArgs,
}

/// Runs the command; gives the exit code.
pub(crate) async fn run(command: IndexCommand, context: &Context) -> anyhow::Result<u8> {
    match command {
        IndexCommand::Digest(args) => digest(&args, context),
        IndexCommand::Verify(args) => verify(&args, context).await,
    }
}

fn digest(args: &DigestArgs, context: &Context) -> anyhow::Result<u8> {
    let digest = index::digest(&args.data_dir, &args.family.followed(context)?, args.block)
        .context("cannot read the index")?;
    let view = Answer::Fields(vec![
        ("block", json!(digest.block.number)),
        ("hash", json!(digest.block.hash)),
        ("digest", json!(digest.digest)),
    ]);
    context.output.show(&view);
    Ok(0)
}

async fn verify(args: &VerifyArgs, context: &Context) -> anyhow::Result<u8> {
    let (urls, followed) = (context.rpc_urls()?, args.family.followed(context)?);
    let verifying = index::verify(&args.data_dir, &followed, urls, args.quorum);
    let verdict = tokio::select! {
        verdict = verifying => verdict.context("cannot verify the index")?,
        () = stopped() => anyhow::bail!("stopped before the end"),
    };
    let Verdict { ours, chain } = verdict;
    let view = Answer::Fields(vec![
        ("block", json!(ours.block.number)),
        ("index", json!(ours.digest)),
        ("chain", json!(chain)),
        ("equal", json!(chain == ours.digest)),
    ]);
    context.output.show(&view);
    Ok(if chain == ours.digest { 0 } else { 2 })
}
