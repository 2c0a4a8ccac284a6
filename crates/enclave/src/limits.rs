//! What an app may use of its host: the host says, since it is the host that is protected.

use std::{path::PathBuf, time::Duration};

use crate::args::{Args, ArgsError};

/// The arguments that set limits, as [`Args`] knows them.
pub const NAMES: [&str; 7] = [
    "app-memory-mib",
    "app-cpu-seconds",
    "app-seconds",
    "app-output-mib",
    "app-processes",
    "app-cpus",
    "app-cgroup",
];

/// What an app may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Memory in MiB: what each of its processes may have as data, what each of its folders in memory may hold, and, where
    /// there is a cgroup, what all of it together may take.
    pub memory_mib: u64,
    /// Seconds of processor time, for each of its processes.
    pub cpu_seconds: Option<u64>,
    /// Seconds from its start; the task's deadline holds in any case.
    pub seconds: Option<u64>,
    /// What it may leave in `IEXEC_OUT`, in MiB.
    pub output_mib: u64,
    /// How many processes and threads it may have at a time.
    pub processes: u64,
    /// How many processors' time all of it together may use, where there is a cgroup.
    pub cpus: Option<u64>,
    /// An empty folder of cgroup v2, delegated to the launcher's user, below which a group for the app is made.
    pub cgroup: Option<PathBuf>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_mib: 4096,
            cpu_seconds: None,
            seconds: None,
            output_mib: 1024,
            processes: 1024,
            cpus: None,
            cgroup: None,
        }
    }
}

impl Limits {
    /// Takes them out of a launcher's arguments; what is not given is as by default.
    ///
    /// # Errors
    /// When a value is of the wrong form.
    pub fn take(args: &mut Args) -> Result<Self, ArgsError> {
        let usual = Self::default();
        Ok(Self {
            memory_mib: args.take_if_given("app-memory-mib")?.unwrap_or(usual.memory_mib),
            cpu_seconds: args.take_if_given("app-cpu-seconds")?,
            seconds: args.take_if_given("app-seconds")?,
            output_mib: args.take_if_given("app-output-mib")?.unwrap_or(usual.output_mib),
            processes: args.take_if_given("app-processes")?.unwrap_or(usual.processes),
            cpus: args.take_if_given("app-cpus")?,
            cgroup: args.take_if_given("app-cgroup")?,
        })
    }

    /// The arguments that say the same.
    #[must_use]
    pub fn to_args(&self) -> Vec<String> {
        let cgroup = self.cgroup.as_ref().map(|path| path.display().to_string());
        [
            ("app-memory-mib", Some(self.memory_mib.to_string())),
            ("app-cpu-seconds", self.cpu_seconds.map(|seconds| seconds.to_string())),
            ("app-seconds", self.seconds.map(|seconds| seconds.to_string())),
            ("app-output-mib", Some(self.output_mib.to_string())),
            ("app-processes", Some(self.processes.to_string())),
            ("app-cpus", self.cpus.map(|cpus| cpus.to_string())),
            ("app-cgroup", cgroup),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some([format!("--{name}"), value?]))
        .flatten()
        .collect()
    }

    /// The limit of time that is shorter than `left`, if it is.
    pub(crate) fn shorter_than(&self, left: Duration) -> Option<Duration> {
        self.seconds.map(Duration::from_secs).filter(|own| *own < left)
    }
}

/// MiB in bytes.
pub(crate) const fn bytes(mib: u64) -> u64 {
    mib.saturating_mul(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(args: Vec<String>) -> Result<Limits, ArgsError> {
        Limits::take(&mut Args::parse(&NAMES, args)?)
    }

    #[test]
    fn what_is_said_is_what_is_heard() {
        let all = Limits {
            memory_mib: 1,
            cpu_seconds: Some(2),
            seconds: Some(3),
            output_mib: 4,
            processes: 5,
            cpus: Some(6),
            cgroup: Some("/sys/fs/cgroup/apps".into()),
        };
        assert_eq!(all.to_args().len(), 2 * NAMES.len());
        for limits in [Limits::default(), all] {
            assert_eq!(take(limits.to_args()), Ok(limits));
        }
        assert_eq!(take(Vec::new()), Ok(Limits::default()));
    }

    #[test]
    fn a_limit_is_a_number() {
        for name in &NAMES[..6] {
            for bad in ["", "-1", "1.5", "4G", "none"] {
                let refused = take(vec![format!("--{name}"), bad.to_owned()]);
                assert_eq!(refused, Err(ArgsError::Malformed(name)), "{bad}");
            }
        }
    }

    #[test]
    fn the_shorter_time_counts() {
        let limits = Limits { seconds: Some(10), ..Limits::default() };
        let seconds = Duration::from_secs;
        assert_eq!(limits.shorter_than(seconds(11)), Some(seconds(10)));
        assert_eq!(limits.shorter_than(seconds(10)), None);
        assert_eq!(Limits::default().shorter_than(seconds(1000)), None);
    }
}
