#![doc = include_str!("../README.md")]

mod clients;
mod clock;
mod collateral;
mod config;
mod crew;
mod enclave;
mod followed;
mod health;
mod iexec;
pub mod index;
mod limits;
mod line;
mod listen;
mod manager;
mod metrics;
mod observe;
mod openapi;
mod operator;
mod overload;
mod owner;
mod path;
mod pool;
mod problem;
mod public;
mod receipt;
mod reserve;
mod router;
mod run;
mod sealing;
mod service;
mod stack;
mod stop;
pub mod vault;

pub use clients::{ParseNetworkError, TrustedProxy};
pub use collateral::CollateralSource;
pub use config::{Config, DEFAULT_FREE_RESERVE, DEFAULT_REQUEST_TIME};
pub use followed::Followed;
pub use iexec::{SessionsConfig, SessionsError};
pub use limits::Limits;
pub use listen::{Listeners, Network, TlsError, TlsFiles};
pub use openapi::openapi;
pub use problem::{Code, codes};
pub use router::routes;
pub use run::{ServeError, run};
pub use sesame_attestation::{Admission, Policy, TOKEN_LIFE, snp::Minimum};
pub use sesame_iexec::{
    pipeline::{Pipeline, PipelineError},
    poco::Deployment as IexecDeployment,
};
pub use sesame_indexer::{Confirmation, ParseConfirmationError};
pub use sesame_view::{History, ParseHistoryError};
pub use stop::Stop;
