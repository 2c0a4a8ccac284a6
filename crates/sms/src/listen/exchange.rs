//! What a connection is at: requests under way, and answers that wait to be taken.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use axum::{
    body::{Body, Bytes},
    response::Response,
};
use hyper::body::{Body as HttpBody, Frame, SizeHint};

/// Bytes of an answer that are handed to the connection at a time. The next are when these have room there, so that an answer
/// ends when its last bytes were taken and not when they could be.
const PIECE: usize = 64 << 10;

/// How fast an answer has to be taken on average, bytes a second, and the time that is granted beyond that.
const LEAST_RATE: u64 = 64 << 10;
const GRACE: Duration = Duration::from_secs(30);

/// The exchanges of one connection.
#[derive(Debug)]
pub(super) struct Exchanges(Mutex<State>);

#[derive(Debug)]
struct State {
    /// By number; and until when the answer has to be taken, once there is one.
    open: BTreeMap<u64, Option<Instant>>,
    /// How many there were.
    begun: u64,
    /// Since when there is none.
    idle_since: Instant,
}

/// How a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Something is under way, or was lately.
    Busy,
    /// Nothing was asked for a while.
    Idle,
    /// An answer is taken too slowly.
    Slow,
}

impl Exchanges {
    pub(super) fn new(now: Instant) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State { open: BTreeMap::new(), begun: 0, idle_since: now })))
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A request's head has come.
    pub(super) fn begin(self: &Arc<Self>) -> Exchange {
        let number = self.with(|state| {
            state.begun += 1;
            state.open.insert(state.begun, None);
            state.begun
        });
        Exchange { of: self.clone(), number }
    }

    pub(super) fn standing(&self, now: Instant, idle_time: Duration) -> Standing {
        self.with(|state| {
            let slow = state.open.values().flatten().any(|until| *until < now);
            let idle = state.open.is_empty() && now.duration_since(state.idle_since) > idle_time;
            if slow {
                Standing::Slow
            } else if idle {
                Standing::Idle
            } else {
                Standing::Busy
            }
        })
    }
}

/// A request under way, until it is dropped.
#[derive(Debug)]
pub(super) struct Exchange {
    of: Arc<Exchanges>,
    number: u64,
}

impl Exchange {
    /// The answer is ready, and has its time to be taken.
    pub(super) fn answer(self, response: Response, now: Instant) -> Response<Answer> {
        let seconds = response.body().size_hint().lower() / LEAST_RATE;
        let until = now + GRACE + Duration::from_secs(seconds);
        self.of.with(|state| state.open.insert(self.number, Some(until)));
        response.map(|body| Answer { body, rest: Bytes::new(), _exchange: self })
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.of.with(|state| {
            state.open.remove(&self.number);
            state.idle_since = Instant::now();
        });
    }
}

/// An answer's body, in pieces.
///
/// It never says before its end that this was all (`is_end_stream`): a connection that is asked for many empty answers by
/// somebody who reads none takes the next request only when the answers before have room.
#[derive(Debug)]
pub(super) struct Answer {
    body: Body,
    /// What was not handed over yet of what the body gave.
    rest: Bytes,
    _exchange: Exchange,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
            match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => self.rest = data,
                Some(Ok(Err(trailers))) => return Poll::Ready(Some(Ok(trailers))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        let piece = PIECE.min(self.rest.len());
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(piece)))))
    }

    fn size_hint(&self) -> SizeHint {
        // Asked before the first piece.
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use super::*;

    const IDLE: Duration = Duration::from_secs(10);

    fn later(since: Instant, seconds: u64) -> Instant {
        since + Duration::from_secs(seconds)
    }

    #[test]
    fn a_connection_is_idle_when_nothing_was_asked_for_a_while() {
        let start = Instant::now();
        let exchanges = Exchanges::new(start);
        assert_eq!(exchanges.standing(later(start, 10), IDLE), Standing::Busy);
        assert_eq!(exchanges.standing(later(start, 11), IDLE), Standing::Idle);
        let (first, second) = (exchanges.begin(), exchanges.begin());
        assert_eq!(exchanges.standing(later(start, 1000), IDLE), Standing::Busy);
        drop(first);
        assert_eq!(exchanges.standing(later(start, 1000), IDLE), Standing::Busy);
        drop(second);
        assert_eq!(exchanges.standing(later(start, 1), IDLE), Standing::Busy);
        assert_eq!(exchanges.standing(later(Instant::now(), 11), IDLE), Standing::Idle);
    }

    #[test]
    fn an_answer_has_a_time_that_grows_with_its_length() {
        let start = Instant::now();
        let exchanges = Exchanges::new(start);
        let body = Bytes::from(vec![0; 128 << 10]);
        let answer = exchanges.begin().answer(Response::new(Body::from(body)), start);
        assert_eq!(exchanges.standing(later(start, 32), IDLE), Standing::Busy);
        assert_eq!(exchanges.standing(later(start, 33), IDLE), Standing::Slow);
        drop(answer);
        assert_ne!(exchanges.standing(later(start, 33), IDLE), Standing::Slow);
    }

    #[tokio::test]
    async fn an_answer_is_handed_over_whole_and_in_pieces() {
        let exchanges = Exchanges::new(Instant::now());
        let bytes: Vec<u8> = (0..200_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let answer = |bytes: &[u8]| {
            let response = Response::new(Body::from(bytes.to_vec()));
            exchanges.begin().answer(response, Instant::now()).into_body()
        };
        let mut body = answer(&bytes);
        assert_eq!(body.size_hint().exact(), Some(200_000));
        let first = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
        assert_eq!(first.unwrap().unwrap().into_data().unwrap(), bytes[..PIECE]);
        assert_eq!(to_bytes(Body::new(body), usize::MAX).await.unwrap(), bytes[PIECE..]);
        let nothing = answer(&[]);
        assert!(!nothing.is_end_stream());
        assert!(to_bytes(Body::new(nothing), 1).await.unwrap().is_empty());
        assert!(exchanges.with(|state| state.open.is_empty()));
    }
}
