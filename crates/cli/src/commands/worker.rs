//! `sesame worker`.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use alloy::primitives::Address;
use clap::{Args, ValueEnum};
use sesame_domain::{AssetId, EnclaveId, Imitated};
use sesame_enclave::{limits::Limits, sandbox::Sandbox};
use sesame_worker::{
    Allowed, Config, DEFAULT_PARALLEL, DEFAULT_POLL, Gramine, Oci, Runner, Simulated, Stopped, Tee,
};

use super::{host::HostArgs, stopped};
use crate::{
    context::Context,
    failure::{INTERRUPTED, Misuse},
    telemetry::TelemetryArgs,
};

/// How `--runner` starts TEEs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RunnerKind {
    /// The simulated TEE: processes of this host, and the app in a sandbox of bubblewrap's.
    Process,
    /// An enclave of SGX that was built with Gramine. Has not run on hardware yet.
    Gramine,
    /// A container in a confidential virtual machine. Has not run on hardware yet.
    Oci,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  sesame worker --keystore worker.json --password-file worker.pass --sms-identity 0x… \\
    --quoter sesame-simulated-tee --root-key root.key --launcher sesame-enclave --work-dir /var/lib/sesame/worker \\
    --app 0x…

Apps run in a sandbox: run the worker as root, and each app is a user of its own, whose secrets no other user's process can open.
The sandbox needs bubblewrap; without --app and --requester, whoever buys a task of this worker runs code in it.
The account pays for the gas of `start` and `complete`, and vouches to the SMS for the enclaves that it runs.
Secrets never pass through the worker: the enclave fetches them itself.
A worker that is killed goes on where it was when it is started again with the same --work-dir: results that it has are reported,
tasks that it had started run again. Two workers cannot share a folder; two with one account need disjoint --app or --requester.
After SIGTERM or Ctrl-C no task begins and running ones end, exit code 0; a second one, or --drain-timeout, ends them, exit code 3.")]
pub(crate) struct WorkerArgs {
    /// Holds a folder per task.
    #[arg(long, value_name = "FOLDER", default_value = "worker")]
    work_dir: PathBuf,
    /// How TEEs are started.
    #[arg(long, value_name = "RUNNER", value_enum, default_value_t = RunnerKind::Process)]
    runner: RunnerKind,
    /// What the simulated TEE imitates: sgx, tdx or snp. The enclave id of an app is another under each; `sesame app measure`
    /// takes the same option.
    #[arg(long, value_name = "TEE", default_value_t = Imitated::Sgx)]
    tee: Imitated,
    /// The quoting process of the simulated TEE.
    #[arg(long, value_name = "FILE", required_if_eq("runner", "process"))]
    quoter: Option<PathBuf>,
    /// The file of the simulated root of trust, keys and all; made on the first run.
    #[arg(long, value_name = "FILE", required_if_eq("runner", "process"))]
    root_key: Option<PathBuf>,
    /// The launcher that runs inside the TEE, and is measured with the app.
    #[arg(long, value_name = "FILE", required_if_eq("runner", "process"))]
    launcher: Option<PathBuf>,
    /// The enclave id of what `gramine` or `oci` starts: it cannot be computed here. Tasks that are pinned to another are left
    /// alone.
    #[arg(long, value_name = "ENCLAVE", required_if_eq_any([("runner", "gramine"), ("runner", "oci")]))]
    enclave: Option<EnclaveId>,
    /// Where the enclave was built: holds sesame-enclave.manifest.sgx and sesame-enclave.sig.
    #[arg(long, value_name = "FOLDER", required_if_eq("runner", "gramine"))]
    gramine_folder: Option<PathBuf>,
    /// The container's image, whose entry point is the launcher.
    #[arg(long, value_name = "IMAGE", required_if_eq("runner", "oci"))]
    image: Option<String>,
    /// The container engine: podman or docker.
    #[arg(long, value_name = "PROGRAM", default_value = "podman")]
    engine: PathBuf,
    /// Memory in MiB: for each process of an app, for its temporary files, and in a cgroup for all of it together.
    #[arg(long, value_name = "MIB", default_value_t = Limits::default().memory_mib)]
    app_memory: u64,
    /// Seconds of processor time for each process of an app.
    #[arg(long, value_name = "SECONDS")]
    app_cpu: Option<u64>,
    /// Seconds that an app may run, if its task's deadline is later.
    #[arg(long, value_name = "SECONDS")]
    app_time: Option<u64>,
    /// MiB that an app may leave in its output folder.
    #[arg(long, value_name = "MIB", default_value_t = Limits::default().output_mib)]
    app_output: u64,
    /// Processes and threads that an app may have at a time.
    #[arg(long, value_name = "N", default_value_t = Limits::default().processes)]
    app_processes: u64,
    /// How many processors' time an app may use, with --app-cgroup or in a container.
    #[arg(long, value_name = "N")]
    app_cpus: Option<u64>,
    /// A delegated, empty folder of cgroup v2 with the controllers memory and pids, and cpu for --app-cpus: each app gets a group
    /// in it. Without one, nothing limits the memory that the processes of an app share, nor all of them together.
    #[arg(long, value_name = "FOLDER")]
    app_cgroup: Option<PathBuf>,
    /// How often the chain is asked for new tasks, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = DEFAULT_POLL.as_millis() as u64)]
    poll_ms: u64,
    /// How many tasks run at a time.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_PARALLEL)]
    parallel: usize,
    /// How long running tasks may take to end after SIGTERM, in seconds; to their deadlines unless given.
    #[arg(long, value_name = "SECONDS")]
    drain_timeout: Option<u64>,
    /// Serves metrics at /metrics of this address, 127.0.0.1:9464 if none is given; port 0 takes any free one and logs it.
    #[arg(long, value_name = "ADDRESS:PORT", num_args = 0..=1, default_missing_value = "127.0.0.1:9464")]
    metrics: Option<SocketAddr>,
    /// Runs tasks of this app alone, whatever its owner registers under the id; may be repeated. Without it, of any app.
    #[arg(long = "app", value_name = "ASSET")]
    apps: Vec<AssetId>,
    /// Runs tasks that this account bought alone; may be repeated. Without it, anybody's.
    #[arg(long = "requester", value_name = "ADDRESS")]
    requesters: Vec<Address>,
    #[command(flatten)]
    host: HostArgs,
    #[command(flatten)]
    telemetry: TelemetryArgs,
}

pub(crate) async fn run(args: WorkerArgs, context: &Context) -> anyhow::Result<u8> {
    let config = config(args, context)?;
    // The second signal is one that comes after the first, so it is listened for then.
    Ok(match sesame_worker::run(config, stopped(), async { stopped().await }).await? {
        Stopped::Drained => 0,
        Stopped::Interrupted(_) => INTERRUPTED,
    })
}

/// What the options mean, with the files that they name read, for a host that can do it.
pub(crate) fn config(args: WorkerArgs, context: &Context) -> anyhow::Result<Config> {
    let tee = args.tee()?;
    if args.runner == RunnerKind::Process {
        Sandbox::default().check()?;
        args.check_limits()?;
    }
    if args.runner == RunnerKind::Oci && args.apps.is_empty() {
        tracing::warn!(
            "no --app: whoever lets this machine's enclave near a secret trusts every app that is bought here"
        );
    }
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
        tee,
        poll_interval: Duration::from_millis(args.poll_ms.max(1)),
        max_parallel: args.parallel.max(1),
        allowed: Allowed {
            apps: args.apps.into_iter().collect(),
            requesters: args.requesters.into_iter().collect(),
        },
        options: args.host.options(),
        drain_timeout: args.drain_timeout.map(Duration::from_secs),
        metrics: args.metrics,
        program: context.program.clone(),
    };
    Ok(config.settled()?)
}

impl WorkerArgs {
    /// Which limits of an app hold here; says so where one does not.
    fn check_limits(&self) -> anyhow::Result<()> {
        if self.app_cgroup.is_none() {
            if self.app_cpus.is_some() {
                let hint = "give --app-cgroup as well: a group is what the kernel limits";
                return Err(Misuse::new("--app-cpus has nothing to hold it", hint).into());
            }
            tracing::warn!(
                "no --app-cgroup: --app-memory limits each process of an app alone, and not what they share"
            );
        }
        Ok(())
    }

    /// Where its traces go.
    pub(crate) const fn telemetry(&self) -> &TelemetryArgs {
        &self.telemetry
    }

    /// What tasks run in. That the options of a runner are there is what their declarations say.
    fn tee(&self) -> anyhow::Result<Tee> {
        let runner = match self.runner {
            RunnerKind::Process => Runner::Process(Simulated {
                imitated: self.tee,
                quoter: given(&self.quoter, "--quoter")?,
                root_key: given(&self.root_key, "--root-key")?,
                launcher: given(&self.launcher, "--launcher")?,
            }),
            RunnerKind::Gramine => Runner::Gramine(Gramine {
                program: "gramine-sgx".into(),
                folder: given(&self.gramine_folder, "--gramine-folder")?,
                enclave: given(&self.enclave, "--enclave")?,
            }),
            RunnerKind::Oci => Runner::Oci(Oci {
                program: self.engine.clone(),
                image: given(&self.image, "--image")?,
                enclave: given(&self.enclave, "--enclave")?,
            }),
        };
        let limits = Limits {
            memory_mib: self.app_memory,
            cpu_seconds: self.app_cpu,
            seconds: self.app_time,
            output_mib: self.app_output,
            processes: self.app_processes,
            cpus: self.app_cpus,
            cgroup: self.app_cgroup.clone(),
        };
        Ok(Tee { runner, limits })
    }
}

fn given<T: Clone>(option: &Option<T>, name: &str) -> anyhow::Result<T> {
    let missing = || Misuse::new(format!("{name} is missing"), "the runner needs it; see --help");
    Ok(option.clone().ok_or_else(missing)?)
}
