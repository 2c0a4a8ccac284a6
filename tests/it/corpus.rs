//! What fuzzing found worth keeping still holds, on stable Rust and without libFuzzer.

use std::{fs, path::Path};

use sesame_tests::ROOT;

#[path = "../fuzz/laws.rs"]
mod laws;

/// Every file of a target's corpus.
fn replay(target: &str, law: fn(&[u8])) {
    let folder = Path::new(ROOT).join("tests/fuzz/corpus").join(target);
    let mut files: Vec<_> =
        fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "no corpus in {}", folder.display());
    for file in files {
        // The name of the file that breaks the law stands in the output before the panic.
        eprintln!("{}", file.display());
        law(&fs::read(&file).unwrap());
    }
}

#[test]
fn the_corpus_of_evidence_holds() {
    replay("evidence", laws::evidence);
}

#[test]
fn the_corpus_of_runtime_data_holds() {
    replay("runtime_data", laws::runtime_data);
}

#[test]
fn the_corpus_of_keys_holds() {
    replay("jwk", laws::jwk);
}

#[test]
fn the_corpus_of_sessions_holds() {
    replay("session", laws::session);
}

#[test]
fn the_corpus_of_snp_evidence_holds() {
    replay("snp", laws::snp);
}

#[test]
fn the_corpus_of_backups_holds() {
    replay("backup", laws::backup);
}
