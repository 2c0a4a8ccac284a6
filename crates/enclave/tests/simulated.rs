//! The simulated TEE as a process, with a small launcher of the test's own.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail anywhere")]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use alloy_primitives::{Address, hex};
use serde_json::{Value, json};
use sesame_attestation::{
    AttestationError, Collateral, Evidence, Policy, Verifier,
    simulated::{Imitated, Published, Root, enclave_id_of, measure},
};
use sesame_domain::EnclaveId;
use sesame_enclave::simulated::public_folder;
use sesame_protocol::{evidence::QuoteEvidence, jwe::EnclaveKey, jwk::Jwk, rcar};
use tempfile::TempDir;

/// Asks for a quote, tells the host what came back, then says what it sees and echoes one line of the host's.
const LAUNCHER: &str = r#"#!/bin/sh
echo '{"quote":{"reportData":"0xREPORT"}}'
read -r answer
echo "$answer"
/usr/bin/env
echo "args: $*"
/bin/cat "/proc/self/fd/$7"
read -r line
echo "heard: $line"
"#;

const NONCE: &str = "bm9uY2U";
const SMS: Address = Address::repeat_byte(0xab);

struct Tee {
    imitated: Imitated,
    key: Jwk,
    folder: TempDir,
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Tee {
    fn start(launcher: &str, app: &str, sms: Address) -> Self {
        Self::start_as(Imitated::Sgx, launcher, app, sms)
    }

    /// The launcher asks for the quote of a fresh key.
    fn start_as(imitated: Imitated, launcher: &str, app: &str, sms: Address) -> Self {
        let key = EnclaveKey::random().public().clone();
        let report = hex::encode(rcar::report_data(NONCE, &key));
        let launcher = &launcher.replace("REPORT", &report);
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| -> PathBuf {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let mut child = Command::new(env!("CARGO_BIN_EXE_sesame-simulated-tee"))
            .args(["--tee", &imitated.to_string(), "--root-key"])
            .arg(folder.path().join("root"))
            .arg("--launcher")
            .arg(file("launcher", launcher))
            .arg("--app")
            .arg(file("app", app))
            .args(["--sms-identity", &sms.to_string(), "--", "--task", "7"])
            .env("HOST_SECRET", "hunter2")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { imitated, key, folder, child, input, output }
    }

    /// The measurement of the launcher that runs.
    fn measured(&self, app: &str) -> [u8; 32] {
        measure(&fs::read(self.folder.path().join("launcher")).unwrap(), app.as_bytes(), SMS)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn say(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    fn root(&self) -> Published {
        Published::read(&public_folder(&self.folder.path().join("root"))).unwrap()
    }

    /// What the evidence in a line of the launcher's proves under its own root.
    fn proven(&self, line: &str) -> EnclaveId {
        self.verify(line, self.root(), NONCE).unwrap()
    }

    fn verify(
        &self,
        line: &str,
        root: Published,
        nonce: &str,
    ) -> Result<EnclaveId, AttestationError> {
        let document: Value = serde_json::from_str(line).unwrap();
        let evidence = Evidence::parse(&self.imitated.to_string(), &document["evidence"])?;
        let verifier = Verifier::new(Policy::insecure_trusting_simulated(root));
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
        let key = self.key.clone();
        Ok(verifier.verify(&evidence, &Collateral::Nothing, nonce, key, now)?.id())
    }

    fn end(mut self) -> (Vec<String>, Option<i32>) {
        drop(self.input.take());
        let rest = self.output.by_ref().lines().map(Result::unwrap).collect();
        (rest, self.child.wait().unwrap().code())
    }
}

fn voucher() -> Value {
    json!({"voucher": {
        "task": format!("0x{}", "07".repeat(32)),
        "sms": SMS,
        "enclaveKey": format!("0x{}", "08".repeat(32)),
        "deadline": 9,
        "signature": format!("0x{}", "09".repeat(65)),
    }})
}

#[test]
fn the_child_is_quoted_with_what_runs() {
    for imitated in Imitated::ALL {
        let mut tee = Tee::start_as(imitated, LAUNCHER, "the app", SMS);
        let line = tee.line();
        assert_eq!(tee.proven(&line), enclave_id_of(imitated, &tee.measured("the app")));
        let refused = tee.verify(&line, tee.root(), "other").unwrap_err();
        assert!(matches!(refused, AttestationError::WrongReportData), "{refused}");
        let other = Root::make(1).published().clone();
        let refused = tee.verify(&line, other, NONCE).unwrap_err();
        assert!(!matches!(refused, AttestationError::WrongReportData), "{refused}");
    }
}

#[test]
fn one_byte_more_is_another_enclave() {
    // The report data is part of this launcher, so it has to be the same each time: the quote is read, not verified.
    let launcher = &LAUNCHER.replace("REPORT", &"5a".repeat(64));
    let quoted = |launcher: &str, app: &str, sms: Address| {
        let mut tee = Tee::start(launcher, app, sms);
        let document: Value = serde_json::from_str(&tee.line()).unwrap();
        let evidence: QuoteEvidence = serde_json::from_value(document["evidence"].clone()).unwrap();
        evidence.bytes().unwrap()[48 + 64..48 + 96].to_vec()
    };
    let base = quoted(launcher, "the app", SMS);
    assert_eq!(base, measure(launcher.as_bytes(), b"the app", SMS));
    assert_eq!(quoted(launcher, "the app", SMS), base);
    assert_ne!(quoted(launcher, "the apq", SMS), base);
    assert_ne!(quoted(&format!("{launcher}\n"), "the app", SMS), base);
    assert_ne!(quoted(launcher, "the app", Address::repeat_byte(0xac)), base);
}

#[test]
fn the_child_sees_the_measured_things_and_nothing_of_the_hosts() {
    let mut tee = Tee::start(LAUNCHER, "the app\n", SMS);
    tee.line();
    tee.say(&voucher().to_string());
    let (lines, code) = tee.end();
    assert_eq!(code, Some(0));
    let text = lines.join("\n");
    assert!(!text.contains("hunter2") && !text.contains("HOME="), "{text}");
    assert!(text.contains("\nthe app\n"), "the app's copy is at hand: {text}");
    let args = format!("args: run --tee simulated-sgx --sms-identity {SMS} --app-fd ");
    assert!(text.contains(&args) && text.contains(" --task 7\n"), "{text}");
    let heard = lines.last().unwrap().strip_prefix("heard: ").unwrap();
    assert_eq!(serde_json::from_str::<Value>(heard).unwrap(), voucher());
}

#[test]
fn a_host_can_neither_give_evidence_nor_ask_for_quotes() {
    let mut tee = Tee::start(LAUNCHER, "app", SMS);
    tee.line();
    let zero = "00".repeat(64);
    for line in [
        r#"{"evidence":{"forged":true}}"#,
        &format!(r#"{{"quote":{{"reportData":"0x{zero}"}}}}"#),
        r#"{"voucher":{}}"#,
        "nonsense",
        "",
    ] {
        tee.say(line);
    }
    tee.say(&voucher().to_string());
    let (lines, _) = tee.end();
    let heard = lines.last().unwrap();
    assert!(heard.contains("0x0909"), "only the voucher was passed on: {heard}");
    assert!(!lines.iter().any(|line| line.contains(&zero)), "{lines:?}");
}

#[test]
fn a_launcher_changed_while_it_runs_is_not_what_runs() {
    let slow = LAUNCHER.replacen("#!/bin/sh\n", "#!/bin/sh\necho runs\nread -r go\n", 1);
    let mut tee = Tee::start(&slow, "app", SMS);
    // Written over in place: what runs and what is quoted is the copy.
    let measured = tee.measured("app");
    assert_eq!(tee.line(), "runs");
    fs::write(tee.folder.path().join("launcher"), "#!/bin/sh\necho changed\n").unwrap();
    tee.say(&voucher().to_string());
    let line = tee.line();
    assert_eq!(tee.proven(&line), enclave_id_of(Imitated::Sgx, &measured));
}

#[test]
fn the_childs_code_is_passed_on_and_refusals_have_words() {
    let tee = Tee::start("#!/bin/sh\nexit 7\n", "app", SMS);
    assert_eq!(tee.end().1, Some(7));

    let run = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sesame-simulated-tee"));
        let output = command.args(args).stdin(Stdio::null()).output().unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("root");
    let key = key.to_str().unwrap();
    let sms = SMS.to_string();
    assert!(run(&["init", "--root-key", key]).0);
    for (args, word) in [
        (&[][..], "--tee is missing"),
        (&["--tee", "SNP"], "wrong form"),
        (&["--tee", "sgx"], "--root-key is missing"),
        (&["--root-key", key, "--root-key", key], "given twice"),
        (&["--tee", "tdx", "--sms-identity", "0xab"], "--root-key is missing"),
        (&["--tee", "snp", "--sms-identity", "0xab"], "--root-key is missing"),
        (
            &[
                "--tee",
                "sgx",
                "--root-key",
                key,
                "--launcher",
                "/nowhere",
                "--app",
                "/x",
                "--sms-identity",
                &sms,
            ],
            "/nowhere",
        ),
    ] {
        let (success, told) = run(args);
        assert!(!success && told.contains(word), "{args:?}: {told}");
    }
}
