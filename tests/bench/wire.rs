//! One connection that writes requests as they are and throws the answers away, so that neither costs the client much memory.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const CHUNK: usize = 64 << 10;

pub(crate) struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Wire {
    pub(crate) async fn to(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; CHUNK] })
    }

    /// From the first byte of the request to the last of the answer, which has to be a success.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> anyhow::Result<Duration> {
        let start = Instant::now();
        self.stream.write_all(request).await?;
        let mut head = Vec::new();
        let end = loop {
            let read = self.stream.read(&mut self.buffer).await?;
            anyhow::ensure!(read > 0, "the connection ended");
            head.extend(self.buffer.iter().take(read));
            if let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
        };
        let text = String::from_utf8_lossy(&head);
        anyhow::ensure!(text.starts_with("HTTP/1.1 2"), "{text}");
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(Ok(0), str::parse)?;
        let mut left = (end + length).saturating_sub(head.len());
        while left > 0 {
            let read = self.stream.read(&mut self.buffer).await?;
            anyhow::ensure!(read > 0, "the connection ended");
            left = left.saturating_sub(read);
        }
        Ok(start.elapsed())
    }
}
