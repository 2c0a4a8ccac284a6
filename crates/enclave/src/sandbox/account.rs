//! Who an app is to the kernel.

use std::{
    fs, io,
    os::unix::fs::{PermissionsExt, lchown},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rand::Rng;
use rustix::process::{Pid, Signal, geteuid, kill_process};

use super::outcome::LAST_BREATH;
use crate::app::{App, LOGS};

pub(super) const ROOT: u32 = 0;

pub(super) const SETPRIV: &str = "/usr/bin/setpriv";

/// Who an app is to the kernel.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Account {
    /// Nobody else on this host, which it takes root to be: no process of any other user can open what the app has.
    Own(u32),
    /// The launcher's own user, in a user namespace that hides it. The kernel gives every process of that user all power over
    /// the namespace, so what the app has is open to them.
    Launcher,
}

impl Account {
    /// What systemd's list of user ids leaves unused, between its containers and the ids of foreign disks.
    const UNUSED: std::ops::Range<u32> = 0x7000_0000..0x7FFE_0000;

    /// The one other user that a container has which is not told of more.
    const IN_A_CONTAINER: u32 = 1000;

    pub(super) fn of_an_app() -> Self {
        let id = rand::rng().random_range(Self::UNUSED);
        match geteuid().is_root() {
            true => Self::Own(id),
            false => Self::Launcher,
        }
    }

    /// The same in a container, which may know few users.
    pub(super) fn in_a_container() -> Self {
        match Self::of_an_app() {
            Self::Own(id) if !is_mapped(id) => Self::Own(Self::IN_A_CONTAINER),
            account @ (Self::Own(_) | Self::Launcher) => account,
        }
    }

    /// Its user id, and group id, as the app sees them.
    pub(super) const fn id(&self) -> u32 {
        match self {
            Self::Own(id) => *id,
            Self::Launcher => 1000,
        }
    }

    pub(super) fn users(&self) -> String {
        format!("app:x:{0}:{0}:app:/home/app:/bin/sh\n", self.id())
    }

    /// Lets the app use its folders, and reopen its output streams. Gives what has to be taken back.
    pub(super) fn borrow(&self, app: &App<'_>) -> io::Result<Vec<PathBuf>> {
        let Self::Own(id) = *self else { return Ok(Vec::new()) };
        let mut lent = LOGS.map(|log| app.logs.join(log)).to_vec();
        lent.extend([app.folders.input.clone(), app.folders.output.clone()]);
        lent.iter().try_for_each(|path| give(path, id))?;
        Ok(lent)
    }

    /// Ends all processes of an app that is a user of its own, however they were started.
    pub(super) fn end(&self) -> io::Result<()> {
        let Self::Own(id) = *self else { return Ok(()) };
        let patience = Instant::now() + LAST_BREATH;
        loop {
            let left = processes_of(id)?;
            if left.is_empty() {
                return Ok(());
            }
            if Instant::now() > patience {
                return Err(io::ErrorKind::TimedOut.into());
            }
            for process in left {
                // An error says that it is gone.
                let _ = kill_process(process, Signal::KILL);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The command that makes the next one this user, without capabilities and without a way to them.
    pub(super) fn steps(&self) -> Vec<String> {
        let Self::Own(id) = self else { return Vec::new() };
        let [user, group] = ["reuid", "regid"].map(|kind| format!("--{kind}={id}"));
        [SETPRIV, &user, &group, "--clear-groups", "--inh-caps=-all"]
            .into_iter()
            .chain(["--bounding-set=-all", "--"])
            .map(ToOwned::to_owned)
            .collect()
    }
}

/// Whether this user id is anybody's in the launcher's user namespace.
fn is_mapped(id: u32) -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.lines().any(|line| {
        let mut numbers = line.split_whitespace().filter_map(|word| word.parse::<u64>().ok());
        let (first, _, many) = (numbers.next(), numbers.next(), numbers.next());
        first.zip(many).is_some_and(|(first, many)| (first..first + many).contains(&id.into()))
    })
}

/// The processes of a user, but for those that have ended and wait to be noticed.
fn processes_of(user: u32) -> io::Result<Vec<Pid>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let id =
            entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        let Some(id) = id else { continue };
        // What cannot be looked at is gone. The owner of the folder says less: a process may hide behind root there.
        let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        let line =
            |name| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        let alive = !line("State:").trim_start().starts_with(['Z', 'X']);
        if alive && line("Uid:").split_whitespace().any(|id| id.parse() == Ok(user)) {
            found.push(id);
        }
    }
    Ok(found)
}

/// Lets others pass through the folder that holds this one, and see nothing of it.
pub(super) fn let_through(folder: &Path) -> io::Result<()> {
    let Some(holder) = folder.parent() else { return Ok(()) };
    let mode = fs::symlink_metadata(holder)?.permissions().mode();
    fs::set_permissions(holder, fs::Permissions::from_mode(mode | 0o011))
}

/// Makes a file, or a folder and all in it, a user's.
pub(super) fn give(path: &Path, user: u32) -> io::Result<()> {
    lchown(path, Some(user), Some(user))?;
    if fs::symlink_metadata(path)?.is_dir() {
        for entry in fs::read_dir(path)? {
            give(&entry?.path(), user)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_app_of_root_is_somebody_else() {
        let accounts: Vec<_> = (0..8).map(|_| Account::of_an_app()).collect();
        if geteuid().is_root() {
            assert!(accounts.iter().all(|account| Account::UNUSED.contains(&account.id())));
            assert!(accounts.iter().skip(1).any(|account| *account != accounts[0]));
        } else {
            assert!(accounts.iter().all(|account| *account == Account::Launcher));
        }
    }
}
