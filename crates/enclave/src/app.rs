//! Runs the app, for as long as it may.

use std::{
    ffi::OsString,
    fs::File,
    io,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal};
use tokio::process::Command;

use crate::environment::Environment;

/// The app gave no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppError {
    /// It cannot be started.
    #[error("cannot start the app")]
    Start(#[source] io::Error),
    /// It ended with something else than zero.
    #[error("the app ended with code {0}")]
    Code(i32),
    /// A signal ended it.
    #[error("signal {0} ended the app")]
    Signal(i32),
    /// It ran up to the deadline of the task.
    #[error("the app ran into the task's deadline")]
    TimeLimit,
}

/// What to run.
#[derive(Debug)]
pub struct App<'a> {
    /// The executable.
    pub program: &'a Path,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// All that it finds in its environment.
    pub environment: &'a Environment,
    /// Where it starts.
    pub folder: &'a Path,
    /// Where `stdout.txt` and `stderr.txt` go.
    pub logs: &'a Path,
}

/// Runs an app until it ends, `limit` is over or the future is dropped, and ends whatever is left of its process group.
///
/// # Errors
/// When the app does not end by itself with zero.
pub async fn run(app: &App<'_>, limit: Duration) -> Result<(), AppError> {
    let log = |name: &str| File::create(app.logs.join(name)).map_err(AppError::Start);
    let mut child = Command::new(app.program)
        .args(&app.args)
        .env_clear()
        .envs(app.environment.iter())
        .current_dir(app.folder)
        .stdin(Stdio::null())
        .stdout(log("stdout.txt")?)
        .stderr(log("stderr.txt")?)
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(AppError::Start)?;
    let _group = Group::of(child.id());
    match tokio::time::timeout(limit, child.wait()).await {
        Ok(status) => outcome(status.map_err(AppError::Start)?),
        Err(_) => Err(AppError::TimeLimit),
    }
}

fn outcome(status: ExitStatus) -> Result<(), AppError> {
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(()),
        (Some(code), _) => Err(AppError::Code(code)),
        (None, signal) => Err(AppError::Signal(signal.unwrap_or_default())),
    }
}

/// A process group that does not outlive this value.
struct Group(Option<Pid>);

impl Group {
    fn of(leader: Option<u32>) -> Self {
        Self(leader.and_then(|id| id.try_into().ok()).and_then(Pid::from_raw))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // An error says that nobody is left.
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    async fn shell(script: &str, limit: Duration) -> (Result<(), AppError>, String) {
        let folder = tempfile::tempdir().unwrap();
        let app = App {
            program: Path::new("/bin/sh"),
            args: vec!["-c".into(), script.into()],
            environment: &Environment::default(),
            folder: folder.path(),
            logs: folder.path(),
        };
        let result = run(&app, limit).await;
        (result, std::fs::read_to_string(folder.path().join("stdout.txt")).unwrap())
    }

    const LONG: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn nothing_is_inherited() {
        let (result, output) = shell("/usr/bin/env; /bin/cat", LONG).await;
        result.unwrap();
        let names: Vec<_> = output.lines().filter_map(|line| line.split('=').next()).collect();
        // The shell itself sets these.
        assert!(
            names.iter().all(|name| ["PWD", "_", "OLDPWD", "SHLVL"].contains(name)),
            "{names:?}"
        );
    }

    #[tokio::test]
    async fn an_app_that_fails_says_how() {
        assert!(matches!(shell("exit 3", LONG).await.0, Err(AppError::Code(3))));
        assert!(matches!(shell("kill -9 $$", LONG).await.0, Err(AppError::Signal(9))));
    }

    #[tokio::test]
    async fn the_limit_ends_the_whole_group() {
        let started = Instant::now();
        let script = "sleep 61 & echo $!; wait";
        let (result, output) = shell(script, Duration::from_millis(300)).await;
        assert!(matches!(result, Err(AppError::TimeLimit)));
        assert!(started.elapsed() < LONG);
        assert_gone(&output).await;
    }

    #[tokio::test]
    async fn what_an_app_leaves_behind_is_ended() {
        let (result, output) = shell("sleep 62 & echo $!", LONG).await;
        result.unwrap();
        assert_gone(&output).await;
    }

    async fn assert_gone(pid: &str) {
        let child = format!("/proc/{}/stat", pid.trim());
        for _ in 0..100 {
            // A zombie that its new parent has not yet collected counts as gone.
            match std::fs::read_to_string(&child) {
                Ok(stat) if !stat.contains(") Z") => {
                    tokio::time::sleep(Duration::from_millis(20)).await
                }
                _ => return,
            }
        }
        panic!("the app's child outlived it");
    }

    #[tokio::test]
    async fn a_missing_program_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let app = App {
            program: Path::new("/nowhere/at/all"),
            args: vec![],
            environment: &Environment::default(),
            folder: folder.path(),
            logs: folder.path(),
        };
        assert!(matches!(run(&app, LONG).await, Err(AppError::Start(_))));
    }
}
