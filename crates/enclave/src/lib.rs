#![doc = include_str!("../README.md")]

mod run;

mod launch;

mod release;

mod prepare;

mod error;

pub mod args;

pub mod host;

pub mod channel;

pub mod evidence;

pub mod params;

pub mod content;

pub mod decrypt;

pub mod environment;

pub mod app;

pub mod sandbox;

pub mod limits;

pub mod cgroup;

pub mod output;

pub mod pack;

pub mod seal;

pub mod store;

mod deliver;

pub mod scratch;

pub mod sealed;

pub mod harden;

#[cfg(feature = "simulated")]
pub mod simulated;

pub use error::{LaunchError, PREPARE_LIMIT};
pub use host::HostOptions;
pub use launch::{AppFile, HOST_ARGS, Launch};
pub use prepare::{Prepared, prepare};
pub use release::{ReleaseError, Released, release};
pub use run::run;
