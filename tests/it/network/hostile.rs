//! Whoever sends too much, too little, too slowly or nonsense costs little, and others are served meanwhile.

use std::time::Duration;

use futures::future::join_all;
use reqwest::{Client, Method, RequestBuilder};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sesame_protocol::owner::SEALED_CONTENT_TYPE;
use sesame_tests::eventually;
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    time::{sleep, timeout},
};

use super::{HEALTH, Service, ask, in_time, rest};

/// Kilobytes by which hostile clients may make the service grow.
const GROWTH: usize = 96 << 10;

/// Bytes after which whoever reads no answers should have been stopped: what the kernel keeps for both sides, and some.
const SENT: usize = 64 << 20;

#[tokio::test]
async fn heads_that_trickle_are_cut_and_others_are_served_meanwhile() {
    let service = Service::start(&["--idle-time-s", "5"]).await;
    let trickle = async || {
        let mut stream = service.connect().await;
        let (mut reader, mut writer) = stream.split();
        let sending = async {
            let mut head = HEALTH.bytes().take(20).chain(std::iter::repeat(b'x'));
            while let Some(byte) = head.next()
                && writer.write_all(&[byte]).await.is_ok()
            {
                sleep(Duration::from_millis(100)).await;
            }
        };
        let mut answer = Vec::new();
        let reading = tokio::io::AsyncReadExt::read_to_end(&mut reader, &mut answer);
        let _ = in_time(async { tokio::join!(sending, reading) }).await;
        assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
    };
    let served = async {
        for _ in 0..20 {
            service.get("healthz").await.is_ok();
            sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::join!(join_all((0..50).map(|_| trickle())), served);
}

#[tokio::test]
async fn heads_that_are_too_large_are_refused() {
    let service = Service::start(&[]).await;
    let head = |headers: String| format!("GET /healthz HTTP/1.1\r\nhost: a\r\n{headers}\r\n");
    let many: String = (0..200).map(|number| format!("x-{number}: y\r\n")).collect();
    let long = format!("x: {}\r\n", "y".repeat(128 << 10));
    let path = format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "y".repeat(128 << 10));
    for request in [head(many), head(long), path] {
        let answer = service.raw(request.as_bytes()).await;
        let refused = answer.starts_with("HTTP/1.1 431") || answer.starts_with("HTTP/1.1 414");
        assert!(refused || answer.is_empty(), "{answer}");
    }
    // Without an end, nor with one header too many, there is no answer to wait for either.
    let endless = vec![b'y'; 1 << 20];
    let answer =
        service.raw(&[b"GET /healthz HTTP/1.1\r\nx: ".as_slice(), &endless].concat()).await;
    assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
    service.get("healthz").await.is_ok();
}

#[tokio::test]
async fn what_is_no_http_is_refused() {
    let service = Service::start(&["--idle-time-s", "2"]).await;
    let nonsense: [&[u8]; 9] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS handshake\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /healthz HTTP/9.9\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nhost a\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n: a\r\n\r\n",
        b"POST /kbs/v0/auth HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST /kbs/v0/auth HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        b"POST /kbs/v0/auth HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    ];
    for bytes in nonsense {
        let answer = service.raw(bytes).await;
        let shown = String::from_utf8_lossy(bytes);
        assert!(!answer.starts_with("HTTP/1.1 2"), "{shown}: {answer}");
        assert!(!answer.starts_with("HTTP/1.1 5"), "{shown}: {answer}");
    }
    service.get("healthz").await.is_ok();
}

#[tokio::test]
async fn bodies_that_are_too_large_or_encoded_are_refused() {
    let service = Service::start(&[]).await;
    let client = Client::new();
    let request =
        |method, path: &str| client.request(method, format!("{}/{path}", service.program.base()));
    let put = format!("v1/requesters/0x{}/secrets/s", "1".repeat(40));

    // The service answers and hangs up before it has all, so that a client that only writes may miss the answer.
    let refused = async |request: RequestBuilder| {
        eventually("the refusal is heard", async || {
            let answer = request.try_clone().unwrap().send().await.ok()?;
            let header = |name| Some(answer.headers().get(name)?.to_str().ok()?.to_owned());
            Some((answer.status().as_u16(), header("sesame-problem")?, header("content-type")?))
        })
        .await
    };
    let [problem, kbs] = ["application/problem+json", "application/json"];
    let is = |status: u16, code: &str, form: &str| (status, code.to_owned(), form.to_owned());
    let large = request(Method::PUT, &put).header("content-type", SEALED_CONTENT_TYPE);
    assert_eq!(refused(large.body(vec![0; 5 << 20])).await, is(413, "too_large", problem));
    let large = request(Method::POST, "kbs/v0/auth").body(vec![b' '; 1 << 20]);
    assert_eq!(refused(large).await, is(413, "too_large", kbs));

    // A little that would unfold into very much is not unfolded.
    for encoding in ["gzip", "br", "zstd", "deflate", "identity, gzip", ""] {
        for (method, path, form) in
            [(Method::PUT, put.as_str(), problem), (Method::POST, "kbs/v0/attest", kbs)]
        {
            let bomb = request(method, path).header("content-encoding", encoding);
            let answer = refused(bomb.body(&b"\x1f\x8b\x08"[..])).await;
            assert_eq!(answer, is(415, "unsupported_encoding", form));
        }
    }
    let twice = request(Method::POST, "kbs/v0/auth").header("content-encoding", "identity");
    let twice = twice.header("content-encoding", "gzip").body("{}");
    assert_eq!(refused(twice).await, is(415, "unsupported_encoding", kbs));
    let plain = request(Method::POST, "kbs/v0/auth").header("content-encoding", "Identity");
    assert_eq!(refused(plain.body("{}")).await, is(400, "malformed_body", kbs));
}

/// Connections that ask for nothing keep nobody else out for longer than they may be idle, and cost little memory.
#[tokio::test]
async fn idle_connections_cost_little_and_make_room_for_others() {
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, most).expect("a limit may rise to its maximum");
    // 10,000 where a process may have that many descriptors; the service holds three quarters of them at once.
    let connections = limit.maximum.map_or(10_000, |most| most.saturating_sub(500).min(10_000));
    eprintln!("{connections} idle connections");
    let at_once = (connections * 3 / 4).to_string();
    let of_one = ["--max-connections-per-client", "20000"];
    let options = [["--idle-time-s", "5"], ["--max-connections", &at_once], of_one].concat();
    let service = Service::start(&options).await;
    service.get("healthz").await.is_ok();
    let before = service.resident();

    let connect = async || in_time(TcpStream::connect(service.address())).await.unwrap();
    // In turns: beyond what its backlog holds, the kernel drops connections that their clients believe they have.
    let mut idle = Vec::new();
    for _ in 0..connections / 100 {
        idle.extend(join_all((0..100).map(|_| connect())).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let grown = service.resident().saturating_sub(before);
    eprintln!("{grown} kB for idle connections");
    assert!(grown < GROWTH, "{grown} kB for idle connections");
    // Whoever comes now waits until one of them has been idle for too long.
    in_time(service.get("healthz")).await.is_ok();
    for answer in join_all(idle.iter_mut().map(rest)).await {
        assert_eq!(answer, "");
    }
    let grown = service.resident().saturating_sub(before);
    assert!(grown < GROWTH, "{grown} kB after idle connections");
}

#[tokio::test]
async fn a_client_has_its_share_of_connections_and_a_proxy_all() {
    let two = ["--max-connections-per-client", "2"];
    let service = Service::start(&two).await;
    let (mut first, mut second) = (service.connect().await, service.connect().await);
    for stream in [&mut first, &mut second] {
        ask(stream, HEALTH).await.unwrap();
    }
    let mut third = service.connect().await;
    assert!(ask(&mut third, HEALTH).await.is_err(), "there is no third");
    drop(first);
    eventually("there is room again", async || {
        let mut stream = service.connect().await;
        ask(&mut stream, HEALTH).await.ok()
    })
    .await;
    drop(service);

    let service = Service::start(&[&two[..], &["--trusted-proxy", "127.0.0.0/8"]].concat()).await;
    let mut streams = join_all((0..8).map(|_| service.connect())).await;
    for stream in &mut streams {
        ask(stream, HEALTH).await.unwrap();
    }
}

/// Who reads no answers is not read from for long.
#[tokio::test]
async fn whoever_reads_nothing_is_soon_not_served_any_more() {
    let service = Service::start(&["--idle-time-s", "2"]).await;
    service.get("healthz").await.is_ok();
    let before = service.resident();
    for request in [
        "HEAD /healthz HTTP/1.1\r\nhost: a\r\n\r\n",
        HEALTH,
        "GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n",
    ] {
        let mut stream = service.connect().await;
        let (requests, mut sent) = (request.repeat(1000), 0);
        let second = Duration::from_secs(1);
        while let Ok(Ok(())) = timeout(second, stream.write_all(requests.as_bytes())).await {
            sent += requests.len();
            assert!(sent < SENT, "nothing stops whoever sends {request}");
        }
        let grown = service.resident().saturating_sub(before);
        assert!(grown < GROWTH, "{grown} kB by {request}");
    }
}
