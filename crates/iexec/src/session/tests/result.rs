//! Where the result goes, and to whom it is encrypted.

use super::*;

fn post(params: &str, secrets: &Secrets) -> Variables {
    environment(&build(&task(params), &[], secrets).unwrap(), "post-compute")
}

#[test]
fn the_result_goes_through_a_proxy() {
    let url = || (web2(SCHEDULER, "iexec-result-iexec-result-proxy-url"), " https://pool ");
    let ipfs = r#"{"iexec_result_storage_provider":"ipfs"}"#;
    assert_eq!(
        post(ipfs, &with_token([url()])),
        post_of(["false", "", "false", "ipfs", "https://pool", "worker's token"])
    );
    // The params' own proxy comes first, and the pool's is not even asked for.
    let own = r#"{"iexec_result_storage_proxy":"https://own"}"#;
    assert_eq!(
        post(own, &with_token([])),
        post_of(["false", "", "false", "", "https://own", "worker's token"])
    );
    // The worker's token comes first, then the requester's, without the white space around it.
    assert_eq!(
        post(ipfs, &with_token([(token(REQUESTER), "requester's")]))["RESULT_STORAGE_TOKEN"],
        "worker's token"
    );
    assert_eq!(
        post(ipfs, &secrets([(token(REQUESTER), "\trequester's\r\n")]))["RESULT_STORAGE_TOKEN"],
        "requester's"
    );
}

#[test]
fn the_result_goes_to_dropbox_by_the_requesters_token_alone() {
    let dropbox = r#"{"iexec_result_storage_provider":"dropbox"}"#;
    let token_of = |owner| (web2(owner, "iexec-result-dropbox-token"), "box");
    assert_eq!(
        post(dropbox, &secrets([token_of(REQUESTER)])),
        post_of(["false", "", "false", "dropbox", "", "box"])
    );
    let proxied = r#"{"iexec_result_storage_provider":"dropbox","iexec_result_storage_proxy":"p"}"#;
    assert_eq!(post(proxied, &secrets([token_of(REQUESTER)]))["RESULT_STORAGE_PROXY"], "p");
    assert_eq!(refused(&task(dropbox), &Secrets::new()), "POST_COMPUTE_GET_STORAGE_TOKENS_FAILED");
}

#[test]
fn with_a_callback_there_is_no_storage() {
    let mut task = task(
        r#"{"iexec_result_storage_provider":"ipfs","iexec_result_storage_proxy":"https://own"}"#,
    );
    deal(&mut task).callback = Address::repeat_byte(0xf1);
    let session = build(&task, &[], &Secrets::new()).unwrap();
    let expected = post_of(["false", "", "true", "", "", ""]);
    assert_eq!(environment(&session, "post-compute"), expected);
}

#[test]
fn a_result_is_encrypted_to_its_beneficiary() {
    let encrypted = r#"{"iexec_result_encryption":true}"#;
    let key = |owner| (web2(owner, "iexec-result-encryption-public-key"), "cGVt\n");
    assert_eq!(
        post(encrypted, &with_token([key(BENEFICIARY)])),
        post_of(["true", "cGVt", "false", "", "", "worker's token"])
    );
    let absent = "POST_COMPUTE_GET_ENCRYPTION_TOKENS_FAILED_EMPTY_BENEFICIARY_KEY";
    assert_eq!(refused(&task(encrypted), &with_token([])), absent);
    // A callback does not save it.
    let mut called = task(encrypted);
    deal(&mut called).callback = Address::repeat_byte(0xf1);
    assert_eq!(refused(&called, &Secrets::new()), absent);
    // Nor is it looked at before it is wanted.
    let wanted = |params| Description::of(TASK, &task(params), WORKER).unwrap().secrets(&[]);
    assert!(wanted(encrypted).contains(&key(BENEFICIARY).0));
    assert!(!wanted("{}").contains(&key(BENEFICIARY).0));
}
