//! A bundle is good for one SMS, task, enclave key and nonce, and says the same throughout.

use alloy_primitives::U256;
use sesame_domain::{AssetId, EnclaveId, Grant};

use super::*;

const DOMAIN: Domain = Domain { chain_id: 31337, asset_registry: Address::repeat_byte(0x11) };
const TASK: TaskId = TaskId(B256::repeat_byte(0x22));
const KEY: B256 = B256::repeat_byte(0x33);
const NONCE: B256 = B256::repeat_byte(0x44);

fn snapshot(byte: u8) -> AssetSnapshot {
    AssetSnapshot {
        uri: format!("ipfs://{byte}"),
        digest: B256::repeat_byte(byte),
        epoch: 1,
        serial: 2,
        price: U256::from(1_000_000_000_000_000_000_u64),
    }
}

fn bundle(sms: Address) -> Bundle {
    let secret = |resource, value: &[u8]| BundledSecret {
        resource,
        version: 3,
        value: Zeroizing::new(value.to_vec()),
    };
    Bundle {
        task: TASK,
        chain_id: DOMAIN.chain_id,
        task_registry: Address::repeat_byte(0x55),
        sms,
        requester: Address::repeat_byte(0x66),
        order: Order {
            app: AssetId(B256::repeat_byte(1)),
            enclave: EnclaveId(B256::repeat_byte(2)),
            data: vec![AssetId(B256::repeat_byte(3))],
            grants: vec![Grant { index: 4, name: "db-password".parse().unwrap() }],
            worker: Address::repeat_byte(0x77),
            sms,
            beneficiary: Address::repeat_byte(0x88),
            deadline: 1_900_000_000,
            currency: Address::ZERO,
            reward: U256::MAX,
            max_cost: U256::ZERO,
            params: "--verbose é".to_owned(),
        },
        app: snapshot(9),
        data: vec![snapshot(10)],
        secrets: vec![
            secret(Resource::AppSecret, b"\0app\xff"),
            secret(Resource::RequesterSecret(4), b"correct horse"),
        ],
        omitted: vec![Omitted::new(Resource::ProtectedData(1), 2, b"left out")],
        head: BlockRef { number: 10, hash: B256::repeat_byte(0x99) },
        confirmed: BlockRef { number: 8, hash: B256::repeat_byte(0xaa) },
    }
}

fn signed(identity: &Signer) -> Zeroizing<Vec<u8>> {
    sign(&bundle(identity.address()), KEY, NONCE, &DOMAIN, identity).unwrap()
}

#[test]
fn a_signed_bundle_opens_for_its_enclave() {
    let identity = Signer::random();
    let opened = open(&signed(&identity), identity.address(), TASK, KEY, NONCE).unwrap();
    assert_eq!(opened, bundle(identity.address()));
}

#[test]
fn another_task_key_nonce_or_sms_is_refused_by_name() {
    let identity = Signer::random();
    let (bytes, sms) = (signed(&identity), identity.address());
    let other = B256::repeat_byte(0xee);
    let refused = open(&bytes, sms, TaskId(other), KEY, NONCE).unwrap_err();
    assert!(matches!(refused, BundleError::WrongTask { .. }), "{refused}");
    let refused = open(&bytes, sms, TASK, other, NONCE).unwrap_err();
    assert!(matches!(refused, BundleError::WrongEnclaveKey { .. }), "{refused}");
    let refused = open(&bytes, sms, TASK, KEY, other).unwrap_err();
    assert!(matches!(refused, BundleError::WrongNonce), "{refused}");
    let refused = open(&bytes, Signer::random().address(), TASK, KEY, NONCE).unwrap_err();
    assert!(matches!(refused, BundleError::WrongSigner { .. }), "{refused}");
}

#[test]
fn an_impostor_with_another_key_is_refused() {
    let (identity, impostor) = (Signer::random(), Signer::random());
    let bytes = sign(&bundle(identity.address()), KEY, NONCE, &DOMAIN, &impostor).unwrap();
    let refused = open(&bytes, identity.address(), TASK, KEY, NONCE).unwrap_err();
    assert!(
        matches!(refused, BundleError::WrongSigner { got, .. } if got == impostor.address()),
        "{refused}"
    );
}

/// CBOR spells some things in two ways; whatever still opens must mean what was signed.
#[test]
fn no_flipped_bit_changes_the_meaning() {
    let identity = Signer::random();
    let bytes = signed(&identity);
    let original = bundle(identity.address());
    let mut opened = 0;
    for bit in 0..bytes.len() * 8 {
        let mut altered = bytes.to_vec();
        altered[bit / 8] ^= 1 << (bit % 8);
        if let Ok(bundle) = open(&altered, identity.address(), TASK, KEY, NONCE) {
            assert_eq!(bundle, original, "bit {bit}");
            opened += 1;
        }
    }
    assert!(opened < 32, "{opened} flipped bits change nothing");
}

#[test]
fn cut_and_lengthened_bundles_are_refused() {
    let identity = Signer::random();
    let bytes = signed(&identity);
    for end in 0..bytes.len() {
        let refused = open(&bytes[..end], identity.address(), TASK, KEY, NONCE).unwrap_err();
        assert!(matches!(refused, BundleError::Malformed(_)), "{end}: {refused}");
    }
    let longer = [&bytes[..], &[0]].concat();
    let refused = open(&longer, identity.address(), TASK, KEY, NONCE).unwrap_err();
    assert!(matches!(refused, BundleError::TrailingBytes), "{refused}");
}

#[test]
fn contradictions_are_refused_even_if_signed() {
    let identity = Signer::random();
    let sms = identity.address();
    let alter: [fn(&mut Bundle); 7] = [
        |bundle| bundle.chain_id += 1,
        |bundle| bundle.sms = Address::ZERO,
        |bundle| bundle.order.sms = Address::ZERO,
        |bundle| bundle.data.clear(),
        |bundle| bundle.order.data.clear(),
        |bundle| {
            if let Some(secret) = bundle.secrets.first_mut() {
                secret.resource = Resource::Bundle;
            }
        },
        |bundle| bundle.omitted.push(Omitted::new(Resource::Bundle, 1, b"")),
    ];
    for alter in alter {
        let mut altered = bundle(sms);
        alter(&mut altered);
        let bytes = sign(&altered, KEY, NONCE, &DOMAIN, &identity).unwrap();
        let refused = open(&bytes, sms, TASK, KEY, NONCE).unwrap_err();
        assert!(matches!(refused, BundleError::Contradiction(_)), "{refused}");
    }
}

#[test]
fn more_than_64_mebibytes_of_secrets_do_not_fit() {
    let identity = Signer::random();
    let mut large = bundle(identity.address());
    let secret = |index| BundledSecret {
        resource: Resource::RequesterSecret(index),
        version: 1,
        value: Zeroizing::new(vec![0; MAX_BUNDLE_SECRETS / 16]),
    };
    large.secrets.extend((1..=16).map(secret));
    let refused = sign(&large, KEY, NONCE, &DOMAIN, &identity).unwrap_err();
    assert!(matches!(refused, BundleError::TooLarge(_)), "{refused}");
}

/// The empty value and `abc` as FIPS 180-2 has them.
#[test]
fn an_omitted_secret_is_known_by_its_sha_256() {
    for (value, digest) in [
        ("", "0xe3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ("abc", "0xba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
    ] {
        let omitted = Omitted::new(Resource::AppSecret, 1, value.as_bytes());
        assert_eq!(omitted.digest.to_string(), digest);
        assert!(omitted.is(value.as_bytes()));
        assert!(!omitted.is(format!("{value}\0").as_bytes()));
    }
}

#[test]
fn the_debug_form_hides_values() {
    let shown = format!("{:?}", bundle(Address::ZERO));
    assert!(shown.contains("bytes: 13") && !shown.contains("correct"), "{shown}");
    let digest = digest(b"left out").to_string();
    assert!(!shown.contains(&digest), "{shown}");
}
