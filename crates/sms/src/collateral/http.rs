//! Asking services that publish collateral.

use std::time::Duration;

use reqwest::{Client, Response, redirect::Policy};

use super::Reason;

/// Longest time for one answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// No answer is longer: revocation lists are the longest, some ten thousand bytes.
const MAX_BYTES: usize = 4 << 20;

/// A client that waits, reads and follows no more than it should.
#[derive(Debug)]
pub(super) struct Http(Client);

impl Http {
    pub(super) fn new() -> Result<Self, reqwest::Error> {
        Client::builder().timeout(PATIENCE).redirect(Policy::none()).build().map(Self)
    }

    pub(super) async fn ask(&self, url: &str) -> Result<Response, Reason> {
        let response = self.0.get(url).send().await.map_err(|error| failed(&error))?;
        response.error_for_status().map_err(|error| failed(&error))
    }

    pub(super) async fn bytes(&self, url: &str) -> Result<Vec<u8>, Reason> {
        body(self.ask(url).await?).await
    }
}

pub(super) async fn body(mut response: Response) -> Result<Vec<u8>, Reason> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failed(&error))? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_BYTES {
            return Err(Reason::Service(format!("more than {MAX_BYTES} bytes")));
        }
    }
    Ok(body)
}

/// The error with its causes, in one line.
fn failed(error: &reqwest::Error) -> Reason {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    Reason::Service(text)
}
