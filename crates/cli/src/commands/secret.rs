//! `sesame secret`.

use std::{
    fs::File,
    io::{self, Read},
    path::PathBuf,
    time::Duration,
};

use alloy::primitives::{Address, B256};
use anyhow::Context as _;
use clap::{ArgGroup, Args, Subcommand};
use serde_json::json;
use sesame_client::{
    ClientError, TransportError,
    owner::{Owner, PushOptions},
};
use sesame_domain::{AssetId, AssetKind, SecretId, SecretName};
use sesame_protocol::owner::{MAX_SECRET_BYTES, SecretMetadata};
use tokio::time::{Instant, sleep};
use zeroize::Zeroizing;

use crate::{context::Context, failure::Misuse, output::Answer, parse};

/// How often a push is tried again while the SMS does not know the asset yet.
const RETRY: Duration = Duration::from_secs(1);

#[derive(Debug, Subcommand)]
pub(crate) enum SecretCommand {
    /// Push a secret, or a new version of it, sealed to the SMS of --sms-identity.
    #[command(after_help = "\
Examples:
  sesame secret push --app 0x<app> --file app.secret
  pass show api-token | sesame secret push --name api-token --stdin
  sesame secret push --data 0x<data> --file data.key
  sesame secret push --app 0x<app> --owner 0x<wallet> --file app.secret

A secret is 1 to 4194304 bytes, passed on as they are: a trailing newline counts.
Choose NAME with care: orders that grant the secret publish the name on the chain. The value is never published.")]
    Push(Box<PushArgs>),
    /// Remove a secret; open tasks that need it are denied from then on.
    #[command(after_help = "Example:\n  sesame secret rm --name api-token")]
    Rm(Named),
    /// Show what the SMS holds: versions, sizes and dates, never the value.
    #[command(after_help = "Example:\n  sesame secret show --app 0x<app>")]
    Show(Named),
    /// List everything that the SMS holds of yours: your own named secrets, and those of assets that you own.
    #[command(after_help = "Example:\n  sesame secret list --json")]
    List(ActingFor),
}

/// Which secret.
#[derive(Debug, Args)]
#[group(id = "target", required = true, multiple = false)]
pub(crate) struct Target {
    /// The secret of this app of yours.
    #[arg(long, value_name = "ASSET")]
    app: Option<AssetId>,
    /// The key of this protected data of yours.
    #[arg(long, value_name = "ASSET")]
    data: Option<AssetId>,
    /// Your own secret of this name, for tasks that you buy. The name is public on the chain.
    #[arg(long, value_name = "NAME")]
    name: Option<SecretName>,
}

/// For whom.
#[derive(Debug, Args)]
pub(crate) struct ActingFor {
    /// The contract that owns the secret, and takes your account's signature as its own (ERC-1271); your account by default.
    #[arg(long, value_name = "ADDRESS")]
    owner: Option<Address>,
}

/// A secret and its owner.
#[derive(Debug, Args)]
pub(crate) struct Named {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    acting: ActingFor,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("value").required(true))]
pub(crate) struct PushArgs {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    acting: ActingFor,
    /// Read the value from a file.
    #[arg(long, value_name = "FILE", group = "value")]
    file: Option<PathBuf>,
    /// Read the value from standard input.
    #[arg(long, group = "value")]
    stdin: bool,
    /// SHA-256 of the encrypted content that the key of protected data opens; the registered one by default.
    #[arg(long, value_name = "BYTES32", value_parser = parse::bytes32, conflicts_with_all = ["app", "name"])]
    content_digest: Option<B256>,
    /// The secret goes with the asset when it is sold; otherwise a sale ends it.
    #[arg(long, conflicts_with = "name")]
    transferable: bool,
    /// For how long to try again while the SMS does not know the asset yet.
    #[arg(long, value_name = "DURATION", value_parser = parse::duration, default_value = "2m")]
    wait: Duration,
}

pub(crate) async fn run(command: SecretCommand, context: &Context) -> anyhow::Result<()> {
    match command {
        SecretCommand::Push(args) => push_from(&args, context).await,
        SecretCommand::Rm(named) => remove(&named, context).await,
        SecretCommand::Show(named) => show(&named, context).await,
        SecretCommand::List(acting) => list(&acting, context).await,
    }
}

/// Pushes a secret. Until the time is up it is tried again while the SMS is unreachable, not ready, or does not know the
/// asset, whose registration may not be confirmed yet.
pub(crate) async fn push(
    owner: &Owner,
    secret: &SecretId,
    value: &[u8],
    options: &PushOptions,
    wait: Duration,
    context: &Context,
) -> Result<SecretMetadata, ClientError> {
    let end = Instant::now() + wait;
    let mut told = false;
    loop {
        match owner.push(context.now(), secret, value, options).await {
            Err(error) if may_pass(&error) && Instant::now() < end => {
                if !told {
                    context.output.note(&format!("waiting for the SMS: {error}"));
                    told = true;
                }
                sleep(RETRY).await;
            }
            result => return result,
        }
    }
}

/// Whether the same push may be accepted later. An answer to `HEAD` has no body: there, 409 can only say that the
/// account's ownership is not confirmed yet.
fn may_pass(error: &ClientError) -> bool {
    if let ClientError::Problem(problem) = error {
        let codes = ["asset_unknown", "not_yet_confirmed"];
        return problem.status == 503 || codes.contains(&problem.code.as_str());
    }
    if let ClientError::Status(status) = error {
        return matches!(status, 404 | 409 | 503);
    }
    matches!(error, ClientError::Transport(TransportError::Http(_)))
}

async fn push_from(args: &PushArgs, context: &Context) -> anyhow::Result<()> {
    let owner = context.owner_or(args.acting.owner)?;
    let value = read(args)?;
    let secret = args.target.secret(&owner)?;
    let mut options = PushOptions { transferable: args.transferable, ..PushOptions::default() };
    if let SecretId::Asset(asset) = &secret {
        let reader = context.reader().await?;
        let kind = reader.kind_of(*asset).await.context("cannot push the secret")?;
        args.target.check(kind)?;
        options.epoch = reader.epoch_of(*asset).await?;
        if kind == AssetKind::ProtectedData {
            options.content_digest = match args.content_digest {
                Some(digest) => digest,
                None => reader.content_of(*asset).await?.digest,
            };
        }
    }
    let pushed = push(&owner, &secret, &value, &options, args.wait, context).await;
    context.output.show(&metadata(&pushed.context("cannot push the secret")?));
    Ok(())
}

async fn remove(named: &Named, context: &Context) -> anyhow::Result<()> {
    let owner = context.owner_or(named.acting.owner)?;
    let secret = named.target.secret(&owner)?;
    let epoch = match &secret {
        SecretId::Asset(asset) => context.reader().await?.epoch_of(*asset).await?,
        SecretId::Requester(..) | SecretId::Iexec(_) => 0,
    };
    let removed = owner.remove(context.now(), &secret, epoch).await;
    context.output.show(&metadata(&removed.context("cannot remove the secret")?));
    Ok(())
}

async fn show(named: &Named, context: &Context) -> anyhow::Result<()> {
    let owner = context.owner_or(named.acting.owner)?;
    let secret = named.target.secret(&owner)?;
    let found = owner.show(context.now(), &secret).await.context("cannot show the secret")?;
    let found = found.with_context(|| format!("the SMS has no secret {secret} of yours"))?;
    context.output.show(&metadata(&found));
    Ok(())
}

async fn list(acting: &ActingFor, context: &Context) -> anyhow::Result<()> {
    let owner = context.owner_or(acting.owner)?;
    let found = owner.list(context.now()).await.context("cannot list the secrets")?;
    let row = |found: &SecretMetadata| {
        vec![
            json!(found.resource),
            json!(found.version),
            json!(found.size),
            json!(found.transferable),
            json!(found.updated_at),
        ]
    };
    let view = Answer::Rows {
        columns: vec!["secret", "version", "size", "transferable", "updated_at"],
        rows: found.iter().map(row).collect(),
    };
    context.output.show(&Answer::Document { json: json!(found), view: vec![view] });
    Ok(())
}

impl Target {
    fn secret(&self, owner: &Owner) -> anyhow::Result<SecretId> {
        match (self.app.or(self.data), &self.name) {
            (Some(asset), _) => Ok(SecretId::Asset(asset)),
            (None, Some(name)) => Ok(SecretId::Requester(owner.address(), name.clone())),
            (None, None) => {
                Err(Misuse::new("no secret is named", "give --app, --data or --name").into())
            }
        }
    }

    fn check(&self, kind: AssetKind) -> Result<(), Misuse> {
        match (kind, self.app) {
            (AssetKind::App, Some(_)) | (AssetKind::ProtectedData, None) => Ok(()),
            (AssetKind::App, None) => Err(Misuse::new("the asset is an app", "give --app")),
            (AssetKind::ProtectedData, Some(_)) => {
                Err(Misuse::new("the asset is protected data", "give --data"))
            }
            (AssetKind::Workerpool, _) => {
                Err(Misuse::new("a workerpool has no secret", "name an app or protected data"))
            }
        }
    }
}

/// The value, at most one byte longer than a secret can be, in memory that is erased.
fn read(args: &PushArgs) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let limit = MAX_SECRET_BYTES + 1;
    let mut value = Zeroizing::new(Vec::with_capacity(limit + 1));
    let source: Box<dyn Read> = match &args.file {
        Some(path) => {
            Box::new(File::open(path).with_context(|| format!("cannot read {}", path.display()))?)
        }
        None => Box::new(io::stdin().lock()),
    };
    source.take(limit as u64).read_to_end(&mut value).context("cannot read the value")?;
    Ok(value)
}

/// What the SMS says about a secret.
pub(crate) fn metadata(found: &SecretMetadata) -> Answer {
    let view = Answer::Fields(vec![
        ("secret", json!(found.resource)),
        ("owner", json!(found.owner)),
        ("version", json!(found.version)),
        ("size", json!(found.size)),
        ("epoch", json!(found.epoch)),
        ("transferable", json!(found.transferable)),
        (
            "content_digest",
            json!((!found.content_digest.is_zero()).then_some(found.content_digest)),
        ),
        ("updated_at", json!(found.updated_at)),
    ]);
    Answer::Document { json: json!(found), view: vec![view] }
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
    fn one_secret_and_one_source_are_named() {
        check("sesame secret push --app ID --file f", true);
        check("sesame secret push --data ID --content-digest ID --stdin", true);
        check("sesame secret push --name n --stdin", true);
        check("sesame secret push --stdin", false);
        check("sesame secret push --name n", false);
        check("sesame secret push --name n --stdin --file f", false);
        check("sesame secret push --name n --app ID --stdin", false);
        check("sesame secret push --name n --transferable --stdin", false);
        check("sesame secret push --app ID --content-digest ID --stdin", false);
        check("sesame secret push --name bad/name --stdin", false);
        check("sesame secret list", true);
        check("sesame secret list --name n", false);
        check("sesame secret rm", false);
        check("sesame secret show --name n", true);
        check(&format!("sesame secret rm --app ID --owner 0x{}", "ab".repeat(20)), true);
        check("sesame secret show --name n --owner ID", false);
    }
}
