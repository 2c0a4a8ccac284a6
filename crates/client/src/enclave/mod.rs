//! The enclave's side: attest, then fetch (RCAR 0.4.0, the guest's part).
//!
//! The key comes first, because the worker vouches for its thumbprint before the enclave attests; it stays the same when the
//! session has to be attested again.

mod error;

use std::fmt;

use alloy_primitives::{Address, B256};
use reqwest::{RequestBuilder, header::SET_COOKIE};
use serde_json::Value;
use sesame_domain::{Resource, TaskId};
use sesame_protocol::{
    bundle::{self, Bundle, BundledSecret, MAX_BUNDLE_SECRETS, Omitted},
    jwe::EnclaveKey,
    owner::MAX_SECRET_BYTES,
    rcar::{self, Challenge, Response, SESSION_COOKIE, Tee, TokenResponse},
    results::{ResultKey, ResultKeyCertificate, ResultKeyRequest, TaskDomain},
    signature::{Signature65, recover},
    voucher::{SignedVoucher, VOUCHER_HEADER},
};
use zeroize::Zeroizing;

use crate::http::{Answer, Http, MAX_DOCUMENT, send};

pub use error::EnclaveError;

/// The longest answer that holds one secret: base64 of the largest secret, and the JWE around it.
const MAX_SECRET_ANSWER: usize = MAX_SECRET_BYTES / 3 * 4 + MAX_DOCUMENT;

/// The longest answer that holds a bundle: base64 of the largest secrets, and everything else of the task.
const MAX_BUNDLE_ANSWER: usize = MAX_BUNDLE_SECRETS / 3 * 4 + 16 * MAX_DOCUMENT;

/// An enclave that wants to speak to an SMS.
#[derive(Debug)]
pub struct Guest {
    http: Http,
    sms: Address,
    key: EnclaveKey,
    tee: Tee,
}

impl Guest {
    /// An enclave with this key. `sms` is the identity that it was built or told to trust.
    ///
    /// # Errors
    ///
    /// If the base is no `http` or `https` URL, or TLS cannot be set up.
    pub fn new(base: &str, sms: Address, key: EnclaveKey, tee: Tee) -> Result<Self, EnclaveError> {
        Ok(Self { http: Http::new(base)?, sms, key, tee })
    }

    /// The enclave's key; its thumbprint is what the worker vouches for.
    #[must_use]
    pub const fn key(&self) -> &EnclaveKey {
        &self.key
    }

    /// Proves what the enclave is. `evidence` gets the 64 bytes of report data and returns the TEE's evidence over them.
    ///
    /// # Errors
    ///
    /// If no evidence can be had, the SMS refuses it, or answers otherwise than the protocol says.
    pub async fn attest<E>(
        &self,
        voucher: Option<&SignedVoucher>,
        evidence: impl FnOnce([u8; 64]) -> Result<Value, E>,
    ) -> Result<Session<'_>, EnclaveError>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let url = self.http.url("kbs/v0/auth")?;
        let request = self.http.client().post(url).json(&rcar::request(self.tee));
        let answer = fetch(request, MAX_DOCUMENT).await.map_err(not_attested)?;
        let cookie = session_cookie(&answer).ok_or(EnclaveError::NoSession)?;
        let challenge: Challenge = answer.json()?;
        check_hash_algorithm(&challenge)?;

        let public = self.key.public();
        let report_data = rcar::report_data(&challenge.nonce, public);
        let evidence =
            evidence(report_data).map_err(|source| EnclaveError::NoEvidence(source.into()))?;
        let body = rcar::attestation(&challenge.nonce, public, evidence);
        let url = self.http.url("kbs/v0/attest")?;
        let mut request =
            self.http.client().post(url).header("cookie", cookie.header()).json(&body);
        if let Some(voucher) = voucher {
            request = request.header(VOUCHER_HEADER, voucher.to_header());
        }
        let answer = fetch(request, MAX_DOCUMENT).await.map_err(not_attested)?;
        let _token: TokenResponse = answer.json()?;
        let cookie = session_cookie(&answer).unwrap_or(cookie);
        Ok(Session { guest: self, nonce: challenge.nonce, cookie })
    }
}

/// An attested session. It is short: when it ends, [`EnclaveError::AttestAgain`] says so.
pub struct Session<'g> {
    guest: &'g Guest,
    nonce: String,
    cookie: Cookie,
}

impl fmt::Debug for Session<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("guest", self.guest).finish_non_exhaustive()
    }
}

impl Session<'_> {
    /// One resource of a task. For [`Resource::Bundle`] these are the signed bundle's bytes: use [`Self::bundle`].
    ///
    /// This does not prove who answers. A resource is encrypted to the enclave's key, which is public, and signed by nobody:
    /// the host, or whoever else pretends to be the SMS, can answer with a value of their own. What a verified bundle lists
    /// as omitted is fetched by [`Self::omitted`], which checks it.
    ///
    /// # Errors
    ///
    /// If the SMS denies or cannot decide, the session ended, or the answer does not decrypt.
    pub async fn resource(
        &self,
        task: TaskId,
        resource: Resource,
    ) -> Result<Zeroizing<Vec<u8>>, EnclaveError> {
        let limit = match resource {
            Resource::Bundle => MAX_BUNDLE_ANSWER,
            Resource::AppSecret | Resource::RequesterSecret(_) | Resource::ProtectedData(_) => {
                MAX_SECRET_ANSWER
            }
        };
        let url = self.guest.http.url(&rcar::resource_path(task, resource))?;
        let request = self.guest.http.client().get(url).header("cookie", self.cookie.header());
        let jwe: Response = fetch(request, limit).await?.json()?;
        Ok(self.guest.key.decrypt(&jwe)?)
    }

    /// The task's bundle, signed by the trusted SMS for this task, key and attestation, with the digest that a signed result
    /// names.
    ///
    /// # Errors
    ///
    /// As [`Self::resource`], or if the bundle is anybody else's or for anything else.
    pub async fn bundle_with_digest(&self, task: TaskId) -> Result<(Bundle, B256), EnclaveError> {
        let bytes = self.resource(task, Resource::Bundle).await?;
        let (nonce, key) = (rcar::nonce_digest(&self.nonce), self.guest.key.thumbprint());
        Ok(bundle::open_with_digest(&bytes, self.guest.sms, task, key, nonce)?)
    }

    /// The task's bundle alone.
    ///
    /// # Errors
    ///
    /// As [`Self::bundle_with_digest`].
    pub async fn bundle(&self, task: TaskId) -> Result<Bundle, EnclaveError> {
        self.bundle_with_digest(task).await.map(|(bundle, _)| bundle)
    }

    /// Has the SMS certify the key that the task's result will be signed with, and checks that it was the trusted SMS that did.
    ///
    /// # Errors
    ///
    /// As [`Self::resource`], or if another signed.
    pub async fn certify(
        &self,
        task: TaskId,
        key: Address,
        tasks: &TaskDomain,
    ) -> Result<Signature65, EnclaveError> {
        let request = ResultKeyRequest::sign(task, key, &self.nonce, &self.guest.key);
        let url = self.guest.http.url("kbs/v0/result-key")?;
        let post = self.guest.http.client().post(url).header("cookie", self.cookie.header());
        let certificate: ResultKeyCertificate =
            fetch(post.json(&request), MAX_DOCUMENT).await?.json()?;
        let hash = tasks.signing_hash(&ResultKey { task: task.0, key });
        match recover(hash, &certificate.signature) {
            Ok(signer) if signer == self.guest.sms => Ok(certificate.signature),
            _ => Err(EnclaveError::ForeignCertificate),
        }
    }

    /// A secret that did not fit into the task's verified bundle: the value that the bundle means, or none.
    ///
    /// # Errors
    ///
    /// As [`Self::resource`], or [`EnclaveError::Substituted`].
    pub async fn omitted(
        &self,
        task: TaskId,
        omitted: &Omitted,
    ) -> Result<BundledSecret, EnclaveError> {
        let &Omitted { resource, version, .. } = omitted;
        let value = self.resource(task, resource).await?;
        if omitted.is(&value) {
            Ok(BundledSecret { resource, version, value })
        } else {
            Err(EnclaveError::Substituted { resource, version })
        }
    }
}

/// The session's cookie. Whoever shows it is the attested enclave, so it is not printed.
struct Cookie(String);

impl Cookie {
    fn header(&self) -> String {
        format!("{SESSION_COOKIE}={}", self.0)
    }
}

fn session_cookie(answer: &Answer) -> Option<Cookie> {
    answer.headers.get_all(SET_COOKIE).iter().find_map(|header| {
        let (pair, _attributes) =
            header.to_str().ok().map(|text| text.split_once(';').unwrap_or((text, "")))?;
        let (name, value) = pair.split_once('=')?;
        let ours = name.trim() == SESSION_COOKIE && !value.trim().is_empty();
        ours.then(|| Cookie(value.trim().to_owned()))
    })
}

/// The report data is SHA-384, unless an SMS insists on what this enclave did not offer.
fn check_hash_algorithm(challenge: &Challenge) -> Result<(), EnclaveError> {
    match challenge.extra_params.get("selected-hash-algorithm").and_then(Value::as_str) {
        None | Some("sha384") => Ok(()),
        Some(other) => Err(EnclaveError::WrongHashAlgorithm(other.to_owned())),
    }
}

/// A 401 while attesting: doing it again would not help.
fn not_attested(error: EnclaveError) -> EnclaveError {
    if let EnclaveError::AttestAgain { detail } = error {
        return EnclaveError::NotAttested { detail };
    }
    error
}

async fn fetch(request: RequestBuilder, limit: usize) -> Result<Answer, EnclaveError> {
    let answer = send(request, limit).await?;
    if answer.status.is_success() { Ok(answer) } else { Err(EnclaveError::from_answer(&answer)) }
}

#[cfg(test)]
mod tests;
