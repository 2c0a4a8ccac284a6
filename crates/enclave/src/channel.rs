//! The lines between the launcher and what stands outside the TEE: its quoting process and its host.
//!
//! One JSON document per line, one member per document. No secret ever crosses here. The launcher asks and waits for the one
//! answer, so no line needs a number.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    sync::mpsc,
    thread,
    time::Duration,
};

use alloy_primitives::{B256, FixedBytes};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use sesame_protocol::{denial::DenialBody, results::SignedResult, voucher::SignedVoucher};
use tokio::sync::watch;

/// No line is longer.
pub const MAX_LINE: u64 = 1 << 20;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the launcher asks its quoting process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum ToQuoter {
    /// Quote this report data.
    #[serde(rename_all = "camelCase")]
    Quote {
        /// 64 bytes of the launcher's choice.
        report_data: FixedBytes<64>,
    },
}

/// What the quoting process answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum FromQuoter {
    /// The evidence, as the technology writes it.
    Evidence(Value),
}

/// What the launcher tells its host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum ToHost {
    /// Asks the worker to vouch for this enclave key.
    #[serde(rename_all = "camelCase")]
    Vouch {
        /// RFC 7638 thumbprint of the key.
        enclave_key: B256,
    },
    /// A step of the run is done.
    Progress(Step),
    /// The app has ended well. The digest is that of the output folder; see [`crate::output`].
    Result(SignedResult),
    /// The run has failed. Nothing follows.
    Failed(Failure),
}

/// What the host tells the launcher.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum FromHost {
    /// The worker's word for the key.
    Voucher(SignedVoucher),
}

/// The steps of a run, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Step {
    /// The SMS has verified the enclave.
    Attested,
    /// The secrets are here.
    Released,
    /// The protected data is decrypted.
    Prepared,
    /// The app has ended.
    Ran,
}

/// Why a run gave no result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Failure {
    /// A stable name; see [`crate::LaunchError::code`].
    pub code: String,
    /// The same in a sentence.
    pub detail: String,
    /// Whether another run may fare better though nothing was mended.
    pub retryable: bool,
    /// The reasons of a refusal.
    #[serde(default)]
    pub reasons: Vec<DenialBody>,
}

/// The other side does not keep to the protocol.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// The other side is gone, or silent where an answer is due.
    #[error("the host does not answer")]
    Closed,
    /// A line is not the answer that is due.
    #[error("the host answered with something else")]
    Unexpected(#[source] serde_json::Error),
    /// A line cannot be written.
    #[error("cannot write to the host")]
    Io(#[from] io::Error),
}

/// The launcher's end. Answers are waited for without giving way to other work: there is none while one is due.
#[derive(Debug)]
pub struct Channel<W> {
    lines: mpsc::Receiver<Vec<u8>>,
    open: watch::Receiver<()>,
    out: W,
}

impl<W: Write> Channel<W> {
    /// A channel whose lines a thread of its own reads, since standard input cannot be awaited.
    pub fn new(input: impl Read + Send + 'static, out: W) -> Self {
        let (sender, lines) = mpsc::sync_channel(1);
        let (alive, open) = watch::channel(());
        thread::spawn(move || {
            let _alive = alive;
            let mut input = BufReader::new(input);
            while let Ok(Some(line)) = read_line(&mut input) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self { lines, open, out }
    }

    /// Has the quoting process quote `report_data`.
    ///
    /// # Errors
    /// When the quoting process is gone or answers something else.
    pub fn quote(&mut self, report_data: [u8; 64]) -> Result<Value, ChannelError> {
        self.send(&ToQuoter::Quote { report_data: report_data.into() })?;
        let FromQuoter::Evidence(evidence) = self.receive()?;
        Ok(evidence)
    }

    /// Has the worker vouch for `enclave_key`.
    ///
    /// # Errors
    /// When the host is gone or answers something else.
    pub fn vouch(&mut self, enclave_key: B256) -> Result<SignedVoucher, ChannelError> {
        self.send(&ToHost::Vouch { enclave_key })?;
        let FromHost::Voucher(voucher) = self.receive()?;
        Ok(voucher)
    }

    /// Tells the host something that needs no answer.
    ///
    /// # Errors
    /// When the host is gone.
    pub fn tell(&mut self, message: &ToHost) -> Result<(), ChannelError> {
        self.send(message)
    }

    /// Ready when the other side is gone. Lines that nobody asked for keep it from noticing, at the cost of their sender.
    pub fn closed(&self) -> impl Future<Output = ()> + use<W> {
        let mut open = self.open.clone();
        async move { while open.changed().await.is_ok() {} }
    }

    fn send(&mut self, message: &impl Serialize) -> Result<(), ChannelError> {
        Ok(write_line(&mut self.out, message)?)
    }

    fn receive<T: DeserializeOwned>(&mut self) -> Result<T, ChannelError> {
        let line = self.lines.recv_timeout(PATIENCE).map_err(|_| ChannelError::Closed)?;
        serde_json::from_slice(&line).map_err(ChannelError::Unexpected)
    }
}

/// Reads one line without its end; none at the end of the input.
///
/// # Errors
/// When the input cannot be read, or a line is longer than [`MAX_LINE`].
pub fn read_line(input: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let read = input.take(MAX_LINE).read_until(b'\n', &mut line)?;
    match line.pop() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(line)),
        Some(_) if read as u64 == MAX_LINE => {
            Err(io::Error::new(io::ErrorKind::InvalidData, "the line is too long"))
        }
        Some(last) => {
            line.push(last);
            Ok(Some(line))
        }
    }
}

/// Writes one document and the end of its line.
///
/// # Errors
/// When the output cannot be written.
pub fn write_line(out: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    out.write_all(&line)?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(lines: &str) -> Channel<Vec<u8>> {
        Channel::new(io::Cursor::new(lines.as_bytes().to_vec()), Vec::new())
    }

    #[test]
    fn the_wire_is_what_hosts_expect() {
        let text = |message: &ToHost| serde_json::to_value(message).unwrap();
        let key = B256::repeat_byte(0xab);
        assert_eq!(
            text(&ToHost::Vouch { enclave_key: key }),
            serde_json::json!({"vouch": {"enclaveKey": format!("{key}")}})
        );
        assert_eq!(
            text(&ToHost::Progress(Step::Attested)),
            serde_json::json!({"progress": "attested"})
        );
        let result = ToHost::Result(SignedResult {
            digest: key,
            uri: "file:///x".into(),
            key: Default::default(),
            enclave_signature: Default::default(),
            sms_signature: Default::default(),
        });
        assert_eq!(
            text(&result),
            serde_json::json!({"result": {
                "digest": format!("{key}"),
                "uri": "file:///x",
                "key": format!("0x{}", "00".repeat(20)),
                "enclaveSignature": "0x",
                "smsSignature": format!("0x{}", "00".repeat(65)),
            }})
        );
        let failed = r#"{"failed": {"code": "denied", "detail": "no", "retryable": false,
            "reasons": [{"code": "grant_revoked", "index": 2}]}}"#;
        let ToHost::Failed(failure) = serde_json::from_str(failed).unwrap() else { panic!() };
        assert_eq!(failure.reasons, [DenialBody::GrantRevoked { index: 2 }]);
    }

    #[test]
    fn other_lines_are_refused() {
        for bad in [
            "",
            "{}",
            "[]",
            "7",
            "null",
            "{\"result\": {}}",
            "{\"result\": {\"digest\": \"0xab\", \"uri\": \"\"}}",
            "{\"vouch\": {\"enclaveKey\": \"\"}}",
            "{\"progress\": \"done\"}",
            "{\"shell\": \"rm\"}",
            "{\"progress\": \"ran\", \"failed\": {}}",
            "{\"failed\": {\"code\": \"x\"}}",
        ] {
            assert!(serde_json::from_str::<ToHost>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_due_answer_is_taken_and_no_other() {
        let mut channel = answered("{\"evidence\": {\"a\": 1}}\n");
        assert_eq!(channel.quote([7; 64]).unwrap(), serde_json::json!({"a": 1}));
        let asked = format!("{{\"quote\":{{\"reportData\":\"0x{}\"}}}}\n", "07".repeat(64));
        assert_eq!(String::from_utf8(channel.out.clone()).unwrap(), asked);
        assert!(matches!(channel.quote([7; 64]), Err(ChannelError::Closed)));

        let mut channel = answered("{\"evidence\": 1}\nnoise\n{\"voucher\": {}}\n");
        for _ in 0..3 {
            assert!(matches!(channel.vouch(B256::ZERO), Err(ChannelError::Unexpected(_))));
        }
        assert!(matches!(channel.vouch(B256::ZERO), Err(ChannelError::Closed)));
    }

    #[tokio::test]
    async fn a_host_that_goes_is_noticed() {
        let channel = answered("");
        channel.closed().await;
        let (_reader, writer) = std::io::pipe().unwrap();
        let (input, host) = std::io::pipe().unwrap();
        let channel = Channel::new(input, writer);
        let closed = channel.closed();
        assert!(
            tokio::time::timeout(std::time::Duration::from_millis(50), closed).await.is_err(),
            "an open channel is not closed"
        );
        drop(host);
        channel.closed().await;
    }

    #[test]
    fn lines_have_a_limit() {
        let line = |length| vec![b'x'; length];
        let max = usize::try_from(MAX_LINE).unwrap();
        let read = |bytes: Vec<u8>| read_line(&mut io::Cursor::new(bytes));
        assert_eq!(read(vec![]).unwrap(), None);
        assert_eq!(read(b"\n".to_vec()).unwrap(), Some(vec![]));
        assert_eq!(read(b"a\nb".to_vec()).unwrap(), Some(b"a".to_vec()));
        assert_eq!(read(b"a".to_vec()).unwrap(), Some(b"a".to_vec()));
        assert!(read(line(max - 1)).is_ok());
        assert!(read(line(max)).is_err());
        assert!(read(line(max + 1)).is_err());
    }
}
