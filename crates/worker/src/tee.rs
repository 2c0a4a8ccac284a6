//! What tasks run in, and the command that starts it.

use std::{ffi::OsString, path::PathBuf, process::Stdio};

use alloy::primitives::Address;
use sesame_domain::{EnclaveId, Imitated, TaskId};
use sesame_enclave::{
    HostOptions,
    limits::Limits,
    sandbox::{Confinement, Sandbox},
};
use tokio::process::Command;
use url::Url;

use crate::{TaskError, folder::Folder};

/// What tasks run in.
#[derive(Debug, Clone)]
pub struct Tee {
    /// How a TEE is started.
    pub runner: Runner,
    /// What an app may use of this host. A sandbox is around it where the TEE is none itself.
    pub limits: Limits,
}

/// How a TEE is started.
#[derive(Debug, Clone)]
pub enum Runner {
    /// Processes of this host: the simulated TEE, with the app in a sandbox.
    Process(Simulated),
    /// An enclave of SGX by Gramine. Its manifest, which the operator builds, has launcher and app in it.
    Gramine(Gramine),
    /// A container in a confidential virtual machine, which is the TEE: this worker runs in it too.
    Oci(Oci),
}

/// The simulated TEE.
#[derive(Debug, Clone)]
pub struct Simulated {
    /// What it imitates.
    pub imitated: Imitated,
    /// The binary of the quoting process, `sesame-simulated-tee`.
    pub quoter: PathBuf,
    /// The file of the simulated root; the quoting process makes it if there is none.
    pub root_key: PathBuf,
    /// The launcher, `sesame-enclave`; it is measured.
    pub launcher: PathBuf,
}

/// An enclave that was built with Gramine, from the template `gramine/sesame-enclave.manifest.template`.
#[derive(Debug, Clone)]
pub struct Gramine {
    /// The program `gramine-sgx`.
    pub program: PathBuf,
    /// Where `sesame-enclave.manifest.sgx` and `sesame-enclave.sig` are.
    pub folder: PathBuf,
    /// The enclave id of that build: only tasks that are pinned to it run here.
    pub enclave: EnclaveId,
}

/// A container engine in a confidential virtual machine.
#[derive(Debug, Clone)]
pub struct Oci {
    /// The program `podman` or `docker`.
    pub program: PathBuf,
    /// The image; its entry point is the launcher.
    pub image: String,
    /// The enclave id of the virtual machine: only tasks that are pinned to it run here.
    pub enclave: EnclaveId,
}

/// Where a container finds what authorizes to the operator's storage.
const AUTHORIZATION: &str = "/run/result-authorization";

/// What a launcher in a container needs to make its app another user, to weigh what it writes, to end it, and to take back what
/// it left.
const OWN_USER: [&str; 5] = ["CHOWN", "DAC_READ_SEARCH", "KILL", "SETGID", "SETUID"];

/// What a launch tells the TEE.
pub(crate) struct Told<'a> {
    pub(crate) task: TaskId,
    pub(crate) sms_identity: Address,
    pub(crate) sms_url: &'a Url,
    pub(crate) deadline: u64,
    pub(crate) folder: &'a Folder,
    pub(crate) options: &'a HostOptions,
}

impl Told<'_> {
    /// The launcher's arguments that are the host's to give.
    fn host_args(&self, confinement: &Confinement) -> Vec<OsString> {
        let mut args: Vec<OsString> = Vec::new();
        args.extend(["--task".into(), self.task.to_string().into()]);
        args.extend(["--sms-url".into(), self.sms_url.as_str().into()]);
        args.extend(["--deadline".into(), self.deadline.to_string().into()]);
        args.extend(["--work-dir".into(), self.folder.tee().into()]);
        args.extend(["--sandbox".into(), confinement.sandbox.to_string().into()]);
        args.extend(confinement.limits.to_args().into_iter().map(OsString::from));
        args.extend(self.options.to_args().into_iter().map(OsString::from));
        args
    }
}

impl Tee {
    /// The id of the enclave that would run `app` here.
    ///
    /// # Errors
    /// When the launcher cannot be read, or this build knows no such TEE.
    pub(crate) fn enclave_id(&self, app: &[u8], sms: Address) -> Result<EnclaveId, TaskError> {
        match &self.runner {
            Runner::Process(simulated) => simulated.enclave_id(app, sms),
            Runner::Gramine(Gramine { enclave, .. }) | Runner::Oci(Oci { enclave, .. }) => {
                Ok(*enclave)
            }
        }
    }

    /// The command that starts a TEE, and is the host's side of its channel by its standard streams.
    pub(crate) fn command(&self, told: &Told<'_>) -> Command {
        let mut command = match &self.runner {
            Runner::Process(simulated) => simulated.command(told, self.confinement()),
            Runner::Gramine(gramine) => gramine.command(told, &self.confinement()),
            Runner::Oci(oci) => oci.command(told, &self.confinement()),
        };
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command
    }

    /// Gramine and the container are what is around the app. In a container, the app is kept from the kernel's reports.
    fn confinement(&self) -> Confinement {
        let sandbox = match &self.runner {
            Runner::Process(_) => Sandbox::default(),
            Runner::Gramine(_) => Sandbox::None,
            Runner::Oci(_) => Sandbox::User,
        };
        Confinement { sandbox, limits: self.limits.clone() }
    }
}

impl Simulated {
    #[cfg(feature = "simulated")]
    fn enclave_id(&self, app: &[u8], sms: Address) -> Result<EnclaveId, TaskError> {
        use sesame_attestation::simulated::{enclave_id_of, measure};

        let launcher = std::fs::read(&self.launcher).map_err(TaskError::Tee)?;
        Ok(enclave_id_of(self.imitated, &measure(&launcher, app, sms)))
    }

    #[cfg(not(feature = "simulated"))]
    fn enclave_id(&self, _app: &[u8], _sms: Address) -> Result<EnclaveId, TaskError> {
        Err(TaskError::NoTee)
    }

    fn command(&self, told: &Told<'_>, confinement: Confinement) -> Command {
        let mut command = Command::new(&self.quoter);
        command
            .args(["--tee", &self.imitated.to_string()])
            .arg("--root-key")
            .arg(&self.root_key)
            .arg("--launcher")
            .arg(&self.launcher)
            .arg("--app")
            .arg(told.folder.app())
            .args(["--sms-identity", &told.sms_identity.to_string(), "--"])
            .args(told.host_args(&confinement))
            .env_clear();
        command
    }
}

impl Gramine {
    /// The manifest says everything that is measured; what the host may say goes by the one variable that it lets in.
    fn command(&self, told: &Told<'_>, confinement: &Confinement) -> Command {
        let words: Vec<_> = told.host_args(confinement);
        let words = words.iter().map(|word| word.to_string_lossy());
        let mut command = Command::new(&self.program);
        command
            .arg("sesame-enclave")
            .current_dir(&self.folder)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env(sesame_enclave::HOST_ARGS, shell_words::join(words));
        command
    }
}

impl Oci {
    fn command(&self, told: &Told<'_>, confinement: &Confinement) -> Command {
        let Limits { memory_mib, processes, cpus, .. } = confinement.limits;
        let (app, folder) = (told.folder.app(), told.folder.tee());
        let mut options = told.options.clone();
        let authorization = options.result_authorization.take();
        options.result_authorization = authorization.is_some().then(|| AUTHORIZATION.into());
        let told = Told { options: &options, ..*told };
        let mount = |source: &std::path::Path, to: &str, mode: &str| {
            let mut volume = OsString::from("--volume=");
            volume.push(source);
            volume.push(format!(":{to}{mode}"));
            volume
        };
        let reports = "/sys/kernel/config/tsm";
        let mut command = Command::new(&self.program);
        command
            .args(["run", "--rm", "--interactive", "--read-only", "--cap-drop=ALL"])
            .args(OWN_USER.map(|capability| format!("--cap-add={capability}")))
            .args(["--security-opt=no-new-privileges", "--ulimit=core=0:0"])
            .arg(format!("--memory={memory_mib}m"))
            .arg(format!("--memory-swap={memory_mib}m"))
            .arg(format!("--pids-limit={processes}"))
            .args(cpus.map(|cpus| format!("--cpus={cpus}")))
            .arg(format!("--shm-size={memory_mib}m"))
            .arg(format!("--tmpfs=/tmp:rw,nosuid,nodev,size={memory_mib}m"))
            .arg(mount(reports.as_ref(), reports, ""))
            .arg(mount(&folder, &folder.display().to_string(), ""))
            .arg(mount(&app, "/app/main", ":ro"))
            .args(authorization.map(|file| mount(&file, AUTHORIZATION, ":ro")))
            .arg(&self.image)
            .args(["run", "--tee", "auto", "--app", "/app/main"])
            .args(["--sms-identity", &told.sms_identity.to_string()])
            .args(told.host_args(confinement));
        command
    }
}
