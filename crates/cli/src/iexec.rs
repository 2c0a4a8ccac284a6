//! iExec's contracts in the place of our own, and what is served for them.

use std::{fs, net::SocketAddr, path::PathBuf};

use anyhow::Context as _;
use clap::Args;
use sesame_sms::{Followed, IexecDeployment, Pipeline, SessionsConfig};
use url::Url;

use crate::context::Context;

/// Whose contracts are followed.
#[derive(Debug, Args)]
pub(crate) struct FamilyArgs {
    /// Follow iExec's contracts (PoCo) and not our own: a JSON file with chainId, firstBlock, hub, appRegistry, datasetRegistry and
    /// workerpoolRegistry. --deployment is then not read, owners and enclaves of our own contracts are not served, and iExec's
    /// clients, schedulers and workers are, at --iexec-listen.
    #[arg(long, value_name = "FILE", help_heading = "iExec")]
    iexec_deployment: Option<PathBuf>,
}

impl FamilyArgs {
    /// The contracts, as one of the two files has them.
    pub(crate) fn followed(&self, context: &Context) -> anyhow::Result<Followed> {
        let Some(path) = &self.iexec_deployment else {
            return Ok(Followed::Native(context.deployment()?));
        };
        let deployment = IexecDeployment::read(path);
        let deployment = deployment.with_context(|| format!("cannot use {}", path.display()))?;
        Ok(Followed::Iexec(deployment))
    }

    pub(crate) const fn is_iexec(&self) -> bool {
        self.iexec_deployment.is_some()
    }
}

/// What is served for iExec's contracts.
#[derive(Debug, Args)]
#[command(next_help_heading = "iExec")]
pub(crate) struct IexecArgs {
    /// Where to listen for iExec's clients, schedulers and workers. Nothing else is served there: clients drop any path in the
    /// service's URL, so this is the root of a host.
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        default_value = "127.0.0.1:13300",
        requires = "iexec_deployment"
    )]
    iexec_listen: SocketAddr,
    /// What runs before and after a TDX app: the answer of GET /tee/properties/TDX of iExec's SMS, in JSON. Without it, secrets are
    /// kept and no sessions are made.
    #[arg(long, value_name = "FILE", requires_all = ["iexec_deployment", "iexec_session_storage"])]
    iexec_pipeline: Option<PathBuf>,
    /// Where sessions, with secrets in them, are posted, at /session below it: by https, or by http on this machine.
    #[arg(long, value_name = "URL", requires = "iexec_pipeline")]
    iexec_session_storage: Option<Url>,
    /// Where workers are told to get their sessions; at the storage by default.
    #[arg(long, value_name = "URL", requires = "iexec_pipeline")]
    iexec_provisioning_url: Option<String>,
    /// Has what is on IPFS, at /ipfs below it. Without it, or when it does not answer within 10 s, the tasks of bulks get no
    /// datasets.
    #[arg(long, value_name = "URL", requires = "iexec_pipeline")]
    iexec_ipfs_gateway: Option<Url>,
}

impl IexecArgs {
    pub(crate) const fn listen(&self) -> SocketAddr {
        self.iexec_listen
    }

    /// How sessions are made, if they are.
    pub(crate) fn sessions(&self) -> anyhow::Result<Option<SessionsConfig>> {
        let (Some(path), Some(storage)) = (&self.iexec_pipeline, &self.iexec_session_storage)
        else {
            return Ok(None);
        };
        let cannot = || format!("cannot use {}", path.display());
        let text = fs::read_to_string(path).with_context(cannot)?;
        let pipeline = Pipeline::parse(&text).with_context(cannot)?;
        let sessions = SessionsConfig::new(
            pipeline,
            storage.clone(),
            self.iexec_provisioning_url.clone(),
            self.iexec_ipfs_gateway.clone(),
        );
        Ok(Some(sessions?))
    }
}
