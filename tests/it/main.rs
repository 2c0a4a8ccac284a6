//! Integration tests, one file per story.

mod attest;
mod grant;
mod lies;
mod owner;
mod refusal;
mod reorg;
mod restart;
mod revoke;
mod secrets_in_logs;
mod stale;
mod tidy;
