//! The world that the stories play in: a chain, a service, people with keys, and software enclaves.
//!
//! Start reading at [`World`].

#![expect(clippy::indexing_slicing, reason = "a story stops where JSON is not what it should be")]

mod answer;
mod balancer;
mod chance;
mod cli;
mod described;
mod drip;
mod enclave;
mod hsm;
mod iexec;
mod liar;
mod node;
mod people;
mod poco;
mod postgres;
mod program;
mod scene;
mod service;
mod truth;
mod wait;
mod workshop;
mod world;

pub use answer::{Answer, codes_of};
pub use balancer::Balancer;
pub use chance::seeded;
pub use cli::Cli;
pub use drip::{drip, late, stall};
pub use enclave::{Attester, Build, Enclave};
pub use hsm::SoftHsm;
pub use iexec::{IexecClient, SessionStorage, deploy_poco};
pub use liar::{Liar, Tale};
pub use node::{Mood, Node};
pub use people::Person;
pub use poco::PocoChain;
pub use postgres::{PASSWORD, Postgres, free_port};
pub use program::{Launch, Program, program};
pub use scene::{Scene, key_of};
pub use service::{Sms, deployment_of};
pub use truth::Truth;
pub use wait::{eventually, now};
pub use workshop::{Worker, Workshop};
pub use world::{Options, World};

/// The root of the repository.
pub const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
