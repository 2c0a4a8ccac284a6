//! What a file says counts where nobody else says it, and what is wrong in it is told whole.

use std::fs;

use clap::{CommandFactory, Parser};
use tempfile::TempDir;

use super::*;
use crate::args::{Cli, Command as Asked};

/// `sesame LINE…` with this file.
fn line(folder: &TempDir, text: &str, words: &[&str]) -> Vec<OsString> {
    let path = folder.path().join("sesame.toml");
    fs::write(&path, text).unwrap();
    let mut line = vec![OsString::from("sesame")];
    line.extend(words.iter().map(OsString::from));
    line.extend([OsString::from("--config"), path.into()]);
    line
}

fn completed(text: &str, words: &[&str]) -> Result<Vec<String>, String> {
    let folder = TempDir::new().unwrap();
    let line = line(&folder, text, words);
    let known = line.len();
    let name = folder.path().join("sesame.toml").display().to_string();
    let added =
        complete(Cli::command(), line).map_err(|error| error.to_string().replace(&name, "FILE"))?;
    let added = added.arguments.into_iter().skip(known);
    Ok(added.map(|argument| argument.into_string().unwrap()).collect())
}

#[test]
fn each_command_gets_its_own_options_and_those_of_all() {
    let text = "\
        rpc-url = [\"http://one:1\", \"http://two:2\"]\n\
        [serve]\n\
        poll-ms = 1_000\n\
        data-dir = \"there\"\n\
        [worker]\n\
        parallel = 3\n";
    let all = ["--rpc-url=http://one:1", "--rpc-url=http://two:2"];
    let got = |words| completed(text, words).unwrap();
    assert_eq!(got(&["status"]), all);
    let serve = [&all[..], &["--data-dir=there", "--poll-ms=1000"]].concat();
    assert_eq!(got(&["serve"]), serve);
    assert_eq!(got(&["vault", "check"]), [&all[..], &["--data-dir=there"]].concat());
    assert_eq!(got(&["worker"]), [&all[..], &["--parallel=3"]].concat());
}

#[test]
fn what_the_line_says_wins_and_a_list_is_replaced() {
    let text = "rpc-url = [\"http://one:1\"]\n[serve]\npoll-ms = 1000\nprove-every = 7\n";
    let words = ["serve", "--rpc-url", "http://mine:3", "--poll-ms=5"];
    assert_eq!(completed(text, &words).unwrap(), ["--prove-every=7"]);
}

#[test]
fn a_switch_is_true_or_false() {
    let set = |value: &str| completed(&format!("[serve]\nleave-hsm = {value}\n"), &["serve"]);
    assert_eq!(set("true").unwrap(), ["--leave-hsm"]);
    assert!(set("false").unwrap().is_empty());
    assert!(set("1").unwrap_err().contains("true or false"));
}

#[test]
fn every_mistake_is_told_at_once_with_its_line() {
    let text = "\
        rpc-urls = \"http://one:1\"\n\
        data-dir = \"there\"\n\
        log-format = \"xml\"\n\
        [serve]\n\
        poll-ms = \"often\"\n\
        quorum = [1]\n\
        rpc-url = \"http://one:1\"\n\
        parallel = 1\n\
        listen = true\n\
        config = \"other.toml\"\n\
        [server]\n\
        listen = 1\n";
    let told = completed(text, &["serve"]).unwrap_err();
    let told: Vec<_> = told.lines().map(str::trim).collect();
    let says = |line: usize, words: &str| {
        let place = format!("FILE:{line}:");
        let found = told.iter().find(|text| text.starts_with(&place));
        assert!(found.is_some_and(|text| text.contains(words)), "{line} {words}: {told:#?}");
    };
    says(1, "is rpc-url meant?");
    says(2, "belongs in the table [serve]");
    says(3, "[possible values: text, json]");
    says(5, "poll-ms: invalid value 'often'");
    says(6, "one value, not a list");
    says(7, "belongs above the tables");
    says(8, "belongs in the table [worker]");
    says(9, "a string or a number");
    says(10, "no option config here");
    says(11, "there is no table [server]");
    assert_eq!(told.len(), 10, "{told:#?}");
}

#[test]
fn what_is_no_toml_is_told_with_its_lines() {
    let told = completed("[serve]\npoll-ms = \nlisten = 'x\n", &["serve"]).unwrap_err();
    assert!(told.contains("FILE:2:") && told.contains("FILE:3:"), "{told}");
}

/// A bug: only addresses that the environment may hold were kept to themselves.
#[test]
fn what_may_hold_a_key_is_not_quoted() {
    let told = completed("[serve]\npccs-url = \"the-key no url\"\n", &["serve"]).unwrap_err();
    assert!(told.contains("FILE:2: pccs-url") && !told.contains("the-key"), "{told}");
    let mut command = Cli::command();
    command.build();
    let serve = command.find_subcommand("serve").unwrap();
    let worker = command.find_subcommand("worker").unwrap();
    let shown = options(serve).chain(options(worker)).filter(|option| !may_hold_a_key(option));
    for option in shown {
        let long = option.get_long().unwrap();
        assert!(!long.contains("url") || long.ends_with("-file"), "{long} is shown");
        assert_ne!(long, "ipfs-gateway");
    }
}

#[test]
fn a_file_that_is_not_there_is_a_mistake() {
    let line = ["sesame", "status", "--config", "/nowhere/sesame.toml"].map(OsString::from);
    let told = complete(Cli::command(), line.to_vec()).unwrap_err().to_string();
    assert!(told.contains("/nowhere/sesame.toml cannot be read"), "{told}");
}

#[test]
fn what_asks_for_help_or_makes_no_sense_is_left_to_the_parser() {
    for words in [&["--help"][..], &["serve", "--help"], &["no-such-command"]] {
        let mut line = vec![OsString::from("sesame")];
        line.extend(words.iter().map(OsString::from));
        assert_eq!(complete(Cli::command(), line.clone()).unwrap().arguments, line);
    }
}

#[test]
fn options_of_a_file_need_and_exclude_each_other_as_on_the_line() {
    let folder = TempDir::new().unwrap();
    let parse = |text: &str| {
        let completed = complete(Cli::command(), line(&folder, text, &["serve"])).unwrap();
        Cli::try_parse_from(completed.arguments)
    };
    let lonely = parse("[serve]\nhsm-token = \"sesame\"\n").unwrap_err();
    assert_eq!(lonely.kind(), ErrorKind::MissingRequiredArgument);
    let both = "[serve]\npccs-url = \"http://one:1\"\ncollateral-dir = \"there\"\n";
    assert_eq!(parse(both).unwrap_err().kind(), ErrorKind::ArgumentConflict);
    assert!(matches!(parse("[serve]\npoll-ms = 7\n").unwrap().command, Asked::Serve(_)));
}
