//! The alerts and the dashboard that come with the service: Prometheus takes them, each alert is tested and told about, and
//! whatever they name is there.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use serde_json::Value;
use sesame_tests::ROOT;

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join("crates/sms").join(file)).unwrap()
}

fn promtool(arguments: &[&str]) {
    let mut command = Command::new("promtool");
    command.args(arguments).current_dir(Path::new(ROOT).join("crates/sms/ops"));
    let output = command.output().expect("promtool is there: script/setup installs it");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn prometheus_takes_the_alerts_and_they_fire_when_they_should() {
    promtool(&["check", "rules", "alerts.yaml"]);
    promtool(&["test", "rules", "alerts.test.yaml"]);
}

/// What follows each of these on its line.
fn after<'t>(text: &'t str, start: &'t str) -> impl Iterator<Item = &'t str> {
    text.lines().filter_map(move |line| line.trim().strip_prefix(start))
}

#[test]
fn every_alert_is_tested_both_ways_and_has_its_page_in_the_runbook() {
    let (rules, tests, runbook) =
        (read("ops/alerts.yaml"), read("ops/alerts.test.yaml"), read("RUNBOOK.md"));
    let alerts: BTreeSet<_> = after(&rules, "- alert: ").collect();
    assert!(alerts.len() > 20, "{alerts:?}");
    let lines: Vec<_> = tests.lines().map(str::trim).collect();
    for alert in &alerts {
        let quiet = format!("alertname: {alert}, exp_alerts: [] }}");
        assert!(lines.iter().any(|line| line.ends_with(&quiet)), "{alert} is not tested quiet");
        let name = format!("alertname: {alert}");
        let fires = lines.windows(2).any(|pair| *pair == [name.as_str(), "exp_alerts:"]);
        assert!(fires, "{alert} is not tested firing");
        let link = format!("runbook_url: RUNBOOK.md#{}", alert.to_lowercase());
        let links = rules.lines().filter(|line| line.trim() == link).count();
        assert_eq!(links, 1, "{alert} does not link its page");
    }
    let pages: BTreeSet<_> =
        after(&runbook, "### ").filter(|heading| heading.starts_with("Sesame")).collect();
    assert_eq!(pages, alerts, "the runbook has other pages than there are alerts");
}

/// A drill that the runbook names as `story::name` is a test of that name.
#[test]
fn the_drills_of_the_runbook_are_there() {
    let (runbook, mut seen) = (read("RUNBOOK.md"), 0);
    for name in runbook.split('`').skip(1).step_by(2) {
        let Some((story, test)) = name.split_once("::") else { continue };
        let path = Path::new(ROOT).join("tests/it").join(format!("{story}.rs"));
        let text = fs::read_to_string(path).unwrap_or_default();
        assert!(text.contains(&format!("async fn {test}()")), "there is no {name}");
        seen += 1;
    }
    assert!(seen > 8, "only {seen} drills");
}

/// Every expression of the dashboard.
fn queries(dashboard: &Value, found: &mut Vec<String>) {
    match dashboard {
        Value::Object(members) => {
            for (name, value) in members {
                match value.as_str() {
                    Some(text) if ["expr", "definition"].contains(&name.as_str()) => {
                        found.push(text.to_owned());
                    }
                    _ => queries(value, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| queries(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Metrics that dashboard, alerts and their tests name, each with the labels that are asked of it; and the labels by which
/// anything is summed.
pub(crate) fn named() -> (BTreeSet<(String, BTreeSet<String>)>, BTreeSet<String>) {
    let mut texts = vec![read("ops/alerts.yaml"), read("ops/alerts.test.yaml")];
    queries(&serde_json::from_str(&read("ops/dashboard.json")).unwrap(), &mut texts);
    assert!(texts.len() > 40, "only {} texts", texts.len());
    let (mut metrics, mut sums) = (BTreeSet::new(), BTreeSet::new());
    for text in &texts {
        for (at, word) in words(text) {
            let rest = &text[at + word.len()..];
            if word.starts_with("sesame_") || word.starts_with("process_") {
                metrics.insert((word.to_owned(), labels(rest)));
            }
            if ["by", "without", "ignoring"].contains(&word)
                && let Some(list) = rest.strip_prefix(" (").and_then(|rest| rest.split(')').next())
            {
                sums.extend(list.split(", ").map(str::to_owned));
            }
        }
    }
    (metrics, sums)
}

/// Where words stand that may be names.
fn words(text: &str) -> Vec<(usize, &str)> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let (mut words, mut begin) = (Vec::new(), None);
    for (at, c) in text.char_indices().chain([(text.len(), ' ')]) {
        match (is_part(c), begin) {
            (true, None) => begin = Some(at),
            (false, Some(start)) => {
                words.push((start, &text[start..at]));
                begin = None;
            }
            (true, Some(_)) | (false, None) => {}
        }
    }
    words
}

/// The names in what follows a metric's, if that is a list of labels. Values may hold braces.
pub(crate) fn labels(rest: &str) -> BTreeSet<String> {
    let Some(list) = rest.strip_prefix('{') else { return BTreeSet::new() };
    let mut names = BTreeSet::new();
    for part in list.split('"').step_by(2) {
        let (inside, ended) =
            part.split_once('}').map_or((part, false), |(inside, _)| (inside, true));
        let name = inside.trim_matches(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        if !name.is_empty() {
            names.insert(name.to_owned());
        }
        if ended {
            break;
        }
    }
    names
}
