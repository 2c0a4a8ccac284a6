//! Every decision, twice: by the vault's rule over the mirror's facts, and by the model's over its states.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use alloy_primitives::{Address, B256};
use sesame_attestation::{
    Collateral, Evidence, Policy, VerifiedEnclave, Verifier, WorkerProof,
    simulated::{Imitated, Root},
};
use sesame_domain::{Denial, EnclaveId, Facts, Resource, SecretId, TaskId};
use sesame_protocol::{
    jwe::EnclaveKey, rcar, signature::Signer, typed::Domain, voucher::SignedVoucher,
};
use sesame_vault::{
    Asked, Claim, KeySource, Location, Metadata, Plaintext, Push, Removal, Secrets, Vault,
    authorize, explain, wanted,
};
use tempfile::TempDir;

use super::{
    ENTITIES,
    model::Model,
    rule::{Deposit, Question},
};
use crate::{
    BothViews, Snapshot,
    testing::{asset, task},
};

/// Who fights about the assets.
pub(super) const OWNERS: [Address; 3] =
    [Address::repeat_byte(0xa1), Address::repeat_byte(0xa2), Address::repeat_byte(0xa3)];
pub(super) const REQUESTERS: [Address; 2] =
    [Address::repeat_byte(0xb1), Address::repeat_byte(0xb2)];
/// The service that is asked, and another.
pub(super) const SMS: [Address; 2] = [Address::repeat_byte(0xc1), Address::repeat_byte(0xc2)];
/// What the assets' content may be.
pub(super) const CONTENTS: [B256; 3] =
    [B256::repeat_byte(0xd1), B256::repeat_byte(0xd2), B256::repeat_byte(0xd3)];
/// The names of the requesters' secrets.
pub(super) const NAMES: [&str; 3] = ["a", "b", "gone"];

const CHAIN: u64 = 31337;
const NOW: u64 = 1000;
const RESOURCES: [Resource; 9] = [
    Resource::Bundle,
    Resource::AppSecret,
    Resource::RequesterSecret(1),
    Resource::RequesterSecret(2),
    Resource::RequesterSecret(9),
    Resource::ProtectedData(0),
    Resource::ProtectedData(1),
    Resource::ProtectedData(2),
    Resource::ProtectedData(3),
];

/// Enclave 1 or 2, attested.
pub(super) fn enclave(number: u8) -> &'static VerifiedEnclave {
    static ATTESTED: LazyLock<[VerifiedEnclave; 2]> = LazyLock::new(|| {
        let root = Root::make(NOW);
        let verifier = Verifier::new(Policy::insecure_trusting_simulated(root.published().clone()));
        [1, 2].map(|measurement: u8| {
            let key = EnclaveKey::random().public().clone();
            let report_data = rcar::report_data("nonce", &key);
            let document = root.evidence(Imitated::Sgx, &[measurement; 32], report_data);
            let evidence = Evidence::parse("sgx", &document).unwrap();
            verifier.verify(&evidence, &Collateral::Nothing, "nonce", key, NOW).unwrap()
        })
    });
    &ATTESTED[usize::from(number) - 1]
}

fn signer(number: u8) -> Signer {
    Signer::from_bytes(&[number; 32]).unwrap()
}

/// The address of worker 1 or 2.
pub(super) fn worker(number: u8) -> Address {
    static ADDRESSES: LazyLock<[Address; 2]> =
        LazyLock::new(|| [1, 2].map(|n| signer(n).address()));
    ADDRESSES[usize::from(number) - 1]
}

/// A proof of the worker's for a run of the task in the enclave.
fn vouched(number: u8, task: TaskId, enclave: &VerifiedEnclave) -> WorkerProof {
    let domain = Domain { chain_id: CHAIN, asset_registry: Address::ZERO };
    let key = enclave.key().thumbprint();
    let voucher = SignedVoucher::sign(task, SMS[0], key, NOW, &domain, &signer(number));
    WorkerProof::verify(&voucher, &domain, SMS[0], key, NOW).unwrap()
}

/// What owners pushed, and took out again, before these histories began.
fn shelf() -> Vec<Deposit> {
    let mut shelf: Vec<Deposit> = Vec::new();
    let mut put = |secret: SecretId, what: Option<(Address, u64, bool, B256)>| {
        let version = 1 + shelf.iter().filter(|deposit| deposit.secret == secret).count() as u64;
        let metadata = what.map(|(owner, epoch, transferable, content_digest)| Metadata {
            owner,
            epoch,
            version,
            transferable,
            content_digest,
            sealed_digest: B256::repeat_byte(0x50),
            updated_at: NOW,
            size: 6,
        });
        shelf.push(Deposit { secret, version, metadata });
    };
    let of = |byte| SecretId::Asset(asset(byte));
    let [first, second, third] = OWNERS;
    put(of(1), Some((first, 0, false, CONTENTS[0])));
    put(of(1), Some((second, 1, false, CONTENTS[1])));
    put(of(2), Some((second, 0, false, CONTENTS[0])));
    put(of(2), None);
    put(of(2), Some((third, 0, true, CONTENTS[0])));
    put(of(2), Some((first, 0, false, CONTENTS[2])));
    put(of(3), Some((third, 0, false, CONTENTS[0])));
    put(of(3), Some((first, 0, false, CONTENTS[1])));
    let named = |who, name: &str| SecretId::Requester(who, name.parse().unwrap());
    let [one, other] = REQUESTERS;
    put(named(one, "a"), Some((one, 0, false, B256::ZERO)));
    put(named(one, "b"), Some((one, 0, false, B256::ZERO)));
    put(named(one, "b"), Some((one, 0, false, B256::ZERO)));
    put(named(one, "gone"), Some((one, 0, false, B256::ZERO)));
    put(named(one, "gone"), None);
    put(named(other, "a"), Some((other, 0, false, B256::ZERO)));
    shelf
}

/// How often each answer was given, about the newest blocks and about past ones.
#[derive(Default)]
struct Seen(BTreeMap<(&'static str, bool), u64>);

/// A vault, and everybody who may ask for what is in it.
pub(super) struct Gate {
    vault: Vault,
    shelf: Vec<Deposit>,
    /// By task, worker and enclave.
    proofs: BTreeMap<(TaskId, Address, EnclaveId), WorkerProof>,
    seen: Seen,
    _folder: TempDir,
}

impl Gate {
    pub(super) fn new() -> Self {
        let (folder, shelf) = (tempfile::tempdir().unwrap(), shelf());
        let records = Location::Folder(folder.path().join("vault"));
        let keys = KeySource::Folder(folder.path().join("keys"));
        let vault = Vault::open(&records, &keys, CHAIN, Address::ZERO).unwrap();
        for Deposit { secret, version, metadata } in &shelf {
            let (secret, version) = (secret.clone(), *version);
            match metadata.clone() {
                None => vault.remove(&Removal { secret, epoch: 0, version }).unwrap(),
                Some(metadata) => {
                    let value = Plaintext::from(zeroize::Zeroizing::new(b"secret".to_vec()));
                    vault.push(Push { secret, metadata, value }).unwrap();
                }
            }
        }
        let mut proofs = BTreeMap::new();
        for (id, number) in (1..=ENTITIES).flat_map(|id| [1, 2].map(|number| (task(id), number))) {
            for enclave in [1, 2].map(enclave) {
                let proof = vouched(number, id, enclave);
                proofs.insert((id, proof.worker(), enclave.id()), proof);
            }
        }
        Self { vault, shelf, proofs, seen: Seen::default(), _folder: folder }
    }

    /// Whatever can be asked about these blocks, the answer is the model's.
    pub(super) fn check(
        &mut self,
        model: &Model,
        snapshot: &Snapshot<'_>,
        at: (u64, u64),
        now: u64,
    ) {
        for id in (1..=ENTITIES).map(task) {
            for resource in RESOURCES {
                let asked = Asked { task: id, resource, sms: SMS[0], now };
                let own = facts(model, snapshot, at, &asked, None);
                // What is wanted of the vault is said by the task, whoever asks.
                let secrets = self.vault.look_up(&wanted(resource, &own.head)).unwrap();
                self.compare(model, at, &asked, &own, &secrets, None);
                for enclave in [1, 2].map(enclave) {
                    let facts = facts(model, snapshot, at, &asked, Some(enclave.id()));
                    for worker in [1, 2].map(worker) {
                        let who = Some((worker, enclave));
                        self.compare(model, at, &asked, &facts, &secrets, who);
                    }
                }
                if own.head.task.is_none() {
                    break;
                }
            }
        }
    }

    fn compare(
        &mut self,
        model: &Model,
        at: (u64, u64),
        asked: &Asked,
        BothViews { head, confirmed }: &BothViews<Facts>,
        secrets: &Secrets,
        who: Option<(Address, &VerifiedEnclave)>,
    ) {
        let claim = who.map(|(worker, enclave)| Claim { worker, enclave: enclave.id() });
        let expected = Question { asked, claim, shelf: &self.shelf }.answered(model, at);
        let explained = explain(asked, head, confirmed, secrets, claim);
        let reasons = explained.err().map(|denials| denials.reasons().to_vec());
        let no = expected.as_ref().err().map(|no| no.iter().cloned().collect::<Vec<Denial>>());
        assert_eq!(reasons, no, "{asked:?} for {claim:?} at {at:?}");
        if let Some((worker, enclave)) = who {
            let proof = &self.proofs[&(asked.task, worker, enclave.id())];
            let answer = authorize(asked, head, confirmed, secrets, proof, enclave);
            let answer = answer.map(|release| {
                assert_eq!(release.head(), head.at.as_ref());
                assert_eq!(release.confirmed(), confirmed.at.as_ref());
                release.items().iter().map(|item| (item.resource, item.version)).collect()
            });
            let answer = answer.map_err(|no| BTreeSet::from_iter(no.reasons().iter().cloned()));
            assert_eq!(answer, expected, "{asked:?} for {claim:?} at {at:?}");
        }
        self.seen.note(asked.resource, no.as_deref(), at.0 != model.head().block.number);
    }

    /// Over so many histories every answer there is was given, about the newest blocks and about past ones.
    pub(super) fn check_that_all_was_seen(&self) {
        eprintln!("decisions compared with the model's, about the newest and about past blocks:");
        for answer in Seen::YES.into_iter().chain(Seen::NO) {
            let [newest, past] =
                [false, true].map(|past| self.seen.0.get(&(answer, past)).copied().unwrap_or(0));
            eprintln!("  {answer:<22} {newest:>12} {past:>12}");
            assert!(newest > 0, "no history came to {answer}");
            // A past block is asked about as if it were the head and confirmed.
            let never = answer == "not_yet_confirmed";
            assert_eq!(past == 0, never, "{answer} of a past block: {past}");
        }
    }
}

/// What the mirror says, which is what the model says.
fn facts(
    model: &Model,
    snapshot: &Snapshot<'_>,
    at: (u64, u64),
    asked: &Asked,
    enclave: Option<EnclaveId>,
) -> BothViews<Facts> {
    let facts = snapshot.facts(asked.task, enclave, asked.resource).unwrap();
    assert_eq!(
        facts,
        model.facts(at, asked.task, enclave, asked.resource),
        "{asked:?} of {enclave:?} at {at:?}"
    );
    facts
}

impl Seen {
    const YES: [&str; 5] =
        ["bundle", "app_secret", "requester_secret", "protected_data", "all together"];
    const NO: [&str; 20] = [
        "task_unknown",
        "task_not_started",
        "task_ended",
        "task_expired",
        "wrong_sms",
        "wrong_worker",
        "wrong_enclave",
        "asset_unknown",
        "not_whitelisted",
        "not_yet_valid",
        "authorization_expired",
        "authorization_void",
        "wrong_app",
        "wrong_requester",
        "price_not_paid",
        "max_tasks",
        "secret_not_granted",
        "grant_revoked",
        "secret_missing",
        "not_yet_confirmed",
    ];

    fn note(&mut self, resource: Resource, no: Option<&[Denial]>, past: bool) {
        let mut count = |answer| *self.0.entry((answer, past)).or_default() += 1;
        count("all together");
        let Some(no) = no else {
            return count(match resource {
                Resource::Bundle => "bundle",
                Resource::AppSecret => "app_secret",
                Resource::RequesterSecret(_) => "requester_secret",
                Resource::ProtectedData(_) => "protected_data",
            });
        };
        no.iter().for_each(|denial| count(denial.code()));
    }
}
