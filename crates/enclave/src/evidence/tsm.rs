//! Reports of TDX and SEV-SNP from Linux's `configfs-tsm`.
//!
//! Source: the kernel's `Documentation/ABI/testing/configfs-tsm-report` and `drivers/virt/coco`: a folder that is made below
//! [`ROOT`] has the files of one report. What is written to `inblob`, 64 bytes at most, takes effect when the file is closed, so
//! an error is lost; it raises `generation` by one. Reading `outblob` makes the report; `provider` says of which TEE. `auxblob`
//! has, for SEV-SNP, the certificate table of the host. Whoever writes in between shows in `generation`.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind, Read, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use rand::Rng;
use rustix::io::Errno;
use serde_json::{Value, json};
use sesame_attestation::snp::{SigningKey, SnpEvidence};
use sesame_protocol::{evidence::QuoteEvidence, rcar::Tee};

use super::EvidenceError;

pub(super) const ROOT: &str = "/sys/kernel/config/tsm/report";

/// No report and no table is longer; the kernel's own limit is lower.
const MAX_BLOB: u64 = 1 << 20;

/// How often a report is asked for that others spoil.
const ATTEMPTS: usize = 10;

/// How often one file is tried that is busy, and the pause in between.
const TRIES: usize = 100;
const PAUSE: Duration = Duration::from_millis(20);

/// The GUIDs of the certificates that sign reports, in the order of bytes in which AMD's table has them (AMD 56421, section
/// 4.1.8.1).
const VCEK: [u8; 16] = *b"\x63\xda\x75\x8d\xe6\x64\x45\x64\xad\xc5\xf4\xb9\x3b\xe8\xac\xcd";
const VLEK: [u8; 16] = *b"\xa8\x07\x4b\xc2\xa2\x5a\x48\x3e\xaa\xe6\x39\xc0\x45\xa0\xb8\xa1";

/// Whose reports the kernel gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Provider {
    Tdx,
    Snp,
}

impl Provider {
    const ALL: [Self; 2] = [Self::Tdx, Self::Snp];

    /// The kernel's name.
    const fn name(self) -> &'static str {
        match self {
            Self::Tdx => "tdx_guest",
            Self::Snp => "sev_guest",
        }
    }
}

/// The kernel's reports.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tsm {
    root: PathBuf,
    provider: Provider,
}

impl Tsm {
    pub(super) fn open(root: &Path) -> Result<Self, EvidenceError> {
        Ok(Self { root: root.to_owned(), provider: Entry::make(root)?.provider()? })
    }

    pub(super) fn that_is(self, expected: Provider) -> Result<Self, EvidenceError> {
        if self.provider == expected {
            return Ok(self);
        }
        let [expected, got] = [expected, self.provider].map(|provider| provider.name().to_owned());
        Err(EvidenceError::Provider { expected, got })
    }

    pub(super) const fn tee(&self) -> Tee {
        match self.provider {
            Provider::Tdx => Tee::Tdx,
            Provider::Snp => Tee::Snp,
        }
    }

    pub(super) fn evidence(&self, report_data: &[u8; 64]) -> Result<Value, EvidenceError> {
        Entry::make(&self.root)?.evidence(self.provider, report_data)
    }
}

/// One report's folder, removed when it is dropped.
struct Entry(PathBuf);

impl Entry {
    fn make(root: &Path) -> Result<Self, EvidenceError> {
        let path = root.join(format!("sesame-{:016x}", rand::rng().random::<u64>()));
        DirBuilder::new().create(&path).map_err(refused(&path))?;
        Ok(Self(path))
    }

    fn provider(&self) -> Result<Provider, EvidenceError> {
        let got = self.text("provider")?;
        let known = Provider::ALL.into_iter().find(|provider| provider.name() == got);
        known.ok_or(EvidenceError::Provider { expected: "tdx_guest or sev_guest".to_owned(), got })
    }

    fn evidence(&self, provider: Provider, report_data: &[u8; 64]) -> Result<Value, EvidenceError> {
        match provider {
            Provider::Tdx => {
                let quote = self.undisturbed(report_data, || self.blob("outblob"))?;
                let QuoteEvidence { quote } = QuoteEvidence::new(&quote);
                Ok(json!({ "quote": quote }))
            }
            Provider::Snp => {
                let both = || Ok((self.blob("outblob")?, self.blob_if_any("auxblob")?));
                let (report, table) = self.undisturbed(report_data, both)?;
                snp(&report, &table)
            }
        }
    }

    /// Reads with `report_data` in place, and nobody's else in between. A write that did not count is noticed before.
    fn undisturbed<T>(
        &self,
        report_data: &[u8; 64],
        read: impl Fn() -> Result<T, EvidenceError>,
    ) -> Result<T, EvidenceError> {
        for _ in 0..ATTEMPTS {
            let ours = self.generation()?.wrapping_add(1);
            self.write("inblob", report_data)?;
            if self.generation()? != ours {
                continue;
            }
            let got = read()?;
            if self.generation()? == ours {
                return Ok(got);
            }
        }
        Err(EvidenceError::Contended)
    }

    fn generation(&self) -> Result<u64, EvidenceError> {
        let malformed = |_| refused(&self.0.join("generation"))(ErrorKind::InvalidData.into());
        self.text("generation")?.parse().map_err(malformed)
    }

    fn text(&self, name: &str) -> Result<String, EvidenceError> {
        let path = self.0.join(name);
        let text = patiently(|| fs::read_to_string(&path)).map_err(refused(&path))?;
        Ok(text.trim_end().to_owned())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), EvidenceError> {
        let path = self.0.join(name);
        let open = || OpenOptions::new().write(true).open(&path);
        patiently(|| open()?.write_all(bytes)).map_err(refused(&path))
    }

    fn blob(&self, name: &str) -> Result<Vec<u8>, EvidenceError> {
        let blob = self.blob_if_any(name)?;
        if blob.is_empty() { Err(EvidenceError::NoReport(self.0.join(name))) } else { Ok(blob) }
    }

    /// The same where there may be nothing.
    fn blob_if_any(&self, name: &str) -> Result<Vec<u8>, EvidenceError> {
        let path = self.0.join(name);
        let read = || -> io::Result<Vec<u8>> {
            let mut bytes = Vec::new();
            File::open(&path)?.take(MAX_BLOB + 1).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        match patiently(read) {
            Ok(bytes) if bytes.len() as u64 <= MAX_BLOB => Ok(bytes),
            Ok(_) => Err(EvidenceError::NoReport(path)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(refused(&path)(error)),
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        // One that stays costs the kernel a few bytes.
        let _ = fs::remove_dir(&self.0);
    }
}

/// Tries again what the kernel is too busy for.
fn patiently<T>(attempt: impl Fn() -> io::Result<T>) -> io::Result<T> {
    for _ in 1..TRIES {
        match attempt() {
            Err(error) if is_busy(error.kind()) => std::thread::sleep(PAUSE),
            other => return other,
        }
    }
    attempt()
}

const fn is_busy(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::ResourceBusy | ErrorKind::Interrupted | ErrorKind::WouldBlock)
}

fn refused(path: &Path) -> impl FnOnce(io::Error) -> EvidenceError {
    move |source| EvidenceError::Kernel { path: path.to_owned(), mend: mend(&source), source }
}

/// What a person can do about a refusal of the kernel's.
fn mend(error: &io::Error) -> &'static str {
    match Errno::from_io_error(error) {
        Some(Errno::ACCESS | Errno::PERM) => {
            "it gives reports to root alone: run the launcher as root"
        }
        Some(Errno::ROFS) => "mount configfs so that it can be written",
        Some(Errno::NOENT) => {
            "mount configfs at /sys/kernel/config, and load the module tdx_guest or sev-guest (Linux 6.7 or newer)"
        }
        Some(Errno::NXIO) => "no driver gives reports: load the module tdx_guest or sev-guest",
        Some(Errno::EXIST) => "somebody else has a report of that name: start again",
        Some(Errno::INVAL | Errno::FBIG) => {
            "its driver takes no such request: compare the kernel's version, and at which privilege level it runs"
        }
        Some(Errno::BUSY | Errno::AGAIN) => "the TEE is busy with another report: start again",
        Some(Errno::IO | Errno::TIMEDOUT) => {
            "the host gives no report: have its operator look after what serves them (TDX: the quote generation service)"
        }
        _ => "its log may say why",
    }
}

fn snp(report: &[u8], table: &[u8]) -> Result<Value, EvidenceError> {
    let guid = match SnpEvidence::from_report(report, None)?.signing_key() {
        SigningKey::Vcek => VCEK,
        SigningKey::Vlek => VLEK,
    };
    let certificate = certificate(table, &guid)?;
    Ok(SnpEvidence::from_report(report, certificate)?.to_json())
}

/// The certificate of this GUID in a table: entries of a GUID, the offset in the table and the length, 4 bytes each,
/// little-endian, up to an entry of zeros.
fn certificate(table: &[u8], guid: &[u8; 16]) -> Result<Option<Vec<u8>>, EvidenceError> {
    const ENTRY: usize = 24;
    let number = |bytes: &[u8]| {
        let bytes = bytes.try_into().map_err(|_| EvidenceError::Table)?;
        usize::try_from(u32::from_le_bytes(bytes)).map_err(|_| EvidenceError::Table)
    };
    if table.is_empty() {
        return Ok(None);
    }
    for entry in table.chunks_exact(ENTRY) {
        let (id, rest) = entry.split_at(16);
        if id == [0; 16] {
            return Ok(None);
        }
        if id == guid {
            let (offset, length) = rest.split_at(4);
            let (offset, length) = (number(offset)?, number(length)?);
            let end = offset.checked_add(length).ok_or(EvidenceError::Table)?;
            let found = table.get(offset..end).ok_or(EvidenceError::Table)?;
            return Ok(Some(found.to_vec()));
        }
    }
    Err(EvidenceError::Table)
}

#[cfg(test)]
mod tests;
