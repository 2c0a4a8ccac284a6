#![doc = include_str!("../README.md")]

pub mod bulk;
pub mod challenge;
pub mod ids;
pub mod multiaddr;
pub mod params;
pub mod pipeline;
pub mod poco;
pub mod session;
