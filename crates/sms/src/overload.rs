//! What the service takes on at a time. Beyond that it says no at once, so that whatever it took on is answered soon.
//!
//! Work queues in two places: for the runtime's blocking threads, where databases and cryptography run, and for the memory that
//! answers with secrets take. Whoever may get there holds a [`Place`]. What only reads the process's own state (health, metrics,
//! status) needs none.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use axum::{
    BoxError,
    body::{Body, Bytes},
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    problem::{ApiError, Code},
    router::in_form_of,
    service::holding,
};

/// Bytes of requests' bodies that may be in memory together: some sixty of the largest secrets.
const BODIES: usize = 256 << 20;

/// Room for what is worked on.
#[derive(Debug)]
pub(crate) struct Room {
    places: Arc<Semaphore>,
    bodies: Arc<Semaphore>,
}

/// The right to be worked on, until it is dropped.
#[derive(Debug)]
#[must_use = "the place is free again when this is dropped"]
pub(crate) struct Place(#[expect(dead_code, reason = "held, not read")] OwnedSemaphorePermit);

impl Room {
    /// For so many requests at a time.
    pub(crate) fn new(places: usize) -> Self {
        let of = |permits: usize| Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS)));
        Self { places: of(places), bodies: of(BODIES) }
    }

    /// A place, unless all are taken. Nobody waits for one.
    pub(crate) fn place(&self) -> Result<Place, ApiError> {
        self.places.clone().try_acquire_owned().map(Place).map_err(|_| overloaded())
    }
}

fn overloaded() -> ApiError {
    ApiError::new(
        Code::Overloaded,
        "The service is asked for more than it can do: ask again in a moment.",
    )
}

/// Runs what blocks off the async threads. The place goes with the work: a caller who leaves early makes no room that is not
/// there.
pub(crate) async fn blocking<T: Send + 'static>(
    place: Place,
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    holding(place, work).await
}

/// Bounds what all bodies take together while they come in, however slowly, and until they are answered.
pub(crate) async fn in_memory(
    State(room): State<Arc<Room>>,
    request: Request,
    next: Next,
) -> Response {
    let uri = request.uri().clone();
    let held = Arc::new(Mutex::new(Held::default()));
    let counted = request
        .map(|body| Body::new(Counted { body, room: room.bodies.clone(), held: held.clone() }));
    let response = next.run(counted).await;
    let refused = held.lock().unwrap_or_else(PoisonError::into_inner).refused;
    if refused { in_form_of(&uri, overloaded()) } else { response }
}

/// What one body takes.
#[derive(Debug, Default)]
struct Held {
    bytes: Option<OwnedSemaphorePermit>,
    refused: bool,
}

/// A body that takes room for each of its bytes, and ends with an error where there is none.
#[derive(Debug)]
struct Counted {
    body: Body,
    room: Arc<Semaphore>,
    held: Arc<Mutex<Held>>,
}

impl Counted {
    fn hold(&self, bytes: usize) -> bool {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let more = u32::try_from(bytes)
            .ok()
            .and_then(|bytes| self.room.clone().try_acquire_many_owned(bytes).ok());
        match (more, &mut held.bytes) {
            (Some(more), Some(bytes)) => bytes.merge(more),
            (Some(more), none) => *none = Some(more),
            (None, _) => held.refused = true,
        }
        !held.refused
    }
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        let bytes = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
        let held = bytes.is_none_or(|bytes| self.hold(bytes.len()));
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
    use axum::{Router, body::to_bytes, http::StatusCode, middleware, routing::post};
    use hyper::service::Service as _;
    use hyper_util::service::TowerToHyperService;

    use super::*;

    #[test]
    fn who_finds_no_place_is_refused_at_once() {
        let room = Room::new(2);
        let (first, _second) = (room.place().unwrap(), room.place().unwrap());
        let refused = room.place().unwrap_err();
        assert_eq!(refused.code(), Code::Overloaded);
        drop(first);
        let _third = room.place().unwrap();
    }

    #[tokio::test]
    async fn bodies_share_their_room_and_give_it_back() {
        let room = Arc::new(Room { bodies: Arc::new(Semaphore::new(10)), ..Room::new(1) });
        let read = async |body: Body| {
            to_bytes(body, 100).await.map_or(StatusCode::BAD_REQUEST, |_| StatusCode::OK)
        };
        let router = Router::new().route("/", post(read));
        let router = router.layer(middleware::from_fn_with_state(room.clone(), in_memory));
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
}
