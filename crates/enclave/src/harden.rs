//! What a process that holds secrets asks of the kernel before it holds any.

use rustix::{
    io::Errno,
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
}
