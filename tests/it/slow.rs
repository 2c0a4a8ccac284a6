//! A request has its time; who sends its body too slowly is answered all the same.

use std::time::Duration;

use futures::future::join_all;
use sesame_client::owner::PushOptions;
use sesame_protocol::{
    owner::{AUTHORIZATION_HEADER, MAX_SEALED_BYTES, SEALED_CONTENT_TYPE, SignedUpdate},
    typed::SecretUpdate,
};
use sesame_tests::{Answer, Options, World, drip, eventually, now, stall};

#[tokio::test]
async fn a_body_that_takes_too_long_is_answered_in_the_form_of_its_surface() {
    // Less than what a body has for its next bytes.
    let request_time = Duration::from_secs(3);
    let world = World::with(Options { request_time, ..Options::default() }).await;
    let (owner, secret) = (&world.requester, world.requester.secret("slow"));
    let sealing = world.sms.keys().await.sealing();
    let update = SecretUpdate::new(&secret, owner.address(), 0, 1, sealing, now() + 300);
    let (signed, body) =
        SignedUpdate::seal(update, b"value", &world.sms.domain(), &owner.signer()).unwrap();
    let header = signed.to_header();
    let headers = [(AUTHORIZATION_HEADER, header.as_str()), ("content-type", SEALED_CONTENT_TYPE)];

    let push = format!("PUT /v1/{secret}");
    let (by_owner, by_enclave, in_path) = tokio::join!(
        drip(&world.sms, &push, &headers),
        drip(&world.sms, "POST /kbs/v0/auth", &[]),
        drip(&world.sms, "POST /kbs/e30/v0/auth", &[]),
    );

    by_owner.is_problem(408, "request_timeout");
    assert_eq!(by_owner.header("content-type"), Some("application/problem+json"));
    for answer in [by_enclave, in_path] {
        answer.is_problem(408, "request_timeout");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.json().get("status"), None, "an ErrorInformation has no status");
    }

    // Nothing was kept of it: the same push counts when it comes in time.
    assert_eq!(owner.owner.show(now(), &secret).await.unwrap(), None);
    let path = format!("v1/{secret}");
    let mut request = world.sms.request(reqwest::Method::PUT, &path).body(body);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    assert_eq!(Answer::to(request).await.status, 201);
}

/// Strangers fill the room for bodies and send no more: a few seconds later there is room for others.
#[tokio::test]
async fn bodies_that_come_too_slowly_make_room_for_others() {
    // So many of the largest bodies that one more has no room.
    const STRANGERS: usize = 63;
    let request_time = Duration::from_secs(600);
    let world = World::with(Options { request_time, ..Options::default() }).await;
    let (stranger, secret) = (&world.requester, world.requester.secret("slow"));
    let sealing = world.sms.keys().await.sealing();
    let update = SecretUpdate::new(&secret, stranger.address(), 0, 1, sealing, now() + 300);
    let (signed, _) =
        SignedUpdate::seal(update, b"value", &world.sms.domain(), &stranger.signer()).unwrap();
    let header = signed.to_header();
    let headers = [(AUTHORIZATION_HEADER, header.as_str()), ("content-type", SEALED_CONTENT_TYPE)];
    let push = format!("PUT /v1/{secret}");

    let (owner, value) = (&world.developer, vec![7; 4 << 20]);
    let other = owner.secret("in-time");
    let stalled =
        join_all((0..STRANGERS).map(|_| stall(&world.sms, &push, &headers, MAX_SEALED_BYTES)));
    let pushed = eventually("there is room for somebody else", async || {
        owner.owner.push(now(), &other, &value, &PushOptions::default()).await.ok()
    });
    let (stalled, pushed) = tokio::join!(stalled, pushed);
    assert_eq!(pushed.version, 1);
    // Where the owner's body came first, one of theirs found no room.
    let codes = stalled.iter().map(|answer| (answer.status, answer.header("sesame-problem")));
    let (slow, others): (Vec<_>, Vec<_>) =
        codes.partition(|code| *code == (408, Some("request_too_slow")));
    assert!(others.iter().all(|code| *code == (503, Some("overloaded"))), "{others:?}");
    assert!(slow.len() > STRANGERS / 2, "{others:?}");
    assert_eq!(stranger.owner.show(now(), &secret).await.unwrap(), None);
}
