//! The example apps of the README, run from the command line alone; and what each is refused.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    extract::{Query, State},
    http::{HeaderMap, StatusCode},
    routing::get,
};
use serde_json::{Value, json};
use sesame_tests::{Cli, Person, ROOT, Worker, Workshop, World, eventually, program};
use tokio::{net::TcpListener, task::JoinSet};

/// What the sales of a region amount to, as the app says it, and as it is.
const SALES: &str = "region,product,units\nsouth,apple,3\nnorth,pear,5\nsouth,pear,2\n";
const PRICES: &str = r#"{"apple":3,"pear":5}"#;
const MAC_KEY: &str = "the key of the mac";

/// The identity of nobody here.
const ANOTHER_KEY: &str =
    "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";

fn example(name: &str) -> PathBuf {
    Path::new(ROOT).join("tests/examples").join(name)
}

/// The Rust app, as the build left it.
fn overlap() -> PathBuf {
    program().with_file_name("overlap")
}

/// An app in the registry, measured, its enclave let in.
struct App {
    id: String,
    enclave: String,
}

/// Everybody at their command line.
struct Town<'w> {
    world: &'w World,
    cli: Cli<'w>,
}

impl<'w> Town<'w> {
    fn of(world: &'w World) -> Self {
        Self { world, cli: Cli::of(world) }
    }

    /// The worker, with these options.
    fn worker(&self, options: &[&str]) -> Worker {
        Workshop::new(self.world).with(options).start()
    }

    /// The world mines when it is told to.
    async fn run(&self, who: &Person, arguments: &[&str]) -> Value {
        tokio::select! {
            answer = self.cli.run(who, arguments) => answer,
            () = self.mine() => unreachable!("it goes on for ever"),
        }
    }

    async fn mine(&self) {
        loop {
            self.world.node.mine(1).await;
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    /// Registers an app and lets its enclave in.
    async fn app(&self, path: &Path) -> App {
        let (file, developer) = (path.to_str().unwrap(), &self.world.developer);
        let registered = self.run(developer, &["app", "register", "--file", file]).await;
        let launcher = program().with_file_name("sesame-enclave");
        let measure = ["app", "measure", "--launcher", launcher.to_str().unwrap(), "--app", file];
        let measured = self.run(developer, &measure).await;
        let (id, enclave) = (text(&registered["asset"]), text(&measured["enclave"]));
        self.run(developer, &["enclave", "allow", &id, &enclave]).await;
        App { id, enclave }
    }

    /// Writes an app, registers it and lets its enclave in.
    async fn script(&self, name: &str, lines: &str) -> App {
        let path = self.file(name, lines);
        self.app(&path).await
    }

    async fn app_secret(&self, app: &App, value: &str) {
        let file = self.file("app-secret", value);
        let push = ["secret", "push", "--app", &app.id, "--file", file.to_str().unwrap()];
        self.run(&self.world.developer, &push).await;
    }

    async fn secret(&self, name: &str, value: &str) {
        let file = self.file(name, value);
        let push = ["secret", "push", "--name", name, "--file", file.to_str().unwrap()];
        self.run(&self.world.requester, &push).await;
    }

    /// Protects a table and lets the app have it; gives its id and the encrypted file.
    async fn data(
        &self,
        owner: &Person,
        name: &str,
        content: &str,
        app: &App,
    ) -> (String, PathBuf) {
        let plain = self.file(name, content);
        let encrypted = self.world.folder().join(format!("{name}.age"));
        let (plain, out) = (plain.to_str().unwrap(), encrypted.to_str().unwrap());
        let data = self.run(owner, &["data", "protect", plain, "--out", out]).await;
        let id = text(&data["asset"]);
        self.run(owner, &["enclave", "allow", &id, &app.enclave, "--app", &app.id]).await;
        (id, encrypted)
    }

    /// Buys a run of the app by our worker.
    async fn buy(&self, app: &App, options: &[&str]) -> String {
        let worker = self.world.worker.address().to_string();
        let order =
            ["task", "buy", "--app", &app.id, "--enclave", &app.enclave, "--worker", &worker];
        let bought = self.run(&self.world.requester, &[&order[..], options].concat()).await;
        text(&bought["task"])
    }

    /// Waits until the task is completed; gives what is in a file of its result, as the requester fetches and checks it.
    async fn result(&self, task: &str, file: &str) -> Value {
        let show = ["task", "show", task];
        eventually("the task is completed", async || {
            let shown = self.run(&self.world.requester, &show).await;
            (shown["status"] == "completed").then_some(())
        })
        .await;
        let folder = self.world.folder().join("result");
        let fetch = ["task", "result", task, "--out", folder.to_str().unwrap()];
        let fetched = self.run(&self.world.requester, &fetch).await;
        assert_eq!(fetched["files"], 1, "what counts is what the app says: {fetched}");
        serde_json::from_slice(&fs::read(folder.join("iexec_out").join(file)).unwrap()).unwrap()
    }

    /// Waits until the worker says why there is no result: the launcher's code, and that it names what is wrong.
    async fn refused(&self, worker: &Worker, task: &str, code: &str) {
        let told = format!("task {task} gave no result");
        let line = eventually("the worker says why", async || {
            self.world.node.mine(1).await;
            worker.said().lines().find(|line| line.contains(&told)).map(str::to_owned)
        })
        .await;
        assert!(line.contains(&format!("the run failed: {code}")), "{line}");
    }

    /// The same, where the app itself ends: and what it says of that.
    async fn fails(&self, shop: &Workshop, worker: &Worker, task: &str, why: &str) {
        self.refused(worker, task, "app_failed").await;
        let said = shop.folder_of(task.parse().unwrap()).join("tee/stderr.txt");
        let said = fs::read_to_string(said).unwrap();
        assert!(said.contains(why), "{said}");
    }

    /// What is bought is refused by a worker that has too little time for it, and by one that has too little memory.
    async fn refused_by_limits(
        &self,
        shop: &mut Workshop,
        more: &[&str],
        buy: impl AsyncFn() -> String,
    ) {
        for (limit, code) in
            [(["--app-time", "0"], "host_time_limit"), (["--app-memory", "1"], "app_failed")]
        {
            shop.options = more.iter().chain(&limit).map(|&option| option.to_owned()).collect();
            let worker = shop.start();
            let task = buy().await;
            self.refused(&worker, &task, code).await;
        }
    }

    /// A private file of this content.
    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.world.folder().join(name);
        fs::write(&path, content).unwrap();
        path
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// The Python app with its table and the requester's two secrets; not bought yet.
struct Sum {
    app: App,
    data: String,
    encrypted: PathBuf,
}

impl Sum {
    const ORDER: [&'static str; 4] = ["--secret", "1=mac-key", "--secret", "2=region"];

    async fn set(town: &Town<'_>) -> Self {
        let app = town.app(&example("weighted-sum.py")).await;
        town.app_secret(&app, PRICES).await;
        let (data, encrypted) = town.data(&town.world.alice, "sales.csv", SALES, &app).await;
        town.secret("mac-key", MAC_KEY).await;
        town.secret("region", "south").await;
        Self { app, data, encrypted }
    }

    async fn buy(&self, town: &Town<'_>) -> String {
        town.buy(&self.app, &[&["--data", &self.data][..], &Self::ORDER].concat()).await
    }
}

#[tokio::test]
async fn a_python_app_reads_a_protected_table_and_two_secrets() {
    let world = World::start().await;
    let town = Town::of(&world);
    let sum = Sum::set(&town).await;
    let _worker = town.worker(&[]);
    let task = sum.buy(&town).await;
    let result = town.result(&task, "result.json").await;
    assert_eq!((&result["rows"], &result["total"]), (&json!(2), &json!(3 * 3 + 2 * 5)));
    // HMAC-SHA-256 of `2:19` under the key of the mac, by another implementation.
    assert_eq!(result["hmac"], "3a2a4156c8cb1fc576b923e479fabaab4a24bc7d7deceb3c5b76cc0171062ae3");
}

#[tokio::test]
async fn the_python_app_is_refused_what_is_not_in_order() {
    let world = World::start().await;
    let town = Town::of(&world);
    let sum = Sum::set(&town).await;
    let mut shop = Workshop::new(&world);
    town.refused_by_limits(&mut shop, &[], async || sum.buy(&town).await).await;
    shop.options.clear();
    let worker = shop.start();
    let good = fs::read(&sum.encrypted).unwrap();

    let mut tampered = good.clone();
    *tampered.last_mut().unwrap() ^= 1;
    fs::write(&sum.encrypted, &tampered).unwrap();
    let task = sum.buy(&town).await;
    town.refused(&worker, &task, "data_altered").await;

    fs::remove_file(&sum.encrypted).unwrap();
    let task = sum.buy(&town).await;
    town.refused(&worker, &task, "data_unavailable").await;
    fs::write(&sum.encrypted, &good).unwrap();

    // The order grants one secret of the two.
    let (app, data) = (&sum.app, &sum.data);
    let task = town.buy(app, &["--data", data, "--secret", "1=mac-key"]).await;
    town.fails(&shop, &worker, &task, "KeyError: 'IEXEC_REQUESTER_SECRET_2'").await;

    // The params name the other, and the order does not grant it: that is not even sold.
    let params = r#"{"iexec_secrets":{"2":"region"}}"#;
    let account = world.worker.address().to_string();
    let order = ["task", "buy", "--app", &app.id, "--enclave", &app.enclave, "--worker", &account];
    let order = [&order[..], &["--secret", "1=mac-key", "--params", params]].concat();
    let said = town.cli.ask(&world.requester, &order).await.unwrap_err();
    assert!(said.contains("`region` as number 2") && said.contains("--secret"), "{said}");

    // An app of the same kind that writes beside its output.
    let source = fs::read_to_string(example("weighted-sum.py")).unwrap();
    let beside = source.replace(r#"os.environ["IEXEC_OUT"]"#, r#""/usr/lib""#);
    let beside = town.script("beside.py", &beside).await;
    town.app_secret(&beside, PRICES).await;
    let allow = ["enclave", "allow", data, &beside.enclave, "--app", &beside.id];
    town.run(&world.alice, &allow).await;
    let task = town.buy(&beside, &[&["--data", data][..], &Sum::ORDER].concat()).await;
    town.fails(&shop, &worker, &task, "Read-only file system").await;

    // Its owner pushes the key of something else.
    let key = town.file("another.key", ANOTHER_KEY);
    let push = ["secret", "push", "--data", data, "--file", key.to_str().unwrap()];
    town.run(&world.alice, &push).await;
    let task = sum.buy(&town).await;
    town.refused(&worker, &task, "data_does_not_open").await;
}

/// An API that knows one key.
#[derive(Clone)]
struct Api {
    key: &'static str,
    asked: Arc<Mutex<Vec<(StatusCode, String)>>>,
}

impl Api {
    const KEY: &'static str = "sk-live-\u{e9}-4711";

    /// On a port of its own; gives its address, and what it ends with.
    async fn start() -> (Self, String, JoinSet<()>) {
        let api = Self { key: Self::KEY, asked: Arc::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/forecast", listener.local_addr().unwrap());
        let router = Router::new().route("/forecast", get(Self::forecast)).with_state(api.clone());
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, router).await.unwrap() });
        (api, address, serving)
    }

    async fn forecast(
        State(api): State<Self>,
        Query(query): Query<Vec<(String, String)>>,
        headers: HeaderMap,
    ) -> Result<Json<Value>, StatusCode> {
        let shown = headers.get("authorization").map(|header| header.as_bytes().to_vec());
        let expected = format!("Bearer {}", api.key).into_bytes();
        let status =
            if shown == Some(expected) { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
        let place = query.into_iter().find(|(name, _)| name == "place").unwrap_or_default().1;
        api.asked.lock().unwrap().push((status, place.clone()));
        if status == StatusCode::OK {
            Ok(Json(json!({ "place": place, "rain": true })))
        } else {
            Err(status)
        }
    }

    fn asked(&self) -> Vec<(StatusCode, String)> {
        self.asked.lock().unwrap().clone()
    }
}

/// The shell app with its secret and the requester's; not bought yet.
async fn forecast(town: &Town<'_>, key: &str) -> App {
    let app = town.app(&example("forecast.sh")).await;
    town.app_secret(&app, key).await;
    town.secret("place", "Ulm & Neu-Ulm").await;
    app
}

fn with_network(address: &str) -> String {
    json!({ "iexec_args": address, "sesame_network": true }).to_string()
}

#[tokio::test]
async fn a_shell_app_calls_an_api_with_the_developers_key() {
    let world = World::start().await;
    let town = Town::of(&world);
    let (api, address, _serving) = Api::start().await;
    let app = forecast(&town, Api::KEY).await;
    let _worker = town.worker(&["--allow-network"]);
    let params = with_network(&address);
    let task = town.buy(&app, &["--secret", "1=place", "--params", &params]).await;
    let result = town.result(&task, "forecast.json").await;
    assert_eq!(result, json!({ "place": "Ulm & Neu-Ulm", "rain": true }));
    assert_eq!(api.asked(), [(StatusCode::OK, "Ulm & Neu-Ulm".to_owned())]);
}

#[tokio::test]
async fn the_shell_app_has_no_network_unless_ordered_and_no_api_without_the_key() {
    let world = World::start().await;
    let town = Town::of(&world);
    let (api, address, _serving) = Api::start().await;
    let app = forecast(&town, "another key").await;
    let mut shop = Workshop::new(&world);
    let params = with_network(&address);
    let order = ["--secret", "1=place", "--params", &params];
    let buy = async || town.buy(&app, &order).await;
    shop.options = vec!["--allow-network".to_owned()];
    let worker = shop.start();

    let task = town.buy(&app, &["--secret", "1=place", "--params", &address]).await;
    town.fails(&shop, &worker, &task, "curl: (7)").await;
    assert_eq!(api.asked(), [], "it came through without a network");

    town.fails(&shop, &worker, &buy().await, "401").await;
    assert_eq!(api.asked(), [(StatusCode::UNAUTHORIZED, "Ulm & Neu-Ulm".to_owned())]);

    // Not granted: the app ends before it asks anybody.
    let task = town.buy(&app, &["--params", &params]).await;
    town.fails(&shop, &worker, &task, "IEXEC_REQUESTER_SECRET_1").await;
    assert_eq!(api.asked().len(), 1);

    // Written beside its output.
    let source = fs::read_to_string(example("forecast.sh")).unwrap();
    let beside = source.replace("answer=$IEXEC_OUT/", "answer=/usr/lib/");
    let beside = town.script("beside.sh", &beside).await;
    town.app_secret(&beside, Api::KEY).await;
    let task = town.buy(&beside, &order).await;
    town.fails(&shop, &worker, &task, "curl: (23)").await;
    drop(worker);

    // Workers start what is open again, so whoever lets nothing through comes last.
    town.refused_by_limits(&mut shop, &["--allow-network"], &buy).await;
    // What is ended at once may have come to it all the same.
    let asked = api.asked().len();
    shop.options.clear();
    let worker = shop.start();
    town.refused(&worker, &buy().await, "params_refused").await;
    assert_eq!(api.asked().len(), asked, "none of them came to it");
}

/// The Rust app with two tables of two owners; not bought yet.
struct Overlap {
    app: App,
    tables: [(String, PathBuf); 2],
}

impl Overlap {
    async fn set(town: &Town<'_>) -> Self {
        let app = town.app(&overlap()).await;
        let first = town.data(&town.world.alice, "first.txt", "ada\nbob\neve\n", &app).await;
        let second = town.data(&town.world.bob, "second.txt", "bob\neve\nmax\nzoe\n", &app).await;
        Self { app, tables: [first, second] }
    }

    async fn buy(&self, town: &Town<'_>) -> String {
        let [(first, _), (second, _)] = &self.tables;
        town.buy(&self.app, &["--data", first, "--data", second]).await
    }
}

#[tokio::test]
async fn a_rust_app_reads_the_protected_data_of_two_owners() {
    let world = World::start().await;
    let town = Town::of(&world);
    let overlap = Overlap::set(&town).await;
    let _worker = town.worker(&[]);
    let task = overlap.buy(&town).await;
    let result = town.result(&task, "overlap.json").await;
    assert_eq!(result, json!({ "first": 3, "second": 4, "shared": 2 }));
}

#[tokio::test]
async fn the_rust_app_is_refused_if_either_owner_refuses() {
    let world = World::start().await;
    let town = Town::of(&world);
    let overlap = Overlap::set(&town).await;
    let mut shop = Workshop::new(&world);
    let many: String = (0..100_000).map(|line| format!("{line}\n")).collect();
    let (large, lost) = town.data(&world.alice, "large.txt", &many, &overlap.app).await;
    let small = &overlap.tables[1].0;
    let buy = async || town.buy(&overlap.app, &["--data", &large, "--data", small]).await;
    town.refused_by_limits(&mut shop, &[], &buy).await;
    shop.options.clear();
    let worker = shop.start();
    fs::remove_file(lost).unwrap();
    town.refused(&worker, &buy().await, "data_unavailable").await;
    let [(first, _), (second, encrypted)] = &overlap.tables;

    // Another file of the same key is not the one that was registered.
    let good = fs::read(encrypted).unwrap();
    fs::write(encrypted, fs::read(&overlap.tables[0].1).unwrap()).unwrap();
    let task = overlap.buy(&town).await;
    town.refused(&worker, &task, "data_altered").await;
    fs::write(encrypted, &good).unwrap();

    // Ordered with one table alone, the app misses the other.
    let task = town.buy(&overlap.app, &["--data", first]).await;
    town.fails(&shop, &worker, &task, "NotPresent").await;

    // Tampered with, and with the key of something else.
    let mut tampered = good.clone();
    *tampered.last_mut().unwrap() ^= 1;
    fs::write(encrypted, &tampered).unwrap();
    let task = overlap.buy(&town).await;
    town.refused(&worker, &task, "data_altered").await;
    fs::write(encrypted, &good).unwrap();
    let key = town.file("another.key", ANOTHER_KEY);
    let push = ["secret", "push", "--data", second, "--file", key.to_str().unwrap()];
    town.run(&world.bob, &push).await;
    let task = overlap.buy(&town).await;
    town.refused(&worker, &task, "data_does_not_open").await;

    // Revoked, it is not even sold.
    let revoke = ["enclave", "revoke", second, &overlap.app.enclave];
    town.run(&world.bob, &revoke).await;
    let (app, account) = (&overlap.app, world.worker.address().to_string());
    let order = ["task", "buy", "--app", &app.id, "--enclave", &app.enclave, "--worker", &account];
    let order = [&order[..], &["--data", first, "--data", second]].concat();
    let said = town.cli.ask(&world.requester, &order).await.unwrap_err();
    assert!(said.contains("NotWhitelisted"), "{said}");
}

/// An app that asks for more than there is, and the code that says so.
async fn greedy(options: &[&str], script: &str, code: &str) -> String {
    let world = World::start().await;
    let town = Town::of(&world);
    let app = town.script("greedy", script).await;
    let shop = Workshop::new(&world).with(options);
    let worker = shop.start();
    let task = town.buy(&app, &[]).await;
    town.refused(&worker, &task, code).await;
    fs::read_to_string(shop.folder_of(task.parse().unwrap()).join("tee/stderr.txt")).unwrap()
}

#[tokio::test]
async fn an_app_that_takes_too_long_is_ended() {
    greedy(&["--app-time", "1"], "#!/bin/sh\nexec sleep 600\n", "host_time_limit").await;
}

#[tokio::test]
async fn an_app_that_wants_too_much_memory_does_not_get_it() {
    let script = "#!/usr/bin/env python3\nblock = bytearray(1 << 30)\n";
    let said = greedy(&["--app-memory", "256"], script, "app_failed").await;
    assert!(said.contains("MemoryError"), "{said}");
}

#[tokio::test]
async fn an_app_that_writes_beside_its_output_is_refused_that() {
    let outside = "/usr/lib/sesame-was-here";
    let script = format!("#!/bin/sh\nset -e\necho kept >$HOME/kept\necho x >{outside}\n");
    let said = greedy(&[], &script, "app_failed").await;
    assert!(said.contains("Read-only file system"), "{said}");
    assert!(!Path::new(outside).exists());
    let script = "#!/bin/sh\nset -e\necho x >/iexec_in/more\n";
    let said = greedy(&[], script, "app_failed").await;
    assert!(said.contains("Read-only file system"), "{said}");
}

#[tokio::test]
async fn an_app_that_writes_too_much_is_ended() {
    let script = "#!/bin/sh\nhead -c 9000000 /dev/zero >$IEXEC_OUT/zeros || exit 9\n";
    let world = World::start().await;
    let town = Town::of(&world);
    let app = town.script("greedy", script).await;
    let worker = town.worker(&["--app-output", "1"]);
    let task = town.buy(&app, &[]).await;
    let told = format!("task {task} gave no result");
    let line = eventually("the worker says why", async || {
        world.node.mine(1).await;
        worker.said().lines().find(|line| line.contains(&told)).map(str::to_owned)
    })
    .await;
    assert!(line.contains("output_limit") || line.contains("app_failed"), "{line}");
}
