//! A result as one file: a tar, or the zip inside iExec's form.
//!
//! What the app put out is below `iexec_out/`. Where the result is encrypted, the app's `stdout.txt` and `stderr.txt` stand beside
//! it. Names, sizes and bytes are all there is: no times, no owners, mode 0644, so that the same output is the same tar.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rustix::fs::OFlags;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use crate::output::{OutputError, files};

/// The folder in a package that holds what the app put out.
pub const OUTPUT: &str = "iexec_out";

/// Above this size a zip needs its 64-bit fields.
const LARGE: u64 = 1 << 31;

/// The files that become one.
#[derive(Debug)]
pub struct Package {
    entries: Vec<Entry>,
    stopped: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Entry {
    name: PathBuf,
    source: PathBuf,
}

/// Packing ends, with an error, when this is dropped.
#[derive(Debug)]
#[must_use]
pub struct Wanted(Arc<AtomicBool>);

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Package {
    /// The files of an output folder in the order of their paths' bytes, and named ones beside them.
    ///
    /// # Errors
    /// When something in the folder is neither a file nor a folder, or cannot be read.
    pub fn of(output: &Path, beside: &[(&str, PathBuf)]) -> Result<Self, OutputError> {
        let put_out = files(output)?
            .into_iter()
            .map(|file| Entry { name: Path::new(OUTPUT).join(&file), source: output.join(file) });
        let beside = beside.iter();
        let beside =
            beside.map(|(name, source)| Entry { name: name.into(), source: source.clone() });
        Ok(Self { entries: put_out.chain(beside).collect(), stopped: Arc::default() })
    }

    /// Lets a thread that packs be told that nobody waits any more.
    pub fn wanted(&self) -> Wanted {
        Wanted(Arc::clone(&self.stopped))
    }

    /// Writes a tar (ustar, with GNU's long names where they are needed).
    ///
    /// # Errors
    /// When a file cannot be read, or `out` cannot be written.
    pub fn tar<W: Write>(&self, out: W) -> io::Result<W> {
        let mut tar = tar::Builder::new(out);
        for entry in &self.entries {
            let (file, length) = self.open(entry)?;
            let mut header = tar::Header::new_gnu();
            header.set_size(length);
            header.set_mode(0o644);
            header.set_mtime(0);
            tar.append_data(&mut header, &entry.name, file)?;
        }
        tar.into_inner()
    }

    /// Writes a zip, without going back in what it has written.
    ///
    /// # Errors
    /// As [`Package::tar`], and when a name is not text.
    pub fn zip<W: Write>(&self, out: W) -> io::Result<W> {
        let mut zip = ZipWriter::new_stream(out);
        for entry in &self.entries {
            let (mut file, length) = self.open(entry)?;
            let name = entry.name.to_str().ok_or_else(|| no_text(&entry.name))?;
            let options = SimpleFileOptions::default()
                .compression_method(CompressionMethod::Deflated)
                .large_file(length > LARGE);
            zip.start_file(name, options)?;
            io::copy(&mut file, &mut zip)?;
        }
        Ok(zip.finish()?.into_inner())
    }

    /// The file as long as it is now: one that grows meanwhile must not break the package.
    fn open(&self, entry: &Entry) -> io::Result<(impl Read, u64)> {
        let file = open_own(&entry.source)?;
        let length = file.metadata()?.len();
        Ok((Stoppable { file, stopped: &self.stopped }.take(length), length))
    }
}

fn no_text(name: &Path) -> io::Error {
    let name = name.display();
    io::Error::new(io::ErrorKind::InvalidFilename, format!("{name} is not UTF-8, as zip has it"))
}

/// Opens a file that an app wrote: never what a link points to, and no pipe is waited for.
pub(crate) fn open_own(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)
}

struct Stoppable<'a> {
    file: File,
    stopped: &'a AtomicBool,
}

impl Read for Stoppable<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stopped.load(Ordering::Relaxed) {
            return Err(io::Error::other("nobody waits for it any more"));
        }
        self.file.read(buffer)
    }
}
