//! What a launcher is told: by its quoting process, which is measured, and by its host, which is not believed.

use std::path::PathBuf;

use alloy_primitives::Address;
use sesame_domain::{Imitated, TaskId};
use sesame_protocol::rcar::Tee;
use url::Url;

use crate::args::{Args, ArgsError};

const MEASURED: [&str; 3] = ["tee", "sms-identity", "app-fd"];
const FROM_HOST: [&str; 4] = ["task", "sms-url", "deadline", "work-dir"];

/// What a launcher is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// Whose quotes the quoting process gives.
    pub tee: Tee,
    /// The SMS to trust. Measured.
    pub sms_identity: Address,
    /// The app's measured copy.
    pub app: PathBuf,
    /// The task to run. From the host; the bundle says what it is.
    pub task: TaskId,
    /// Where the SMS is. From the host; whoever answers there must be `sms_identity`.
    pub sms_url: Url,
    /// Until when to try, seconds since 1970. From the host; the order's own deadline counts from the bundle on.
    pub deadline: u64,
    /// Where the results go.
    pub work_dir: PathBuf,
}

impl Launch {
    /// Reads the arguments that follow `run`.
    ///
    /// # Errors
    /// When one is missing, malformed, unknown, or given twice.
    pub fn parse(args: impl IntoIterator<Item = String>) -> Result<Self, ArgsError> {
        let mut args = Args::parse(&[&MEASURED[..], &FROM_HOST[..]].concat(), args)?;
        let tee = args.take::<String>("tee")?;
        let tee = tee.strip_prefix("simulated-").and_then(|tee| tee.parse().ok());
        let tee = match tee.ok_or(ArgsError::Malformed("tee"))? {
            Imitated::Sgx => Tee::Sgx,
            Imitated::Tdx => Tee::Tdx,
            Imitated::Snp => Tee::Snp,
        };
        let app: u32 = args.take("app-fd")?;
        Ok(Self {
            tee,
            sms_identity: args.take("sms-identity")?,
            app: format!("/proc/self/fd/{app}").into(),
            task: args.take("task")?,
            sms_url: args.take("sms-url")?,
            deadline: args.take("deadline")?,
            work_dir: args.take("work-dir")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> Vec<String> {
        let sms = format!("0x{}", "ab".repeat(20));
        let task = format!("0x{}", "07".repeat(32));
        ["--tee", "simulated-sgx", "--sms-identity", &sms, "--app-fd", "4", "--task", &task]
            .into_iter()
            .chain(["--sms-url", "http://127.0.0.1:1/", "--deadline", "9", "--work-dir", "/w"])
            .map(ToOwned::to_owned)
            .collect()
    }

    #[test]
    fn all_of_them_are_needed() {
        let launch = Launch::parse(args()).unwrap();
        assert_eq!(launch.tee, Tee::Sgx);
        assert_eq!(launch.sms_identity, Address::repeat_byte(0xab));
        assert_eq!(launch.app, PathBuf::from("/proc/self/fd/4"));
        for pair in (0..args().len()).step_by(2) {
            let mut fewer = args();
            fewer.drain(pair..pair + 2);
            assert!(matches!(Launch::parse(fewer), Err(ArgsError::Missing(_))), "{pair}");
        }
    }

    #[test]
    fn every_tee_that_is_imitated_has_a_name() {
        for (name, tee) in [("sgx", Tee::Sgx), ("tdx", Tee::Tdx), ("snp", Tee::Snp)] {
            let mut args = args();
            args[1] = format!("simulated-{name}");
            assert_eq!(Launch::parse(args).unwrap().tee, tee);
        }
    }

    #[test]
    fn the_host_cannot_say_what_is_measured() {
        for (name, value) in [("--sms-identity", "0xcd"), ("--app-fd", "5"), ("--tee", "sgx")] {
            let more = args().into_iter().chain([name.to_owned(), value.to_owned()]);
            assert!(matches!(Launch::parse(more), Err(ArgsError::Repeated(_))), "{name}");
        }
    }

    #[test]
    fn malformed_values_are_refused() {
        for (place, bad) in [
            (1, "sgx"),
            (1, "simulated"),
            (1, "simulated-"),
            (1, "simulated-sgx-snp"),
            (3, "0xab"),
            (5, "-1"),
            (5, "4/../5"),
            (7, "7"),
            (9, "x"),
            (11, "soon"),
        ] {
            let mut args = args();
            args[place] = bad.to_owned();
            assert!(matches!(Launch::parse(args), Err(ArgsError::Malformed(_))), "{bad}");
        }
    }
}
