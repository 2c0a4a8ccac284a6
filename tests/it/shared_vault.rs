//! Three services on one database, behind nginx, are one service: whichever answers, whichever dies, and when the database dies.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fmt, fs,
    time::{Duration, Instant},
};

use futures::future::join_all;
use reqwest::Method;
use sesame_client::{ClientError, enclave::EnclaveError, owner::PushOptions};
use sesame_domain::{SecretId, TaskId};
use sesame_tests::{
    Answer, Balancer, Build, Person, Postgres, Program, World, eventually, now, seeded,
};

use crate::{
    kills::{Own, attest, guest, name, task, value, versions},
    replay::all,
};

const REPLICAS: usize = 3;
/// Secrets that are each pushed by one owner's device.
const SECRETS: usize = 3;
const ENCLAVES: usize = 3;
/// Devices that push one and the same secret, each through a replica of its own.
const CONTENDERS: usize = REPLICAS;
/// How long a replica is left alone before the next is killed.
const CALM: Duration = Duration::from_secs(2);

struct Fleet {
    replicas: Vec<RefCell<Option<Program>>>,
    places: Vec<Own>,
    balancer: Balancer,
    world: World,
    database: RefCell<Postgres>,
    build: Build,
    task: TaskId,
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for replica in self.replicas.iter().filter_map(|replica| replica.try_borrow().ok()) {
                let said = replica.as_ref().map(Program::said).unwrap_or_default();
                let errors = said.lines().filter(|line| line.contains("ERROR"));
                errors.for_each(|line| eprintln!("a replica said: {line}"));
            }
        }
    }
}

impl Fleet {
    async fn start() -> Self {
        let mut world = World::start().await;
        let (build, task) = task(&world, SECRETS).await;
        world.sms.stop().await;
        let database = Postgres::start();
        let url = database.database("vault");
        let (mut places, mut replicas) = (Vec::<Own>::new(), Vec::new());
        for number in 0..REPLICAS {
            let (from, keys) = match places.first() {
                None => (world.sms.data("keys"), vec!["identity.key".into(), "token.key".into()]),
                Some(first) => (first.folder.join("keys"), shared_keys(first)),
            };
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            let own = Own::new(&world, &format!("replica-{number}"), &from, &keys);
            let own = Own { url: Some(url.clone()), ..own };
            replicas.push(Program::of(own.command(&world)));
            places.push(own);
        }
        let addresses: Vec<_> = places.iter().map(|own| own.listen.clone()).collect();
        let folder = world.folder().join("nginx");
        fs::create_dir_all(&folder).unwrap();
        let balancer = Balancer::start(&folder, &addresses);
        let database = RefCell::new(database);
        for replica in &replicas {
            replica.ready().await;
        }
        let replicas = replicas.into_iter().map(|replica| RefCell::new(Some(replica))).collect();
        Self { replicas, places, balancer, world, database, build, task }
    }

    fn base(&self, replica: usize) -> String {
        format!("http://{}", self.places[replica].listen)
    }

    /// The requester, who knows the service at this base.
    async fn owner(&self, base: &str) -> Person {
        let World { node, deployment, sms, .. } = &self.world;
        Person::new(node.key(3), &node.url(), deployment, (base, sms.identity)).await
    }

    /// `kill -9`, and up again. It waits for threads, so that everything else goes on.
    async fn kill(&self, replica: usize) {
        let program = self.replicas[replica].borrow_mut().take().unwrap();
        let command = self.places[replica].command(&self.world);
        let again = tokio::task::spawn_blocking(move || {
            program.kill();
            Program::of(command)
        });
        let again = again.await.unwrap();
        again.ready().await;
        *self.replicas[replica].borrow_mut() = Some(again);
    }
}

/// What every replica has to have.
fn shared_keys(own: &Own) -> Vec<String> {
    let files = fs::read_dir(own.folder.join("keys")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name != "receipts.key").collect()
}

/// What came of a campaign.
#[derive(Default)]
struct Tally {
    /// The last version of each secret that its owner knows to be kept.
    known: Vec<Cell<u64>>,
    /// Who won each version of the secret that several push.
    common: RefCell<BTreeMap<u64, usize>>,
    pushed: Cell<u64>,
    conflicts: Cell<u64>,
    released: Cell<u64>,
    /// Refused for a moment, or the connection died.
    retried: RefCell<BTreeMap<String, u64>>,
    kills: Cell<u64>,
    /// Nobody begins anything any more.
    over: Cell<bool>,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (pushed, conflicts, kills) =
            (self.pushed.get(), self.conflicts.get(), self.kills.get());
        write!(
            f,
            "{kills} kills: {pushed} pushes acknowledged, {conflicts} lost the race for their version, {} bundles released; \
             wrong answers 0, lost writes 0; tried again: {:?}",
            self.released.get(),
            self.retried.borrow()
        )
    }
}

fn add(count: &Cell<u64>) {
    count.set(count.get() + 1);
}

impl Tally {
    fn new() -> Self {
        Self { known: (0..SECRETS).map(|_| Cell::new(0)).collect(), ..Self::default() }
    }

    /// Lets everybody work for so long, and on where too little was done by then.
    async fn work(&self, long: Duration) {
        tokio::time::sleep(long).await;
        eventually("enough is done", async || {
            (self.pushed.get() > 10 && self.released.get() > 10).then_some(())
        })
        .await;
        self.over.set(true);
    }

    fn retry(&self, why: &str) {
        *self.retried.borrow_mut().entry(why.to_owned()).or_default() += 1;
    }

    /// Counts what may be tried again; anything else is a wrong answer.
    #[expect(clippy::wildcard_enum_match_arm, reason = "every other error is a wrong answer")]
    fn refused(&self, error: &ClientError) {
        match error {
            ClientError::Transport(_) => self.retry("no answer"),
            ClientError::Status(status @ (502..=504)) => self.retry(&status.to_string()),
            ClientError::Problem(problem) if matches!(problem.status, 502..=504) => {
                self.retry(&problem.code);
            }
            // Its own push came through, and the answer did not.
            ClientError::Problem(problem) if problem.code == "replayed" => self.retry("replayed"),
            ClientError::Problem(problem) if problem.code == "version_conflict" => {
                self.retry("version_conflict");
            }
            _ => panic!("a wrong answer: {error}"),
        }
    }
}

/// Which version the vault has; asked until it is told.
async fn kept(owner: &Person, secret: &SecretId, tally: &Tally) -> u64 {
    eventually("the version is told", async || match owner.owner.show(now(), secret).await {
        Ok(shown) => Some(shown.map_or(0, |metadata| metadata.version)),
        Err(error) => {
            tally.refused(&error);
            None
        }
    })
    .await
}

/// Pushes one version after the other, until it is over.
async fn push_alone(owner: &Person, place: usize, tally: &Tally) {
    let (secret, known) = (owner.secret(&name(place)), &tally.known[place]);
    while !tally.over.get() {
        let next = known.get() + 1;
        let value = value(place, next);
        match owner.owner.push(now(), &secret, &value, &PushOptions::default()).await {
            Ok(pushed) => {
                assert_eq!(pushed.version, next, "a version came twice or was lost");
                add(&tally.pushed);
                known.set(next);
            }
            Err(error) => {
                tally.refused(&error);
                let kept = kept(owner, &secret, tally).await;
                assert!((next - 1..=next).contains(&kept), "{kept} is kept, {next} was pushed");
                known.set(kept);
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Pushes the secret that all contenders push.
async fn contend(owner: &Person, number: usize, tally: &Tally) {
    let secret = owner.secret("common");
    while !tally.over.get() {
        let value = vec![u8::try_from(number).unwrap(); 100];
        match owner.owner.push(now(), &secret, &value, &PushOptions::default()).await {
            Ok(pushed) => {
                let before = tally.common.borrow_mut().insert(pushed.version, number);
                assert_eq!(before, None, "version {} was acknowledged twice", pushed.version);
                add(&tally.pushed);
            }
            Err(ClientError::Problem(problem)) if problem.code == "version_conflict" => {
                add(&tally.conflicts);
            }
            Err(error) => tally.refused(&error),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Asks for the bundle, attested anew where that is needed, until it is over.
async fn ask(fleet: &Fleet, tally: &Tally) {
    let guest = guest(&fleet.world, &fleet.balancer.base(), fleet.task);
    while !tally.over.get() {
        let session = match attest(&fleet.world, &guest, fleet.build).await {
            Ok(session) => session,
            Err(error) => {
                may_pass(&error, tally);
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        while !tally.over.get() {
            let known: Vec<_> = tally.known.iter().map(Cell::get).collect();
            match session.bundle(fleet.task).await {
                Ok(bundle) => {
                    let released = versions(&bundle);
                    let old = released.iter().zip(&known).any(|(released, known)| released < known);
                    assert!(!old, "an old answer: {released:?}, {known:?} were acknowledged");
                    add(&tally.released);
                }
                Err(EnclaveError::AttestAgain { .. }) => break,
                Err(error) => may_pass(&error, tally),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "every other error is a wrong answer")]
fn may_pass(error: &EnclaveError, tally: &Tally) {
    match error {
        EnclaveError::Transport(_) => tally.retry("no answer"),
        // It is behind, or was so long at its decision that it is not believed any more.
        EnclaveError::Unavailable { detail, .. }
            if detail.contains("index") || detail.contains("too long ago") =>
        {
            tally.retry("index");
        }
        EnclaveError::Unavailable { detail, .. } => tally.retry(detail),
        EnclaveError::Refused { status: status @ (502 | 504), .. } => {
            tally.retry(&status.to_string())
        }
        _ => panic!("a wrong answer: {error}"),
    }
}

/// Everybody at work while `trouble` is made; then all that was acknowledged is there, and once.
/// Gives why something had to be tried again.
async fn campaign(
    fleet: &Fleet,
    long: Duration,
    trouble: impl Future<Output = u64>,
) -> Vec<String> {
    let tally = Tally::new();
    let owner = fleet.owner(&fleet.balancer.base()).await;
    for place in 0..SECRETS {
        owner.push(&owner.secret(&name(place)), &value(place, 1)).await;
        tally.known[place].set(1);
    }
    let mut contenders = Vec::new();
    for replica in 0..CONTENDERS {
        contenders.push(fleet.owner(&fleet.base(replica)).await);
    }
    let (_, _, _, (), kills) = tokio::join!(
        join_all((0..SECRETS).map(|place| push_alone(&owner, place, &tally))),
        join_all(contenders.iter().enumerate().map(|(number, one)| contend(one, number, &tally))),
        join_all((0..ENCLAVES).map(|_| ask(fleet, &tally))),
        tally.work(long),
        trouble,
    );
    tally.kills.set(kills);

    // All is quiet: every replica says the same, and that is what was acknowledged.
    let guest = guest(&fleet.world, &fleet.balancer.base(), fleet.task);
    let session = attest(&fleet.world, &guest, fleet.build).await.unwrap();
    let bundle = eventually("it releases", async || session.bundle(fleet.task).await.ok()).await;
    let known: Vec<_> = tally.known.iter().map(Cell::get).collect();
    assert_eq!(versions(&bundle), known);
    for replica in 0..REPLICAS {
        let there = fleet.owner(&fleet.base(replica)).await;
        for (place, known) in known.iter().enumerate() {
            assert_eq!(kept(&there, &there.secret(&name(place)), &tally).await, *known);
        }
        let common = kept(&there, &there.secret("common"), &tally).await;
        let acknowledged = tally.common.borrow().keys().last().copied().unwrap_or_default();
        assert!(common >= acknowledged, "{acknowledged} of the common secret is lost");
    }
    let database = fleet.database.borrow();
    let rows =
        database.query_in("vault", "SELECT count(*), count(DISTINCT secret) FROM vault_records");
    assert_eq!(rows.unwrap(), "4|4", "one version of each of four secrets");
    eprintln!("{tally}");
    tally.retried.into_inner().into_keys().collect()
}

/// What a client meets where a replica died, or is not back yet, and nothing else is wrong.
const OF_THE_DEAD: [&str; 10] = [
    "no answer",
    "502",
    // To a `HEAD`, whose answer has no body to say more.
    "503",
    "504",
    "replayed",
    "version_conflict",
    "index",
    "index_starting",
    "index_backfilling",
    "index_stale",
];

#[tokio::test]
async fn replicas_die_and_nobody_is_answered_wrong() {
    let fleet = Fleet::start().await;
    let long = Duration::from_secs(if all() { 120 } else { 8 });
    let retried = campaign(&fleet, long, async {
        let (mut kills, until) = (0, Instant::now() + long);
        while Instant::now() < until {
            fleet.kill(kills % REPLICAS).await;
            kills += 1;
            tokio::time::sleep(CALM).await;
        }
        kills as u64
    })
    .await;
    let others: Vec<_> =
        retried.iter().filter(|why| !OF_THE_DEAD.contains(&why.as_str())).collect();
    assert!(others.is_empty(), "a replica that lived was at a loss: {others:?}");
}

#[tokio::test]
async fn the_database_dies_and_nothing_is_lost() {
    let fleet = Fleet::start().await;
    let mut random = seeded();
    let rounds = if all() { 12 } else { 2 };
    campaign(&fleet, CALM * (2 * rounds + 1), async {
        for _ in 0..rounds {
            tokio::time::sleep(CALM / 2).await;
            fleet.database.borrow().kill_a_backend();
            let moment = rand::Rng::random_range(&mut random, 0..1000);
            tokio::time::sleep(CALM / 2 + Duration::from_millis(moment)).await;
            fleet.database.borrow_mut().kill();
            says_so(&fleet).await;
            fleet.database.borrow_mut().start_again();
        }
        u64::from(2 * rounds)
    })
    .await;
}

/// Without its database a replica refuses with a reason, and tells a stranger no more than that.
async fn says_so(fleet: &Fleet) {
    let keys = format!("{}/v1/tasks/{}/explain", fleet.base(0), fleet.task);
    let client = reqwest::Client::new();
    // A process of the database that has not noticed yet still serves.
    let answer = eventually("it misses its database", async || {
        let answer = Answer::to(client.request(Method::GET, &keys)).await;
        (answer.status != 200).then_some(answer)
    });
    let answer = answer.await;
    answer.is_problem(503, "vault_unavailable");
    let said = String::from_utf8(answer.body).unwrap();
    assert!(!said.contains("postgres") && !said.contains("owl"), "{said}");
    let log = eventually("its log says so", async || {
        let log = fleet.replicas[0].borrow().as_ref().unwrap().said();
        log.contains("the vault's database fails").then_some(log)
    });
    let log = log.await;
    assert!(!log.contains("the owl is not"), "{log}");
}

/// A service of another identity, or without the keys that the vault needs, is no replica.
#[tokio::test]
async fn a_replica_without_the_shared_keys_is_refused() {
    let fleet = Fleet::start().await;
    let url = fleet.places[0].url.clone();
    let from = fleet.places[0].folder.join("keys");
    let refusal = async |folder: &str, keys: &[&str]| {
        let own = Own { url: url.clone(), ..Own::new(&fleet.world, folder, &from, keys) };
        let mut command = own.command(&fleet.world);
        let ended = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        assert!(!ended.status.success());
        String::from_utf8(ended.stderr).unwrap()
    };
    let said = refusal("keyless", &[]).await;
    assert!(said.contains("restore them from your backup"), "{said}");
    let said = refusal("without-vault-key", &["identity.key", "token.key"]).await;
    assert!(said.contains("is missing: put it back at"), "{said}");
    let all = shared_keys(&fleet.places[0]);
    let vault: Vec<_> =
        all.iter().map(String::as_str).filter(|key| key.starts_with("vault")).collect();
    fs::copy(from.join("token.key"), from.join("stranger.key")).unwrap();
    let folder = fleet.world.folder().join("stranger");
    fs::create_dir_all(folder.join("keys")).unwrap();
    fs::copy(from.join("token.key"), folder.join("keys/identity.key")).unwrap();
    let keys = [vault.as_slice(), &["token.key"]].concat();
    let said = refusal("stranger", &keys).await;
    assert!(said.contains("this vault belongs to the SMS"), "{said}");
}

/// The URL comes from a file of one's own, or from the environment; whoever may read neither learns nothing of it.
#[tokio::test]
async fn a_url_that_others_can_read_or_that_is_none_is_refused() {
    use std::os::unix::fs::PermissionsExt;

    let mut world = World::start().await;
    world.sms.stop().await;
    let own = Own::new(&world, "refused", &world.sms.data("keys"), &["identity.key", "token.key"]);
    let file = world.folder().join("url");
    fs::write(&file, "postgres://me:the%20owl@127.0.0.1:1/vault").unwrap();
    let refusal = async |mode: u32, url: Option<&str>| {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let mut command = own.command(&world);
        match url {
            None => command.arg("--vault-url-file").arg(&file),
            Some(url) => command.env("SESAME_VAULT_URL", url),
        };
        let ended = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        assert!(!ended.status.success());
        let said = String::from_utf8(ended.stderr).unwrap();
        assert!(!said.contains("owl"), "{said}");
        said
    };
    assert!(refusal(0o644, None).await.contains("chmod 600"));
    assert!(refusal(0o600, None).await.contains("database does not answer"));
    assert!(refusal(0o600, Some("mysql://me:owl@host/vault")).await.contains("is none"));
}
