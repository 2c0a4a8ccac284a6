#![doc = include_str!("../README.md")]

pub mod abi;
mod contracts;
pub mod convert;
mod deployment;
mod error;
mod history;
mod reader;
mod refusal;
mod transaction;

pub use contracts::{Contracts, Mined, Report};
pub use deployment::{CodeHashes, Deployment, DeploymentError};
pub use error::ChainError;
pub use history::{AuthorizationState, ListedEnclave, PurchasedTask, TaskResult, TasksUpTo};
pub use reader::{Content, Escrow, Reader, TaskFacts};
pub use refusal::{Refused, refusal_of};
