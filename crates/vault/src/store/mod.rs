//! Where records live.

pub(crate) mod rocks;
