#![doc = include_str!("../README.md")]

mod run;

mod launch;

mod release;

mod prepare;

mod error;

pub mod args;

pub mod channel;

pub mod params;

pub mod content;

pub mod decrypt;

pub mod environment;

pub mod app;

pub mod output;

pub mod scratch;

pub mod harden;

#[cfg(feature = "simulated")]
pub mod simulated;

pub use error::LaunchError;
pub use launch::Launch;
pub use prepare::{Prepared, prepare};
pub use release::{ReleaseError, Released, release};
pub use run::run;
