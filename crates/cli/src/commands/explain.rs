//! `sesame explain`.

use alloy::primitives::Address;
use anyhow::Context as _;
use clap::Args;
use serde_json::{Value, json};
use sesame_client::public::Question;
use sesame_domain::{EnclaveId, Resource, TaskId};
use sesame_protocol::{denial::DenialBody, explain::Explanation};

use crate::{context::Context, failure::REFUSED, output::Answer};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sesame explain 0x<task>
  sesame explain 0x<task> --resource protected-data/1 --enclave 0x<enclave>

The rule is the one that releases secrets. The exit code is 0 when allowed and 2 when denied.
What the vault holds is nobody's business: without a secret, the answer is just `secret_unavailable`.")]
pub(crate) struct ExplainArgs {
    /// The task.
    task: TaskId,
    /// bundle/all, app-secret/1, requester-secret/<index> or protected-data/<n>.
    #[arg(long, default_value = "bundle/all")]
    resource: Resource,
    /// The enclave that would ask; the one that the task is pinned to by default.
    #[arg(long, value_name = "ENCLAVE")]
    enclave: Option<EnclaveId>,
    /// The worker that would vouch for the run; the order's by default.
    #[arg(long, value_name = "ADDRESS")]
    worker: Option<Address>,
    /// After which block; the newest by default.
    #[arg(long, value_name = "NUMBER")]
    block: Option<u64>,
}

/// Shows what the decision would be; the exit code says it too.
pub(crate) async fn run(args: &ExplainArgs, context: &Context) -> anyhow::Result<u8> {
    let question = Question {
        task: args.task,
        enclave: args.enclave,
        resource: Some(args.resource),
        worker: args.worker,
        block: args.block,
    };
    let answer = context.public()?.explain(&question).await.context("the SMS cannot explain")?;
    context.output.show(&Answer::Document { json: json!(answer), view: view(&answer) });
    Ok(if answer.allowed { 0 } else { REFUSED })
}

fn view(answer: &Explanation) -> Vec<Answer> {
    let fields = Answer::Fields(vec![
        ("task", json!(answer.task)),
        ("enclave", json!(answer.enclave)),
        ("resource", json!(answer.resource)),
        ("allowed", json!(answer.allowed)),
        ("head", json!(answer.head.number)),
        ("confirmed", json!(answer.confirmed.number)),
    ]);
    if answer.denials.is_empty() {
        return vec![fields];
    }
    let rows = answer.denials.iter().map(|denial| vec![code(denial), json!(denial.detail())]);
    vec![fields, Answer::Rows { columns: vec!["denial", "detail"], rows: rows.collect() }]
}

fn code(denial: &DenialBody) -> Value {
    json!(denial).get("code").cloned().unwrap_or_default()
}
