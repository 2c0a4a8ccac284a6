//! The numbers that an operator sees of a service and a worker that run.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use reqwest::{Client, Method};
use sesame_domain::{Order, Resource, TaskId};
use sesame_tests::{Answer, Build, Person, Program, Worker, Workshop, World, eventually, now};

use crate::{
    alerts::{labels, named},
    kills::{Own, attest, guest, name, task, value},
    worker::{completed, while_the_chain_grows},
};

/// A program with the world's identity; the world's own service is stopped.
pub(crate) struct Watched {
    pub(crate) world: World,
    own: Own,
    build: Build,
    task: TaskId,
}

impl Watched {
    pub(crate) async fn new() -> Self {
        let mut world = World::start().await;
        let (build, task) = task(&world, 1).await;
        world.sms.stop().await;
        let keys = ["identity.key", "token.key"];
        let own = Own::new(&world, "own", &world.sms.data("keys"), &keys);
        Self { world, own, build, task }
    }

    pub(crate) fn command(&self, options: &[&str]) -> Command {
        let mut command = self.own.command(&self.world);
        command.args(options);
        command
    }

    pub(crate) async fn start(&self, options: &[&str]) -> Program {
        let program = Program::of(self.command(options));
        program.ready().await;
        program
    }

    pub(crate) fn base(&self) -> String {
        format!("http://{}", self.own.listen)
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        Answer::to(Client::new().get(format!("{}/{path}", self.base()))).await
    }

    pub(crate) async fn owner(&self) -> Person {
        let World { node, deployment, sms, .. } = &self.world;
        Person::new(node.key(3), &node.url(), deployment, (&self.base(), sms.identity)).await
    }

    /// Pushes twice, removes, is released to, and denied.
    pub(crate) async fn everything(&self) {
        let owner = self.owner().await;
        for version in 1..=2 {
            owner.push(&owner.secret(&name(0)), &value(0, version)).await;
        }
        owner.push(&owner.secret("other"), b"soon gone").await;
        owner.owner.remove(now(), &owner.secret("other"), 0).await.unwrap();
        self.release().await;
        let guest = guest(&self.world, &self.base(), self.task);
        let other = attest(&self.world, &guest, Build::of("another")).await.unwrap();
        other.resource(self.task, Resource::Bundle).await.unwrap_err();
    }

    /// The node goes back behind what is mirrored, so that a round with it fails.
    async fn a_round_fails(&self) {
        let (node, before) = (&self.world.node, self.world.node.snapshot().await);
        node.mine(3).await;
        let head = node.head().await.number;
        let at = |name: &str, text: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
            value.unwrap_or(0_u64)
        };
        let metrics = async || String::from_utf8(self.get("metrics").await.body).unwrap();
        eventually("it follows", async || {
            (at("sesame_index_head ", &metrics().await) >= head).then_some(())
        })
        .await;
        node.revert(before).await;
        eventually("a round fails", async || {
            metrics().await.contains("sesame_index_failures_total{").then_some(())
        })
        .await;
    }

    pub(crate) async fn release(&self) {
        let guest = guest(&self.world, &self.base(), self.task);
        let session = attest(&self.world, &guest, self.build).await.unwrap();
        session.bundle(self.task).await.unwrap();
    }
}

/// What `/metrics` tells: the labels of each sample by its name.
#[derive(Debug, Default)]
pub(crate) struct Exposition {
    samples: BTreeMap<String, BTreeSet<String>>,
    text: String,
}

impl Exposition {
    pub(crate) fn of(answer: Answer) -> Self {
        let text = String::from_utf8(answer.body).unwrap();
        assert!(text.ends_with("# EOF\n"), "{text}");
        let mut samples = BTreeMap::<_, BTreeSet<_>>::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let end = line.find(['{', ' ']).unwrap();
            samples.entry(line[..end].to_owned()).or_default().extend(labels(&line[end..]));
        }
        Self { samples, text }
    }

    pub(crate) fn value(&self, sample: &str) -> f64 {
        let line = self.text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {sample} in\n{}", self.text)).parse().unwrap()
    }
}

/// What only shows once collateral of real hardware is kept; the service's own tests show its labels.
const NOT_HERE: [&str; 2] =
    ["sesame_collateral_expiry_timestamp_seconds", "sesame_collateral_fetch_timestamp_seconds"];
const OWN_TESTS: &str = include_str!("../../crates/sms/src/metrics/tests.rs");
/// What Prometheus itself adds.
const ADDED: [&str; 3] = ["instance", "job", "le"];

/// A worker that completed a task, and its world.
pub(crate) struct Done {
    pub(crate) worker: Worker,
    pub(crate) world: World,
    pub(crate) task: TaskId,
}

impl Done {
    /// With these options.
    pub(crate) async fn with(options: &[&str]) -> Self {
        let world = World::start().await;
        let shop = Workshop::new(&world).with(options);
        let app = shop.app(&world, "#!/bin/sh\ndate >\"$IEXEC_OUT/result.txt\"\n").await;
        world.confirmed().await;
        let order = Order { params: "once".to_owned(), ..Workshop::order(&world, app) };
        let task = world.buy(&order).await;
        let mut worker = shop.start();
        while_the_chain_grows(&world, completed(&world, task)).await;
        worker.says(&format!("task {task} completed")).await;
        Self { worker, world, task }
    }

    /// What it tells, if it has metrics.
    async fn metrics(&self) -> Exposition {
        let said = self.worker.said();
        let url = said.split("metrics at ").nth(1).unwrap().split_whitespace().next().unwrap();
        Exposition::of(Answer::to(Client::new().get(url)).await)
    }
}

#[tokio::test]
async fn whatever_dashboard_and_alerts_name_is_there_with_its_labels() {
    let story = Watched::new().await;
    let _program = story.start(&[]).await;
    story.everything().await;
    story.a_round_fails().await;
    let service = Exposition::of(story.get("metrics").await);
    let done = Done::with(&["--metrics", "127.0.0.1:0"]).await;
    let worker = done.metrics().await;
    let (metrics, sums) = named();
    assert!(metrics.len() > 60, "only {} metrics", metrics.len());
    for (metric, asked) in &metrics {
        let of_the_worker = metric.starts_with("sesame_worker_");
        let of_both = metric.starts_with("process_") || metric.starts_with("sesame_log_");
        let mut places = Vec::new();
        places.extend((!of_the_worker).then_some(&service));
        places.extend((of_the_worker || of_both).then_some(&worker));
        for place in places {
            if NOT_HERE.contains(&metric.as_str()) {
                let shown = format!("{metric}{{vendor=");
                assert!(OWN_TESTS.contains(&shown), "{metric} is shown by no test");
                assert!(asked.iter().all(|label| label == "vendor" || label == "instance"));
                continue;
            }
            let known = place.samples.get(metric);
            let known = known.unwrap_or_else(|| panic!("{metric} is not in\n{}", place.text));
            for label in asked.iter().filter(|label| !ADDED.contains(&label.as_str())) {
                assert!(known.contains(label), "{metric} has no {label}, but {known:?}");
            }
        }
    }
    for label in sums.iter().filter(|label| !ADDED.contains(&label.as_str())) {
        let all = service.samples.values().chain(worker.samples.values());
        assert!(all.into_iter().any(|labels| labels.contains(label)), "nothing has {label}");
    }
}

#[tokio::test]
async fn what_happens_is_counted_and_nothing_of_a_caller_is_told() {
    let story = Watched::new().await;
    let program = story.start(&[]).await;
    story.everything().await;
    let path = format!("v1/tasks/{}/explain?block=1&moon=full", story.task);
    story.get(&path).await;
    let told = Exposition::of(story.get("metrics").await);
    for (sample, least) in [
        (r#"sesame_decisions_total{decision="released"}"#, 1.0),
        (r#"sesame_decisions_total{decision="denied"}"#, 1.0),
        (r#"sesame_denials_total{reason="wrong_enclave"}"#, 1.0),
        (r#"sesame_attestations_total{tee="simulated",verdict="attested"}"#, 2.0),
        (r#"sesame_vault_operation_seconds_count{operation="push",result="ok"}"#, 2.0),
        (r#"sesame_vault_operation_seconds_count{operation="replace",result="ok"}"#, 1.0),
        (r#"sesame_vault_operation_seconds_count{operation="delete",result="ok"}"#, 1.0),
        (r#"sesame_vault_operation_seconds_count{operation="open",result="ok"}"#, 1.0),
        ("sesame_receipt_append_seconds_count", 2.0),
        (r#"sesame_problems_total{code="denied"}"#, 1.0),
        ("sesame_ready", 1.0),
        ("sesame_vault_available", 1.0),
        ("sesame_vault_key_available", 1.0),
        ("sesame_requests_in_flight", 1.0),
        ("sesame_data_free_bytes", 1.0),
        ("process_resident_memory_bytes", 1e6),
        ("process_open_fds", 10.0),
        (concat!("sesame_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"}"), 1.0),
    ] {
        assert!(told.value(sample) >= least, "{sample} is {}", told.value(sample));
    }
    assert!(
        (0.0..=60.0).contains(&(told.value("process_start_time_seconds") - now() as f64).abs())
    );
    let status = program.status().await;
    assert!(status.uptime_seconds.is_some_and(|seconds| seconds < 600), "{status:?}");
    let World { requester, worker, .. } = &story.world;
    let task = story.task.to_string();
    for private in [&task, "moon", &requester.address().to_string(), &worker.address().to_string()]
    {
        assert!(!told.text.contains(private), "{private} is told");
    }
}

/// What is served has its template as its name, and what is not has none.
#[tokio::test]
async fn every_route_is_known_by_its_template() {
    let world = World::start().await;
    for route in sesame_sms::routes() {
        let (method, path) = route.split_once(" /").unwrap();
        let method: Method = method.parse().unwrap();
        Answer::to(world.sms.request(method, &path.replace(['{', '}', '[', ']'], ""))).await;
    }
    let told = Exposition::of(world.sms.get("metrics").await);
    let routes =
        || told.text.lines().filter(|line| line.starts_with("sesame_request_seconds_count"));
    assert!(!told.text.contains(r#"route="unmatched""#), "{}", told.text);
    assert!(routes().count() >= sesame_sms::routes().count(), "{}", told.text);
    world.sms.get("nothing/here").await.is_problem(404, "not_found");
    let told = Exposition::of(world.sms.get("metrics").await);
    let unmatched = r#"sesame_request_seconds_count{method="GET",route="unmatched",status="4xx"}"#;
    assert_eq!(told.value(unmatched), 1.0);
    assert!(!told.text.contains("nothing/here"));
}
