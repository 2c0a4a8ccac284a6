//! The vault's key in a hardware security module: secrets come and go as ever, and without the module nothing does.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use sesame_client::{ClientError, owner::PushOptions};
use sesame_domain::{Order, SecretId, TaskId};
use sesame_protocol::{bundle::Bundle, status::Status};
use sesame_tests::{Build, Person, Program, SoftHsm, World, eventually, now, program};
use tokio::time::timeout;

use crate::restart::{asked, launch, released};

const TOKEN: &str = "sesame";
const VALUE: &[u8] = b"the requester's own";

/// A program beside the world's own service, which may have an HSM.
struct Story {
    world: World,
    hsm: SoftHsm,
    folder: PathBuf,
    build: Build,
}

/// Somebody who pushed a secret to the program, and a task that may have it.
struct Bought {
    owner: Person,
    secret: SecretId,
    status: Status,
    task: TaskId,
}

impl Story {
    async fn new() -> Self {
        let world = World::start().await;
        let hsm = SoftHsm::with_token(&world.folder().join("hsm"), TOKEN);
        let folder = world.folder().join("beside");
        Self { world, hsm, folder, build: Build::of("cat") }
    }

    /// How the program is started, without an HSM.
    fn plain(&self, listen: &str) -> Command {
        launch(&self.world, &self.folder, listen).command()
    }

    fn with_token(&self, listen: &str, label: &str) -> Command {
        let mut command = self.plain(listen);
        self.hsm.give(&mut command, label);
        command
    }

    fn with_hsm(&self, listen: &str) -> Command {
        self.with_token(listen, TOKEN)
    }

    /// Why it does not start.
    async fn refusal(&self, mut command: Command) -> String {
        let output = tokio::task::spawn_blocking(move || command.output().unwrap());
        let output = output.await.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        // A token that is away may come back; whatever else is wrong, a restart does not mend it, and would try the PIN again.
        let away = said.contains("no token has that label");
        assert_eq!(output.status.code(), Some(if away { 69 } else { 66 }), "{said}");
        assert!(!said.contains(SoftHsm::PIN), "the PIN is told");
        said
    }

    /// `sesame vault rotate-key` of the running program.
    async fn rotate(&self) {
        let mut command = Command::new(program());
        command.args(["vault", "rotate-key", "--data-dir"]).arg(&self.folder);
        command.arg("--deployment").arg(self.folder.with_extension("deployment.json"));
        let output = tokio::task::spawn_blocking(move || command.output().unwrap());
        let output = output.await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    async fn buy(&self, program: &Program) -> Bought {
        let (world, status) = (&self.world, program.status().await);
        let (node, sms) = (world.node.url(), (program.base(), status.identity));
        let owner = Person::new(world.node.key(3), &node, &world.deployment, sms).await;
        program.ready().await;
        let secret = owner.secret("token");
        owner.push(&secret, VALUE).await;
        let app = world.app(&world.developer).await;
        world.allow(&world.developer, app, self.build).await;
        let grants = vec![World::grant(1, "token")];
        let order = Order { sms: status.identity, grants, ..world.order(app, self.build) };
        let task = world.buy_and_begin(&order).await;
        Bought { owner, secret, status, task }
    }

    async fn released(&self, program: &Program, bought: &Bought) -> Bundle {
        released(&self.world, program, bought.status.identity, self.build, bought.task).await
    }

    async fn gives_the_secret(&self, program: &Program, bought: &Bought, version: u64) {
        let bundle = self.released(program, bought).await;
        let [secret] = bundle.secrets.as_slice() else { panic!("{bundle:?}") };
        assert_eq!((secret.version, secret.value.as_slice()), (version, VALUE));
    }
}

/// Files of key-encryption keys.
fn key_files(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder.join("keys")).unwrap().map(|file| file.unwrap().path());
    files.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("vault-")).collect()
}

#[tokio::test]
async fn a_vault_with_its_key_in_an_hsm_serves_restarts_and_rotates() {
    let story = Story::new().await;
    let program = Program::of(story.with_hsm("127.0.0.1:0"));
    let listen = program.listen();
    assert!(program.said().contains("is in the HSM's token sesame"), "{}", program.said());
    let bought = story.buy(&program).await;
    story.gives_the_secret(&program, &bought, 1).await;
    assert_eq!(story.hsm.objects().len(), 1);
    assert_eq!(key_files(&story.folder), Vec::<PathBuf>::new());
    for secret in ["cmdline", "environ"] {
        // Where there is no such folder, nobody can look there either.
        let text = fs::read(format!("/proc/{}/{secret}", program.id())).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&text).contains(SoftHsm::PIN), "the PIN is in {secret}");
    }
    program.kill();

    let program = Program::of(story.with_hsm(&listen));
    story.gives_the_secret(&program, &bought, 1).await;
    let pushing = async {
        for _ in 0..20 {
            bought.owner.push(&bought.secret, VALUE).await;
        }
    };
    tokio::join!(story.rotate(), pushing);
    story.rotate().await;
    assert_eq!(story.hsm.objects().len(), 3);
    story.gives_the_secret(&program, &bought, 21).await;
    assert!(!program.said().contains(SoftHsm::PIN), "the PIN is logged");
    program.kill();

    let program = Program::of(story.with_hsm(&listen));
    story.gives_the_secret(&program, &bought, 21).await;
    assert_eq!(key_files(&story.folder), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn without_its_token_key_or_pin_it_does_not_start() {
    let story = Story::new().await;
    let start = || story.with_hsm("127.0.0.1:0");
    story.hsm.write_pin("999111");
    let said = story.refusal(start()).await;
    assert!(said.contains("refuses the PIN in") && !said.contains("999111"), "{said}");
    assert!(story.hsm.objects().is_empty());
    story.hsm.write_pin(SoftHsm::PIN);

    let program = Program::of(start());
    program.ready().await;
    program.kill();
    let own = fs::metadata(story.hsm.pin_file()).unwrap().permissions();
    let others = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(story.hsm.pin_file(), others).unwrap();
    let said = story.refusal(start()).await;
    assert!(said.contains("chmod 600"), "{said}");
    fs::set_permissions(story.hsm.pin_file(), own).unwrap();

    story.hsm.pull_out();
    let said = story.refusal(start()).await;
    assert!(said.contains("no token has that label"), "{said}");
    story.hsm.put_in();
    story.hsm.add_token("another");
    let said = story.refusal(story.with_token("127.0.0.1:0", "another")).await;
    assert!(said.contains("is missing") && said.contains("token another"), "{said}");
    let said = story.refusal(story.plain("127.0.0.1:0")).await;
    assert!(said.contains("is missing") && said.contains("keys"), "{said}");

    let [key] = story.hsm.objects().try_into().unwrap();
    let kept = fs::read(&key).unwrap();
    fs::remove_file(&key).unwrap();
    let said = story.refusal(start()).await;
    assert!(said.contains("is missing") && said.contains("token sesame"), "{said}");
    fs::write(&key, kept).unwrap();
    Program::of(start()).ready().await;
}

#[tokio::test]
async fn while_its_token_is_gone_nothing_is_released_or_taken() {
    let story = Story::new().await;
    let program = Program::of(story.with_hsm("127.0.0.1:0"));
    let bought = story.buy(&program).await;
    story.gives_the_secret(&program, &bought, 1).await;

    story.hsm.pull_out();
    let Bought { owner, secret, status, task } = &bought;
    let problem = eventually("a push is refused", async || {
        let pushed = owner.owner.push(now(), secret, VALUE, &PushOptions::default()).await;
        match pushed {
            Err(ClientError::Problem(problem)) => Some(problem),
            Ok(_) => None,
            Err(error) => panic!("{error}"),
        }
    })
    .await;
    assert_eq!((problem.status, problem.code.as_str()), (503, "keys_unavailable"));
    assert!(!problem.detail.contains(TOKEN), "{problem:?}");
    let refused = asked(&story.world, &program, status.identity, story.build, *task).await;
    let refused = refused.unwrap_err();
    assert!(refused.passes_with_time(), "{refused}");
    program.says("no token has that label").await;

    story.hsm.put_in();
    let newest = owner.owner.show(now(), secret).await.unwrap().unwrap().version;
    story.gives_the_secret(&program, &bought, newest).await;
    owner.push(secret, VALUE).await;
    story.gives_the_secret(&program, &bought, newest + 1).await;
}

#[tokio::test]
async fn a_vault_moves_into_an_hsm_and_out_again() {
    let story = Story::new().await;
    let program = Program::of(story.plain("127.0.0.1:0"));
    let listen = program.listen();
    let bought = story.buy(&program).await;
    program.kill();

    let program = Program::of(story.with_hsm(&listen));
    let said = program.said();
    assert!(said.contains("not in the HSM's token sesame yet"), "{said}");
    story.gives_the_secret(&program, &bought, 1).await;
    story.rotate().await;
    program.kill();
    let [file] = key_files(&story.folder).try_into().unwrap();
    fs::remove_file(file).unwrap();
    let program = Program::of(story.with_hsm(&listen));
    assert!(!program.said().contains("yet"), "{}", program.said());
    story.gives_the_secret(&program, &bought, 1).await;
    program.kill();

    let mut leaving = story.with_hsm(&listen);
    leaving.arg("--leave-hsm");
    let program = Program::of(leaving);
    program.ready().await;
    story.rotate().await;
    program.kill();
    story.hsm.pull_out();
    let program = Program::of(story.plain(&listen));
    story.gives_the_secret(&program, &bought, 1).await;
}

/// What a decision rests on may be out of date by the time that a module answers.
#[tokio::test]
async fn what_a_module_gives_too_late_is_nobodys() {
    let story = Story::new().await;
    let mut command = story.with_hsm("127.0.0.1:0");
    command.args(["--max-lag-s", "4"]);
    let program = Program::of(command);
    let bought = story.buy(&program).await;
    story.gives_the_secret(&program, &bought, 1).await;

    let hung = story.hsm.hang();
    let (world, identity) = (&story.world, bought.status.identity);
    let late = async {
        // Much longer than an answer is believed for: a busy machine comes to the decision late.
        tokio::time::sleep(Duration::from_secs(8)).await;
        drop(hung);
    };
    let answer = asked(world, &program, identity, story.build, bought.task);
    let (answer, ()) = tokio::join!(answer, late);

    let refused = answer.unwrap_err();
    assert!(refused.to_string().contains("s ago, too long ago"), "{refused:?}");
    assert!(refused.passes_with_time());
    story.gives_the_secret(&program, &bought, 1).await;
}

/// A module may hang for ever. The program says that it is not ready, and ends when it is told to all the same: with an owner's, the
/// operator's and its own question in the module, and when it has not come further than to open it.
#[tokio::test]
async fn a_module_that_hangs_holds_up_no_exit() {
    let story = Story::new().await;
    let mut command = story.with_hsm("127.0.0.1:0");
    command.args(["--drain-timeout-s", "1"]);
    let mut service = Program::of(command);
    let bought = story.buy(&service).await;

    let hung = story.hsm.hang();
    let mut rotation = Command::new(program());
    rotation.args(["vault", "rotate-key", "--data-dir"]).arg(&story.folder);
    rotation.arg("--deployment").arg(story.folder.with_extension("deployment.json"));
    let rotation = tokio::task::spawn_blocking(move || rotation.output().unwrap());
    let options = PushOptions::default();
    let pushing = bought.owner.owner.push(now(), &bought.secret, VALUE, &options);
    let pushed = timeout(Duration::from_secs(8), pushing).await;
    assert!(pushed.is_err(), "{pushed:?}");
    assert!(!rotation.is_finished());

    service.signal(Signal::TERM);
    assert!(service.ended().await.success(), "{}", service.said());
    service.says("what the operator asked for did not end within 1 s").await;
    service.says("a call did not end within 10 s").await;
    assert!(!rotation.await.unwrap().status.success());

    let mut starting = story.with_hsm("127.0.0.1:0").stderr(Stdio::null()).spawn().unwrap();
    let listens = |pid: u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?;
        let caught = u64::from_str_radix(caught.trim(), 16).ok()?;
        (caught >> (Signal::TERM.as_raw() - 1) & 1 == 1).then_some(())
    };
    eventually("it listens to SIGTERM", async || listens(starting.id())).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(starting.try_wait().unwrap().is_none(), "it waits for the module");
    let pid = Pid::from_raw(starting.id().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    let ended = eventually("it ends", async || starting.try_wait().unwrap()).await;
    assert!(ended.success());

    drop(hung);
    let program = Program::of(story.with_hsm("127.0.0.1:0"));
    story.gives_the_secret(&program, &bought, 1).await;
}
