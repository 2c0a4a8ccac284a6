//! Lines of the file; the first one names the log.

use std::{
    fs::File,
    io::{BufRead, BufReader, Seek, SeekFrom, Write},
    path::Path,
};

use alloy_primitives::{Address, FixedBytes};
use serde::{Deserialize, Serialize};

use crate::{log::LogError, receipt::SignedReceipt};

/// What the file's first line says. The first format had no such line.
const FORMAT: u32 = 2;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: u32,
    origin: String,
}

/// Writes the first line, and gives the log's name. No two logs have the same, whoever keeps them.
pub(crate) fn begin(
    file: &mut File,
    path: &Path,
    identity: Address,
    chain_id: u64,
) -> Result<String, LogError> {
    let random = FixedBytes::<8>::random();
    let origin = format!("sesame/{chain_id}/{identity:#x}/{random:x}");
    let header = Header { format: FORMAT, origin };
    let mut line = serde_json::to_vec(&header).map_err(std::io::Error::from)?;
    line.push(b'\n');
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&line)?;
    file.sync_all()?;
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        File::open(folder)?.sync_all()?;
    }
    Ok(header.origin)
}

/// The log's name, as its first line says.
pub(crate) fn origin(line: &str, path: &Path) -> Result<String, LogError> {
    if SignedReceipt::parse(line).is_some() {
        return Err(LogError::OldFormat(path.display().to_string()));
    }
    let header: Header = serde_json::from_str(line).map_err(|_| LogError::Header)?;
    if header.format == FORMAT && signed_note::is_key_name_valid(&header.origin) {
        return Ok(header.origin);
    }
    Err(LogError::Header)
}

/// Whole lines of a file, without their ends.
pub(crate) struct Lines<R>(R);

impl<'f> Lines<BufReader<&'f File>> {
    /// From the first on.
    ///
    /// The file's position is that of the reader: nobody else may read or write at it meanwhile.
    pub(crate) fn new(file: &'f File) -> Result<Self, LogError> {
        Self::from(file, 0)
    }

    /// From the one on that begins here.
    pub(crate) fn from(mut file: &'f File, start: u64) -> Result<Self, LogError> {
        file.seek(SeekFrom::Start(start))?;
        Ok(Self(BufReader::new(file)))
    }

    /// `None` at the end, or at a line that was torn.
    pub(crate) fn next(&mut self) -> Result<Option<String>, LogError> {
        let mut line = Vec::new();
        self.0.read_until(b'\n', &mut line)?;
        match line.split_last() {
            // What is no text is no receipt: it is told with the line's number.
            Some((b'\n', text)) => Ok(Some(String::from_utf8_lossy(text).into_owned())),
            _ => Ok(None),
        }
    }
}
