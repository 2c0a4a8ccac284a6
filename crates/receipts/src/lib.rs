#![doc = include_str!("../README.md")]

mod receipt;

mod log;

mod lines;

mod index;

mod tree;

mod checkpoint;

pub use checkpoint::{CheckpointError, Head, LogKey, ProofError, Tiles, verify_checkpoint};
pub use log::{Log, LogError, Pending, verify_log};
pub use receipt::{Decision, Receipt, SignedReceipt};
pub use tree::Tree;
