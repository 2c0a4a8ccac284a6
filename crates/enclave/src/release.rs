//! Attests and fetches the task's bundle, as patiently as the deadline allows.

use std::{io::Write, time::Duration};

use alloy_primitives::B256;
use rand::Rng;
use sesame_client::{
    TransportError,
    enclave::{EnclaveError, Guest},
};
use sesame_domain::TaskId;
use sesame_protocol::{
    bundle::Bundle,
    denial::DenialBody,
    jwe::EnclaveKey,
    results::TaskDomain,
    signature::{Signature65, Signer},
};

use tokio::time::{Instant, sleep_until, timeout_at};

use crate::{
    Launch,
    channel::{Channel, ChannelError, Step, ToHost},
    evidence::Attester,
};

/// The pause between two requests, before jitter.
const PAUSE: Duration = Duration::from_secs(1);

/// The longest pause that an SMS may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// No run waits longer, whatever its deadline.
const LONGEST_PATIENCE: Duration = Duration::from_secs(30 * 24 * 3600);

/// There is no bundle.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReleaseError {
    /// The host or the quoting process does not keep to the protocol.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// The SMS gives nothing, or what it gives is not to be believed.
    #[error(transparent)]
    Sms(#[from] EnclaveError),
    /// The deadline came before the SMS had answered anything.
    #[error("the deadline passed before the SMS answered")]
    Overdue,
}

impl ReleaseError {
    /// A stable name.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Channel(_) => "channel_broken",
            Self::Overdue => "deadline_passed",
            Self::Sms(error) => match error {
                EnclaveError::Denied(_) => "denied",
                EnclaveError::Unavailable { .. } | EnclaveError::Transport(_) => "sms_unavailable",
                EnclaveError::NotAttested { .. } => "not_attested",
                EnclaveError::NoEvidence(_) => "no_evidence",
                EnclaveError::Bundle(_) | EnclaveError::Jwe(_) => "bundle_refused",
                EnclaveError::Substituted { .. } | EnclaveError::ForeignCertificate => {
                    "substituted"
                }
                EnclaveError::AttestAgain { .. }
                | EnclaveError::Absent { .. }
                | EnclaveError::Refused { .. }
                | EnclaveError::NoSession
                | EnclaveError::WrongHashAlgorithm(_)
                | _ => "sms_refused",
            },
        }
    }

    /// The reasons of a refusal.
    #[must_use]
    pub fn reasons(&self) -> &[DenialBody] {
        match self {
            Self::Sms(EnclaveError::Denied(reasons)) => reasons,
            Self::Sms(_) | Self::Channel(_) | Self::Overdue => &[],
        }
    }

    /// Whether the same request may succeed a little later: the SMS does not answer or cannot decide yet, the session ended,
    /// or every reason of the refusal is that the mirror has not got there yet. Any other denial is final for this run.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Channel(_) | Self::Overdue => false,
            Self::Sms(EnclaveError::Denied(reasons)) => {
                !reasons.is_empty() && reasons.iter().all(is_only_early)
            }
            Self::Sms(error) => matches!(
                error,
                EnclaveError::Unavailable { .. }
                    | EnclaveError::AttestAgain { .. }
                    | EnclaveError::Transport(TransportError::Http(_))
            ),
        }
    }

    fn pause(&self) -> Duration {
        let asked = match self {
            Self::Sms(EnclaveError::Unavailable { retry_after, .. }) => *retry_after,
            Self::Sms(_) | Self::Channel(_) | Self::Overdue => None,
        };
        asked
            .unwrap_or(PAUSE)
            .clamp(PAUSE, LONGEST_PAUSE)
            .mul_f64(rand::rng().random_range(0.5..=1.5))
    }

    const fn wants_new_session(&self) -> bool {
        matches!(self, Self::Sms(EnclaveError::AttestAgain { .. }))
    }
}

/// A worker starts the task a moment before the launcher asks, so the mirror may not have seen that block at all.
const fn is_only_early(reason: &DenialBody) -> bool {
    matches!(reason, DenialBody::NotYetConfirmed { .. } | DenialBody::TaskNotStarted)
}

/// What a run is made with.
#[derive(Debug)]
pub struct Released {
    /// The bundle with all its secrets.
    pub bundle: Bundle,
    /// Names the bundle in the signed result.
    pub digest: B256,
    /// Signs the result; born here.
    pub result_key: Signer,
    /// The SMS's word for the result key.
    pub certificate: Signature65,
}

/// Attests with a fresh key that the worker vouches for, fetches the bundle with all its secrets, and has the key certified
/// that will sign the result.
///
/// # Errors
/// When the SMS denies for good, what it gives is not to be believed, or `patience` is over: then with the last reason, also
/// when a request was still on its way.
pub async fn release<W: Write>(
    launch: &Launch,
    attester: &Attester,
    patience: Duration,
    channel: &mut Channel<W>,
) -> Result<Released, ReleaseError> {
    let mut patience = Patience::of(patience);
    match timeout_at(patience.end, sessions(launch, attester, &mut patience, channel)).await {
        Ok(ended) => ended,
        Err(_) => Err(patience.last.unwrap_or(ReleaseError::Overdue)),
    }
}

/// One session after the other, until one gives everything.
async fn sessions<W: Write>(
    launch: &Launch,
    attester: &Attester,
    patience: &mut Patience,
    channel: &mut Channel<W>,
) -> Result<Released, ReleaseError> {
    let key = EnclaveKey::random();
    let guest = Guest::new(launch.sms_url.as_str(), launch.sms_identity, key, attester.tee())?;
    loop {
        let error = match attempt(&guest, attester, launch.task, patience, channel).await {
            Ok(released) => return Ok(released),
            Err(error) => error,
        };
        patience.wait(error).await?;
    }
}

/// One session: attested once, used until it ends.
async fn attempt<W: Write>(
    guest: &Guest,
    attester: &Attester,
    task: TaskId,
    patience: &mut Patience,
    channel: &mut Channel<W>,
) -> Result<Released, ReleaseError> {
    let voucher = channel.vouch(guest.key().thumbprint())?;
    let quote = |report_data| attester.evidence(report_data, channel);
    let session = guest.attest(Some(&voucher), quote).await?;
    channel.tell(&ToHost::Progress(Step::Attested))?;
    let fetched = patience.request(async || session.bundle_with_digest(task).await).await?;
    let (mut bundle, digest) = fetched;
    for omitted in std::mem::take(&mut bundle.omitted) {
        let secret = patience.request(async || session.omitted(task, &omitted).await).await?;
        bundle.secrets.push(secret);
    }
    let result_key = Signer::random();
    let key = result_key.address();
    let tasks = TaskDomain { chain_id: bundle.chain_id, task_registry: bundle.task_registry };
    let certificate = patience.request(async || session.certify(task, key, &tasks).await).await?;
    Ok(Released { bundle, digest, result_key, certificate })
}

/// How long to go on asking, and why the last request gave nothing.
struct Patience {
    end: Instant,
    last: Option<ReleaseError>,
}

impl Patience {
    fn of(time: Duration) -> Self {
        Self { end: Instant::now() + time.min(LONGEST_PATIENCE), last: None }
    }

    /// Asks until there is an answer, or an error that waiting in this session does not mend.
    async fn request<T>(
        &mut self,
        request: impl AsyncFn() -> Result<T, EnclaveError>,
    ) -> Result<T, ReleaseError> {
        loop {
            match request().await.map_err(ReleaseError::Sms) {
                Err(error) if !error.wants_new_session() => self.wait(error).await?,
                other => return other,
            }
        }
    }

    /// Waits a little after an error that may pass; any other error, and the last one before the end, is final.
    async fn wait(&mut self, error: ReleaseError) -> Result<(), ReleaseError> {
        let next = Instant::now() + error.pause();
        if !error.is_retryable() || next > self.end {
            return Err(error);
        }
        self.last = Some(error);
        sleep_until(next).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use sesame_domain::Resource;

    use super::*;

    fn denied(reasons: &[DenialBody]) -> ReleaseError {
        EnclaveError::Denied(reasons.to_vec()).into()
    }

    const EARLY: DenialBody = DenialBody::NotYetConfirmed { block: 9, confirmed: 7 };

    #[test]
    fn only_the_mirrors_delay_is_waited_for() {
        assert!(denied(&[EARLY]).is_retryable());
        assert!(denied(&[EARLY, DenialBody::TaskNotStarted]).is_retryable());
        for final_reason in [
            DenialBody::TaskUnknown,
            DenialBody::TaskEnded { status: "completed".into() },
            DenialBody::NotWhitelisted { asset: B256::ZERO, enclave: B256::ZERO },
            DenialBody::AuthorizationVoid { asset: B256::ZERO },
            DenialBody::NotYetValid { asset: B256::ZERO, not_before: 9 },
            DenialBody::GrantRevoked { index: 1 },
            DenialBody::Unrecognised,
        ] {
            assert!(
                !denied(std::slice::from_ref(&final_reason)).is_retryable(),
                "{final_reason:?}"
            );
            assert!(!denied(&[EARLY, final_reason.clone()]).is_retryable(), "{final_reason:?}");
        }
        assert!(!denied(&[]).is_retryable(), "a refusal without a reason is final");
    }

    #[test]
    fn what_is_not_to_be_believed_is_final() {
        let sms = |error| ReleaseError::Sms(error);
        let detail = String::new;
        let later = Some(Duration::from_secs(600));
        let busy = sms(EnclaveError::Unavailable { detail: detail(), retry_after: later });
        assert!(busy.is_retryable() && busy.pause() <= LONGEST_PAUSE * 2);
        assert!(sms(EnclaveError::AttestAgain { detail: detail() }).is_retryable());
        for error in [
            EnclaveError::NotAttested { detail: detail() },
            EnclaveError::Absent { detail: detail() },
            EnclaveError::Refused { status: 400, detail: detail() },
            EnclaveError::NoSession,
            EnclaveError::Transport(TransportError::TooLarge { limit: 1 }),
            EnclaveError::Bundle(sesame_protocol::bundle::BundleError::WrongNonce),
            EnclaveError::Substituted { resource: Resource::AppSecret, version: 1 },
        ] {
            let error = sms(error);
            assert!(!error.is_retryable(), "{error}");
        }
        assert!(!ReleaseError::Channel(ChannelError::Closed).is_retryable());
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_reason_before_the_deadline_is_told() {
        let asked = std::cell::Cell::new(0);
        let mut patience = Patience::of(Duration::from_secs(60));
        let result: Result<(), _> = patience
            .request(async || {
                asked.set(asked.get() + 1);
                Err(EnclaveError::Denied(vec![EARLY]))
            })
            .await;
        assert_eq!(result.unwrap_err().reasons(), [EARLY]);
        assert!((40..=120).contains(&asked.get()), "asked {} times", asked.get());
        assert!(Instant::now() <= patience.end);
    }

    #[tokio::test(start_paused = true)]
    async fn a_final_refusal_is_asked_for_once() {
        let asked = std::cell::Cell::new(0);
        let mut patience = Patience::of(Duration::from_secs(60));
        let result: Result<(), _> = patience
            .request(async || {
                asked.set(asked.get() + 1);
                Err(EnclaveError::Denied(vec![EARLY, DenialBody::TaskUnknown]))
            })
            .await;
        assert!(result.is_err());
        assert_eq!(asked.get(), 1);
    }
}
