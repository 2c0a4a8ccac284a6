//! Apps in their sandbox, run as the launcher runs them: as root, and as a user that is nobody special.

#![expect(clippy::unwrap_used, reason = "a test may fail anywhere")]

mod processes;

use std::{
    ffi::OsString,
    fs,
    io::{Read, Write},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Once,
    thread,
    time::{Duration, Instant},
};

use sesame_domain::{AssetId, TaskId};
use sesame_enclave::{
    app::{App, AppError, run},
    environment::{Environment, Facts, Secret},
    limits::Limits,
    sandbox::{Confinement, Folders, Sandbox},
};
use tempfile::TempDir;

use processes::descendants;

const LONG: Duration = Duration::from_secs(60);

/// A user that nothing on the host belongs to.
const STRANGER: &str = "65534";

/// All that an app has, to be changed before it runs.
struct World {
    folder: TempDir,
    folders: Folders,
    limits: Limits,
    sandbox: Sandbox,
    network: bool,
    secrets: Vec<Secret>,
}

impl World {
    fn new() -> Self {
        // As the launcher does first, for whatever these tests inherit.
        static ONCE: Once = Once::new();
        ONCE.call_once(|| close_fds::set_fds_cloexec(3, &[]));
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| {
            let path = folder.path().join(name);
            fs::create_dir(&path).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
            path
        };
        let folders = Folders {
            input: place("in"),
            output: place("out"),
            home: place("home"),
            secrets: place("secrets"),
        };
        let data = folders.input.join("data");
        fs::write(&data, "the data\n").unwrap();
        fs::set_permissions(&data, fs::Permissions::from_mode(0o600)).unwrap();
        let secret = |variable: &str, value: &[u8]| Secret {
            variable: variable.to_owned(),
            value: value.to_vec().into(),
        };
        let secrets = vec![
            secret("IEXEC_APP_DEVELOPER_SECRET", b"hunter2"),
            secret("IEXEC_REQUESTER_SECRET_1", b"sesame\0sesame"),
        ];
        let limits = Limits { memory_mib: 256, ..Limits::default() };
        Self { folder, folders, limits, sandbox: Sandbox::default(), network: false, secrets }
    }

    async fn run_for(&self, app: &str, time: Duration) -> Result<(), AppError> {
        let program = self.folder.path().join("program");
        fs::write(&program, app).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let confinement =
            Confinement { sandbox: self.sandbox.clone(), limits: self.limits.clone() };
        let facts = Facts {
            task: TaskId([7; 32].into()),
            app: AssetId([9; 32].into()),
            folders: confinement.sandbox.seen(&self.folders),
            input_files: Vec::new(),
            data: Vec::new(),
        };
        let mut environment = Environment::new(&facts);
        environment.add_secrets(&facts.folders.secrets, &self.secrets);
        let app = App {
            program: &program,
            args: vec![OsString::from("a b"), OsString::from("c")],
            environment: &environment,
            secrets: &self.secrets,
            folders: &self.folders,
            network: self.network,
            logs: self.folder.path(),
        };
        run(&app, &confinement, time).await
    }

    async fn run(&self, app: &str) -> Result<(), AppError> {
        self.run_for(app, LONG).await
    }

    /// What a shell script writes.
    async fn said(&self, script: &str) -> String {
        let result = self.run(&format!("#!/bin/sh\n{script}\n")).await;
        assert!(result.is_ok(), "{result:?} {}", self.log("stderr.txt"));
        self.log("stdout.txt")
    }

    fn log(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    fn output(&self, name: &str) -> PathBuf {
        self.folders.output.join(name)
    }
}

/// Runs the test of this name once more as a user that is nobody special, if this one is root. True for that second run, and
/// where the tests are run by such a user anyway.
fn as_nobody_special(test: &str) -> bool {
    if !is_root() {
        return true;
    }
    // The test's own binary may be where only root can look.
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let copy = folder.path().join("test");
    fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    let output = Command::new("setpriv")
        .args(["--reuid", STRANGER, "--regid", STRANGER, "--clear-groups", "--"])
        .arg(copy)
        .args(["--exact", test, "--nocapture"])
        .current_dir("/tmp")
        .env("TMPDIR", "/tmp")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    false
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// What every app finds, whoever the launcher is.
async fn looks_around() {
    let world = World::new();
    let host = world.folder.path().join("host");
    fs::write(&host, "host").unwrap();
    let seen = world.said("ls -A / /dev/shm /home /run /tmp /app | tr '\\n' ' '").await;
    for word in seen.split_whitespace() {
        let known = "/: /dev/shm: /home: /run: /tmp: /app: app bin dev etc home iexec_in iexec_out lib lib32 lib64 proc run sbin \
                     secrets tmp usr main";
        assert!(known.split(' ').any(|name| name == word), "{word} in {seen}");
    }
    let files = world.said("find / -xdev -path /usr -prune -o -type f -print 2>/dev/null").await;
    assert!(!files.contains(world.folder.path().to_str().unwrap()), "{files}");
    for path in ["/etc/shadow", "/etc/hostname", "/root", "/var", "/sys", "/opt", "/mnt"] {
        assert_eq!(world.said(&format!("ls -d {path} 2>/dev/null || true")).await, "", "{path}");
    }
    let hidden = world.said(&format!("cat {} 2>/dev/null || echo hidden", host.display())).await;
    assert_eq!(hidden, "hidden\n");

    let processes = world.said("ls -d /proc/[0-9]* | wc -l").await;
    assert!(processes.trim().parse::<u32>().unwrap() < 8, "{processes}");
    assert_eq!(world.said("hostname 2>/dev/null || cat /proc/sys/kernel/hostname").await, "app\n");
    let status = world.said("grep -E '^(Cap|NoNewPrivs)' /proc/self/status").await;
    for line in status.lines() {
        let (name, value) = line.split_once(":\t").unwrap();
        match name {
            "NoNewPrivs" => assert_eq!(value, "1"),
            "CapBnd" if !is_root() => {}
            _ => assert_eq!(value, "0000000000000000", "{name}"),
        }
    }
    let descriptors = world.said("exec ls /proc/self/fd").await;
    assert_eq!(descriptors, "0\n1\n2\n3\n", "the last is the one that looks");
    assert_eq!(world.said("id -un; ulimit -c").await, "app\n0\n");
    assert_eq!(world.said("printf '%s,' \"$0\" \"$@\"").await, "/app/main,a b,c,");
}

#[tokio::test]
async fn an_app_sees_what_it_needs_and_nothing_of_the_host() {
    looks_around().await;
}

#[tokio::test]
async fn an_app_of_nobody_special_sees_no_more() {
    if as_nobody_special("an_app_of_nobody_special_sees_no_more") {
        looks_around().await;
    }
}

/// What every app may write.
async fn writes_around() {
    let world = World::new();
    let script = "for place in /x /usr/x /etc/x /app/x /app/main /iexec_in/x /iexec_in/data /run/x /run/secrets/x \\
                  /run/secrets/IEXEC_APP_DEVELOPER_SECRET /dev/x /proc/sys/kernel/hostname /etc/passwd; do
                      (echo x >>$place) 2>/dev/null && echo $place
                  done
                  for place in /iexec_out/x /tmp/x /home/app/x /dev/shm/x /dev/null /dev/stdout /dev/stderr; do
                      (echo x >$place) || exit 1
                  done";
    assert_eq!(world.said(script).await, "x\n");
    assert_eq!(fs::read_to_string(world.output("x")).unwrap(), "x\n");
    assert_eq!(fs::read_dir(&world.folders.output).unwrap().count(), 1);
    assert_eq!(world.log("stderr.txt"), "x\n");
    let in_memory = world.said("df /tmp /home/app /dev/shm /run/secrets | grep -c ^tmpfs").await;
    assert_eq!(in_memory, "4\n");
}

#[tokio::test]
async fn an_app_writes_to_its_output_and_to_memory_alone() {
    writes_around().await;
}

#[tokio::test]
async fn an_app_of_nobody_special_writes_no_further() {
    if as_nobody_special("an_app_of_nobody_special_writes_no_further") {
        writes_around().await;
    }
}

#[tokio::test]
async fn secrets_and_data_are_where_the_environment_says() {
    let world = World::new();
    let script = "cat $IEXEC_IN/data $IEXEC_REQUESTER_SECRET_1_FILE $IEXEC_APP_DEVELOPER_SECRET_FILE
                  echo; echo $IEXEC_APP_DEVELOPER_SECRET $IEXEC_IN $IEXEC_OUT; pwd; env | grep -c SECRET";
    let said = world.said(script).await;
    let expected = "the data\nsesame\0sesamehunter2\nhunter2 /iexec_in /iexec_out\n/home/app\n3\n";
    assert_eq!(said, expected);
}

#[tokio::test]
async fn interpreters_find_what_they_need() {
    let world = World::new();
    let app = "#!/usr/bin/env python3
import hashlib, os, ssl, sys
ssl.create_default_context()
open(os.environ['IEXEC_OUT'] + '/seen', 'w').write(hashlib.sha256(open(__file__, 'rb').read()).hexdigest())
";
    world.run(app).await.unwrap();
    let seen = fs::read_to_string(world.output("seen")).unwrap();
    let expected = <sha2::Sha256 as sha2::Digest>::digest(app);
    assert_eq!(seen, hex::encode(expected), "what runs is what was handed over");
}

/// A server on this host that says hello; gives its port.
fn server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    thread::spawn(move || {
        while let Ok((mut peer, _)) = listener.accept() {
            let _ = peer.write_all(b"hello");
        }
    });
    port
}

const CONNECT: &str = "#!/usr/bin/python3
import socket
try:
    print(socket.create_connection(('localhost', PORT), 10).recv(5).decode())
except OSError:
    print('refused')
";

#[tokio::test]
async fn there_is_no_network_unless_it_is_asked_for() {
    let app = CONNECT.replace("PORT", &server());
    let mut world = World::new();
    world.run(&app).await.unwrap();
    assert_eq!(world.log("stdout.txt"), "refused\n");
    world.network = true;
    world.run(&app).await.unwrap();
    assert_eq!(world.log("stdout.txt"), "hello\n");
}

#[tokio::test]
async fn each_limit_has_its_name() {
    let mut world = World::new();
    world.limits = Limits { memory_mib: 64, cpu_seconds: Some(1), ..world.limits };
    let result = world.run("#!/bin/sh\nwhile :; do :; done\n").await;
    assert!(matches!(result, Err(AppError::CpuLimit)), "{result:?}");
    let stubborn = "#!/bin/sh\ntrap '' XCPU\nwhile :; do :; done\n";
    let result = world.run(stubborn).await;
    assert!(matches!(result, Err(AppError::Signal(9))), "{result:?}");

    let mut world = World::new();
    world.limits.seconds = Some(1);
    let result = world.run("#!/bin/sh\nsleep 600\n").await;
    assert!(matches!(result, Err(AppError::HostTimeLimit(_))), "{result:?}");
    let result = world.run_for("#!/bin/sh\nsleep 600\n", Duration::from_millis(300)).await;
    assert!(matches!(result, Err(AppError::TimeLimit)), "{result:?}");

    let mut world = World::new();
    world.limits.output_mib = 1;
    let one = "#!/bin/sh\nexec dd if=/dev/zero of=$IEXEC_OUT/large bs=1M count=2\n";
    let result = world.run(one).await;
    assert!(matches!(result, Err(AppError::OutputLimit)), "one file: {result:?}");
    let many = "#!/bin/sh\nfor i in 1 2 3; do dd if=/dev/zero of=$IEXEC_OUT/$i bs=1k count=600 || exit; done\nsleep 600\n";
    let result = world.run(many).await;
    assert!(matches!(result, Err(AppError::OutputLimit)), "several, while it runs: {result:?}");
    let result = world.run(&many.replace("sleep 600", "")).await;
    assert!(matches!(result, Err(AppError::OutputLimit)), "several, at its end: {result:?}");
}

#[tokio::test]
async fn what_an_app_wants_beyond_its_limits_is_refused() {
    let mut world = World::new();
    world.limits = Limits { memory_mib: 64, processes: 20, ..world.limits };
    let memory = "#!/usr/bin/python3
try:
    bytearray(1 << 30)
except MemoryError:
    print('no memory')
";
    world.run(memory).await.unwrap();
    assert_eq!(world.log("stdout.txt"), "no memory\n");
    let greedy = "#!/usr/bin/python3\nbytearray(1 << 30)\n";
    let result = world.run(greedy).await;
    assert!(matches!(result, Err(AppError::Code(1))), "{result:?}");
    let disk =
        world.said("dd if=/dev/zero of=/tmp/x bs=1M count=200 2>/dev/null || echo full").await;
    assert_eq!(disk, "full\n");
    let processes = "#!/usr/bin/python3
import subprocess
try:
    for i in range(100): subprocess.Popen(['/bin/sleep', '600'])
except BlockingIOError:
    print('no process after', i)
";
    world.run(processes).await.unwrap();
    let said = world.log("stdout.txt");
    assert!(said.starts_with("no process after 1"), "{said} {}", world.log("stderr.txt"));
}

#[tokio::test]
async fn nothing_of_an_app_is_left_when_it_has_ended() {
    let world = World::new();
    // It leaves its session and its group, and would write to the output for ever.
    let script = "setsid sh -c 'while :; do echo x >>/iexec_out/late; done' & while ! test -s /iexec_out/late; do :; done";
    world.said(script).await;
    let size = || fs::metadata(world.output("late")).unwrap().len();
    let before = size();
    thread::sleep(Duration::from_millis(100));
    assert_eq!(size(), before);
}

#[tokio::test]
async fn an_app_that_cannot_be_executed_is_named() {
    let world = World::new();
    let result = world.run("#!/nowhere/at/all\n").await;
    assert!(matches!(result, Err(AppError::Start(_))), "{result:?}");
    let result = world.run("#!/bin/sh\nnosuchcommand\n").await;
    assert!(matches!(result, Err(AppError::Code(127))), "{result:?}");
    let result = world.run("#!/bin/sh\nexit 3\n").await;
    assert!(matches!(result, Err(AppError::Code(3))), "{result:?}");
    let result = world.run("#!/bin/sh\nkill -9 $$\n").await;
    assert!(matches!(result, Err(AppError::Signal(9))), "{result:?}");
}

#[tokio::test]
async fn a_kernel_that_makes_no_sandbox_is_said_to_and_nothing_runs() {
    let world = World::new();
    let bwrap = world.folder.path().join("bwrap");
    let said = "bwrap: No permissions to create new namespace";
    fs::write(&bwrap, format!("#!/bin/sh\necho '{said}' >&2\nexit 1\n")).unwrap();
    fs::set_permissions(&bwrap, fs::Permissions::from_mode(0o755)).unwrap();
    let app = App {
        program: Path::new("/bin/true"),
        args: Vec::new(),
        environment: &Environment::default(),
        secrets: &[],
        folders: &world.folders,
        network: false,
        logs: world.folder.path(),
    };
    let sandbox = Sandbox::Bubblewrap(bwrap);
    let confinement = Confinement { sandbox, limits: Limits::default() };
    let refused = run(&app, &confinement, LONG).await.unwrap_err();
    assert!(matches!(refused, AppError::NoSandbox(_)), "{refused:?}");
    let told = refused.to_string();
    assert!(told.contains("No permissions") && told.contains("--sandbox user or none"), "{told}");
}

const WAIT: &str = "#!/bin/sh\necho $IEXEC_OUT >/iexec_out/started\nwhile ! test -e /iexec_out/go; do sleep 0.05; done\n";

/// Looks at every process of a running app with `look`, which gets the numbers of those that belong to it.
async fn while_it_runs(world: &World, look: impl FnOnce(Vec<u32>) + Send + 'static) {
    let (started, go) = (world.output("started"), world.output("go"));
    let name = world.folder.path().to_str().unwrap().to_owned();
    let looking = thread::spawn(move || {
        let deadline = Instant::now() + LONG;
        while !started.exists() {
            assert!(Instant::now() < deadline, "the app does not start in {name}");
            thread::sleep(Duration::from_millis(10));
        }
        look(descendants(std::process::id()));
        fs::write(go, "").unwrap();
    });
    let result = world.run(WAIT).await;
    looking.join().unwrap();
    assert!(result.is_ok(), "{result:?}");
}

#[tokio::test]
async fn no_secret_is_on_a_command_line() {
    let world = World::new();
    while_it_runs(&world, |processes| {
        assert!(processes.len() >= 3, "{processes:?}");
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line);
            assert!(!line.contains("hunter2") && !line.contains("sesame\0sesame"), "{line}");
        }
        // bubblewrap itself has no environment at all.
        let environ = fs::read(format!("/proc/{}/environ", processes[0])).unwrap();
        assert!(environ.is_empty());
    })
    .await;
}

/// What of a process this user can open: its files in /proc, and `mem`, which takes what attaching a debugger takes.
fn openable(process: u32, user: Option<&str>) -> Vec<String> {
    let script = format!(
        "cd /proc/{process} 2>/dev/null || exit 0
         for file in environ maps auxv mem; do (exec 3<$file) 2>/dev/null && head -c 1 $file >/dev/null 2>&1 && echo $file; done
         (exec 3<mem) 2>/dev/null && echo mem
         for link in root cwd exe; do readlink $link 2>/dev/null; done
         ls root/ fd/ 2>/dev/null"
    );
    let mut command = match user {
        None => Command::new("/bin/sh"),
        Some(user) => {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", user, "--regid", user, "--clear-groups", "--", "/bin/sh"]);
            command
        }
    };
    let output = command.args(["-c", &script]).stdin(Stdio::null()).output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(ToOwned::to_owned).collect()
}

/// A launcher that is root gives each app a user of its own, so that no other user's process can open what it has.
#[tokio::test]
async fn what_an_app_of_root_has_is_closed_to_every_other_user() {
    if !is_root() {
        return;
    }
    let world = World::new();
    let input = world.folders.input.join("data");
    while_it_runs(&world, move |processes| {
        for process in processes {
            assert_eq!(openable(process, Some(STRANGER)), [""; 0]);
        }
        let open = |path: &Path| {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", STRANGER, "--regid", STRANGER, "--clear-groups", "--", "cat"]);
            command.arg(path).stderr(Stdio::null()).output().unwrap().status.success()
        };
        assert!(!open(&input), "the data");
        assert!(!open(Path::new("/run/secrets/IEXEC_APP_DEVELOPER_SECRET")), "no such file here");
    })
    .await;
}

/// The test of the test above: it finds what is open.
#[test]
fn what_is_open_is_found() {
    let mut child = Command::new("/bin/sleep").arg("600").spawn().unwrap();
    let found = openable(child.id(), None);
    child.kill().unwrap();
    child.wait().unwrap();
    for file in ["environ", "maps", "mem", "/sleep"] {
        assert!(found.iter().any(|name| name.ends_with(file)), "{file} in {found:?}");
    }
}

/// The kernel gives a user namespace's owner all power over it, so this stays open; it is said in the README.
#[tokio::test]
async fn what_an_app_of_nobody_special_has_is_open_to_the_same_user() {
    if !as_nobody_special("what_an_app_of_nobody_special_has_is_open_to_the_same_user") {
        return;
    }
    let world = World::new();
    while_it_runs(&world, |processes| {
        let found = openable(*processes.last().unwrap(), None);
        assert!(found.iter().any(|name| name == "environ"), "the README can be mended: {found:?}");
    })
    .await;
}

/// Two apps of one launcher's user cannot find each other.
#[tokio::test]
async fn apps_are_closed_to_each_other() {
    let (one, other) = (World::new(), World::new());
    let (started, go) = (one.output("started"), one.output("go"));
    let search = async {
        let deadline = Instant::now() + LONG;
        while !started.exists() {
            assert!(Instant::now() < deadline);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let found = other
            .said("cat /proc/[0-9]*/environ | tr '\\0' '\\n' | grep -c ^IEXEC_TASK_ID; ls /dev/shm")
            .await;
        fs::write(&go, "").unwrap();
        found
    };
    let (ran, found) = tokio::join!(one.run(WAIT), search);
    ran.unwrap();
    let own: u32 = found.trim().parse().unwrap();
    assert!((1..=6).contains(&own), "its own and those of its tools: {found}");
}

#[test]
fn the_launcher_itself_is_closed_to_its_own_user() {
    if !as_nobody_special("the_launcher_itself_is_closed_to_its_own_user") {
        return;
    }
    // A process that hardens itself as the launcher does: this test's own.
    sesame_enclave::harden::harden(sesame_enclave::harden::Kernel::Linux).unwrap();
    let found = openable(std::process::id(), None);
    assert_eq!(found, [""; 0]);
    let mut environ = Vec::new();
    let own = fs::File::open("/proc/self/environ").and_then(|mut f| f.read_to_end(&mut environ));
    assert!(own.is_err(), "not even by its own name: the kernel gives the files to root");
}

/// As in a container, where nothing but its user keeps an app from the kernel's reports.
#[tokio::test]
async fn an_app_without_a_sandbox_is_a_user_of_its_own() {
    if !is_root() {
        return;
    }
    let mut world = World::new();
    world.sandbox = Sandbox::User;
    let mine = world.folder.path().join("reports");
    fs::create_dir(&mine).unwrap();
    fs::set_permissions(world.folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let script = format!(
        "id -u; id -G; cat $IEXEC_IN/data; cat $IEXEC_APP_DEVELOPER_SECRET_FILE; echo; echo kept >$IEXEC_OUT/kept
         echo x >$HOME/x && : >>/dev/stdout && echo again
         mkdir {0}/mine 2>/dev/null || echo no report; ls {1} 2>/dev/null || echo nothing to see
         mkdir {1}/x 2>/dev/null || echo no room; cat /proc/$PPID/environ 2>/dev/null || echo closed
         grep ^CapEff /proc/self/status; (setsid sleep 66 & echo $!)",
        mine.display(),
        world.folder.path().display()
    );
    let said = world.said(&script).await;
    let mut lines = said.lines();
    let id: u32 = lines.next().unwrap().parse().unwrap_or_else(|_| panic!("{said}"));
    assert!(id >= 1000, "{said}");
    assert_eq!(lines.next().unwrap(), id.to_string(), "no group of the launcher's");
    let rest: Vec<_> = lines.collect();
    let (left, rest) = rest.split_last().unwrap();
    let expected = [
        "the data",
        "hunter2",
        "again",
        "no report",
        "nothing to see",
        "no room",
        "closed",
        "CapEff:\t0000000000000000",
    ];
    assert_eq!(rest, expected);
    let status = fs::read_to_string(format!("/proc/{left}/status")).unwrap_or_default();
    assert!(status.is_empty() || status.contains("State:\tZ"), "what it started goes on: {status}");
    let kept = fs::metadata(world.output("kept")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&kept), 0, "its output is the launcher's again");
}

#[tokio::test]
async fn an_app_cannot_be_another_user_below_a_launcher_that_is_not_root() {
    if !as_nobody_special("an_app_cannot_be_another_user_below_a_launcher_that_is_not_root") {
        return;
    }
    let mut world = World::new();
    world.sandbox = Sandbox::User;
    let refused = world.run("#!/bin/sh\n").await.unwrap_err();
    assert!(matches!(refused, AppError::NoSandbox(_)), "{refused}");
}

async fn hides_its_output() {
    let mut world = World::new();
    world.limits.output_mib = 1;
    let script = "#!/bin/sh
        mkdir $IEXEC_OUT/d && cd $IEXEC_OUT/d
        for part in a b c; do head -c 900000 /dev/zero >$part; done
        chmod 0 $IEXEC_OUT/d
        ";
    let refused = world.run(script).await.unwrap_err();
    assert!(matches!(refused, AppError::OutputLimit), "{refused:?}");
    let hidden = fs::Permissions::from_mode(0o700);
    fs::set_permissions(world.output("d"), hidden).unwrap();
}

#[tokio::test]
async fn output_that_an_app_hides_is_too_much() {
    hides_its_output().await;
}

#[tokio::test]
async fn output_that_an_app_hides_from_a_launcher_that_is_not_root_is_too_much() {
    let test = "output_that_an_app_hides_from_a_launcher_that_is_not_root_is_too_much";
    if as_nobody_special(test) {
        hides_its_output().await;
    }
}
