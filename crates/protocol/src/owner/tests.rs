//! What an owner signs is good for one resource, owner, epoch, version and SMS.

use sesame_domain::AssetId;

use super::*;
use crate::{base64url, signature::Signature65};

const DOMAIN: Domain = Domain { chain_id: 31337, asset_registry: Address::repeat_byte(0x11) };

fn asset(byte: u8) -> SecretId {
    SecretId::Asset(AssetId(B256::repeat_byte(byte)))
}

struct Pushed {
    owner: Signer,
    sms: SealingKey,
    request: SignedUpdate,
    body: Vec<u8>,
}

fn pushed() -> Pushed {
    let (owner, sms) = (Signer::random(), SealingKey::random());
    let update = SecretUpdate::new(&asset(1), owner.address(), 2, 7, sms.public(), 1_900_000_000);
    let (request, body) = SignedUpdate::seal(update, b"correct horse", &DOMAIN, &owner).unwrap();
    Pushed { owner, sms, request, body }
}

#[test]
fn a_signed_update_names_its_signer_and_opens() {
    let Pushed { owner, sms, request, body } = pushed();
    let request = SignedUpdate::parse(&request.to_header()).unwrap();
    assert_eq!(request.verify(&asset(1), &DOMAIN), Ok(owner.address()));
    assert_eq!(request.open(&asset(1), &body, &sms).unwrap().as_slice(), b"correct horse");
}

#[test]
fn whatever_is_altered_recovers_a_stranger() {
    let Pushed { owner, request, .. } = pushed();
    let word = B256::repeat_byte(9);
    let altered = [
        SignedUpdate { owner: Address::ZERO, ..request.clone() },
        SignedUpdate { epoch: 3, ..request.clone() },
        SignedUpdate { version: 8, ..request.clone() },
        SignedUpdate { transferable: true, ..request.clone() },
        SignedUpdate { content_digest: word, ..request.clone() },
        SignedUpdate { sealed_digest: word, ..request.clone() },
        SignedUpdate { sms_key: word, ..request.clone() },
        SignedUpdate { deadline: 1, ..request.clone() },
    ];
    for altered in altered {
        assert_ne!(altered.verify(&asset(1), &DOMAIN), Ok(owner.address()), "{altered:?}");
    }
    assert_ne!(request.verify(&asset(2), &DOMAIN), Ok(owner.address()));
    let elsewhere = Domain { chain_id: 1, ..DOMAIN };
    assert_ne!(request.verify(&asset(1), &elsewhere), Ok(owner.address()));
}

/// A thief who signs somebody else's body as an own push must not have it opened.
#[test]
fn a_sealed_body_cannot_be_lifted() {
    let Pushed { sms, request, body, .. } = pushed();
    let lifted = [
        (asset(2), request.clone()),
        (asset(1), SignedUpdate { owner: Address::ZERO, ..request.clone() }),
        (asset(1), SignedUpdate { epoch: 3, ..request.clone() }),
        (asset(1), SignedUpdate { version: 8, ..request.clone() }),
        (asset(1), SignedUpdate { transferable: true, ..request.clone() }),
    ];
    for (resource, request) in lifted {
        let opened = request.open(&resource, &body, &sms);
        assert_eq!(opened, Err(OwnerError::Sealing(SealingError::DoesNotOpen)), "{request:?}");
    }
}

#[test]
fn another_body_or_another_sms_is_refused_by_name() {
    let Pushed { sms, request, mut body, .. } = pushed();
    let stranger = SealingKey::random();
    let refused = request.open(&asset(1), &body, &stranger);
    assert_eq!(
        refused,
        Err(OwnerError::WrongKey { signed: sms.public(), ours: stranger.public() })
    );
    body[40] ^= 1;
    let refused = request.open(&asset(1), &body, &sms);
    assert!(matches!(refused, Err(OwnerError::WrongDigest { .. })), "{refused:?}");
}

#[test]
fn empty_and_oversized_values_are_refused_on_both_sides() {
    let (owner, sms) = (Signer::random(), SealingKey::random());
    let update = SecretUpdate::new(&asset(1), owner.address(), 0, 1, sms.public(), 1);
    for length in [0, MAX_SECRET_BYTES + 1] {
        let value = vec![7; length];
        let sealed = SignedUpdate::seal(update.clone(), &value, &DOMAIN, &owner);
        assert_eq!(sealed.unwrap_err(), OwnerError::WrongLength(length));

        let body = sealing::seal(sms.public(), update.sealing_info(), &value).unwrap();
        let forced = SecretUpdate { sealedDigest: keccak256(&body), ..update.clone() };
        let opened = SignedUpdate::new(forced, Signature65::ZERO).open(&asset(1), &body, &sms);
        assert_eq!(opened, Err(OwnerError::WrongLength(length)));
    }
    let largest = vec![7; MAX_SECRET_BYTES];
    let (_, body) = SignedUpdate::seal(update, &largest, &DOMAIN, &owner).unwrap();
    assert_eq!(body.len(), MAX_SEALED_BYTES);
}

#[test]
fn removals_and_queries_are_bound_to_their_resource_and_sms() {
    let owner = Signer::random();
    let (resource, address) = (asset(1), owner.address());
    let (sms, other_sms) = (Address::repeat_byte(0xb2), Address::repeat_byte(0xb3));
    let removal = SecretRemoval {
        resource: resource.to_string(),
        owner: address,
        sms,
        epoch: 0,
        version: 2,
        deadline: 9,
    };
    let removal = SignedRemoval::sign(&removal, &DOMAIN, &owner);
    let removal = SignedRemoval::parse(&removal.to_header()).unwrap();
    assert_eq!(removal.verify(&resource, sms, &DOMAIN), Ok(address));
    assert_ne!(removal.verify(&asset(2), sms, &DOMAIN), Ok(address));
    assert_ne!(removal.verify(&resource, other_sms, &DOMAIN), Ok(address));
    let later = SignedRemoval { version: 3, ..removal };
    assert_ne!(later.verify(&resource, sms, &DOMAIN), Ok(address));

    let query = SecretQuery { resource: resource.to_string(), owner: address, sms, deadline: 9 };
    let query = SignedQuery::sign(&query, &DOMAIN, &owner);
    let query = SignedQuery::parse(&query.to_header()).unwrap();
    assert_eq!(query.verify(&resource, sms, &DOMAIN), Ok(address));
    assert_ne!(query.verify(&asset(2), sms, &DOMAIN), Ok(address));
    assert_ne!(query.verify(&resource, other_sms, &DOMAIN), Ok(address));
    let longer = SignedQuery { deadline: 10, ..query };
    assert_ne!(longer.verify(&resource, sms, &DOMAIN), Ok(address));
}

#[test]
fn headers_have_one_shape() {
    let header = pushed().request.to_header();
    let json = String::from_utf8(base64url::decode(&header).unwrap()).unwrap();
    let check = |json: &str| SignedUpdate::parse(&base64url::encode(json.as_bytes()));
    assert!(check(&json).is_ok());

    let bad = [
        json.replace("\"epoch\":2", "\"epoch\":-2"),
        json.replace("\"epoch\":2", "\"epoch\":\"2\""),
        json.replace("\"epoch\":2,", ""),
        json.replace("\"epoch\":2", "\"epoch\":2,\"epoch\":3"),
        json.replace("\"epoch\":2", "\"epoch\":2,\"resource\":\"x\""),
        json.replace("\"transferable\":false", "\"transferable\":0"),
        format!("{json}{json}"),
        String::new(),
        "[]".to_owned(),
    ];
    for bad in bad {
        assert!(matches!(check(&bad), Err(HeaderError::NotTheDocument(_))), "{bad}");
    }
    for bad in [format!("{header}="), format!("{header}!"), header.replace('e', "+")] {
        assert!(matches!(SignedUpdate::parse(&bad), Err(HeaderError::NotBase64Url(_))), "{bad}");
    }
    let long = "A".repeat(MAX_HEADER_BYTES + 1);
    assert!(matches!(SignedUpdate::parse(&long), Err(HeaderError::TooLong(12_289))));
}

#[test]
fn the_entity_tag_is_the_version() {
    let Pushed { request, .. } = pushed();
    let metadata = SecretMetadata {
        resource: asset(1).to_string(),
        owner: request.owner,
        epoch: 2,
        version: 7,
        transferable: false,
        size: 13,
        content_digest: B256::ZERO,
        sealed_digest: request.sealed_digest,
        updated_at: 1_800_000_000,
    };
    assert_eq!(metadata.etag(), "\"7\"");
    assert_eq!(SecretMetadata::parse(&metadata.to_header()).unwrap(), metadata);
}
