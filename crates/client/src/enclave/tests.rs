//! An enclave against a small SMS that attests anybody and answers one prepared thing.

use std::{sync::Mutex, time::Duration};

use alloy_primitives::{B256, U256};
use sesame_domain::{AssetId, AssetSnapshot, BlockRef, EnclaveId, Order};
use sesame_protocol::{
    bundle::{BundleError, BundledSecret},
    denial::DenialBody,
    jwe::{JweError, encrypt},
    jwk::Jwk,
    rcar::{Attestation, ErrorBody, Request as AuthRequest},
    signature::Signer,
    typed::Domain,
};

use super::*;
use crate::testing::{Reply, Request, Server};

const DOMAIN: Domain = Domain { chain_id: 31337, asset_registry: Address::repeat_byte(0x11) };
const TASK: TaskId = TaskId(B256::repeat_byte(0x22));
const NONCE: &str = "bm9uY2U=";

/// What `/resource` answers, given the key of the enclave that attested.
type Resources = fn(&Jwk, &Signer) -> Reply;

fn sms(identity: Signer, resources: Resources) -> Server {
    let attested = Mutex::new(None);
    Server::start(move |request| match request.path.as_str() {
        "/kbs/v0/auth" => {
            let auth: AuthRequest = serde_json::from_slice(&request.body).unwrap();
            assert_eq!((auth.version.as_str(), auth.tee), ("0.4.0", Tee::Sample));
            Reply::json(200, &format!(r#"{{"nonce":"{NONCE}","extra-params":{{}}}}"#))
                .with("set-cookie", "other=1; Path=/")
                .with("set-cookie", "kbs-session-id=fresh; Path=/; HttpOnly")
        }
        "/kbs/v0/attest" => attest(&request, &attested),
        path => {
            assert_eq!(request.headers.get("cookie").unwrap(), "kbs-session-id=attested");
            assert!(path.starts_with(&format!("/kbs/v0/resource/{TASK}/")), "{path}");
            resources(attested.lock().unwrap().as_ref().unwrap(), &identity)
        }
    })
}

fn attest(request: &Request, attested: &Mutex<Option<Jwk>>) -> Reply {
    assert_eq!(request.headers.get("cookie").unwrap(), "kbs-session-id=fresh");
    let body: Attestation = serde_json::from_slice(&request.body).unwrap();
    let key = Jwk::try_from(&body.runtime_data.tee_pubkey).unwrap();
    let quoted = format!("{:?}", rcar::report_data(NONCE, &key));
    if body.tee_evidence.primary_evidence != quoted.as_str() {
        return error(401, "attestation_refused");
    }
    let voucher = SignedVoucher::parse(request.headers.get(VOUCHER_HEADER).unwrap()).unwrap();
    assert_eq!(voucher.enclave_key, key.thumbprint());
    *attested.lock().unwrap() = Some(key);
    Reply::json(200, r#"{"token":"a.b.c"}"#)
        .with("set-cookie", "kbs-session-id=attested; Path=/; HttpOnly")
}

fn error(status: u16, code: &str) -> Reply {
    let body = ErrorBody::new(code, "what to do");
    Reply::json(status, &serde_json::to_string(&body).unwrap())
}

fn quote(report_data: [u8; 64]) -> Result<Value, std::io::Error> {
    Ok(Value::from(format!("{report_data:?}")))
}

fn guest(server: &Server, sms: Address) -> (Guest, SignedVoucher) {
    let guest = Guest::new(server.base(), sms, EnclaveKey::random(), Tee::Sample).unwrap();
    let thumbprint = guest.key().thumbprint();
    let voucher = SignedVoucher::sign(TASK, sms, thumbprint, 9, &DOMAIN, &Signer::random());
    (guest, voucher)
}

/// Attests, then asks for the app secret.
async fn app_secret(resources: Resources) -> Result<Zeroizing<Vec<u8>>, EnclaveError> {
    let identity = Signer::random();
    let address = identity.address();
    let server = sms(identity, resources);
    let (guest, voucher) = guest(&server, address);
    guest.attest(Some(&voucher), quote).await?.resource(TASK, Resource::AppSecret).await
}

fn jwe(key: &Jwk, content: &[u8]) -> Reply {
    Reply::json(200, &serde_json::to_string(&encrypt(key, content).unwrap()).unwrap())
}

#[tokio::test]
async fn an_attested_enclave_gets_its_secret() {
    let value = app_secret(|key, _| jwe(key, b"correct horse")).await.unwrap();
    assert_eq!(value.as_slice(), b"correct horse");
}

#[tokio::test]
async fn refused_evidence_is_not_a_session_that_ended() {
    let identity = Signer::random().address();
    let server = sms(Signer::random(), |_, _| error(404, "absent"));
    let (guest, voucher) = guest(&server, identity);
    let refused =
        guest.attest(Some(&voucher), |_| Ok::<_, std::io::Error>(Value::Null)).await.unwrap_err();
    assert!(matches!(refused, EnclaveError::NotAttested { .. }), "{refused:?}");
    let broken = |_| Err::<Value, _>("no device");
    let refused = guest.attest(Some(&voucher), broken).await.unwrap_err();
    assert!(matches!(refused, EnclaveError::NoEvidence(_)), "{refused:?}");
}

#[tokio::test]
async fn denials_arrive_as_such() {
    let denied = app_secret(|_, _| {
        let body = ErrorBody::denied(vec![
            DenialBody::NotYetConfirmed { block: 9, confirmed: 8 },
            DenialBody::TaskNotStarted,
        ]);
        Reply::json(403, &serde_json::to_string(&body).unwrap())
    })
    .await
    .unwrap_err();
    assert!(denied.passes_with_time());
    assert!(matches!(denied, EnclaveError::Denied(denials) if denials.len() == 2));

    let denied = app_secret(|_, _| {
        let body = ErrorBody::denied(vec![
            DenialBody::NotYetConfirmed { block: 9, confirmed: 8 },
            DenialBody::TaskUnknown,
        ]);
        Reply::json(403, &serde_json::to_string(&body).unwrap())
    })
    .await
    .unwrap_err();
    assert!(!denied.passes_with_time());
}

#[tokio::test]
async fn every_other_status_has_its_name() {
    let refused = app_secret(|_, _| error(401, "session_expired")).await.unwrap_err();
    assert!(matches!(&refused, EnclaveError::AttestAgain { detail } if detail == "what to do"));
    let refused = app_secret(|_, _| error(404, "absent")).await.unwrap_err();
    assert!(matches!(refused, EnclaveError::Absent { .. }), "{refused:?}");
    let refused = app_secret(|_, _| error(403, "denied")).await.unwrap_err();
    assert!(matches!(refused, EnclaveError::Refused { status: 403, .. }), "{refused:?}");
    let refused = app_secret(|_, _| error(400, "malformed_id")).await.unwrap_err();
    assert!(!refused.passes_with_time());
    let refused = app_secret(|_, _| error(500, "internal")).await.unwrap_err();
    assert!(refused.passes_with_time());
    let refused = app_secret(|_, _| error(408, "slow")).await.unwrap_err();
    assert!(refused.passes_with_time());
    let refused =
        app_secret(|_, _| error(503, "stale").with("retry-after", "7")).await.unwrap_err();
    assert!(refused.passes_with_time());
    let wait = Some(Duration::from_secs(7));
    assert!(
        matches!(refused, EnclaveError::Unavailable { retry_after, .. } if retry_after == wait)
    );
    let refused = app_secret(|_, _| Reply::json(503, "<html>")).await.unwrap_err();
    assert!(matches!(refused, EnclaveError::Unavailable { retry_after: None, .. }), "{refused:?}");
}

#[tokio::test]
async fn answers_for_another_key_and_huge_ones_are_refused() {
    let refused =
        app_secret(|_, _| jwe(EnclaveKey::random().public(), b"value")).await.unwrap_err();
    assert!(matches!(refused, EnclaveError::Jwe(JweError::DoesNotDecrypt)), "{refused:?}");
    let refused = app_secret(|_, _| Reply::json(200, &" ".repeat(MAX_SECRET_ANSWER + 1))).await;
    let refused = refused.unwrap_err();
    assert!(
        matches!(refused, EnclaveError::Transport(crate::TransportError::TooLarge { .. })),
        "{refused:?}"
    );
    let refused = app_secret(|_, _| Reply::json(200, "{}")).await.unwrap_err();
    assert!(matches!(refused, EnclaveError::Transport(_)), "{refused:?}");
}

#[tokio::test]
async fn the_largest_secret_fits() {
    let value = app_secret(|key, _| jwe(key, &vec![7; MAX_SECRET_BYTES])).await.unwrap();
    assert_eq!(value.len(), MAX_SECRET_BYTES);
}

/// Whoever knows the enclave's key can answer: only the digest in the signed bundle tells whose value it is.
#[tokio::test]
async fn a_substituted_secret_is_refused() {
    const VERSION: u64 = 3;
    let listed = Omitted::new(Resource::RequesterSecret(4), VERSION, b"correct horse");
    let fetch = async |resources| {
        let server = sms(Signer::random(), resources);
        let (guest, voucher) = guest(&server, Address::ZERO);
        guest.attest(Some(&voucher), quote).await?.omitted(TASK, &listed).await
    };
    let secret = fetch(|key, _| jwe(key, b"correct horse")).await.unwrap();
    assert_eq!((secret.resource, secret.version), (Resource::RequesterSecret(4), VERSION));
    assert_eq!(secret.value.as_slice(), b"correct horse");
    let answers: [Resources; 3] = [
        |key, _| jwe(key, b"the host's own"),
        |key, _| jwe(key, b""),
        |key, _| jwe(key, b"correct horse\n"),
    ];
    for resources in answers {
        let refused = fetch(resources).await.unwrap_err();
        assert!(
            matches!(
                refused,
                EnclaveError::Substituted {
                    resource: Resource::RequesterSecret(4),
                    version: VERSION
                }
            ),
            "{refused:?}"
        );
        assert!(!refused.passes_with_time());
    }
}

#[tokio::test]
async fn an_sms_without_session_or_with_another_hash_is_refused() {
    let server = Server::start(|_| Reply::json(200, r#"{"nonce":"x","extra-params":{}}"#));
    let refused = guest(&server, Address::ZERO).0.attest(None, quote).await.unwrap_err();
    assert!(matches!(refused, EnclaveError::NoSession), "{refused:?}");
    let server = Server::start(|_| {
        Reply::json(200, r#"{"nonce":"x","extra-params":{"selected-hash-algorithm":"sm3"}}"#)
            .with("set-cookie", "kbs-session-id=fresh")
    });
    let refused = guest(&server, Address::ZERO).0.attest(None, quote).await.unwrap_err();
    assert!(matches!(refused, EnclaveError::WrongHashAlgorithm(_)), "{refused:?}");
}

fn bundle(sms: Address) -> Bundle {
    Bundle {
        task: TASK,
        chain_id: DOMAIN.chain_id,
        task_registry: Address::ZERO,
        sms,
        requester: Address::ZERO,
        order: Order {
            app: AssetId(B256::ZERO),
            enclave: EnclaveId(B256::ZERO),
            data: Vec::new(),
            grants: Vec::new(),
            worker: Address::ZERO,
            sms,
            beneficiary: Address::ZERO,
            deadline: 9,
            currency: Address::ZERO,
            reward: U256::ZERO,
            max_cost: U256::ZERO,
            params: String::new(),
        },
        app: AssetSnapshot {
            uri: String::new(),
            digest: B256::ZERO,
            epoch: 0,
            serial: 1,
            price: U256::ZERO,
        },
        data: Vec::new(),
        secrets: vec![BundledSecret {
            resource: Resource::AppSecret,
            version: 1,
            value: Zeroizing::new(b"correct horse".to_vec()),
        }],
        omitted: Vec::new(),
        head: BlockRef::default(),
        confirmed: BlockRef::default(),
    }
}

fn signed(key: &Jwk, nonce: &str, sms: Address, identity: &Signer) -> Reply {
    let nonce = rcar::nonce_digest(nonce);
    let bytes = bundle::sign(&bundle(sms), key.thumbprint(), nonce, &DOMAIN, identity).unwrap();
    jwe(key, &bytes)
}

async fn fetch_bundle(resources: Resources) -> Result<Bundle, EnclaveError> {
    let identity = Signer::random();
    let address = identity.address();
    let server = sms(identity, resources);
    let (guest, voucher) = guest(&server, address);
    guest.attest(Some(&voucher), quote).await?.bundle(TASK).await
}

#[tokio::test]
async fn the_trusted_smss_bundle_opens() {
    let opened =
        fetch_bundle(|key, identity| signed(key, NONCE, identity.address(), identity)).await;
    let opened = opened.unwrap();
    assert_eq!(opened, bundle(opened.sms));
}

#[tokio::test]
async fn bundles_of_impostors_and_other_runs_are_refused() {
    let refused =
        fetch_bundle(|key, identity| signed(key, NONCE, identity.address(), &Signer::random()))
            .await
            .unwrap_err();
    assert!(
        matches!(refused, EnclaveError::Bundle(BundleError::WrongSigner { .. })),
        "{refused:?}"
    );
    let refused =
        fetch_bundle(|key, identity| signed(key, "b3RoZXI=", identity.address(), identity))
            .await
            .unwrap_err();
    assert!(matches!(refused, EnclaveError::Bundle(BundleError::WrongNonce)), "{refused:?}");
}
