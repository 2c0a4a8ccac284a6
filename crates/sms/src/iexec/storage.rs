//! What sessions need from elsewhere: the storage that takes them, and the gateway that has what is on IPFS.

use std::time::Duration;

use axum::body::Bytes;
use reqwest::{Client, header::CONTENT_TYPE, redirect};
use sesame_iexec::bulk::{SignedOrder, is_cid, orders, slice_cid};
use url::{Host, Url};
use zeroize::Zeroizing;

use crate::problem::chain;

/// Longest time for one answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes of a list on IPFS: a slice of a hundred orders has some hundred thousand.
const MAX_LIST: usize = 1 << 20;

/// How often a gateway may send one elsewhere on itself.
const MAX_REDIRECTS: usize = 3;

/// Whether a session may be posted there: by TLS, or to this machine.
pub(super) fn is_private(url: &Url) -> bool {
    let here = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    url.scheme() == "https" || url.scheme() == "http" && here
}

/// Two services, and how they are spoken to: TLS is verified, and nobody sends us to another host.
#[derive(Debug)]
pub(super) struct Outside {
    storage: Url,
    provisioning: String,
    gateway: Option<Url>,
    storing: Client,
    fetching: Client,
}

impl Outside {
    pub(super) fn new(
        storage: Url,
        provisioning: String,
        gateway: Option<Url>,
    ) -> Result<Self, reqwest::Error> {
        if storage.scheme() != "https" {
            tracing::warn!(
                "sessions, with secrets in them, are posted without TLS, on this machine: that is for trying alone"
            );
        }
        let client = |redirects| Client::builder().timeout(PATIENCE).redirect(redirects).build();
        Ok(Self {
            provisioning,
            storing: client(redirect::Policy::none())?,
            fetching: client(on_the_same_host())?,
            storage,
            gateway,
        })
    }

    /// Where workers get their session.
    pub(super) fn provisioning(&self) -> &str {
        &self.provisioning
    }

    /// Posts a session. It may have been taken even if this fails.
    pub(super) async fn post(&self, session: Zeroizing<Vec<u8>>) -> Result<(), reqwest::Error> {
        let request = self.storing.post(below(&self.storage, &["session"]));
        let request = request.header(CONTENT_TYPE, "application/json");
        // Erased when the last of it is sent.
        let answer = request.body(Bytes::from_owner(session)).send().await?;
        answer.error_for_status().map(drop)
    }

    /// The orders of a task's slice of a bulk. There are none if it cannot be had, as iExec's SMS has it.
    pub(super) async fn slice(&self, bulk: &str, index: u64) -> Vec<SignedOrder> {
        match self.try_slice(bulk, index).await {
            Ok(orders) => orders,
            Err(reason) => {
                tracing::warn!(reason, "a slice of a bulk cannot be had, and is left empty");
                Vec::new()
            }
        }
    }

    async fn try_slice(&self, bulk: &str, index: u64) -> Result<Vec<SignedOrder>, String> {
        let slices = self.fetch(bulk).await?;
        let slice = slice_cid(&slices, index).ok_or("the bulk has no such slice")?;
        Ok(orders(&self.fetch(&slice).await?))
    }

    async fn fetch(&self, cid: &str) -> Result<Vec<u8>, String> {
        let gateway = self.gateway.as_ref().ok_or("no gateway to IPFS is configured")?;
        if !is_cid(cid) {
            return Err("what should be a CID is none".to_owned());
        }
        let failed = |error: reqwest::Error| chain(&error.without_url());
        let answer = self.fetching.get(below(gateway, &["ipfs", cid])).send().await;
        let mut answer = answer.and_then(reqwest::Response::error_for_status).map_err(failed)?;
        let mut list = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(failed)? {
            if list.len() + part.len() > MAX_LIST {
                return Err(format!("a list has more than {MAX_LIST} bytes"));
            }
            list.extend_from_slice(&part);
        }
        Ok(list)
    }
}

/// Follows a gateway as long as it stays what the operator named.
fn on_the_same_host() -> redirect::Policy {
    redirect::Policy::custom(|attempt| {
        let place =
            |url: &Url| (url.scheme().to_owned(), url.host_str().map(str::to_owned), url.port());
        let first = attempt.previous().first().map(place);
        if first != Some(place(attempt.url())) {
            attempt.error("the gateway sends us to another host")
        } else if attempt.previous().len() > MAX_REDIRECTS {
            attempt.error("the gateway sends us on again and again")
        } else {
            attempt.follow()
        }
    })
}

/// A path below a URL, whether or not that ends with a slash.
fn below(url: &Url, parts: &[&str]) -> Url {
    let mut url = url.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(parts);
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    #[test]
    fn sessions_go_by_tls_or_stay_on_this_machine() {
        for good in [
            "https://storage.example.org",
            "http://127.0.0.1:1",
            "http://[::1]",
            "http://localhost:9",
        ] {
            assert!(is_private(&url(good)), "{good}");
        }
        for bad in [
            "http://storage.example.org",
            "http://10.0.0.1",
            "http://localhost.example.org",
            "ftp://127.0.0.1",
            "file:///tmp/x",
            "data:text/plain,x",
        ] {
            assert!(!is_private(&url(bad)), "{bad}");
        }
    }

    #[test]
    fn paths_are_added_below() {
        for base in ["https://a.example.org/x", "https://a.example.org/x/"] {
            assert_eq!(below(&url(base), &["session"]).as_str(), "https://a.example.org/x/session");
        }
        assert_eq!(below(&url("http://a:1"), &["ipfs", "Qm"]).as_str(), "http://a:1/ipfs/Qm");
    }

    #[tokio::test]
    async fn what_is_no_cid_is_asked_of_nobody() {
        let gateway = Some(url("http://127.0.0.1:1"));
        let outside = Outside::new(url("https://a.example.org"), String::new(), gateway).unwrap();
        for bad in ["", "../../etc", "a/b", "a?b", "Qm#x", "Qm%2f", &"a".repeat(129)] {
            assert_eq!(outside.fetch(bad).await, Err("what should be a CID is none".to_owned()));
        }
        assert!(outside.fetch("Qm").await.is_err());
        assert!(outside.slice("Qm", 0).await.is_empty());
    }
}
