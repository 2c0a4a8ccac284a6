//! `sesame worker`.

use std::{path::PathBuf, time::Duration};

use alloy::primitives::Address;
use clap::Args;
use sesame_domain::{AssetId, Imitated};
use sesame_worker::{Allowed, Config, DEFAULT_PARALLEL, DEFAULT_POLL, Tee};

use super::stopped;
use crate::{context::Context, failure::Misuse};

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  sesame worker --keystore worker.json --password-file worker.pass --sms-identity 0x… \\
    --quoter sesame-simulated-tee --root-key root.key --launcher sesame-enclave --work-dir /var/lib/sesame/worker \\
    --app 0x…

The simulated TEE does not sandbox apps: without --app and --requester, whoever buys a task of this worker runs code as its user.
The account pays for the gas of `start` and `complete`, and vouches to the SMS for the enclaves that it runs.
Secrets never pass through the worker: the enclave fetches them itself.")]
pub(crate) struct WorkerArgs {
    /// Holds a folder per task.
    #[arg(long, value_name = "FOLDER", default_value = "worker")]
    work_dir: PathBuf,
    /// What the simulated TEE imitates: sgx, tdx or snp. The enclave id of an app is another under each; `sesame app measure`
    /// takes the same option.
    #[arg(long, value_name = "TEE", default_value_t = Imitated::Sgx)]
    tee: Imitated,
    /// The quoting process of the simulated TEE.
    #[arg(long, value_name = "FILE")]
    quoter: PathBuf,
    /// The file of the simulated root of trust, keys and all; made on the first run.
    #[arg(long, value_name = "FILE")]
    root_key: PathBuf,
    /// The launcher that runs inside the TEE, and is measured with the app.
    #[arg(long, value_name = "FILE")]
    launcher: PathBuf,
    /// How often the chain is asked for new tasks, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = DEFAULT_POLL.as_millis() as u64)]
    poll_ms: u64,
    /// How many tasks run at a time.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_PARALLEL)]
    parallel: usize,
    /// Runs tasks of this app alone, whatever its owner registers under the id; may be repeated. Without it, of any app.
    #[arg(long = "app", value_name = "ASSET")]
    apps: Vec<AssetId>,
    /// Runs tasks that this account bought alone; may be repeated. Without it, anybody's.
    #[arg(long = "requester", value_name = "ADDRESS")]
    requesters: Vec<Address>,
}

pub(crate) async fn run(args: WorkerArgs, context: &Context) -> anyhow::Result<()> {
    let sms_url = context.sms_url()?.parse();
    let config = Config {
        rpc_url: context.rpc_url()?.to_owned(),
        deployment: context.deployment()?,
        account: context.account()?,
        sms_url: sms_url.map_err(|_| {
            Misuse::new("the SMS's address is no URL", "give --sms-url as http://… or https://…")
        })?,
        sms_identity: context.sms_identity()?,
        work_dir: args.work_dir,
        tee: Tee {
            imitated: args.tee,
            quoter: args.quoter,
            root_key: args.root_key,
            launcher: args.launcher,
        },
        poll_interval: Duration::from_millis(args.poll_ms.max(1)),
        max_parallel: args.parallel.max(1),
        allowed: Allowed {
            apps: args.apps.into_iter().collect(),
            requesters: args.requesters.into_iter().collect(),
        },
    };
    Ok(sesame_worker::run(config, stopped()).await?)
}
