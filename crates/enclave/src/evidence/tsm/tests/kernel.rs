//! The kernel's side of `configfs-tsm`, as a file system in user space: the launcher makes folders in it, writes and reads files as it
//! would in the kernel's own, and is refused by the kernel's numbers.
//!
//! It keeps the rules of `drivers/virt/coco/guest/report.c` and `fs/configfs/file.c` (Linux 6.18): a folder comes with its files, and
//! goes with them; what is written to `inblob`, 64 bytes at most, counts when the file is closed, and errors of that are lost; each
//! write raises `generation`; a report is made when it is read for the first time after a write, and there is none before the first.
//! It does not show what drivers, firmware and hosts do below.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
};

use rustix::io::Errno;

use super::fuse::{self, Mounted, Request};

/// `outblob` and `auxblob`.
pub(super) type Blobs = (Vec<u8>, Vec<u8>);

/// What makes them of an `inblob`.
type Report = Box<dyn Fn(&[u8]) -> Result<Blobs, Errno> + Send>;

/// Of `inblob`.
const INBLOB_MAX: usize = 64;

const FILES: [&str; 5] = ["provider", "generation", "inblob", "outblob", "auxblob"];

/// Numbers of a folder and its files: those of the next folder come after so many.
const INODES: u64 = 16;

/// That of the folder in which reports are made.
const ROOT: u64 = 1;

/// Of the flags of who opens a file: it wants to write.
const WRITABLE: u32 = 0b11;

/// The driver of a TEE.
pub(super) struct Driver {
    /// Its `provider`.
    pub(super) name: &'static str,
    /// Makes a report of what was written.
    pub(super) report: Report,
}

/// A mounted file system. Gone when dropped.
pub(super) struct Kernel {
    state: Arc<Mutex<State>>,
    mounted: Mounted,
}

impl Kernel {
    /// With this driver loaded. None, and a word about it, for who may not mount one.
    pub(super) fn with(driver: Option<Driver>) -> Option<Self> {
        let state = Arc::new(Mutex::new(State::of(driver)));
        let asked = state.clone();
        match Mounted::new(move |request| asked.lock().unwrap().answer(request)) {
            Ok(mounted) => Some(Self { state, mounted }),
            Err(error) => {
                eprintln!("not tried: no file system can be mounted here: {error}");
                None
            }
        }
    }

    /// Where reports are made.
    pub(super) fn root(&self) -> &Path {
        self.mounted.root()
    }

    /// The next so many times that something is done (`mkdir`, `open inblob`, or a file's name: when it is read, or what was written
    /// to it counts), it is refused.
    pub(super) fn refuse(&self, what: &'static str, errno: Errno, times: u64) {
        self.state().refusals.insert(what, (errno, times));
    }

    /// So many times, somebody else writes just before a report is read.
    pub(super) fn others_write(&self, times: u64) {
        self.state().others = times;
    }

    /// How many reports have a folder.
    pub(super) fn folders(&self) -> usize {
        self.state().items.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

struct State {
    driver: Option<Driver>,
    /// By number, from 1.
    items: BTreeMap<u64, Item>,
    made: u64,
    open: BTreeMap<u64, Open>,
    opened: u64,
    refusals: BTreeMap<&'static str, (Errno, u64)>,
    others: u64,
}

/// A report.
#[derive(Default)]
struct Item {
    name: OsString,
    inblob: Vec<u8>,
    write_generation: u64,
    read_generation: u64,
    blobs: Option<Blobs>,
}

/// A file that somebody has open.
#[derive(Default)]
struct Open {
    /// As it was when it was read first.
    read: Option<Vec<u8>>,
    written: Option<Vec<u8>>,
}

impl Item {
    fn write(&mut self, bytes: &[u8]) {
        self.write_generation += 1;
        self.inblob = bytes.to_vec();
    }
}

impl State {
    fn of(driver: Option<Driver>) -> Self {
        Self {
            driver,
            items: BTreeMap::new(),
            made: 0,
            open: BTreeMap::new(),
            opened: 0,
            refusals: BTreeMap::new(),
            others: 0,
        }
    }

    fn may(&mut self, what: &str) -> Result<(), Errno> {
        match self.refusals.get_mut(what) {
            Some((errno, times @ 1..)) => {
                *times -= 1;
                Err(*errno)
            }
            Some((_, 0)) | None => Ok(()),
        }
    }

    fn name(&self) -> Result<&'static str, Errno> {
        self.driver.as_ref().map(|driver| driver.name).ok_or(Errno::NXIO)
    }

    fn answer(&mut self, request: &Request) -> Result<Vec<u8>, Errno> {
        let inode = request.inode;
        match request.operation {
            fuse::LOOKUP => self.look_up(inode, request.name(0)),
            fuse::GETATTR => Ok(fuse::state(inode, self.is_folder(inode)?)),
            fuse::MKDIR => self.make_folder(request.name(8)),
            fuse::RMDIR => {
                self.items.retain(|_, item| item.name != request.name(0));
                Ok(Vec::new())
            }
            fuse::OPEN => self.open(inode, request.number(0)),
            fuse::READ => {
                let (from, size) = (request.long(8), request.number(16));
                let bytes = self.read(inode, request.long(0))?;
                let from = bytes.len().min(usize::try_from(from).unwrap());
                let to = bytes.len().min(from + usize::try_from(size).unwrap());
                Ok(bytes[from..to].to_vec())
            }
            fuse::WRITE_FILE => self.write(request.long(0), request.long(8), request.data()),
            // As the kernel does, it says nothing of an error.
            fuse::FLUSH => {
                let _ = self.close(inode, request.long(0));
                Ok(Vec::new())
            }
            fuse::RELEASE => {
                self.open.remove(&request.long(0));
                Ok(Vec::new())
            }
            _ => Err(Errno::NOSYS),
        }
    }

    fn is_folder(&self, inode: u64) -> Result<bool, Errno> {
        match inode == ROOT || self.items.contains_key(&(inode / INODES)) {
            true => Ok(inode == ROOT || inode.is_multiple_of(INODES)),
            false => Err(Errno::NOENT),
        }
    }

    fn look_up(&self, parent: u64, name: &OsStr) -> Result<Vec<u8>, Errno> {
        if parent == ROOT {
            let found = self.items.iter().find(|(_, item)| item.name == name);
            return Ok(fuse::entry(found.ok_or(Errno::NOENT)?.0 * INODES, true));
        }
        let place = FILES.iter().position(|file| *file == name).ok_or(Errno::NOENT)?;
        if name == "auxblob" && self.name()? != "sev_guest" {
            return Err(Errno::NOENT);
        }
        Ok(fuse::entry(parent + 1 + place as u64, false))
    }

    fn make_folder(&mut self, name: &OsStr) -> Result<Vec<u8>, Errno> {
        self.may("mkdir")?;
        self.name()?;
        if self.items.values().any(|item| item.name == name) {
            return Err(Errno::EXIST);
        }
        self.made += 1;
        self.items.insert(self.made, Item { name: name.to_owned(), ..Item::default() });
        Ok(fuse::entry(self.made * INODES, true))
    }

    /// What a file has now.
    fn show(&mut self, inode: u64) -> Result<Vec<u8>, Errno> {
        let name = file_at(inode)?;
        self.may(name)?;
        let item = self.items.get_mut(&(inode / INODES)).ok_or(Errno::NOENT)?;
        match name {
            "generation" => Ok(format!("{}\n", item.write_generation).into()),
            "provider" => Ok(format!("{}\n", self.name()?).into()),
            "inblob" => Err(Errno::ACCESS),
            _ => {
                if name == "outblob" && self.others > 0 {
                    self.others -= 1;
                    item.write(&[0xee; INBLOB_MAX]);
                }
                if item.inblob.is_empty() {
                    return Err(Errno::INVAL);
                }
                if item.blobs.is_none() || item.read_generation != item.write_generation {
                    let driver = self.driver.as_ref().ok_or(Errno::NXIO)?;
                    item.blobs = Some((driver.report)(&item.inblob)?);
                    item.read_generation = item.write_generation;
                }
                let (out, aux) = item.blobs.clone().unwrap_or_default();
                Ok(if name == "outblob" { out } else { aux })
            }
        }
    }

    fn open(&mut self, inode: u64, flags: u32) -> Result<Vec<u8>, Errno> {
        let name = file_at(inode)?;
        if name == "inblob" {
            self.may("open inblob")?;
        } else if flags & WRITABLE != 0 {
            return Err(Errno::ACCESS);
        }
        self.opened += 1;
        self.open.insert(self.opened, Open::default());
        Ok(fuse::opened(self.opened))
    }

    fn read(&mut self, inode: u64, handle: u64) -> Result<&[u8], Errno> {
        let fresh = self.open.get(&handle).is_some_and(|open| open.read.is_none());
        let shown = if fresh { Some(self.show(inode)?) } else { None };
        let open = self.open.get_mut(&handle).ok_or(Errno::BADF)?;
        Ok(open.read.get_or_insert_with(|| shown.unwrap_or_default()).as_slice())
    }

    fn write(&mut self, handle: u64, offset: u64, data: &[u8]) -> Result<Vec<u8>, Errno> {
        let open = self.open.get_mut(&handle).ok_or(Errno::BADF)?;
        let written = open.written.get_or_insert_default();
        let offset = usize::try_from(offset).unwrap();
        if offset + data.len() > INBLOB_MAX {
            return Err(Errno::FBIG);
        }
        written.truncate(offset);
        written.extend_from_slice(data);
        Ok((data.len() as u64).to_ne_bytes().to_vec())
    }

    /// Takes notice of what was written.
    fn close(&mut self, inode: u64, handle: u64) -> Result<(), Errno> {
        let open = self.open.get_mut(&handle).ok_or(Errno::BADF)?;
        let Some(written) = open.written.take() else { return Ok(()) };
        self.may("inblob")?;
        let item = self.items.get_mut(&(inode / INODES)).ok_or(Errno::NOENT)?;
        item.write(&written);
        Ok(())
    }
}

fn file_at(inode: u64) -> Result<&'static str, Errno> {
    let place = (inode % INODES).checked_sub(1).ok_or(Errno::ISDIR)?;
    FILES.get(usize::try_from(place).unwrap()).copied().ok_or(Errno::NOENT)
}
