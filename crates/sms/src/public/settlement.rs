//! `GET /v1/tasks/{task}/settlement`: the statement that a task's bundle was released, for `TaskRegistry.settle`.

use axum::{Json, extract::State};
use sesame_domain::TaskId;
use sesame_protocol::results::Settlement;

use crate::{
    overload::blocking,
    path::Path,
    problem::{ApiError, Code},
    service::Shared,
};

pub(crate) async fn settlement(
    State(service): State<Shared>,
    Path(task): Path<String>,
) -> Result<Json<Settlement>, ApiError> {
    let task: TaskId = task.parse()?;
    blocking(service.place()?, move || {
        if !service.receipts.has_released(task.0)? {
            let detail = format!("This service has released no bundle of task {task}.");
            return Err(ApiError::new(Code::NotReleased, detail));
        }
        let signature = service.tasks.released(task, &service.identity);
        Ok(Json(Settlement { task: task.0, signature }))
    })
    .await
}
