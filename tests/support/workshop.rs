//! `sesame worker` as a program of its own, with real TEE processes of the simulated kind, so that all of it can be killed.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
};

use alloy::primitives::B256;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use sesame_attestation::simulated::{Imitated, enclave_id_of, measure};
use sesame_chain::Content;
use sesame_domain::{AssetId, EnclaveId, Order, TaskId, Terms};
use sha2::{Digest, Sha256};

use crate::{World, eventually, now, program};

/// What a world's worker runs tasks with.
#[derive(Debug)]
pub struct Workshop {
    /// The worker's folder.
    pub work_dir: PathBuf,
    /// The node that the worker asks.
    pub rpc_url: String,
    /// Further options of the command.
    pub options: Vec<String>,
    folder: PathBuf,
    key: String,
    sms: [String; 2],
}

impl Workshop {
    /// The world's worker, who trusts the world's service and has the world's simulated root.
    ///
    /// # Panics
    /// When a file cannot be written.
    #[must_use]
    pub fn new(world: &World) -> Self {
        let folder = world.folder().join("workshop");
        fs::create_dir_all(&folder).expect("a folder can be made");
        let mut options = fs::OpenOptions::new();
        let root = options.write(true).create_new(true).mode(0o600).open(folder.join("root.key"));
        root.and_then(|mut root| root.write_all(&world.root.to_json())).expect("a file is written");
        let manifest = serde_json::to_string(&world.deployment).expect("a manifest is JSON");
        fs::write(folder.join("deployment.json"), manifest).expect("a file can be written");
        Self {
            work_dir: folder.join("work"),
            rpc_url: world.node.url(),
            options: Vec::new(),
            key: world.worker.private_key(),
            sms: [world.sms.base().to_owned(), world.sms.identity.to_string()],
            folder,
        }
    }

    /// The same with further options of the command.
    #[must_use]
    pub fn with(mut self, options: &[&str]) -> Self {
        self.options.extend(options.iter().map(|&option| option.to_owned()));
        self
    }

    /// Registers this script as an app of the developer's, and lets the enclave that runs it here near it.
    ///
    /// # Panics
    /// When the contract refuses.
    pub async fn app(&self, world: &World, script: &str) -> (AssetId, EnclaveId) {
        let digest = B256::new(Sha256::digest(script).into());
        let path = self.script(script);
        fs::write(&path, script).expect("a file can be written");
        let content = Content { uri: format!("file://{}", path.display()), digest };
        let registered = world.developer.chain.register_app(&content, B256::random()).await;
        let app = registered.expect("an app is registered").result;
        let launcher = fs::read(built("sesame-enclave")).expect("the launcher can be read");
        let measured = measure(&launcher, script.as_bytes(), world.sms.identity);
        let enclave = enclave_id_of(Imitated::Sgx, &measured);
        world.allow_on(&world.developer, app, enclave, &Terms::default()).await;
        (app, enclave)
    }

    fn script(&self, script: &str) -> PathBuf {
        self.folder.join(format!("{}.sh", hex::encode(Sha256::digest(script))))
    }

    /// A TEE of its own for a task of such an app, with its files in `folder`: whoever starts it speaks to it as a worker does.
    #[must_use]
    pub fn tee(&self, script: &str, task: TaskId, folder: &Path) -> Command {
        let mut command = Command::new(built("sesame-simulated-tee"));
        command
            .env_clear()
            .args(["--tee", "sgx", "--root-key"])
            .arg(self.folder.join("root.key"))
            .arg("--launcher")
            .arg(built("sesame-enclave"))
            .arg("--app")
            .arg(self.script(script))
            .args(["--sms-identity", &self.sms[1], "--", "--task", &task.to_string()])
            .args(["--sms-url", &self.sms[0], "--deadline", &(now() + 600).to_string()])
            .arg("--work-dir")
            .arg(folder);
        command
    }

    /// The requester's order of such an app, for this worker, for ten minutes.
    #[must_use]
    pub fn order(world: &World, (app, enclave): (AssetId, EnclaveId)) -> Order {
        let any = crate::Build::of("any");
        let deadline = now() + 600;
        Order { enclave, deadline, params: String::new(), ..world.order(app, any) }
    }

    /// The command.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(program());
        command
            .env("SESAME_PRIVATE_KEY", &self.key)
            .args(["worker", "--poll-ms", "100"])
            .args(["--rpc-url", &self.rpc_url])
            .args(["--sms-url", &self.sms[0], "--sms-identity", &self.sms[1]])
            .arg("--deployment")
            .arg(self.folder.join("deployment.json"))
            .arg("--work-dir")
            .arg(&self.work_dir)
            .arg("--root-key")
            .arg(self.folder.join("root.key"))
            .arg("--quoter")
            .arg(built("sesame-simulated-tee"))
            .arg("--launcher")
            .arg(built("sesame-enclave"))
            .args(&self.options)
            .stdin(Stdio::null());
        command
    }

    /// Starts the worker.
    #[must_use]
    pub fn start(&self) -> Worker {
        Worker::of(self.command())
    }

    /// The folder of a task.
    #[must_use]
    pub fn folder_of(&self, task: TaskId) -> PathBuf {
        self.work_dir.join(task.to_string())
    }

    /// The digest of the result that the worker keeps of a task.
    #[must_use]
    pub fn kept(&self, task: TaskId) -> Option<B256> {
        let text = fs::read(self.folder_of(task).join("result.json")).ok()?;
        let result: Value = serde_json::from_slice(&text).ok()?;
        result["digest"].as_str()?.parse().ok()
    }

    /// The processes that the worker's folder or this word is an argument of, the worker aside.
    #[must_use]
    pub fn processes(&self, word: &str) -> Vec<u32> {
        let folder = self.work_dir.to_str().expect("a path of a test is text");
        let ours = |pid: &u32| {
            let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let arguments = String::from_utf8_lossy(&arguments).replace('\0', " ");
            let worker = arguments.contains(" worker --poll-ms ");
            !worker && (arguments.contains(folder) || arguments.contains(word))
        };
        let all = fs::read_dir("/proc").expect("there is /proc").flatten();
        let all = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        all.filter(ours).collect()
    }

    /// Waits until no process of a TEE is left.
    pub async fn quiet(&self, word: &str) {
        eventually("every process of a TEE has ended", async || {
            self.processes(word).is_empty().then_some(())
        })
        .await;
    }
}

/// A running `sesame worker`. Killed when dropped.
#[derive(Debug)]
pub struct Worker {
    child: Child,
    said: Arc<Mutex<String>>,
    hearing: Option<JoinHandle<()>>,
}

impl Worker {
    fn of(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("it can be started");
        let errors = child.stderr.take().expect("it has an error output");
        let said = Arc::new(Mutex::new(String::new()));
        let heard = Arc::clone(&said);
        let hearing = thread::spawn(move || {
            for line in BufReader::new(errors).lines().map_while(Result::ok) {
                *heard.lock().unwrap_or_else(PoisonError::into_inner) += &format!("{line}\n");
            }
        });
        Self { child, said, hearing: Some(hearing) }
    }

    /// What it wrote to its log so far.
    #[must_use]
    pub fn said(&self) -> String {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until its log has this.
    ///
    /// # Panics
    /// When it does not come to that.
    pub async fn says(&mut self, words: &str) {
        eventually(&format!("the worker says `{words}`"), async || {
            if self.child.try_wait().expect("it is a child").is_some() {
                self.end();
                let said = self.said();
                assert!(said.contains(words), "the worker ended without `{words}`: {said}");
            }
            self.said().contains(words).then_some(())
        })
        .await;
    }

    /// `kill -9`. Gives all that it said.
    ///
    /// # Panics
    /// Never: it is a child.
    pub fn kill(mut self) -> String {
        self.end();
        self.said()
    }

    /// Asks it to stop.
    ///
    /// # Panics
    /// When it has stopped before.
    pub fn terminate(&self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("it has a process id"), Signal::TERM).expect("it runs");
    }

    /// Waits until it ends by itself.
    ///
    /// # Panics
    /// When it does not.
    pub async fn ended(&mut self) -> ExitStatus {
        let ended = async || self.child.try_wait().expect("it is a child");
        let status = eventually("the worker ends", ended).await;
        self.end();
        status
    }

    fn end(&mut self) {
        // It may have ended by itself: the story will notice.
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Its last words are still to be read.
        if let Some(hearing) = self.hearing.take() {
            let _ = hearing.join();
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.end();
    }
}

/// A binary that was built with this program.
fn built(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("a test is a program");
    let found =
        own.ancestors().skip(1).take(2).map(|folder| folder.join(name)).find(|b| b.exists());
    found.unwrap_or_else(|| panic!("there is no {name}: run cargo build --workspace --bins"))
}
