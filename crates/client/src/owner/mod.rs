//! The owner's side: push, show, list, remove.

mod receipts;

use std::fmt;

use alloy_primitives::{Address, B256};
use reqwest::Method;
use sesame_domain::SecretId;
use sesame_protocol::{
    keys::{KeysDocument, TrustedKeys},
    owner::{
        AUTHORIZATION_HEADER, METADATA_HEADER, SEALED_CONTENT_TYPE, SecretMetadata, SecretPage,
        SignedQuery, SignedRemoval, SignedUpdate, owned_by,
    },
    signature::Signer,
    typed::{Domain, SecretQuery, SecretRemoval, SecretUpdate},
};

use crate::{
    ClientError, TransportError,
    http::{Answer, Http, MAX_DOCUMENT, send},
};

/// For how many seconds a signed request is good.
pub const REQUEST_LIFE_SECONDS: u64 = 300;

/// An owner of secrets at one SMS, whose identity is pinned.
pub struct Owner {
    http: Http,
    domain: Domain,
    sms: Address,
    signer: Signer,
    owner: Address,
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Owner")
            .field("owner", &self.owner)
            .field("signer", &self.signer)
            .field("sms", &self.sms)
            .field("domain", &self.domain)
            .finish_non_exhaustive()
    }
}

/// How a secret is pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PushOptions {
    /// The asset's epoch; 0 for a requester's secret.
    pub epoch: u64,
    /// Whether the secret stays valid when the asset is sold.
    pub transferable: bool,
    /// SHA-256 of the content that a key opens; zero for anything but protected data.
    pub content_digest: B256,
}

impl Owner {
    /// An owner who signs with an own key.
    ///
    /// # Errors
    ///
    /// If the base is no `http` or `https` URL, or TLS cannot be set up.
    pub fn new(
        base: &str,
        domain: Domain,
        sms: Address,
        signer: Signer,
    ) -> Result<Self, TransportError> {
        let owner = signer.address();
        Ok(Self { http: Http::new(base)?, domain, sms, signer, owner })
    }

    /// Acts for a contract that accepts this signer's signatures (ERC-1271).
    #[must_use]
    pub fn acting_for(self, contract: Address) -> Self {
        Self { owner: contract, ..self }
    }

    /// For whom requests are made.
    #[must_use]
    pub const fn address(&self) -> Address {
        self.owner
    }

    /// `PUT`: pushes the next version of a secret, sealed to keys that the pinned identity certified.
    ///
    /// `now` is the time in seconds since 1970.
    ///
    /// # Errors
    ///
    /// If the keys are not to be trusted, the value has a wrong length, the SMS refuses (a conflict if another push came
    /// first), or acknowledges something else.
    pub async fn push(
        &self,
        now: u64,
        secret: &SecretId,
        value: &[u8],
        options: &PushOptions,
    ) -> Result<SecretMetadata, ClientError> {
        self.check(secret)?;
        let keys = self.keys(now).await?;
        let version = self.next_version(now, secret).await?;
        let update = SecretUpdate {
            transferable: options.transferable,
            contentDigest: options.content_digest,
            ..SecretUpdate::new(
                secret,
                self.owner,
                options.epoch,
                version,
                keys.sealing(),
                deadline(now),
            )
        };
        let (signed, body) = SignedUpdate::seal(update, value, &self.domain, &self.signer)?;
        let request = self
            .request(Method::PUT, secret, &signed.to_header())?
            .header("content-type", SEALED_CONTENT_TYPE)
            .body(body);
        let metadata: SecretMetadata = send(request, MAX_DOCUMENT).await?.success()?;
        let acknowledged = metadata.resource == secret.to_string()
            && metadata.owner == self.owner
            && metadata.version == version
            && metadata.sealed_digest == signed.sealed_digest;
        if acknowledged { Ok(metadata) } else { Err(ClientError::WrongAcknowledgement) }
    }

    /// `DELETE`: removes a secret. Its version rises and stays as a tombstone. `epoch` is the asset's, 0 for a requester's
    /// secret.
    ///
    /// # Errors
    ///
    /// If the SMS refuses.
    pub async fn remove(
        &self,
        now: u64,
        secret: &SecretId,
        epoch: u64,
    ) -> Result<SecretMetadata, ClientError> {
        self.check(secret)?;
        let removal = SecretRemoval {
            resource: secret.to_string(),
            owner: self.owner,
            sms: self.sms,
            epoch,
            version: self.next_version(now, secret).await?,
            deadline: deadline(now),
        };
        let signed = SignedRemoval::sign(&removal, &self.domain, &self.signer);
        let request = self.request(Method::DELETE, secret, &signed.to_header())?;
        let metadata: SecretMetadata = send(request, MAX_DOCUMENT).await?.success()?;
        let acknowledged =
            metadata.resource == removal.resource && metadata.version == removal.version;
        if acknowledged { Ok(metadata) } else { Err(ClientError::WrongAcknowledgement) }
    }

    /// `HEAD`: what the vault has, or `None` if it has nothing (any more).
    ///
    /// # Errors
    ///
    /// If the SMS refuses, or its metadata is malformed.
    pub async fn show(
        &self,
        now: u64,
        secret: &SecretId,
    ) -> Result<Option<SecretMetadata>, ClientError> {
        let (present, metadata) = self.head(now, secret).await?;
        match (present, metadata) {
            (true, None) => Err(ClientError::NoMetadata),
            (true, found) => Ok(found),
            (false, _) => Ok(None),
        }
    }

    /// `GET`: everything that the owner has there, page by page.
    ///
    /// # Errors
    ///
    /// If the SMS refuses, or its pages do not end.
    pub async fn list(&self, now: u64) -> Result<Vec<SecretMetadata>, ClientError> {
        let path = owned_by(self.owner);
        let query = SecretQuery {
            resource: path.clone(),
            owner: self.owner,
            sms: self.sms,
            deadline: deadline(now),
        };
        let signed = SignedQuery::sign(&query, &self.domain, &self.signer).to_header();
        let (mut secrets, mut after) = (Vec::new(), None::<String>);
        loop {
            let mut url = self.http.url(&format!("v1/{path}"))?;
            if let Some(after) = &after {
                url.query_pairs_mut().append_pair("after", after);
            }
            let request = self.http.client().get(url).header(AUTHORIZATION_HEADER, &signed);
            let page: SecretPage = send(request, MAX_DOCUMENT).await?.success()?;
            secrets.extend(page.secrets);
            match page.next {
                None => return Ok(secrets),
                next if next == after => return Err(ClientError::WrongAcknowledgement),
                next => after = next,
            }
        }
    }

    /// One more than the newest version: a tombstone counts, if the SMS shows it along with 404 or 410.
    async fn next_version(&self, now: u64, secret: &SecretId) -> Result<u64, ClientError> {
        match self.head(now, secret).await? {
            (_, Some(metadata)) => metadata.version.checked_add(1).ok_or(ClientError::LastVersion),
            (true, None) => Err(ClientError::NoMetadata),
            (false, None) => Ok(1),
        }
    }

    async fn head(
        &self,
        now: u64,
        secret: &SecretId,
    ) -> Result<(bool, Option<SecretMetadata>), ClientError> {
        let query = SecretQuery {
            resource: secret.to_string(),
            owner: self.owner,
            sms: self.sms,
            deadline: deadline(now),
        };
        let signed = SignedQuery::sign(&query, &self.domain, &self.signer);
        let request = self.request(Method::HEAD, secret, &signed.to_header())?;
        let answer = send(request, MAX_DOCUMENT).await?;
        let present = match answer.status.as_u16() {
            200 => true,
            404 | 410 => false,
            other => return Err(ClientError::Status(other)),
        };
        let metadata = metadata(&answer)?;
        match &metadata {
            Some(metadata) if metadata.resource != query.resource => {
                Err(ClientError::WrongAcknowledgement)
            }
            _ => Ok((present, metadata)),
        }
    }

    async fn keys(&self, now: u64) -> Result<TrustedKeys, ClientError> {
        let request = self.http.client().get(self.http.url("v1/keys")?);
        let document: KeysDocument = send(request, MAX_DOCUMENT).await?.success()?;
        Ok(document.verify(self.sms, &self.domain, now)?)
    }

    fn request(
        &self,
        method: Method,
        secret: &SecretId,
        authorization: &str,
    ) -> Result<reqwest::RequestBuilder, TransportError> {
        let url = self.http.url(&format!("v1/{secret}"))?;
        Ok(self.http.client().request(method, url).header(AUTHORIZATION_HEADER, authorization))
    }

    fn check(&self, secret: &SecretId) -> Result<(), ClientError> {
        match secret {
            SecretId::Requester(requester, _) if *requester != self.owner => {
                Err(ClientError::NotYours { secret: *requester, acting: self.owner })
            }
            // The service refuses those that it serves elsewhere.
            SecretId::Requester(..) | SecretId::Asset(_) | SecretId::Iexec(_) => Ok(()),
        }
    }
}

fn metadata(answer: &Answer) -> Result<Option<SecretMetadata>, ClientError> {
    Ok(answer.header(METADATA_HEADER).map(SecretMetadata::parse).transpose()?)
}

const fn deadline(now: u64) -> u64 {
    now.saturating_add(REQUEST_LIFE_SECONDS)
}

#[cfg(test)]
mod tests;
