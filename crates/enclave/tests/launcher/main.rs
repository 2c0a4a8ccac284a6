//! The launcher in the simulated TEE, as processes, against a small SMS; the test is its host.

#![expect(clippy::unwrap_used, reason = "a test may fail anywhere")]

#[path = "../processes/mod.rs"]
mod processes;
mod results;
mod sms;

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, SystemTime},
};

use age::{secrecy::ExposeSecret, x25519::Identity};
use alloy_primitives::{Address, B256, U256};
use sesame_attestation::simulated::{Imitated, Root};
use sesame_domain::{AssetId, AssetSnapshot, BlockRef, EnclaveId, Order, Resource};
use sesame_enclave::{
    channel::{Failure, FromHost, ToHost},
    output,
    simulated::load_or_create,
};
use sesame_protocol::{
    bundle::{Bundle, BundledSecret, Omitted},
    denial::DenialBody,
    evidence::QuoteEvidence,
    results::TaskResult,
    signature::{Signer, recover},
    voucher::SignedVoucher,
};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use processes::descendants;
use sms::{DOMAIN, Script, TASK, TASKS};

const PLAIN: &str = "name,age\nada,36\n";

/// A whole world for one run, to be changed before it runs.
struct World {
    folder: TempDir,
    script: Script,
    trusted: Address,
    app: PathBuf,
    /// More of the host's arguments.
    more: &'static [&'static str],
    /// Where files are as Gramine has them; without, the TEE is the simulated one.
    gramine: Option<PathBuf>,
    /// What the operator adds to the launcher's arguments.
    options: Vec<String>,
    /// The size of `/dev/shm`, if it is another than this machine's.
    memory: Option<&'static str>,
    /// The capabilities that are left to the launcher, as `setpriv` writes them; without, all that this user has.
    capabilities: Option<&'static str>,
}

impl World {
    fn new(app: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            fs::write(&path, bytes).unwrap();
            path
        };
        let (identity, owner) = (Signer::random(), Identity::generate());
        let content = age::encrypt(&owner.to_public(), PLAIN.as_bytes()).unwrap();
        let data = snapshot(&file("data", &content), &content);
        let app_file = file("app", app.as_bytes());
        let trusted = identity.address();
        let secret = |resource, value: &[u8]| BundledSecret {
            resource,
            version: 1,
            value: value.to_vec().into(),
        };
        let key = owner.to_string();
        let nine = vec![b'9'; sesame_protocol::owner::MAX_SECRET_BYTES];
        let bundle = Bundle {
            task: TASK,
            chain_id: DOMAIN.chain_id,
            task_registry: TASKS.task_registry,
            sms: trusted,
            requester: Address::ZERO,
            order: Order {
                app: AssetId(B256::repeat_byte(1)),
                enclave: EnclaveId(B256::ZERO),
                data: vec![AssetId(B256::repeat_byte(2))],
                grants: Vec::new(),
                worker: Address::ZERO,
                sms: trusted,
                beneficiary: Address::ZERO,
                deadline: now() + 30,
                currency: Address::ZERO,
                reward: U256::ZERO,
                max_cost: U256::ZERO,
                params: "  one two\tthree ".to_owned(),
            },
            app: snapshot(&app_file, app.as_bytes()),
            data: vec![data],
            secrets: vec![
                secret(Resource::AppSecret, b"app-secret"),
                secret(Resource::RequesterSecret(7), b"se\0ven"),
                secret(Resource::ProtectedData(1), key.expose_secret().as_bytes()),
            ],
            omitted: vec![Omitted::new(Resource::RequesterSecret(9), 1, &nine)],
            head: BlockRef::default(),
            confirmed: BlockRef::default(),
        };
        let root = load_or_create(&folder.path().join("root")).unwrap().published().clone();
        let alone = vec![(Resource::RequesterSecret(9), nine)];
        let (tee, refusals) = (Imitated::Sgx, Vec::new());
        let script = Script { identity, bundle, refusals, silent: false, alone, tee, root };
        fs::create_dir(folder.path().join("work")).unwrap();
        Self {
            folder,
            script,
            trusted,
            app: app_file,
            more: &[],
            gramine: None,
            options: Vec::new(),
            memory: None,
            capabilities: None,
        }
    }

    fn start(self) -> Run {
        let (folder, deadline) = (self.folder, self.script.bundle.order.deadline);
        let tee = self.script.tee;
        let url = sms::start(self.script);
        let trusted = self.trusted.to_string();
        let mut host: Vec<String> =
            ["--task", &TASK.to_string(), "--sms-url", &url, "--deadline", &deadline.to_string()]
                .map(ToOwned::to_owned)
                .to_vec();
        host.extend(["--work-dir".to_owned(), folder.path().join("work").display().to_string()]);
        host.extend(self.more.iter().map(ToString::to_string));
        host.extend(self.options);
        let mut command;
        if let Some(files) = self.gramine {
            command = Command::new(env!("CARGO_BIN_EXE_sesame-enclave"));
            command.args(["run", "--tee", "gramine", "--evidence-root"]).arg(files);
            command.arg("--app").arg(self.app).args(["--sms-identity", &trusted]);
            command.env("SESAME_HOST_ARGS", shell_words::join(&host));
        } else {
            command = quoter(self.memory, self.capabilities);
            command.args(["--tee", &tee.to_string(), "--root-key"]);
            command.arg(folder.path().join("root"));
            command.args(["--launcher", env!("CARGO_BIN_EXE_sesame-enclave"), "--app"]);
            command.arg(self.app).args(["--sms-identity", &trusted, "--"]).args(&host);
        }
        let mut child = command
            .env("HOST_SECRET", "hunter2")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take(), child.stdout.take().unwrap());
        Run { folder, child, input, output: BufReader::new(output), deadline, sms: self.trusted }
    }

    /// Runs to the end.
    fn run(self) -> (TempDir, ToHost, Option<i32>) {
        let mut run = self.start();
        let last = loop {
            match run.next() {
                ToHost::Progress(_) => {}
                other @ (ToHost::Vouch { .. } | ToHost::Result(_) | ToHost::Failed(_)) => {
                    break other;
                }
            }
        };
        let code = run.child.wait().unwrap().code();
        (run.folder, last, code)
    }

    fn fail(self) -> Failure {
        let (folder, last, code) = self.run();
        assert_eq!(code, Some(1));
        let ToHost::Failed(failure) = last else { panic!("{last:?}") };
        for file in ["stdout.txt", "stderr.txt"] {
            let text =
                fs::read_to_string(folder.path().join("work").join(file)).unwrap_or_default();
            assert!(
                !failure.detail.contains("app-secret") && !text.contains("app-secret"),
                "{text}"
            );
        }
        failure
    }
}

/// The quoting process, in a namespace of its own where `/dev/shm` is of this size, or with these capabilities and no others.
fn quoter(memory: Option<&str>, capabilities: Option<&str>) -> Command {
    let quoter = env!("CARGO_BIN_EXE_sesame-simulated-tee");
    if let Some(capabilities) = capabilities {
        let mut command = Command::new("setpriv");
        command.args(["--inh-caps=-all", &format!("--bounding-set=-all,{capabilities}"), quoter]);
        return command;
    }
    let Some(size) = memory else { return Command::new(quoter) };
    let mut command = Command::new("unshare");
    let script = format!("mount -t tmpfs -o size={size} tmpfs /dev/shm && exec \"$@\"");
    // Root stays the root that it is, who may make an app another user.
    if !rustix::process::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command.args(["--mount", "sh", "-c", &script, "sh", quoter]);
    command
}

struct Run {
    folder: TempDir,
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    deadline: u64,
    sms: Address,
}

impl Run {
    /// The launcher's next word; vouches as often as it asks.
    fn next(&mut self) -> ToHost {
        loop {
            let mut line = String::new();
            self.output.read_line(&mut line).unwrap();
            match serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}")) {
                ToHost::Vouch { enclave_key } => {
                    let worker = Signer::random();
                    let voucher = SignedVoucher::sign(
                        TASK,
                        self.sms,
                        enclave_key,
                        self.deadline,
                        &DOMAIN,
                        &worker,
                    );
                    let line = serde_json::to_string(&FromHost::Voucher(voucher)).unwrap();
                    writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
                }
                other @ (ToHost::Progress(_) | ToHost::Result(_) | ToHost::Failed(_)) => {
                    return other;
                }
            }
        }
    }
}

fn snapshot(path: &Path, content: &[u8]) -> AssetSnapshot {
    AssetSnapshot {
        uri: url::Url::from_file_path(path).unwrap().to_string(),
        digest: B256::from_slice(&Sha256::digest(content)),
        epoch: 0,
        serial: 1,
        price: U256::ZERO,
    }
}

fn now() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs()
}

const SEE: &str = r#"#!/bin/sh
printf %s "$IEXEC_APP_DEVELOPER_SECRET" > "$IEXEC_OUT/seen"
"#;

#[test]
fn every_tee_that_is_imitated_runs_an_app() {
    for tee in Imitated::ALL {
        let mut world = World::new(SEE);
        world.script.tee = tee;
        let (folder, last, code) = world.run();
        assert!(matches!(last, ToHost::Result(_)), "{tee}: {last:?}");
        assert_eq!(code, Some(0), "{tee}");
        let seen = fs::read_to_string(folder.path().join("work/out/seen")).unwrap();
        assert_eq!(seen, "app-secret", "{tee}");
    }
}

const LOOK: &str = r#"#!/bin/sh
set -eu
/usr/bin/env | sort > "$IEXEC_OUT/environment"
printf '%s\n' "$@" > "$IEXEC_OUT/arguments"
pwd > "$IEXEC_OUT/folder"
cat "$IEXEC_IN/$IEXEC_DATASET_FILENAME" > "$IEXEC_OUT/data"
cat "$IEXEC_REQUESTER_SECRET_7_FILE" > "$IEXEC_OUT/seven"
cat "$IEXEC_REQUESTER_SECRET_9_FILE" > "$IEXEC_OUT/nine"
ulimit -c > "$IEXEC_OUT/core"
echo said
"#;

#[test]
fn an_app_sees_what_the_bundle_says_and_nothing_else() {
    let (folder, last, code) = World::new(LOOK).run();
    let work = folder.path().join("work");
    let said = fs::read_to_string(work.join("stderr.txt")).unwrap_or_default();
    let ToHost::Result(result) = last else { panic!("{last:?} {said}") };
    let (digest, uri) = (result.digest, result.uri.clone());
    assert_eq!(code, Some(0));
    let out = work.join("out");
    let file = |name: &str| fs::read_to_string(out.join(name)).unwrap();
    assert_eq!(digest, output::digest(&out).unwrap());
    assert_eq!(uri, url::Url::from_file_path(out.canonicalize().unwrap()).unwrap().to_string());

    let (bundle, signature) = result.enclave_signature.split_first_chunk::<32>().unwrap();
    let signed = TaskResult {
        task: TASK.0,
        bundleDigest: B256::from(*bundle),
        resultDigest: digest,
        resultUri: uri,
    };
    let signer = recover(TASKS.signing_hash(&signed), signature.try_into().unwrap()).unwrap();
    assert_eq!(signer, result.key, "the result is signed by the key that the SMS certified");

    assert_eq!(file("arguments"), "one\ntwo\nthree\n");
    assert_eq!(file("data"), PLAIN);
    assert_eq!(file("seven"), "se\0ven");
    assert_eq!(file("nine"), "9".repeat(sesame_protocol::owner::MAX_SECRET_BYTES));
    assert_eq!(file("core"), "0\n");
    assert_eq!(fs::read_to_string(work.join("stdout.txt")).unwrap(), "said\n");

    let environment = file("environment");
    let names: Vec<_> = environment.lines().filter_map(|line| line.split('=').next()).collect();
    let expected = [
        "HOME",
        "IEXEC_APP_ADDRESS",
        "IEXEC_APP_DEVELOPER_SECRET",
        "IEXEC_APP_DEVELOPER_SECRET_1",
        "IEXEC_APP_DEVELOPER_SECRET_1_FILE",
        "IEXEC_APP_DEVELOPER_SECRET_FILE",
        "IEXEC_BOT_FIRST_INDEX",
        "IEXEC_BOT_SIZE",
        "IEXEC_BOT_TASK_INDEX",
        "IEXEC_DATASET_1_FILENAME",
        "IEXEC_DATASET_ADDRESS",
        "IEXEC_DATASET_FILENAME",
        "IEXEC_DEAL_ID",
        "IEXEC_IN",
        "IEXEC_INPUT_FILES_NUMBER",
        "IEXEC_OUT",
        "IEXEC_REQUESTER_SECRET_7_FILE",
        "IEXEC_REQUESTER_SECRET_9_FILE",
        "IEXEC_TASK_ID",
        "IEXEC_TASK_INDEX",
        "LANG",
        "PATH",
        "TMPDIR",
    ];
    let names: Vec<_> =
        names.into_iter().filter(|name| !["PWD", "OLDPWD", "SHLVL", "_"].contains(name)).collect();
    let mut sorted = expected.to_vec();
    sorted.sort_unstable();
    let mut found = names.clone();
    found.sort_unstable();
    assert_eq!(found, sorted);
    assert!(environment.contains("IEXEC_APP_DEVELOPER_SECRET_1=app-secret\n"), "{environment}");

    assert_eq!(file("folder"), "/home/app\n");
}

#[test]
fn what_passes_with_time_is_waited_for() {
    let mut world = World::new(LOOK);
    let early = DenialBody::NotYetConfirmed { block: 9, confirmed: 8 };
    world.script.refusals =
        vec![vec![DenialBody::TaskNotStarted], vec![early.clone()], vec![], vec![early]];
    assert!(matches!(world.run().1, ToHost::Result(_)));
}

#[test]
fn a_denial_is_told_with_all_its_reasons() {
    let mut world = World::new(LOOK);
    let reasons = vec![
        DenialBody::NotYetConfirmed { block: 9, confirmed: 8 },
        DenialBody::GrantRevoked { index: 7 },
        DenialBody::AuthorizationVoid { asset: B256::repeat_byte(2) },
    ];
    world.script.refusals = vec![reasons.clone()];
    let failure = world.fail();
    assert_eq!((failure.code.as_str(), failure.retryable), ("denied", false));
    assert_eq!(failure.reasons, reasons);
}

#[test]
fn patience_ends_with_the_deadline() {
    let mut world = World::new(LOOK);
    world.script.bundle.order.deadline = now() + 10;
    let early = vec![DenialBody::NotYetConfirmed { block: 9, confirmed: 8 }];
    world.script.refusals = vec![early.clone(); 100];
    let failure = world.fail();
    assert_eq!((failure.code.as_str(), failure.reasons), ("denied", early));
}

/// A bug that slow machines showed: whatever was on its way at the deadline hid why nothing had been released.
#[test]
fn a_request_cut_off_by_the_deadline_does_not_hide_the_last_reason() {
    let mut world = World::new(LOOK);
    world.script.bundle.order.deadline = now() + 10;
    let early = vec![DenialBody::NotYetConfirmed { block: 9, confirmed: 8 }];
    world.script.refusals = vec![early.clone()];
    world.script.silent = true;
    let failure = world.fail();
    assert_eq!((failure.code.as_str(), failure.reasons), ("denied", early));
}

#[test]
fn an_sms_that_never_answers_is_waited_for_until_the_deadline() {
    let mut world = World::new(LOOK);
    world.script.bundle.order.deadline = now() + 3;
    world.script.silent = true;
    let failure = world.fail();
    assert_eq!((failure.code.as_str(), failure.retryable), ("deadline_passed", false));
}

/// A buyer who keeps the launcher waiting, by an SMS that does not answer or a server that always will in a moment.
#[test]
fn what_comes_before_the_app_has_its_own_limit() {
    let mut world = World::new(LOOK);
    world.script.silent = true;
    world.more = &["--prepare-seconds", "2"];
    let failure = world.fail();
    assert_eq!((failure.code.as_str(), failure.retryable), ("prepare_limit", true));
    assert!(failure.detail.contains("within 2 s"), "{}", failure.detail);

    let base = files(b"public");
    let mut world = World::new(LOOK);
    world.script.bundle.data[0].uri = format!("{base}/always-busy");
    world.more = &["--prepare-seconds", "4"];
    let failure = world.fail();
    assert_eq!((failure.code.as_str(), failure.retryable), ("prepare_limit", true));
}

#[test]
fn another_sms_than_the_measured_one_is_not_believed() {
    let mut world = World::new(LOOK);
    world.script.identity = Signer::random();
    assert_eq!(world.fail().code, "bundle_refused");

    let mut world = World::new(LOOK);
    world.trusted = Address::repeat_byte(9);
    assert_eq!(world.fail().code, "bundle_refused");
}

/// An answer that holds one secret is signed by nobody: the host could give the app a value of its own.
#[test]
fn a_secret_other_than_the_bundle_lists_is_not_believed() {
    let mut world = World::new(LOOK);
    let bundle = &mut world.script.bundle;
    let key = bundle.secrets.pop().unwrap();
    bundle.omitted.push(Omitted::new(key.resource, key.version, &key.value));
    let own = Identity::generate().to_string().expose_secret().as_bytes().to_vec();
    world.script.alone.push((key.resource, own));
    let failure = world.fail();
    assert_eq!((failure.code.as_str(), failure.retryable), ("substituted", false));
}

#[test]
fn an_sms_that_trusts_another_root_refuses() {
    let mut world = World::new(LOOK);
    world.script.root = Root::make(now()).published().clone();
    let failure = world.fail();
    assert_eq!((failure.code.as_str(), failure.retryable), ("not_attested", false));
}

#[test]
fn altered_content_and_foreign_keys_are_refused() {
    let world = World::new(LOOK);
    let path = world.folder.path().join("data");
    let mut content = fs::read(&path).unwrap();
    *content.last_mut().unwrap() ^= 1;
    fs::write(&path, &content).unwrap();
    assert_eq!(world.fail().code, "data_altered");

    // Altered by its owner and registered so: the digest fits, the cipher's own check does not.
    let mut world = World::new(LOOK);
    let path = world.folder.path().join("data");
    fs::write(&path, &content).unwrap();
    world.script.bundle.data[0] = snapshot(&path, &content);
    assert_eq!(world.fail().code, "data_does_not_open");

    let mut world = World::new(LOOK);
    world.script.bundle.secrets[2].value =
        Identity::generate().to_string().expose_secret().as_bytes().to_vec().into();
    assert_eq!(world.fail().code, "data_does_not_open");

    let mut world = World::new(LOOK);
    world.script.bundle.secrets.pop();
    assert_eq!(world.fail().code, "bundle_refused");

    let world = World::new(LOOK);
    fs::remove_file(world.folder.path().join("data")).unwrap();
    assert_eq!(world.fail().code, "data_unavailable");
}

/// Gives the same file at every address but `/gone`, `/busy` the first time, and `/endless`. Gives its own address.
fn files(content: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        let mut busy = true;
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
            let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
            let status = match path.as_str() {
                "/gone" => "404 Not Found",
                "/busy" if std::mem::take(&mut busy) => "503 Service Unavailable",
                "/always-busy" => "503 Service Unavailable",
                _ => "200 OK",
            };
            let head = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                content.len()
            );
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(content));
        }
    });
    base
}

const READ_INPUTS: &str = r#"#!/bin/sh
set -eu
test "$IEXEC_INPUT_FILES_NUMBER" = 3
printf '%s\n' "$@" > "$IEXEC_OUT/arguments"
cat "$IEXEC_INPUT_FILES_FOLDER/$IEXEC_INPUT_FILE_NAME_1" "$IEXEC_IN/$IEXEC_INPUT_FILE_NAME_2" \
    "$IEXEC_IN/$IEXEC_INPUT_FILE_NAME_3" "$IEXEC_IN/$IEXEC_DATASET_FILENAME" > "$IEXEC_OUT/files"
"#;

/// An app and its requester as they are at iExec: params as JSON, input files, data encrypted by iExec's client.
#[test]
fn params_input_files_and_data_are_read_as_iexec_has_them() {
    let mut world = World::new(READ_INPUTS);
    let base = files(b"public\n");
    world.script.bundle.order.params = format!(
        r#"{{"iexec_args":"--name 'a b'","iexec_input_files":["{base}/one","{base}/busy","{base}/one"],"iexec_result_storage_provider":"ipfs"}}"#
    );
    let content = b"\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x40\x91\xc1\x25\x67\x80\x63\xa3\x3e\x1a\x3e\x93\x7b\xe2\x4f\xa0";
    let path = world.folder.path().join("data");
    fs::write(&path, content).unwrap();
    world.script.bundle.data[0] = snapshot(&path, content);
    world.script.bundle.secrets[2].value =
        b"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=".to_vec().into();
    let (folder, last, _) = world.run();
    assert!(matches!(last, ToHost::Result(_)), "{last:?}");
    let seen = |name| fs::read_to_string(folder.path().join("work/out").join(name)).unwrap();
    assert_eq!(seen("arguments"), "--name\na b\n");
    assert_eq!(seen("files"), "public\npublic\npublic\nhello sesame");
}

#[test]
fn what_a_task_asks_for_and_cannot_have_is_refused() {
    let base = files(b"public");
    let code = |params: &str| {
        let mut world = World::new(LOOK);
        world.script.bundle.order.params = params.to_owned();
        world.fail().code
    };
    assert_eq!(code(r#"{"iexec_result_encryption":true}"#), "params_refused");
    assert_eq!(code(r#"{"bulk_cid":"Qm"}"#), "params_refused");
    assert_eq!(code(r#"{"iexec_secrets":{"9":"nine"}}"#), "params_refused", "it is not granted");
    assert_eq!(code(r#"{"iexec_input_files":["file:///etc/hostname"]}"#), "params_refused");
    assert_eq!(code(&format!(r#"{{"iexec_input_files":["{base}/gone"]}}"#)), "input_unavailable");
}

#[test]
fn an_app_that_nobody_registered_does_not_run() {
    let world = World::new(LOOK);
    let mut app = LOOK.to_owned();
    app.push('\n');
    fs::write(&world.app, app).unwrap();
    assert_eq!(world.fail().code, "wrong_app");
}

#[test]
fn an_app_that_gives_no_result_says_how() {
    assert_eq!(World::new("#!/bin/sh\nexit 3\n").fail().code, "app_failed");
    assert_eq!(World::new("#!/nowhere/at/all\n").fail().code, "app_does_not_start");
    let link = "#!/bin/sh\nln -s /etc/passwd \"$IEXEC_OUT/users\"\n";
    assert_eq!(World::new(link).fail().code, "output_refused");
    let mut slow = World::new("#!/bin/sh\nsleep 60\n");
    slow.script.bundle.order.deadline = now() + 10;
    assert_eq!(slow.fail().code, "time_limit");
}

#[test]
fn when_the_host_goes_everything_goes() {
    let app = "#!/bin/sh\necho started > \"$IEXEC_OUT/started\"\nsleep 600\n";
    let mut run = World::new(app).start();
    while run.next() != ToHost::Progress(sesame_enclave::channel::Step::Prepared) {}
    wait_for_text(&run.folder.path().join("work/out/started"));
    let processes = descendants(run.child.id());
    assert!(processes.len() >= 4, "launcher, sandbox, app: {processes:?}");
    let memory = processes.iter().find_map(|process| scratch_of(*process)).unwrap();
    assert!(memory.exists());
    drop(run.input.take());
    let mut rest = String::new();
    run.output.read_to_string(&mut rest).unwrap();
    assert!(rest.contains(r#""code":"stopped""#), "{rest}");
    assert_eq!(run.child.wait().unwrap().code(), Some(1));
    assert!(!memory.exists());
    let gone = || processes.iter().all(|process| is_gone(*process));
    assert!((0..1500).any(|_| gone() || {
        std::thread::sleep(Duration::from_millis(20));
        false
    }));
}

/// Kills a launcher while its app runs. Gives the folder that it left, held against the launchers of other tests; none if
/// one of these was faster.
fn left_by_a_killed_launcher() -> Option<(PathBuf, fs::File)> {
    let app = "#!/bin/sh\necho started > \"$IEXEC_OUT/started\"\nsleep 600\n";
    let mut run = World::new(app).start();
    while run.next() != ToHost::Progress(sesame_enclave::channel::Step::Prepared) {}
    wait_for_text(&run.folder.path().join("work/out/started"));
    let processes = descendants(run.child.id());
    let memory = processes.iter().find_map(|process| scratch_of(*process)).unwrap();
    let folder = fs::File::open(&memory).unwrap();
    // Waits for the lock that goes with the launcher.
    let held = thread::spawn(move || folder.lock().map(|()| folder));
    for process in &processes {
        let process = i32::try_from(*process).unwrap();
        let process = rustix::process::Pid::from_raw(process).unwrap();
        let _ = rustix::process::kill_process(process, rustix::process::Signal::KILL);
    }
    run.child.wait().unwrap();
    let held = held.join().unwrap().unwrap();
    memory.exists().then_some((memory, held))
}

#[test]
fn what_was_decrypted_goes_with_the_next_run_if_the_launcher_is_killed() {
    let left = (0..5).find_map(|_| left_by_a_killed_launcher());
    let (memory, held) = left.expect("nobody was left to remove it");
    drop(held);
    let (_folder, last, _) = World::new(SEE).run();
    assert!(matches!(last, ToHost::Result(_)), "{last:?}");
    assert!(!memory.exists());
}

/// The folder in memory behind a process's `/iexec_in`.
fn scratch_of(process: u32) -> Option<PathBuf> {
    let mounts = fs::read_to_string(format!("/proc/{process}/mountinfo")).ok()?;
    let mount = mounts.lines().find(|line| line.contains(" /iexec_in "))?;
    let folder = mount.split(' ').nth(3)?.strip_prefix('/')?.strip_suffix("/in")?;
    Some(Path::new("/dev/shm").join(folder))
}

fn is_gone(process: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"));
    stat.map_or(true, |stat| stat.contains(") Z"))
}

/// Plays Gramine: what is read from `quote` is made at that moment, of what is in `user_report_data` then.
fn gramine(folder: &Path) -> PathBuf {
    let root = load_or_create(&folder.join("root")).unwrap();
    let files = folder.join("attestation");
    fs::create_dir(&files).unwrap();
    fs::write(files.join("attestation_type"), "dcap").unwrap();
    fs::write(files.join("user_report_data"), [0; 64]).unwrap();
    let quote = files.join("quote");
    let pipe = |path: &Path| {
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    };
    pipe(&quote);
    let given = files.clone();
    thread::spawn(move || {
        while let Ok(mut reader) = fs::OpenOptions::new().write(true).open(&quote) {
            pipe(&given.join("next"));
            fs::rename(given.join("next"), &quote).unwrap();
            let report_data = fs::read(given.join("user_report_data")).unwrap();
            let report_data = report_data.try_into().unwrap();
            let evidence = root.evidence(Imitated::Sgx, &[5; 32], report_data);
            let evidence: QuoteEvidence = serde_json::from_value(evidence).unwrap();
            let _ = reader.write_all(&evidence.bytes().unwrap());
        }
    });
    files
}

#[test]
fn in_gramine_the_launcher_makes_its_evidence_itself() {
    let mut world = World::new(SEE);
    world.gramine = Some(gramine(world.folder.path()));
    let (folder, last, code) = world.run();
    assert!(matches!(last, ToHost::Result(_)), "{last:?}");
    assert_eq!(code, Some(0));
    let seen = fs::read_to_string(folder.path().join("work/out/seen")).unwrap();
    assert_eq!(seen, "app-secret");
}

#[test]
fn what_gramine_cannot_attest_is_said() {
    let mut world = World::new(SEE);
    let files = gramine(world.folder.path());
    fs::write(files.join("attestation_type"), "none").unwrap();
    world.gramine = Some(files);
    let failure = world.fail();
    assert_eq!(failure.code, "no_evidence");
    assert!(failure.detail.contains("sgx.remote_attestation"), "{}", failure.detail);

    let mut world = World::new(SEE);
    let files = gramine(world.folder.path());
    fs::remove_file(files.join("user_report_data")).unwrap();
    world.gramine = Some(files);
    let failure = world.fail();
    assert_eq!((failure.code.as_str(), failure.retryable), ("no_evidence", false));
}

/// The app in an image is checked as the measured copy is.
#[test]
fn an_image_with_another_app_does_not_run() {
    let mut world = World::new(SEE);
    world.gramine = Some(gramine(world.folder.path()));
    fs::write(&world.app, format!("{SEE}\n")).unwrap();
    assert_eq!(world.fail().code, "wrong_app");
}

#[test]
fn the_network_is_there_when_the_order_asks_for_it_and_the_operator_allows_it() {
    let address = files(b"public");
    let address = address.strip_prefix("http://").unwrap();
    let (host, port) = address.split_once(':').unwrap();
    let app = format!(
        "#!/usr/bin/python3\nimport socket\nsocket.create_connection(('{host}', {port}), 10)\n"
    );
    let world = World::new(&app);
    assert_eq!(world.fail().code, "app_failed");
    let mut world = World::new(&app);
    world.script.bundle.order.params = r#"{"sesame_network":true}"#.to_owned();
    let mut refused = World::new(&app);
    refused.script.bundle.order.params = world.script.bundle.order.params.clone();
    let failure = refused.fail();
    assert_eq!((failure.code.as_str(), failure.retryable), ("params_refused", false));
    assert!(failure.detail.contains("--allow-network"), "{}", failure.detail);
    world.more = &["--allow-network", "true"];
    let (_folder, last, _) = world.run();
    assert!(matches!(last, ToHost::Result(_)), "{last:?}");
}

#[test]
fn the_hosts_limits_have_names() {
    let code = |app: &str, more: &'static [&'static str]| {
        let mut world = World::new(app);
        world.more = more;
        world.fail().code
    };
    let endless = "#!/bin/sh\nwhile :; do :; done\n";
    assert_eq!(code(endless, &["--app-cpu-seconds", "1"]), "cpu_limit");
    assert_eq!(code(endless, &["--app-seconds", "1"]), "host_time_limit");
    let large = "#!/bin/sh\ndd if=/dev/zero of=$IEXEC_OUT/large bs=1M count=2\n";
    assert_eq!(code(large, &["--app-output-mib", "1"]), "output_limit");
    assert_eq!(code(SEE, &["--app-cgroup", "/nowhere/at/all"]), "no_sandbox");
    assert_eq!(code(SEE, &["--sandbox", "off"]), "bad_arguments");
}

/// For platforms that are sandboxes themselves.
#[test]
fn without_a_sandbox_an_app_runs_as_the_launcher_does() {
    let look = LOOK.replace("pwd >", "ls -ld /dev/shm \"$HOME\" >&2; pwd >");
    let mut world = World::new(&look);
    world.more = &["--sandbox", "none"];
    let (folder, last, _) = world.run();
    assert!(matches!(last, ToHost::Result(_)), "{last:?}");
    let out = folder.path().join("work/out");
    let home = fs::read_to_string(out.join("folder")).unwrap();
    let home = Path::new(home.trim());
    assert!(home.starts_with("/dev/shm") && !home.parent().unwrap().exists(), "{home:?}");
    assert_eq!(fs::read_to_string(out.join("seven")).unwrap(), "se\0ven");
}

/// As in a container of the worker's: root, with the capabilities that the worker asks for.
#[test]
fn in_a_container_the_app_is_a_user_of_its_own() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let app = format!(
        "{SEE}id -u >$IEXEC_OUT/user\numask 077\nmkdir $IEXEC_OUT/own && echo x >$IEXEC_OUT/own/file\nsleep 0.5\n"
    );
    let mut world = World::new(&app);
    world.more = &["--sandbox", "user"];
    world.capabilities = Some("+chown,+dac_read_search,+kill,+setgid,+setuid");
    // An engine makes the folders above a mounted one for everybody.
    let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(world.folder.path(), everybody).unwrap();
    let (folder, last, code) = world.run();
    assert!(matches!(last, ToHost::Result(_)), "{last:?}");
    assert_eq!(code, Some(0));
    let seen = |name| fs::read_to_string(folder.path().join("work/out").join(name)).unwrap();
    assert_eq!((seen("seen").as_str(), seen("own/file").as_str()), ("app-secret", "x\n"));
    assert_ne!(seen("user"), "0\n");

    // Without them the app does not start as root instead.
    let mut world = World::new(&app);
    world.more = &["--sandbox", "user"];
    world.capabilities = Some("+chown");
    assert_eq!(world.fail().code, "app_does_not_start");
}

fn wait_for_text(path: &Path) -> String {
    for _ in 0..3000 {
        match fs::read_to_string(path) {
            Ok(text) if text.ends_with('\n') => return text.trim().to_owned(),
            _ => std::thread::sleep(Duration::from_millis(10)),
        }
    }
    panic!("{} did not appear", path.display());
}
