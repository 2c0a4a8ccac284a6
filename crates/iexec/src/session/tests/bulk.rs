//! Tasks of a bulk: a slice of datasets, whose orders fit or do not.

use super::*;
use crate::bulk::SliceContent;

fn slice() -> [SliceDataset; 3] {
    let found = |address, uri: &str| {
        Some(SliceContent { address, uri: uri.to_owned(), digest: B256::repeat_byte(0xd1) })
    };
    [
        SliceDataset { name: "0xAbC".to_owned(), found: found(DATASET, "/ipfs/one") },
        SliceDataset { name: "0xdef".to_owned(), found: None },
        SliceDataset { name: "third".to_owned(), found: found(OTHER, "https://x") },
    ]
}

#[test]
fn a_bulk_has_a_slice_in_which_some_orders_do_not_fit() {
    let task = task(r#"{"bulk_cid":"QmW2WQi7j6c7UgJTarActp7tDNikE4B2qXtFCfLPdsgaTQ"}"#);
    let secrets = with_token([(IexecSecret::Dataset(DATASET), "first key")]);
    let session = build(&task, &slice(), &secrets).unwrap();
    let mut expected = signing();
    let digest = format!("0x{}", "d1".repeat(32));
    expected.extend(variables([
        ("IEXEC_PRE_COMPUTE_OUT", "/iexec_in"),
        ("IS_DATASET_REQUIRED", "false"),
        ("IEXEC_DEAL_ID", DEAL_ID),
        ("IEXEC_TASK_INDEX", "1"),
        ("IEXEC_INPUT_FILES_NUMBER", "0"),
        ("IEXEC_BULK_SLICE_SIZE", "3"),
        ("IEXEC_DATASET_1_FILENAME", "0xAbC"),
        ("IEXEC_DATASET_1_URL", "/ipfs/one"),
        ("IEXEC_DATASET_1_CHECKSUM", &digest),
        ("IEXEC_DATASET_1_KEY", "first key"),
        ("IEXEC_DATASET_2_FILENAME", "0xdef"),
        ("IEXEC_DATASET_2_URL", ""),
        ("IEXEC_DATASET_2_CHECKSUM", ""),
        ("IEXEC_DATASET_2_KEY", ""),
        ("IEXEC_DATASET_3_FILENAME", "third"),
        ("IEXEC_DATASET_3_URL", "https://x"),
        ("IEXEC_DATASET_3_CHECKSUM", &digest),
        ("IEXEC_DATASET_3_KEY", ""),
    ]));
    assert_eq!(environment(&session, "pre-compute"), expected);
    let mut expected = app_of(ZERO, "0");
    expected.extend(variables([
        ("IEXEC_BULK_SLICE_SIZE", "3"),
        ("IEXEC_DATASET_1_FILENAME", "0xAbC"),
        ("IEXEC_DATASET_2_FILENAME", "0xdef"),
        ("IEXEC_DATASET_3_FILENAME", "third"),
    ]));
    assert_eq!(environment(&session, "app"), expected);
}

#[test]
fn a_slice_that_nobody_could_read_is_empty_and_no_error() {
    let session = build(&task(r#"{"bulk_cid":"Qm1"}"#), &[], &with_token([])).unwrap();
    assert_eq!(environment(&session, "pre-compute")["IEXEC_BULK_SLICE_SIZE"], "0");
    assert_eq!(environment(&session, "app")["IEXEC_BULK_SLICE_SIZE"], "0");
}

#[test]
fn a_key_of_an_order_that_does_not_fit_is_not_asked_for() {
    let bulk = task(r#"{"bulk_cid":"Qm1"}"#);
    let wanted = Description::of(TASK, &bulk, WORKER).unwrap().secrets(&slice());
    let datasets = wanted.iter().filter(|secret| matches!(secret, IexecSecret::Dataset(_)));
    let expected = [IexecSecret::Dataset(DATASET), IexecSecret::Dataset(OTHER)];
    assert_eq!(datasets.collect::<BTreeSet<_>>(), expected.iter().collect());
}
