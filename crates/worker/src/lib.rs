#![doc = include_str!("../README.md")]

mod watch;

mod run;

mod launch;

mod folder;

mod tee;

mod config;

mod error;

#[cfg(test)]
mod testing;

pub use config::{Allowed, Config, DEFAULT_PARALLEL, DEFAULT_POLL};
pub use error::{TaskError, WorkerError};
pub use run::{Outcome, run_task};
pub use tee::Tee;
pub use watch::run;
