//! bubblewrap's command line, and what is handed to it beside that.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use tokio::process::Command;
use zeroize::Zeroizing;

use super::{
    Sandbox,
    account::{Account, SETPRIV},
    inherited::{Inherited, memory},
    outcome::Enclosure,
};
use crate::{
    app::{App, AppError},
    cgroup::Cgroup,
    limits::{self, Limits},
};

pub(super) const BWRAP: &str = "/usr/bin/bwrap";

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

/// Whether this host makes such a sandbox for this user.
pub(super) fn check(bwrap: &Path) -> Result<(), AppError> {
    for program in [bwrap, Path::new(SETPRIV), Path::new(PRLIMIT)] {
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
        false => Err(AppError::NoSandbox(String::from_utf8_lossy(&output.stderr).trim().into())),
    }
}

fn is_there(program: &Path) -> Result<(), AppError> {
    let missing = || format!("{} is missing: install bubblewrap and util-linux", program.display());
    if program.exists() { Ok(()) } else { Err(AppError::NoSandbox(missing())) }
}

/// The command that starts an app in it.
pub(super) fn enclose(bwrap: &Path, app: &App<'_>, limits: &Limits) -> Result<Enclosure, AppError> {
    is_there(bwrap)?;
    let group = |parent: &PathBuf| Cgroup::create(parent, limits);
    let cgroup = limits.cgroup.as_ref().map(group).transpose()?;
    command(bwrap, app, limits, cgroup).map_err(AppError::Start)
}

fn command(
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
