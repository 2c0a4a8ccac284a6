//! Many clients that ask the same thing over and over, in this process: their CPU time shares the cores with the service's.
//!
//! The client writes the same bytes again and reads as much as the answer says, so that little of the time is its own.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

use crate::figures::Samples;

/// What came of a load.
pub(crate) struct Load {
    /// Answers a second.
    pub(crate) rate: f64,
    /// How long each took.
    pub(crate) samples: Samples,
}

/// When a client stops.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Until {
    /// After so long.
    Passed(Duration),
    /// After so many answers.
    Answered(usize),
}

/// Sends `request` by so many clients at once, each over one connection, and takes only 200 for an answer.
pub(crate) async fn load(
    address: SocketAddr,
    request: &[u8],
    clients: usize,
    until: Until,
) -> anyhow::Result<Load> {
    let mut tasks = JoinSet::new();
    let start = Instant::now();
    for _ in 0..clients {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let request = request.to_vec();
        tasks.spawn(async move { client(stream, &request, until, start).await });
    }
    let mut samples = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        samples.extend(ended??);
    }
    let rate = samples.len() as f64 / start.elapsed().as_secs_f64();
    Ok(Load { rate, samples: Samples::new(samples) })
}

async fn client(
    mut stream: TcpStream,
    request: &[u8],
    until: Until,
    start: Instant,
) -> anyhow::Result<Vec<Duration>> {
    let (mut samples, mut answer) = (Vec::new(), Vec::with_capacity(8192));
    loop {
        match until {
            Until::Passed(time) if start.elapsed() >= time => return Ok(samples),
            Until::Answered(number) if samples.len() >= number => return Ok(samples),
            Until::Passed(_) | Until::Answered(_) => {}
        }
        let sent = Instant::now();
        stream.write_all(request).await?;
        answer.clear();
        while !is_whole(&answer)? {
            let read = stream.read_buf(&mut answer).await?;
            anyhow::ensure!(read > 0, "the connection ended");
        }
        samples.push(sent.elapsed());
    }
}

/// Whether an answer's head and as much body as it announces have arrived.
fn is_whole(answer: &[u8]) -> anyhow::Result<bool> {
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(false);
    };
    let (head, body) = answer.split_at(end + 4);
    let head = std::str::from_utf8(head)?;
    anyhow::ensure!(head.starts_with("HTTP/1.1 200"), "{}", String::from_utf8_lossy(answer));
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    Ok(body.len() >= length.map_or(Ok(0), str::parse)?)
}
