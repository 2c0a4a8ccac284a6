//! Integration tests, one file per story.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "the helpers of a story are part of the test"
)]

mod alerts;
mod at_rest;
mod attest;
mod backup;
mod bisect;
mod configured;
mod conformance;
mod contract_owner;
mod corpus;
mod crash;
mod deployment;
mod disk_full;
mod drills;
mod examples;
mod garbage;
mod grant;
mod heads;
mod hsm;
mod iexec;
mod imitated;
mod index_cli;
mod kills;
mod lies;
mod limits;
mod money;
mod network;
mod openapi;
mod others_failures;
mod owner;
mod poco;
mod receipts;
mod refusal;
mod reorg;
mod replay;
mod replicas;
mod restart;
mod result_key;
mod revoke;
mod secrets_in_logs;
mod seeing;
mod service_manager;
mod shared_vault;
mod slow;
mod stale;
mod start_up;
mod task_result;
mod telemetry;
mod tidy;
mod vault_cli;
mod watched;
mod worker;
mod worker_kills;
