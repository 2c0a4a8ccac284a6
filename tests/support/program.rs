//! The service as a program of its own, so that it can be killed.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
};

use rustix::process::{Pid, Signal, kill_process};
use sesame_chain::Deployment;
use sesame_client::public::Public;
use sesame_protocol::status::{State, Status};

use crate::eventually;

const BUILD: &str = "run cargo build -p sesame --features simulated";

/// How a program is started.
#[derive(Debug, Clone)]
pub struct Launch<'a> {
    /// The node.
    pub rpc_url: String,
    /// What it follows.
    pub deployment: &'a Deployment,
    /// Its data.
    pub folder: &'a Path,
    /// Address and port; port 0 takes any.
    pub listen: &'a str,
    /// How deep a block must be.
    pub confirmations: u64,
    /// The folder that the root of the simulated TEE published, if that is trusted.
    pub root: Option<PathBuf>,
}

/// A running `sesame serve`. Killed when dropped.
#[derive(Debug)]
pub struct Program {
    child: Child,
    base: String,
    said: Arc<Mutex<String>>,
}

impl Program {
    /// Starts `sesame serve` and waits until it listens.
    ///
    /// # Panics
    /// When it does not.
    #[must_use]
    pub fn start(launch: &Launch<'_>) -> Self {
        Self::of(launch.command())
    }

    /// Starts it by this command and waits until it listens.
    ///
    /// # Panics
    /// When it does not.
    #[must_use]
    pub fn of(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("it can be started");
        let errors = child.stderr.take().expect("it has an error output");
        let mut lines = BufReader::new(errors).lines().map_while(Result::ok);
        let mut said = String::new();
        let base = lines.find_map(|line| {
            said += &format!("{line}\n");
            Some(line.split_once("serving at ")?.1.split([' ', '"']).next()?.to_owned())
        });
        let base = base.unwrap_or_else(|| panic!("it does not serve: {said}"));
        let said = Arc::new(Mutex::new(said));
        let heard = said.clone();
        // The pipe must not fill.
        std::thread::spawn(move || {
            for line in lines {
                *heard.lock().unwrap_or_else(PoisonError::into_inner) += &format!("{line}\n");
            }
        });
        Self { child, base, said }
    }

    /// The base URL.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Where it listens, to be started there again.
    #[must_use]
    pub fn listen(&self) -> String {
        self.base.trim_start_matches("http://").to_owned()
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote to its log so far.
    #[must_use]
    pub fn said(&self) -> String {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until its log has this: lines come a moment after what they tell of.
    ///
    /// # Panics
    /// When it does not come to that.
    pub async fn says(&self, words: &str) {
        eventually(&format!("the program says `{words}`"), async || {
            self.said().contains(words).then_some(())
        })
        .await;
    }

    /// How it says it is.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn status(&self) -> Status {
        let public = Public::new(&self.base).expect("the base is a URL");
        eventually("the program answers", async || public.status().await.ok()).await
    }

    /// Waits until it releases.
    pub async fn ready(&self) {
        eventually("the program is ready", async || {
            (self.status().await.state == State::Ready).then_some(())
        })
        .await;
    }

    /// Its process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to do what this signal says.
    ///
    /// # Panics
    /// When there is no such process.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("it has a process id"), signal).expect("it runs");
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn ended(&mut self) -> ExitStatus {
        let child = &mut self.child;
        eventually("the program ends", async || child.try_wait().expect("it is ours")).await
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // It may have ended by itself: the story will notice.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.end();
    }
}

impl Launch<'_> {
    /// The command, with its manifest written beside the data folder.
    ///
    /// # Panics
    /// When the manifest cannot be written.
    #[must_use]
    pub fn command(&self) -> Command {
        let manifest = self.folder.with_extension("deployment.json");
        let text = serde_json::to_string(self.deployment).expect("a manifest is JSON");
        fs::write(&manifest, text).expect("the folder can be written");
        let mut command = Command::new(program());
        command
            .args(["serve", "--poll-ms", "20", "--max-head-age-s", "315360000"])
            .args(["--confirmations", &self.confirmations.to_string()])
            .args(["--listen", self.listen, "--rpc-url", &self.rpc_url])
            .arg("--deployment")
            .arg(manifest)
            .arg("--data-dir")
            .arg(self.folder);
        if let Some(root) = &self.root {
            command.arg("--insecure-trust-simulated-root").arg(root);
        }
        command
    }
}

/// The binary beside the tests' own.
///
/// # Panics
/// When it was not built.
#[must_use]
pub fn program() -> PathBuf {
    let own = std::env::current_exe().expect("a test is a program");
    let beside = own.parent().and_then(Path::parent).map(|folder| folder.join("sesame"));
    let program = beside.expect("a test lies in a folder");
    assert!(program.exists(), "there is no {}: {BUILD}", program.display());
    program
}
