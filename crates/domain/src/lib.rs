#![doc = include_str!("../README.md")]

mod asset;
mod authorization;
mod deal;
mod denial;
mod enclave;
mod event;
mod facts;
mod framework;
mod id;
mod iexec;
mod journal;
mod task;

pub use asset::{Asset, AssetKind};
pub use authorization::{Authorization, Terms};
pub use deal::{Deal, DealMatch, OrderUse};
pub use denial::Denial;
pub use enclave::{Imitated, TeeKind, UnknownTee, enclave_id};
pub use event::{BlockEvents, ChainEvent, EventAt, Registry};
pub use facts::{Facts, Resource, Standing};
pub use framework::Framework;
pub use id::{AssetId, Block, BlockRef, EnclaveId, ParseIdError, SecretId, SecretName, TaskId};
pub use iexec::{IexecSecret, MAX_WEB2_NAME, Web2Name};
pub use journal::{Journal, LogImage};
pub use task::{AssetSnapshot, Grant, Order, Task, TaskStatus};
