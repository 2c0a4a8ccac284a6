//! What a launcher is told: by its quoting process or its TEE's image, which are measured, and by its host, which is not believed.

use std::path::PathBuf;

use alloy_primitives::Address;
use sesame_domain::TaskId;
use url::Url;

use crate::{
    args::{Args, ArgsError},
    evidence::{Attester, EvidenceError, Platform},
    host::HostOptions,
    limits::{self, Limits},
    sandbox::{Confinement, Sandbox},
    sealed::{Sealed, SealedError},
};

const MEASURED: [&str; 5] = ["tee", "sms-identity", "app-fd", "app", "evidence-root"];
const FROM_HOST: [&str; 5] = ["task", "sms-url", "deadline", "work-dir", "sandbox"];

/// The variable by which a host says its part where the arguments are fixed, as Gramine's manifests fix them: words as a shell
/// splits them.
pub const HOST_ARGS: &str = "SESAME_HOST_ARGS";

/// What a launcher is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// The TEE that it is in.
    pub platform: Platform,
    /// Where that TEE has its files, unless it is the usual place.
    pub evidence_root: Option<PathBuf>,
    /// The SMS to trust. Measured.
    pub sms_identity: Address,
    /// The app. Its digest must be the one that the bundle says.
    pub app: AppFile,
    /// The task to run. From the host; the bundle says what it is.
    pub task: TaskId,
    /// Where the SMS is. From the host; whoever answers there must be `sms_identity`.
    pub sms_url: Url,
    /// Until when to try, seconds since 1970. From the host; the order's own deadline counts from the bundle on.
    pub deadline: u64,
    /// Where the results go.
    pub work_dir: PathBuf,
    /// What is around the app, and what it may use. From the host, which it protects.
    pub confinement: Confinement,
    /// What the operator says of content and results. From the host.
    pub options: HostOptions,
}

/// Where the app is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AppFile {
    /// The quoting process's measured copy, by the number of the descriptor that it hands on.
    Handed(u32),
    /// A file that the TEE's image or its manifest vouches for.
    Named(PathBuf),
}

/// An app that nobody can change between its check and its start.
#[derive(Debug)]
pub(crate) enum SettledApp {
    InPlace(PathBuf),
    Copied(Sealed),
}

impl Launch {
    /// Reads the arguments that follow `run`, and those that the host gives in [`HOST_ARGS`].
    ///
    /// # Errors
    /// When one is missing, malformed, unknown, given twice, or not the host's to give.
    pub fn parse(
        args: impl IntoIterator<Item = String>,
        host: Option<&str>,
    ) -> Result<Self, ArgsError> {
        let from_host = [&FROM_HOST[..], &limits::NAMES[..], &HostOptions::NAMES[..]].concat();
        let mut args = Args::parse(&[&MEASURED[..], &from_host[..]].concat(), args)?;
        let host = shell_words::split(host.unwrap_or_default());
        let host = host.map_err(|_| ArgsError::Unknown(HOST_ARGS.to_owned()))?;
        args.join(Args::parse(&from_host, host)?)?;
        let platform = args.take("tee")?;
        let app = match platform {
            Platform::Simulated(_) => AppFile::Handed(args.take("app-fd")?),
            Platform::Auto | Platform::Gramine | Platform::Tdx | Platform::Snp => {
                AppFile::Named(args.take("app")?)
            }
        };
        let launch = Self {
            platform,
            evidence_root: args.take_if_given("evidence-root")?,
            sms_identity: args.take("sms-identity")?,
            app,
            task: args.take("task")?,
            sms_url: args.take("sms-url")?,
            deadline: args.take("deadline")?,
            work_dir: args.take("work-dir")?,
            confinement: Confinement {
                sandbox: args.take_if_given("sandbox")?.unwrap_or_default(),
                limits: Limits::take(&mut args)?,
            },
            options: HostOptions::take(&mut args)?,
        };
        args.nothing_left()?;
        Ok(launch)
    }

    /// Who gives the evidence here.
    ///
    /// # Errors
    /// When the TEE is not there.
    pub fn attester(&self) -> Result<Attester, EvidenceError> {
        self.platform.attester(self.evidence_root.as_deref())
    }

    /// The app as it will be checked and run. A file is copied into memory, but where there is no sandbox: there the TEE is one,
    /// which vouches for its files.
    pub(crate) fn settle_app(&self) -> Result<SettledApp, SealedError> {
        Ok(match (&self.app, &self.confinement.sandbox) {
            (AppFile::Handed(descriptor), _) => {
                SettledApp::InPlace(format!("/proc/self/fd/{descriptor}").into())
            }
            (AppFile::Named(path), Sandbox::User | Sandbox::None) => {
                SettledApp::InPlace(path.clone())
            }
            (AppFile::Named(path), Sandbox::Bubblewrap(_)) => {
                SettledApp::Copied(Sealed::copy_of(path, "app")?.0)
            }
        })
    }
}

impl SettledApp {
    /// Where it is, for this process.
    pub(crate) fn path(&self) -> PathBuf {
        match self {
            Self::InPlace(path) => path.clone(),
            Self::Copied(sealed) => sealed.path(),
        }
    }
}

#[cfg(test)]
mod tests {
    use sesame_domain::Imitated;

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

    fn parse(args: impl IntoIterator<Item = String>) -> Result<Launch, ArgsError> {
        Launch::parse(args, None)
    }

    #[test]
    fn where_arguments_are_fixed_the_host_has_a_variable_for_its_part() {
        let args = args();
        let (measured, host) = args.split_at(6);
        let host = shell_words::join(host);
        assert_eq!(Launch::parse(measured.to_vec(), Some(&host)), parse(args.clone()));
        assert_eq!(Launch::parse(args.clone(), Some(&host)), Err(ArgsError::Repeated("deadline")));
        for word in ["--app-fd", "--app", "--tee", "--sms-identity", "--evidence-root", "'"] {
            let refused = Launch::parse(args.clone(), Some(&format!("{word} 5")));
            assert!(matches!(refused, Err(ArgsError::Unknown(_))), "{word}: {refused:?}");
        }
    }

    #[test]
    fn all_of_them_are_needed() {
        let launch = parse(args()).unwrap();
        assert_eq!(launch.platform, Platform::Simulated(Imitated::Sgx));
        assert_eq!(launch.confinement, Confinement::default(), "a sandbox unless told otherwise");
        assert_eq!(launch.sms_identity, Address::repeat_byte(0xab));
        assert_eq!(launch.app, AppFile::Handed(4));
        for pair in (0..args().len()).step_by(2) {
            let mut fewer = args();
            fewer.drain(pair..pair + 2);
            assert!(matches!(parse(fewer), Err(ArgsError::Missing(_))), "{pair}");
        }
    }

    #[test]
    fn every_tee_that_is_imitated_has_a_name() {
        for tee in Imitated::ALL {
            let mut args = args();
            args[1] = format!("simulated-{tee}");
            assert_eq!(parse(args).unwrap().platform, Platform::Simulated(tee));
        }
    }

    #[test]
    fn real_tees_have_the_app_as_a_file() {
        for tee in ["auto", "gramine", "tdx", "snp"] {
            let mut args = args();
            args[1] = tee.to_owned();
            assert_eq!(parse(args.clone()), Err(ArgsError::Missing("app")));
            args[4..6].clone_from_slice(&["--app".to_owned(), "/app/main".to_owned()]);
            let launch = parse(args.clone()).unwrap();
            assert_eq!(launch.app, AppFile::Named("/app/main".into()));
            // The quoting process alone hands descriptors on.
            args.extend(["--app-fd".to_owned(), "4".to_owned()]);
            assert_eq!(parse(args), Err(ArgsError::NotHere("app-fd")), "{tee}");
        }
        let simulated = args().into_iter().chain(["--app".to_owned(), "/app/main".to_owned()]);
        assert_eq!(parse(simulated), Err(ArgsError::NotHere("app")));
    }

    #[test]
    fn a_host_says_how_it_is_protected() {
        let more = ["--sandbox", "none", "--app-memory-mib", "64"].map(ToOwned::to_owned);
        let launch = parse(args().into_iter().chain(more)).unwrap();
        assert_eq!(launch.confinement.sandbox, Sandbox::None);
        assert_eq!(launch.confinement.limits.memory_mib, 64);
        let bad = ["--sandbox", "off"].map(ToOwned::to_owned);
        let refused = parse(args().into_iter().chain(bad));
        assert_eq!(refused, Err(ArgsError::Malformed("sandbox")));
    }

    #[test]
    fn the_host_cannot_say_what_is_measured() {
        for (name, value) in [("--sms-identity", "0xcd"), ("--app-fd", "5"), ("--tee", "sgx")] {
            let more = args().into_iter().chain([name.to_owned(), value.to_owned()]);
            assert!(matches!(parse(more), Err(ArgsError::Repeated(_))), "{name}");
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
            assert!(matches!(parse(args), Err(ArgsError::Malformed(_))), "{bad}");
        }
    }
}
