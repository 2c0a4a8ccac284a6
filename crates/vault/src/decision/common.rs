//! What the rules of all families of contracts have in common: a running task, and two views that agree.

use sesame_domain::{Block, Denial, Task, TaskStatus};

/// The two clocks of the rules, seconds since 1970.
#[derive(Clone, Copy)]
pub(super) struct Clock {
    /// The head's timestamp: nothing starts before the chain says so.
    pub(super) head: u64,
    /// The later of wall clock and head: everything ends as soon as either says so.
    pub(super) latest: u64,
}

impl Clock {
    pub(super) fn new(head: &Block, now: u64) -> Self {
        Self { head: head.timestamp, latest: now.max(head.timestamp) }
    }
}

/// Why nothing is released for a task as it stands: it has not started, has ended, or its time is up.
pub(super) fn not_running(task: &Task, clock: Clock) -> Vec<Denial> {
    let mut reasons = Vec::new();
    match task.status {
        TaskStatus::Started => {}
        TaskStatus::Purchased => reasons.push(Denial::TaskNotStarted),
        status @ (TaskStatus::Revealing
        | TaskStatus::Completed
        | TaskStatus::Cancelled
        | TaskStatus::Expired) => {
            reasons.push(Denial::TaskEnded { status });
        }
    }
    if clock.latest > task.order.deadline {
        reasons.push(Denial::TaskExpired { deadline: task.order.deadline });
    }
    reasons
}

/// Both views must agree: the head's reasons, and where it has none and the confirmed view has, that it is not confirmed yet.
pub(super) fn agreed<R>(
    head: Vec<R>,
    confirmed: impl FnOnce() -> Vec<R>,
    not_yet: impl FnOnce() -> R,
) -> Vec<R> {
    if head.is_empty() && !confirmed().is_empty() { vec![not_yet()] } else { head }
}
