//! What anybody may ask.

pub(crate) mod description;
pub(crate) mod explain;
pub(crate) mod health;
pub(crate) mod keys;
pub(crate) mod metrics;
pub(crate) mod receipts;
pub(crate) mod settlement;
pub(crate) mod status;
