//! PostgreSQL: a server of its own on a free port, as Debian packages it. Gone when dropped.
//!
//! The vault's own tests use this file, too.

use std::{
    ffi::OsStr,
    fs,
    net::{TcpListener, TcpStream},
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        atomic::{AtomicU16, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, getuid, kill_process};
use tempfile::TempDir;

/// What the server asks of whoever enters; nothing that is logged may hold it.
pub const PASSWORD: &str = "the owl is not what it seems";

const USER: &str = "postgres";
const HINT: &str = "run script/setup as root, or install PostgreSQL 15 or newer";
const PATIENCE: Duration = Duration::from_secs(60);

/// A server.
#[derive(Debug)]
pub struct Postgres {
    folder: TempDir,
    port: u16,
    more: Vec<String>,
    running: Option<Running>,
}

/// Its postmaster, and the thread that waits for its end.
#[derive(Debug)]
struct Running {
    pid: Pid,
    ended: JoinHandle<()>,
}

impl Postgres {
    /// Starts one.
    ///
    /// # Panics
    /// When it is not installed, or does not start.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&[], &[])
    }

    /// Starts one with more settings, and files that these name, readable by it alone.
    ///
    /// # Panics
    /// As [`Self::start`].
    #[must_use]
    pub fn start_with(settings: &[&str], files: &[(&str, &str)]) -> Self {
        let folder = TempDir::with_prefix("sesame-postgres-").expect("a folder can be made");
        give(folder.path());
        done(as_postgres("cp").arg("-a").arg(template()).arg(folder.path().join("data")));
        for (name, text) in files {
            let path = folder.path().join("data").join(name);
            fs::write(&path, text).expect("a file can be written");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("it is ours");
            give(&path);
        }
        let more = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let mut server = Self { folder, port: free_port(), more, running: None };
        server.start_again();
        server
    }

    /// Starts it after its end, at the same port.
    ///
    /// # Panics
    /// When it does not start, or runs.
    pub fn start_again(&mut self) {
        assert!(self.running.is_none(), "it runs");
        let begun = Instant::now();
        self.running = Some(self.spawn());
        while !self.answers() {
            let running = self.running.as_ref().expect("just started");
            if running.ended.is_finished() {
                // A postmaster that was killed leaves processes that end a moment later.
                self.running = Some(self.spawn());
            }
            assert!(begun.elapsed() < PATIENCE, "PostgreSQL does not start: {}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A postmaster dies with the thread that started it, which waits for its end.
    fn spawn(&self) -> Running {
        let data = self.folder.path().join("data");
        let log = fs::File::options().append(true).create(true).open(self.log());
        let mut command = as_postgres(binary("postgres"));
        command.arg("-D").arg(&data).stderr(log.expect("a log can be written"));
        let port = format!("port={}", self.port);
        let settings = [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "shared_buffers=16MB",
            "log_min_messages=fatal",
            &port,
        ];
        for setting in settings.into_iter().chain(self.more.iter().map(String::as_str)) {
            command.args(["-c", setting]);
        }
        let (told, started) = mpsc::channel();
        let ended = std::thread::spawn(move || {
            let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
            let mut child = child.unwrap_or_else(|error| panic!("no PostgreSQL ({error}): {HINT}"));
            let _ = told.send(Pid::from_child(&child));
            let _ = child.wait();
        });
        let pid = started.recv().expect("PostgreSQL can be started");
        Running { pid, ended }
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// What it wrote to its log so far.
    #[must_use]
    pub fn said(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// Whether it takes questions, not only connections.
    fn answers(&self) -> bool {
        TcpStream::connect(("127.0.0.1", self.port)).is_ok() && self.query("SELECT 1").is_ok()
    }

    /// The URL of a database, the password in it.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        let password = PASSWORD.replace(' ', "%20");
        format!("postgres://{USER}:{password}@127.0.0.1:{}/{database}", self.port)
    }

    /// The port it listens at.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Makes a database and gives its URL.
    ///
    /// # Panics
    /// When it is there.
    #[must_use]
    pub fn database(&self, name: &str) -> String {
        self.query(&format!("CREATE DATABASE {name}")).expect("a database can be made");
        self.url(name)
    }

    /// Asks in the database `postgres`, and gives what `psql` prints, without ornaments.
    ///
    /// # Errors
    /// With what it says instead.
    pub fn query(&self, query: &str) -> Result<String, String> {
        self.query_in("postgres", query)
    }

    /// Asks in this database.
    ///
    /// # Errors
    /// With what it says instead.
    ///
    /// # Panics
    /// When `psql` is not installed.
    pub fn query_in(&self, database: &str, query: &str) -> Result<String, String> {
        let mut psql = Command::new(binary("psql"));
        psql.env("PGPASSWORD", PASSWORD).env("PGCONNECT_TIMEOUT", "5");
        psql.args(["-XAtq", "-h", "127.0.0.1", "-U", USER, "-d", database, "-c", query]);
        let output = psql.args(["-p", &self.port.to_string()]).output();
        let output = output.unwrap_or_else(|error| panic!("no psql ({error}): {HINT}"));
        let text = |bytes| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// The folder with its tables and its log of writes, as they are on disk now.
    ///
    /// # Panics
    /// When they cannot be written out.
    #[must_use]
    pub fn files_at_rest(&self) -> PathBuf {
        self.query("CHECKPOINT").expect("the server writes out what it has");
        self.folder.path().join("data")
    }

    /// `kill -9` of a process of the server that serves somebody, if there is one; the server then ends all the others, and starts
    /// again by itself.
    ///
    /// # Panics
    /// When the server does not say which there are.
    pub fn kill_a_backend(&self) {
        let all = "SELECT pid FROM pg_stat_activity \
            WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1";
        let Ok(Ok(pid)) = self.query(all).map(|pid| pid.parse()) else { return };
        let _ = kill_process(Pid::from_raw(pid).expect("no process is 0"), Signal::KILL);
    }

    /// `kill -9` of the postmaster; its processes end when they notice.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&mut self) {
        self.end(Signal::KILL);
    }

    fn end(&mut self, signal: Signal) {
        if let Some(Running { pid, ended }) = self.running.take() {
            let _ = kill_process(pid, signal);
            let _ = ended.join();
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // At once, but with its shared memory given back.
        self.end(Signal::QUIT);
    }
}

/// Files as after `initdb`, made once for all tests.
fn template() -> PathBuf {
    let path = std::env::temp_dir().join(format!("sesame-postgres-template-{}", getuid().as_raw()));
    if !path.exists() {
        let draft = TempDir::with_prefix("sesame-postgres-draft-").expect("a folder can be made");
        give(draft.path());
        let (data, password) = (draft.path().join("data"), draft.path().join("password"));
        fs::write(&password, PASSWORD).expect("a file can be written");
        give(&password);
        let mut initdb = as_postgres(binary("initdb"));
        initdb.args(["-N", "-A", "scram-sha-256", "--wal-segsize=1", "--locale=C", "-E", "UTF8"]);
        done(initdb.args(["-U", USER, "--pwfile"]).arg(&password).arg("-D").arg(&data));
        // Somebody else may have been first.
        if let Err(error) = fs::rename(&data, &path) {
            assert!(path.exists(), "{error}");
        }
    }
    path
}

/// Makes the server's user the owner: it does not run as root.
fn give(path: &Path) {
    if getuid().is_root() {
        let id = |flag| {
            let output = Command::new("id").args([flag, USER]).output().expect("there is id");
            String::from_utf8_lossy(&output.stdout).trim().parse().ok()
        };
        let (user, group) = (id("-u"), id("-g"));
        assert!(user.is_some(), "there is no user {USER}: {HINT}");
        chown(path, user, group).expect("root gives files away");
    }
}

/// Ends with this thread, as the server's user.
fn as_postgres(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "QUIT"]);
    if getuid().is_root() {
        command.args(["--reuid", USER, "--regid", USER, "--clear-groups"]);
    }
    command.arg(program).current_dir("/");
    command
}

fn done(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A program of PostgreSQL's: of the newest that Debian keeps beside the path, or from the path.
fn binary(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let found = versions.map(|version| version.path().join("bin").join(name));
    found.filter(|path| path.exists()).max().unwrap_or_else(|| name.into())
}

/// A port that nobody listens at, nor will for as long as this process runs: those that the kernel gives to whoever asks for any lie
/// higher, and stories that run at once look for theirs at other places.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let own = (std::process::id() % 2000) as u16 * 10;
    let mut ports =
        (0..20_000).map(|_| 10_000 + (own + NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000);
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    ports.find(free).expect("a port is free")
}
