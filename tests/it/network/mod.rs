//! The real program on the network: what it takes of whoever connects, and how it ends.

mod hostile;
mod tls;

use std::{
    future::Future,
    io,
    time::{Duration, Instant},
};

use reqwest::{Client, Method};
use rustix::process::Signal;
use sesame_protocol::rcar::{self, Tee};
use sesame_tests::{Answer, Launch, Node, Program, eventually};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// How long anything may take that should come to an end.
const PATIENCE: Duration = Duration::from_secs(60);

const HEALTH: &str = "GET /healthz HTTP/1.1\r\nhost: sesame\r\n\r\n";

/// A program on a chain of its own.
struct Service {
    program: Program,
    _node: Node,
    folder: TempDir,
}

impl Service {
    /// With these options beside those that every service needs.
    async fn start(options: &[&str]) -> Self {
        Self::start_in(TempDir::new().unwrap(), options).await
    }

    async fn start_in(folder: TempDir, options: &[&str]) -> Self {
        let node = Node::start();
        let deployment = node.deploy().await;
        let launch = Launch {
            rpc_url: node.url(),
            deployment: &deployment,
            folder: &folder.path().join("data"),
            listen: "127.0.0.1:0",
            confirmations: 2,
            root: None,
        };
        let mut command = launch.command();
        command.args(options);
        Self { program: Program::of(command), _node: node, folder }
    }

    fn address(&self) -> String {
        self.program.base().split_once("://").unwrap().1.to_owned()
    }

    /// Where it says that it serves somebody.
    async fn base_for(&self, whom: &str) -> String {
        let said = format!("serving {whom} at ");
        eventually("it says where it serves", async || {
            let text = self.program.said();
            let rest = text.split_once(&said)?.1;
            Some(rest.split_whitespace().next()?.to_owned())
        })
        .await
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address()).await.unwrap()
    }

    /// Sends these bytes and gives what is answered until the service hangs up.
    async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        // It may have answered and hung up before all was sent.
        let _ = stream.write_all(bytes).await;
        rest(&mut stream).await
    }

    async fn get(&self, path: &str) -> Answer {
        get(self.program.base(), path).await
    }

    /// Kilobytes of memory.
    fn resident(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.program.pid()));
        let status = status.unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

/// By a connection of its own.
async fn get(base: &str, path: &str) -> Answer {
    Answer::to(Client::new().get(format!("{base}/{path}"))).await
}

/// What comes until the service hangs up, which it has to.
async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset is an end as well.
    let _ = in_time(stream.read_to_end(&mut bytes)).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn in_time<T>(done: impl Future<Output = T>) -> T {
    timeout(PATIENCE, done).await.expect("it comes to an end")
}

/// One request and its answer over a connection that stays.
async fn ask(
    stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin),
    request: &str,
) -> io::Result<String> {
    stream.write_all(request.as_bytes()).await?;
    let (mut answer, mut part) = (String::new(), vec![0; 4096]);
    loop {
        let read = in_time(stream.read(&mut part)).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        answer += &String::from_utf8_lossy(&part[..read]);
        let Some((head, body)) = answer.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.and_then(|length| length.parse().ok()).unwrap_or_default();
        if body.len() >= length {
            return Ok(answer);
        }
    }
}

#[tokio::test]
async fn each_surface_is_at_its_own_listener_and_nowhere_else() {
    let listeners = ["--listen-enclave", "127.0.0.1:0", "--listen-operator", "127.0.0.1:0"];
    let service = Service::start(&listeners).await;
    let owners = service.program.base().to_owned();
    let (enclaves, operator) =
        (service.base_for("enclaves").await, service.base_for("the operator").await);
    let auth = async |base: &str| {
        let request = Client::new().request(Method::POST, format!("{base}/kbs/v0/auth"));
        Answer::to(request.json(&rcar::request(Tee::Sgx))).await
    };

    auth(&enclaves).await.is_ok();
    get(&owners, "v1/status").await.is_ok();
    get(&operator, "metrics").await.is_ok();
    for base in [&owners, &operator] {
        auth(base).await.is_problem(404, "not_found");
    }
    for base in [&enclaves, &operator] {
        get(base, "v1/status").await.is_problem(404, "not_found");
    }
    for base in [&owners, &enclaves] {
        get(base, "metrics").await.is_problem(404, "not_found");
    }
    for base in [&owners, &enclaves, &operator] {
        get(base, "healthz").await.is_ok();
        eventually("it is ready", async || (get(base, "readyz").await.status == 200).then_some(()))
            .await;
    }
}

#[tokio::test]
async fn with_one_listener_everything_is_there() {
    let service = Service::start(&[]).await;
    for path in ["metrics", "v1/status", "healthz"] {
        service.get(path).await.is_ok();
    }
    let nonsense =
        service.raw(b"POST /kbs/v0/auth HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    assert!(nonsense.await.contains("malformed_body"));
}

/// What a proxy says about its clients is believed if it is one of the operator's, and of nobody else.
#[tokio::test]
async fn forwarded_addresses_count_from_named_hops_alone() {
    let few = ["--rate-limit", "1", "--rate-burst", "3"];
    let asked = async |service: &Service, forwarded: &str| {
        let request = Client::new().get(format!("{}/v1/receipts/key", service.program.base()));
        Answer::to(request.header("x-forwarded-for", forwarded)).await
    };
    let exhaust = async |service: &Service, forwarded: &str| {
        eventually("too many", async || {
            let answer = asked(service, forwarded).await;
            (answer.status == 429).then_some(answer)
        })
        .await
        .is_problem(429, "too_many_requests");
    };

    let trusting = Service::start(&[&few[..], &["--trusted-proxy", "127.0.0.1"]].concat()).await;
    exhaust(&trusting, "198.51.100.1").await;
    asked(&trusting, "198.51.100.2").await.is_ok();
    asked(&trusting, "198.51.100.1, 198.51.100.3").await.is_ok();
    exhaust(&trusting, "203.0.113.7, 198.51.100.1").await;
    drop(trusting);

    let other = Service::start(&[&few[..], &["--trusted-proxy", "10.0.0.0/8"]].concat()).await;
    exhaust(&other, "198.51.100.1").await;
    exhaust(&other, "198.51.100.2").await;
}

/// The service is stopped: what is under way ends as if nothing had happened, idle connections end at once.
#[tokio::test]
async fn a_stop_lets_requests_under_way_finish() {
    let mut service = Service::start(&[]).await;
    let body = serde_json::to_string(&rcar::request(Tee::Sgx)).unwrap();
    let mut under_way = service.connect().await;
    let length = body.len();
    let head = format!(
        "POST /kbs/v0/auth HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: {length}\r\n\r\n"
    );
    under_way.write_all(head.as_bytes()).await.unwrap();
    // It is under way once its handler wants the body.
    let mut go_on = [0; b"HTTP/1.1 100 Continue\r\n\r\n".len()];
    in_time(under_way.read_exact(&mut go_on)).await.unwrap();
    assert!(go_on.starts_with(b"HTTP/1.1 100 "));
    let mut idle = service.connect().await;
    ask(&mut idle, HEALTH).await.unwrap();
    let mut half_a_head = service.connect().await;
    half_a_head.write_all(b"GET /healthz HT").await.unwrap();

    service.program.signal(Signal::TERM);
    assert_eq!(rest(&mut idle).await, "", "an idle connection is closed");
    eventually("nobody is accepted any more", async || {
        TcpStream::connect(service.address()).await.is_err().then_some(())
    })
    .await;
    under_way.write_all(body.as_bytes()).await.unwrap();
    let answer = rest(&mut under_way).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(rest(&mut half_a_head).await, "", "nor is the rest of a head waited for");
    assert!(service.program.ended().await.success());
}

/// Whoever does not come to an end is cut.
#[tokio::test]
async fn a_stop_waits_no_longer_than_it_is_told_to() {
    let mut service = Service::start(&["--drain-timeout-s", "2"]).await;
    let mut endless = service.connect().await;
    let head = "POST /kbs/v0/auth HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n{";
    endless.write_all(head.as_bytes()).await.unwrap();
    let mut silent = service.connect().await;
    service.get("healthz").await.is_ok();

    let begun = Instant::now();
    service.program.signal(Signal::TERM);
    assert!(service.program.ended().await.success());
    assert!(begun.elapsed() >= Duration::from_secs(2), "it gave them no time");
    service.program.says("not everything under way ended within 2 s").await;
    assert_eq!(rest(&mut endless).await, "");
    assert_eq!(rest(&mut silent).await, "");
}
