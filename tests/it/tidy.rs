//! The house as it is described: who may know whom, and how files begin.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use sesame_tests::ROOT;

/// Which rooms each room may enter.
const EDGES: &[(&str, &[&str])] = &[
    ("sesame-domain", &[]),
    ("sesame-protocol", &["domain"]),
    ("sesame-view", &["domain"]),
    ("sesame-chain", &["domain"]),
    ("sesame-indexer", &["domain", "view", "chain"]),
    ("sesame-iexec", &["domain", "protocol", "chain", "indexer"]),
    ("sesame-attestation", &["domain", "protocol"]),
    ("sesame-vault", &["domain", "attestation", "protocol"]),
    ("sesame-client", &["domain", "protocol"]),
    ("sesame-receipts", &["protocol"]),
    (
        "sesame-sms",
        &[
            "domain",
            "protocol",
            "view",
            "chain",
            "indexer",
            "iexec",
            "attestation",
            "vault",
            "receipts",
        ],
    ),
    ("sesame-enclave", &["domain", "protocol", "client", "attestation"]),
    ("sesame-worker", &["domain", "protocol", "chain", "client", "attestation", "enclave"]),
    (
        "sesame",
        &[
            "domain",
            "protocol",
            "client",
            "receipts",
            "chain",
            "sms",
            "worker",
            "attestation",
            "enclave",
        ],
    ),
];

/// Heavy dependencies, and the rooms that may have them.
const HEAVY: &[(&str, &[&str])] = &[
    ("rocksdb", &["sesame-view", "sesame-vault", "sesame-receipts"]),
    ("tokio-postgres", &["sesame-vault"]),
    ("axum", &["sesame-sms", "sesame-worker"]),
    ("cryptoki", &["sesame-vault"]),
    ("alloy", &["sesame-chain", "sesame-indexer", "sesame-iexec", "sesame-worker", "sesame"]),
    ("reqwest", &["sesame-client", "sesame-enclave", "sesame-sms"]),
    ("dcap-qvl", &["sesame-attestation"]),
    ("kbs-types", &["sesame-protocol"]),
    ("utoipa", &["sesame-protocol", "sesame-sms"]),
];

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(ROOT).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo {arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// What each crate depends on, tests aside.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let metadata = cargo(&["metadata", "--format-version=1", "--no-deps", "--offline"]);
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let of = |package: &Value| {
        let all = package["dependencies"].as_array().unwrap().iter();
        let kept = all.filter(|dependency| dependency["kind"] != "dev");
        (text(&package["name"]), kept.map(|dependency| text(&dependency["name"])).collect())
    };
    metadata["packages"].as_array().unwrap().iter().map(of).collect()
}

#[test]
fn the_rooms_enter_only_whom_they_may() {
    let mut found = dependencies();
    found.remove("sesame-tests");
    for (name, depends_on) in &found {
        let Some((_, allowed)) = EDGES.iter().find(|(room, _)| room == name) else {
            panic!("{name} is a new room: say here whom it may enter");
        };
        for other in depends_on.iter().filter_map(|other| other.strip_prefix("sesame-")) {
            assert!(allowed.contains(&other), "{name} may not depend on sesame-{other}");
        }
    }
    assert_eq!(found.len(), EDGES.len(), "a room is gone: {:?}", found.keys());
}

#[test]
fn heavy_dependencies_stay_where_they_belong() {
    for (name, depends_on) in dependencies() {
        for (heavy, allowed) in HEAVY {
            let allowed = name == "sesame-tests" || allowed.contains(&name.as_str());
            assert!(allowed || !depends_on.contains(*heavy), "{name} may not depend on {heavy}");
        }
    }
}

/// All that the enclave's binary links is trusted, so there is no database and no server in it.
#[test]
fn the_enclave_links_neither_database_nor_server() {
    let tree = cargo(&[
        "tree",
        "-p",
        "sesame-enclave",
        "-e",
        "normal",
        "--all-features",
        "--prefix",
        "none",
        "--offline",
    ]);
    assert!(tree.contains("sesame-protocol"), "{tree}");
    for line in tree.lines() {
        let name = line.split(' ').next().unwrap_or_default();
        let stray = [
            "rocksdb",
            "librocksdb-sys",
            "tokio-postgres",
            "axum",
            "alloy",
            "sesame-sms",
            "sesame-vault",
            "utoipa",
        ];
        assert!(!stray.contains(&name), "the enclave links {name}");
    }
}

/// The binary that is released is built alone and without features: it knows no simulated TEE.
#[test]
fn the_released_binary_has_no_simulated_tee() {
    let simulated = |arguments: &[&str]| {
        let all: [&[&str]; 3] = [
            &["tree", "-p", "sesame", "-e", "normal", "--prefix", "none", "--offline"],
            &["-f", "{p} {f}"],
            arguments,
        ];
        // With the feature come the libraries that issue certificates, and with nothing else.
        let words = ["simulated", "rcgen", "yasna"];
        let tree = cargo(&all.concat());
        words.map(|word| tree.lines().any(|line| line.contains(word)))
    };
    assert_eq!(simulated(&[]), [false; 3], "a default build of sesame has the feature `simulated`");
    assert_eq!(
        simulated(&["--features", "simulated"]),
        [true; 3],
        "this test looks for the wrong words"
    );
}

/// What issues evidence, and what would make somebody trust it, is compiled under the feature (or for a crate's own tests) alone.
#[test]
fn roots_of_our_own_are_behind_the_feature() {
    let source = Path::new(ROOT).join("crates/attestation/src");
    let gated = |file: &str, item: &str| {
        let text = fs::read_to_string(source.join(file)).unwrap();
        let lines: Vec<_> = text.lines().map(str::trim).collect();
        let at = lines.iter().position(|line| line.starts_with(item));
        let at = at.unwrap_or_else(|| panic!("{file} has no `{item}`"));
        let attributes = lines[..at].iter().rev().take_while(|line| line.starts_with("#["));
        let gates =
            ["#[cfg(feature = \"simulated\")]", "#[cfg(any(test, feature = \"simulated\"))]"];
        assert!(attributes.into_iter().any(|line| gates.contains(line)), "{file}: {item}");
    };
    gated("lib.rs", "pub mod simulated;");
    gated("snp/mod.rs", "pub mod issue;");
    gated("snp/root.rs", "pub fn insecure_trusting_simulated(");
    gated("snp/policy.rs", "pub fn insecure_admit_simulated(");
    gated("verify.rs", "pub fn insecure_trusting_simulated(");
    gated("verify.rs", "simulated: Option<Arc<Published>>");
}

#[test]
fn every_file_says_what_it_is() {
    let mut seen = 0;
    for folder in ["crates", "tests/it", "tests/support"] {
        for path in rust_files(&Path::new(ROOT).join(folder)) {
            let text = fs::read_to_string(&path).unwrap();
            let told = text.starts_with("//!") || text.starts_with("#![doc");
            assert!(told, "{} does not open with //!", path.display());
            seen += 1;
        }
    }
    assert!(seen > 50, "only {seen} files");
}

/// Every problem and every reason for a no is reached by a story, over HTTP.
#[test]
fn every_code_is_reached_by_a_story() {
    let folder = Path::new(ROOT).join("tests/it");
    let stories = rust_files(&folder).into_iter().filter(|path| !path.ends_with("tidy.rs"));
    let stories: String = stories.map(|path| fs::read_to_string(path).unwrap()).collect();
    let denials = include_str!("../fixtures/protocol/denials.json");
    let denials: Vec<Value> = serde_json::from_str(denials).unwrap();
    let reasons = denials.iter().map(|denial| denial["code"].as_str().unwrap().to_owned());
    let mut seen = 0;
    for code in sesame_sms::codes().map(str::to_owned).chain(reasons) {
        assert!(stories.contains(&format!("\"{code}\"")), "no story reaches {code}");
        seen += 1;
    }
    assert!(seen > 50, "only {seen} codes");
}

/// Every check that a node's answer can fail is reached by its name: over HTTP, or where the check stands.
#[test]
fn every_check_of_a_node_is_reached_by_a_test() {
    let indexer = Path::new(ROOT).join("crates/indexer/src");
    let read = |path: &PathBuf| fs::read_to_string(path).unwrap();
    let stories = rust_files(&Path::new(ROOT).join("tests/it"));
    let tests = rust_files(&indexer).into_iter().filter(|path| path.ends_with("tests.rs"));
    let tests: String = stories.iter().map(read).chain(tests.map(|path| read(&path))).collect();
    let mut seen = 0;
    for file in ["verify.rs", "source.rs", "error.rs"] {
        let source = read(&indexer.join(file));
        let names = source.split("=> \"").skip(1).filter_map(|rest| rest.split('"').next());
        for name in names {
            assert!(tests.contains(&format!("\"{name}\"")), "no test reaches {name}");
            seen += 1;
        }
    }
    assert!(seen > 15, "only {seen} checks");
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// What a README names in backticks with a slash or a suffix of ours is there.
#[test]
fn the_names_in_the_readmes_exist() {
    for readme in ["README.md", "crates/README.md", "contracts/README.md"] {
        let path = Path::new(ROOT).join(readme);
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let folder = path.parent().unwrap();
        for name in text.split('`').skip(1).step_by(2).filter(|name| is_a_file(name)) {
            let here =
                [folder.join(name), Path::new(ROOT).join(name), folder.join("crates").join(name)];
            let source =
                name.split_once('/').map(|(room, file)| folder.join(room).join("src").join(file));
            let known = here.iter().chain(&source).any(|path| path.exists());
            assert!(known || anywhere(name), "{readme} names `{name}`, which is not there");
        }
    }
}

fn is_a_file(name: &str) -> bool {
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
    let ours = [".rs", ".sol", ".toml", ".t.sol"].iter().any(|suffix| name.ends_with(suffix));
    plain && (ours || name.starts_with("script/") || name.starts_with("crates/"))
}

/// A file of this name, wherever it is.
fn anywhere(name: &str) -> bool {
    let tail = Path::new(name);
    ["crates", "contracts", "script", "tests"].iter().any(|folder| {
        let Ok(output) = Command::new("find").arg(Path::new(ROOT).join(folder)).output() else {
            return false;
        };
        String::from_utf8_lossy(&output.stdout).lines().any(|line| Path::new(line).ends_with(tail))
    })
}
