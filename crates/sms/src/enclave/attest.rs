//! `POST /kbs/v0/attest`: evidence and the worker's word in, a session out.

use axum::{
    Json,
    extract::{Request, State},
    http::{HeaderName, HeaderValue, header},
};
use sesame_attestation::{AttestedSession, Collateral, Evidence, Needs, Platform, WorkerProof};
use sesame_domain::TeeKind;
use sesame_protocol::{
    jwk::Jwk,
    rcar::{Attestation, TokenResponse},
    schema::KbsAttestation,
    voucher::{SignedVoucher, VOUCHER_HEADER},
};

use super::{body, session_token, set_cookie};
use crate::{
    clock,
    openapi::{ENCLAVE, examples, parameters},
    path::Path,
    problem::{ApiError, Code, Form, KbsError, described::refusals},
    service::{Service, Shared, header as one_header},
};

type Answer = ([(HeaderName, HeaderValue); 1], Json<TokenResponse>);

/// To an attestation, wherever its voucher is.
const ATTESTATION: [Code; 9] = [
    Code::SessionInvalid,
    Code::MalformedBody,
    Code::TooLarge,
    Code::WrongNonce,
    Code::UnsupportedKey,
    Code::VoucherRefused,
    Code::AttestationRefused,
    Code::CollateralUnavailable,
    Code::Busy,
];

refusals!(Refusals, Form::Kbs, ATTESTATION, [Code::VoucherMissing, Code::SignatureMalformed],);
refusals!(PathRefusals, Form::Kbs, ATTESTATION, [Code::MalformedId]);

/// Evidence and the worker's word in, a session out.
#[utoipa::path(
    post,
    path = "/kbs/v0/attest",
    operation_id = "attest",
    tag = ENCLAVE,
    params(parameters::WithVoucher),
    request_body(content = KbsAttestation, content_type = "application/json", example = json!(examples::attestation())),
    responses(
        (
            status = 200,
            description = "The session, of five minutes at most. The cookie holds it too.",
            body = TokenResponse,
            headers(("set-cookie" = String, description = "`kbs-session-id`, for everything after.")),
            example = json!(examples::token()),
        ),
        Refusals,
    ),
    security(("session" = []), ("sessionCookie" = [])),
)]
pub(crate) async fn attest(
    State(service): State<Shared>,
    request: Request,
) -> Result<Answer, KbsError> {
    let voucher = one_header(request.headers(), VOUCHER_HEADER)?.ok_or_else(|| {
        let detail = format!("Put the worker's voucher into {VOUCHER_HEADER}, or into the path.");
        ApiError::new(Code::VoucherMissing, detail)
    })?;
    respond(service, parse_voucher(voucher)?, request).await
}

/// The same for agents that cannot add a header: the worker's voucher is a folder of the path.
#[utoipa::path(
    post,
    path = "/kbs/{voucher}/v0/attest",
    operation_id = "attestInPath",
    tag = ENCLAVE,
    params(parameters::InVoucher),
    request_body(content = KbsAttestation, content_type = "application/json", example = json!(examples::attestation())),
    responses(
        (
            status = 200,
            description = "The session, of five minutes at most. The cookie holds it too.",
            body = TokenResponse,
            headers(("set-cookie" = String, description = "`kbs-session-id`, for everything after.")),
            example = json!(examples::token()),
        ),
        PathRefusals,
    ),
    security(("session" = []), ("sessionCookie" = [])),
)]
pub(crate) async fn attest_in_path(
    State(service): State<Shared>,
    Path(voucher): Path<String>,
    request: Request,
) -> Result<Answer, KbsError> {
    respond(service, parse_voucher(&voucher)?, request).await
}

fn parse_voucher(text: &str) -> Result<SignedVoucher, ApiError> {
    let unread =
        |error| ApiError::refused(Code::VoucherRefused, "The voucher cannot be read.", &error);
    SignedVoucher::parse(text).map_err(unread)
}

/// What is cheap comes first: the challenge's signature before the body is read. The rest is for the pool, which refuses when too
/// many wait: the body's shape and the worker's signature before anything in the evidence is verified.
async fn respond(
    service: Shared,
    voucher: SignedVoucher,
    request: Request,
) -> Result<Answer, KbsError> {
    let token = session_token(request.headers())?;
    let (nonce, tee) = service.token.open_challenge(token, clock::now())?;
    let (kind, token) = match session(&service, nonce, &tee, voucher, request).await {
        Ok(attested) => attested,
        Err(error) => {
            service.metrics.decisions.not_attested(&tee, error.code());
            return Err(error.into());
        }
    };
    service.metrics.decisions.attested(kind);
    let cookie = set_cookie(&token, service.token.life())?;
    Ok(([(header::SET_COOKIE, cookie)], Json(TokenResponse { token })))
}

/// What attested, and the session's token.
async fn session(
    service: &Shared,
    nonce: String,
    tee: &str,
    voucher: SignedVoucher,
    request: Request,
) -> Result<(TeeKind, String), ApiError> {
    let attestation = body::read(request).await?;
    let (reading, tee) = (service.clone(), tee.to_owned());
    let read = move || Claim::read(&reading, nonce, &tee, &voucher, &attestation)?.begin(&reading);
    match service.pool.run(read).await? {
        Begun::Attested(kind, token) => Ok((kind, token)),
        Begun::Wants(platform, claim) => {
            let fetched = service.shelf.get(platform, clock::now()).await?;
            let verifying = service.clone();
            service.pool.run(move || claim.verify(&verifying, &fetched.collateral)).await
        }
    }
}

/// How far an attestation is.
enum Begun {
    /// Verified, and the session's token.
    Attested(TeeKind, String),
    /// Signed up to its root, as far as that can be told without what somebody has to be asked for.
    Wants(Platform, Box<Claim>),
}

/// An attestation of which everything cheap was checked: what is left is the evidence itself.
struct Claim {
    nonce: String,
    key: Jwk,
    worker: WorkerProof,
    evidence: Evidence,
}

impl Claim {
    fn read(
        service: &Service,
        nonce: String,
        tee: &str,
        voucher: &SignedVoucher,
        attestation: &Attestation,
    ) -> Result<Self, ApiError> {
        if attestation.runtime_data.nonce != nonce {
            return Err(ApiError::new(Code::WrongNonce, "The nonce is not that of the challenge."));
        }
        if !attestation.tee_evidence.additional_evidence.is_empty() {
            let detail = "Evidence of a second device cannot be verified by this service.";
            return Err(ApiError::new(Code::AttestationRefused, detail));
        }
        let key = Jwk::try_from(&attestation.runtime_data.tee_pubkey)
            .map_err(|error| ApiError::new(Code::UnsupportedKey, format!("The key: {error}.")))?;
        let (domain, sms) = (&service.domain, service.address());
        let worker = WorkerProof::verify(voucher, domain, sms, key.thumbprint(), clock::now())?;
        let evidence = Evidence::parse(tee, &attestation.tee_evidence.primary_evidence)?;
        Ok(Self { nonce, key, worker, evidence })
    }

    /// Verifies if the verifier has at hand what it has to have: while that is kept, nobody is asked.
    fn begin(self, service: &Service) -> Result<Begun, ApiError> {
        let collateral = match service.verifier.needs(&self.evidence)? {
            Needs::Nothing => Collateral::Nothing,
            Needs::Collateral(platform) => match service.shelf.kept(platform, clock::now()) {
                Some(kept) => kept?.collateral,
                None => {
                    service.verifier.verify_signatures(&self.evidence)?;
                    return Ok(Begun::Wants(platform, Box::new(self)));
                }
            },
        };
        let (kind, token) = self.verify(service, &collateral)?;
        Ok(Begun::Attested(kind, token))
    }

    /// Verifies, and gives the session's token.
    #[tracing::instrument(name = "verify", skip_all)]
    fn verify(
        self,
        service: &Service,
        collateral: &Collateral,
    ) -> Result<(TeeKind, String), ApiError> {
        let Self { nonce, key, worker, evidence } = self;
        let now = clock::now();
        let enclave = service.verifier.verify(&evidence, collateral, &nonce, key, now)?;
        tracing::info!(
            enclave.id = %enclave.id(), task.id = %worker.task(), worker = %worker.worker(),
            platform = %enclave.platform(),
            "attested {} for task {}", enclave.id(), worker.task()
        );
        let kind = enclave.kind();
        Ok((kind, service.token.session(&AttestedSession { enclave, worker, nonce }, now)))
    }
}
