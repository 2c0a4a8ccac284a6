//! Runs the app, for as long as it may.

use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    path::Path,
    process::Stdio,
    time::Duration,
};

use rustix::process::{Pid, Signal};

use crate::{
    cgroup::CgroupError,
    environment::{Environment, Secret},
    limits,
    sandbox::{Confinement, Folders},
};

/// Where the app's output streams go.
pub(crate) const LOGS: [&str; 2] = ["stdout.txt", "stderr.txt"];

/// How often the output folder is weighed while the app runs.
const WEIGHING: Duration = Duration::from_millis(250);

/// How much room an app leaves to others, in bytes.
const FLOOR: u64 = 256 << 20;

/// No app leaves more files and folders.
const MAX_ENTRIES: usize = 100_000;

/// The app gave no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppError {
    /// There is no sandbox to run it in.
    #[error(
        "no sandbox for the app: {0}; let the kernel make user namespaces for this user (user.max_user_namespaces, and on some \
         systems kernel.unprivileged_userns_clone or kernel.apparmor_restrict_unprivileged_userns), run the worker as root, or \
         say --sandbox user or none where the TEE is the sandbox"
    )]
    NoSandbox(String),
    /// There is no cgroup to run it in, though one is asked for.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
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
    /// It ran for as long as the host lets it.
    #[error("the app ran for {} s, which is as long as this host lets it", .0.as_secs())]
    HostTimeLimit(Duration),
    /// One of its processes used the processor for as long as the host lets it.
    #[error("the app used the processor for as long as this host lets it")]
    CpuLimit,
    /// It took more memory than the host gives it, says its cgroup. Without one there is no telling: what the app wants to take
    /// beyond the limit is refused, and it ends as its programmer had it end then.
    #[error("the app took more memory than this host gives it")]
    MemoryLimit,
    /// It wrote more than the host lets it, or hid what it wrote.
    #[error("the app wrote more than this host lets it")]
    OutputLimit,
    /// Little is left of what its output is kept on: others need it too. What an app has open and deleted counts here alone.
    #[error("there is hardly any room left where the app's output is kept")]
    NoRoom,
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
    /// What it finds as files.
    pub secrets: &'a [Secret],
    /// Its folders, as they are outside of its sandbox.
    pub folders: &'a Folders,
    /// Whether it may open network connections.
    pub network: bool,
    /// Where `stdout.txt` and `stderr.txt` go.
    pub logs: &'a Path,
}

/// Runs an app until it ends, `limit` is over or the future is dropped, and ends whatever is left of it.
///
/// # Errors
/// When the app does not end by itself with zero, or uses more than it may.
pub async fn run(
    app: &App<'_>,
    confinement: &Confinement,
    limit: Duration,
) -> Result<(), AppError> {
    let [stdout, stderr] = LOGS.map(|name| File::create(app.logs.join(name)));
    let (stdout, stderr) = (stdout.map_err(AppError::Start)?, stderr.map_err(AppError::Start)?);
    let mut enclosure = confinement.enclose(app)?;
    let mut child = enclosure
        .command
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr)
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(AppError::Start)?;
    let _group = Group::of(child.id());
    let most = limits::bytes(confinement.limits.output_mib);
    let own = confinement.limits.shorter_than(limit);
    tokio::select! {
        status = child.wait() => {
            let [_, stderr] = LOGS.map(|name| app.logs.join(name));
            enclosure.outcome(status.map_err(AppError::Start)?, &stderr)?;
        }
        () = tokio::time::sleep(own.unwrap_or(limit)) => {
            return Err(own.map_or(AppError::TimeLimit, AppError::HostTimeLimit));
        }
        error = grown_beyond(&app.folders.output, most) => return Err(error),
    }
    match is_larger(&app.folders.output, most) {
        true => Err(AppError::OutputLimit),
        false => Ok(()),
    }
}

/// Ready when the folder is larger than it may be, or what it lies on is nearly full.
async fn grown_beyond(folder: &Path, most: u64) -> AppError {
    loop {
        if is_larger(folder, most) {
            return AppError::OutputLimit;
        }
        if is_nearly_full(folder) {
            return AppError::NoRoom;
        }
        tokio::time::sleep(WEIGHING).await;
    }
}

/// Whether the files of a folder have more than `most` bytes, are too many, or cannot be looked at: so would an app hide them.
/// What is gone meanwhile counts nothing.
fn is_larger(folder: &Path, most: u64) -> bool {
    weigh(folder, most).unwrap_or(true)
}

fn weigh(folder: &Path, most: u64) -> io::Result<bool> {
    let (mut size, mut entries) = (0_u64, 0);
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Some(listing) = unless_gone(fs::read_dir(folder))? else { continue };
        for entry in listing {
            let Some(entry) = unless_gone(entry)? else { continue };
            entries += 1;
            let Some(about) = unless_gone(entry.metadata())? else { continue };
            size = size.saturating_add(about.len());
            if size > most || entries > MAX_ENTRIES {
                return Ok(true);
            }
            if about.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    Ok(false)
}

fn unless_gone<T>(seen: io::Result<T>) -> io::Result<Option<T>> {
    match seen {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        seen => seen.map(Some),
    }
}

/// Whether there is less room than [`FLOOR`], or than a sixteenth of all where there is little. Gramine does not say.
fn is_nearly_full(folder: &Path) -> bool {
    let Ok(about) = rustix::fs::statvfs(folder) else { return false };
    let bytes = |blocks: u64| blocks.saturating_mul(about.f_frsize);
    bytes(about.f_bavail) < FLOOR.min(bytes(about.f_blocks) / 16)
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
    use crate::{limits::Limits, sandbox::Sandbox};

    /// A shell in no sandbox.
    async fn bare(
        program: &str,
        args: &[&str],
        limits: Limits,
        limit: Duration,
    ) -> (Result<(), AppError>, String) {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| {
            let path = folder.path().join(name);
            fs::create_dir(&path).unwrap();
            path
        };
        let folders = Folders {
            input: place("in"),
            output: place("out"),
            home: place("home"),
            secrets: place("secrets"),
        };
        let app = App {
            program: Path::new(program),
            args: args.iter().map(OsString::from).collect(),
            environment: &Environment::default(),
            secrets: &[],
            folders: &folders,
            network: false,
            logs: folder.path(),
        };
        let result = run(&app, &Confinement { sandbox: Sandbox::None, limits }, limit).await;
        (result, fs::read_to_string(folder.path().join("stdout.txt")).unwrap())
    }

    async fn shell(script: &str, limit: Duration) -> (Result<(), AppError>, String) {
        bare("/bin/sh", &["-c", script], Limits::default(), limit).await
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
        let (result, _) = bare("/nowhere/at/all", &[], Limits::default(), LONG).await;
        assert!(matches!(result, Err(AppError::Start(_))), "{result:?}");
    }

    #[tokio::test]
    async fn the_host_may_have_less_time_than_the_task() {
        let limits = Limits { seconds: Some(1), ..Limits::default() };
        let (result, _) = bare("/bin/sleep", &["63"], limits.clone(), LONG).await;
        assert!(matches!(result, Err(AppError::HostTimeLimit(_))), "{result:?}");
        let (result, _) = bare("/bin/sleep", &["64"], limits, Duration::from_millis(300)).await;
        assert!(matches!(result, Err(AppError::TimeLimit)), "{result:?}");
    }

    #[tokio::test]
    async fn a_sandbox_that_is_missing_is_not_done_without() {
        let sandbox = Sandbox::Bubblewrap("/nowhere/bwrap".into());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        let folders = Folders {
            input: path.clone(),
            output: path.clone(),
            home: path.clone(),
            secrets: path,
        };
        let app = App {
            program: Path::new("/bin/true"),
            args: Vec::new(),
            environment: &Environment::default(),
            secrets: &[],
            folders: &folders,
            network: false,
            logs: folder.path(),
        };
        let confinement = Confinement { sandbox, limits: Limits::default() };
        let refused = run(&app, &confinement, LONG).await.unwrap_err();
        assert!(refused.to_string().contains("install bubblewrap"), "{refused}");
    }

    #[test]
    fn a_folder_is_weighed_with_all_that_is_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join("a/b");
        fs::create_dir_all(&below).unwrap();
        let empty = (0..1 << 20).find(|size| !is_larger(folder.path(), *size)).unwrap();
        fs::write(below.join("c"), [0; 1000]).unwrap();
        std::os::unix::fs::symlink("/usr", below.join("link")).unwrap();
        assert!(is_larger(folder.path(), empty + 999));
        assert!(!is_larger(folder.path(), empty + 5000), "links are not followed");
    }
}
