//! One exchange as an example: an owner with an app, a requester with a secret, a task, an enclave. The keys are nobody's, and
//! what signatures cover is signed with them.

use alloy_primitives::{Address, B256, Bytes};
use serde::Serialize;
use serde_json::{Value, json};
use sesame_domain::{AssetId, SecretId, TaskId};
use sesame_protocol::{
    denial::DenialBody,
    evidence::QuoteEvidence,
    explain::Explanation,
    jwk::{Jwk, JwkSet},
    keys::{KeysDocument, SealingPublicKey},
    owner::{SecretMetadata, SecretPage, SignedQuery, SignedRemoval, SignedUpdate, owned_by},
    rcar::{self, HASH_ALGORITHM, Tee, TokenResponse},
    receipts::{ListedReceipt, ReceiptLogKey, ReceiptPage, ReceiptsOf, SignedReceiptQuery},
    results::{ResultKeyCertificate, ResultKeyRequest, Settlement, TaskDomain},
    signature::Signer,
    status::{BlockBody, BlockRefBody, Contracts, KeyProvider, State, Status, Trust, VaultStore},
    typed::{Domain, SecretQuery, SecretRemoval, SecretUpdate},
    voucher::SignedVoucher,
};

/// The name of the requester's secret.
pub(super) const NAME: &str = "db-password";

/// A nonce of a challenge.
const NONCE: &str = "cm9sbGluZyBhIGRpZSAzMiB0aW1lcywgdGhlbiBzb21l";

/// A token of a session, cut short.
pub(super) const TOKEN: &str = "eyJhbGciOiJFUzI1NiJ9.eyJleHAiOjE4MDAwMDAzMDB9.c2lnbmF0dXJl";

/// The moment of the exchange, and when what was signed in it ends, seconds since 1970.
const NOW: u64 = 1_800_000_000;
const DEADLINE: u64 = NOW + 300;

const HEAD: BlockRefBody = BlockRefBody { number: 21_000_012, hash: B256::repeat_byte(0x15) };
const CONFIRMED: BlockRefBody = BlockRefBody { number: 21_000_000, hash: B256::repeat_byte(0x16) };

const CONTRACTS: Contracts = Contracts {
    asset_registry: Address::repeat_byte(0x11),
    enclave_whitelist: Address::repeat_byte(0x12),
    task_registry: Address::repeat_byte(0x13),
};

const DOMAIN: Domain = Domain { chain_id: 1, asset_registry: CONTRACTS.asset_registry };
const TASKS: TaskDomain = TaskDomain { chain_id: 1, task_registry: CONTRACTS.task_registry };

/// The SMS's sealing key.
const SEALING: B256 = B256::repeat_byte(0x5e);

fn signer(byte: u8) -> Signer {
    Signer::from_bytes(&[byte; 32]).expect("32 equal bytes below 0xff are a key")
}

fn owner() -> Signer {
    signer(0x22)
}

fn requester() -> Signer {
    signer(0x33)
}

fn sms() -> Signer {
    signer(0x44)
}

pub(super) const fn app() -> AssetId {
    AssetId(B256::repeat_byte(0xaa))
}

pub(super) const fn task() -> TaskId {
    TaskId(B256::repeat_byte(0xbb))
}

pub(super) const fn enclave() -> B256 {
    B256::repeat_byte(0xee)
}

pub(super) fn address() -> Address {
    requester().address()
}

pub(super) fn worker() -> Address {
    signer(0x55).address()
}

fn secret() -> SecretId {
    SecretId::Asset(app())
}

/// A key on P-256.
fn key(alg: &str) -> Jwk {
    let members = json!({
        "kty": "EC",
        "crv": "P-256",
        "alg": alg,
        "x": "weNJy2HscCSM6AEDTDg04biOvhFhyyWvOHQfeF_PxMQ",
        "y": "e8lnCO-AlStT-NJVX-crhB7QRYhiix03illJOVAOyck",
    });
    serde_json::from_value(members).expect("a point of the curve")
}

fn document(document: impl Serialize) -> Value {
    serde_json::to_value(document).expect("documents have text keys and finite numbers")
}

pub(crate) fn status() -> Value {
    let block = |block: BlockRefBody, age| BlockBody {
        number: block.number,
        hash: block.hash,
        timestamp: NOW - age,
    };
    document(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        chain_id: DOMAIN.chain_id,
        contracts: CONTRACTS,
        identity: sms().address(),
        state: State::Ready,
        reason: None,
        head: Some(block(HEAD, 5)),
        confirmed: Some(block(CONFIRMED, 149)),
        last_proof: Some(block(CONFIRMED, 149)),
        lag_blocks: 0,
        head_age_seconds: Some(5),
        trust: Trust::Quorum,
        simulated_tee: false,
        revocation_bound_seconds: 120,
        silence_bound_seconds: 10,
        uptime_seconds: Some(86_400),
        vault_store: Some(VaultStore::Postgres),
        key_provider: Some(KeyProvider::File),
    })
}

pub(crate) fn keys() -> Value {
    let sealing = SealingPublicKey { key: SEALING, issued_at: NOW - 86_400 };
    document(KeysDocument::certify(&DOMAIN, &sms(), sealing, Vec::new(), key("ES256"), NOW))
}

pub(crate) fn jwks() -> Value {
    document(JwkSet::of(&key("ES256")))
}

pub(crate) fn explanation() -> Value {
    document(Explanation {
        task: task().0,
        enclave: Some(enclave()),
        resource: "bundle/all".to_owned(),
        allowed: false,
        head: HEAD,
        confirmed: CONFIRMED,
        denials: vec![DenialBody::NotWhitelisted { asset: app().0, enclave: enclave() }],
    })
}

pub(crate) fn settlement() -> Value {
    document(Settlement { task: task().0, signature: TASKS.released(task(), &sms()) })
}

pub(crate) fn receipts_key() -> Value {
    let origin = format!("sesame/1/{}/0f1e2d3c", sms().address());
    let key = format!("{origin}+1a2b3c4d+AbCdEfGhIjKlMnOpQrStUvWxYz0123456789+/abcdef");
    document(ReceiptLogKey::certify(key, &DOMAIN, &sms()))
}

pub(crate) fn checkpoint() -> Value {
    let root = "qINS1GRFhWHwdkUeqLEoP4yEMkTBBzxBkGwGQlVlVcs=";
    let origin = format!("sesame/1/{}/0f1e2d3c", sms().address());
    json!(format!("{origin}\n42\n{root}\n\n— {origin} c2lnbmVkIGJ5IHRoZSBsb2c=\n"))
}

pub(crate) fn update() -> Value {
    let update = SecretUpdate::new(&secret(), owner().address(), 0, 1, SEALING, DEADLINE);
    let update = SecretUpdate { sealedDigest: B256::repeat_byte(0x5d), ..update };
    let signature = owner().sign_hash(DOMAIN.signing_hash(&update));
    json!(SignedUpdate::new(update, signature).to_header())
}

pub(crate) fn removal() -> Value {
    let removal = SecretRemoval {
        resource: secret().to_string(),
        owner: owner().address(),
        sms: sms().address(),
        epoch: 0,
        version: 2,
        deadline: DEADLINE,
    };
    json!(SignedRemoval::sign(&removal, &DOMAIN, &owner()).to_header())
}

pub(crate) fn query() -> Value {
    let query = SecretQuery {
        resource: owned_by(address()),
        owner: address(),
        sms: sms().address(),
        deadline: DEADLINE,
    };
    json!(SignedQuery::sign(&query, &DOMAIN, &requester()).to_header())
}

pub(crate) fn receipt_query() -> Value {
    let (of, sms) = (ReceiptsOf::Requester(address()), sms().address());
    json!(SignedReceiptQuery::sign(&of, sms, DEADLINE, &DOMAIN, &requester()).to_header())
}

pub(crate) fn metadata() -> Value {
    document(pushed())
}

fn pushed() -> SecretMetadata {
    SecretMetadata {
        resource: secret().to_string(),
        owner: owner().address(),
        epoch: 0,
        version: 1,
        transferable: false,
        size: 32,
        content_digest: B256::ZERO,
        sealed_digest: B256::repeat_byte(0x5d),
        updated_at: NOW,
    }
}

pub(crate) fn tombstone() -> Value {
    let gone = SecretMetadata { version: 2, size: 0, sealed_digest: B256::ZERO, ..pushed() };
    document(SecretMetadata { updated_at: 0, ..gone })
}

pub(crate) fn secrets() -> Value {
    let named = SecretMetadata {
        resource: format!("requesters/{}/secrets/{NAME}", address().to_string().to_lowercase()),
        owner: address(),
        ..pushed()
    };
    document(SecretPage { secrets: vec![named], next: None })
}

pub(crate) fn receipts() -> Value {
    let decision = json!({
        "decidedAt": NOW,
        "head": [HEAD.number, HEAD.hash],
        "confirmed": [CONFIRMED.number, CONFIRMED.hash],
        "task": task().0,
        "requester": address(),
        "assets": [[app().0, 0]],
        "enclave": enclave(),
        "resource": "bundle/all",
        "released": [["app-secret/1", 1]],
        "denials": [],
    });
    let (previous, salt) = (B256::repeat_byte(0x0d), B256::repeat_byte(0x0e));
    let receipt = json!({ "index": 41, "previous": previous, "salt": salt, "decision": decision });
    let signature = sms().sign_hash(alloy_primitives::keccak256(receipt.to_string()));
    let line = json!({ "receipt": receipt, "signature": signature }).to_string();
    document(ReceiptPage { receipts: vec![ListedReceipt { index: 41, line }], next: None })
}

pub(crate) fn voucher() -> Value {
    let (sms, key) = (sms().address(), key("ECDH-ES+A256KW").thumbprint());
    let worker = signer(0x55);
    json!(SignedVoucher::sign(task(), sms, key, DEADLINE, &DOMAIN, &worker).to_header())
}

pub(crate) fn request() -> Value {
    document(rcar::request(Tee::Tdx))
}

pub(crate) fn challenge() -> Value {
    document(rcar::challenge(NONCE.to_owned(), HASH_ALGORITHM))
}

pub(crate) fn attestation() -> Value {
    let evidence = document(QuoteEvidence::new(b"the bytes of a quote"));
    document(rcar::attestation(NONCE, &key("ECDH-ES+A256KW"), evidence))
}

pub(crate) fn token() -> Value {
    document(TokenResponse { token: TOKEN.to_owned() })
}

pub(crate) fn resource() -> Value {
    json!({
        "protected": "eyJhbGciOiJFQ0RILUVTK0EyNTZLVyIsImVuYyI6IkEyNTZHQ00iLCJlcGsiOnsiY3J2IjoiUC0yNTYiLCJrdHkiOiJFQyIsIngiOiJ2Tm1qYVh1ZHMza0ZiQ3ZZVnlWeFlBVGR0UnpPWkJ2UVBRUS12a1o0V25vIiwieSI6Ik8xNG5lWjFucWRRbGhDa3RTejdpV3hlc1JOX1NHbEhtQ3U1Q2FPM0JwWXMifX0",
        "encrypted_key": "Dybf6qpBbqmPY1ah2Ig8TVd_90G-vCOzEy-fv25DeQ6a_nn2JlZdmg",
        "iv": "TiXk7UrVSTYIzsZY",
        "ciphertext": "yXFT0KZTNqiNKFAx4A",
        "tag": "PaTFSw2euN8l09PmRJewew",
    })
}

pub(crate) fn result_key() -> Value {
    let signature = Bytes::from(vec![0x77; 64]);
    document(ResultKeyRequest { task: task().0, key: signer(0x66).address(), signature })
}

pub(crate) fn certificate() -> Value {
    let signature = TASKS.certify(task(), signer(0x66).address(), &sms());
    document(ResultKeyCertificate { signature })
}
