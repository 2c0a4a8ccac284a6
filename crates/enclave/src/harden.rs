//! What a process that holds secrets asks of the kernel before it holds any.

use rustix::process::{DumpableBehavior, Resource, Rlimit, Signal};

/// The kernel refused a protection.
#[derive(Debug, thiserror::Error)]
#[error("the kernel refused to {what}")]
pub struct HardenError {
    /// Which protection.
    what: &'static str,
    /// Why.
    #[source]
    source: rustix::io::Errno,
}

/// No core dumps, no debugger of the same user, no new privileges, and no descriptors for children but the three that they
/// expect and those that are opened for them later. All but the second hold for children as well.
///
/// # Errors
/// When the kernel refuses one of them.
pub fn harden() -> Result<(), HardenError> {
    let refused = |what| move |source| HardenError { what, source };
    close_fds::set_fds_cloexec(3, &[]);
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    rustix::process::setrlimit(Resource::Core, none).map_err(refused("forbid core dumps"))?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(refused("make the process undumpable"))?;
    rustix::thread::set_no_new_privs(true).map_err(refused("give up new privileges"))
}

/// Has the kernel end this process when its parent ends, even if that is killed.
///
/// # Errors
/// When the kernel refuses.
pub fn end_with_parent() -> Result<(), HardenError> {
    rustix::process::set_parent_process_death_signal(Some(Signal::TERM))
        .map_err(|source| HardenError { what: "end the process with its parent", source })
}
