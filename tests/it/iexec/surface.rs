//! Secrets that belong to whoever signs, byte for byte: statuses, bodies, the order of checks, limits, and what browsers may read.

use std::num::NonZeroU32;

use alloy::primitives::{Address, U256, hex, uint};
use reqwest::{Method, RequestBuilder};
use sesame_iexec::challenge;
use sesame_sms::Limits;
use sesame_tests::{Options, eventually};

use super::served::{
    EXISTS, Iexec, KEY, Person, Reply, TOKEN, TOO_LONG, UNAUTHORIZED, VALUE, of_requester, web2,
    web3,
};

const BAD_KEY: &str =
    r#"{"error":["Secret key should contain at most 64 characters from [0-9A-Za-z-_]"]}"#;

#[tokio::test]
async fn a_requesters_secret_is_kept_once() {
    let iexec = Iexec::start().await;
    let (alice, eve) = (iexec.person(1), iexec.person(2));
    let path = of_requester(alice.address(), KEY);
    let signed = |who: &Person, value: &str| {
        who.sign(challenge::requester(alice.address(), KEY, value.as_bytes()))
    };
    let push = async |who, value| iexec.push(Method::POST, &path, &signed(who, value), value).await;

    iexec.head(&path).await.is_bare(404);
    push(&eve, VALUE).await.is(401, UNAUTHORIZED);
    push(&alice, VALUE).await.is_bare(204);
    iexec.head(&path).await.is_bare(204);
    // A stranger learns nothing of what there is.
    push(&eve, VALUE).await.is(401, UNAUTHORIZED);
    push(&alice, VALUE).await.is(409, EXISTS);
    push(&alice, "another").await.is(409, EXISTS);
    // The key has a case, the address has none.
    iexec.head(&of_requester(alice.address(), "MY-KEY")).await.is_bare(404);
    let lower = path.replace(&alice.address().to_string(), &format!("{:#x}", alice.address()));
    iexec.head(&lower).await.is_bare(204);
    iexec.ask(Method::GET, &path).await.is_bare(405);
    iexec.ask(Method::PUT, &path).await.is_bare(405);
    iexec.ask(Method::DELETE, &path).await.is_bare(405);
}

#[tokio::test]
async fn a_web2_secret_is_replaced_and_no_old_signature_brings_it_back() {
    let mut iexec = Iexec::start().await;
    let (alice, eve) = (iexec.person(1), iexec.person(2));
    let path = web2(alice.address(), TOKEN);
    let signed = |who: &Person, value: &str| {
        who.sign(challenge::web2(alice.address(), TOKEN, value.as_bytes()))
    };
    let (one, two) = (signed(&alice, "one"), signed(&alice, "two"));

    iexec.head(&path).await.is_bare(404);
    iexec.push(Method::PUT, &path, &one, "one").await.is_bare(404);
    iexec.push(Method::POST, &path, &one, "one").await.is_bare(204);
    iexec.push(Method::POST, &path, &two, "two").await.is_bare(409);
    iexec.head(&path).await.is_bare(204);
    // Unchanged is fine.
    iexec.push(Method::PUT, &path, &one, "one").await.is_bare(204);
    iexec.push(Method::PUT, &path, &signed(&eve, "two"), "two").await.is_bare(401);
    iexec.push(Method::PUT, &path, &two, "two").await.is_bare(204);
    iexec.push(Method::PUT, &path, &one, "one").await.is_bare(401);
    let upper = one.to_uppercase().replace("0X", "0x");
    iexec.push(Method::PUT, &path, &upper, "one").await.is_bare(401);
    iexec.restart().await;
    iexec.push(Method::PUT, &path, &one, "one").await.is_bare(401);
    iexec.push(Method::PUT, &path, &two, "two").await.is_bare(204);
    iexec.ask(Method::GET, &path).await.is_bare(405);
}

/// Names have no case in the store, and are signed as they are written.
#[tokio::test]
async fn web2_names_are_any_text_without_case() {
    let iexec = Iexec::start().await;
    let alice = iexec.person(1);
    let name = "Any Thing/é?";
    let encoded = "Any%20Thing%2F%C3%A9%3F";
    let path = web2(alice.address(), encoded);
    let folded =
        alice.sign(challenge::web2(alice.address(), &name.to_lowercase(), VALUE.as_bytes()));
    iexec.push(Method::POST, &path, &folded, VALUE).await.is_bare(401);
    let written = alice.sign(challenge::web2(alice.address(), name, VALUE.as_bytes()));
    iexec.push(Method::POST, &path, &written, VALUE).await.is_bare(204);
    iexec.head(&web2(alice.address(), "ANY%20THING%2f%C3%89%3F")).await.is_bare(204);
    iexec.head(&web2(alice.address(), "Any")).await.is_bare(404);
    // Requesters' secrets have the same challenge and another store.
    iexec.head(&of_requester(alice.address(), KEY)).await.is_bare(404);
    let long = "x".repeat(256);
    iexec.head(&web2(alice.address(), &long)).await.is_bare(404);
    let signed = alice.sign(challenge::web2(alice.address(), &long, VALUE.as_bytes()));
    iexec.push(Method::POST, &web2(alice.address(), &long), &signed, VALUE).await.is_bare(400);
}

#[tokio::test]
async fn what_must_be_there_is_asked_for_before_who_signed() {
    let iexec = Iexec::start().await;
    let alice = iexec.person(1);
    let path = of_requester(alice.address(), KEY);
    for (method, incomplete) in [
        (Method::HEAD, "secrets/web3".to_owned()),
        (Method::POST, "secrets/web3".to_owned()),
        (Method::HEAD, format!("secrets/web2?ownerAddress={}", alice.address())),
        (Method::HEAD, format!("secrets/web2?secretName={TOKEN}")),
        (Method::POST, format!("secrets/web2?secretName={TOKEN}")),
        (Method::PUT, "secrets/web2".to_owned()),
        (Method::HEAD, format!("{}&secretName=twice", web2(alice.address(), TOKEN))),
    ] {
        let request = iexec.request(method.clone(), &incomplete).header("authorization", "0x00");
        Reply::to(request.body(VALUE)).await.is_bare(400);
    }
    // No signature, and no body.
    Reply::to(iexec.request(Method::POST, &path).body(VALUE)).await.is_bare(400);
    iexec.push(Method::POST, &path, "0x00", "").await.is_bare(400);
    let binary = iexec.request(Method::POST, &path).header("authorization", "0x00");
    Reply::to(binary.body(vec![0xff])).await.is_bare(400);
    // A bad key is told of only to who may push.
    let bad = of_requester(alice.address(), "my.key");
    iexec.head(&bad).await.is_bare(400);
    iexec.push(Method::POST, &bad, "0x00", VALUE).await.is(401, UNAUTHORIZED);
    let signed = alice.sign(challenge::requester(alice.address(), "my.key", VALUE.as_bytes()));
    iexec.push(Method::POST, &bad, &signed, VALUE).await.is(400, BAD_KEY);
    // What is no address is nobody's.
    iexec.head("secrets/web3?secretAddress=0x12").await.is_bare(404);
    iexec.push(Method::POST, "secrets/web3?secretAddress=0x12", "0x00", VALUE).await.is_bare(401);
    iexec.head("apps/me/secrets").await.is_bare(404);
    iexec.push(Method::POST, "apps/me/secrets", "0x00", VALUE).await.is(401, UNAUTHORIZED);
}

#[tokio::test]
async fn a_signature_that_is_none_is_a_strangers() {
    let iexec = Iexec::start().await;
    let alice = iexec.person(1);
    let path = of_requester(alice.address(), KEY);
    let good = alice.sign(challenge::requester(alice.address(), KEY, VALUE.as_bytes()));
    for bad in [
        "0x",
        "0x00",
        "hello",
        good.trim_start_matches("0x"),
        &format!("Bearer {good}"),
        &format!("{good}00"),
        &good[..130],
        &good.replace("0x", "0xg"),
        &high_s(&good),
        &format!("{}00", &good[..good.len() - 2]),
    ] {
        iexec.push(Method::POST, &path, bad, VALUE).await.is(401, UNAUTHORIZED);
    }
    let twice = iexec.request(Method::POST, &path);
    let twice = twice.header("authorization", &good).header("authorization", &good).body(VALUE);
    Reply::to(twice).await.is(401, UNAUTHORIZED);
    // Over another value, key or owner.
    iexec.push(Method::POST, &path, &good, "other").await.is(401, UNAUTHORIZED);
    iexec
        .push(Method::POST, &of_requester(alice.address(), "key"), &good, VALUE)
        .await
        .is(401, UNAUTHORIZED);
    iexec.push(Method::POST, &path, &good, VALUE).await.is_bare(204);
}

/// The malleable twin of a signature.
fn high_s(signature: &str) -> String {
    let order = uint!(0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141_U256);
    let mut bytes = hex::decode(signature).unwrap();
    let s = U256::from_be_slice(&bytes[32..64]);
    bytes[32..64].copy_from_slice(&(order - s).to_be_bytes::<32>());
    bytes[64] = 27 + 28 - bytes[64];
    hex::encode_prefixed(bytes)
}

#[tokio::test]
async fn a_secret_has_4096_bytes_at_most() {
    let iexec = Iexec::start().await;
    let alice = iexec.person(1);
    let (most, more) = ("é".repeat(2048), "x".repeat(4097));
    let sign_web2 =
        |value: &str| alice.sign(challenge::web2(alice.address(), TOKEN, value.as_bytes()));
    let sign_key =
        |value: &str| alice.sign(challenge::requester(alice.address(), KEY, value.as_bytes()));
    let (token, key) = (web2(alice.address(), TOKEN), of_requester(alice.address(), KEY));

    iexec.push(Method::POST, &token, &sign_web2(&more), &more).await.is_bare(413);
    iexec.push(Method::POST, &key, &sign_key(&more), &more).await.is(400, TOO_LONG);
    iexec.push(Method::POST, &token, "0x00", &more).await.is_bare(401);
    iexec.push(Method::POST, &key, "0x00", &more).await.is(401, UNAUTHORIZED);
    iexec.push(Method::POST, &token, &sign_web2(&most), &most).await.is_bare(204);
    iexec.push(Method::POST, &key, &sign_key(&most), &most).await.is_bare(204);
    iexec.push(Method::PUT, &token, &sign_web2(&more), &more).await.is_bare(413);
    // What nobody would sign is not read to its end.
    let huge = "x".repeat((64 << 10) + 1);
    iexec.push(Method::POST, &token, "0x00", &huge).await.is_bare(413);
    iexec.push(Method::POST, &key, "0x00", &huge).await.is(400, TOO_LONG);
    let compressed = iexec.request(Method::POST, &token).header("content-encoding", "gzip");
    Reply::to(compressed.header("authorization", "0x00").body(VALUE)).await.is_bare(415);
}

#[tokio::test]
async fn browsers_may_ask_for_secrets_and_for_nothing_else() {
    let limits = Limits {
        requests_per_second: NonZeroU32::MIN,
        burst: NonZeroU32::new(12).unwrap(),
        ..Options::default().limits
    };
    let iexec = Iexec::with(Options { limits, ..Options::default() }, None).await;
    let alice = iexec.person(1);
    let from = |request: RequestBuilder| request.header("origin", "https://app.example.org");
    let paths = [
        web3(Address::ZERO),
        web2(alice.address(), TOKEN),
        "apps/0x0000000000000000000000000000000000000001/secrets".to_owned(),
        of_requester(alice.address(), KEY),
    ];
    for path in &paths {
        let preflight = from(iexec.request(Method::OPTIONS, path))
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,content-type");
        let preflight = Reply::to(preflight).await;
        preflight.is_bare(200);
        let allowed = |name: &str| {
            let name = format!("access-control-allow-{name}");
            preflight.header(&name).unwrap_or_default().to_lowercase()
        };
        assert_eq!(allowed("origin"), "*");
        assert_eq!(preflight.header("access-control-max-age"), Some("1800"));
        for method in ["head", "post", "put"] {
            assert!(allowed("methods").contains(method), "{preflight:?}");
        }
        for header in ["authorization", "content-type"] {
            assert!(allowed("headers").contains(header), "{preflight:?}");
        }
        // A no is readable too.
        let absent = Reply::to(from(iexec.request(Method::HEAD, path))).await;
        absent.is_bare(404);
        assert_eq!(absent.header("access-control-allow-origin"), Some("*"));
        let unsigned = Reply::to(from(iexec.request(Method::POST, path)).body(VALUE)).await;
        unsigned.is_bare(400);
        assert_eq!(unsigned.header("access-control-allow-origin"), Some("*"));
    }
    let signed = alice.sign(challenge::requester(alice.address(), KEY, VALUE.as_bytes()));
    let pushed = from(iexec.request(Method::POST, &paths[3])).header("authorization", signed);
    let pushed = Reply::to(pushed.body(VALUE)).await;
    pushed.is_bare(204);
    assert_eq!(pushed.header("access-control-allow-origin"), Some("*"));
    for other in ["tee/framework", "version", "metrics"] {
        let answer = Reply::to(from(iexec.request(Method::GET, other))).await;
        assert_eq!(answer.header("access-control-allow-origin"), None, "{other}");
    }
    let refused = eventually("one asks too often", async || {
        let answer = Reply::to(from(iexec.request(Method::HEAD, &paths[0]))).await;
        (answer.status == 429).then_some(answer)
    })
    .await;
    refused.is_bare(429);
    assert_eq!(refused.header("access-control-allow-origin"), Some("*"));
}
