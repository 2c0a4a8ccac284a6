//! Names, labels, and what is left out.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use sesame_vault::VaultError;

use super::*;
use crate::{collateral::KeptOf, problem::Code};

fn metrics() -> Metrics {
    Metrics::new(Arc::default())
}

fn has(metrics: &Metrics, standing: &Standing, lines: &[&str]) {
    let text = metrics.text(standing).unwrap();
    assert!(text.ends_with("# EOF\n"), "{text}");
    for line in lines {
        assert!(text.lines().any(|found| found == *line), "{line} is not in\n{text}");
    }
}

#[test]
fn what_may_happen_is_there_before_it_happens() {
    let lines = [
        r#"sesame_decisions_total{decision="denied"} 0"#,
        r#"sesame_attestations_total{tee="snp",verdict="attestation_refused"} 0"#,
        r#"sesame_problems_total{code="busy"} 0"#,
        r#"sesame_collateral_fetches_total{vendor="intel",result="ok"} 0"#,
        r#"sesame_vault_operation_seconds_count{operation="open",result="ok"} 0"#,
        "sesame_receipt_append_seconds_count 0",
        "sesame_index_lies_total 0",
        "sesame_requests_in_flight 0",
    ];
    has(&metrics(), &Standing::default(), &lines);
}

/// Words that are not ours become one of few.
#[test]
fn words_of_a_caller_are_no_labels() {
    let metrics = metrics();
    let made_up = Method::from_bytes(b"MADE-UP").unwrap();
    let problem = (StatusCode::METHOD_NOT_ALLOWED, Some(Code::MethodNotAllowed));
    let open = metrics.requests.begin();
    metrics.requests.answered(&made_up, None, problem, Duration::from_millis(2));
    metrics.decisions.not_attested("made-up", Code::AttestationRefused);
    let lines = [
        r#"sesame_request_seconds_count{method="other",route="unmatched",status="4xx"} 1"#,
        r#"sesame_problems_total{code="method_not_allowed"} 1"#,
        r#"sesame_attestations_total{tee="other",verdict="attestation_refused"} 1"#,
        "sesame_requests_in_flight 1",
    ];
    has(&metrics, &Standing::default(), &lines);
    drop(open);
    has(&metrics, &Standing::default(), &["sesame_requests_in_flight 0"]);
    let text = metrics.text(&Standing::default()).unwrap().to_lowercase();
    assert!(!text.contains("made-up"), "{text}");
}

#[test]
fn a_denial_counts_once_and_each_of_its_reasons() {
    let metrics = metrics();
    metrics.decisions.decided(&["wrong_sms", "task_ended"]);
    metrics.decisions.decided(&["task_ended"]);
    metrics.decisions.decided(&[]);
    let lines = [
        r#"sesame_decisions_total{decision="released"} 1"#,
        r#"sesame_decisions_total{decision="denied"} 2"#,
        r#"sesame_denials_total{reason="task_ended"} 2"#,
        r#"sesame_denials_total{reason="wrong_sms"} 1"#,
    ];
    has(&metrics, &Standing::default(), &lines);
}

#[test]
fn operations_of_the_vault_count_by_what_comes_of_them() {
    let metrics = metrics();
    let unavailable = || VaultError::Unavailable {
        place: "postgres://a-host-of-ours/".to_owned(),
        source: "it is away".into(),
    };
    assert_eq!(metrics.vault.time("push", || Ok(7)).unwrap(), 7);
    metrics.vault.time("open", || Err::<(), _>(unavailable())).unwrap_err();
    let conflict = VaultError::VersionConflict { newest: 3, got: 3 };
    metrics.vault.time("replace", || Err::<(), _>(conflict)).unwrap_err();
    let lines = [
        r#"sesame_vault_operation_seconds_count{operation="push",result="ok"} 1"#,
        r#"sesame_vault_operation_seconds_count{operation="open",result="vault_unavailable"} 1"#,
        r#"sesame_vault_operation_seconds_count{operation="replace",result="version_conflict"} 1"#,
    ];
    has(&metrics, &Standing::default(), &lines);
    assert!(!metrics.text(&Standing::default()).unwrap().contains("a-host-of-ours"));
}

#[test]
fn a_file_system_that_does_not_say_has_nothing_free() {
    let standing = Standing { free: None, reserve: 9, ..Standing::default() };
    has(&metrics(), &standing, &["sesame_data_free_bytes 0", "sesame_data_reserve_bytes 9"]);
}

#[test]
fn collateral_has_an_end_where_there_is_some() {
    let metrics = metrics();
    let of = |oldest: Option<(u64, u64)>| KeptOf {
        vendor: "amd",
        platforms: usize::from(oldest.is_some()),
        oldest,
    };
    let some = Standing { collateral: vec![of(Some((5, 9)))], ..Standing::default() };
    let lines = [
        r#"sesame_collateral_platforms{vendor="amd"} 1"#,
        r#"sesame_collateral_fetch_timestamp_seconds{vendor="amd"} 5"#,
        r#"sesame_collateral_expiry_timestamp_seconds{vendor="amd"} 9"#,
    ];
    has(&metrics, &some, &lines);
    let none = Standing { collateral: vec![of(None)], ..Standing::default() };
    has(&metrics, &none, &[r#"sesame_collateral_platforms{vendor="amd"} 0"#]);
    let text = metrics.text(&none).unwrap();
    assert!(!text.contains("timestamp_seconds{"), "{text}");
}

/// The table says `sesame_a`, `_b` for `sesame_a` and `sesame_…_b`.
#[test]
fn the_readme_tells_of_every_metric() {
    let metrics = metrics();
    let ok = (StatusCode::OK, None);
    metrics.requests.answered(&Method::GET, None, ok, Duration::ZERO);
    metrics.decisions.decided(&["wrong_sms"]);
    let collateral = vec![KeptOf { vendor: "amd", platforms: 1, oldest: Some((5, 9)) }];
    let text = metrics.text(&Standing { collateral, ..Standing::default() }).unwrap();
    let readme = include_str!("../../README.md");
    let mut seen = 0;
    for family in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = family.split_once(' ').unwrap();
        let name = if kind == "counter" { format!("{name}_total") } else { name.to_owned() };
        let told = name.match_indices('_').map(|(at, _)| name.split_at(at).1);
        let mut told = told.chain([name.as_str()]).map(|part| format!("`{part}`"));
        assert!(told.any(|part| readme.contains(&part)), "the README lacks {name}");
        seen += 1;
    }
    assert!(seen > 30, "only {seen}");
}
