#![doc = include_str!("../README.md")]

pub mod owner;

pub mod public;

pub mod enclave;

mod error;
mod http;
#[cfg(test)]
mod testing;

pub use error::{ClientError, TransportError};
