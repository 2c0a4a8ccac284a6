//! The operator's surface: HTTP over a Unix socket in the data folder. Who may open it is who may read the vault's keys; nobody
//! else, and nothing over the network.

use std::{
    convert::Infallible,
    fs::{self, Permissions},
    io::{self, BufWriter, Write},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::Path,
};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::State,
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
    routing::post,
};
use futures::stream;
use serde::Serialize;
use sesame_protocol::operator::{
    self, BackedUp, Line, Part, RotateKey, RotateSealingKey, SealingKeyRotated,
};
use sesame_vault::VaultError;
use tokio::{net::UnixListener, sync::mpsc};

use crate::{
    clock,
    problem::chain,
    service::{Service, Shared},
    stack::wiped,
    vault::{backed_up, checked, made, rotated},
};

/// Bytes of a backup in a line.
const PART: usize = 64 << 10;

/// Lines that wait to be read.
const WAITING: usize = 64;

/// Makes the socket. It can be opened by its owner alone from the first moment on, since it is made in a folder that nobody else
/// may enter.
pub(crate) fn listen(data_dir: &Path) -> io::Result<UnixListener> {
    let (socket, folder) = (data_dir.join(operator::SOCKET), data_dir.join("operator.draft"));
    let _ = fs::remove_dir_all(&folder);
    fs::DirBuilder::new().mode(0o700).create(&folder)?;
    let draft = folder.join(operator::SOCKET);
    let listener = UnixListener::bind(&draft)?;
    fs::set_permissions(&draft, Permissions::from_mode(0o600))?;
    fs::rename(&draft, &socket)?;
    fs::remove_dir(&folder)?;
    Ok(listener)
}

/// What an operator may ask.
pub(crate) fn router(service: Shared) -> Router {
    let path = |path: &str| format!("/{path}");
    Router::new()
        .route(&path(operator::CHECK), post(check))
        .route(&path(operator::MAKE_KEY), post(make_key))
        .route(&path(operator::ROTATE_KEY), post(rotate_key))
        .route(&path(operator::ROTATE_SEALING_KEY), post(rotate_sealing_key))
        .route(&path(operator::BACKUP), post(backup))
        .with_state(service)
}

async fn check(State(service): State<Shared>) -> Response {
    work(service, |service, tell| {
        let tally = service.vault.check(|tally| tell(tally.records))?;
        Ok(checked(tally))
    })
}

async fn make_key(State(service): State<Shared>) -> Response {
    work(service, |service, _| Ok(made(service.vault.make_key()?)))
}

async fn rotate_key(State(service): State<Shared>, Json(asked): Json<RotateKey>) -> Response {
    work(service, move |service, tell| {
        let to = asked.to.as_deref().map(str::parse).transpose()?;
        Ok(rotated(service.vault.rotate_key(to, tell)?))
    })
}

async fn rotate_sealing_key(
    State(service): State<Shared>,
    Json(asked): Json<RotateSealingKey>,
) -> Response {
    work(service, move |service, _| {
        let sealing = service.rotate_sealing_key(asked.overlap)?.sealing;
        Ok(SealingKeyRotated { key: sealing.key, issued_at: sealing.issued_at })
    })
}

async fn backup(State(service): State<Shared>) -> Response {
    answer(service, |service, send| {
        let parts = BufWriter::with_capacity(PART, Parts(send));
        let backup = service.vault.backup(parts, clock::now(), |contents| {
            send(&Line::Progress(contents.records));
        })?;
        Ok(backed_up(backup))
    })
}

/// Bytes on their way to who asked.
struct Parts<'a>(&'a dyn Fn(&Line<BackedUp>) -> bool);

impl Write for Parts<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let heard = (self.0)(&Line::Part(Part::new(bytes)));
        if heard { Ok(bytes.len()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Works off the async threads and tells how far it is. The work goes on to its end if nobody listens any more.
fn work<T: Serialize + Send + 'static>(
    service: Shared,
    work: impl FnOnce(&Service, &mut dyn FnMut(u64)) -> Result<T, VaultError> + Send + 'static,
) -> Response {
    answer(service, |service, send| {
        work(service, &mut |records| {
            send(&Line::Progress(records));
        })
    })
}

/// Answers with the lines that the work sends, each of which tells whether somebody listens, and with its end.
fn answer<T: Serialize + Send + 'static>(
    service: Shared,
    work: impl FnOnce(&Service, &dyn Fn(&Line<T>) -> bool) -> Result<T, VaultError> + Send + 'static,
) -> Response {
    let (lines, waiting) = mpsc::channel::<Bytes>(WAITING);
    tokio::task::spawn_blocking(move || {
        let send = |line: &Line<T>| {
            let Ok(mut text) = serde_json::to_vec(line) else { return false };
            text.push(b'\n');
            lines.blocking_send(text.into()).is_ok()
        };
        let done = wiped(|| work(&service, &send));
        send(&done.map_or_else(|error| Line::Failed(chain(&error)), Line::Done));
    });
    let lines = stream::unfold(waiting, async |mut waiting| {
        let line = waiting.recv().await?;
        Some((Ok::<_, Infallible>(line), waiting))
    });
    ([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response()
}
