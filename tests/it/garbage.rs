//! Whatever is sent, the answer is a problem with a code, and never the service's own fault.

use alloy::{
    primitives::{Address, B256, Bytes},
    sol_types::SolCall,
};
use rand::{Rng, RngCore, rngs::StdRng, seq::IndexedRandom};
use reqwest::Method;
use serde_json::json;
use sesame_chain::abi::assets::IAssetRegistry;
use sesame_tests::{Answer, Scene, World, seeded};

const REQUESTS: usize = 600;

#[tokio::test]
async fn garbage_is_answered_with_a_problem() {
    let world = World::start().await;
    let scene = Scene::set(&world).await;
    let session = world.attested(scene.build, scene.task).await.cookie;
    let mut random = seeded();

    for _ in 0..REQUESTS {
        let (method, path) = (method(&mut random), path(&mut random, &world, &scene));
        let mut request = world.sms.request(method.clone(), &path);
        for name in ["sesame-authorization", "sesame-run-voucher", "cookie", "authorization"] {
            if random.random_bool(0.3) {
                request = request.header(name, header(&mut random, &session));
            }
        }
        if random.random_bool(0.5) {
            let kinds = ["application/octet-stream", "application/json", "x", ""];
            request = request.header("content-type", *kinds.choose(&mut random).unwrap());
        }
        let mut body = vec![0; random.random_range(0..200)];
        random.fill_bytes(&mut body);
        let answer = Answer::to(request.body(body)).await;

        assert!(answer.status < 500, "{method} {path}: {answer:?}");
        if answer.status >= 400 {
            let code = answer.header("sesame-problem").map(str::to_owned);
            let code = code.unwrap_or_else(|| panic!("{method} {path}: {answer:?}"));
            assert!(sesame_sms::codes().any(|known| known == code), "{code}");
            if method != Method::HEAD {
                answer.is_problem(answer.status, &code);
            }
        }
    }
    world.sms.ready().await;
    scene.run(&world).await;
}

fn method(random: &mut StdRng) -> Method {
    let methods = [
        Method::GET,
        Method::PUT,
        Method::HEAD,
        Method::POST,
        Method::DELETE,
        Method::PATCH,
        Method::OPTIONS,
    ];
    methods.choose(random).cloned().unwrap()
}

/// A path of the service with some parts replaced.
fn path(random: &mut StdRng, world: &World, scene: &Scene) -> String {
    let routes: Vec<_> = sesame_sms::routes().collect();
    let (_, route) = routes.choose(random).unwrap().split_once(" /").unwrap();
    let parts: Vec<_> = route
        .split('/')
        .map(|part| match part {
            part if random.random_bool(0.2) => junk(random, part),
            "{asset}" => scene.app.to_string(),
            "{task}" => scene.task.to_string(),
            "{address}" => world.requester.address().to_string(),
            "{name}" => "db-password".to_owned(),
            "{type}" => "bundle".to_owned(),
            "{tag}" => "all".to_owned(),
            part => part.to_owned(),
        })
        .collect();
    let query = ["", "", "?enclave=0x12", "?block=99999999999999999999", "?%ff=%ff", "?resource="];
    format!("{}{}", parts.join("/"), query.choose(random).unwrap())
}

fn junk(random: &mut StdRng, part: &str) -> String {
    let long = "x".repeat(4000);
    let zeros = format!("0x{}", "0".repeat(64));
    let junk = ["", "0x", "%ff", "%00", "..%2f..", "-1", "é", &long, &zeros, part];
    (*junk.choose(random).unwrap()).to_owned()
}

fn header(random: &mut StdRng, session: &str) -> String {
    let long = "A".repeat(9000);
    let cookie = format!("kbs-session-id={session}");
    let bearer = format!("Bearer {session}");
    let values =
        ["", "e30", "%", "Bearer ", "Bearer x", "kbs-session-id=", "=;=", &long, &cookie, &bearer];
    (*values.choose(random).unwrap()).to_owned()
}

/// The contracts take any bytes for text; somebody who sends bytes that are none must not stop the mirror.
#[tokio::test]
async fn text_that_is_not_utf_8_does_not_stop_the_mirror() {
    let world = World::start().await;
    let call = IAssetRegistry::registerCall {
        kind: 1,
        to: world.stranger.address(),
        uri: "MARK".to_owned(),
        digest: B256::repeat_byte(1),
        salt: B256::ZERO,
    };
    let mut input = call.abi_encode();
    let at = input.windows(4).position(|window| window == b"MARK").unwrap();
    input[at..at + 4].fill(0xff);
    let from: Vec<Address> = world.node.call("eth_accounts", ()).await;
    let transaction = json!({
        "from": from[0],
        "to": world.deployment.asset_registry,
        "input": Bytes::from(input),
    });
    let _hash: B256 = world.node.call("eth_sendTransaction", (transaction,)).await;
    world.node.mine(3).await;
    world.followed().await;
    world.sms.ready().await;
    Scene::set(&world).await.run(&world).await;
}
