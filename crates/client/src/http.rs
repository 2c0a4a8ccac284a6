//! One request, one bounded answer.

use std::time::Duration;

use reqwest::{
    Client, RequestBuilder, Response, StatusCode, Url,
    header::{HeaderMap, HeaderName},
    redirect::Policy,
};
use serde::de::DeserializeOwned;
use sesame_protocol::problem::Problem;

use crate::{ClientError, TransportError};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);

/// The longest document, in bytes: anything but secrets and bundles.
pub(crate) const MAX_DOCUMENT: usize = 1024 * 1024;

/// A service behind one base URL. Redirects are not followed.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    client: Client,
    base: Url,
}

impl Http {
    /// `base` is the URL under which `v1` and `kbs` are served.
    pub(crate) fn new(base: &str) -> Result<Self, TransportError> {
        let mut url = Url::parse(base).map_err(|_| TransportError::BadUrl(base.to_owned()))?;
        if !matches!(url.scheme(), "http" | "https") || url.query().or(url.fragment()).is_some() {
            return Err(TransportError::BadUrl(base.to_owned()));
        }
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        let client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .redirect(Policy::none())
            .build()?;
        Ok(Self { client, base: url })
    }

    pub(crate) const fn client(&self) -> &Client {
        &self.client
    }

    /// The URL of a path without a leading slash.
    pub(crate) fn url(&self, path: &str) -> Result<Url, TransportError> {
        self.base.join(path).map_err(|_| TransportError::BadUrl(path.to_owned()))
    }
}

/// A whole answer.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The body as a document.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, TransportError> {
        serde_json::from_slice(&self.body).map_err(|source| TransportError::NotTheDocument {
            status: self.status.as_u16(),
            source,
        })
    }

    /// The body as a document if the request succeeded, or the problem that it holds.
    pub(crate) fn success<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        if self.status.is_success() { Ok(self.json()?) } else { Err(self.problem()) }
    }

    /// The body if the request succeeded, or the problem that it holds.
    pub(crate) fn bytes(self) -> Result<Vec<u8>, ClientError> {
        if self.status.is_success() { Ok(self.body) } else { Err(self.problem()) }
    }

    fn problem(&self) -> ClientError {
        match self.json::<Problem>() {
            Ok(problem) => ClientError::Problem(Box::new(problem)),
            Err(_) => ClientError::Status(self.status.as_u16()),
        }
    }

    /// A header's text.
    pub(crate) fn header(&self, name: &'static str) -> Option<&str> {
        self.headers.get(HeaderName::from_static(name))?.to_str().ok()
    }
}

/// Sends a request and reads at most `limit` bytes of its answer.
pub(crate) async fn send(request: RequestBuilder, limit: usize) -> Result<Answer, TransportError> {
    let mut response: Response = request.send().await?;
    let too_large = |length: usize| length > limit;
    if response
        .content_length()
        .is_some_and(|length| too_large(length.try_into().unwrap_or(usize::MAX)))
    {
        return Err(TransportError::TooLarge { limit });
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if too_large(body.len().saturating_add(chunk.len())) {
            return Err(TransportError::TooLarge { limit });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status: response.status(), headers: response.headers().clone(), body })
}
