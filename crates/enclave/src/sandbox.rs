//! What an app can see and touch.
//!
//! bubblewrap gives it namespaces of its own: a file system put together from what it needs and nothing else, its own processes,
//! no network unless the order asks for one, no capabilities. The app's measured bytes, its secrets and its environment reach
//! bubblewrap as descriptors, so none of them is on a command line or in a file that another process could open.

use std::{
    ffi::{OsStr, OsString},
    fmt,
    fs::{self, File},
    io::{self, Read, Seek, Write},
    os::{
        fd::AsRawFd,
        unix::{
            ffi::OsStrExt,
            fs::{FileExt, PermissionsExt, lchown},
            process::ExitStatusExt,
        },
    },
    path::{Path, PathBuf},
    process::ExitStatus,
    str::FromStr,
    time::{Duration, Instant},
};

use rand::Rng;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::MemfdFlags,
    io::FdFlags,
    process::{Pid, PidfdFlags, Signal, geteuid, kill_process, pidfd_open},
};
use serde::Deserialize;
use tokio::process::Command;
use zeroize::Zeroizing;

use crate::{
    app::{App, AppError, LOGS},
    cgroup::Cgroup,
    limits::{self, Limits},
    scratch,
};

const ROOT: u32 = 0;

const BWRAP: &str = "/usr/bin/bwrap";

const SETPRIV: &str = "/usr/bin/setpriv";

const PRLIMIT: &str = "/usr/bin/prlimit";

/// The app's measured copy, as the app sees it.
const PROGRAM: &str = "/app/main";

/// What interpreters and libraries need, where the host has it. All of it is read-only and the same for every app.
const SYSTEM: [&str; 10] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/etc/ld.so.cache",
    "/etc/alternatives",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
];

/// What finding other hosts by name needs.
const NETWORK: [&str; 5] =
    ["/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/services"];

/// Enters a cgroup, and goes on as what follows.
const JOIN: &str = r#"echo $$ >"$0/cgroup.procs" && exec "$@""#;

/// How long the kernel may take to end what an app left running.
const LAST_BREATH: Duration = Duration::from_secs(10);

/// What is around an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sandbox {
    /// bubblewrap, by its path.
    Bubblewrap(PathBuf),
    /// A user of its own, for containers: nothing else is around the app, but it gets neither to what belongs to the launcher nor
    /// to the kernel's reports, so it cannot have a key of its own vouched for.
    User,
    /// Nothing: for TEEs that are sandboxes themselves. The app sees what the launcher sees, its processes have no limits but
    /// those of time and output, and the network is open to it.
    None,
}

impl Default for Sandbox {
    fn default() -> Self {
        Self::Bubblewrap(BWRAP.into())
    }
}

impl fmt::Display for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bubblewrap(_) => "bubblewrap",
            Self::User => "user",
            Self::None => "none",
        })
    }
}

/// A text names no sandbox.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is none of bubblewrap, user and none")]
pub struct UnknownSandbox(pub String);

impl FromStr for Sandbox {
    type Err = UnknownSandbox;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "bubblewrap" => Ok(Self::default()),
            "user" => Ok(Self::User),
            "none" => Ok(Self::None),
            other => Err(UnknownSandbox(other.to_owned())),
        }
    }
}

/// The folders of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folders {
    /// `IEXEC_IN`: it reads them.
    pub input: PathBuf,
    /// `IEXEC_OUT`: it writes what is to stay.
    pub output: PathBuf,
    /// Where it starts, in memory.
    pub home: PathBuf,
    /// Where its secrets are files, in memory.
    pub secrets: PathBuf,
}

impl Sandbox {
    /// These folders as an app in the sandbox sees them. bubblewrap's home and secrets are its own and exist nowhere else.
    #[must_use]
    pub fn seen(&self, folders: &Folders) -> Folders {
        match self {
            Self::Bubblewrap(_) => Folders {
                input: "/iexec_in".into(),
                output: "/iexec_out".into(),
                home: "/home/app".into(),
                secrets: "/run/secrets".into(),
            },
            Self::User | Self::None => folders.clone(),
        }
    }

    /// Whether this host makes such a sandbox for this user, before anything depends on it.
    ///
    /// # Errors
    /// When it does not.
    pub fn check(&self) -> Result<(), AppError> {
        let Self::Bubblewrap(bwrap) = self else { return Ok(()) };
        for program in [bwrap.as_path(), Path::new(SETPRIV), Path::new(PRLIMIT)] {
            is_there(program)?;
        }
        let mut options = Options::default();
        separate(&mut options, &Account::of_an_app(), false);
        show(&mut options, SYSTEM);
        let mut command = std::process::Command::new(bwrap);
        let output = command.args(options.0).arg("/bin/true").env_clear().output();
        let output = output.map_err(AppError::Start)?;
        match output.status.success() {
            true => Ok(()),
            false => {
                Err(AppError::NoSandbox(String::from_utf8_lossy(&output.stderr).trim().into()))
            }
        }
    }
}

fn is_there(program: &Path) -> Result<(), AppError> {
    let missing = || format!("{} is missing: install bubblewrap and util-linux", program.display());
    if program.exists() { Ok(()) } else { Err(AppError::NoSandbox(missing())) }
}

/// A sandbox and what may be used in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Confinement {
    /// What is around the app.
    pub sandbox: Sandbox,
    /// What it may use.
    pub limits: Limits,
}

impl Confinement {
    /// The command that starts an app in its sandbox.
    pub(crate) fn enclose(&self, app: &App<'_>) -> Result<Enclosure, AppError> {
        match &self.sandbox {
            Sandbox::Bubblewrap(bwrap) => bubblewrap(bwrap, app, &self.limits),
            Sandbox::User => match Account::in_a_container() {
                account @ Account::Own(_) => bare(app, account).map_err(AppError::Start),
                Account::Launcher => Err(AppError::NoSandbox(
                    "the launcher is not root, and so cannot make the app another user".to_owned(),
                )),
            },
            Sandbox::None => bare(app, Account::Launcher).map_err(AppError::Start),
        }
    }
}

/// An app that is about to start.
pub(crate) struct Enclosure {
    pub(crate) command: Command,
    /// What bubblewrap writes about its child.
    report: Option<File>,
    cgroup: Option<Cgroup>,
    account: Account,
    /// What is the app's while it runs, and root's again afterwards.
    lent: Vec<PathBuf>,
    /// What the command inherits.
    _inherited: Inherited,
}

impl Enclosure {
    /// Whether the app ended well, when all of it has ended.
    pub(crate) fn outcome(&self, status: ExitStatus, stderr: &Path) -> Result<(), AppError> {
        let Some(report) = &self.report else {
            self.account.end().and_then(|()| self.take_back()).map_err(AppError::Start)?;
            return outcome(status);
        };
        let report = Report::read(report).map_err(AppError::Start)?;
        report.wait_for_the_end().map_err(AppError::Start)?;
        self.take_back().map_err(AppError::Start)?;
        let Some(code) = report.exit_code else {
            return match status.signal() {
                Some(signal) => Err(AppError::Signal(signal)),
                None => Err(AppError::NoSandbox(last_words(stderr, "bwrap: "))),
            };
        };
        if code != 0 && self.cgroup.as_ref().is_some_and(Cgroup::ran_out_of_memory) {
            return Err(AppError::MemoryLimit);
        }
        inside(code, stderr)
    }

    fn take_back(&self) -> io::Result<()> {
        self.lent.iter().try_for_each(|path| give(path, ROOT))
    }
}

fn outcome(status: ExitStatus) -> Result<(), AppError> {
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(()),
        (Some(code), _) => Err(AppError::Code(code)),
        (None, signal) => Err(AppError::Signal(signal.unwrap_or_default())),
    }
}

/// What a code means that came through bubblewrap, which adds 128 to the number of a signal as shells do.
fn inside(code: i32, stderr: &Path) -> Result<(), AppError> {
    const CPU: i32 = Signal::XCPU.as_raw();
    const FILE_SIZE: i32 = Signal::XFSZ.as_raw();
    match code {
        0 => Ok(()),
        126 | 127 => {
            let said = last_words(stderr, "prlimit: failed to execute ");
            match said.is_empty() {
                true => Err(AppError::Code(code)),
                false => Err(AppError::Start(io::Error::other(said))),
            }
        }
        129.. => match code - 128 {
            CPU => Err(AppError::CpuLimit),
            FILE_SIZE => Err(AppError::OutputLimit),
            signal @ 1..=64 => Err(AppError::Signal(signal)),
            _ => Err(AppError::Code(code)),
        },
        _ => Err(AppError::Code(code)),
    }
}

/// The last line that begins so, without that beginning; empty if there is none.
fn last_words(log: &Path, beginning: &str) -> String {
    let read = || -> io::Result<String> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(io::SeekFrom::Start(length.saturating_sub(4096)))?;
        let mut bytes = Vec::new();
        file.take(4096).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    text.lines().rev().find_map(|line| line.strip_prefix(beginning)).unwrap_or_default().to_owned()
}

/// What bubblewrap writes about its child, in JSON lines.
#[derive(Debug, Default, PartialEq, Eq)]
struct Report {
    child: Option<i32>,
    exit_code: Option<i32>,
}

impl Report {
    fn read(file: &File) -> io::Result<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "kebab-case")]
        struct Line {
            child_pid: Option<i32>,
            exit_code: Option<i32>,
        }
        let mut bytes = vec![0; 4096];
        let read = file.read_at(&mut bytes, 0)?;
        bytes.truncate(read);
        let mut report = Self::default();
        for line in serde_json::Deserializer::from_slice(&bytes).into_iter::<Line>() {
            let line = line?;
            report.child = line.child_pid.or(report.child);
            report.exit_code = line.exit_code.or(report.exit_code);
        }
        Ok(report)
    }

    /// Waits until nothing of the app is left: bubblewrap ends with the app's first process, and the kernel ends the others.
    fn wait_for_the_end(&self) -> io::Result<()> {
        let Some(child) = self.child.and_then(Pid::from_raw) else { return Ok(()) };
        // An error says that it is gone.
        let Ok(child) = pidfd_open(child, PidfdFlags::empty()) else { return Ok(()) };
        let patience = Timespec::try_from(LAST_BREATH).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(&child, PollFlags::IN)], Some(&patience))? {
            0 => Err(io::ErrorKind::TimedOut.into()),
            _ => Ok(()),
        }
    }
}

/// Files that the next command inherits.
#[derive(Debug, Default)]
struct Inherited(Vec<File>);

impl Inherited {
    /// Has a file inherited; gives the number of its descriptor.
    fn file(&mut self, file: File) -> io::Result<String> {
        rustix::io::fcntl_setfd(&file, FdFlags::empty())?;
        let number = file.as_raw_fd().to_string();
        self.0.push(file);
        Ok(number)
    }

    /// The same with bytes in memory.
    fn bytes(&mut self, name: &str, bytes: &[u8]) -> io::Result<String> {
        let mut file = memory(name)?;
        file.write_all(bytes)?;
        file.rewind()?;
        self.file(file)
    }
}

fn memory(name: &str) -> io::Result<File> {
    Ok(File::from(rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC)?))
}

fn bare(app: &App<'_>, account: Account) -> io::Result<Enclosure> {
    for secret in app.secrets {
        scratch::write(&app.folders.secrets.join(&secret.variable), &secret.value)?;
    }
    let mut inherited = Inherited::default();
    let program = match app.program.starts_with("/proc/self/fd") {
        // A script's interpreter opens it once more.
        true => format!("/proc/self/fd/{}", inherited.file(File::open(app.program)?)?).into(),
        false => app.program.to_owned(),
    };
    let mut command = Command::new(program);
    command.args(&app.args).env_clear().envs(app.environment.iter());
    command.current_dir(&app.folders.home);
    let mut lent = account.borrow(app)?;
    if let Account::Own(id) = account {
        let Folders { input, output, home, secrets } = app.folders;
        for folder in [home, secrets] {
            give(folder, id)?;
            lent.push(folder.clone());
        }
        [input, output, home, secrets].into_iter().try_for_each(|folder| let_through(folder))?;
        command.uid(id).gid(id);
    }
    Ok(Enclosure { command, report: None, cgroup: None, account, lent, _inherited: inherited })
}

fn bubblewrap(bwrap: &Path, app: &App<'_>, limits: &Limits) -> Result<Enclosure, AppError> {
    is_there(bwrap)?;
    let group = |parent: &PathBuf| Cgroup::create(parent, limits);
    let cgroup = limits.cgroup.as_ref().map(group).transpose()?;
    enclose(bwrap, app, limits, cgroup).map_err(AppError::Start)
}

fn enclose(
    bwrap: &Path,
    app: &App<'_>,
    limits: &Limits,
    cgroup: Option<Cgroup>,
) -> io::Result<Enclosure> {
    let account = Account::of_an_app();
    let lent = account.borrow(app)?;
    let report = memory("report")?;
    let mut inherited = Inherited::default();
    let handed = Handed {
        report: inherited.file(report.try_clone()?)?,
        program: inherited.file(File::open(app.program)?)?,
        users: inherited.bytes("passwd", account.users().as_bytes())?,
        hosts: inherited.bytes("hosts", b"127.0.0.1 localhost\n::1 localhost\n")?,
        secrets: app
            .secrets
            .iter()
            .map(|secret| Ok((inherited.bytes("secret", &secret.value)?, &*secret.variable)))
            .collect::<io::Result<_>>()?,
    };
    let options = options(app, &account, limits, &handed).to_bytes();
    let options = inherited.bytes("options", &options)?;

    let mut command = Command::new(if cgroup.is_some() { Path::new("/bin/sh") } else { bwrap });
    if let Some(cgroup) = &cgroup {
        command.args(["-c", JOIN]).arg(cgroup.folder()).arg(bwrap);
    }
    command.args(["--args", &options, "--"]);
    command.args(account.steps()).args(steps(limits)).arg(PROGRAM).args(&app.args).env_clear();
    Ok(Enclosure { command, report: Some(report), cgroup, account, lent, _inherited: inherited })
}

/// The command that limits the next one; what each of its processes may use.
fn steps(limits: &Limits) -> Vec<String> {
    let mut steps = vec![
        PRLIMIT.to_owned(),
        "--core=0".to_owned(),
        format!("--data={}", limits::bytes(limits.memory_mib)),
        format!("--fsize={}", limits::bytes(limits.output_mib)),
        format!("--nproc={}", limits.processes),
    ];
    // First a signal that says why, then one that nobody can ignore.
    steps.extend(limits.cpu_seconds.map(|s| format!("--cpu={s}:{}", s.saturating_add(1))));
    steps.push("--".to_owned());
    steps
}

/// Who an app is to the kernel.
#[derive(Debug, PartialEq, Eq)]
enum Account {
    /// Nobody else on this host, which it takes root to be: no process of any other user can open what the app has.
    Own(u32),
    /// The launcher's own user, in a user namespace that hides it. The kernel gives every process of that user all power over
    /// the namespace, so what the app has is open to them.
    Launcher,
}

impl Account {
    /// What systemd's list of user ids leaves unused, between its containers and the ids of foreign disks.
    const UNUSED: std::ops::Range<u32> = 0x7000_0000..0x7FFE_0000;

    /// The one other user that a container has which is not told of more.
    const IN_A_CONTAINER: u32 = 1000;

    fn of_an_app() -> Self {
        let id = rand::rng().random_range(Self::UNUSED);
        match geteuid().is_root() {
            true => Self::Own(id),
            false => Self::Launcher,
        }
    }

    /// The same in a container, which may know few users.
    fn in_a_container() -> Self {
        match Self::of_an_app() {
            Self::Own(id) if !is_mapped(id) => Self::Own(Self::IN_A_CONTAINER),
            account @ (Self::Own(_) | Self::Launcher) => account,
        }
    }

    /// Its user id, and group id, as the app sees them.
    const fn id(&self) -> u32 {
        match self {
            Self::Own(id) => *id,
            Self::Launcher => 1000,
        }
    }

    fn users(&self) -> String {
        format!("app:x:{0}:{0}:app:/home/app:/bin/sh\n", self.id())
    }

    /// Lets the app use its folders, and reopen its output streams. Gives what has to be taken back.
    fn borrow(&self, app: &App<'_>) -> io::Result<Vec<PathBuf>> {
        let Self::Own(id) = *self else { return Ok(Vec::new()) };
        let mut lent = LOGS.map(|log| app.logs.join(log)).to_vec();
        lent.extend([app.folders.input.clone(), app.folders.output.clone()]);
        lent.iter().try_for_each(|path| give(path, id))?;
        Ok(lent)
    }

    /// Ends all processes of an app that is a user of its own, however they were started.
    fn end(&self) -> io::Result<()> {
        let Self::Own(id) = *self else { return Ok(()) };
        let patience = Instant::now() + LAST_BREATH;
        loop {
            let left = processes_of(id)?;
            if left.is_empty() {
                return Ok(());
            }
            if Instant::now() > patience {
                return Err(io::ErrorKind::TimedOut.into());
            }
            for process in left {
                // An error says that it is gone.
                let _ = kill_process(process, Signal::KILL);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The command that makes the next one this user, without capabilities and without a way to them.
    fn steps(&self) -> Vec<String> {
        let Self::Own(id) = self else { return Vec::new() };
        let [user, group] = ["reuid", "regid"].map(|kind| format!("--{kind}={id}"));
        [SETPRIV, &user, &group, "--clear-groups", "--inh-caps=-all"]
            .into_iter()
            .chain(["--bounding-set=-all", "--"])
            .map(ToOwned::to_owned)
            .collect()
    }
}

/// Whether this user id is anybody's in the launcher's user namespace.
fn is_mapped(id: u32) -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.lines().any(|line| {
        let mut numbers = line.split_whitespace().filter_map(|word| word.parse::<u64>().ok());
        let (first, _, many) = (numbers.next(), numbers.next(), numbers.next());
        first.zip(many).is_some_and(|(first, many)| (first..first + many).contains(&id.into()))
    })
}

/// The processes of a user, but for those that have ended and wait to be noticed.
fn processes_of(user: u32) -> io::Result<Vec<Pid>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let id =
            entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        let Some(id) = id else { continue };
        // What cannot be looked at is gone. The owner of the folder says less: a process may hide behind root there.
        let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        let line =
            |name| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        let alive = !line("State:").trim_start().starts_with(['Z', 'X']);
        if alive && line("Uid:").split_whitespace().any(|id| id.parse() == Ok(user)) {
            found.push(id);
        }
    }
    Ok(found)
}

/// Lets others pass through the folder that holds this one, and see nothing of it.
fn let_through(folder: &Path) -> io::Result<()> {
    let Some(holder) = folder.parent() else { return Ok(()) };
    let mode = fs::symlink_metadata(holder)?.permissions().mode();
    fs::set_permissions(holder, fs::Permissions::from_mode(mode | 0o011))
}

/// Makes a file, or a folder and all in it, a user's.
fn give(path: &Path, user: u32) -> io::Result<()> {
    lchown(path, Some(user), Some(user))?;
    if fs::symlink_metadata(path)?.is_dir() {
        for entry in fs::read_dir(path)? {
            give(&entry?.path(), user)?;
        }
    }
    Ok(())
}

/// Numbers of descriptors that bubblewrap reads or writes.
struct Handed<'a> {
    report: String,
    program: String,
    users: String,
    hosts: String,
    /// With the variables that name them.
    secrets: Vec<(String, &'a str)>,
}

/// bubblewrap's options, in its order: what is mounted later lies above what was mounted before.
#[derive(Default)]
struct Options(Vec<OsString>);

impl Options {
    fn add(&mut self, words: &[&dyn AsRef<OsStr>]) {
        for word in words {
            let word: &OsStr = (*word).as_ref();
            self.0.push(word.to_owned());
        }
    }

    /// As its option `--args` reads them.
    fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::new());
        for word in &self.0 {
            bytes.extend_from_slice(word.as_bytes());
            bytes.push(0);
        }
        bytes
    }
}

fn options(app: &App<'_>, account: &Account, limits: &Limits, handed: &Handed<'_>) -> Options {
    let mut options = Options::default();
    separate(&mut options, account, app.network);
    show_system(&mut options, app.network, handed);

    let size = limits::bytes(limits.memory_mib).to_string();
    options.add(&[&"--proc", &"/proc", &"--dev", &"/dev"]);
    for folder in ["/dev/shm", "/tmp", "/home/app"] {
        options.add(&[&"--perms", &"1777", &"--size", &size, &"--tmpfs", &folder]);
    }
    let seen = Sandbox::default().seen(app.folders);
    options.add(&[&"--perms", &"0755", &"--tmpfs", &seen.secrets]);
    for (descriptor, variable) in &handed.secrets {
        let file = seen.secrets.join(variable);
        options.add(&[&"--perms", &"0444", &"--file", descriptor, &file]);
    }
    options.add(&[&"--perms", &"0555", &"--ro-bind-data", &handed.program, &PROGRAM]);
    options.add(&[&"--ro-bind", &app.folders.input, &seen.input]);
    options.add(&[&"--bind", &app.folders.output, &seen.output]);
    for folder in ["/run/secrets", "/dev", "/"] {
        options.add(&[&"--remount-ro", &folder]);
    }
    options.add(&[&"--chdir", &seen.home, &"--json-status-fd", &handed.report]);
    for (name, value) in app.environment.iter() {
        options.add(&[&"--setenv", &name, &value]);
    }
    options
}

/// Namespaces and capabilities.
fn separate(options: &mut Options, account: &Account, network: bool) {
    options.add(&[&"--unshare-ipc", &"--unshare-pid", &"--unshare-uts", &"--unshare-cgroup-try"]);
    options.add(&[&"--hostname", &"app", &"--die-with-parent", &"--new-session"]);
    if !network {
        options.add(&[&"--unshare-net"]);
    }
    let id = account.id().to_string();
    match account {
        // What is left is what becoming another user takes, and is gone with it.
        Account::Own(_) => {
            options.add(&[&"--cap-drop", &"ALL", &"--cap-add", &"CAP_SETUID"]);
            options.add(&[&"--cap-add", &"CAP_SETGID", &"--cap-add", &"CAP_SETPCAP"]);
        }
        Account::Launcher => {
            options.add(&[&"--unshare-user", &"--disable-userns", &"--uid", &id, &"--gid", &id]);
        }
    }
}

/// What every app sees of the host.
fn show_system(options: &mut Options, network: bool, handed: &Handed<'_>) {
    for folder in ["/etc", "/etc/ssl", "/home", "/run", "/app"] {
        options.add(&[&"--perms", &"0755", &"--dir", &folder]);
    }
    show(options, SYSTEM);
    if network {
        show(options, NETWORK);
    }
    options.add(&[&"--perms", &"0444", &"--ro-bind-data", &handed.users, &"/etc/passwd"]);
    if !network {
        options.add(&[&"--perms", &"0444", &"--ro-bind-data", &handed.hosts, &"/etc/hosts"]);
    }
}

/// Files and folders of the host, where it has them.
fn show<const N: usize>(options: &mut Options, paths: [&str; N]) {
    for path in paths {
        options.add(&[&"--ro-bind-try", &path, &path]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn a_code_that_came_through_says_which_limit_it_was() {
        let quiet = log("");
        let check = |code, expected: &str| {
            let error = inside(code, quiet.path()).unwrap_err();
            assert!(format!("{error:?}").starts_with(expected), "{code}: {error:?}");
        };
        inside(0, quiet.path()).unwrap();
        check(3, "Code(3)");
        check(128, "Code(128)");
        check(127, "Code(127)");
        check(137, "Signal(9)");
        check(152, "CpuLimit");
        check(153, "OutputLimit");
        check(192, "Signal(64)");
        check(193, "Code(193)");
        check(255, "Code(255)");
    }

    #[test]
    fn an_app_that_cannot_be_executed_did_not_start() {
        let said =
            log("warning\nprlimit: failed to execute /app/main: No such file or directory\n");
        let error = inside(127, said.path()).unwrap_err();
        let AppError::Start(why) = &error else { panic!("{error:?}") };
        assert_eq!(why.to_string(), "/app/main: No such file or directory");
        // A command that the app did not find is the app's own failure.
        let error = inside(127, log("/app/main: 2: sum: not found\n").path()).unwrap_err();
        assert!(matches!(error, AppError::Code(127)), "{error:?}");
    }

    #[test]
    fn the_report_is_read_as_far_as_it_goes() {
        let report = |text: &str| {
            let file = log(text);
            Report::read(&File::open(file.path()).unwrap())
        };
        assert_eq!(report("").unwrap(), Report::default());
        let child = r#"{ "child-pid": 656, "net-namespace": 4026532182 }"#;
        assert_eq!(report(child).unwrap(), Report { child: Some(656), exit_code: None });
        let both = format!("{child}\n{{ \"exit-code\": 3 }}\n");
        assert_eq!(report(&both).unwrap(), Report { child: Some(656), exit_code: Some(3) });
        assert!(report("{ \"exit-code\": \"x\" }").is_err());
    }

    #[test]
    fn each_app_of_root_is_somebody_else() {
        let accounts: Vec<_> = (0..8).map(|_| Account::of_an_app()).collect();
        if geteuid().is_root() {
            assert!(accounts.iter().all(|account| Account::UNUSED.contains(&account.id())));
            assert!(accounts.iter().skip(1).any(|account| *account != accounts[0]));
        } else {
            assert!(accounts.iter().all(|account| *account == Account::Launcher));
        }
    }

    #[test]
    fn a_host_is_known_to_make_sandboxes_before_it_has_to() {
        Sandbox::default().check().unwrap();
        Sandbox::None.check().unwrap();
        let refused = Sandbox::Bubblewrap("/nowhere/bwrap".into()).check().unwrap_err();
        assert!(refused.to_string().contains("install bubblewrap"), "{refused}");
        let refused = Sandbox::Bubblewrap("/bin/false".into()).check().unwrap_err();
        assert!(matches!(refused, AppError::NoSandbox(_)), "{refused}");
    }

    #[test]
    fn a_sandbox_is_one_or_explicitly_none() {
        for sandbox in [Sandbox::default(), Sandbox::User, Sandbox::None] {
            assert_eq!(sandbox.to_string().parse(), Ok(sandbox));
        }
        for bad in ["", "off", "bwrap", "/usr/bin/bwrap", "None"] {
            assert_eq!(bad.parse::<Sandbox>(), Err(UnknownSandbox(bad.to_owned())));
        }
    }
}
