//! Sends a result to where it is to lie: `PUT <address>/<task>/<file>`.

use std::{fmt, io, path::Path, time::Duration};

use rand::Rng;
use reqwest::{
    StatusCode,
    header::{AUTHORIZATION, CONTENT_LENGTH, HeaderValue},
};
use sesame_domain::TaskId;
use tokio::time::Instant;
use url::Url;

use crate::{host::below, seal::Written};

/// How often it is tried.
const ATTEMPTS: u32 = 8;

/// The pause after the first attempt, before jitter; it doubles.
const PAUSE: Duration = Duration::from_millis(500);

/// How long a server may take to be reached.
const CONNECT: Duration = Duration::from_secs(30);

/// How long one attempt may take, whatever the size.
const HEAD_START: Duration = Duration::from_secs(60);

/// How fast an attempt must be beyond that: bytes a second.
const SLOWEST: u64 = 64 << 10;

/// The result cannot be stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The result cannot be read again, or the file with the authorization not at all.
    #[error("cannot read {what}")]
    Read {
        /// What.
        what: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file with the authorization holds none.
    #[error(
        "the file with the authorization for results does not begin with a line that is a header's value"
    )]
    Authorization,
    /// The storage does not answer, or breaks off.
    #[error("the storage for results does not answer")]
    Unreachable(#[source] reqwest::Error),
    /// The storage answers something else than that it has the result.
    #[error("the storage for results answered {0}")]
    Status(u16),
}

impl From<reqwest::Error> for StoreError {
    /// Without the address: that is the operator's to tell.
    fn from(error: reqwest::Error) -> Self {
        Self::Unreachable(error.without_url())
    }
}

impl StoreError {
    /// Whether the same request may succeed a little later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::Status(status) => matches!(status, 408 | 425 | 429 | 500..),
            Self::Read { .. } | Self::Authorization => false,
        }
    }
}

/// Where results of one kind go.
#[derive(Clone)]
pub struct Store {
    http: reqwest::Client,
    base: Url,
    authorization: Option<HeaderValue>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}

impl Store {
    /// Below `base`. `authorization` is a file whose first line goes along as the header of that name.
    ///
    /// # Errors
    /// When that file cannot be read or holds no header's value, or the TLS back end cannot start.
    pub fn at(base: Url, authorization: Option<&Path>) -> Result<Self, StoreError> {
        // Whoever redirects a result would have it sent, with its authorization, to a place that nobody named.
        let http = reqwest::Client::builder().no_proxy().connect_timeout(CONNECT);
        let http = http.redirect(reqwest::redirect::Policy::none()).build()?;
        let authorization = authorization.map(read_authorization).transpose()?;
        Ok(Self { http, base, authorization })
    }

    /// Sends a file, a few times if it must and not past `until`. Gives its address.
    ///
    /// # Errors
    /// With the last attempt's reason.
    pub async fn put(
        &self,
        task: TaskId,
        name: &str,
        file: &Path,
        written: Written,
        until: Instant,
    ) -> Result<Url, StoreError> {
        let url = below(&self.base, &[task.to_string().as_str(), name]);
        let mut pause = PAUSE;
        for _ in 1..ATTEMPTS {
            match self.attempt(&url, file, written).await {
                Err(error) if error.is_retryable() => {
                    let next = Instant::now() + pause.mul_f64(rand::rng().random_range(0.5..=1.5));
                    if next > until {
                        return Err(error);
                    }
                    tokio::time::sleep_until(next).await;
                    pause *= 2;
                }
                ended => return ended.map(|()| url),
            }
        }
        self.attempt(&url, file, written).await.map(|()| url)
    }

    async fn attempt(&self, url: &Url, file: &Path, written: Written) -> Result<(), StoreError> {
        let file = tokio::fs::File::open(file).await;
        let file = file.map_err(|source| StoreError::Read { what: "the result", source })?;
        let request = self
            .http
            .put(url.clone())
            .header(CONTENT_LENGTH, written.length)
            .timeout(HEAD_START + Duration::from_secs(written.length / SLOWEST))
            .body(file);
        let request = match &self.authorization {
            Some(authorization) => request.header(AUTHORIZATION, authorization.clone()),
            None => request,
        };
        match request.send().await?.status() {
            StatusCode::OK | StatusCode::CREATED | StatusCode::NO_CONTENT => Ok(()),
            other => Err(StoreError::Status(other.as_u16())),
        }
    }
}

fn read_authorization(file: &Path) -> Result<HeaderValue, StoreError> {
    let text = std::fs::read_to_string(file);
    let text = zeroize::Zeroizing::new(text.map_err(|source| StoreError::Read {
        what: "the file with the authorization for results",
        source,
    })?);
    let line = text.lines().next().map(str::trim).filter(|line| !line.is_empty());
    let value = line.and_then(|line| HeaderValue::from_str(line).ok());
    let mut value = value.ok_or(StoreError::Authorization)?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader, Read, Write},
        net::TcpListener,
        sync::{Arc, Mutex},
        thread,
    };

    use alloy_primitives::B256;

    use super::*;

    /// Heads and bodies.
    type Requests = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

    /// Gives these answers one after the other, the last to all that follow. Keeps the heads and bodies of requests.
    fn storage(statuses: &'static [&'static str]) -> (Url, Requests) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}/results/", listener.local_addr().unwrap()).parse().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&seen);
        thread::spawn(move || {
            for (n, stream) in listener.incoming().enumerate() {
                let mut stream = stream.unwrap();
                let (mut reader, mut head) = (BufReader::new(&stream), String::new());
                while !head.ends_with("\r\n\r\n") {
                    assert!(reader.read_line(&mut head).unwrap() > 0);
                }
                let length = head.to_lowercase();
                let length = length.lines().find_map(|line| line.strip_prefix("content-length: "));
                let mut body = vec![0; length.unwrap().parse().unwrap()];
                reader.read_exact(&mut body).unwrap();
                kept.lock().unwrap().push((head, body));
                let status = statuses[n.min(statuses.len() - 1)];
                let answer = format!(
                    "HTTP/1.1 {status}\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                );
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        (base, seen)
    }

    const TASK: TaskId = TaskId(B256::repeat_byte(0x22));

    async fn put(base: Url, authorization: Option<&Path>) -> Result<Url, StoreError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().write_all(b"the result").unwrap();
        let written = Written { digest: B256::ZERO, length: 10 };
        let until = Instant::now() + Duration::from_secs(60);
        Store::at(base, authorization)?.put(TASK, "result.tar", file.path(), written, until).await
    }

    #[tokio::test]
    async fn a_result_is_put_below_the_address_until_it_is_taken() {
        let (base, seen) =
            storage(&["503 Service Unavailable", "429 Too Many Requests", "201 Created"]);
        let url = put(base.clone(), None).await.unwrap();
        assert_eq!(url.as_str(), format!("{base}{TASK}/result.tar"));
        let seen = seen.lock().unwrap();
        assert_eq!(seen.len(), 3);
        for (head, body) in &*seen {
            assert!(
                head.starts_with(&format!("PUT /results/{TASK}/result.tar HTTP/1.1\r\n")),
                "{head}"
            );
            assert!(!head.to_lowercase().contains("authorization"), "{head}");
            assert_eq!(body, b"the result");
        }
    }

    #[tokio::test]
    async fn a_refusal_is_final_and_nobody_is_redirected() {
        for (status, code) in
            [("403 Forbidden", 403), ("404 Not Found", 404), ("307 Temporary Redirect", 307)]
        {
            let (base, seen) = storage(Box::leak(Box::new([status])));
            let error = put(base, None).await.unwrap_err();
            assert!(matches!(error, StoreError::Status(got) if got == code), "{error}");
            assert!(!error.is_retryable());
            assert_eq!(seen.lock().unwrap().len(), 1);
        }
    }

    #[tokio::test]
    async fn attempts_end_with_the_deadline() {
        let (base, seen) = storage(&["503 Service Unavailable"]);
        let file = tempfile::NamedTempFile::new().unwrap();
        let written = Written { digest: B256::ZERO, length: 0 };
        let store = Store::at(base, None).unwrap();
        let error = store.put(TASK, "x", file.path(), written, Instant::now()).await.unwrap_err();
        assert!(matches!(error, StoreError::Status(503)) && error.is_retryable(), "{error}");
        assert_eq!(seen.lock().unwrap().len(), 1);
        let nobody = "http://127.0.0.1:1/".parse().unwrap();
        let store = Store::at(nobody, None).unwrap();
        let error = store.put(TASK, "x", file.path(), written, Instant::now()).await.unwrap_err();
        assert!(matches!(error, StoreError::Unreachable(_)) && error.is_retryable(), "{error}");
    }

    #[tokio::test]
    async fn the_operators_authorization_goes_along_and_is_told_to_nobody() {
        let (base, seen) = storage(&["200 OK"]);
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().write_all(b"Bearer hunter2\nmore\n").unwrap();
        put(base.clone(), Some(file.path())).await.unwrap();
        let head = seen.lock().unwrap()[0].0.to_lowercase();
        assert!(head.contains("authorization: bearer hunter2\r\n"), "{head}");
        let store = Store::at(base.clone(), Some(file.path())).unwrap();
        assert!(!format!("{store:?}").contains("hunter2"));

        let empty = tempfile::NamedTempFile::new().unwrap();
        let error = put(base.clone(), Some(empty.path())).await.unwrap_err();
        assert!(matches!(error, StoreError::Authorization), "{error}");
        let error = put(base, Some(Path::new("/nowhere/at/all"))).await.unwrap_err();
        assert!(matches!(error, StoreError::Read { .. }) && !error.is_retryable(), "{error}");
    }
}
