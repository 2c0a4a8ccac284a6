//! Where key-encryption keys live.

pub(crate) mod file;
