//! `GET /v1/tasks/{task}/settlement`: the statement that a task's bundle was released, for `TaskRegistry.settle`.

use axum::{Json, extract::State};
use sesame_domain::TaskId;
use sesame_protocol::results::Settlement;

use crate::{
    openapi::{PUBLIC, examples, parameters},
    overload::blocking,
    path::Path,
    problem::{ApiError, Code, Form, described::refusals},
    service::Shared,
};

refusals!(Refusals, Form::Problem, [Code::MalformedId, Code::NotReleased]);

/// The SMS's word that it released a task's bundle, for `TaskRegistry.settle`.
#[utoipa::path(
    get,
    path = "/v1/tasks/{task}/settlement",
    operation_id = "settlement",
    tag = PUBLIC,
    params(parameters::InTask),
    responses(
        (
            status = 200,
            description = "It did.",
            body = Settlement,
            example = json!(examples::settlement()),
        ),
        Refusals,
    ),
)]
pub(crate) async fn settlement(
    State(service): State<Shared>,
    Path(task): Path<String>,
) -> Result<Json<Settlement>, ApiError> {
    let task: TaskId = task.parse()?;
    blocking(service.place().await?, move || {
        if !service.receipts.has_released(task.0)? {
            let detail = format!("This service has released no bundle of task {task}.");
            return Err(ApiError::new(Code::NotReleased, detail));
        }
        let signature = service.tasks.released(task, &service.identity);
        Ok(Json(Settlement { task: task.0, signature }))
    })
    .await
}
