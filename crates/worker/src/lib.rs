#![doc = include_str!("../README.md")]

mod watch;

mod book;

mod run;

mod launch;

mod folder;

mod work_dir;

mod metrics;

mod pause;

mod tee;

mod config;

mod error;

#[cfg(test)]
mod testing;

pub use config::{Allowed, Config, DEFAULT_PARALLEL, DEFAULT_POLL};
pub use error::{Stopped, TaskError, WorkerError};
pub use tee::{Gramine, Oci, Runner, Simulated, Tee};
pub use watch::run;
