//! Threads for work that wants processors and waits for nobody: one for each processor.
//!
//! More of them would do no more, and would take the processors from the threads that read requests and refuse them. Work waits
//! here in its order for a thread that is done, which takes the next without having slept.

use std::{
    io,
    num::NonZeroUsize,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
};

use tokio::sync::oneshot;

use crate::{problem::ApiError, stack::wiped};

/// The threads. They end when this is dropped, with what they were given.
#[derive(Debug)]
pub(crate) struct Crew(mpsc::Sender<Job>);

type Job = Box<dyn FnOnce() + Send>;

impl Crew {
    /// So many threads.
    pub(crate) fn new(threads: NonZeroUsize) -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..threads.get() {
            let queue = queue.clone();
            thread::Builder::new().name("work".to_owned()).spawn(move || work(&queue))?;
        }
        Ok(Self(jobs))
    }

    /// Does this when it is its turn, and leaves nothing of it on the thread's stack.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let (tell, told) = oneshot::channel();
        let span = tracing::Span::current();
        let job = move || {
            let done = catch_unwind(AssertUnwindSafe(|| span.in_scope(|| wiped(work))));
            // Of a panic is told that there is no answer; its place is in the panic hook's output.
            drop(done.map(|result| tell.send(result)));
        };
        self.0.send(Box::new(job)).map_err(|error| ApiError::internal(&error))?;
        told.await.map_err(|error| ApiError::internal(&error))?
    }
}

fn work(queue: &Mutex<mpsc::Receiver<Job>>) {
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
    while let Ok(job) = next() {
        job();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_is_done_in_its_order_and_a_panic_ends_no_thread() {
        let crew = Crew::new(NonZeroUsize::MIN).unwrap();
        for n in 0..3 {
            let panicked = crew.run(|| -> Result<(), ApiError> { panic!("as a test") }).await;
            assert!(panicked.is_err());
            assert_eq!(crew.run(move || Ok(n)).await.unwrap(), n);
        }
        let order = Arc::new(Mutex::new(Vec::new()));
        let all = (0..100).map(|n| {
            let order = order.clone();
            crew.run(move || {
                order.lock().unwrap().push(n);
                Ok(())
            })
        });
        futures::future::join_all(all).await.into_iter().for_each(|done| done.unwrap());
        assert!(order.lock().unwrap().iter().copied().eq(0..100));
    }
}
