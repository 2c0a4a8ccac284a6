//! A client that sends its body byte by byte, for as long as it is let.

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
const PATIENCE: Duration = Duration::from_secs(30);

/// Sends a request (`PUT /v1/…`) whose body takes for ever, and gives what is answered until the service hangs up.
///
/// # Panics
/// When the service does not hang up, or answers no HTTP.
pub async fn drip(sms: &Sms, request: &str, headers: &[(&str, &str)]) -> Answer {
    let address = sms.base().trim_start_matches("http://");
    let mut head = format!("{request} HTTP/1.1\r\nhost: {address}\r\ncontent-length: {LENGTH}\r\n");
    for (name, value) in headers {
        write!(head, "{name}: {value}\r\n").expect("text can be written");
    }
    let socket = TcpStream::connect(address).await.expect("the service listens");
    let (mut reader, mut writer) = socket.into_split();
    writer.write_all(format!("{head}\r\n").as_bytes()).await.expect("the service reads");
    let mut answer = Vec::new();
    tokio::select! {
        // A reset is an end as well: what came before it was read.
        ended = timeout(PATIENCE, reader.read_to_end(&mut answer)) => {
            let _ = ended.expect("the service hangs up");
        }
        () = send_slowly(writer) => {}
    }
    parsed(&answer)
}

/// Never ends: when nobody reads any more, there is still an answer to be read.
async fn send_slowly(mut writer: OwnedWriteHalf) {
    while writer.write_all(b" ").await.is_ok() {
        sleep(PAUSE).await;
    }
    std::future::pending().await
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
