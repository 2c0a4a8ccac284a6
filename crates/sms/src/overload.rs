//! What the service takes on at a time. Beyond that it says no soon, so that whatever it took on is answered soon.
//!
//! Work holds a [`Place`], and waits for one in a [`Line`]. It is done by a [`Crew`], or on the runtime's blocking threads where it
//! waits for a database or an HSM. There are few more places than keep those busy. What only reads the process's own state
//! (health, metrics, status) needs none.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    BoxError,
    body::{Body, Bytes},
    extract::Request,
    middleware::Next,
    response::Response,
};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Sleep, sleep},
};

use crate::{
    crew::Crew,
    line::{self, Line},
    problem::{ApiError, Code},
    service::holding,
};

/// Bytes of requests' bodies that may be in memory together: some sixty of the largest secrets.
const BODIES: usize = 256 << 20;

/// Bytes of large answers that may be in memory together until they were taken: three of the largest bundles. Small ones, such as
/// every refusal, are not counted.
const ANSWERS: usize = 256 << 20;
const SMALL: u64 = 64 << 10;

/// Bytes of a body that have to come in each [`WINDOW`] that it is waited for; and how many where bodies take more than half of
/// their room: then whoever sends slowly has to make room for the others.
const LEAST: usize = 64 << 10;
const LEAST_IN_NEED: usize = 1 << 20;
const WINDOW: Duration = Duration::from_secs(5);

/// How long a burst of requests is waited for.
const PATIENCE: Duration = Duration::from_millis(50);

/// Room for what is worked on.
#[derive(Debug)]
pub(crate) struct Room {
    line: Line,
    crew: Option<Arc<Crew>>,
    bodies: Arc<Semaphore>,
    answers: Arc<Semaphore>,
}

impl Room {
    /// For so many requests at a time, done by the crew if there is one.
    pub(crate) fn new(places: usize, crew: Option<Crew>) -> Self {
        let [bodies, answers] = [BODIES, ANSWERS].map(|bytes| Arc::new(Semaphore::new(bytes)));
        Self { line: Line::new(places, PATIENCE), crew: crew.map(Arc::new), bodies, answers }
    }

    /// An answer that takes room until it was taken, or is dropped.
    fn with_room(&self, answer: Response) -> Result<Response, ApiError> {
        let bytes = answer.body().size_hint().lower();
        if bytes <= SMALL {
            return Ok(answer);
        }
        let room = u32::try_from(bytes).ok();
        let room = room.and_then(|bytes| self.answers.clone().try_acquire_many_owned(bytes).ok());
        let room = room.ok_or_else(overloaded)?;
        Ok(answer.map(|body| Body::new(Large { body, _room: room })))
    }

    /// A place, unless all are taken and none gets free soon.
    pub(crate) async fn place(&self) -> Result<Place, ApiError> {
        let turn = self.line.enter().await.ok_or_else(overloaded)?;
        Ok(Place { turn, crew: self.crew.clone() })
    }
}

/// The right to be worked on, until it is dropped.
#[derive(Debug)]
#[must_use = "the place is free again when this is dropped"]
pub(crate) struct Place {
    turn: line::Place,
    crew: Option<Arc<Crew>>,
}

fn overloaded() -> ApiError {
    ApiError::new(
        Code::Overloaded,
        "The service is asked for more than it can do: ask again in a moment.",
    )
}

fn too_slow() -> ApiError {
    ApiError::new(Code::RequestTooSlow, "The body comes too slowly: send it again, faster.")
}

/// Works off the async threads. The place goes with the work: a caller who leaves early makes no room that is not there.
pub(crate) async fn blocking<T: Send + 'static>(
    place: Place,
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let Place { turn, crew } = place;
    let Some(crew) = crew else { return holding(turn, work).await };
    let work = move || {
        let _turn = turn;
        work()
    };
    crew.run(work).await
}

/// Bounds what all bodies take together while they come in, however slowly, and until they are answered; and what their answers
/// take, however slowly these are read.
pub(crate) async fn in_memory(
    room: &Room,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let held = Arc::new(Mutex::new(Held::default()));
    let counted = |body| Counted {
        body,
        room: room.bodies.clone(),
        held: held.clone(),
        window: None,
        came: 0,
    };
    let response = next.run(request.map(|body| Body::new(counted(body)))).await;
    let refused = held.lock().unwrap_or_else(PoisonError::into_inner).refused.take();
    refused.map_or_else(|| room.with_room(response), Err)
}

/// An answer's body, with the room that it takes.
#[derive(Debug)]
struct Large {
    body: Body,
    _room: OwnedSemaphorePermit,
}

impl HttpBody for Large {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What one body takes.
#[derive(Debug, Default)]
struct Held {
    bytes: Option<OwnedSemaphorePermit>,
    refused: Option<ApiError>,
}

/// A body that takes room for each of its bytes, and ends with an error where there is none or too few come.
#[derive(Debug)]
struct Counted {
    body: Body,
    room: Arc<Semaphore>,
    held: Arc<Mutex<Held>>,
    /// How long it is waited for, if it is.
    window: Option<Pin<Box<Sleep>>>,
    /// Bytes that came since that began.
    came: usize,
}

impl Counted {
    fn hold(&mut self, bytes: usize) -> bool {
        self.came = self.came.saturating_add(bytes);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let more = u32::try_from(bytes)
            .ok()
            .and_then(|bytes| self.room.clone().try_acquire_many_owned(bytes).ok());
        match (more, &mut held.bytes) {
            (Some(more), Some(bytes)) => bytes.merge(more),
            (Some(more), none) => *none = Some(more),
            (None, _) => held.refused = Some(overloaded()),
        }
        held.refused.is_none()
    }

    /// Whether too little came while it was waited for. Wakes who asks when that is looked at again.
    fn is_too_slow(&mut self, context: &mut Context<'_>) -> bool {
        loop {
            let window = self.window.get_or_insert_with(|| Box::pin(sleep(WINDOW)));
            if window.as_mut().poll(context).is_pending() {
                return false;
            }
            let in_need = self.room.available_permits() < BODIES / 2;
            if self.came < if in_need { LEAST_IN_NEED } else { LEAST } {
                self.held.lock().unwrap_or_else(PoisonError::into_inner).refused = Some(too_slow());
                return true;
            }
            (self.window, self.came) = (None, 0);
        }
    }
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) else {
            return match self.is_too_slow(context) {
                true => Poll::Ready(Some(Err("the body comes too slowly".into()))),
                false => Poll::Pending,
            };
        };
        let bytes = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
        let length = bytes.map(Bytes::len);
        let held = length.is_none_or(|length| self.hold(length));
        Poll::Ready(if held {
            frame.map(|frame| frame.map_err(Into::into))
        } else {
            Some(Err("no room for more bodies".into()))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use axum::{Router, body::to_bytes, http::StatusCode, middleware, routing::post};
    use hyper::service::Service as _;
    use hyper_util::service::TowerToHyperService;

    use super::*;
    use crate::router::{Bounds, bounded};

    #[tokio::test(start_paused = true)]
    async fn who_finds_no_place_soon_is_refused() {
        let room = Room::new(2, None);
        let (first, _second) = (room.place().await.unwrap(), room.place().await.unwrap());
        let refused = room.place().await.unwrap_err();
        assert_eq!(refused.code(), Code::Overloaded);
        drop(first);
        let _third = room.place().await.unwrap();
    }

    #[tokio::test]
    async fn bodies_share_their_room_and_give_it_back() {
        let room = Arc::new(Room { bodies: Arc::new(Semaphore::new(10)), ..Room::new(1, None) });
        let read = async |body: Body| {
            to_bytes(body, 100).await.map_or(StatusCode::BAD_REQUEST, |_| StatusCode::OK)
        };
        let router = Router::new().route("/", post(read));
        let bounds = Bounds { room: room.clone(), request_time: Duration::MAX };
        let router = router.layer(middleware::from_fn_with_state(bounds, bounded));
        let service = TowerToHyperService::new(router);
        let send = async |length: usize| {
            let request = Request::post("/").body(Body::from(vec![0; length])).unwrap();
            service.call(request).await.unwrap().status()
        };
        assert_eq!(send(10).await, StatusCode::OK);
        assert_eq!(send(11).await, StatusCode::SERVICE_UNAVAILABLE);
        let other = room.bodies.clone().try_acquire_many_owned(5).unwrap();
        assert_eq!(send(6).await, StatusCode::SERVICE_UNAVAILABLE);
        drop(other);
        assert_eq!(send(10).await, StatusCode::OK, "what was refused holds nothing");
    }

    #[tokio::test]
    async fn large_answers_share_their_room_until_they_were_taken() {
        const LARGE: usize = 100 << 10;
        let room = Room { answers: Arc::new(Semaphore::new(2 * LARGE)), ..Room::new(1, None) };
        let answer = |bytes: usize| room.with_room(Response::new(Body::from(vec![7; bytes])));
        let (first, second) = (answer(LARGE).unwrap(), answer(LARGE).unwrap());
        assert_eq!(answer(LARGE).unwrap_err().code(), Code::Overloaded);
        drop(answer(64 << 10).unwrap());
        assert_eq!(to_bytes(first.into_body(), LARGE).await.unwrap(), vec![7; LARGE]);
        let mut third = answer(LARGE).unwrap().into_body();
        let whole = poll_fn(|context| Pin::new(&mut third).poll_frame(context)).await;
        assert_eq!(whole.unwrap().unwrap().into_data().unwrap().len(), LARGE);
        assert!(answer(LARGE).is_err(), "whoever holds it has not sent it yet");
        drop((second, third));
        assert!(answer(2 * LARGE).is_ok());
    }
}
