//! `sesame app`.

use std::path::PathBuf;

use alloy::primitives::B256;
use anyhow::Context as _;
use clap::{Args, Subcommand};

use super::asset::{self, ShowArgs, TransferArgs};
use crate::{context::Context, parse};

#[derive(Debug, Subcommand)]
pub(crate) enum AppCommand {
    /// Register an app, owned by your account.
    #[command(after_help = "\
Example:
  sesame app register --file app.py --uri https://example.org/app.py

The digest is the SHA-256 of the file. Without --uri, the file's own path is registered, which helps on one machine only.")]
    Register(RegisterArgs),
    /// Print the enclave id of an app under the simulated TEE.
    #[cfg(feature = "simulated")]
    #[command(after_help = "\
Example:
  sesame app measure --launcher target/release/sesame-enclave --app app.py --sms-identity 0x…

Changing one byte of launcher or app changes the id, and so does another SMS, or another --tee.")]
    Measure(MeasureArgs),
    /// Show what the registry says about an app.
    #[command(after_help = "Example:\n  sesame app show 0x…")]
    Show(ShowArgs),
    /// Give an app to another account; all its authorizations end.
    #[command(after_help = "Example:\n  sesame app transfer 0x… --to 0x…")]
    Transfer(TransferArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RegisterArgs {
    /// The app.
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// Where workers will find it.
    #[arg(long, value_name = "URI")]
    uri: Option<String>,
    /// Tells apart apps of the same content and account.
    #[arg(long, value_name = "BYTES32", value_parser = parse::bytes32, default_value_t = B256::ZERO)]
    salt: B256,
}

/// The identity that the enclave trusts is measured too: it is the one of --sms-identity.
#[cfg(feature = "simulated")]
#[derive(Debug, Args)]
pub(crate) struct MeasureArgs {
    /// What the simulated TEE imitates: sgx, tdx or snp. The worker is told the same.
    #[arg(long, value_name = "TEE", default_value_t = sesame_domain::Imitated::Sgx)]
    tee: sesame_domain::Imitated,
    /// The launcher that runs inside the TEE.
    #[arg(long, value_name = "FILE")]
    launcher: PathBuf,
    /// The app.
    #[arg(long, value_name = "FILE")]
    app: PathBuf,
}

pub(crate) async fn run(command: AppCommand, context: &Context) -> anyhow::Result<()> {
    match command {
        AppCommand::Register(args) => register(args, context).await,
        #[cfg(feature = "simulated")]
        AppCommand::Measure(args) => measure(&args, context),
        AppCommand::Show(args) => asset::show(&args, context).await,
        AppCommand::Transfer(args) => asset::transfer(&args, context).await,
    }
}

async fn register(args: RegisterArgs, context: &Context) -> anyhow::Result<()> {
    let content = asset::content_of(&args.file, args.uri)?;
    let contracts = context.contracts().await?;
    let asset = contracts.register_app(&content, args.salt).await;
    let asset = asset.context("cannot register the app")?;
    context.output.show(&asset::registered(&asset, &content));
    Ok(())
}

#[cfg(feature = "simulated")]
fn measure(args: &MeasureArgs, context: &Context) -> anyhow::Result<()> {
    use serde_json::json;
    use sesame_attestation::simulated;

    use crate::output::Answer;

    let read = |path: &PathBuf| {
        std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
    };
    let (launcher, app) = (read(&args.launcher)?, read(&args.app)?);
    let measurement = simulated::measure(&launcher, &app, context.sms_identity()?);
    context.output.show(&Answer::Fields(vec![
        ("enclave", json!(simulated::enclave_id_of(args.tee, &measurement).0)),
        ("measurement", json!(B256::from(measurement))),
    ]));
    Ok(())
}
