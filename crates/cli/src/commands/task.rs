//! `sesame task`.

use std::time::Duration;

use alloy::primitives::{Address, U256};
use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use sesame_chain::{Mined, PurchasedTask, TaskFacts, TaskResult};
use sesame_domain::{AssetId, EnclaveId, Grant, Order, TaskId};

use super::mined;
use crate::{context::Context, failure::Misuse, output::Answer, parse};

#[derive(Debug, Subcommand)]
pub(crate) enum TaskCommand {
    /// Buy one run of an app.
    #[command(after_help = "\
Example:
  sesame task buy --app 0x<app> --enclave 0x<enclave> --data 0x<data> \\
    --secret 1=api-token --secret 2=salt --worker 0x<worker> --deadline-in 10m

The whole order is public on the chain: params, and the names of the secrets that it grants. Their values are not.")]
    Buy(Box<BuyArgs>),
    /// Show a task as the chain knows it.
    #[command(after_help = "Example:\n  sesame task show 0x<task>")]
    Show(TaskArgs),
    /// Cancel a task of yours that has not started.
    #[command(after_help = "Example:\n  sesame task cancel 0x<task>")]
    Cancel(TaskArgs),
    /// Take one secret back from a task of yours that has not ended.
    #[command(after_help = "Example:\n  sesame task revoke-grant 0x<task> 1")]
    RevokeGrant(RevokeGrantArgs),
    /// End a task that is past its deadline.
    #[command(after_help = "Example:\n  sesame task expire 0x<task>")]
    Expire(TaskArgs),
}

#[derive(Debug, Args)]
pub(crate) struct TaskArgs {
    /// The task.
    task: TaskId,
}

#[derive(Debug, Args)]
pub(crate) struct RevokeGrantArgs {
    /// The task.
    task: TaskId,
    /// The secret's index in the order.
    index: u32,
}

#[derive(Debug, Args)]
pub(crate) struct BuyArgs {
    /// The app to run.
    #[arg(long, value_name = "ASSET")]
    app: AssetId,
    /// The enclave that the task is pinned to.
    #[arg(long, value_name = "ENCLAVE")]
    enclave: EnclaveId,
    /// A protected data that the app will see; repeat for more, up to 16.
    #[arg(long, value_name = "ASSET")]
    data: Vec<AssetId>,
    /// One of your secrets that the task may read, and the number under which the app sees it; repeat for more, up to 32.
    /// The name is public on the chain.
    #[arg(long = "secret", value_name = "INDEX=NAME", value_parser = parse::grant)]
    secrets: Vec<Grant>,
    /// The account that runs the task.
    #[arg(long, value_name = "ADDRESS")]
    worker: Address,
    /// The identity of the SMS that releases the secrets; the one of --sms-identity by default.
    #[arg(long, value_name = "ADDRESS")]
    sms: Option<Address>,
    /// For how long the task may run, from now.
    #[arg(long, value_name = "DURATION", value_parser = parse::duration, default_value = "10m")]
    deadline_in: Duration,
    /// Who may have the result; your account by default.
    #[arg(long, value_name = "ADDRESS")]
    beneficiary: Option<Address>,
    /// What the app is told; public on the chain.
    #[arg(long, value_name = "TEXT", default_value = "")]
    params: String,
}

pub(crate) async fn run(command: TaskCommand, context: &Context) -> anyhow::Result<()> {
    match command {
        TaskCommand::Buy(args) => buy(*args, context).await,
        TaskCommand::Show(args) => show(args.task, context).await,
        TaskCommand::Cancel(args) => {
            let done = context.contracts().await?.cancel(args.task).await;
            ended(args.task, "cancelled", &done.context("cannot cancel the task")?, context);
            Ok(())
        }
        TaskCommand::Expire(args) => {
            let done = context.contracts().await?.expire(args.task).await;
            ended(args.task, "expired", &done.context("cannot expire the task")?, context);
            Ok(())
        }
        TaskCommand::RevokeGrant(args) => revoke_grant(&args, context).await,
    }
}

async fn buy(args: BuyArgs, context: &Context) -> anyhow::Result<()> {
    let sms = args.sms.map_or_else(|| context.sms_identity(), Ok)?;
    let contracts = context.contracts().await?;
    // The contract compares with the block's time, which may be ahead of this machine's.
    let now = contracts.head().await?.timestamp.max(context.now());
    let deadline = now.checked_add(args.deadline_in.as_secs()).ok_or_else(|| {
        Misuse::new("the deadline is too far away", "give a shorter --deadline-in")
    })?;
    let order = Order {
        app: args.app,
        enclave: args.enclave,
        data: args.data,
        grants: args.secrets,
        worker: args.worker,
        sms,
        beneficiary: args.beneficiary.unwrap_or_else(|| contracts.account()),
        deadline,
        currency: Address::ZERO,
        reward: U256::ZERO,
        max_cost: U256::ZERO,
        params: args.params,
    };
    let task = contracts.purchase(&order).await.context("cannot buy the task")?;
    let mut fields = vec![("task", json!(task.result.0)), ("deadline", json!(deadline))];
    fields.extend(mined(&task));
    context.output.show(&Answer::Fields(fields));
    Ok(())
}

fn ended(task: TaskId, status: &str, done: &Mined<()>, context: &Context) {
    let mut fields = vec![("task", json!(task.0)), ("status", json!(status))];
    fields.extend(mined(done));
    context.output.show(&Answer::Fields(fields));
}

async fn revoke_grant(args: &RevokeGrantArgs, context: &Context) -> anyhow::Result<()> {
    let done = context.contracts().await?.revoke_grant(args.task, args.index).await;
    let done = done.context("cannot take the secret back")?;
    let mut fields = vec![("task", json!(args.task.0)), ("revoked", json!(args.index))];
    fields.extend(mined(&done));
    context.output.show(&Answer::Fields(fields));
    Ok(())
}

async fn show(task: TaskId, context: &Context) -> anyhow::Result<()> {
    let reader = context.reader().await?;
    let facts = reader.task(task).await?.with_context(|| format!("there is no task {task}"))?;
    let purchase = reader.purchase_of(task).await?.context("the task's purchase is in no log")?;
    let mut revoked = Vec::new();
    for grant in &purchase.order.grants {
        if reader.is_grant_revoked(task, grant.index).await? {
            revoked.push(grant.index);
        }
    }
    let result = reader.result_of(task).await?;
    context.output.show(&Answer::Fields(fields(&facts, &purchase, &revoked, result.as_ref())));
    Ok(())
}

fn fields(
    facts: &TaskFacts,
    purchase: &PurchasedTask,
    revoked: &[u32],
    result: Option<&TaskResult>,
) -> Vec<(&'static str, Value)> {
    let order = &purchase.order;
    let grants: Vec<_> = order
        .grants
        .iter()
        .map(|grant| {
            let taken_back = if revoked.contains(&grant.index) { " (taken back)" } else { "" };
            format!("{}={}{taken_back}", grant.index, grant.name)
        })
        .collect();
    vec![
        ("task", json!(purchase.id.0)),
        ("status", json!(facts.status.as_str())),
        ("requester", json!(purchase.requester)),
        ("app", json!(order.app.0)),
        ("enclave", json!(order.enclave.0)),
        ("data", order.data.iter().map(|asset| json!(asset.0)).collect()),
        ("secrets", json!(grants)),
        ("worker", json!(order.worker)),
        ("sms", json!(order.sms)),
        ("beneficiary", json!(order.beneficiary)),
        ("deadline", json!(order.deadline)),
        ("params", json!(order.params)),
        ("block", json!(purchase.block.number)),
        ("result_digest", json!(result.map(|result| result.digest))),
        ("result_uri", json!(result.map(|result| &result.uri))),
    ]
}
