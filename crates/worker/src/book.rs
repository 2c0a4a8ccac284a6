//! The worker's book: which tasks it knows, which of them wait, run or are reported. No IO, and time is an argument.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
    time::Duration,
};

use alloy::primitives::Address;
use sesame_chain::PurchasedTask;
use sesame_domain::{BlockRef, TaskId};
use tokio::time::Instant;

use crate::{error::Again, run::Bought};

/// How often a task is tried whose TEE breaks down, or whose folder cannot be used.
const FEW: u32 = 5;

/// The tasks that a worker knows. Of those that need nothing any more it forgets all but what may be found again.
#[derive(Debug, Default)]
pub(crate) struct Book {
    tasks: BTreeMap<TaskId, Known>,
    /// Counts up: who was queued first is first.
    turns: u64,
}

#[derive(Debug)]
enum Known {
    Open(Box<Open>),
    /// Needs nothing. A worker that is started again may try once more until `until`, seconds since 1970.
    Closed {
        block: BlockRef,
        until: u64,
    },
}

#[derive(Debug)]
struct Open {
    purchase: Arc<PurchasedTask>,
    tries: Tries,
    state: State,
}

/// How often a task was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Tries {
    all: u32,
    /// Those that ended for a reason that is worth few attempts.
    few: u32,
}

#[derive(Debug)]
enum State {
    /// Waits for its turn.
    Queued(u64),
    /// Failed in a way that may pass.
    Waiting(Instant),
    Running,
    /// The chain has its result, which a reorg may undo until the chain is `depth` blocks higher than this.
    Reported(u64),
}

/// A task whose turn it is.
#[derive(Debug, Clone)]
pub(crate) struct Turn {
    pub(crate) purchase: Arc<PurchasedTask>,
    /// From 1.
    pub(crate) attempt: u32,
}

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The chain has the result, which is still kept here; the newest block is this.
    Reported(u64),
    /// Nothing is left to do.
    Over,
    /// The chain does not know the task: should it be bought again, it is found again.
    Unknown,
    /// There is no result.
    Failed(Again),
    /// The worker ended it, and runs no more.
    Stopped,
}

/// How many tasks are in which state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    pub(crate) queued: usize,
    pub(crate) waiting: usize,
    pub(crate) running: usize,
}

impl Book {
    /// A purchase was found on the chain, for the first time or again. One that a reorg moved may say something else of its
    /// assets, and undo that the task was given up. Gives whether it is new and its deadline past: then it is not queued.
    pub(crate) fn found(&mut self, purchase: PurchasedTask, now: u64) -> bool {
        let turn = self.turn();
        match self.tasks.entry(purchase.id) {
            Entry::Vacant(unknown) => {
                let late = purchase.order.deadline < now;
                unknown.insert(if late {
                    Known::Closed { block: purchase.block, until: 0 }
                } else {
                    Known::queued(purchase, turn)
                });
                return late;
            }
            Entry::Occupied(mut known) => match known.get_mut() {
                Known::Closed { block, .. } if *block != purchase.block => {
                    known.insert(Known::queued(purchase, turn));
                }
                Known::Open(open) if open.purchase.block != purchase.block => {
                    open.purchase = Arc::new(purchase);
                }
                Known::Closed { .. } | Known::Open(_) => {}
            },
        }
        false
    }

    /// The task whose turn it is, which runs from now on: of the requesters with the fewest running tasks the one that waits
    /// longest, so that nobody who buys many keeps the others waiting.
    pub(crate) fn next(&mut self) -> Option<Turn> {
        let mut running: BTreeMap<Address, usize> = BTreeMap::new();
        for open in self.open().filter(|open| matches!(open.state, State::Running)) {
            *running.entry(open.purchase.requester).or_default() += 1;
        }
        let queued = self.tasks.values_mut().filter_map(|known| match known {
            Known::Open(open) => match open.state {
                State::Queued(turn) => Some((turn, open)),
                State::Waiting(_) | State::Running | State::Reported(_) => None,
            },
            Known::Closed { .. } => None,
        });
        let (_, open) = queued.min_by_key(|(turn, open)| {
            (running.get(&open.purchase.requester).copied().unwrap_or_default(), *turn)
        })?;
        open.state = State::Running;
        Some(Turn { purchase: Arc::clone(&open.purchase), attempt: open.tries.all + 1 })
    }

    /// An attempt at a task, as it was bought in `ran`, has ended. Gives whether there will be another.
    pub(crate) fn ended(
        &mut self,
        task: TaskId,
        ran: BlockRef,
        ended: Ended,
        (time, now): (Instant, u64),
        pause: impl FnOnce(u32) -> Duration,
    ) -> bool {
        let turn = self.turn();
        let Some(Known::Open(open)) = self.tasks.get_mut(&task) else { return false };
        let deadline = open.purchase.order.deadline;
        open.tries.all = open.tries.all.saturating_add(1);
        match ended {
            Ended::Reported(head) => open.state = State::Reported(head),
            Ended::Stopped => open.state = State::Queued(turn),
            Ended::Unknown => drop(self.tasks.remove(&task)),
            Ended::Over => self.close(task, 0),
            Ended::Failed(_) if now > deadline => self.close(task, 0),
            Ended::Failed(again) => {
                open.tries.few += u32::from(again == Again::Few);
                let more = match again {
                    Again::UntilDeadline => true,
                    Again::Few => open.tries.few < FEW,
                    Again::Never => false,
                };
                if more {
                    open.state = State::Waiting(time + pause(open.tries.all));
                    return true;
                }
                if open.purchase.block != ran {
                    // What failed is not what the chain says now.
                    open.state = State::Queued(turn);
                    return true;
                }
                self.close(task, deadline);
            }
        }
        false
    }

    /// Queues the tasks whose pause is over.
    pub(crate) fn wake(&mut self, time: Instant) {
        let mut turns = self.turns;
        for open in self.open_mut() {
            if matches!(open.state, State::Waiting(until) if until <= time) {
                turns += 1;
                open.state = State::Queued(turns);
            }
        }
        self.turns = turns;
    }

    /// When the next pause is over.
    pub(crate) fn next_wake(&self) -> Option<Instant> {
        self.open()
            .filter_map(|open| match open.state {
                State::Waiting(until) => Some(until),
                State::Queued(_) | State::Running | State::Reported(_) => None,
            })
            .min()
    }

    /// Closes the tasks that wait though their deadline is past, and gives them.
    pub(crate) fn overdue(&mut self, now: u64) -> Vec<TaskId> {
        let late = |open: &&Open| match open.state {
            State::Queued(_) | State::Waiting(_) => open.purchase.order.deadline < now,
            State::Running | State::Reported(_) => false,
        };
        let late: Vec<_> = self.open().filter(late).map(|open| open.purchase.id).collect();
        for task in &late {
            self.close(*task, 0);
        }
        late
    }

    /// Reported tasks that no reorg can undo any more once the chain still has their result, at most `most`.
    pub(crate) fn deep(&self, head: u64, depth: u64, most: usize) -> Vec<Bought> {
        let deep = |open: &&Open| match open.state {
            State::Reported(at) => at.saturating_add(depth) <= head,
            State::Queued(_) | State::Waiting(_) | State::Running => false,
        };
        self.open().filter(deep).map(|open| Bought::of(&open.purchase)).take(most).collect()
    }

    /// A reported task needs nothing any more.
    pub(crate) fn settled(&mut self, task: TaskId) {
        self.close(task, 0);
    }

    /// A reorg undid a task's result: it is reported again.
    pub(crate) fn undone(&mut self, task: TaskId) {
        let turn = self.turn();
        if let Some(Known::Open(open)) = self.tasks.get_mut(&task) {
            open.state = State::Queued(turn);
        }
    }

    /// A task is not on the chain any more.
    pub(crate) fn vanished(&mut self, task: TaskId) {
        self.tasks.remove(&task);
    }

    /// Forgets closed tasks that are not found again from `next_block` on, and that a worker that is started again would not
    /// try either.
    pub(crate) fn forget(&mut self, next_block: u64, now: u64) {
        self.tasks.retain(|_, known| match known {
            Known::Open(_) => true,
            Known::Closed { block, until } => block.number >= next_block || *until >= now,
        });
    }

    /// Where a worker that is started again has to begin to look, if this one would go on at `next_block`.
    pub(crate) fn resume(&self, next_block: u64, now: u64) -> u64 {
        let needed = self.tasks.values().filter_map(|known| match known {
            Known::Open(open) => Some(open.purchase.block.number),
            Known::Closed { block, until } => (*until >= now).then_some(block.number),
        });
        needed.min().map_or(next_block, |oldest| oldest.min(next_block))
    }

    pub(crate) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for open in self.open() {
            match open.state {
                State::Queued(_) => counts.queued += 1,
                State::Waiting(_) => counts.waiting += 1,
                State::Running => counts.running += 1,
                State::Reported(_) => {}
            }
        }
        counts
    }

    fn turn(&mut self) -> u64 {
        self.turns += 1;
        self.turns
    }

    fn close(&mut self, task: TaskId, until: u64) {
        if let Some(known) = self.tasks.get_mut(&task)
            && let Known::Open(open) = known
        {
            *known = Known::Closed { block: open.purchase.block, until };
        }
    }

    fn open(&self) -> impl Iterator<Item = &Open> {
        self.tasks.values().filter_map(|known| match known {
            Known::Open(open) => Some(&**open),
            Known::Closed { .. } => None,
        })
    }

    fn open_mut(&mut self) -> impl Iterator<Item = &mut Open> {
        self.tasks.values_mut().filter_map(|known| match known {
            Known::Open(open) => Some(&mut **open),
            Known::Closed { .. } => None,
        })
    }
}

impl Known {
    fn queued(purchase: PurchasedTask, turn: u64) -> Self {
        let purchase = Arc::new(purchase);
        Self::Open(Box::new(Open { purchase, tries: Tries::default(), state: State::Queued(turn) }))
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::B256;
    use sesame_domain::AssetId;

    use super::*;
    use crate::testing::purchase;

    const NOW: u64 = 1000;
    const DEADLINE: u64 = 2000;

    fn id(byte: u8) -> TaskId {
        TaskId(B256::repeat_byte(byte))
    }

    /// Task `byte` of this requester, bought in this block.
    fn bought(byte: u8, requester: u8, block: u64) -> PurchasedTask {
        let mut bought = purchase(AssetId(B256::ZERO), Address::repeat_byte(requester));
        bought.id = id(byte);
        bought.block.number = block;
        bought.order.deadline = DEADLINE;
        bought
    }

    /// The same, moved by a reorg.
    fn moved(byte: u8, requester: u8, block: u64) -> PurchasedTask {
        let mut bought = bought(byte, requester, block);
        bought.block.hash = B256::repeat_byte(99);
        bought
    }

    fn book(bought: impl IntoIterator<Item = PurchasedTask>) -> Book {
        let mut book = Book::default();
        for bought in bought {
            assert!(!book.found(bought, NOW));
        }
        book
    }

    fn next(book: &mut Book) -> Option<u8> {
        book.next().map(|turn| turn.purchase.id.0[0])
    }

    fn end(book: &mut Book, byte: u8, ended: Ended) -> bool {
        end_in(book, byte, 1, ended)
    }

    fn end_in(book: &mut Book, byte: u8, block: u64, ended: Ended) -> bool {
        let ran = bought(byte, 0, block).block;
        book.ended(id(byte), ran, ended, (Instant::now(), NOW), |_| Duration::ZERO)
    }

    fn queued(queued: usize, waiting: usize, running: usize) -> Counts {
        Counts { queued, waiting, running }
    }

    #[test]
    fn who_buys_many_keeps_nobody_waiting() {
        let mut book =
            book([(1, 1), (2, 1), (3, 1), (4, 2), (5, 3), (6, 2)].map(|(t, r)| bought(t, r, 1)));
        let order: Vec<_> = std::iter::from_fn(|| next(&mut book)).collect();
        assert_eq!(order, [1, 4, 5, 2, 6, 3]);
        assert_eq!(book.counts(), queued(0, 0, 6));
    }

    #[test]
    fn a_task_runs_once_at_a_time_however_often_it_is_found() {
        let mut book = book([bought(1, 1, 1), bought(1, 1, 1)]);
        assert_eq!(next(&mut book), Some(1));
        book.found(bought(1, 1, 1), NOW);
        assert_eq!(next(&mut book), None);
        end(&mut book, 1, Ended::Over);
        book.found(bought(1, 1, 1), NOW);
        assert_eq!((next(&mut book), book.counts()), (None, queued(0, 0, 0)));
    }

    #[test]
    fn what_may_pass_is_tried_until_the_deadline_and_breakdowns_a_few_times() {
        for (again, most) in [(Again::Never, 1), (Again::Few, FEW), (Again::UntilDeadline, 50)] {
            let mut book = book([bought(1, 1, 1)]);
            let mut attempts = 0;
            while let Some(turn) = book.next()
                && attempts < 50
            {
                attempts += 1;
                assert_eq!(turn.attempt, attempts);
                let more = end(&mut book, 1, Ended::Failed(again));
                assert_eq!(more, attempts < most || again == Again::UntilDeadline, "{again:?}");
                book.wake(Instant::now());
            }
            assert_eq!(attempts, most, "{again:?}");
        }
        let mut late = book([bought(1, 1, 1)]);
        late.next().unwrap();
        let (ran, times) = (bought(1, 1, 1).block, (Instant::now(), DEADLINE + 1));
        let failed = Ended::Failed(Again::UntilDeadline);
        assert!(!late.ended(id(1), ran, failed, times, |_| Duration::ZERO));
    }

    #[test]
    fn a_pause_is_kept_and_then_over() {
        let mut book = book([bought(1, 1, 1)]);
        book.next().unwrap();
        let (time, ran) = (Instant::now(), bought(1, 1, 1).block);
        let (pause, failed) = (Duration::from_secs(7), Ended::Failed(Again::Few));
        assert!(book.ended(id(1), ran, failed, (time, NOW), |_| pause));
        assert_eq!((book.next_wake(), book.counts()), (Some(time + pause), queued(0, 1, 0)));
        book.wake(time + pause / 2);
        assert_eq!(next(&mut book), None);
        book.wake(time + pause);
        assert_eq!((book.next_wake(), next(&mut book)), (None, Some(1)));
    }

    #[test]
    fn a_purchase_that_a_reorg_moved_is_tried_anew() {
        let mut given_up = book([bought(1, 1, 1)]);
        given_up.next().unwrap();
        end(&mut given_up, 1, Ended::Failed(Again::Never));
        given_up.found(bought(1, 1, 1), NOW);
        assert_eq!(next(&mut given_up), None, "the same purchase is not");
        given_up.found(moved(1, 1, 2), NOW);
        assert_eq!(next(&mut given_up), Some(1));

        let mut running = book([bought(1, 1, 1)]);
        running.next().unwrap();
        running.found(moved(1, 1, 2), NOW);
        assert_eq!(next(&mut running), None, "it runs");
        assert!(end(&mut running, 1, Ended::Failed(Again::Never)), "what failed was another");
        assert_eq!(running.next().unwrap().purchase.block, moved(1, 1, 2).block);

        let mut vanished = book([bought(1, 1, 1)]);
        vanished.next().unwrap();
        end(&mut vanished, 1, Ended::Unknown);
        assert_eq!(next(&mut vanished), None);
        vanished.found(bought(1, 1, 1), NOW);
        assert_eq!(next(&mut vanished), Some(1));
    }

    #[test]
    fn a_result_is_kept_until_no_reorg_undoes_it() {
        let mut book = book([bought(1, 1, 1), bought(2, 2, 1)]);
        while book.next().is_some() {}
        end(&mut book, 1, Ended::Reported(100));
        end(&mut book, 2, Ended::Reported(100));
        let deep = |book: &Book, head, most| -> Vec<TaskId> {
            book.deep(head, 64, most).iter().map(|bought| bought.task).collect()
        };
        assert!(deep(&book, 163, 9).is_empty());
        assert_eq!(deep(&book, 164, 9), [id(1), id(2)]);
        assert_eq!(deep(&book, 164, 1), [id(1)]);
        assert_eq!(book.resume(100, NOW), 1, "until then it has to be found again");
        book.settled(id(1));
        book.undone(id(2));
        assert_eq!((next(&mut book), deep(&book, 164, 9)), (Some(2), vec![]));
    }

    #[test]
    fn a_task_of_old_is_not_run() {
        let mut book = Book::default();
        assert!(book.found(bought(1, 1, 1), DEADLINE + 1));
        assert!(!book.found(bought(1, 1, 1), DEADLINE + 1), "once is enough");
        assert_eq!((next(&mut book), book.counts()), (None, queued(0, 0, 0)));
        assert_eq!(book.resume(50, DEADLINE + 1), 50);
    }

    #[test]
    fn tasks_that_wait_past_their_deadline_are_closed() {
        let mut book = book([bought(1, 1, 1), bought(2, 2, 1), bought(3, 3, 1)]);
        assert_eq!(next(&mut book), Some(1));
        assert!(book.overdue(DEADLINE).is_empty());
        assert_eq!(book.overdue(DEADLINE + 1), [id(2), id(3)]);
        assert_eq!(book.counts(), queued(0, 0, 1), "what runs is ended by its own limit");
    }

    #[test]
    fn what_is_over_is_forgotten_and_what_a_restart_may_need_is_not() {
        let mut book = book((1..=4).map(|byte| bought(byte, byte, u64::from(byte))));
        while book.next().is_some() {}
        end(&mut book, 1, Ended::Over);
        assert_eq!(book.resume(50, NOW), 2);
        end_in(&mut book, 2, 2, Ended::Failed(Again::Never));
        end(&mut book, 3, Ended::Over);
        assert_eq!(book.resume(50, NOW), 2, "another configuration may run what this one does not");
        assert_eq!(book.resume(50, DEADLINE + 1), 4);
        book.forget(3, NOW);
        let left: Vec<_> = book.tasks.keys().copied().collect();
        assert_eq!(left, [id(2), id(3), id(4)]);
        book.forget(50, DEADLINE + 1);
        let left: Vec<_> = book.tasks.keys().copied().collect();
        assert_eq!(left, [id(4)], "open tasks stay");
        end(&mut book, 4, Ended::Over);
        book.forget(50, NOW);
        assert!(book.tasks.is_empty());
        assert_eq!(book.resume(50, NOW), 50);
    }

    #[test]
    fn a_task_that_the_worker_ended_is_open_for_the_next_one() {
        let mut book = book([bought(1, 1, 7)]);
        book.next().unwrap();
        end(&mut book, 1, Ended::Stopped);
        assert_eq!((book.resume(50, NOW), book.counts()), (7, queued(1, 0, 0)));
    }
}
