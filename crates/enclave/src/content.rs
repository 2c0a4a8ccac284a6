//! Content from where an asset's owner keeps it, checked against the digest on the chain.

use std::{
    io::{self, Write},
    path::Path,
    time::Duration,
};

use alloy_primitives::B256;
use sha2::{Digest, Sha256};
use tokio::io::AsyncReadExt;
use url::Url;

/// The longest a server may stay silent.
const PATIENCE: Duration = Duration::from_secs(30);

/// Content cannot be had, or is not what its owner registered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContentError {
    /// The address is not a URI.
    #[error("`{0}` is not a URI")]
    NotAUri(String),
    /// The address is neither `file` nor `http` nor `https`.
    #[error("content at `{0}:` addresses is not supported")]
    Unsupported(String),
    /// A file cannot be read, or is not a file.
    #[error("cannot read the content")]
    Io(#[from] io::Error),
    /// The server does not answer, or breaks off.
    #[error("cannot fetch the content")]
    Unreachable(#[from] reqwest::Error),
    /// The server answers with something else than the content.
    #[error("the content's server answered {0}")]
    Status(u16),
    /// There is more than the limit.
    #[error("the content is larger than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// The content is not the registered one.
    #[error("the content's SHA-256 is {got}, not {expected} as registered")]
    WrongDigest {
        /// What the chain says.
        expected: B256,
        /// What was found.
        got: B256,
    },
}

impl ContentError {
    /// Whether the same request may succeed a little later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::Status(status) => *status == 429 || *status >= 500,
            Self::NotAUri(_)
            | Self::Unsupported(_)
            | Self::Io(_)
            | Self::TooLarge { .. }
            | Self::WrongDigest { .. } => false,
        }
    }
}

/// An HTTP client that gives up on silent servers and knows no proxy.
///
/// # Errors
/// When the TLS back end cannot start.
pub fn http() -> Result<reqwest::Client, ContentError> {
    let client = reqwest::Client::builder().no_proxy().connect_timeout(PATIENCE);
    Ok(client.read_timeout(PATIENCE).build()?)
}

/// Writes the content at `uri` into `sink` and checks its digest. Until this has returned `Ok`, what is in `sink` is nobody's
/// word.
///
/// # Errors
/// When the content cannot be had, is larger than `limit`, or has another digest.
pub async fn fetch(
    http: &reqwest::Client,
    uri: &str,
    expected: B256,
    limit: u64,
    sink: &mut (impl Write + Send),
) -> Result<u64, ContentError> {
    let url = Url::parse(uri).map_err(|_| ContentError::NotAUri(uri.to_owned()))?;
    let mut checked = Checked { sink, digest: Sha256::new(), length: 0, limit };
    match url.scheme() {
        "file" => {
            let path = url.to_file_path().map_err(|()| ContentError::NotAUri(uri.to_owned()))?;
            checked.read(&path).await?;
        }
        "http" | "https" => checked.download(http, url).await?,
        other => return Err(ContentError::Unsupported(other.to_owned())),
    }
    checked.finish(expected)
}

/// Writes a public file into `sink`: nobody registered what it holds. Gives its length.
///
/// # Errors
/// When it cannot be had, or is larger than `limit`.
pub async fn download(
    http: &reqwest::Client,
    url: Url,
    limit: u64,
    sink: &mut (impl Write + Send),
) -> Result<u64, ContentError> {
    let mut checked = Checked { sink, digest: Sha256::new(), length: 0, limit };
    checked.download(http, url).await?;
    checked.sink.flush()?;
    Ok(checked.length)
}

struct Checked<'a, W> {
    sink: &'a mut W,
    digest: Sha256,
    length: u64,
    limit: u64,
}

impl<W: Write + Send> Checked<'_, W> {
    async fn read(&mut self, path: &Path) -> Result<(), ContentError> {
        if !tokio::fs::metadata(path).await?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a file").into());
        }
        let mut file = tokio::fs::File::open(path).await?;
        let mut buffer = vec![0; 1 << 18];
        loop {
            let read = file.read(&mut buffer).await?;
            match buffer.get(..read) {
                Some(chunk) if !chunk.is_empty() => self.take(chunk)?,
                _ => return Ok(()),
            }
        }
    }

    async fn download(&mut self, http: &reqwest::Client, url: Url) -> Result<(), ContentError> {
        let mut response = http.get(url).send().await?;
        if response.status() != reqwest::StatusCode::OK {
            return Err(ContentError::Status(response.status().as_u16()));
        }
        while let Some(chunk) = response.chunk().await? {
            self.take(&chunk)?;
        }
        Ok(())
    }

    fn take(&mut self, chunk: &[u8]) -> Result<(), ContentError> {
        self.length += chunk.len() as u64;
        if self.length > self.limit {
            return Err(ContentError::TooLarge { limit: self.limit });
        }
        self.digest.update(chunk);
        Ok(self.sink.write_all(chunk)?)
    }

    fn finish(self, expected: B256) -> Result<u64, ContentError> {
        self.sink.flush()?;
        let got = B256::from_slice(&self.digest.finalize());
        if got == expected {
            Ok(self.length)
        } else {
            Err(ContentError::WrongDigest { expected, got })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn get(uri: &str, content: &[u8], limit: u64) -> Result<Vec<u8>, ContentError> {
        let expected = B256::from_slice(&Sha256::digest(content));
        let mut sink = Vec::new();
        fetch(&http()?, uri, expected, limit, &mut sink).await.map(|_| sink)
    }

    fn file(content: &[u8]) -> (tempfile::TempDir, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("content");
        std::fs::write(&path, content).unwrap();
        let uri = Url::from_file_path(path).unwrap().to_string();
        (folder, uri)
    }

    #[tokio::test]
    async fn a_file_is_read_up_to_the_limit() {
        let content = vec![7; 600_000];
        let (_folder, uri) = file(&content);
        assert_eq!(get(&uri, &content, 600_000).await.unwrap(), content);
        let error = get(&uri, &content, 599_999).await.unwrap_err();
        assert!(matches!(error, ContentError::TooLarge { limit: 599_999 }), "{error}");
    }

    #[tokio::test]
    async fn other_content_than_registered_is_refused() {
        let (_folder, uri) = file(b"one");
        for registered in [&b"onE"[..], b"one ", b""] {
            let error = get(&uri, registered, 10).await.unwrap_err();
            assert!(matches!(error, ContentError::WrongDigest { .. }), "{error}");
            assert!(!error.is_retryable());
        }
    }

    #[tokio::test]
    async fn what_is_no_content_has_a_name() {
        let refused = |uri| async move { get(uri, b"", 10).await.unwrap_err() };
        assert!(matches!(refused("").await, ContentError::NotAUri(_)));
        assert!(matches!(refused("/etc/hostname").await, ContentError::NotAUri(_)));
        assert!(matches!(refused("file://elsewhere/x").await, ContentError::NotAUri(_)));
        assert!(matches!(refused("ftp://x/y").await, ContentError::Unsupported(_)));
        assert!(matches!(refused("file:///nowhere/at/all").await, ContentError::Io(_)));
        assert!(matches!(refused("file:///dev/zero").await, ContentError::Io(_)));
        assert!(matches!(refused("file:///tmp").await, ContentError::Io(_)));
        let error = refused("http://127.0.0.1:1/").await;
        assert!(matches!(error, ContentError::Unreachable(_)) && error.is_retryable(), "{error}");
    }
}
