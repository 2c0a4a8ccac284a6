//! The simulated TEE as a process, with a small launcher of the test's own.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail anywhere")]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use alloy_primitives::Address;
use serde_json::{Value, json};
use sesame_attestation::simulated::{QuoteError, enclave_id_of, measure, verify_quote};
use sesame_domain::{TeeKind, enclave_id};
use sesame_enclave::simulated::{public_file, read_public};
use sesame_protocol::evidence::SimulatedEvidence;
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

const REPORT: [u8; 64] = [0x5a; 64];
const SMS: Address = Address::repeat_byte(0xab);

struct Tee {
    folder: TempDir,
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Tee {
    fn start(launcher: &str, app: &str, sms: Address) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| -> PathBuf {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let mut child = Command::new(env!("CARGO_BIN_EXE_sesame-simulated-tee"))
            .arg("--root-key")
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
        Self { folder, child, input, output }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn say(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    fn root(&self) -> Address {
        read_public(&public_file(&self.folder.path().join("root"))).unwrap()
    }

    fn end(mut self) -> (Vec<String>, Option<i32>) {
        drop(self.input.take());
        let rest = self.output.by_ref().lines().map(Result::unwrap).collect();
        (rest, self.child.wait().unwrap().code())
    }
}

fn launcher() -> String {
    LAUNCHER.replace("REPORT", &"5a".repeat(64))
}

fn evidence(line: &str) -> SimulatedEvidence {
    let document: Value = serde_json::from_str(line).unwrap();
    serde_json::from_value(document["evidence"].clone()).unwrap()
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
    let mut tee = Tee::start(&launcher(), "the app", SMS);
    let quote = evidence(&tee.line());
    let measurement = measure(launcher().as_bytes(), b"the app", SMS);
    let inner = verify_quote(&quote, tee.root(), &REPORT).unwrap();
    assert_eq!(enclave_id(TeeKind::Simulated, &inner), enclave_id_of(&measurement));
    assert_eq!(verify_quote(&quote, tee.root(), &[0; 64]), Err(QuoteError::WrongReportData));
    assert!(matches!(verify_quote(&quote, SMS, &REPORT), Err(QuoteError::WrongRoot { .. })));
}

#[test]
fn one_byte_more_is_another_enclave() {
    let quoted = |launcher: &str, app: &str, sms: Address| {
        let mut tee = Tee::start(launcher, app, sms);
        let quote = evidence(&tee.line());
        verify_quote(&quote, tee.root(), &REPORT).unwrap()
    };
    let base = quoted(&launcher(), "the app", SMS);
    assert_eq!(quoted(&launcher(), "the app", SMS), base);
    assert_ne!(quoted(&launcher(), "the apq", SMS), base);
    assert_ne!(quoted(&(launcher() + "\n"), "the app", SMS), base);
    assert_ne!(quoted(&launcher(), "the app", Address::repeat_byte(0xac)), base);
}

#[test]
fn the_child_sees_the_measured_things_and_nothing_of_the_hosts() {
    let mut tee = Tee::start(&launcher(), "the app\n", SMS);
    tee.line();
    tee.say(&voucher().to_string());
    let (lines, code) = tee.end();
    assert_eq!(code, Some(0));
    let text = lines.join("\n");
    assert!(!text.contains("hunter2") && !text.contains("HOME="), "{text}");
    assert!(text.contains("\nthe app\n"), "the app's copy is at hand: {text}");
    let args = format!("args: run --tee simulated --sms-identity {SMS} --app-fd ");
    assert!(text.contains(&args) && text.contains(" --task 7\n"), "{text}");
    let heard = lines.last().unwrap().strip_prefix("heard: ").unwrap();
    assert_eq!(serde_json::from_str::<Value>(heard).unwrap(), voucher());
}

#[test]
fn a_host_can_neither_give_evidence_nor_ask_for_quotes() {
    let mut tee = Tee::start(&launcher(), "app", SMS);
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
    let slow = launcher().replacen("#!/bin/sh\n", "#!/bin/sh\nread -r go\n", 1);
    let mut tee = Tee::start(&slow, "app", SMS);
    // Written over in place: what runs and what is quoted is the copy.
    wait_for(&public_file(&tee.folder.path().join("root")));
    std::thread::sleep(std::time::Duration::from_millis(200));
    fs::write(tee.folder.path().join("launcher"), "#!/bin/sh\necho changed\n").unwrap();
    tee.say(&voucher().to_string());
    let quote = evidence(&tee.line());
    let inner = verify_quote(&quote, tee.root(), &REPORT).unwrap();
    assert_eq!(inner[1..], measure(slow.as_bytes(), b"app", SMS));
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
        (&[][..], "--root-key is missing"),
        (&["--root-key", key, "--root-key", key], "given twice"),
        (&["--sms-identity", "0xab"], "--root-key is missing"),
        (
            &["--root-key", key, "--launcher", "/nowhere", "--app", "/x", "--sms-identity", &sms],
            "/nowhere",
        ),
    ] {
        let (success, told) = run(args);
        assert!(!success && told.contains(word), "{args:?}: {told}");
    }
}

fn wait_for(path: &Path) {
    for _ in 0..500 {
        if path.exists() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("{} did not appear", path.display());
}
