//! One TEE from its start to its last word.

use std::{io, time::Duration};

use sesame_domain::TaskId;
use sesame_enclave::channel::{FromHost, MAX_LINE, Step, ToHost};
use sesame_protocol::{
    results::SignedResult, signature::Signer, typed::Domain, voucher::SignedVoucher,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin},
};
use tracing::warn;

use crate::{Config, TaskError, folder::Folder, tee::Told};

/// The longest that a voucher is good for, in seconds.
const VOUCHER_LIFE: u64 = 600;

/// How long a TEE may take for its last words after the deadline.
const GRACE: Duration = Duration::from_secs(15);

/// What one launch needs.
pub(crate) struct Launch<'a> {
    pub(crate) config: &'a Config,
    pub(crate) task: TaskId,
    pub(crate) deadline: u64,
    pub(crate) folder: &'a Folder,
    /// Told of each step.
    pub(crate) progress: &'a (dyn Fn(Step) + Sync),
}

/// Starts the TEE, vouches for its one key, and waits for its result, or until the run is called off.
pub(crate) async fn launch(
    launch: &Launch<'_>,
    now: fn() -> u64,
    called_off: impl Future<Output = TaskError>,
) -> Result<SignedResult, TaskError> {
    let mut child = start(launch)?;
    let limit = Duration::from_secs(launch.deadline.saturating_sub(now())) + GRACE;
    let said = tokio::select! {
        said = tokio::time::timeout(limit, converse(launch, &mut child, now)) => said,
        error = called_off => Ok(Err(error)),
    };
    // Dropping its input tells the TEE that nobody waits any more.
    drop(child.stdin.take());
    if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
        child.kill().await.map_err(TaskError::Tee)?;
    }
    said.unwrap_or(Err(TaskError::Overdue { deadline: launch.deadline }))
}

fn start(launch: &Launch<'_>) -> Result<Child, TaskError> {
    let Config { tee, sms_identity, sms_url, .. } = launch.config;
    let log = launch.folder.new_file("launcher.log").map_err(TaskError::Folder)?;
    let told = Told {
        task: launch.task,
        sms_identity: *sms_identity,
        sms_url,
        deadline: launch.deadline,
        folder: launch.folder,
        options: &launch.config.options,
    };
    tee.command(&told)
        .stderr(log)
        // Of its own, so that an interrupt at the terminal lets running tasks end.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(TaskError::Tee)
}

async fn converse(
    launch: &Launch<'_>,
    child: &mut Child,
    now: fn() -> u64,
) -> Result<SignedResult, TaskError> {
    let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(TaskError::Tee(io::ErrorKind::BrokenPipe.into()));
    };
    let mut output = BufReader::new(output);
    let (mut after, mut key) = (None::<Step>, None);
    let result = loop {
        let mut line = Vec::new();
        let read = (&mut output).take(MAX_LINE).read_until(b'\n', &mut line).await;
        if read.map_err(TaskError::Tee)? == 0 {
            break Err(TaskError::Silent { after });
        }
        match serde_json::from_slice(&line) {
            Ok(ToHost::Vouch { enclave_key }) => {
                if *key.get_or_insert(enclave_key) != enclave_key {
                    break Err(TaskError::Protocol("a second key"));
                }
                let voucher = vouch(launch, enclave_key, now())?;
                answer(&mut input, voucher).await.map_err(TaskError::Tee)?;
            }
            Ok(ToHost::Progress(step)) => {
                (launch.progress)(step);
                after = Some(step);
            }
            Ok(ToHost::Result(result)) => break Ok(result),
            Ok(ToHost::Failed(failure)) => break Err(TaskError::Failed(failure)),
            Err(error) => {
                warn!(task.id = %launch.task, %error, "task {}: the TEE said what it may not", launch.task);
                break Err(TaskError::Protocol("a line that is none of the protocol's"));
            }
        }
    };
    child.stdin = Some(input);
    result
}

/// The worker's word for the key of the TEE that it has just started.
fn vouch(
    launch: &Launch<'_>,
    enclave_key: alloy::primitives::B256,
    now: u64,
) -> Result<SignedVoucher, TaskError> {
    let Config { account, deployment, sms_identity, .. } = launch.config;
    let signer = Signer::from_bytes(&account.to_bytes().0)
        .map_err(|_| TaskError::Protocol("the account has no key to vouch with"))?;
    let domain =
        Domain { chain_id: deployment.chain_id, asset_registry: deployment.asset_registry };
    let deadline = launch.deadline.min(now + VOUCHER_LIFE);
    Ok(SignedVoucher::sign(launch.task, *sms_identity, enclave_key, deadline, &domain, &signer))
}

async fn answer(input: &mut ChildStdin, voucher: SignedVoucher) -> io::Result<()> {
    let mut line = serde_json::to_vec(&FromHost::Voucher(voucher))?;
    line.push(b'\n');
    input.write_all(&line).await?;
    input.flush().await
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use alloy::{
        primitives::{Address, B256},
        signers::local::PrivateKeySigner,
    };
    use sesame_chain::Deployment;
    use sesame_domain::{EnclaveId, Imitated};
    use sesame_enclave::limits::Limits;
    use sesame_protocol::denial::DenialBody;

    use super::*;
    use crate::{Gramine, Oci, Runner, Simulated, Tee, run::now};

    /// Runs a TEE that is a shell script.
    async fn with_tee(
        script: &str,
        seconds: u64,
    ) -> (Config, Result<SignedResult, TaskError>, String) {
        with_tee_until(script, seconds, std::future::pending()).await
    }

    async fn with_tee_until(
        script: &str,
        seconds: u64,
        called_off: impl Future<Output = TaskError>,
    ) -> (Config, Result<SignedResult, TaskError>, String) {
        let simulated = |quoter| {
            Runner::Process(Simulated {
                imitated: Imitated::Snp,
                quoter,
                root_key: "root".into(),
                launcher: "launcher".into(),
            })
        };
        with_runner(simulated, script, seconds, called_off).await
    }

    async fn with_runner(
        runner: impl FnOnce(std::path::PathBuf) -> Runner,
        script: &str,
        seconds: u64,
        called_off: impl Future<Output = TaskError>,
    ) -> (Config, Result<SignedResult, TaskError>, String) {
        let work_dir = tempfile::tempdir().unwrap();
        let quoter = work_dir.path().join("tee");
        fs::write(&quoter, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&quoter, fs::Permissions::from_mode(0o755)).unwrap();
        let config = Config {
            rpc_url: String::new(),
            deployment: Deployment {
                chain_id: 31337,
                first_block: 0,
                asset_registry: Address::repeat_byte(1),
                enclave_whitelist: Address::repeat_byte(2),
                task_registry: Address::repeat_byte(3),
                code_hashes: None,
            },
            account: PrivateKeySigner::random(),
            sms_url: "http://127.0.0.1:1/".parse().unwrap(),
            sms_identity: Address::repeat_byte(4),
            work_dir: work_dir.path().to_owned(),
            tee: Tee { runner: runner(quoter), limits: Limits::default() },
            poll_interval: Duration::from_secs(1),
            max_parallel: 1,
            allowed: crate::Allowed::default(),
            options: sesame_enclave::HostOptions::default(),
            drain_timeout: None,
            metrics: None,
            program: std::sync::Arc::default(),
        };
        let task = TaskId(B256::repeat_byte(7));
        let folder = Folder::of(&config.work_dir, task);
        folder.renew().unwrap();
        let deadline = now() + seconds;
        let launched =
            Launch { config: &config, task, deadline, folder: &folder, progress: &|_| {} };
        let result = launch(&launched, now, called_off).await;
        let log = fs::read_to_string(folder.path().join("launcher.log")).unwrap();
        (config, result, log)
    }

    fn vouch_for(byte: &str) -> String {
        format!(
            r#"echo '{{"vouch":{{"enclaveKey":"0x{}"}}}}'; read -r voucher; echo "$voucher" >&2"#,
            byte.repeat(32)
        )
    }

    const RESULT: &str = r#"echo '{"result":{"digest":"0xDIGEST","uri":"file:///out","key":"0xKEY","enclaveSignature":"0x0102","smsSignature":"0xSIGNATURE"}}'"#;

    fn result() -> String {
        RESULT
            .replace("DIGEST", &"0a".repeat(32))
            .replace("KEY", &"0b".repeat(20))
            .replace("SIGNATURE", &"0c".repeat(65))
    }

    #[tokio::test]
    async fn the_quoting_process_is_told_what_to_imitate() {
        let (_, result, log) = with_tee(&format!("echo \"$*\" >&2\n{}", result()), 20).await;
        result.unwrap();
        assert!(log.starts_with("--tee snp --root-key root --launcher launcher "), "{log}");
    }

    /// What the host tells any launcher, after a folder's name is made the same.
    fn told(config: &Config, log: &str) -> (String, String) {
        let work_dir = config.work_dir.to_str().unwrap();
        let log = log.lines().next().unwrap().replace(work_dir, "/jobs");
        let deadline = log.split("--deadline ").nth(1).unwrap().split(' ').next().unwrap();
        let log = log.replace(deadline, "DEADLINE");
        let task = format!("0x{}", "07".repeat(32));
        let (before, after) = log.split_once(&format!("--task {task} ")).unwrap();
        (before.trim_end().to_owned(), after.replace(&task, "TASK"))
    }

    const LIMITS: &str = "--app-memory-mib 4096 --app-output-mib 1024 --app-processes 1024 \
        --max-content-bytes 17179869184 --max-input-bytes 1073741824 --input-seconds 600 \
        --prepare-seconds 3600 --allow-network false --allow-result-proxy false";

    #[tokio::test]
    async fn gramine_is_started_with_its_manifest_and_one_variable() {
        let script =
            format!("echo \"$* $SESAME_HOST_ARGS\" >&2; pwd >&2; /usr/bin/env >&2\n{}", result());
        let enclave = EnclaveId(B256::repeat_byte(9));
        let manifest = tempfile::tempdir().unwrap();
        let folder = manifest.path().to_owned();
        let gramine = |program| Runner::Gramine(Gramine { program, folder, enclave });
        let (config, result, log) = with_runner(gramine, &script, 20, std::future::pending()).await;
        result.unwrap();
        assert_eq!(config.tee.enclave_id(b"any app", Address::ZERO).unwrap(), enclave);
        let (before, after) = told(&config, &log);
        assert_eq!(before, "sesame-enclave");
        let expected = "--sms-url http://127.0.0.1:1/ --deadline DEADLINE --work-dir /jobs/TASK/tee --sandbox none";
        assert_eq!(after, format!("{expected} {LIMITS}"));
        assert_eq!(log.lines().nth(1).unwrap(), manifest.path().to_str().unwrap());
        assert!(!log.contains("CARGO"), "{log}");
    }

    #[tokio::test]
    async fn a_container_is_started_with_nothing_but_what_a_task_needs() {
        let script = [&format!("echo \"$*\" >&2\n{}", vouch_for("08")), &result()[..]].join("\n");
        let enclave = EnclaveId(B256::repeat_byte(9));
        let oci = |program| Runner::Oci(Oci { program, image: "sesame:1".into(), enclave });
        let (config, result, log) = with_runner(oci, &script, 20, std::future::pending()).await;
        result.unwrap();
        assert_eq!(config.tee.enclave_id(b"any app", Address::ZERO).unwrap(), enclave);
        let (before, after) = told(&config, &log);
        let task = format!("/jobs/0x{}", "07".repeat(32));
        let expected = format!(
            "run --rm --interactive --read-only --cap-drop=ALL --cap-add=CHOWN --cap-add=DAC_READ_SEARCH --cap-add=KILL --cap-add=SETGID \
             --cap-add=SETUID --security-opt=no-new-privileges --ulimit=core=0:0 \
             --memory=4096m --memory-swap=4096m --pids-limit=1024 --shm-size=4096m --tmpfs=/tmp:rw,nosuid,nodev,size=4096m \
             --volume=/sys/kernel/config/tsm:/sys/kernel/config/tsm --volume={task}/tee:{task}/tee --volume={task}/app:/app/main:ro \
             sesame:1 run --tee auto --app /app/main --sms-identity {}",
            config.sms_identity
        );
        assert_eq!(before, expected);
        assert!(after.ends_with(&format!("--sandbox user {LIMITS}")), "{after}");
    }

    #[tokio::test]
    async fn a_container_is_shown_what_authorizes_to_the_storage_and_an_enclave_cannot_be() {
        let script = format!("echo \"$*\" >&2\n{}", result());
        let enclave = EnclaveId(B256::repeat_byte(9));
        let oci = Runner::Oci(Oci { program: "podman".into(), image: "sesame:1".into(), enclave });
        let gramine = Runner::Gramine(Gramine {
            program: "gramine-sgx".into(),
            folder: "build".into(),
            enclave,
        });
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("authorization");
        let with = |config: &Config, runner: &Runner| {
            let mut config = config.clone();
            config.options.result_authorization =
                Some(folder.path().join(".").join("authorization"));
            config.tee.runner = runner.clone();
            config.work_dir = folder.path().to_owned();
            config.settled()
        };
        let (config, _, _) = with_tee(&script, 20).await;
        let missing = with(&config, &oci).unwrap_err();
        assert!(matches!(missing, crate::WorkerError::Authorization { .. }), "{missing}");
        fs::write(&file, "Bearer x").unwrap();
        let refused = with(&config, &gramine).unwrap_err();
        assert!(matches!(refused, crate::WorkerError::NoAuthorizationInGramine), "{refused}");
        let config = with(&config, &oci).unwrap();
        let task = Folder::of(folder.path(), TaskId::default());
        let told = Told {
            task: TaskId::default(),
            sms_identity: config.sms_identity,
            sms_url: &config.sms_url,
            deadline: 1,
            folder: &task,
            options: &config.options,
        };
        let command = format!("{:?}", config.tee.command(&told).as_std());
        let file = file.canonicalize().unwrap();
        let shown = format!("--volume={}:/run/result-authorization:ro", file.display());
        assert!(command.contains(&shown), "{command}");
        let told = "\"--result-authorization-file\" \"/run/result-authorization\"";
        assert!(command.contains(told), "{command}");
    }

    #[tokio::test]
    async fn a_tee_is_vouched_for_and_gives_its_result() {
        let script =
            [&vouch_for("08"), "echo '{\"progress\":\"attested\"}'", &vouch_for("08"), &result()]
                .join("\n");
        let (config, result, log) = with_tee(&script, 20).await;
        let expected = SignedResult {
            digest: B256::repeat_byte(0x0a),
            uri: "file:///out".into(),
            key: Address::repeat_byte(0x0b),
            enclave_signature: vec![1, 2].into(),
            sms_signature: [0x0c; 65].into(),
        };
        assert_eq!(result.unwrap(), expected);
        let said: Vec<FromHost> =
            log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(said.len(), 2, "the same key may be vouched for again");
        for FromHost::Voucher(voucher) in said {
            let domain = Domain { chain_id: 31337, asset_registry: Address::repeat_byte(1) };
            assert_eq!(voucher.recover_worker(&domain).unwrap(), config.account.address());
            assert_eq!(voucher.enclave_key, B256::repeat_byte(8));
            assert_eq!((voucher.task, voucher.sms), (B256::repeat_byte(7), config.sms_identity));
            assert!(voucher.deadline <= now() + 20);
        }
    }

    #[tokio::test]
    async fn a_voucher_is_good_for_ten_minutes_at_most() {
        let (_, result, log) =
            with_tee(&[&vouch_for("08")[..], &result()].join("\n"), 100_000).await;
        result.unwrap();
        let FromHost::Voucher(voucher) = serde_json::from_str(log.trim()).unwrap();
        assert!(voucher.deadline <= now() + VOUCHER_LIFE);
    }

    #[tokio::test]
    async fn a_second_key_is_not_vouched_for() {
        let script = [&vouch_for("08")[..], &vouch_for("09"), &result()].join("\n");
        let (_, result, log) = with_tee(&script, 20).await;
        assert!(matches!(result, Err(TaskError::Protocol(_))), "{result:?}");
        assert!(!log.contains(&"09".repeat(32)));
    }

    #[tokio::test]
    async fn a_tee_that_says_no_is_heard() {
        let script = r#"echo '{"failed":{"code":"denied","detail":"no","retryable":false,"reasons":[{"code":"grant_revoked","index":2}]}}'; exit 1"#;
        let (_, result, _) = with_tee(script, 20).await;
        let Err(error @ TaskError::Failed(_)) = result else { panic!("{result:?}") };
        assert!(!error.is_retryable());
        let TaskError::Failed(failure) = error else { unreachable!() };
        assert_eq!(failure.reasons, [DenialBody::GrantRevoked { index: 2 }]);
    }

    #[tokio::test]
    async fn noise_and_silence_are_no_results() {
        for noise in [
            "echo",
            "echo nonsense",
            "echo '{}'",
            "echo '{\"result\":{\"digest\":\"0x\",\"uri\":\"\"}}'",
            "echo '{\"evidence\":1}'",
        ] {
            let (_, result, _) = with_tee(noise, 20).await;
            assert!(matches!(result, Err(TaskError::Protocol(_))), "{noise}: {result:?}");
        }
        let silent = "echo '{\"progress\":\"released\"}'; exit 0";
        let (_, result, _) = with_tee(silent, 20).await;
        let Err(error @ TaskError::Silent { after: Some(Step::Released) }) = result else {
            panic!("{result:?}")
        };
        assert!(error.is_retryable(), "a TEE that broke down may be started again");
    }

    #[tokio::test]
    async fn a_run_that_is_called_off_is_told_and_waited_for() {
        let script = "cat >/dev/null; echo 'nobody waits any more' >&2; exit 1";
        let called_off = async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            TaskError::Stopped
        };
        let (_, result, log) = with_tee_until(script, 100, called_off).await;
        assert!(matches!(result, Err(TaskError::Stopped)), "{result:?}");
        assert!(log.contains("nobody waits any more"), "{log}");
    }

    #[tokio::test]
    async fn nothing_of_the_workers_environment_gets_in() {
        let script = format!("/usr/bin/env >&2; echo \"$@\" >&2; {}", result());
        let (config, result, log) = with_tee(&script, 20).await;
        result.unwrap();
        assert!(!log.contains("CARGO") && !log.contains("HOME="), "{log}");
        let key = config.account.to_bytes().to_string();
        assert!(log.contains("--sms-identity") && !log.contains(&key[2..]), "{log}");
    }
}
