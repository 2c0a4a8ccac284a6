//! What an operator practises before it happens, as the service's runbook tells it. Its other drills are in other stories, which
//! the runbook names: a lost index, a vault in a folder that is restored, a token that cannot be opened at a start, a reorg below
//! the confirmed block.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use sesame_client::{ClientError, enclave::Guest, owner::PushOptions, public::Public};
use sesame_domain::{Order, Resource, SecretId, TaskId, Terms};
use sesame_protocol::{
    bundle::Bundle,
    jwe::EnclaveKey,
    rcar::Tee,
    status::{KeyProvider, State, VaultStore},
    voucher::SignedVoucher,
};
use sesame_sms::ServeError;
use sesame_tests::{
    Answer, Build, Person, Postgres, Program, Scene, Sms, SoftHsm, World, eventually, now, program,
};

use crate::{
    kills::{Own, attest, guest, name, task, value, versions},
    restart::launch,
};

const KEYS: [&str; 2] = ["identity.key", "token.key"];

/// A program with the world's identity, whose vault is in a database; the world's own service is stopped.
struct Shared {
    world: World,
    database: Postgres,
    own: Own,
    build: Build,
    task: TaskId,
}

impl Shared {
    async fn new() -> Self {
        let mut world = World::start().await;
        let (build, task) = task(&world, 1).await;
        world.sms.stop().await;
        let database = Postgres::start();
        let url = Some(database.database("vault"));
        let own = Own { url, ..Own::new(&world, "own", &world.sms.data("keys"), &KEYS) };
        Self { world, database, own, build, task }
    }

    async fn start(&self) -> Program {
        let program = Program::of(self.own.command(&self.world));
        program.ready().await;
        program
    }

    /// The requester, who knows the program.
    async fn owner(&self, program: &Program) -> Person {
        let World { node, deployment, sms, .. } = &self.world;
        Person::new(node.key(3), &node.url(), deployment, (program.base(), sms.identity)).await
    }

    async fn push(&self, program: &Program, version: u64) {
        let owner = self.owner(program).await;
        let kept = owner.push(&owner.secret(&name(0)), &value(0, version)).await;
        assert_eq!(kept.version, version);
    }

    async fn released(&self, program: &Program) -> Bundle {
        let guest = guest(&self.world, program.base(), self.task);
        let session = attest(&self.world, &guest, self.build).await.unwrap();
        session.bundle(self.task).await.unwrap()
    }

    /// `sesame vault <words>` on the program's vault.
    async fn vault(&self, words: &[&str]) -> Output {
        let mut command = Command::new(program());
        command.arg("vault").args(words).arg("--deployment");
        command.arg(self.own.folder.with_extension("deployment.json"));
        command.arg("--data-dir").arg(&self.own.folder);
        command.env("SESAME_VAULT_URL", self.own.url.as_ref().unwrap());
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }
}

fn copy_keys(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for key in fs::read_dir(from).unwrap().map(Result::unwrap) {
        fs::copy(key.path(), to.join(key.file_name())).unwrap();
    }
}

async fn get(program: &Program, path: &str) -> Answer {
    Answer::to(reqwest::Client::new().get(format!("{}/{path}", program.base()))).await
}

/// Waits until it refuses to be ready for this reason, and says so everywhere.
async fn not_ready(program: &Program, code: &str, metric: &str) {
    let answer = eventually(code, async || {
        let answer = get(program, "readyz").await;
        (answer.header("sesame-problem") == Some(code)).then_some(answer)
    });
    answer.await.is_problem(503, code);
    let status = program.status().await;
    assert_eq!(status.state, State::Failed);
    assert!(status.reason.unwrap().starts_with("the vault's"), "it does not say why");
    let metrics = String::from_utf8(get(program, "metrics").await.body).unwrap();
    for line in ["sesame_ready 0", &format!("{metric} 0")] {
        assert!(metrics.lines().any(|found| found == line), "no {line} in\n{metrics}");
    }
    // It lives, and has to be left alone: what it stands on comes back or not.
    get(program, "healthz").await.is_ok();
}

/// The machine is gone, with all that was on it. Its vault is in the database, its keys are in their own backup.
#[tokio::test]
async fn a_replica_that_was_lost_comes_back_with_its_keys() {
    let story = Shared::new().await;
    let first = story.start().await;
    story.push(&first, 1).await;
    let before = story.released(&first).await;
    let keys = story.world.folder().join("keys.backup");
    copy_keys(&story.own.folder.join("keys"), &keys);
    first.kill();
    fs::remove_dir_all(&story.own.folder).unwrap();

    copy_keys(&keys, &story.own.folder.join("keys"));
    let again = story.start().await;
    assert_eq!(again.status().await.identity, story.world.sms.identity);
    let after = story.released(&again).await;
    assert_eq!((versions(&after), &after.secrets), (vec![1], &before.secrets));
    story.push(&again, 2).await;
    assert_eq!(versions(&story.released(&again).await), [2]);
}

#[tokio::test]
async fn a_database_that_was_lost_is_restored_into_another() {
    let mut story = Shared::new().await;
    let first = story.start().await;
    story.push(&first, 1).await;
    let backup = story.world.folder().join("vault.backup");
    let file = backup.to_str().unwrap();
    let taken = story.vault(&["backup", "--out", file]).await;
    assert!(taken.status.success(), "{taken:?}");
    story.push(&first, 2).await;
    first.kill();

    // The database is lost, and there is an empty one in its place.
    story.own.url = Some(story.database.database("again"));
    let restored = story.vault(&["restore", file]).await;
    assert!(restored.status.success(), "{restored:?}");
    let again = story.start().await;
    assert_eq!(versions(&story.released(&again).await), [1]);
    // What was pushed after the backup has to be pushed again.
    story.push(&again, 2).await;
    assert_eq!(versions(&story.released(&again).await), [2]);
}

#[tokio::test]
async fn without_its_database_it_is_not_ready_until_that_is_back() {
    let mut story = Shared::new().await;
    let program = story.start().await;
    story.push(&program, 1).await;
    assert_eq!(program.status().await.vault_store, Some(VaultStore::Postgres));

    story.database.kill();
    not_ready(&program, "vault_unavailable", "sesame_vault_available").await;
    program.says("the vault's store fails: not ready").await;

    story.database.start_again();
    program.ready().await;
    get(&program, "readyz").await.is_ok();
    assert_eq!(versions(&story.released(&program).await), [1]);
    program.says("the vault's store answers again").await;
}

#[tokio::test]
async fn without_its_hsm_it_is_not_ready_until_that_is_back() {
    let world = World::start().await;
    let hsm = SoftHsm::with_token(&world.folder().join("hsm"), "sesame");
    let folder = world.folder().join("beside");
    let mut command = launch(&world, &folder, "127.0.0.1:0").command();
    hsm.give(&mut command, "sesame");
    let program = Program::of(command);
    program.ready().await;
    assert_eq!(program.status().await.key_provider, Some(KeyProvider::Pkcs11));

    hsm.pull_out();
    not_ready(&program, "keys_unavailable", "sesame_vault_key_available").await;
    program.says("the vault's key fails: not ready").await;
    assert!(!program.said().contains(SoftHsm::PIN), "the PIN is told");

    hsm.put_in();
    program.ready().await;
    get(&program, "readyz").await.is_ok();
}

/// Whoever has the identity's key is this SMS to everybody who pinned it. So nobody pins it any more: a service of another
/// identity takes its place, with nothing of the old vault.
#[tokio::test]
async fn an_identity_that_was_stolen_is_given_up() {
    let mut world = World::start().await;
    let scene = Scene::set(&world).await;
    scene.run(&world).await;
    let stolen = world.sms.identity;

    // The vault belongs to the old identity and goes with it.
    world.sms.stop().await;
    fs::rename(world.sms.data("keys/identity.key"), world.folder().join("stolen.key")).unwrap();
    let refused = Sms::refusal(world.sms.config.clone()).await;
    assert!(matches!(refused, ServeError::Keys(_)), "{refused:?}");
    let mut config = world.sms.config.clone();
    config.data_dir = world.folder().join("anew");
    let sms = Sms::start(config).await;
    sms.ready().await;
    assert_ne!(sms.identity, stolen);

    // Who pinned the old one seals nothing to the new one.
    let (url, secret) = (world.node.url(), SecretId::Asset(scene.app));
    let at = |identity| (sms.base(), identity);
    let careless = Person::new(world.node.key(0), &url, &world.deployment, at(stolen)).await;
    let pushed = careless.owner.push(now(), &secret, b"x", &PushOptions::default()).await;
    assert!(matches!(pushed, Err(ClientError::Keys(_))), "{pushed:?}");
    // Orders of before name the old one, and the new one refuses them.
    let public = Public::new(sms.base()).unwrap();
    let explained = eventually("it explains", async || {
        let question = sesame_client::public::Question { task: scene.task, ..Default::default() };
        public.explain(&question).await.ok()
    });
    let codes = sesame_tests::codes_of(&explained.await.denials);
    assert!(codes.contains(&"wrong_sms".to_owned()), "{codes:?}");

    // The owner tells the chain that only the new one may have it, and pushes again.
    let owner = Person::new(world.node.key(0), &url, &world.deployment, at(sms.identity)).await;
    let terms = Terms { sms: sms.identity, ..Terms::default() };
    world.allow_on(&owner, scene.app, scene.build.id(), &terms).await;
    assert_eq!(owner.push(&secret, b"another value").await.version, 1);
    let old = world.requester.chain.purchase(&world.order(scene.app, scene.build)).await;
    assert!(old.is_err(), "the contract takes an order for the old one: {old:?}");
    let order = Order { sms: sms.identity, ..world.order(scene.app, scene.build) };
    let task = world.buy(&order).await;
    world.begin(task).await;
    world.node.mine(world.confirmations()).await;
    let head = world.node.head().await.number;
    eventually("the new one follows", async || {
        sms.status().await.head.filter(|block| block.number >= head)
    })
    .await;
    let released = eventually("the new one releases", async || {
        app_secret(&world, &sms, scene.build, task).await
    });
    assert_eq!(released.await, b"another value");
}

/// The app's secret, as a fresh enclave gets it from this service.
async fn app_secret(world: &World, sms: &Sms, build: Build, task: TaskId) -> Option<Vec<u8>> {
    let key = EnclaveKey::random();
    let (thumbprint, signer, domain) = (key.thumbprint(), world.worker.signer(), sms.domain());
    let guest = Guest::new(sms.base(), sms.identity, key, Tee::Sgx).unwrap();
    let until = now() + 300;
    let voucher = SignedVoucher::sign(task, sms.identity, thumbprint, until, &domain, &signer);
    let quote = |data| Ok::<_, std::convert::Infallible>(build.quote(data, &world.root));
    let session = guest.attest(Some(&voucher), quote).await.unwrap();
    match session.resource(task, Resource::AppSecret).await {
        Ok(secret) => Some(secret.to_vec()),
        Err(error) if error.passes_with_time() => None,
        Err(error) => panic!("{error}"),
    }
}
