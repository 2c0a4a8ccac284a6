//! How an app ended.

use std::{
    fs::File,
    io::{self, Read, Seek},
    os::unix::{fs::FileExt, process::ExitStatusExt},
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, pidfd_open},
};
use serde::Deserialize;
use tokio::process::Command;

use super::{
    account::{self, Account},
    inherited::Inherited,
};
use crate::{app::AppError, cgroup::Cgroup};

/// How long the kernel may take to end what an app left running.
pub(super) const LAST_BREATH: Duration = Duration::from_secs(10);

/// An app that is about to start.
pub(crate) struct Enclosure {
    pub(crate) command: Command,
    /// What bubblewrap writes about its child.
    pub(super) report: Option<File>,
    pub(super) cgroup: Option<Cgroup>,
    pub(super) account: Account,
    /// What is the app's while it runs, and root's again afterwards.
    pub(super) lent: Vec<PathBuf>,
    /// What the command inherits.
    pub(super) _inherited: Inherited,
}

impl Enclosure {
    /// Whether the app ended well, when all of it has ended.
    pub(crate) fn outcome(&self, status: ExitStatus, stderr: &Path) -> Result<(), AppError> {
        let Some(report) = &self.report else {
            self.account.end().and_then(|()| self.take_back()).map_err(AppError::Start)?;
            return outcome(status);
        };
        let report = Report::read(report).map_err(AppError::Start)?;
        report.wait_for_the_end().map_err(AppError::Start)?;
        self.take_back().map_err(AppError::Start)?;
        let Some(code) = report.exit_code else {
            return match status.signal() {
                Some(signal) => Err(AppError::Signal(signal)),
                None => Err(AppError::NoSandbox(last_words(stderr, "bwrap: "))),
            };
        };
        if code != 0 && self.cgroup.as_ref().is_some_and(Cgroup::ran_out_of_memory) {
            return Err(AppError::MemoryLimit);
        }
        inside(code, stderr)
    }

    fn take_back(&self) -> io::Result<()> {
        self.lent.iter().try_for_each(|path| account::give(path, account::ROOT))
    }
}

fn outcome(status: ExitStatus) -> Result<(), AppError> {
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(()),
        (Some(code), _) => Err(AppError::Code(code)),
        (None, signal) => Err(AppError::Signal(signal.unwrap_or_default())),
    }
}

/// What a code means that came through bubblewrap, which adds 128 to the number of a signal as shells do.
fn inside(code: i32, stderr: &Path) -> Result<(), AppError> {
    const CPU: i32 = Signal::XCPU.as_raw();
    const FILE_SIZE: i32 = Signal::XFSZ.as_raw();
    match code {
        0 => Ok(()),
        126 | 127 => {
            let said = last_words(stderr, "prlimit: failed to execute ");
            match said.is_empty() {
                true => Err(AppError::Code(code)),
                false => Err(AppError::Start(io::Error::other(said))),
            }
        }
        129.. => match code - 128 {
            CPU => Err(AppError::CpuLimit),
            FILE_SIZE => Err(AppError::OutputLimit),
            signal @ 1..=64 => Err(AppError::Signal(signal)),
            _ => Err(AppError::Code(code)),
        },
        _ => Err(AppError::Code(code)),
    }
}

/// The last line that begins so, without that beginning; empty if there is none.
fn last_words(log: &Path, beginning: &str) -> String {
    let read = || -> io::Result<String> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(io::SeekFrom::Start(length.saturating_sub(4096)))?;
        let mut bytes = Vec::new();
        file.take(4096).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    text.lines().rev().find_map(|line| line.strip_prefix(beginning)).unwrap_or_default().to_owned()
}

/// What bubblewrap writes about its child, in JSON lines.
#[derive(Debug, Default, PartialEq, Eq)]
struct Report {
    child: Option<i32>,
    exit_code: Option<i32>,
}

impl Report {
    fn read(file: &File) -> io::Result<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "kebab-case")]
        struct Line {
            child_pid: Option<i32>,
            exit_code: Option<i32>,
        }
        let mut bytes = vec![0; 4096];
        let read = file.read_at(&mut bytes, 0)?;
        bytes.truncate(read);
        let mut report = Self::default();
        for line in serde_json::Deserializer::from_slice(&bytes).into_iter::<Line>() {
            let line = line?;
            report.child = line.child_pid.or(report.child);
            report.exit_code = line.exit_code.or(report.exit_code);
        }
        Ok(report)
    }

    /// Waits until nothing of the app is left: bubblewrap ends with the app's first process, and the kernel ends the others.
    fn wait_for_the_end(&self) -> io::Result<()> {
        let Some(child) = self.child.and_then(Pid::from_raw) else { return Ok(()) };
        // An error says that it is gone.
        let Ok(child) = pidfd_open(child, PidfdFlags::empty()) else { return Ok(()) };
        let patience = Timespec::try_from(LAST_BREATH).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(&child, PollFlags::IN)], Some(&patience))? {
            0 => Err(io::ErrorKind::TimedOut.into()),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn log(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn a_code_that_came_through_says_which_limit_it_was() {
        let quiet = log("");
        let check = |code, expected: &str| {
            let error = inside(code, quiet.path()).unwrap_err();
            assert!(format!("{error:?}").starts_with(expected), "{code}: {error:?}");
        };
        inside(0, quiet.path()).unwrap();
        check(3, "Code(3)");
        check(128, "Code(128)");
        check(127, "Code(127)");
        check(137, "Signal(9)");
        check(152, "CpuLimit");
        check(153, "OutputLimit");
        check(192, "Signal(64)");
        check(193, "Code(193)");
        check(255, "Code(255)");
    }

    #[test]
    fn an_app_that_cannot_be_executed_did_not_start() {
        let said =
            log("warning\nprlimit: failed to execute /app/main: No such file or directory\n");
        let error = inside(127, said.path()).unwrap_err();
        let AppError::Start(why) = &error else { panic!("{error:?}") };
        assert_eq!(why.to_string(), "/app/main: No such file or directory");
        // A command that the app did not find is the app's own failure.
        let error = inside(127, log("/app/main: 2: sum: not found\n").path()).unwrap_err();
        assert!(matches!(error, AppError::Code(127)), "{error:?}");
    }

    #[test]
    fn the_report_is_read_as_far_as_it_goes() {
        let report = |text: &str| {
            let file = log(text);
            Report::read(&File::open(file.path()).unwrap())
        };
        assert_eq!(report("").unwrap(), Report::default());
        let child = r#"{ "child-pid": 656, "net-namespace": 4026532182 }"#;
        assert_eq!(report(child).unwrap(), Report { child: Some(656), exit_code: None });
        let both = format!("{child}\n{{ \"exit-code\": 3 }}\n");
        assert_eq!(report(&both).unwrap(), Report { child: Some(656), exit_code: Some(3) });
        assert!(report("{ \"exit-code\": \"x\" }").is_err());
    }
}
