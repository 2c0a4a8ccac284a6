//! One app's group of cgroup v2: a limit for all of its processes together.
//!
//! The kernel's documentation is `admin-guide/cgroup-v2`. The parent has to be a folder that the operator delegates and no
//! process is in, with the controllers for memory and processes on: systemd makes one for a unit with `Delegate=memory pids`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rand::Rng;

use crate::limits::{self, Limits};

/// The controllers that limits need.
const CONTROLLERS: [&str; 2] = ["memory", "pids"];

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
        for controller in CONTROLLERS {
            if !on.split_whitespace().any(|name| name == controller) {
                return Err(CgroupError::ControllerOff { parent: parent.to_owned(), controller });
            }
        }
        let group = Self(parent.join(format!("sesame-{:016x}", rand::rng().random::<u64>())));
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
        // An empty folder that stays costs nothing, and an error says that it is gone.
        let _ = fs::write(self.0.join("cgroup.kill"), "1");
        let _ = fs::remove_dir(&self.0);
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
