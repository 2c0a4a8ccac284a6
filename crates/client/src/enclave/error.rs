//! What can go wrong between an enclave and an SMS.

use std::{error::Error, time::Duration};

use sesame_domain::Resource;
use sesame_protocol::{bundle::BundleError, denial::DenialBody, jwe::JweError, rcar::ErrorBody};

use crate::{TransportError, http::Answer};

/// An enclave did not get what it asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnclaveError {
    /// The decision is no, for these reasons.
    #[error("the SMS denies it: {}", DenialBody::join(.0))]
    Denied(Vec<DenialBody>),
    /// The SMS cannot decide now: it is behind, overloaded or starting.
    #[error("the SMS cannot answer now: {detail}")]
    Unavailable {
        /// What the SMS says.
        detail: String,
        /// When it asks to be asked again.
        retry_after: Option<Duration>,
    },
    /// The session ended: attest again with the same key.
    #[error("the session ended: {detail}")]
    AttestAgain {
        /// What the SMS says.
        detail: String,
    },
    /// The evidence or the voucher is refused.
    #[error("the SMS does not accept the attestation: {detail}")]
    NotAttested {
        /// What the SMS says.
        detail: String,
    },
    /// There is no such resource.
    #[error("the SMS has no such resource: {detail}")]
    Absent {
        /// What the SMS says.
        detail: String,
    },
    /// The SMS refuses for another reason.
    #[error("the SMS answered with status {status}: {detail}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What the SMS says.
        detail: String,
    },
    /// The SMS opened no session.
    #[error("the SMS set no session cookie")]
    NoSession,
    /// The SMS wants report data by an algorithm that was not offered.
    #[error("the SMS wants report data by {0}, and this enclave makes sha384")]
    WrongHashAlgorithm(String),
    /// The TEE gave no evidence.
    #[error("no evidence can be had")]
    NoEvidence(#[source] Box<dyn Error + Send + Sync>),
    /// Somebody else than the trusted SMS certified the result key.
    #[error("the result key is not certified by the trusted SMS")]
    ForeignCertificate,
    /// No whole answer came.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The answer is encrypted to another key, or altered.
    #[error(transparent)]
    Jwe(#[from] JweError),
    /// The bundle is not the trusted SMS's for this run.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The value is not the one that the signed bundle lists: the secret was replaced since, or somebody put their own there.
    #[error("the value given for {resource} is not version {version}, which the bundle lists")]
    Substituted {
        /// Which resource of the task.
        resource: Resource,
        /// The version that was expected.
        version: u64,
    },
}

impl EnclaveError {
    /// Whether asking again later, with nothing mended, may succeed.
    #[must_use]
    pub fn passes_with_time(&self) -> bool {
        match self {
            Self::Denied(denials) => {
                !denials.is_empty() && denials.iter().all(DenialBody::passes_with_time)
            }
            Self::Unavailable { .. } | Self::Transport(TransportError::Http(_)) => true,
            Self::AttestAgain { .. }
            | Self::NotAttested { .. }
            | Self::Absent { .. }
            | Self::Refused { .. }
            | Self::NoSession
            | Self::WrongHashAlgorithm(_)
            | Self::NoEvidence(_)
            | Self::ForeignCertificate
            | Self::Transport(_)
            | Self::Jwe(_)
            | Self::Bundle(_)
            | Self::Substituted { .. } => false,
        }
    }

    pub(super) fn from_answer(answer: &Answer) -> Self {
        let status = answer.status.as_u16();
        let (detail, denials) = match answer.json::<ErrorBody>() {
            Ok(body) => (body.detail, body.denials),
            Err(_) => ("no reason given".to_owned(), Vec::new()),
        };
        match status {
            401 => Self::AttestAgain { detail },
            403 if !denials.is_empty() => Self::Denied(denials),
            404 => Self::Absent { detail },
            // 408 and 500 as well: a run is worth another request.
            408 | 429 | 500 | 502..=504 => {
                Self::Unavailable { detail, retry_after: retry_after(answer) }
            }
            _ => Self::Refused { status, detail },
        }
    }
}

/// `Retry-After` in seconds (RFC 9110, section 10.2.3); a date is not understood.
fn retry_after(answer: &Answer) -> Option<Duration> {
    answer.header("retry-after")?.trim().parse().ok().map(Duration::from_secs)
}
