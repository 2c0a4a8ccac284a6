//! Where key-encryption keys live.

pub(crate) mod file;
pub(crate) mod ring;
