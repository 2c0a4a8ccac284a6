//! What the service tells the program that started it, and how it treats its memory: as the packaged units rely on.

use std::{
    fs,
    os::unix::net::UnixDatagram,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use sesame_client::public::Public;
use sesame_tests::{Launch, World, free_port};
use tempfile::TempDir;

/// A service manager that hears what a program says to it.
struct Manager {
    socket: UnixDatagram,
    folder: TempDir,
}

impl Manager {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        Self { socket, folder }
    }

    /// Waits for a message that has this line.
    fn hears(&self, line: &str) -> String {
        let mut message = [0; 1024];
        loop {
            let length = self.socket.recv(&mut message).unwrap_or_else(|_| panic!("no {line}"));
            let text = String::from_utf8(message[..length].to_vec()).unwrap();
            if text.lines().any(|said| said == line) {
                return text;
            }
        }
    }
}

/// Ended when dropped.
struct Unit(Child);

impl Unit {
    fn start(command: &mut Command) -> Self {
        Self(command.stderr(Stdio::null()).spawn().unwrap())
    }

    fn stop(&mut self) -> std::process::ExitStatus {
        let id = Pid::from_raw(i32::try_from(self.0.id()).unwrap()).unwrap();
        kill_process(id, Signal::TERM).unwrap();
        self.0.wait().unwrap()
    }

    /// A figure of its memory, in KiB.
    fn memory(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.trim().trim_end_matches("kB").trim().parse().unwrap()
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn serve(world: &World, listen: &str) -> Command {
    Launch {
        rpc_url: world.node.url(),
        deployment: &world.deployment,
        folder: &world.sms.config.data_dir,
        listen,
        confirmations: world.confirmations(),
        root: None,
    }
    .command()
}

#[tokio::test]
async fn the_service_manager_is_told_of_start_life_and_end() {
    let mut world = World::start().await;
    world.sms.stop().await;
    let (manager, listen) = (Manager::new(), format!("127.0.0.1:{}", free_port()));
    let mut command = serve(&world, &listen);
    // The socket keeps a few messages that nobody has read; with one more the program would wait.
    command
        .env("NOTIFY_SOCKET", manager.folder.path().join("notify"))
        .env("WATCHDOG_USEC", "2000000");
    let mut unit = Unit::start(&mut command);

    let ready = manager.hears("READY=1");

    assert!(ready.contains(&format!("STATUS=serving at {listen}")), "{ready}");
    Public::new(&format!("http://{listen}")).unwrap().status().await.unwrap();
    for _ in 0..3 {
        manager.hears("WATCHDOG=1");
    }
    let ended = unit.stop();
    manager.hears("STOPPING=1");
    assert!(ended.success(), "{ended}");
}

/// A program that hangs has to be found out by its silence, so its silence must not come from nobody having asked.
#[tokio::test]
async fn a_manager_without_a_watchdog_hears_of_the_end_next() {
    let mut world = World::start().await;
    world.sms.stop().await;
    let manager = Manager::new();
    let mut command = serve(&world, "127.0.0.1:0");
    command.env("NOTIFY_SOCKET", manager.folder.path().join("notify"));
    let mut unit = Unit::start(&mut command);
    manager.hears("READY=1");

    unit.stop();

    let mut message = [0; 1024];
    let length = manager.socket.recv(&mut message).unwrap();
    let next = String::from_utf8_lossy(&message[..length]).into_owned();
    assert!(next.starts_with("STOPPING=1"), "{next}");
}

#[tokio::test]
async fn what_never_serves_is_never_ready() {
    let mut world = World::start().await;
    world.sms.stop().await;
    // A vault that has lost its keys.
    fs::remove_file(world.sms.data("keys/identity.key")).unwrap();
    let manager = Manager::new();
    let mut command = serve(&world, "127.0.0.1:0");
    command.env("NOTIFY_SOCKET", manager.folder.path().join("notify"));

    let ended = Unit::start(&mut command).0.wait().unwrap();

    assert!(!ended.success());
    manager.socket.set_nonblocking(true).unwrap();
    let said = manager.socket.recv(&mut [0; 1024]);
    assert!(said.is_err(), "it said something to its manager");
}

/// Without a limit all that is resident is locked; under one, nothing, since the limit would be met some day.
#[tokio::test]
async fn memory_is_locked_where_there_is_no_limit() {
    let mut world = World::start().await;
    world.sms.stop().await;
    // Where the system sets a limit, root alone may be without one.
    let may = Command::new("/bin/sh").args(["-c", "ulimit -l unlimited"]).status().unwrap();
    let cases = [("64", false), ("unlimited", true)];
    for (limit, locked) in cases.into_iter().take(if may.success() { 2 } else { 1 }) {
        let plain = serve(&world, "127.0.0.1:0");
        let manager = Manager::new();
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", r#"ulimit -l "$0" && exec "$@""#, limit])
            .arg(plain.get_program())
            .args(plain.get_args())
            .env("NOTIFY_SOCKET", manager.folder.path().join("notify"));
        let mut unit = Unit::start(&mut command);
        manager.hears("READY=1");

        let (resident, kept) = (unit.memory("VmRSS:"), unit.memory("VmLck:"));

        assert_eq!(kept > 0, locked, "{kept} KiB locked of {resident} under {limit}");
        unit.stop();
    }
}
