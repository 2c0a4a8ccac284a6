//! Errors to statuses, codes and messages: the only place that knows HTTP statuses.
//!
//! The owner and public surfaces answer RFC 9457 problems, the enclave surface the protocol's `ErrorInformation`. Both carry the
//! code also in the header `sesame-problem`, since an answer to `HEAD` has no body.

mod causes;
pub(crate) mod described;

use std::fmt;

use axum::{
    Json,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use sesame_protocol::{
    denial::DenialBody,
    problem::{CONTENT_TYPE, Problem},
    rcar::ErrorBody,
};

/// Carries the code of every problem.
pub(crate) const PROBLEM_HEADER: HeaderName = HeaderName::from_static("sesame-problem");

/// When to ask again what passes with time, seconds.
const RETRY_AFTER: u64 = 1;

macro_rules! codes {
    ($( $(#[doc = $doc:literal])+ $name:ident = $code:literal, $status:ident, $title:literal; )+) => {
        /// Every problem that the service answers, by its stable code.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $( $(#[doc = $doc])+ $name, )+ }

        impl Code {
            const ALL: &[Self] = &[ $( Self::$name, )+ ];

            /// The code on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $( Self::$name => $code, )+ }
            }

            const fn parts(self) -> (StatusCode, &'static str) {
                match self { $( Self::$name => (StatusCode::$status, $title), )+ }
            }

            /// When it is answered, in a sentence.
            fn meaning(self) -> &'static str {
                match self { $( Self::$name => concat!($($doc),+).trim_start(), )+ }
            }
        }
    };
}

codes! {
    /// No such route.
    NotFound = "not_found", NOT_FOUND, "no such resource";
    /// The route has no such method.
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED, "method not allowed";
    /// An identifier in the path or query is malformed.
    MalformedId = "malformed_id", BAD_REQUEST, "malformed identifier";
    /// The body is not the document that it should be.
    MalformedBody = "malformed_body", BAD_REQUEST, "malformed body";
    /// The body is of another media type.
    WrongContentType = "wrong_content_type", UNSUPPORTED_MEDIA_TYPE, "wrong content type";
    /// The body is compressed, or encoded in another way.
    UnsupportedEncoding = "unsupported_encoding", UNSUPPORTED_MEDIA_TYPE, "unsupported content encoding";
    /// The body is larger than anything that may be sent.
    TooLarge = "too_large", PAYLOAD_TOO_LARGE, "too large";
    /// A secret has 1 to 4194304 bytes.
    WrongLength = "wrong_length", UNPROCESSABLE_ENTITY, "a secret of a length out of bounds";
    /// The request is not signed.
    SignatureMissing = "signature_missing", UNAUTHORIZED, "the request is not signed";
    /// The header that carries the signature is malformed.
    SignatureMalformed = "signature_malformed", BAD_REQUEST, "malformed signature header";
    /// The deadline has passed or lies too far ahead.
    SignatureExpired = "signature_expired", UNAUTHORIZED, "the signature is not in force";
    /// Signed by somebody else than the owner it names, or for another chain, SMS, resource or version.
    WrongSigner = "wrong_signer", UNAUTHORIZED, "signed by somebody else";
    /// The owner is a contract that does not take the signature as its own.
    SignatureRefused = "signature_refused", UNAUTHORIZED, "the owner's contract refuses the signature";
    /// The owner may be a contract, and the nodes did not say what it says.
    SignatureUnchecked = "signature_unchecked", SERVICE_UNAVAILABLE, "the owner's contract could not be asked";
    /// The signer does not own the asset.
    NotOwner = "not_owner", FORBIDDEN, "not the owner";
    /// The index knows no such asset.
    AssetUnknown = "asset_unknown", NOT_FOUND, "unknown asset";
    /// Owned at the head, not yet at the confirmed block.
    NotYetConfirmed = "not_yet_confirmed", CONFLICT, "not yet confirmed";
    /// Signed for another epoch of the asset.
    WrongEpoch = "wrong_epoch", CONFLICT, "another epoch";
    /// A content digest where there is none, or none where there should be one.
    WrongContentDigest = "wrong_content_digest", UNPROCESSABLE_ENTITY, "wrong content digest";
    /// The version is not one above the newest.
    VersionConflict = "version_conflict", CONFLICT, "another version is the newest";
    /// This very update was accepted before.
    Replayed = "replayed", CONFLICT, "accepted before";
    /// The body is not the one that was signed.
    WrongDigest = "wrong_digest", UNPROCESSABLE_ENTITY, "the body is not the signed one";
    /// Sealed to a key that is not ours.
    WrongSealingKey = "wrong_sealing_key", UNPROCESSABLE_ENTITY, "sealed to another key";
    /// Sealed for another resource, owner, epoch or version.
    DoesNotOpen = "does_not_open", UNPROCESSABLE_ENTITY, "the sealed body does not open";
    /// The data folder's file system has no room for secrets but the reserve.
    StorageLow = "storage_low", INSUFFICIENT_STORAGE, "no room for another secret";
    /// The database that the vault is in does not answer; what was being written may be there.
    VaultUnavailable = "vault_unavailable", SERVICE_UNAVAILABLE, "the vault's database does not answer";
    /// The HSM that holds the vault's key does not answer.
    KeysUnavailable = "keys_unavailable", SERVICE_UNAVAILABLE, "the vault's key cannot be used now";
    /// There is no such secret.
    SecretAbsent = "secret_absent", NOT_FOUND, "no such secret";
    /// The request, its body included, took longer than the service's limit.
    RequestTimeout = "request_timeout", REQUEST_TIMEOUT, "the request took too long";
    /// The request's body comes too slowly.
    RequestTooSlow = "request_too_slow", REQUEST_TIMEOUT, "the body comes too slowly";
    /// The protocol version is not spoken here.
    UnsupportedVersion = "unsupported_version", UNAUTHORIZED, "unsupported protocol version";
    /// The agent cannot compute the hash that binds evidence to its key and nonce.
    UnsupportedHash = "unsupported_hash", UNAUTHORIZED, "unsupported hash algorithm";
    /// One client asks too often.
    TooManyRequests = "too_many_requests", TOO_MANY_REQUESTS, "too many requests";
    /// Too many enclaves are being verified, or too many owners' contracts asked.
    Busy = "busy", SERVICE_UNAVAILABLE, "too much to verify";
    /// The service is asked for more at a time than it can do.
    Overloaded = "overloaded", SERVICE_UNAVAILABLE, "too much in flight";
    /// There is no session, or it has ended.
    SessionInvalid = "session_invalid", UNAUTHORIZED, "attest again";
    /// The nonce is not the challenge's.
    WrongNonce = "wrong_nonce", UNAUTHORIZED, "another nonce";
    /// The enclave's key cannot be used.
    UnsupportedKey = "unsupported_key", BAD_REQUEST, "unsupported enclave key";
    /// The evidence does not count.
    AttestationRefused = "attestation_refused", UNAUTHORIZED, "the evidence is refused";
    /// What its vendor says about the enclave's platform is not at hand.
    CollateralUnavailable = "collateral_unavailable", SERVICE_UNAVAILABLE, "no collateral for the platform";
    /// No worker vouches for the run.
    VoucherMissing = "voucher_missing", UNAUTHORIZED, "no worker vouches for the run";
    /// The worker's voucher does not count.
    VoucherRefused = "voucher_refused", UNAUTHORIZED, "the worker's voucher is refused";
    /// The attested key did not present this result key in this session.
    ResultKeyRefused = "result_key_refused", UNAUTHORIZED, "the result key is refused";
    /// Nothing of the task was released by this service.
    NotReleased = "not_released", NOT_FOUND, "nothing was released";
    /// The decision is no.
    Denied = "denied", FORBIDDEN, "the release is denied";
    /// The index has not heard from its node.
    IndexStarting = "index_starting", SERVICE_UNAVAILABLE, "the index is starting";
    /// The index is catching up.
    IndexBackfilling = "index_backfilling", SERVICE_UNAVAILABLE, "the index is catching up";
    /// The index is too old.
    IndexStale = "index_stale", SERVICE_UNAVAILABLE, "the index is stale";
    /// The chain stands still.
    HeadTooOld = "head_too_old", SERVICE_UNAVAILABLE, "the newest block is too old";
    /// The chain is ahead of this machine's clock.
    ClockBehind = "clock_behind", SERVICE_UNAVAILABLE, "the clock is behind the chain";
    /// The caller demands a block that the index has not reached.
    BlockNotReached = "block_not_reached", SERVICE_UNAVAILABLE, "the index has not reached the block";
    /// A header does not say what it should.
    MalformedHeader = "malformed_header", BAD_REQUEST, "malformed header";
    /// The block asked about is not mirrored.
    BlockUnknown = "block_unknown", NOT_FOUND, "unknown block";
    /// A broken part of the service.
    Internal = "internal", INTERNAL_SERVER_ERROR, "internal error";
}

impl Code {
    const fn status(self) -> StatusCode {
        self.parts().0
    }
}

/// Every code that the service can answer.
pub fn codes() -> impl Iterator<Item = &'static str> {
    Code::ALL.iter().map(|code| code.as_str())
}

/// An answer that is not the one hoped for.
#[derive(Debug)]
pub(crate) struct ApiError {
    code: Code,
    detail: String,
    denials: Vec<DenialBody>,
    retry_after: Option<u64>,
}

impl ApiError {
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        let passes = code.status() == StatusCode::SERVICE_UNAVAILABLE;
        let retry_after = passes.then_some(RETRY_AFTER);
        Self { code, detail: detail.into(), denials: Vec::new(), retry_after }
    }

    pub(crate) const fn code(&self) -> Code {
        self.code
    }

    pub(crate) fn denied(denials: Vec<DenialBody>) -> Self {
        Self { denials: denials.clone(), ..Self::new(Code::Denied, DenialBody::join(&denials)) }
    }

    /// When the caller may ask again, seconds.
    pub(crate) fn retry_after(self, seconds: u64) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }

    /// The refusal of somebody who has not attested: the reason goes to the log, since it tells a stranger what to try next.
    pub(crate) fn refused(code: Code, detail: &str, reason: &dyn std::error::Error) -> Self {
        tracing::info!(reason = chain(reason), "{}", code.as_str());
        Self::new(code, detail)
    }

    /// Logs what happened and tells the caller nothing of it.
    pub(crate) fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error, "the service failed to answer");
        Self::new(Code::Internal, "The service failed to answer; its log says why.")
    }

    fn problem(&self) -> Problem {
        let (status, title) = self.code.parts();
        Problem {
            denials: self.denials.clone(),
            ..Problem::new(status.as_u16(), self.code.as_str(), title, self.detail.clone())
        }
    }

    fn kbs(&self) -> ErrorBody {
        ErrorBody {
            denials: self.denials.clone(),
            ..ErrorBody::new(self.code.as_str(), self.detail.clone())
        }
    }

    fn with_headers(&self, mut response: Response) -> Response {
        response.extensions_mut().insert(self.code);
        let headers = response.headers_mut();
        headers.insert(PROBLEM_HEADER, HeaderValue::from_static(self.code.as_str()));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.code.status(), Json(self.problem())).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        self.with_headers(response)
    }
}

/// The same answer in the enclave protocol's form.
#[derive(Debug)]
pub(crate) struct KbsError(ApiError);

impl<E: Into<ApiError>> From<E> for KbsError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for KbsError {
    fn into_response(self) -> Response {
        let Self(error) = self;
        error.with_headers((error.code.status(), Json(error.kbs())).into_response())
    }
}

/// How a surface writes its problems.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// As RFC 9457 says.
    Problem,
    /// As the enclave protocol does.
    Kbs,
}

impl Form {
    /// That of the surface which a path is in.
    pub(crate) fn at(path: &str) -> Self {
        let of_an_enclave = path == "/kbs" || path.starts_with("/kbs/");
        if of_an_enclave { Self::Kbs } else { Self::Problem }
    }

    /// What writes an answer in this form.
    pub(crate) fn writer(self) -> fn(ApiError) -> Response {
        match self {
            Self::Problem => IntoResponse::into_response,
            Self::Kbs => |error| KbsError::from(error).into_response(),
        }
    }
}

/// An error and what caused it, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Error messages are lower case without a full stop; details are sentences.
fn sentence(error: &dyn fmt::Display) -> String {
    let text = error.to_string();
    let mut letters = text.chars();
    letters
        .next()
        .map_or_else(String::new, |first| format!("{}{}.", first.to_uppercase(), letters.as_str()))
}
