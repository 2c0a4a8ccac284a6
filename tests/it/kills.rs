//! `kill -9` while many push and ask at once, on both stores: what was acknowledged is there, nothing is there by half, and every
//! release that was answered has its receipt.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use futures::future::join_all;
use rand::Rng;
use sesame_client::{
    enclave::{EnclaveError, Guest, Session},
    owner::PushOptions,
};
use sesame_domain::{Order, Resource, SecretId, TaskId};
use sesame_protocol::{bundle::Bundle, jwe::EnclaveKey, rcar::Tee, voucher::SignedVoucher};
use sesame_receipts::verify_log;
use sesame_tests::{
    Build, Launch, Person, Postgres, Program, World, eventually, free_port, now, seeded,
};

use crate::replay::all;

const KILLS: usize = 20;
const ALL_KILLS: usize = 300;
/// Secrets that are pushed at a time.
const SECRETS: usize = 4;
/// Enclaves that ask at a time.
const ENCLAVES: u64 = 3;

/// What version `version` of the secret `place` is: long enough to be torn.
pub(crate) fn value(place: usize, version: u64) -> Vec<u8> {
    format!("secret {place} version {version} ").repeat(1000).into_bytes()
}

pub(crate) fn name(place: usize) -> String {
    format!("s{place}")
}

/// An app, and a task that grants the requester's secrets `s0`, `s1` and so on as 1, 2 and so on.
pub(crate) async fn task(world: &World, secrets: usize) -> (Build, TaskId) {
    let (build, app) = (Build::of("cat"), world.app(&world.developer).await);
    world.allow(&world.developer, app, build).await;
    world.confirmed().await;
    let grants = (0..secrets).map(|place| World::grant(index(place), &name(place))).collect();
    let order = Order { grants, ..world.order(app, build) };
    (build, world.buy_and_begin(&order).await)
}

pub(crate) fn index(place: usize) -> u32 {
    u32::try_from(place + 1).unwrap()
}

/// A fresh enclave, and the world's worker's word for it.
pub(crate) fn guest(world: &World, base: &str, task: TaskId) -> (Guest, SignedVoucher) {
    let (key, identity, signer) = (EnclaveKey::random(), world.sms.identity, world.worker.signer());
    let (thumbprint, domain) = (key.thumbprint(), world.sms.domain());
    let voucher = SignedVoucher::sign(task, identity, thumbprint, now() + 300, &domain, &signer);
    (Guest::new(base, identity, key, Tee::Sgx).unwrap(), voucher)
}

/// Attests it.
pub(crate) async fn attest<'g>(
    world: &World,
    (guest, voucher): &'g (Guest, SignedVoucher),
    build: Build,
) -> Result<Session<'g>, EnclaveError> {
    let quote = |data| Ok::<_, std::convert::Infallible>(build.quote(data, &world.root));
    guest.attest(Some(voucher), quote).await
}

/// Every secret of the bundle is whole. Gives their versions.
pub(crate) fn versions(bundle: &Bundle) -> Vec<u64> {
    let of = |place: usize| {
        let resource = Resource::RequesterSecret(index(place));
        let secret = bundle.secrets.iter().find(|secret| secret.resource == resource).unwrap();
        assert!(*secret.value == value(place, secret.version), "{resource} is torn or another's");
        secret.version
    };
    (0..bundle.secrets.len()).map(of).collect()
}

#[tokio::test]
async fn killed_under_load_nothing_is_lost_in_a_folder() {
    killed_under_load(None).await;
}

#[tokio::test]
async fn killed_under_load_nothing_is_lost_in_postgres() {
    let server = Postgres::start();
    killed_under_load(Some(server.database("vault"))).await;
}

/// A service of its own with the world's identity.
pub(crate) struct Own {
    pub(crate) folder: PathBuf,
    pub(crate) listen: String,
    pub(crate) url: Option<String>,
}

impl Own {
    /// In a folder of this name, with these of the keys in `from`.
    pub(crate) fn new(world: &World, folder: &str, from: &Path, keys: &[&str]) -> Self {
        let folder = world.folder().join(folder);
        fs::create_dir_all(folder.join("keys")).unwrap();
        for key in keys {
            fs::copy(from.join(key), folder.join("keys").join(key)).unwrap();
        }
        Self { folder, listen: format!("127.0.0.1:{}", free_port()), url: None }
    }

    pub(crate) fn command(&self, world: &World) -> Command {
        let launch = Launch {
            rpc_url: world.node.url(),
            deployment: &world.deployment,
            folder: &self.folder,
            listen: &self.listen,
            confirmations: 2,
            root: Some(world.published()),
        };
        let mut command = launch.command();
        command.args(["--rate-limit", "100000", "--rate-burst", "100000"]);
        if let Some(url) = &self.url {
            command.env("SESAME_VAULT_URL", url);
        }
        command
    }
}

async fn killed_under_load(url: Option<String>) {
    let mut random = seeded();
    let mut world = World::start().await;
    let (build, task) = task(&world, SECRETS).await;
    world.sms.stop().await;
    let keys = ["identity.key", "token.key"];
    let own = Own { url, ..Own::new(&world, "killed", &world.sms.data("keys"), &keys) };
    let identity = world.sms.identity;
    let (receipts, base) = (own.folder.join("receipts.log"), format!("http://{}", own.listen));
    let sms = (base.as_str(), identity);
    let owner = Person::new(world.node.key(3), &world.node.url(), &world.deployment, sms).await;

    let (mut acknowledged, mut answered, mut found) = ([0; SECRETS], 0, 0);
    let mut recorded = 0;
    for kill in 0..=if all() { ALL_KILLS } else { KILLS } {
        let program = Program::of(own.command(&world));
        program.ready().await;
        for (place, acknowledged) in acknowledged.iter_mut().enumerate() {
            let kept = owner.owner.show(now(), &owner.secret(&name(place))).await.unwrap();
            let kept = kept.map_or(0, |metadata| metadata.version);
            assert!(
                (*acknowledged..=*acknowledged + 1).contains(&kept),
                "{kept} of {acknowledged}"
            );
            found += kept - *acknowledged;
            *acknowledged = kept;
            if kept == 0 {
                let pushed = owner.push(&owner.secret(&name(place)), &value(place, 1)).await;
                *acknowledged = pushed.version;
            }
        }
        let guests: Vec<_> = (0..ENCLAVES).map(|_| guest(&world, &base, task)).collect();
        let mut sessions = Vec::new();
        for guest in &guests {
            sessions.push(attest(&world, guest, build).await.unwrap());
        }
        let session = &sessions[0];
        let bundle = eventually("it releases", async || session.bundle(task).await.ok()).await;
        assert_eq!(versions(&bundle), acknowledged, "what was acknowledged is released");
        if kill == if all() { ALL_KILLS } else { KILLS } {
            break;
        }

        let before = verify_log(&receipts, identity).unwrap().size();
        let pushing = acknowledged.iter().enumerate();
        let pushing = join_all(pushing.map(|(place, from)| push(&owner, place, *from)));
        let asking = join_all(sessions.iter().map(|session| ask(session, task)));
        let moment = Duration::from_millis(random.random_range(30..500));
        let killing = async {
            tokio::time::sleep(moment).await;
            tokio::task::spawn_blocking(move || program.kill()).await.unwrap();
        };
        let (last, answers, ()) = tokio::join!(pushing, asking, killing);
        acknowledged.copy_from_slice(&last);
        let answered_now: u64 = answers.iter().sum();
        let on_record = verify_log(&receipts, identity).unwrap().size() - before;
        assert!(
            on_record >= answered_now,
            "{answered_now} were answered, {on_record} have a receipt"
        );
        answered += answered_now;
        recorded += on_record;
    }
    let pushed: u64 = acknowledged.iter().sum();
    eprintln!(
        "{} kills: {pushed} versions kept, {found} of them unacknowledged and whole, {answered} releases answered, \
         {recorded} receipts, nothing lost",
        if all() { ALL_KILLS } else { KILLS }
    );
    assert!(pushed > SECRETS as u64 && answered > 0, "the kills came before any answer");
}

/// Pushes one version after the other until the service dies; gives the last that was acknowledged.
async fn push(owner: &Person, place: usize, from: u64) -> u64 {
    let (secret, mut last): (SecretId, _) = (owner.secret(&name(place)), from);
    let options = PushOptions::default();
    while let Ok(pushed) = owner.owner.push(now(), &secret, &value(place, last + 1), &options).await
    {
        assert_eq!(pushed.version, last + 1);
        last = pushed.version;
    }
    last
}

/// Asks until the service dies, and counts the answers. What is replaced in mid-request is there all the same.
async fn ask(session: &Session<'_>, task: TaskId) -> u64 {
    let mut answers = 0;
    loop {
        match session.bundle(task).await {
            Ok(bundle) => {
                versions(&bundle);
                answers += 1;
            }
            Err(error @ EnclaveError::Absent { .. }) => panic!("replaced, not removed: {error}"),
            Err(_) => return answers,
        }
    }
}
