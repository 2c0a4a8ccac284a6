//! What an app can see and touch.
//!
//! bubblewrap gives it namespaces of its own: a file system put together from what it needs and nothing else, its own processes,
//! no network unless the order asks for one, no capabilities. The app's measured bytes, its secrets and its environment reach
//! bubblewrap as descriptors, so none of them is on a command line or in a file that another process could open.

mod account;
mod bubblewrap;
mod inherited;
mod outcome;

use std::{fmt, fs::File, io, path::PathBuf, str::FromStr};

use tokio::process::Command;

use crate::{
    app::{App, AppError},
    limits::Limits,
    scratch,
};

use self::{account::Account, bubblewrap::BWRAP, inherited::Inherited};

pub(crate) use self::outcome::Enclosure;

/// What is around an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sandbox {
    /// bubblewrap, by its path.
    Bubblewrap(PathBuf),
    /// A user of its own, for containers: nothing else is around the app, but it gets neither to what belongs to the launcher nor
    /// to the kernel's reports, so it cannot have a key of its own vouched for.
    User,
    /// Nothing: for TEEs that are sandboxes themselves. The app sees what the launcher sees, its processes have no limits but
    /// those of time and output, and the network is open to it.
    None,
}

impl Default for Sandbox {
    fn default() -> Self {
        Self::Bubblewrap(BWRAP.into())
    }
}

impl fmt::Display for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bubblewrap(_) => "bubblewrap",
            Self::User => "user",
            Self::None => "none",
        })
    }
}

/// A text names no sandbox.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is none of bubblewrap, user and none")]
pub struct UnknownSandbox(pub String);

impl FromStr for Sandbox {
    type Err = UnknownSandbox;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "bubblewrap" => Ok(Self::default()),
            "user" => Ok(Self::User),
            "none" => Ok(Self::None),
            other => Err(UnknownSandbox(other.to_owned())),
        }
    }
}

/// The folders of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folders {
    /// `IEXEC_IN`: it reads them.
    pub input: PathBuf,
    /// `IEXEC_OUT`: it writes what is to stay.
    pub output: PathBuf,
    /// Where it starts, in memory.
    pub home: PathBuf,
    /// Where its secrets are files, in memory.
    pub secrets: PathBuf,
}

impl Sandbox {
    /// These folders as an app in the sandbox sees them. bubblewrap's home and secrets are its own and exist nowhere else.
    #[must_use]
    pub fn seen(&self, folders: &Folders) -> Folders {
        match self {
            Self::Bubblewrap(_) => Folders {
                input: "/iexec_in".into(),
                output: "/iexec_out".into(),
                home: "/home/app".into(),
                secrets: "/run/secrets".into(),
            },
            Self::User | Self::None => folders.clone(),
        }
    }

    /// Whether this host makes such a sandbox for this user, before anything depends on it.
    ///
    /// # Errors
    /// When it does not.
    pub fn check(&self) -> Result<(), AppError> {
        match self {
            Self::Bubblewrap(bwrap) => bubblewrap::check(bwrap),
            Self::User | Self::None => Ok(()),
        }
    }
}

/// A sandbox and what may be used in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Confinement {
    /// What is around the app.
    pub sandbox: Sandbox,
    /// What it may use.
    pub limits: Limits,
}

impl Confinement {
    /// The command that starts an app in its sandbox.
    pub(crate) fn enclose(&self, app: &App<'_>) -> Result<Enclosure, AppError> {
        match &self.sandbox {
            Sandbox::Bubblewrap(bwrap) => bubblewrap::enclose(bwrap, app, &self.limits),
            Sandbox::User => match Account::in_a_container() {
                account @ Account::Own(_) => bare(app, account).map_err(AppError::Start),
                Account::Launcher => Err(AppError::NoSandbox(
                    "the launcher is not root, and so cannot make the app another user".to_owned(),
                )),
            },
            Sandbox::None => bare(app, Account::Launcher).map_err(AppError::Start),
        }
    }
}

fn bare(app: &App<'_>, account: Account) -> io::Result<Enclosure> {
    for secret in app.secrets {
        scratch::write(&app.folders.secrets.join(&secret.variable), &secret.value)?;
    }
    let mut inherited = Inherited::default();
    let program = match app.program.starts_with("/proc/self/fd") {
        // A script's interpreter opens it once more.
        true => format!("/proc/self/fd/{}", inherited.file(File::open(app.program)?)?).into(),
        false => app.program.to_owned(),
    };
    let mut command = Command::new(program);
    command.args(&app.args).env_clear().envs(app.environment.iter());
    command.current_dir(&app.folders.home);
    let mut lent = account.borrow(app)?;
    if let Account::Own(id) = account {
        let Folders { input, output, home, secrets } = app.folders;
        for folder in [home, secrets] {
            account::give(folder, id)?;
            lent.push(folder.clone());
        }
        [input, output, home, secrets]
            .into_iter()
            .try_for_each(|folder| account::let_through(folder))?;
        command.uid(id).gid(id);
    }
    Ok(Enclosure { command, report: None, cgroup: None, account, lent, _inherited: inherited })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_known_to_make_sandboxes_before_it_has_to() {
        Sandbox::default().check().unwrap();
        Sandbox::None.check().unwrap();
        let refused = Sandbox::Bubblewrap("/nowhere/bwrap".into()).check().unwrap_err();
        assert!(refused.to_string().contains("install bubblewrap"), "{refused}");
        let refused = Sandbox::Bubblewrap("/bin/false".into()).check().unwrap_err();
        assert!(matches!(refused, AppError::NoSandbox(_)), "{refused}");
    }

    #[test]
    fn a_sandbox_is_one_or_explicitly_none() {
        for sandbox in [Sandbox::default(), Sandbox::User, Sandbox::None] {
            assert_eq!(sandbox.to_string().parse(), Ok(sandbox));
        }
        for bad in ["", "off", "bwrap", "/usr/bin/bwrap", "None"] {
            assert_eq!(bad.parse::<Sandbox>(), Err(UnknownSandbox(bad.to_owned())));
        }
    }
}
