//! What comes in from the web, and what goes out as a result.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    path::Path,
    sync::{Arc, Mutex},
    thread,
};

use age::{secrecy::ExposeSecret, x25519::Identity};
use alloy_primitives::{B256, keccak256};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rsa::{Generate, pkcs8::EncodePublicKey};
use sesame_domain::{AssetId, Resource};
use sesame_enclave::channel::ToHost;
use sesame_protocol::{bundle::BundledSecret, results::SignedResult};
use sha2::{Digest, Sha256};

use super::{PLAIN, SEE, World, files, snapshot};
use crate::sms::TASK;

impl World {
    fn with_params(app: &str, params: &str) -> Self {
        let mut world = Self::new(app);
        world.script.bundle.order.params = params.to_owned();
        world
    }

    fn options(mut self, options: &[&str]) -> Self {
        self.options = options.iter().map(ToString::to_string).collect();
        self
    }

    fn result(self) -> (tempfile::TempDir, SignedResult) {
        let (folder, last, code) = self.run();
        let ToHost::Result(result) = last else { panic!("{last:?}") };
        assert_eq!(code, Some(0));
        (folder, result)
    }

    /// Protected data with this content and key instead of the one there is.
    fn data(mut self, data: &[(&str, &[u8], &str)]) -> Self {
        let bundle = &mut self.script.bundle;
        bundle.secrets.retain(|secret| !matches!(secret.resource, Resource::ProtectedData(_)));
        bundle.order.data.clear();
        bundle.data.clear();
        for ((name, content, key), n) in data.iter().zip(1..) {
            let path = self.folder.path().join(name);
            fs::write(&path, content).unwrap();
            bundle.data.push(snapshot(&path, content));
            bundle.order.data.push(AssetId(B256::repeat_byte(n)));
            bundle.secrets.push(BundledSecret {
                resource: Resource::ProtectedData(n.into()),
                version: 1,
                value: key.as_bytes().to_vec().into(),
            });
        }
        self
    }
}

fn sha256(bytes: impl AsRef<[u8]>) -> B256 {
    B256::from_slice(&Sha256::digest(bytes))
}

/// Everything below a folder.
fn everything(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = sesame_enclave::output::files(folder).unwrap().into_iter();
    files
        .map(|file| (file.to_str().unwrap().to_owned(), fs::read(folder.join(file)).unwrap()))
        .collect()
}

fn untar(tar: &[u8]) -> BTreeMap<String, String> {
    let mut tar = tar::Archive::new(tar);
    let entries = tar.entries().unwrap().map(|entry| {
        let (mut entry, mut text) = (entry.unwrap(), String::new());
        entry.read_to_string(&mut text).unwrap();
        (entry.path().unwrap().to_str().unwrap().to_owned(), text)
    });
    entries.collect()
}

const TELL: &str = r#"#!/bin/sh
set -eu
printf %s "$IEXEC_APP_DEVELOPER_SECRET" > "$IEXEC_OUT/seen"
stat -f -c %T "$IEXEC_OUT" > "$IEXEC_OUT/where"
echo "said app-secret"
echo "warned app-secret" >&2
"#;

fn keyed(identity: &Identity) -> String {
    format!(r#"{{"sesame_result_key":"{}"}}"#, identity.to_public())
}

#[test]
fn an_encrypted_result_reaches_the_disk_as_ciphertext_alone() {
    let identity = Identity::generate();
    let (folder, result) = World::with_params(TELL, &keyed(&identity)).result();
    let work = folder.path().join("work").canonicalize().unwrap();
    let on_disk = everything(&work);
    assert_eq!(on_disk.keys().collect::<Vec<_>>(), ["out/result.tar.age"]);
    let sealed = &on_disk["out/result.tar.age"];
    assert!(!sealed.windows(10).any(|bytes| bytes == b"app-secret"));
    assert_eq!(result.digest, sha256(sealed), "anybody can check it");
    let file = url::Url::from_file_path(work.join("out/result.tar.age")).unwrap();
    assert_eq!(result.uri, file.to_string());

    let opened = untar(&age::decrypt(&identity, sealed).unwrap());
    assert_eq!(opened["iexec_out/seen"], "app-secret");
    assert_eq!(opened["stdout.txt"], "said app-secret\n");
    assert_eq!(opened["stderr.txt"], "warned app-secret\n");
    assert_eq!(opened.len(), 4);
    assert_eq!(opened["iexec_out/where"], "tmpfs\n", "the output was in memory");
    assert!(age::decrypt(&Identity::generate(), sealed).is_err());
}

#[test]
fn an_rsa_key_as_iexecs_users_have_it_gets_iexecs_form() {
    let secret = rsa::PrivateKey::generate();
    let pem = secret.to_public_key().to_public_key_pem(rsa::pkcs8::LineEnding::LF).unwrap();
    let key = STANDARD.encode(pem);
    let params = format!(r#"{{"sesame_result_key":"{key}","iexec_result_encryption":true}}"#);
    let (folder, result) = World::with_params(TELL, &params).result();
    let on_disk = everything(&folder.path().join("work"));
    assert_eq!(on_disk.keys().collect::<Vec<_>>(), ["out/result.zip"]);
    assert_eq!(result.digest, sha256(&on_disk["out/result.zip"]));
    let zip = std::io::Cursor::new(&on_disk["out/result.zip"]);
    let mut zip = zip::ZipArchive::new(zip).unwrap();
    let mut key = Vec::new();
    zip.by_name("aes-key.rsa").unwrap().read_to_end(&mut key).unwrap();
    assert_eq!(secret.pkcs1v15_decrypt(&key).unwrap().len(), 32);
    assert!(zip.by_name("iexec_out.zip.aes").unwrap().size() > 16);
}

#[test]
fn the_requester_may_have_a_result_in_the_clear_and_an_app_that_fails_leaves_nothing() {
    let identity = Identity::generate();
    let key = identity.to_public();
    let clear = format!(r#"{{"sesame_result_key":"{key}","iexec_result_encryption":false}}"#);
    let (folder, _) = World::with_params(TELL, &clear).result();
    let seen = fs::read_to_string(folder.path().join("work/out/seen")).unwrap();
    assert_eq!(seen, "app-secret");

    let fails = format!("{TELL}exit 3\n");
    let (folder, last, _) = World::with_params(&fails, &keyed(&identity)).run();
    assert!(matches!(last, ToHost::Failed(failure) if failure.code == "app_failed"));
    assert_eq!(everything(&folder.path().join("work")), BTreeMap::new());
}

#[test]
fn a_result_key_that_cannot_be_used_is_refused() {
    for params in [
        r#"{"iexec_result_encryption":true}"#,
        r#"{"sesame_result_key":"age1none"}"#,
        r#"{"sesame_result_key":"age1none","iexec_argz":"x"}"#,
        r#"{"iexec_result_storage_proxy":"https://user:word@x/"}"#,
    ] {
        assert_eq!(World::with_params(TELL, params).fail().code, "params_refused", "{params}");
    }
}

/// An app that puts out two files and says this about them.
fn computes(computed: &str) -> String {
    format!(
        "#!/bin/sh\nset -eu\nmkdir \"$IEXEC_OUT/table\"\nprintf one > \"$IEXEC_OUT/table/rows\"\n\
         printf two > \"$IEXEC_OUT/log\"\ncat > \"$IEXEC_OUT/computed.json\" <<END\n{computed}\nEND\n"
    )
}

#[test]
fn what_the_app_says_that_counts_is_what_is_digested() {
    for (computed, expected) in [
        (r#"{"deterministic-output-path":"$IEXEC_OUT/table/rows"}"#, sha256("one")),
        (r#"{"deterministic-output-path":"/iexec_out/table/rows"}"#, sha256("one")),
        (r#"{"deterministic-output-path":"table"}"#, keccak256(sha256("one"))),
        (r#"{"callback-data":"0x0102"}"#, keccak256([1, 2])),
    ] {
        let (folder, result) = World::new(&computes(computed)).result();
        assert_eq!(result.digest, expected, "{computed}");
        assert!(folder.path().join("work/out/log").exists(), "the rest is there as well");
    }
    // Callback data is for everybody, even where the rest is for one.
    let params = keyed(&Identity::generate());
    let world = World::with_params(&computes(r#"{"callback-data":"0x0102"}"#), &params);
    let (folder, result) = world.result();
    assert_eq!(result.digest, keccak256([1, 2]));
    assert!(result.uri.ends_with("/out/result.tar.age"));
    assert!(folder.path().join("work/out/result.tar.age").exists());
}

#[test]
fn an_output_that_leads_out_of_its_folder_is_refused() {
    for (computed, why) in [
        (r#"{"deterministic-output-path":"$IEXEC_OUT/../in"}"#, "not inside IEXEC_OUT"),
        (r#"{"deterministic-output-path":"/etc/passwd"}"#, "/etc/passwd"),
        (r#"{"deterministic-output-path":null}"#, "neither"),
        (r#"{"deterministic-output-path":"rows"}"#, "no file"),
        (r#"{"callback-data":"none"}"#, "hexadecimal"),
        ("{}", "neither"),
        ("nothing", "JSON"),
    ] {
        let failure = World::new(&computes(computed)).fail();
        assert_eq!(failure.code, "output_refused", "{computed}");
        assert!(failure.detail.contains(why) && !failure.retryable, "{}", failure.detail);
    }
    let linked = "#!/bin/sh\nln -s /etc \"$IEXEC_OUT/etc\"\necho '{\"deterministic-output-path\":\"etc/passwd\"}' > \"$IEXEC_OUT/computed.json\"\n";
    let failure = World::new(linked).fail();
    assert!(failure.detail.contains("etc is neither a file nor a folder"), "{}", failure.detail);
}

type Put = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

/// A storage that is busy at first, and refuses what is put below `/closed`. Keeps what it is given.
fn storage() -> (String, Put) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let put = Put::default();
    let kept = Arc::clone(&put);
    thread::spawn(move || {
        let mut busy = true;
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (mut reader, mut head) = (BufReader::new(&stream), String::new());
            while !head.ends_with("\r\n\r\n") {
                assert!(reader.read_line(&mut head).unwrap() > 0, "{head}");
            }
            let lower = head.to_lowercase();
            let length = lower.lines().find_map(|line| line.strip_prefix("content-length: "));
            let mut body = vec![0; length.unwrap().parse().unwrap()];
            reader.read_exact(&mut body).unwrap();
            let status = match head.split(' ').nth(1).unwrap() {
                path if path.starts_with("/closed/") => "403 Forbidden",
                _ if std::mem::take(&mut busy) => "503 Service Unavailable",
                _ => "201 Created",
            };
            if status == "201 Created" {
                kept.lock().unwrap().push((head, body));
            }
            let answer =
                format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    (base, put)
}

#[test]
fn results_go_to_the_operators_storage_with_its_authorization() {
    let identity = Identity::generate();
    for (params, name) in [(String::new(), "result.tar"), (keyed(&identity), "result.tar.age")] {
        let (base, put) = storage();
        let world = World::with_params(TELL, &params);
        let secret = world.folder.path().join("authorization");
        fs::write(&secret, "Bearer hunter2\n").unwrap();
        let url = format!("{base}/results");
        let world = world.options(&[
            "--result-url",
            &url,
            "--result-authorization-file",
            secret.to_str().unwrap(),
        ]);
        let (folder, result) = world.result();
        assert_eq!(result.uri, format!("{base}/results/{TASK}/{name}"));
        let put = put.lock().unwrap();
        let [(head, body)] = put.as_slice() else { panic!("{} puts", put.len()) };
        assert!(head.starts_with(&format!("PUT /results/{TASK}/{name} ")), "{head}");
        assert!(head.to_lowercase().contains("authorization: bearer hunter2"), "{head}");
        if params.is_empty() {
            let out = folder.path().join("work/out");
            assert_eq!(untar(body)["iexec_out/seen"], "app-secret");
            assert_eq!(result.digest, sesame_enclave::output::digest(&out).unwrap());
        } else {
            assert_eq!(result.digest, sha256(body));
            assert!(age::decrypt(&identity, body).is_ok());
        }
    }
}

#[test]
fn the_requesters_storage_is_used_where_the_operator_allows_it() {
    let (base, put) = storage();
    let params = format!(r#"{{"iexec_result_storage_proxy":"{base}/mine"}}"#);
    let (_folder, result) = World::with_params(TELL, &params).result();
    assert!(result.uri.starts_with("file://") && put.lock().unwrap().is_empty());

    let world = World::with_params(TELL, &params);
    let secret = world.folder.path().join("authorization");
    fs::write(&secret, "Bearer hunter2\n").unwrap();
    let secret = secret.to_str().unwrap().to_owned();
    let (_folder, result) = world
        .options(&[
            "--allow-result-proxy",
            "true",
            "--result-url",
            "http://127.0.0.1:1/",
            "--result-authorization-file",
            &secret,
        ])
        .result();
    assert_eq!(result.uri, format!("{base}/mine/{TASK}/result.tar"));
    let head = put.lock().unwrap()[0].0.to_lowercase();
    assert!(!head.contains("authorization"), "what is the operator's goes nowhere else: {head}");
}

#[test]
fn a_result_that_nobody_takes_is_told() {
    let (base, _) = storage();
    let closed = format!("{base}/closed");
    let failure = World::new(SEE).options(&["--result-url", &closed]).fail();
    assert_eq!((failure.code.as_str(), failure.retryable), ("result_not_stored", false));
    assert!(failure.detail.contains("403"), "{}", failure.detail);

    let mut world = World::new(SEE).options(&["--result-url", "http://127.0.0.1:1/"]);
    world.script.bundle.order.deadline = super::now() + 12;
    let failure = world.fail();
    assert_eq!((failure.code.as_str(), failure.retryable), ("result_not_stored", true));

    let nothing = ["--result-url", &base, "--result-authorization-file", "/nowhere/at/all"];
    assert_eq!(World::new(SEE).options(&nothing).fail().code, "result_not_stored");
}

const CID: &str = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi";

const COPY: &str = "#!/bin/sh\nset -eu\ncp \"$IEXEC_IN\"/* \"$IEXEC_OUT\"\n";

fn key(identity: &Identity) -> String {
    identity.to_string().expose_secret().to_owned()
}

#[test]
fn protected_data_comes_from_ipfs_through_the_operators_gateways() {
    let identity = Identity::generate();
    let content = age::encrypt(&identity.to_public(), PLAIN.as_bytes()).unwrap();
    let gateway = files(Box::leak(content.clone().into_boxed_slice()));
    let liar = files(b"something else");
    let world = |uri: &str| {
        let mut world = World::new(COPY).data(&[("data", &content, &key(&identity))]);
        world.script.bundle.data[0].uri = uri.to_owned();
        world
    };
    let gateways = format!("http://127.0.0.1:1,{liar},{gateway}");
    for uri in [format!("ipfs://{CID}/data.age"), format!("/ipfs/{CID}"), format!("/p2p/{CID}")] {
        let (folder, _) = world(&uri).options(&["--ipfs-gateways", &gateways]).result();
        let out = everything(&folder.path().join("work/out"));
        assert_eq!(out.values().collect::<Vec<_>>(), [PLAIN.as_bytes()], "{uri}");
        assert!(!folder.path().join("work/content").exists());
    }
    let uri = format!("ipfs://{CID}");
    let failure = world(&uri).fail();
    assert_eq!((failure.code.as_str(), failure.retryable), ("data_unavailable", false));
    assert!(failure.detail.contains("--ipfs-gateway"), "{}", failure.detail);
    assert_eq!(world(&uri).options(&["--ipfs-gateways", &liar]).fail().code, "data_altered");
}

#[test]
fn any_number_of_protected_data_in_either_format() {
    const IEXEC: &[u8] = b"\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x40\x91\xc1\x25\x67\x80\x63\xa3\x3e\x1a\x3e\x93\x7b\xe2\x4f\xa0";
    let iexec_key = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
    let identity = Identity::generate();
    let (content, key) =
        (age::encrypt(&identity.to_public(), PLAIN.as_bytes()).unwrap(), key(&identity));
    let data: Vec<_> = (0..8)
        .map(|n| match n % 2 {
            0 => ("one", content.as_slice(), key.as_str()),
            _ => ("two", IEXEC, iexec_key),
        })
        .collect();
    let app = "#!/bin/sh\nset -eu\nfor n in $(seq \"$IEXEC_BULK_SLICE_SIZE\"); do\n\
        eval \"file=\\$IEXEC_DATASET_${n}_FILENAME\"\ncat \"$IEXEC_IN/$file\" >> \"$IEXEC_OUT/all\"\ndone\n";
    let (folder, _) = World::new(app).data(&data).result();
    let all = fs::read_to_string(folder.path().join("work/out/all")).unwrap();
    assert_eq!(all, format!("{PLAIN}hello sesame").repeat(4));
}

/// An archive whose names would lead out of the folder it is unpacked in, if anybody unpacked it.
#[test]
fn archives_are_never_unpacked() {
    let mut header = tar::Header::new_gnu();
    header.as_gnu_mut().unwrap().name[..9].copy_from_slice(b"../escape");
    header.set_size(0);
    header.set_cksum();
    let mut tar = tar::Builder::new(Vec::new());
    tar.append(&header, std::io::empty()).unwrap();
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file("../escape", zip::write::SimpleFileOptions::default()).unwrap();
    let archives = [tar.into_inner().unwrap(), zip.finish().unwrap().into_inner()];
    let identity = Identity::generate();
    for archive in archives {
        let content = age::encrypt(&identity.to_public(), &archive).unwrap();
        let (folder, _) = World::new(COPY).data(&[("data", &content, &key(&identity))]).result();
        let out = everything(&folder.path().join("work/out"));
        assert_eq!(out.into_values().collect::<Vec<_>>(), [archive]);
        assert!(!folder.path().join("work/escape").exists());
    }
}

#[test]
fn the_operators_limits_hold() {
    let failure = World::new(COPY).options(&["--max-content-bytes", "100"]).fail();
    assert_eq!((failure.code.as_str(), failure.retryable), ("data_unavailable", false));
    assert!(failure.detail.contains("larger than 100 bytes"), "{}", failure.detail);

    let base = files(b"eleven byte");
    let params = format!(r#"{{"iexec_input_files":["{base}/one"]}}"#);
    let options = ["--max-input-bytes", "10"];
    let failure = World::with_params(COPY, &params).options(&options).fail();
    assert_eq!(failure.code, "input_unavailable");
    assert!(failure.detail.contains("larger than 10 bytes"), "{}", failure.detail);

    // The connection is taken, and nothing is said.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let params = format!(r#"{{"iexec_input_files":["http://{address}/one"]}}"#);
    let failure = World::with_params(COPY, &params).options(&["--input-seconds", "1"]).fail();
    assert_eq!((failure.code.as_str(), failure.retryable), ("input_unavailable", true));
    assert!(failure.detail.contains("did not come within 1 s"), "{}", failure.detail);

    let failure = World::new(COPY).options(&["--max-input-bytes", "much"]).fail();
    assert_eq!(failure.code, "bad_arguments");
}

#[test]
fn memory_that_is_full_is_told_with_what_to_do() {
    let identity = Identity::generate();
    let content = age::encrypt(&identity.to_public(), &vec![7; 2 << 20]).unwrap();
    let mut world = World::new(COPY).data(&[("data", &content, &key(&identity))]);
    world.memory = Some("1m");
    let failure = world.fail();
    assert_eq!((failure.code.as_str(), failure.retryable), ("memory_full", true));
    assert!(failure.detail.contains("/dev/shm is full"), "{}", failure.detail);

    let input = files(Box::leak(vec![7; 2 << 20].into_boxed_slice()));
    let mut world = World::with_params(COPY, &format!(r#"{{"iexec_input_files":["{input}/a"]}}"#));
    world.memory = Some("1m");
    assert_eq!(world.fail().code, "memory_full");
}

/// What an app has open and deleted is in no folder any more, and takes room all the same.
#[test]
fn an_app_that_fills_the_memory_with_what_it_deleted_is_ended() {
    let app = "#!/bin/sh\nexec 3>$IEXEC_OUT/x\nrm $IEXEC_OUT/x\nhead -c 7900000 /dev/zero >&3\nsleep 600\n";
    let recipient = Identity::generate().to_public();
    let mut world = World::with_params(app, &format!(r#"{{"sesame_result_key":"{recipient}"}}"#));
    world.memory = Some("8m");
    let failure = world.fail();
    assert_eq!((failure.code.as_str(), failure.retryable), ("memory_full", true), "{failure:?}");
}
