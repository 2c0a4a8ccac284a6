//! An owner against a small SMS that keeps one secret in memory and checks every signature.

use std::sync::{Arc, Mutex};

use alloy_primitives::keccak256;
use sesame_domain::AssetId;
use sesame_protocol::{
    jwe::EnclaveKey,
    jwk::{ES256, Jwk},
    keys::{KeysDocument, KeysError, SealingPublicKey},
    owner::OwnerError,
    sealing::SealingKey,
};

use super::*;
use crate::testing::{Reply, Request, Server};

const DOMAIN: Domain = Domain { chain_id: 31337, asset_registry: Address::repeat_byte(0x11) };
const NOW: u64 = 1_800_000_000;

fn secret() -> SecretId {
    SecretId::Asset(AssetId(B256::repeat_byte(1)))
}

/// What the small SMS does wrong.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    KeysOfAnother,
    KeysForAnotherChain,
    AcknowledgesOldVersion,
    AcknowledgesAnotherBody,
    ShowsAnotherSecret,
    Conflict,
}

struct Sms {
    identity: Signer,
    sealing: SealingKey,
    owner: Address,
    fault: Fault,
    stored: Option<(SecretMetadata, Vec<u8>)>,
}

impl Sms {
    fn answer(&mut self, request: &Request) -> Reply {
        if request.path == "/v1/keys" {
            return self.keys();
        }
        assert_eq!(request.path, format!("/v1/{}", secret()));
        let header = request.headers.get(AUTHORIZATION_HEADER).unwrap();
        match request.method.as_str() {
            "HEAD" => {
                let query = SignedQuery::parse(header).unwrap();
                assert_eq!(
                    query.verify(&secret(), self.identity.address(), &DOMAIN),
                    Ok(self.owner)
                );
                assert_eq!(query.deadline, NOW + 300);
                self.head()
            }
            "PUT" if self.fault == Fault::Conflict => Reply::json(
                409,
                r#"{"type":"urn:sesame:problem:version_conflict","title":"t","status":409,"code":"version_conflict","detail":"d"}"#,
            ),
            "PUT" => {
                let update = SignedUpdate::parse(header).unwrap();
                assert_eq!(update.verify(&secret(), &DOMAIN), Ok(self.owner));
                assert_eq!(request.headers.get("content-type").unwrap(), SEALED_CONTENT_TYPE);
                let value = update.open(&secret(), &request.body, &self.sealing).unwrap();
                self.write(update.version, value.len(), keccak256(&request.body), &value)
            }
            "DELETE" => {
                let removal = SignedRemoval::parse(header).unwrap();
                assert_eq!(
                    removal.verify(&secret(), self.identity.address(), &DOMAIN),
                    Ok(self.owner)
                );
                self.write(removal.version, 0, B256::ZERO, &[])
            }
            other => panic!("{other}"),
        }
    }

    fn keys(&self) -> Reply {
        let token = Jwk::new(*EnclaveKey::random().public().p256().unwrap(), ES256);
        let elsewhere = self.fault == Fault::KeysForAnotherChain;
        let domain = Domain { chain_id: if elsewhere { 1 } else { DOMAIN.chain_id }, ..DOMAIN };
        let stranger = Signer::random();
        let identity = if self.fault == Fault::KeysOfAnother { &stranger } else { &self.identity };
        let sealing = SealingPublicKey { key: self.sealing.public(), issued_at: NOW };
        let document = KeysDocument::certify(&domain, identity, sealing, Vec::new(), token, NOW);
        Reply::json(200, &serde_json::to_string(&document).unwrap())
    }

    fn head(&self) -> Reply {
        match &self.stored {
            None => Reply::json(404, ""),
            Some((metadata, _)) => {
                let mut metadata = metadata.clone();
                if self.fault == Fault::ShowsAnotherSecret {
                    metadata.resource = "assets/other/secret".to_owned();
                }
                let status = if metadata.size == 0 { 404 } else { 200 };
                Reply::json(status, "")
                    .with("etag", &metadata.etag())
                    .with(METADATA_HEADER, &metadata.to_header())
            }
        }
    }

    fn write(&mut self, version: u64, size: usize, digest: B256, value: &[u8]) -> Reply {
        let last = self.stored.as_ref().map_or(0, |(metadata, _)| metadata.version);
        assert_eq!(version, last + 1);
        let mut metadata = SecretMetadata {
            resource: secret().to_string(),
            owner: self.owner,
            epoch: 0,
            version,
            transferable: false,
            size: size as u64,
            content_digest: B256::ZERO,
            sealed_digest: digest,
            updated_at: NOW,
        };
        self.stored = Some((metadata.clone(), value.to_vec()));
        if self.fault == Fault::AcknowledgesOldVersion {
            metadata.version -= 1;
        }
        if self.fault == Fault::AcknowledgesAnotherBody {
            metadata.sealed_digest = B256::ZERO;
        }
        Reply::json(200, &serde_json::to_string(&metadata).unwrap())
    }
}

struct World {
    owner: Owner,
    sms: Arc<Mutex<Sms>>,
}

fn world(fault: Fault) -> World {
    let (signer, identity) = (Signer::random(), Signer::random());
    let pinned = identity.address();
    let sms = Arc::new(Mutex::new(Sms {
        identity,
        sealing: SealingKey::random(),
        owner: signer.address(),
        fault,
        stored: None,
    }));
    let shared = Arc::clone(&sms);
    let server = Server::start(move |request| shared.lock().unwrap().answer(&request));
    World { owner: Owner::new(server.base(), DOMAIN, pinned, signer).unwrap(), sms }
}

impl World {
    async fn push(&self, value: &[u8]) -> Result<SecretMetadata, ClientError> {
        self.owner.push(NOW, &secret(), value, &PushOptions::default()).await
    }

    fn stored(&self) -> Option<Vec<u8>> {
        self.sms.lock().unwrap().stored.as_ref().map(|(_, value)| value.clone())
    }
}

#[tokio::test]
async fn pushes_shows_removes_and_pushes_again() {
    let world = world(Fault::None);
    assert_eq!(world.owner.show(NOW, &secret()).await.unwrap(), None);
    assert_eq!(world.push(b"one").await.unwrap().version, 1);
    assert_eq!(world.push(b"two").await.unwrap().version, 2);
    assert_eq!(world.stored().unwrap(), b"two");
    assert_eq!(world.owner.show(NOW, &secret()).await.unwrap().unwrap().size, 3);
    assert_eq!(world.owner.remove(NOW, &secret(), 0).await.unwrap().version, 3);
    assert_eq!(world.owner.show(NOW, &secret()).await.unwrap(), None);
    // The tombstone counts: versions never fall.
    assert_eq!(world.push(b"four").await.unwrap().version, 4);
}

#[tokio::test]
async fn nothing_is_sealed_to_keys_that_the_pinned_identity_did_not_certify() {
    for fault in [Fault::KeysOfAnother, Fault::KeysForAnotherChain] {
        let world = world(fault);
        let refused = world.push(b"value").await.unwrap_err();
        assert!(
            matches!(
                refused,
                ClientError::Keys(
                    KeysError::WrongIdentity { .. } | KeysError::WrongDeployment { .. }
                )
            ),
            "{refused:?}"
        );
        assert_eq!(world.stored(), None);
    }
}

#[tokio::test]
async fn a_wrong_acknowledgement_is_no_success() {
    for fault in [Fault::AcknowledgesOldVersion, Fault::AcknowledgesAnotherBody] {
        let refused = world(fault).push(b"value").await.unwrap_err();
        assert!(matches!(refused, ClientError::WrongAcknowledgement), "{refused:?}");
    }
    let world = world(Fault::ShowsAnotherSecret);
    world.push(b"value").await.unwrap();
    let refused = world.owner.show(NOW, &secret()).await.unwrap_err();
    assert!(matches!(refused, ClientError::WrongAcknowledgement), "{refused:?}");
}

#[tokio::test]
async fn a_conflict_is_told_by_its_code() {
    let refused = world(Fault::Conflict).push(b"value").await.unwrap_err();
    assert!(
        matches!(&refused, ClientError::Problem(problem) if problem.code == "version_conflict"),
        "{refused:?}"
    );
}

#[tokio::test]
async fn empty_values_and_strangers_secrets_are_not_sent() {
    let world = world(Fault::None);
    let refused = world.push(b"").await.unwrap_err();
    assert!(matches!(refused, ClientError::Seal(OwnerError::WrongLength(0))), "{refused:?}");
    let stranger = SecretId::Requester(Address::ZERO, "name".parse().unwrap());
    let refused = world.owner.push(NOW, &stranger, b"x", &PushOptions::default()).await;
    assert!(matches!(refused, Err(ClientError::NotYours { .. })), "{refused:?}");
}

#[test]
fn the_debug_form_shows_addresses_alone() {
    let shown = format!("{:?}", world(Fault::None).owner);
    assert!(shown.contains("Signer") && !shown.contains("secret:"), "{shown}");
}
