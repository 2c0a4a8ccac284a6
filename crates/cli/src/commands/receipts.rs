//! `sesame receipts`.

use std::{fs, io::ErrorKind, path::PathBuf};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde_json::json;
use sesame_client::public::Public;
use sesame_domain::AssetId;
use sesame_protocol::{
    receipts::{ListedReceipt, ReceiptsOf},
    typed::Domain,
};
use sesame_receipts::{
    Head, ProofError, Receipt, SignedReceipt, Tiles, verify_checkpoint, verify_log,
};

use crate::{context::Context, output::Answer};

#[derive(Debug, Subcommand)]
pub(crate) enum ReceiptsCommand {
    /// List the receipts of an asset of yours, or of the tasks that you bought.
    #[command(after_help = "\
Examples:
  sesame receipts list                      # of the tasks that this account bought
  sesame receipts list --asset 0x<asset>    # about an asset, since this account owns it

Every decision, yes or no, on a known task has a receipt, signed by the SMS of --sms-identity; each signature is checked.")]
    List(Whose),
    /// Verify that your receipts are in the log of the SMS, and that the log only grew since you last looked.
    #[command(after_help = "\
Examples:
  sesame receipts verify --asset 0x<asset> --state receipts.checkpoint
  sesame receipts verify --log receipts.log   # the operator's file, every line of it, offline

The newest head of the log is kept in the file of --state. The next run shows that the log still begins with what it held then:
receipts that were altered, left out or cut off since are noticed, and so is a service that shows others another log.
Keep the file where the service cannot write, and compare it with others': it is a checkpoint as c2sp.org/tlog-checkpoint has it.
Each replica has a log of its own: ask the same one.")]
    Verify(VerifyArgs),
}

/// Whose receipts.
#[derive(Debug, Args)]
pub(crate) struct Whose {
    /// About this asset of yours; without it, the receipts of the tasks that you bought.
    #[arg(long, value_name = "ASSET")]
    asset: Option<AssetId>,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    whose: Whose,
    /// Where the newest head that was seen is kept.
    #[arg(long, value_name = "FILE", default_value = "receipts.checkpoint")]
    state: PathBuf,
    /// Check this whole log instead, signature by signature, without a service.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["asset", "state"])]
    log: Option<PathBuf>,
}

pub(crate) async fn run(command: ReceiptsCommand, context: &Context) -> anyhow::Result<()> {
    match command {
        ReceiptsCommand::List(whose) => list(&whose, context).await,
        ReceiptsCommand::Verify(VerifyArgs { log: Some(log), .. }) => verify_file(&log, context),
        ReceiptsCommand::Verify(args) => verify(&args, context).await,
    }
}

async fn list(whose: &Whose, context: &Context) -> anyhow::Result<()> {
    let receipts = own(whose, context).await?;
    let rows = receipts.iter().map(|(receipt, _)| {
        let Receipt { index, decision, .. } = receipt;
        let verdict = if decision.denials.is_empty() { "allowed" } else { "denied" };
        vec![
            json!(index),
            json!(decision.decided_at),
            json!(verdict),
            json!(decision.resource),
            json!(decision.task),
            json!(decision.denials),
        ]
    });
    let columns = vec!["index", "decided_at", "decision", "resource", "task", "reasons"];
    let view = Answer::Rows { columns, rows: rows.collect() };
    let json = json!(receipts.iter().map(|(receipt, _)| receipt).collect::<Vec<_>>());
    context.output.show(&Answer::Document { json, view: vec![view] });
    Ok(())
}

async fn verify(args: &VerifyArgs, context: &Context) -> anyhow::Result<()> {
    // The receipts first: a head that is asked for later covers them all.
    let receipts = own(&args.whose, context).await?;
    let deployment = context.deployment()?;
    let domain =
        Domain { chain_id: deployment.chain_id, asset_registry: deployment.asset_registry };
    let public = context.public()?;
    let key = public.receipts_key().await.context("cannot read the key of the log")?;
    let key = key.verify(context.sms_identity()?, &domain).context("cannot trust the log's key")?;
    let note = public.checkpoint().await.context("cannot read the checkpoint")?;
    let head = verify_checkpoint(&note, key).context("cannot trust the log")?;

    let mut tiles = Tiles::default();
    let kept = kept(args, key)?;
    if let Some(kept) = &kept {
        proven(&public, &mut tiles, |tiles| head.extends(kept, tiles)).await.context(
            "the log is not the one that was seen before: keep the state's file as evidence",
        )?;
    }
    for (receipt, line) in &receipts {
        proven(&public, &mut tiles, |tiles| head.includes(receipt.index, line.as_bytes(), tiles))
            .await
            .context("a receipt that the SMS lists is not in its log")?;
    }
    fs::write(&args.state, &note)
        .with_context(|| format!("cannot keep the checkpoint in {}", args.state.display()))?;
    context.output.show(&Answer::Fields(vec![
        ("log", json!(head.origin())),
        ("receipts_of_yours", json!(receipts.len())),
        ("receipts_in_all", json!(head.size())),
        ("root", json!(alloy::primitives::B256::from(head.root()))),
        ("grown_from", json!(kept.as_ref().map(Head::size))),
    ]));
    Ok(())
}

fn verify_file(log: &std::path::Path, context: &Context) -> anyhow::Result<()> {
    let tree = verify_log(log, context.sms_identity()?)
        .with_context(|| format!("cannot verify {}", log.display()))?;
    context.output.show(&Answer::Fields(vec![
        ("receipts_in_all", json!(tree.size())),
        ("root", json!(alloy::primitives::B256::from(tree.root()))),
    ]));
    Ok(())
}

/// The account's receipts with their lines, each signed by the pinned identity and about what was asked.
async fn own(whose: &Whose, context: &Context) -> anyhow::Result<Vec<(Receipt, String)>> {
    let (owner, sms) = (context.owner()?, context.sms_identity()?);
    let of = whose.asset.map_or(ReceiptsOf::Requester(owner.address()), ReceiptsOf::Asset);
    let listed = owner.receipts(context.now(), &of).await.context("cannot list the receipts")?;
    let check = |ListedReceipt { index, line }: ListedReceipt| {
        let receipt = SignedReceipt::parse(&line).and_then(|signed| signed.verify(sms));
        let receipt = receipt.filter(|receipt| receipt.index == index && is_about(receipt, &of));
        let receipt = receipt.with_context(|| format!("receipt {index} is not one of this SMS's"));
        receipt.map(|receipt| (receipt, line))
    };
    listed.into_iter().map(check).collect()
}

fn is_about(receipt: &Receipt, of: &ReceiptsOf) -> bool {
    match of {
        ReceiptsOf::Asset(id) => receipt.decision.assets.iter().any(|(asset, _)| *asset == id.0),
        ReceiptsOf::Requester(requester) => receipt.decision.requester == *requester,
    }
}

/// The head that was kept; none at the first run.
fn kept(args: &VerifyArgs, key: &str) -> anyhow::Result<Option<Head>> {
    let shown = args.state.display();
    match fs::read(&args.state) {
        Ok(note) => {
            let head = verify_checkpoint(&note, key);
            let head = head.with_context(|| format!("{shown} was kept of another log or key"))?;
            Ok(Some(head))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {shown}")),
    }
}

/// Asks a head until all tiles are there that decide it.
async fn proven(
    public: &Public,
    tiles: &mut Tiles,
    ask: impl Fn(&Tiles) -> Result<(), ProofError>,
) -> anyhow::Result<()> {
    // A head needs tiles at most once for each of their eight levels.
    for _ in 0..=8 {
        match ask(tiles) {
            Err(ProofError::Missing(paths)) => {
                for path in paths {
                    let tile = public.tile(&path).await.context("cannot read the log's hashes")?;
                    tiles.insert(path, tile);
                }
            }
            decided => return Ok(decided?),
        }
    }
    bail!("the log's hashes have no end")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::args::Cli;

    fn check(line: &str, expected: bool) {
        let words =
            line.split(' ').map(|word| word.replace("ID", &format!("0x{}", "ab".repeat(32))));
        assert_eq!(Cli::try_parse_from(words).is_ok(), expected, "{line}");
    }

    #[test]
    fn a_log_is_checked_alone() {
        check("sesame receipts list", true);
        check("sesame receipts list --asset ID --json", true);
        check("sesame receipts list --asset 1", false);
        check("sesame receipts verify --asset ID --state s", true);
        check("sesame receipts verify --log f", true);
        check("sesame receipts verify --log f --asset ID", false);
        check("sesame receipts verify --log f --state s", false);
    }
}
