//! Software enclaves: what they are, and how they attest, by the client and by hand.

use std::convert::Infallible;

use alloy::primitives::Address;
use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use sesame_attestation::simulated::{Imitated, Root, enclave_id_of};
use sesame_client::enclave::{EnclaveError, Guest, Session};
use sesame_domain::{EnclaveId, Resource, TaskId};
use sesame_protocol::{
    bundle::Bundle,
    jwe::EnclaveKey,
    rcar::{self, SESSION_COOKIE, Tee},
    typed::Domain,
    voucher::{SignedVoucher, VOUCHER_HEADER},
};
use sha2::{Digest, Sha256};

use crate::{Answer, Person, Sms, now};

/// One build of an app: what a quote measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Build {
    tee: Imitated,
    measurement: [u8; 32],
}

impl Build {
    /// The build of this source; another byte is another build.
    #[must_use]
    pub fn of(source: &str) -> Self {
        Self { tee: Imitated::Sgx, measurement: Sha256::digest(source).into() }
    }

    /// The same for another TEE.
    #[must_use]
    pub const fn imitating(self, tee: Imitated) -> Self {
        Self { tee, ..self }
    }

    /// The TEE, as the protocol names it.
    #[must_use]
    pub const fn tee(&self) -> Tee {
        match self.tee {
            Imitated::Sgx => Tee::Sgx,
            Imitated::Tdx => Tee::Tdx,
            Imitated::Snp => Tee::Snp,
        }
    }

    /// What owners whitelist.
    #[must_use]
    pub fn id(&self) -> EnclaveId {
        enclave_id_of(self.tee, &self.measurement)
    }

    /// A quote or report for this build under a root.
    #[must_use]
    pub fn quote(&self, report_data: [u8; 64], root: &Root) -> Value {
        root.evidence(self.tee, &self.measurement, report_data)
    }
}

/// An enclave that speaks to the service as the client library does.
#[derive(Debug)]
pub struct Enclave<'w> {
    build: Build,
    guest: Guest,
    root: &'w Root,
    domain: Domain,
    sms: Address,
}

impl<'w> Enclave<'w> {
    /// A fresh enclave of this build, with a key of its own, under this root.
    ///
    /// # Panics
    /// Never: the service has a URL.
    #[must_use]
    pub fn new(build: Build, sms: &Sms, root: &'w Root) -> Self {
        let guest = Guest::new(sms.base(), sms.identity, EnclaveKey::random(), build.tee())
            .expect("the service has a URL");
        Self { build, guest, root, domain: sms.domain(), sms: sms.identity }
    }

    /// Attests with a worker's word for this run.
    ///
    /// # Errors
    /// When the service refuses.
    pub async fn attest(&self, task: TaskId, worker: &Person) -> Result<Session<'_>, EnclaveError> {
        let key = self.guest.key().thumbprint();
        let signer = worker.signer();
        let voucher = SignedVoucher::sign(task, self.sms, key, now() + 300, &self.domain, &signer);
        let quote = |report_data| Ok::<_, Infallible>(self.build.quote(report_data, self.root));
        self.guest.attest(Some(&voucher), quote).await
    }

    /// Attests and fetches everything.
    ///
    /// # Errors
    /// When the service refuses.
    pub async fn bundle(&self, task: TaskId, worker: &Person) -> Result<Bundle, EnclaveError> {
        self.attest(task, worker).await?.bundle(task).await
    }

    /// Attests and fetches one resource.
    ///
    /// # Errors
    /// When the service refuses.
    pub async fn resource(
        &self,
        task: TaskId,
        worker: &Person,
        resource: Resource,
    ) -> Result<Vec<u8>, EnclaveError> {
        Ok(self.attest(task, worker).await?.resource(task, resource).await?.to_vec())
    }
}

/// An enclave that attests by hand, step by step, so that a story can get any step wrong.
#[derive(Debug)]
pub struct Attester<'w> {
    /// Its key.
    pub key: EnclaveKey,
    /// What it is.
    pub build: Build,
    /// The nonce of the challenge.
    pub nonce: String,
    /// The cookie: the challenge's, then the session's.
    pub cookie: String,
    root: &'w Root,
    sms: &'w Sms,
}

impl<'w> Attester<'w> {
    /// An enclave that has been challenged.
    ///
    /// # Panics
    /// When the service does not challenge.
    pub async fn challenged(build: Build, sms: &'w Sms, root: &'w Root) -> Self {
        Self::challenged_as(build.tee(), build, sms, root).await
    }

    /// An enclave that has been challenged as one of another TEE.
    ///
    /// # Panics
    /// When the service does not challenge.
    pub async fn challenged_as(tee: Tee, build: Build, sms: &'w Sms, root: &'w Root) -> Self {
        let request = sms.request(Method::POST, "kbs/v0/auth").json(&rcar::request(tee));
        let answer = Answer::to(request).await;
        answer.is_ok();
        let nonce = answer.json()["nonce"].as_str().expect("a challenge has a nonce").to_owned();
        let cookie = cookie_of(&answer).expect("a challenge sets the cookie");
        Self { key: EnclaveKey::random(), build, nonce, cookie, root, sms }
    }

    /// The worker's word for this enclave's key.
    #[must_use]
    pub fn voucher(&self, task: TaskId, worker: &Person) -> SignedVoucher {
        let (key, domain) = (self.key.thumbprint(), self.sms.domain());
        let deadline = now() + 300;
        SignedVoucher::sign(task, self.sms.identity, key, deadline, &domain, &worker.signer())
    }

    /// The evidence that belongs to the challenge.
    #[must_use]
    pub fn evidence(&self) -> Value {
        self.build.quote(rcar::report_data(&self.nonce, self.key.public()), self.root)
    }

    /// The whole attestation as it should be.
    ///
    /// # Panics
    /// Never: an attestation is JSON.
    #[must_use]
    pub fn attestation(&self) -> Value {
        let body = rcar::attestation(&self.nonce, self.key.public(), self.evidence());
        serde_json::to_value(body).expect("an attestation is JSON")
    }

    /// Sends an attestation; a session replaces the challenge.
    pub async fn send(&mut self, voucher: Option<&str>, body: impl Into<reqwest::Body>) -> Answer {
        let answer = self.send_to("kbs/v0/attest", voucher, body).await;
        if let Some(cookie) = cookie_of(&answer) {
            self.cookie = cookie;
        }
        answer
    }

    /// Sends an attestation to a path of choice.
    pub async fn send_to(
        &self,
        path: &str,
        voucher: Option<&str>,
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        let cookie = format!("{SESSION_COOKIE}={}", self.cookie);
        let request = self.sms.request(Method::POST, path).header("cookie", cookie);
        let request = request.header("content-type", "application/json").body(body);
        Answer::to(match voucher {
            Some(voucher) => request.header(VOUCHER_HEADER, voucher),
            None => request,
        })
        .await
    }

    /// Attests as it should be done.
    ///
    /// # Panics
    /// When the service refuses.
    pub async fn attest(&mut self, task: TaskId, worker: &Person) -> Answer {
        let voucher = self.voucher(task, worker).to_header();
        let answer = self.send(Some(&voucher), self.attestation().to_string()).await;
        answer.is_ok();
        answer
    }

    /// Asks for a resource with the cookie.
    pub async fn ask(&self, task: TaskId, resource: Resource) -> Answer {
        Answer::to(self.asking(task, resource)).await
    }

    /// The same, not sent yet.
    pub fn asking(&self, task: TaskId, resource: Resource) -> RequestBuilder {
        let cookie = format!("{SESSION_COOKIE}={}", self.cookie);
        let path = rcar::resource_path(task, resource);
        self.sms.request(Method::GET, &path).header("cookie", cookie)
    }

    /// What the answer to [`Self::ask`] holds.
    ///
    /// # Panics
    /// When it is not encrypted to this enclave's key.
    pub fn open(&self, answer: &Answer) -> Vec<u8> {
        answer.is_ok();
        let jwe = serde_json::from_slice(&answer.body).expect("an answer is a JWE");
        self.key.decrypt(&jwe).expect("it is encrypted to the attested key").to_vec()
    }
}

/// The session's cookie that an answer sets.
fn cookie_of(answer: &Answer) -> Option<String> {
    let header = answer.header("set-cookie")?;
    let value = header.strip_prefix(SESSION_COOKIE)?.strip_prefix('=')?;
    value.split(';').next().map(str::to_owned)
}
