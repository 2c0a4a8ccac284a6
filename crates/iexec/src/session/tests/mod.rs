//! Every variable of every part, and what is missing.

mod bulk;
mod result;

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, B256, U256, address, b256};
use sesame_domain::{
    AssetId, AssetSnapshot, Deal, EnclaveId, Grant, IexecSecret, Order, Task, TaskId, TaskStatus,
};
use zeroize::Zeroizing;

use super::{Description, Secrets, Session, SessionError};
use crate::{
    bulk::SliceDataset,
    pipeline::{Compute, Pipeline},
};

const WORKER: Address = address!("1a642f0E3c3aF545E7AcBD38b07251B3990914F1");
const SCHEDULER: Address = address!("5050A4F4b3f9338C3472dcC01A87C76A144b3c9c");
const REQUESTER: Address = Address::repeat_byte(0xa1);
const BENEFICIARY: Address = Address::repeat_byte(0xb1);
const APP: Address = Address::repeat_byte(0xc1);
const DATASET: Address = address!("00000000000000000000000000000000000a55e7");
const OTHER: Address = Address::repeat_byte(0xd2);
const TASK: TaskId =
    TaskId(b256!("cf61c38d3656d57548ac113ddddca3959b0b3fa4bae50b2232563fd725b5a3fb"));
const ID: &str = "a1B2c3D4e50000xcf61c38d3656d57548ac113ddddca3959b0b3fa4bae50b2232563fd725b5a3fb";

const INPUT: &str = "https://files.example.org/one.txt";
const INPUT_NAME: &str = "0x875ff67f80f47a0432d37dd00ddb97e8b39e09255e3019cac2a00dc2120d606d";

type Variables = BTreeMap<String, String>;

fn snapshot(uri: &str, byte: u8) -> AssetSnapshot {
    AssetSnapshot {
        uri: uri.to_owned(),
        digest: B256::repeat_byte(byte),
        epoch: 0,
        serial: 0,
        price: U256::ZERO,
    }
}

/// Run 1 of a deal for TDX, without a dataset.
fn task(params: &str) -> Task {
    let grant = |index, name: &str| Grant { index, name: name.parse().unwrap() };
    Task {
        requester: REQUESTER,
        status: TaskStatus::Started,
        order: Order {
            app: APP.into(),
            enclave: EnclaveId::default(),
            data: Vec::new(),
            grants: vec![grant(1, "my-key"), grant(3, "other")],
            worker: Address::ZERO,
            sms: Address::ZERO,
            beneficiary: BENEFICIARY,
            deadline: 2_000_000_000,
            currency: Address::ZERO,
            reward: U256::ZERO,
            max_cost: U256::ZERO,
            params: params.to_owned(),
        },
        app: snapshot("docker.io/library/app:1.0", 0xaa),
        data: Vec::new(),
        revoked_grants: BTreeSet::new(),
        deal: Some(Box::new(Deal {
            id: B256::repeat_byte(0x33),
            index: 1,
            first: 1,
            size: 4,
            tag: B256::with_last_byte(9),
            workerpool: Address::repeat_byte(0xe1),
            scheduler: SCHEDULER,
            callback: Address::ZERO,
            start_time: 1_900_000_000,
        })),
    }
}

fn with_dataset(params: &str) -> Task {
    let uri = "/ipfs/QmW2WQi7j6c7UgJTarActp7tDNikE4B2qXtFCfLPdsgaTQ";
    let mut task = task(params);
    task.order.data = vec![DATASET.into()];
    task.data = vec![snapshot(uri, 0xdd)];
    task
}

fn deal(task: &mut Task) -> &mut Deal {
    task.deal.as_deref_mut().unwrap()
}

fn pipeline() -> Pipeline {
    let compute = |name: &str| Compute {
        image: format!("{name}:1"),
        fingerprint: format!("{name}-print"),
        entrypoint: "run".to_owned(),
        heap_size_in_bytes: 1 << 30,
    };
    Pipeline {
        tee_framework: "TDX".to_owned(),
        tee_framework_version: "v0.1".to_owned(),
        pre_compute_properties: compute("pre"),
        post_compute_properties: compute("post"),
    }
}

fn web2(owner: Address, name: &str) -> IexecSecret {
    IexecSecret::Web2(owner, name.parse().unwrap())
}

fn requester(name: &str) -> IexecSecret {
    IexecSecret::Requester(REQUESTER, name.parse().unwrap())
}

fn token(owner: Address) -> IexecSecret {
    web2(owner, "iexec-result-iexec-ipfs-token")
}

fn secrets<const N: usize>(secrets: [(IexecSecret, &str); N]) -> Secrets {
    secrets.map(|(secret, value)| (secret, Zeroizing::new(value.to_owned()))).into()
}

/// Those that every test below needs.
fn with_token<const N: usize>(more: [(IexecSecret, &str); N]) -> Secrets {
    let mut all = secrets([(token(WORKER), "worker's token")]);
    all.extend(secrets(more));
    all
}

fn build(task: &Task, slice: &[SliceDataset], secrets: &Secrets) -> Result<Session, SessionError> {
    let description = Description::of(TASK, task, WORKER)?;
    let wanted = description.secrets(slice);
    for secret in secrets.keys() {
        assert!(wanted.contains(secret), "{secret:?} is used without being asked for");
    }
    description.session(ID, &Zeroizing::new([0x07; 32]), &pipeline(), slice, secrets)
}

fn refused(task: &Task, secrets: &Secrets) -> &'static str {
    build(task, &[], secrets).unwrap_err().name()
}

/// The parts by name, as the wire has them.
fn parts(session: &Session) -> BTreeMap<String, (String, String, Variables)> {
    let json: serde_json::Value = serde_json::from_slice(&session.to_json().unwrap()).unwrap();
    assert_eq!(json["name"], ID);
    assert_eq!(json["version"], "0.1.0");
    assert_eq!(json.as_object().unwrap().len(), 3);
    let services = json["services"].as_array().unwrap().iter();
    services
        .map(|service| {
            assert_eq!(service.as_object().unwrap().len(), 4);
            let text = |key: &str| service[key].as_str().unwrap().to_owned();
            let environment = service["environment"].clone();
            let environment = serde_json::from_value(environment).unwrap();
            (text("name"), (text("image_name"), text("fingerprint"), environment))
        })
        .collect()
}

fn environment(session: &Session, part: &str) -> Variables {
    parts(session).remove(part).unwrap().2
}

fn variables<const N: usize>(variables: [(&str, &str); N]) -> Variables {
    variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

fn signing() -> Variables {
    variables([
        ("IEXEC_TASK_ID", "0xcf61c38d3656d57548ac113ddddca3959b0b3fa4bae50b2232563fd725b5a3fb"),
        ("SIGN_WORKER_ADDRESS", "0x1a642f0E3c3aF545E7AcBD38b07251B3990914F1"),
        (
            "SIGN_TEE_CHALLENGE_PRIVATE_KEY",
            "0x0707070707070707070707070707070707070707070707070707070707070707",
        ),
    ])
}

const DEAL_ID: &str = "0x3333333333333333333333333333333333333333333333333333333333333333";
const ZERO: &str = "0x0000000000000000000000000000000000000000";
const DATASET_TEXT: &str = "0x00000000000000000000000000000000000a55e7";

fn app_of(dataset: &str, files: &str) -> Variables {
    variables([
        ("IEXEC_DEAL_ID", DEAL_ID),
        ("IEXEC_TASK_ID", "0xcf61c38d3656d57548ac113ddddca3959b0b3fa4bae50b2232563fd725b5a3fb"),
        ("IEXEC_TASK_INDEX", "1"),
        ("IEXEC_BOT_TASK_INDEX", "1"),
        ("IEXEC_BOT_SIZE", "4"),
        ("IEXEC_BOT_FIRST_INDEX", "1"),
        ("IEXEC_IN", "/iexec_in"),
        ("IEXEC_OUT", "/iexec_out"),
        ("IEXEC_DATASET_ADDRESS", dataset),
        ("IEXEC_DATASET_FILENAME", dataset),
        ("IEXEC_INPUT_FILES_NUMBER", files),
    ])
}

fn post_of(values: [&str; 6]) -> Variables {
    let names = [
        "RESULT_ENCRYPTION",
        "RESULT_ENCRYPTION_PUBLIC_KEY",
        "RESULT_STORAGE_CALLBACK",
        "RESULT_STORAGE_PROVIDER",
        "RESULT_STORAGE_PROXY",
        "RESULT_STORAGE_TOKEN",
    ];
    let mut all = signing();
    all.extend(names.into_iter().zip(values).map(|(name, value)| (name.into(), value.into())));
    all
}

#[test]
fn a_task_without_input_has_an_app_and_a_post_compute() {
    let session = build(&task("--sum column"), &[], &with_token([])).unwrap();
    let expected = BTreeMap::from([
        (
            "app".to_owned(),
            (
                "docker.io/library/app:1.0".to_owned(),
                format!("0x{}", "aa".repeat(32)),
                app_of(ZERO, "0"),
            ),
        ),
        (
            "post-compute".to_owned(),
            (
                "post:1".to_owned(),
                "post-print".to_owned(),
                post_of(["false", "", "false", "", "", "worker's token"]),
            ),
        ),
    ]);
    assert_eq!(parts(&session), expected);
}

#[test]
fn a_dataset_is_fetched_and_decrypted_before() {
    let task = with_dataset("{}");
    let key = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
    let secrets = with_token([(IexecSecret::Dataset(DATASET), key)]);
    let session = build(&task, &[], &secrets).unwrap();
    let names: Vec<_> = session.services.iter().map(|service| service.name).collect();
    assert_eq!(names, ["pre-compute", "app", "post-compute"]);
    let (image, print, environment) = parts(&session).remove("pre-compute").unwrap();
    assert_eq!((image.as_str(), print.as_str()), ("pre:1", "pre-print"));
    let mut expected = signing();
    expected.extend(variables([
        ("IEXEC_PRE_COMPUTE_OUT", "/iexec_in"),
        ("IS_DATASET_REQUIRED", "true"),
        ("IEXEC_DEAL_ID", DEAL_ID),
        ("IEXEC_TASK_INDEX", "1"),
        ("IEXEC_INPUT_FILES_NUMBER", "0"),
        ("IEXEC_DATASET_KEY", key),
        ("IEXEC_DATASET_URL", "/ipfs/QmW2WQi7j6c7UgJTarActp7tDNikE4B2qXtFCfLPdsgaTQ"),
        (
            "IEXEC_DATASET_CHECKSUM",
            "0xdddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd",
        ),
        ("IEXEC_DATASET_FILENAME", DATASET_TEXT),
    ]));
    assert_eq!(environment, expected);
    assert_eq!(self::environment(&session, "app"), app_of(DATASET_TEXT, "0"));
}

#[test]
fn a_dataset_without_a_place_is_named_and_not_fetched() {
    let mut task = with_dataset("{}");
    task.data[0].uri = " ".to_owned();
    let session = build(&task, &[], &with_token([])).unwrap();
    assert!(!parts(&session).contains_key("pre-compute"));
    assert_eq!(environment(&session, "app"), app_of(DATASET_TEXT, "0"));
}

#[test]
fn input_files_are_fetched_by_url_and_read_by_name() {
    let params = format!(r#"{{"iexec_input_files":["{INPUT}","https://x/two"]}}"#);
    let session = build(&task(&params), &[], &with_token([])).unwrap();
    let mut expected = signing();
    expected.extend(variables([
        ("IEXEC_PRE_COMPUTE_OUT", "/iexec_in"),
        ("IS_DATASET_REQUIRED", "false"),
        ("IEXEC_DEAL_ID", DEAL_ID),
        ("IEXEC_TASK_INDEX", "1"),
        ("IEXEC_INPUT_FILES_NUMBER", "2"),
        ("IEXEC_INPUT_FILES_FOLDER", "/iexec_in"),
        ("IEXEC_INPUT_FILE_URL_1", INPUT),
        ("IEXEC_INPUT_FILE_URL_2", "https://x/two"),
    ]));
    assert_eq!(environment(&session, "pre-compute"), expected);
    let app = environment(&session, "app");
    assert_eq!(app["IEXEC_INPUT_FILE_NAME_1"], INPUT_NAME);
    assert_eq!(app["IEXEC_INPUT_FILES_FOLDER"], "/iexec_in");
    let mut expected = app_of(ZERO, "2");
    for name in ["IEXEC_INPUT_FILES_FOLDER", "IEXEC_INPUT_FILE_NAME_1", "IEXEC_INPUT_FILE_NAME_2"] {
        expected.insert(name.to_owned(), app[name].clone());
    }
    assert_eq!(app, expected);
}

#[test]
fn the_apps_and_the_requesters_secrets_go_to_the_app_alone_and_as_they_are() {
    let secrets = with_token([
        (IexecSecret::App(APP), " developer's\n"),
        (requester("my-key"), " {\"a\":\"é\"} "),
    ]);
    let session = build(&task("{}"), &[], &secrets).unwrap();
    let mut expected = app_of(ZERO, "0");
    expected.extend(variables([
        ("IEXEC_APP_DEVELOPER_SECRET", " developer's\n"),
        ("IEXEC_APP_DEVELOPER_SECRET_1", " developer's\n"),
        ("IEXEC_REQUESTER_SECRET_1", " {\"a\":\"é\"} "),
    ]));
    assert_eq!(environment(&session, "app"), expected);
    let both = with_token([(requester("other"), "3"), (requester("my-key"), "1")]);
    let app = environment(&build(&task("{}"), &[], &both).unwrap(), "app");
    assert_eq!((&*app["IEXEC_REQUESTER_SECRET_1"], &*app["IEXEC_REQUESTER_SECRET_3"]), ("1", "3"));
}

#[test]
fn nothing_is_asked_for_that_the_deal_does_not_name() {
    let expected = BTreeSet::from([
        IexecSecret::Dataset(DATASET),
        IexecSecret::App(APP),
        requester("my-key"),
        requester("other"),
        token(WORKER),
        token(REQUESTER),
        web2(SCHEDULER, "iexec-result-iexec-result-proxy-url"),
    ]);
    let task = with_dataset("{}");
    assert_eq!(Description::of(TASK, &task, WORKER).unwrap().secrets(&[]), expected);
}

#[test]
fn what_is_missing_has_the_name_that_workers_know() {
    assert_eq!(
        refused(&with_dataset("{}"), &with_token([])),
        "PRE_COMPUTE_GET_DATASET_SECRET_FAILED"
    );
    assert_eq!(refused(&task("{}"), &Secrets::new()), "POST_COMPUTE_GET_STORAGE_TOKENS_FAILED");
    let mut native = task("{}");
    native.deal = None;
    assert_eq!(refused(&native, &Secrets::new()), "GET_TASK_DESCRIPTION_FAILED");
    let mut strange = task("{}");
    strange.order.app = AssetId(B256::repeat_byte(1));
    assert_eq!(refused(&strange, &Secrets::new()), "GET_TASK_DESCRIPTION_FAILED");
    for tag in [0x0, 0x1, 0x3, 0x5, 0x8, 0xb, 0xf] {
        let mut other = task("{}");
        deal(&mut other).tag = B256::with_last_byte(tag);
        assert_eq!(refused(&other, &Secrets::new()), "SECURE_SESSION_NO_TEE_FRAMEWORK", "{tag}");
    }
}

#[test]
fn every_error_has_a_name_of_its_own() {
    use SessionError::{
        BeneficiaryKey, DatasetSecret, EmptyEnclaveChallenge, Generation, NoTaskDescription,
        NoTeeFramework, Storage, StorageToken,
    };
    let all = [
        (NoTaskDescription, "GET_TASK_DESCRIPTION_FAILED"),
        (NoTeeFramework, "SECURE_SESSION_NO_TEE_FRAMEWORK"),
        (EmptyEnclaveChallenge, "GET_SIGNATURE_TOKENS_FAILED_EMPTY_PUBLIC_ENCLAVE_CHALLENGE"),
        (DatasetSecret, "PRE_COMPUTE_GET_DATASET_SECRET_FAILED"),
        (BeneficiaryKey, "POST_COMPUTE_GET_ENCRYPTION_TOKENS_FAILED_EMPTY_BENEFICIARY_KEY"),
        (StorageToken, "POST_COMPUTE_GET_STORAGE_TOKENS_FAILED"),
        (Storage, "SECURE_SESSION_STORAGE_CALL_FAILED"),
        (Generation, "SECURE_SESSION_GENERATION_FAILED"),
    ];
    for (error, name) in all {
        assert_eq!(error.to_string(), name);
    }
}

#[test]
fn no_secret_is_printed_and_the_bytes_fit_exactly() {
    let secrets = with_token([(IexecSecret::App(APP), "s3cret\u{1}\"")]);
    let session = build(&task("{}"), &[], &secrets).unwrap();
    let printed = format!("{session:?}");
    assert!(printed.contains("IEXEC_APP_DEVELOPER_SECRET_1"), "{printed}");
    for hidden in ["s3cret", "worker's token", "0707"] {
        assert!(!printed.contains(hidden), "{printed}");
    }
    let value = session.services[0].environment.get("IEXEC_APP_DEVELOPER_SECRET").unwrap();
    assert_eq!((value.expose(), format!("{value:?}")), ("s3cret\u{1}\"", "Value(8 bytes)".into()));
    let bytes = session.to_json().unwrap();
    assert_eq!(bytes.len(), bytes.capacity());
}
