//! `sesame task`.

use std::{str::FromStr, time::Duration};

use alloy::primitives::{Address, U256};
use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use sesame_chain::{Contracts, Escrow, Mined, PurchasedTask, TaskFacts, TaskResult};
use sesame_domain::{AssetId, EnclaveId, Grant, Order, TaskId};
use sesame_enclave::{
    params::{Params, ParamsError},
    seal::{NotAResultKey, ResultKey},
};

use super::{
    amount, currency, mined,
    result::{self, ResultArgs},
};
use crate::{context::Context, failure::Misuse, output::Answer, parse};

#[derive(Debug, Subcommand)]
pub(crate) enum TaskCommand {
    /// Buy one run of an app.
    #[command(after_help = "\
Example:
  sesame task buy --app 0x<app> --enclave 0x<enclave> --data 0x<data> \\
    --secret 1=api-token --secret 2=salt --worker 0x<worker> --deadline-in 10m
  sesame task buy --app 0x<app> --enclave 0x<enclave> --worker 0x<worker> --reward 0.002ether --max-cost 0.05ether
  sesame task buy --app 0x<app> --enclave 0x<enclave> --worker 0x<worker> --currency 0x<token> --approve
  sesame task buy --app 0x<app> --enclave 0x<enclave> --worker 0x<worker> --params '--sum units' --result-key age1…

It costs the prices of the app and of each data, and the worker's reward. The contract holds that until the task ends:
completed, it pays owners and worker; cancelled or expired, it comes back. Of an ERC-20, the contract takes what you have
approved to it: with --approve, that is what this task may cost at most, in a transaction of its own.

The whole order is public on the chain: params, and the names of the secrets that it grants. Their values are not.")]
    Buy(Box<BuyArgs>),
    /// Show a task as the chain knows it.
    #[command(after_help = "Example:\n  sesame task show 0x<task>")]
    Show(TaskArgs),
    /// Fetch a task's result, check it against the chain, and open it.
    #[command(after_help = "\
Example:
  sesame task result 0x<task> --out result --identity key.txt
  sesame task result 0x<task> --out result --wait 10m

The result is fetched from where the chain says that it is: a folder or a file of this machine, or an http(s) address. What the
digest on the chain does not cover is left out. A result is encrypted where the order names a key (`sesame task buy
--result-key`). To an age recipient, it opens here with --identity; to an RSA key, it is checked and kept as it is.")]
    Result(ResultArgs),
    /// Cancel a task of yours that has not started.
    #[command(after_help = "Example:\n  sesame task cancel 0x<task>")]
    Cancel(TaskArgs),
    /// Take one secret back from a task of yours that has not ended.
    #[command(after_help = "Example:\n  sesame task revoke-grant 0x<task> 1")]
    RevokeGrant(RevokeGrantArgs),
    /// Have the owners of a task's assets paid because the SMS released its secrets, though nobody completed it.
    #[command(after_help = "\
Example:
  sesame task settle 0x<task>

Asks the SMS for its signed word that it released the task's secrets, and brings that to the chain. Anybody may, once, from
the start of the task until 7 days after its deadline. The worker's reward stays where it is.")]
    Settle(TaskArgs),
    /// End a task that is past its deadline; the requester gets back what it still holds.
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
    /// What the worker gets, in the smallest unit of the currency; of the native coin also as 0.01ether or 5gwei.
    #[arg(long, value_name = "AMOUNT", value_parser = parse::amount, default_value = "0", hide_default_value = true)]
    reward: U256,
    /// The most that you pay in all, should an owner raise a price meanwhile; by default what it costs now.
    #[arg(long, value_name = "AMOUNT", value_parser = parse::amount)]
    max_cost: Option<U256>,
    /// What everything is paid in: the address of an ERC-20, or `native`.
    #[arg(long, value_name = "CURRENCY", value_parser = parse::currency, default_value = "native")]
    currency: Address,
    /// First let the task registry take what the task may cost, of the ERC-20 that --currency names.
    #[arg(long, requires = "currency")]
    approve: bool,
    /// What the app is told; public on the chain. Its arguments, or iExec's JSON. Of secrets that the JSON names (iexec_secrets),
    /// each has to be granted by --secret.
    #[arg(long, value_name = "TEXT", default_value = "")]
    params: String,
    /// Have the result encrypted to this public key: an age recipient (age1…, which age-keygen prints), or an RSA key in PEM or
    /// its base64. Goes into the params as sesame_result_key.
    #[arg(long, value_name = "KEY")]
    result_key: Option<ResultKeyText>,
}

/// A key to encrypt results to, as it was written.
#[derive(Debug, Clone)]
struct ResultKeyText(String);

impl FromStr for ResultKeyText {
    type Err = NotAResultKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<ResultKey>().map(|_| Self(text.to_owned()))
    }
}

/// The params with the key in them, as launchers will read them of an order with these grants.
fn params(text: String, key: Option<ResultKeyText>, grants: &[Grant]) -> anyhow::Result<String> {
    let params = match key {
        None => text,
        Some(ResultKeyText(key)) => {
            let object = serde_json::from_str::<Map<String, Value>>(&text);
            let mut object = object.unwrap_or_else(|_| match text.is_empty() {
                true => Map::new(),
                false => [("iexec_args".to_owned(), json!(text))].into_iter().collect(),
            });
            object.insert("sesame_result_key".to_owned(), json!(key));
            Value::Object(object).to_string()
        }
    };
    // Whether the worker lets apps have the network is its operator's affair.
    let checked = Params::parse(&params).and_then(|read| read.check(grants, true));
    match checked {
        Ok(()) => Ok(params),
        Err(error) => {
            let ungranted = matches!(error, ParamsError::SecretNotGranted { .. });
            let hint = match ungranted {
                true => "grant it by --secret INDEX=NAME, or leave it out of iexec_secrets",
                false => {
                    "`sesame task buy --help` and crates/enclave/README.md say what params may hold"
                }
            };
            Err(Misuse::new(format!("no launcher takes these params: {error}"), hint).into())
        }
    }
}

pub(crate) async fn run(command: TaskCommand, context: &Context) -> anyhow::Result<()> {
    match command {
        TaskCommand::Buy(args) => buy(*args, context).await,
        TaskCommand::Show(args) => show(args.task, context).await,
        TaskCommand::Result(args) => result::run(args, context).await,
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
        TaskCommand::Settle(args) => settle(args.task, context).await,
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
    let params = params(args.params, args.result_key, &args.secrets)?;
    let mut order = Order {
        app: args.app,
        enclave: args.enclave,
        data: args.data,
        grants: args.secrets,
        worker: args.worker,
        sms,
        beneficiary: args.beneficiary.unwrap_or_else(|| contracts.account()),
        deadline,
        currency: args.currency,
        reward: args.reward,
        max_cost: U256::ZERO,
        params,
    };
    let cost = contracts.cost_of(&order).await.context("cannot tell what the task costs")?;
    order.max_cost = args.max_cost.unwrap_or(cost);
    if args.approve {
        approve(&contracts, &order).await?;
    }
    let task = contracts.purchase(&order).await.context("cannot buy the task")?;
    let mut fields = vec![
        ("task", json!(task.result.0)),
        ("deadline", json!(deadline)),
        ("currency", currency(order.currency)),
        ("cost", amount(cost)),
    ];
    fields.extend(mined(&task));
    context.output.show(&Answer::Fields(fields));
    Ok(())
}

/// Lets the task registry take the most that the order may cost, unless it may already.
async fn approve(contracts: &Contracts, order: &Order) -> anyhow::Result<()> {
    if order.currency.is_zero() {
        let hint = "leave out --approve, or name an ERC-20 by --currency";
        return Err(Misuse::new("the native coin is not approved, but sent", hint).into());
    }
    let allowance = contracts.allowance_of(contracts.account(), order.currency).await;
    if allowance.context("cannot read the allowance")? < order.max_cost {
        let approved = contracts.approve(order.currency, order.max_cost).await;
        approved.context("cannot approve the cost")?;
    }
    Ok(())
}

async fn settle(task: TaskId, context: &Context) -> anyhow::Result<()> {
    let settlement = context.public()?.settlement(task).await;
    let settlement = settlement.context("the SMS does not say that it released the secrets")?;
    let signature = settlement.signature.to_vec().into();
    let done = context.contracts().await?.settle(task, signature).await;
    let done = done.context("cannot settle the task")?;
    let mut fields = vec![("task", json!(task.0)), ("settled", json!(true))];
    fields.extend(mined(&done));
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
    let mut shown = fields(&facts, &purchase, &revoked, result.as_ref());
    shown.extend(money(&purchase, &reader.escrow_of(task).await?));
    context.output.show(&Answer::Fields(shown));
    Ok(())
}

fn money(purchase: &PurchasedTask, escrow: &Escrow) -> [(&'static str, Value); 4] {
    let prices = std::iter::once(&purchase.app).chain(&purchase.data).map(|asset| asset.price);
    let cost = prices.fold(purchase.order.reward, U256::saturating_add);
    [
        ("currency", currency(purchase.order.currency)),
        ("cost", amount(cost)),
        ("reward", amount(purchase.order.reward)),
        ("escrow", amount(escrow.amount)),
    ]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_key_joins_what_the_app_is_told() {
        let key = age::x25519::Identity::generate().to_public().to_string();
        let with_key =
            |text: &str| params(text.to_owned(), Some(key.parse().unwrap()), &[]).unwrap();
        for (text, args) in [
            ("", vec![]),
            ("--sum 'a b'", vec!["--sum", "a b"]),
            (r#"{"iexec_args":"--sum"}"#, vec!["--sum"]),
            ("12", vec!["12"]),
        ] {
            let read = Params::parse(&with_key(text)).unwrap();
            assert!(read.result_key.is_some(), "{text}");
            assert_eq!(read.args, args, "{text}");
        }
        assert_eq!(params("--sum".to_owned(), None, &[]).unwrap(), "--sum");
        assert_eq!(params("don't".to_owned(), None, &[]).unwrap(), "don't");
    }

    #[test]
    fn params_that_no_launcher_takes_are_not_bought() {
        let key: ResultKeyText =
            age::x25519::Identity::generate().to_public().to_string().parse().unwrap();
        let refused = |text: &str, key| params(text.to_owned(), key, &[]).unwrap_err().to_string();
        assert!(refused(r#"{"iexec_result_encryption":true}"#, None).contains("without a key"));
        assert!(refused(r#"{"iexec_argz":"a"}"#, Some(key)).contains("iexec_argz"));
        assert!("age1none".parse::<ResultKeyText>().is_err());
    }

    #[test]
    fn secrets_that_the_params_name_are_granted_or_not_bought() {
        let text = r#"{"iexec_secrets":{"1":"key"}}"#;
        let buy = |grants: &[Grant]| params(text.to_owned(), None, grants);
        let grant = |text: &str| parse::grant(text).unwrap();
        assert_eq!(buy(&[grant("1=key")]).unwrap(), text);
        for grants in [vec![], vec![grant("2=key")], vec![grant("1=other")]] {
            let refused = buy(&grants).unwrap_err();
            assert!(refused.to_string().contains("`key` as number 1"), "{refused}");
        }
    }
}
