//! Integration tests, one file per story.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "the helpers of a story are part of the test"
)]

mod attest;
mod deployment;
mod garbage;
mod grant;
mod lies;
mod money;
mod owner;
mod refusal;
mod reorg;
mod replay;
mod restart;
mod result_key;
mod revoke;
mod secrets_in_logs;
mod stale;
mod tidy;
