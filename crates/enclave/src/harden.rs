//! What a process that holds secrets asks of the kernel before it holds any.

use rustix::{
    io::Errno,
    mm::MlockAllFlags,
    process::{DumpableBehavior, Resource, Rlimit, Signal},
};

/// What is below the launcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// Linux itself.
    Linux,
    /// Gramine, which plays Linux inside an enclave and has no `prctl`: nobody outside sees the enclave's memory anyway, and the
    /// host ends it by other means.
    Gramine,
}

impl Kernel {
    fn answered(
        self,
        what: &'static str,
        answer: rustix::io::Result<()>,
    ) -> Result<(), HardenError> {
        match (self, answer) {
            (Self::Gramine, Err(Errno::NOSYS)) => Ok(()),
            (_, answer) => answer.map_err(|source| HardenError { what, source }),
        }
    }
}

/// The kernel refused a protection.
#[derive(Debug, thiserror::Error)]
#[error("the kernel refused to {what}")]
pub struct HardenError {
    /// Which protection.
    what: &'static str,
    /// Why.
    #[source]
    source: Errno,
}

/// No core dumps, no debugger of the same user, no new privileges, and no descriptors for children but the three that they
/// expect and those that are opened for them later. All but the second hold for children as well.
///
/// # Errors
/// When the kernel refuses one of them.
pub fn harden(kernel: Kernel) -> Result<(), HardenError> {
    close_fds::set_fds_cloexec(3, &[]);
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let no_core = rustix::process::setrlimit(Resource::Core, none);
    Kernel::Linux.answered("forbid core dumps", no_core)?;
    let undumpable = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
    kernel.answered("make the process undumpable", undumpable)?;
    kernel.answered("give up new privileges", rustix::thread::set_no_new_privs(true))
}

/// Keeps what this process has in memory out of swap, now and from now on, and says whether: only where it may lock memory
/// without a limit (`RLIMIT_MEMLOCK`), since under one an allocation would fail some day, in the middle of a request.
///
/// Pages are locked when they are first used, so nothing is resident that would not be anyway.
///
/// # Errors
/// When the kernel refuses nevertheless.
pub fn lock_memory() -> Result<bool, HardenError> {
    if rustix::process::getrlimit(Resource::Memlock).current.is_some() {
        return Ok(false);
    }
    lock_all().map(|()| true)
}

fn lock_all() -> Result<(), HardenError> {
    let all = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    rustix::mm::mlockall(all)
        .map_err(|source| HardenError { what: "lock the process's memory", source })
}

/// Has the kernel end this process when its parent ends, even if that is killed.
///
/// # Errors
/// When the kernel refuses.
pub fn end_with_parent(kernel: Kernel) -> Result<(), HardenError> {
    let asked = rustix::process::set_parent_process_death_signal(Some(Signal::TERM));
    kernel.answered("end the process with its parent", asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gramine_may_know_no_such_call_and_linux_may_not() {
        let check = |kernel: Kernel, answer| kernel.answered("x", answer).is_ok();
        for kernel in [Kernel::Linux, Kernel::Gramine] {
            assert!(check(kernel, Ok(())));
            assert!(!check(kernel, Err(Errno::PERM)) && !check(kernel, Err(Errno::INVAL)));
        }
        assert!(check(Kernel::Gramine, Err(Errno::NOSYS)));
        assert!(!check(Kernel::Linux, Err(Errno::NOSYS)));
    }

    fn locked_kib() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmLck:")).unwrap();
        line.trim().trim_end_matches("kB").trim().parse().unwrap()
    }

    /// Only root, or who has no limit, may lock that much.
    #[test]
    fn what_is_used_later_is_locked_as_well() {
        assert_eq!(locked_kib(), 0);
        if lock_all().is_err() {
            assert!(!rustix::process::geteuid().is_root(), "root may lock memory");
            return;
        }
        let before = locked_kib();
        let later = std::hint::black_box(vec![1_u8; 64 << 20]);
        assert!(before > 0 && locked_kib() >= before + (later.len() as u64 >> 10));
    }
}
