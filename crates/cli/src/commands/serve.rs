//! `sesame serve`.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    path::PathBuf,
    time::Duration,
};

use anyhow::Context as _;
use clap::Args;
use sesame_enclave::harden;
use sesame_sms::{
    Admission, CollateralSource, Config, Confirmation, DEFAULT_FREE_RESERVE, DEFAULT_REQUEST_TIME,
    History, Limits, Minimum, Policy, TOKEN_LIFE,
};
use url::Url;

use super::{hsm::HsmArgs, stopped};
use crate::{
    context::Context,
    database::DatabaseArgs,
    iexec::{FamilyArgs, IexecArgs},
    network::NetworkArgs,
    telemetry::TelemetryArgs,
};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sesame serve --rpc-url http://127.0.0.1:8545 --deployment deployment.json --data-dir /var/lib/sesame
  sesame serve --confirmations 2 --listen 127.0.0.1:0
  sesame serve --hsm-module /usr/lib/softhsm/libsofthsm2.so --hsm-token sesame --hsm-pin-file pin
  sesame serve --rpc-url http://one:8545 --rpc-url http://two:8545 --rpc-url http://three:8545 --quorum 2
  sesame serve --iexec-deployment poco.json --confirmations 4 --iexec-listen 0.0.0.0:13300

The data folder holds the vault, which cannot be made again, and the mirror of the chain, which can. Back the vault and its key up.
With --hsm-module the vault's key is made in an HSM and never leaves it: then the HSM is what has to be backed up.
Grants count once their block is confirmed; a revocation counts as soon as its block is seen.")]
pub(crate) struct ServeArgs {
    /// Holds the mirror, the vault and the keys.
    #[arg(long, value_name = "FOLDER", default_value = "data")]
    data_dir: PathBuf,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    family: FamilyArgs,
    /// How deep a block must be before grants in it count: a number of blocks, `safe` or `finalized`. The nodes have to keep the
    /// state after that block, since the index is proven by it (`eth_getProof`).
    #[arg(long, value_name = "N|safe|finalized", default_value = "finalized")]
    confirmations: Confirmation,
    /// How many of the nodes have to agree on a block; the majority by default.
    #[arg(long, value_name = "N")]
    quorum: Option<usize>,
    /// After how many confirmed blocks the index is proven again by the chain's own journals.
    #[arg(long, value_name = "BLOCKS", default_value_t = 64)]
    prove_every: u64,
    /// How many blocks below the confirmed one can still be asked about (`explain --block`): a number, or `all`.
    #[arg(long, value_name = "BLOCKS|all", default_value = "all")]
    keep_history: History,
    /// WebSocket of a node that announces new heads, so that a revocation is seen at once and not at the next poll. Only a hint:
    /// what counts is still asked at --rpc-url. May be given several times.
    #[arg(
        long,
        value_name = "URL",
        env = "SESAME_HEADS_URL",
        value_delimiter = ',',
        hide_env_values = true
    )]
    heads_url: Vec<String>,
    /// How often the node is asked for a new head, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 500)]
    poll_ms: u64,
    /// For how long the head may go unconfirmed by the node before nothing is released, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    max_lag_s: u64,
    /// How old the head's timestamp may be, or how far ahead of this machine's clock, before nothing is released, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    max_head_age_s: u64,
    /// How much of the data folder's file system secrets leave free, in MiB: below that, pushes are refused (507), so that
    /// the mirror and the receipts go on.
    #[arg(long, value_name = "MIB", default_value_t = DEFAULT_FREE_RESERVE >> 20)]
    free_reserve_mb: u64,
    /// How long one request may take, its body included, in seconds.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = DEFAULT_REQUEST_TIME.as_secs(),
        value_parser = clap::value_parser!(u64).range(1..),
    )]
    request_time_s: u64,
    /// For how long an enclave's attestation is good for requests, in seconds; 300 at most.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = TOKEN_LIFE,
        value_parser = clap::value_parser!(u64).range(1..=TOKEN_LIFE),
    )]
    session_life_s: u64,
    /// How many requests a second one client may send to the owner and the enclave surface, and to explain and settlement; more
    /// are answered 429.
    #[arg(long, value_name = "N", default_value_t = Limits::default().requests_per_second)]
    rate_limit: NonZeroU32,
    /// How many it may send at once.
    #[arg(long, value_name = "N", default_value_t = Limits::default().burst)]
    rate_burst: NonZeroU32,
    /// How many requests may be worked on at a time; more wait for a moment, and are answered 503 then. 4 for each core by
    /// default.
    #[arg(long, value_name = "N", default_value_t = Limits::default().in_flight, hide_default_value = true)]
    max_in_flight: NonZeroUsize,
    /// How many enclaves may be verified at a time; one for each core by default.
    #[arg(long, value_name = "N", default_value_t = Limits::default().verifications, hide_default_value = true)]
    verifications: NonZeroUsize,
    /// How many enclaves may wait to be verified; more are answered 503.
    #[arg(long, value_name = "N", default_value_t = Limits::default().verifications_waiting)]
    verifications_waiting: usize,
    /// Where to ask for what Intel says about platforms of SGX and TDX: a PCCS, or https://api.trustedservices.intel.com.
    #[arg(long, value_name = "URL", conflicts_with = "collateral_dir")]
    pccs_url: Option<Url>,
    /// Where to ask for what AMD says about platforms of SEV-SNP: https://kdsintf.amd.com, or a cache in front of it, for AMD
    /// limits how often one client may ask.
    #[arg(long, value_name = "URL", conflicts_with = "collateral_dir")]
    kds_url: Option<Url>,
    /// The same from files, for a site without the network. For SGX and TDX <tee>-<fmspc>-<ca>.json, as in
    /// sgx-00906ea10000-platform.json. For SEV-SNP what AMD serves as cert_chain and crl, as snp-Milan-vcek.pem and
    /// snp-Milan-vcek.crl, and where evidence comes without its VCEK's certificate, that: the refusal names the file.
    #[arg(long, value_name = "FOLDER")]
    collateral_dir: Option<PathBuf>,
    /// Also admit platforms that are not quite up to date: SWHardeningNeeded, ConfigurationNeeded or
    /// ConfigurationAndSWHardeningNeeded, with the advisories that may apply and no others; may be repeated.
    #[arg(long, value_name = "STATUS[:ADVISORY,…]")]
    admit_tcb: Vec<Admission>,
    /// Admit enclaves of SEV-SNP on platforms with at least this firmware; may be repeated, once for Milan, Genoa and Turin
    /// each. There is no default: AMD's security bulletins say which versions are good enough. Without it, none is admitted.
    /// As in Milan:bootloader=4,tee=0,snp=24,microcode=219 (for Turin also fmc=).
    #[arg(long, value_name = "PRODUCT:PART=VERSION,…")]
    admit_snp: Vec<Minimum>,
    /// Also admit enclaves of SEV-SNP that a migration agent may move to other platforms. The agent is a guest that the host chose,
    /// and decides where their secrets go.
    #[arg(long, requires = "admit_snp")]
    admit_snp_migration_agents: bool,
    #[command(flatten)]
    hsm: HsmArgs,
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    iexec: IexecArgs,
    #[command(flatten)]
    telemetry: TelemetryArgs,
    /// INSECURE: believe the simulated TEE under this root: the folder that it publishes (root.key.pub).
    /// Whoever has the root's file is any enclave it likes, and gets every secret. Its SGX, TDX and SEV-SNP are believed alike;
    /// --admit-snp is about real platforms.
    #[cfg(feature = "simulated")]
    #[arg(long, value_name = "FOLDER")]
    insecure_trust_simulated_root: Option<PathBuf>,
}

impl ServeArgs {
    /// Where its traces go.
    pub(crate) const fn telemetry(&self) -> &TelemetryArgs {
        &self.telemetry
    }
}

pub(crate) async fn run(args: ServeArgs, context: &Context) -> anyhow::Result<()> {
    if harden::lock_memory()? {
        tracing::info!("memory is kept out of swap");
    } else {
        tracing::info!("memory may be swapped out: the limit of locked memory is not unlimited");
    }
    let iexec = args.family.is_iexec().then(|| args.iexec.listen());
    let listeners = args.network.listeners(iexec).await?;
    let config = config(args, context)?;
    sesame_sms::run(listeners, config, stopped()).await.context("the service cannot go on")
}

/// What the options mean, with the files that they name read.
pub(crate) fn config(args: ServeArgs, context: &Context) -> anyhow::Result<Config> {
    Ok(Config {
        rpc_urls: context.rpc_urls()?.to_vec(),
        quorum: args.quorum,
        prove_every: args.prove_every,
        followed: args.family.followed(context)?,
        sessions: args.iexec.sessions()?,
        limits: limits(&args),
        policy: admissions(&args)?,
        collateral: match (args.pccs_url, args.collateral_dir) {
            (_, Some(folder)) => CollateralSource::Folder(folder),
            (pccs, None) => CollateralSource::Services { pccs, kds: args.kds_url },
        },
        vault: Some(args.hsm.within(args.database.places(&args.data_dir)?)),
        data_dir: args.data_dir,
        confirmation: args.confirmations,
        history: args.keep_history,
        heads_urls: args.heads_url,
        poll: Duration::from_millis(args.poll_ms.max(1)),
        max_lag: Duration::from_secs(args.max_lag_s),
        max_head_age: args.max_head_age_s,
        free_reserve_bytes: args.free_reserve_mb.saturating_mul(1 << 20),
        request_time: Duration::from_secs(args.request_time_s),
        session_life: args.session_life_s,
        network: args.network.network(),
        program: context.program.clone(),
    })
}

fn admissions(args: &ServeArgs) -> anyhow::Result<Policy> {
    let policy =
        policy(args)?.admitting(args.admit_tcb.clone()).admitting_snp(args.admit_snp.clone());
    Ok(if args.admit_snp_migration_agents { policy.admitting_migration_agents() } else { policy })
}

const fn limits(args: &ServeArgs) -> Limits {
    Limits {
        requests_per_second: args.rate_limit,
        burst: args.rate_burst,
        verifications: args.verifications,
        verifications_waiting: args.verifications_waiting,
        in_flight: args.max_in_flight,
    }
}

#[cfg(not(feature = "simulated"))]
#[expect(clippy::unnecessary_wraps, reason = "the other build reads a folder")]
fn policy(_args: &ServeArgs) -> anyhow::Result<Policy> {
    Ok(Policy::hardware_only())
}

#[cfg(feature = "simulated")]
fn policy(args: &ServeArgs) -> anyhow::Result<Policy> {
    let Some(folder) = &args.insecure_trust_simulated_root else {
        return Ok(Policy::hardware_only());
    };
    let root = sesame_attestation::simulated::Published::read(folder);
    let root = root.with_context(|| format!("{} holds no simulated root", folder.display()))?;
    tracing::warn!("INSECURE: the simulated TEE is believed; keep no real secrets here");
    Ok(Policy::insecure_trusting_simulated(root))
}
