//! Descriptors that a command is given.

use std::{
    fs::File,
    io::{self, Seek, Write},
    os::fd::AsRawFd,
};

use rustix::{fs::MemfdFlags, io::FdFlags};

/// Files that the next command inherits.
#[derive(Debug, Default)]
pub(super) struct Inherited(Vec<File>);

impl Inherited {
    /// Has a file inherited; gives the number of its descriptor.
    pub(super) fn file(&mut self, file: File) -> io::Result<String> {
        rustix::io::fcntl_setfd(&file, FdFlags::empty())?;
        let number = file.as_raw_fd().to_string();
        self.0.push(file);
        Ok(number)
    }

    /// The same with bytes in memory.
    pub(super) fn bytes(&mut self, name: &str, bytes: &[u8]) -> io::Result<String> {
        let mut file = memory(name)?;
        file.write_all(bytes)?;
        file.rewind()?;
        self.file(file)
    }
}

pub(super) fn memory(name: &str) -> io::Result<File> {
    Ok(File::from(rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC)?))
}
