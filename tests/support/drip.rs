//! Clients that send their body too slowly, for as long as they are let.

use std::{fmt::Write as _, time::Duration};

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, tcp::OwnedWriteHalf},
    time::{sleep, timeout},
};

use crate::{Answer, Sms};

/// Bytes announced: more than are sent while a story has patience, fewer than any surface refuses at once.
const LENGTH: usize = 100_000;
const PAUSE: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(60);
/// So much of a long body at a time, and so often, is never too slow.
const PART: usize = 64 << 10;
const OFTEN: Duration = Duration::from_secs(1);

/// Sends a request (`PUT /v1/…`) whose body takes for ever, and gives what is answered until the service hangs up.
///
/// # Panics
/// When the service does not hang up, or answers no HTTP.
pub async fn drip(sms: &Sms, request: &str, headers: &[(&str, &str)]) -> Answer {
    exchange(sms, request, headers, LENGTH, async |mut writer| {
        while writer.write_all(b" ").await.is_ok() {
            sleep(PAUSE).await;
        }
    })
    .await
}

/// Sends all of a body of this length but its last byte, and gives what is answered until the service hangs up.
///
/// # Panics
/// When the service does not hang up, or answers no HTTP.
pub async fn stall(sms: &Sms, request: &str, headers: &[(&str, &str)], length: usize) -> Answer {
    exchange(sms, request, headers, length, async |mut writer| {
        let body = vec![0; length.saturating_sub(1)];
        if writer.write_all(&body).await.is_ok() {
            // Dropped, it would say that this was all.
            std::future::pending().await
        }
    })
    .await
}

/// Sends this body a part at a time during `meanwhile`, its last byte only thereafter, and gives what is answered.
///
/// # Panics
/// When the service does not hang up, or answers no HTTP.
pub async fn late(
    sms: &Sms,
    request: &str,
    headers: &[(&str, &str)],
    body: &[u8],
    meanwhile: impl AsyncFnOnce(),
) -> Answer {
    let (last, first) = body.split_last().expect("there is a body");
    let headers = [headers, &[("connection", "close")]].concat();
    exchange(sms, request, &headers, body.len(), async |mut writer| {
        let mut meanwhile = std::pin::pin!(meanwhile());
        let mut parts = first.chunks(PART);
        loop {
            let part = parts.next().unwrap_or_default();
            writer.write_all(part).await.expect("the service reads");
            if timeout(OFTEN, meanwhile.as_mut()).await.is_ok() {
                break;
            }
        }
        for part in parts {
            writer.write_all(part).await.expect("the service still reads");
        }
        writer.write_all(&[*last]).await.expect("the service still reads");
        // Dropped, it would say that nobody waits for the answer.
        std::future::pending().await
    })
    .await
}

async fn exchange(
    sms: &Sms,
    request: &str,
    headers: &[(&str, &str)],
    length: usize,
    send: impl AsyncFnOnce(OwnedWriteHalf),
) -> Answer {
    let address = sms.base().trim_start_matches("http://");
    let mut head = format!("{request} HTTP/1.1\r\nhost: {address}\r\ncontent-length: {length}\r\n");
    for (name, value) in headers {
        write!(head, "{name}: {value}\r\n").expect("text can be written");
    }
    let socket = TcpStream::connect(address).await.expect("the service listens");
    let (mut reader, mut writer) = socket.into_split();
    writer.write_all(format!("{head}\r\n").as_bytes()).await.expect("the service reads");
    let mut answer = Vec::new();
    let sending = async {
        send(writer).await;
        // When nobody reads any more, there is still an answer to be read.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        // A reset is an end as well: what came before it was read.
        ended = timeout(PATIENCE, reader.read_to_end(&mut answer)) => {
            let _ = ended.expect("the service hangs up");
        }
        () = sending => {}
    }
    parsed(&answer)
}

fn parsed(answer: &[u8]) -> Answer {
    let text = std::str::from_utf8(answer).expect("the answer is text");
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no HTTP: {text}"));
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let header = |line: &str| {
        let (name, value) = line.split_once(": ")?;
        Some((name.parse::<HeaderName>().ok()?, HeaderValue::from_str(value).ok()?))
    };
    let headers: HeaderMap = lines.filter_map(header).collect();
    Answer { status: status.expect("a status"), headers, body: body.as_bytes().to_vec() }
}
