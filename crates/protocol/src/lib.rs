#![doc = include_str!("../README.md")]

pub mod signature;

pub mod typed;

pub mod sealing;

pub mod owner;

pub mod keys;

pub mod operator;

pub mod jwk;

pub mod jwe;

pub mod document;

pub mod rcar;

pub mod voucher;

pub mod evidence;

pub mod bundle;

pub mod receipts;

pub mod results;

pub mod denial;

pub mod problem;

pub mod status;

pub mod explain;

pub mod params;

#[cfg(feature = "openapi")]
pub mod schema;

mod base64url;
mod random;
