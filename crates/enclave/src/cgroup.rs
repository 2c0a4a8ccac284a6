//! One app's group of cgroup v2: a limit for all of its processes together.
//!
//! The kernel's documentation is `admin-guide/cgroup-v2`. The parent has to be a folder that the operator delegates and no
//! process is in, with the controllers for memory and processes on: systemd makes one for a unit with `Delegate=memory pids`.
//! A group is named by the process that made it, so that the next one can tell which were left behind.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rand::Rng;

use crate::limits::{self, Limits};

/// The controllers that limits need.
const CONTROLLERS: [&str; 2] = ["memory", "pids"];

/// The one that a limit of processors needs, and the period that the limit is over, in microseconds.
const CPU: &str = "cpu";
const PERIOD: u64 = 100_000;

/// How long the kernel may take to end what is in a group.
const PATIENCE: Duration = Duration::from_secs(1);

/// There is no group for an app.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CgroupError {
    /// The folder is none of cgroup v2.
    #[error("{} is no folder of cgroup v2", .0.display())]
    NotACgroup(PathBuf),
    /// The folder does not hand a controller on to those below.
    #[error("{} has its {controller} controller off: write +{controller} to its cgroup.subtree_control", parent.display())]
    ControllerOff {
        /// Which folder.
        parent: PathBuf,
        /// Which controller.
        controller: &'static str,
    },
    /// The kernel refuses.
    #[error("cannot make a cgroup in {}", parent.display())]
    Refused {
        /// Which folder.
        parent: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A group, ended and removed with this value.
#[derive(Debug)]
pub struct Cgroup(PathBuf);

impl Cgroup {
    /// Makes one below `parent`.
    ///
    /// # Errors
    /// When `parent` is not delegated, or the kernel refuses a limit.
    pub fn create(parent: &Path, limits: &Limits) -> Result<Self, CgroupError> {
        let on = fs::read_to_string(parent.join("cgroup.subtree_control"))
            .map_err(|_| CgroupError::NotACgroup(parent.to_owned()))?;
        for controller in CONTROLLERS.into_iter().chain(limits.cpus.map(|_| CPU)) {
            if !on.split_whitespace().any(|name| name == controller) {
                return Err(CgroupError::ControllerOff { parent: parent.to_owned(), controller });
            }
        }
        sweep(parent);
        let (maker, random) = (std::process::id(), rand::rng().random::<u64>());
        let group = Self(parent.join(format!("{PREFIX}{maker}-{random:016x}")));
        fs::create_dir(&group.0)
            .and_then(|()| group.limit(limits))
            .map_err(|source| CgroupError::Refused { parent: parent.to_owned(), source })?;
        Ok(group)
    }

    fn limit(&self, limits: &Limits) -> io::Result<()> {
        let write = |file: &str, value: String| fs::write(self.0.join(file), value);
        write("memory.max", limits::bytes(limits.memory_mib).to_string())?;
        // An app of several processes ends as a whole.
        write("memory.oom.group", "1".to_owned())?;
        write("pids.max", limits.processes.to_string())?;
        if let Some(cpus) = limits.cpus {
            write("cpu.max", format!("{} {PERIOD}", cpus.saturating_mul(PERIOD)))?;
        }
        // Missing where the kernel does not account for swap.
        match write("memory.swap.max", "0".to_owned()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Where processes are put.
    pub(crate) fn folder(&self) -> &Path {
        &self.0
    }

    /// Whether the kernel ended processes of the group for want of memory.
    #[must_use]
    pub fn ran_out_of_memory(&self) -> bool {
        let events = fs::read_to_string(self.0.join("memory.events")).unwrap_or_default();
        let killed = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
        killed.is_some_and(|times| times.trim() != "0")
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // An error says that it is gone.
        let _ = fs::write(self.0.join("cgroup.kill"), "1");
        let begun = Instant::now();
        // The kernel ends what is in it a moment later. What stays is removed with the next group.
        while is_busy(&fs::remove_dir(&self.0)) && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn is_busy(removed: &io::Result<()>) -> bool {
    removed.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::ResourceBusy)
}

/// What the names of groups begin with; the process that made it follows.
const PREFIX: &str = "sesame-";

/// Ends and removes what launchers left behind that were killed.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let maker = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        let maker = maker.and_then(|rest| rest.split_once('-')?.0.parse::<u32>().ok());
        if maker.is_some_and(|maker| !Path::new("/proc").join(maker.to_string()).exists()) {
            drop(Cgroup(entry.path()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder as the kernel would show it, as far as it is looked at. It limits nothing, and files appear as they are written.
    fn delegated(controllers: &str) -> tempfile::TempDir {
        let parent = tempfile::tempdir().unwrap();
        fs::write(parent.path().join("cgroup.subtree_control"), controllers).unwrap();
        parent
    }

    #[test]
    fn the_limits_are_written_where_the_kernel_reads_them() {
        let parent = delegated("cpu memory pids\n");
        let limits = Limits { memory_mib: 64, processes: 7, ..Limits::default() };
        let group = Cgroup::create(parent.path(), &limits).unwrap();
        let read = |file: &str| fs::read_to_string(group.folder().join(file)).unwrap();
        assert_eq!(read("memory.max"), "67108864");
        assert_eq!(read("memory.swap.max"), "0");
        assert_eq!(read("memory.oom.group"), "1");
        assert_eq!(read("pids.max"), "7");
        assert!(Cgroup::create(parent.path(), &limits).is_ok(), "each app has its own");
    }

    #[test]
    fn want_of_memory_is_what_the_kernel_counts() {
        let group = Cgroup::create(delegated("memory pids").path(), &Limits::default());
        assert!(group.is_ok());
        let parent = delegated("memory pids");
        let group = Cgroup::create(parent.path(), &Limits::default()).unwrap();
        assert!(!group.ran_out_of_memory(), "no file, no word");
        for (events, expected) in [
            ("low 0\nhigh 0\nmax 9\noom 0\noom_kill 0\n", false),
            ("low 0\nhigh 0\nmax 9\noom 1\noom_kill 1\noom_group_kill 1\n", true),
        ] {
            fs::write(group.folder().join("memory.events"), events).unwrap();
            assert_eq!(group.ran_out_of_memory(), expected, "{events}");
        }
    }

    #[test]
    fn processors_are_limited_where_the_controller_is_on() {
        let limits = Limits { cpus: Some(2), ..Limits::default() };
        let parent = delegated("cpu memory pids\n");
        let group = Cgroup::create(parent.path(), &limits).unwrap();
        assert_eq!(fs::read_to_string(group.folder().join("cpu.max")).unwrap(), "200000 100000");
        let parent = delegated("cpuset memory pids\n");
        let refused = Cgroup::create(parent.path(), &limits).unwrap_err();
        assert!(refused.to_string().contains("+cpu"), "{refused}");
    }

    /// Files stand in the way of a folder's removal as processes do in a group.
    #[test]
    fn a_group_that_is_not_gone_at_once_is_waited_for() {
        let parent = delegated("memory pids");
        let group = Cgroup::create(parent.path(), &Limits::default()).unwrap();
        let path = group.folder().to_owned();
        let busy = fs::remove_dir(&path).unwrap_err();
        assert_eq!(busy.kind(), io::ErrorKind::DirectoryNotEmpty);
        let busy = io::Error::from_raw_os_error(rustix::io::Errno::BUSY.raw_os_error());
        assert!(is_busy(&Err(busy)) && !is_busy(&Ok(())));
        assert!(!is_busy(&fs::remove_dir("/nowhere/at/all")));
        let begun = Instant::now();
        drop(group);
        assert!(begun.elapsed() < PATIENCE && path.exists(), "another error is not waited for");
    }

    #[test]
    fn groups_of_launchers_that_are_gone_are_removed() {
        let parent = delegated("memory pids");
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let gone = parent.path().join(format!("sesame-{}-00", child.id()));
        let used = parent.path().join(format!("sesame-{}-00", std::process::id()));
        let others = ["sesame-0123456789abcdef", "sesame-x-00", "other-1-00"];
        for path in
            others.iter().map(|name| parent.path().join(name)).chain([gone.clone(), used.clone()])
        {
            fs::create_dir(path).unwrap();
        }
        Cgroup::create(parent.path(), &Limits::default()).unwrap();
        assert!(used.exists() && others.iter().all(|name| parent.path().join(name).exists()));
        // Here the order to end stays, as a file, and the folder with it.
        assert_eq!(fs::read_to_string(gone.join("cgroup.kill")).unwrap(), "1");
        assert!(!used.join("cgroup.kill").exists());
    }

    #[test]
    fn what_is_not_delegated_is_refused() {
        let parent = delegated("memory\n");
        let refused = Cgroup::create(parent.path(), &Limits::default()).unwrap_err();
        assert!(refused.to_string().contains("+pids"), "{refused}");
        let parent = delegated("memory_recursiveprot pids");
        let refused = Cgroup::create(parent.path(), &Limits::default()).unwrap_err();
        assert!(refused.to_string().contains("+memory"), "{refused}");
        let parent = tempfile::tempdir().unwrap();
        let refused = Cgroup::create(parent.path(), &Limits::default()).unwrap_err();
        assert!(matches!(refused, CgroupError::NotACgroup(_)), "{refused}");
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0, "nothing is left behind");
    }
}
