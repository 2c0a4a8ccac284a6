//! As much of the protocol by which Linux asks a file system in user space (`include/uapi/linux/fuse.h`, version 7.31) as folders of
//! small files need.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read, Write},
    os::unix::ffi::OsStrExt,
    path::Path,
    process::{Command, Stdio},
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::io::Errno;

/// Bytes of a request at most, and of what a write brings.
const REQUEST: usize = (64 << 10) + 4096;
const WRITE: u32 = 64 << 10;

/// What is asked.
pub(super) struct Request {
    pub(super) operation: u32,
    unique: u64,
    /// Of the file or folder that it is about.
    pub(super) inode: u64,
    body: Vec<u8>,
}

pub(super) const LOOKUP: u32 = 1;
const FORGET: u32 = 2;
pub(super) const GETATTR: u32 = 3;
pub(super) const MKDIR: u32 = 9;
pub(super) const RMDIR: u32 = 11;
pub(super) const OPEN: u32 = 14;
pub(super) const READ: u32 = 15;
pub(super) const WRITE_FILE: u32 = 16;
pub(super) const RELEASE: u32 = 18;
pub(super) const FLUSH: u32 = 25;
const INIT: u32 = 26;
const INTERRUPT: u32 = 36;
const BATCH_FORGET: u32 = 42;

impl Request {
    fn parse(bytes: &[u8]) -> Self {
        let header = Self { operation: 0, unique: 0, inode: 0, body: bytes.to_vec() };
        Self {
            operation: header.number(4),
            unique: header.long(8),
            inode: header.long(16),
            body: bytes[40..].to_vec(),
        }
    }

    /// Four bytes from this place on.
    pub(super) fn number(&self, place: usize) -> u32 {
        u32::from_ne_bytes(self.body[place..place + 4].try_into().unwrap())
    }

    /// Eight bytes from this place on.
    pub(super) fn long(&self, place: usize) -> u64 {
        u64::from_ne_bytes(self.body[place..place + 8].try_into().unwrap())
    }

    /// A name from this place on.
    pub(super) fn name(&self, place: usize) -> &OsStr {
        OsStr::from_bytes(self.body[place..].split(|byte| *byte == 0).next().unwrap())
    }

    /// What a write brings.
    pub(super) fn data(&self) -> &[u8] {
        &self.body[40..]
    }
}

/// A file or folder as it is answered.
pub(super) fn attributes(inode: u64, is_folder: bool) -> Vec<u8> {
    let mode: u32 = if is_folder { 0o040_755 } else { 0o100_644 };
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let size: u64 = if is_folder { 0 } else { 4096 };
    let longs = [inode, size, 0, 0, 0, 0].into_iter().flat_map(u64::to_ne_bytes);
    let numbers = [0, 0, 0, mode, 1, uid, gid, 0, 4096, 0].into_iter().flat_map(u32::to_ne_bytes);
    longs.chain(numbers).collect()
}

/// The answer to who looks for one, or made it; for this moment alone.
pub(super) fn entry(inode: u64, is_folder: bool) -> Vec<u8> {
    let head = [inode, 0, 0, 0, 0].into_iter().flat_map(u64::to_ne_bytes);
    head.chain(attributes(inode, is_folder)).collect()
}

/// The answer to who asks how one is.
pub(super) fn state(inode: u64, is_folder: bool) -> Vec<u8> {
    [vec![0; 16], attributes(inode, is_folder)].concat()
}

/// The answer to who opens one: what is read is what is answered then, whatever the size that was told.
pub(super) fn opened(handle: u64) -> Vec<u8> {
    const DIRECT_IO: u64 = 1;
    [handle.to_ne_bytes(), DIRECT_IO.to_ne_bytes()].concat()
}

fn begun() -> Vec<u8> {
    let numbers = [7, 31, 0, 0, 0, WRITE, 1].into_iter().flat_map(u32::to_ne_bytes);
    numbers.chain([0; 36]).collect()
}

/// A mounted file system. Gone when dropped.
pub(super) struct Mounted {
    root: tempfile::TempDir,
    serving: Option<JoinHandle<()>>,
}

impl Mounted {
    /// One that answers so; none for who may not mount it.
    pub(super) fn new(
        answer: impl FnMut(&Request) -> Result<Vec<u8>, Errno> + Send + 'static,
    ) -> io::Result<Self> {
        let root = tempfile::tempdir()?;
        let device = File::options().read(true).write(true).open("/dev/fuse")?;
        let asked = device.try_clone()?;
        let serving = Some(thread::spawn(move || serve(&asked, answer)));
        let mounted = Self { root, serving };
        let mut mount = Command::new("mount");
        mount.args(["-i", "-t", "fuse", "-o", "fd=0,rootmode=40755,user_id=0,group_id=0", "none"]);
        let output = mount.arg(mounted.root()).stdin(Stdio::from(device)).output()?;
        match output.status.success() {
            true => Ok(mounted),
            false => Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned())),
        }
    }

    pub(super) fn root(&self) -> &Path {
        self.root.path()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").args(["-i", "--lazy"]).arg(self.root()).output();
        if unmounted.is_ok_and(|output| output.status.success()) {
            let _ = self.serving.take().map(JoinHandle::join);
        }
    }
}

/// Answers until it is unmounted.
fn serve(mut device: &File, mut answer: impl FnMut(&Request) -> Result<Vec<u8>, Errno>) {
    let (mut bytes, mut patience) = (vec![0; REQUEST], 30_000);
    loop {
        let read = match device.read(&mut bytes) {
            Ok(read) => read,
            // Not mounted yet, nor soon if it is not by now.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && patience > 0 => {
                patience -= 1;
                thread::sleep(Duration::from_millis(1));
                continue;
            }
            // Who asked was interrupted.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(_) => return,
        };
        let request = Request::parse(&bytes[..read]);
        let answered = match request.operation {
            FORGET | BATCH_FORGET | INTERRUPT => continue,
            INIT => Ok(begun()),
            _ => answer(&request),
        };
        let (errno, body) =
            answered.map_or_else(|errno| (-errno.raw_os_error(), vec![]), |b| (0, b));
        let length = u32::try_from(16 + body.len()).unwrap();
        let head = [&length.to_ne_bytes()[..], &errno.to_ne_bytes(), &request.unique.to_ne_bytes()];
        // Who asked may be gone.
        let _ = device.write(&[head.concat(), body].concat());
    }
}
