//! A thread plays the kernel, as far as pipes allow: every file is a pipe, so what is read is made at that moment, and each write
//! counts. It does not show how the kernel makes the files with the folder, what its errors are numbered, or that nobody else
//! reaches the folder.

use std::{
    os::unix::fs::OpenOptionsExt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};

use super::*;

/// `outblob` and `auxblob`.
type Blobs = (Vec<u8>, Vec<u8>);

/// Makes them from what was written.
type Make = Box<dyn Fn(&[u8]) -> Blobs + Send>;

/// The kernel's side of one report.
struct Report {
    folder: PathBuf,
    inblob: File,
    generation: u64,
    written: Option<Vec<u8>>,
    /// How often somebody else writes just before the report is read.
    others: u64,
    make: Make,
}

impl Report {
    /// Takes notice of what was written since.
    fn commit(&mut self) {
        let mut chunk = [0; 65];
        while let Ok(read @ 1..) = self.inblob.read(&mut chunk) {
            assert_eq!(read, 64, "one write, of as many bytes as the kernel takes at most");
            self.generation += 1;
            self.written = Some(chunk[..read].to_vec());
        }
    }

    fn answer(&mut self, name: &str, provider: &str) -> Vec<u8> {
        self.commit();
        if name == "outblob" && self.others > 0 {
            self.others -= 1;
            self.generation += 1;
            self.written = Some(vec![0xee; 64]);
        }
        let blobs = || self.written.as_deref().map(&self.make).unwrap_or_default();
        match name {
            "provider" => format!("{provider}\n").into(),
            "generation" => format!("{}\n", self.generation).into(),
            "outblob" => blobs().0,
            _ => blobs().1,
        }
    }
}

fn pipe(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

/// Puts a new pipe in place of one that somebody has open.
fn renew(path: &Path) {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let new = path.with_extension(format!("new-{number}"));
    pipe(&new);
    fs::rename(&new, path).unwrap();
}

/// Gives a folder the files of a report.
fn serve(
    folder: &Path,
    provider: &'static str,
    others: u64,
    make: impl Fn(&[u8]) -> Blobs + Send + 'static,
) {
    for name in ["inblob", "provider", "generation", "outblob", "auxblob"] {
        pipe(&folder.join(name));
    }
    let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
    let inblob = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(nonblocking)
        .open(folder.join("inblob"))
        .unwrap();
    let folder = folder.to_owned();
    let report = Report {
        folder: folder.clone(),
        inblob,
        generation: 7,
        written: None,
        others,
        make: Box::new(make),
    };
    let report = Arc::new(Mutex::new(report));
    for name in ["provider", "generation", "outblob", "auxblob"] {
        let (path, report) = (folder.join(name), Arc::clone(&report));
        thread::spawn(move || {
            // Opening waits for a reader; the test's end removes the folder.
            while let Ok(mut reader) = OpenOptions::new().write(true).open(&path) {
                let mut report = report.lock().unwrap();
                if !report.folder.exists() {
                    return;
                }
                renew(&path);
                let _ = reader.write_all(&report.answer(name, provider));
            }
        });
    }
}

fn tdx(others: u64) -> (tempfile::TempDir, Entry) {
    let root = tempfile::tempdir().unwrap();
    let entry = Entry::make(root.path()).unwrap();
    serve(&entry.0, "tdx_guest", others, |inblob| ([b"quote over ", inblob].concat(), Vec::new()));
    (root, entry)
}

fn quote(entry: &Entry) -> Result<Vec<u8>, EvidenceError> {
    let evidence = entry.evidence(Provider::Tdx, &[7; 64])?;
    let evidence: QuoteEvidence = serde_json::from_value(evidence).unwrap();
    Ok(evidence.bytes().unwrap())
}

#[test]
fn a_quote_is_over_what_was_written() {
    let (_root, entry) = tdx(0);
    assert_eq!(entry.provider().unwrap(), Provider::Tdx);
    let expected = [b"quote over ", &[7; 64][..]].concat();
    assert_eq!(quote(&entry).unwrap(), expected);
    assert_eq!(quote(&entry).unwrap(), expected, "and once more");
}

#[test]
fn a_report_that_others_spoilt_is_asked_for_again() {
    let (_root, entry) = tdx(3);
    assert_eq!(quote(&entry).unwrap(), [b"quote over ", &[7; 64][..]].concat());
}

#[test]
fn a_report_that_others_always_spoil_is_refused() {
    let (_root, entry) = tdx(u64::MAX);
    let refused = quote(&entry).unwrap_err();
    assert!(matches!(refused, EvidenceError::Contended), "{refused}");
}

#[test]
fn nothing_is_no_report() {
    let root = tempfile::tempdir().unwrap();
    let entry = Entry::make(root.path()).unwrap();
    serve(&entry.0, "tdx_guest", 0, |_| (Vec::new(), Vec::new()));
    let refused = quote(&entry).unwrap_err();
    assert!(matches!(refused, EvidenceError::NoReport(_)), "{refused}");
}

#[test]
fn another_provider_is_refused_by_name() {
    let root = tempfile::tempdir().unwrap();
    let entry = Entry::make(root.path()).unwrap();
    serve(&entry.0, "arm_cca_guest", 0, |_| (Vec::new(), Vec::new()));
    let refused = entry.provider().unwrap_err();
    assert!(refused.to_string().contains("arm_cca_guest"), "{refused}");

    let tsm = Tsm { root: root.path().to_owned(), provider: Provider::Snp };
    let refused = tsm.that_is(Provider::Tdx).unwrap_err();
    assert!(refused.to_string().contains("sev_guest"), "{refused}");
}

#[test]
fn a_folder_without_files_is_an_error_and_does_not_stay() {
    let root = tempfile::tempdir().unwrap();
    let refused = Tsm::open(root.path()).unwrap_err();
    assert!(matches!(refused, EvidenceError::Io { .. }), "{refused}");
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
}

#[test]
fn a_busy_kernel_is_tried_again_and_other_errors_are_not() {
    let asked = std::cell::Cell::new(0);
    let busy_until = |last: usize, kind: ErrorKind| {
        asked.set(0);
        patiently(|| {
            asked.set(asked.get() + 1);
            if asked.get() < last { Err(kind.into()) } else { Ok(asked.get()) }
        })
    };
    // As the kernel numbers them: EBUSY, EINTR, EWOULDBLOCK.
    for number in [16, 4, 11] {
        let kind = io::Error::from_raw_os_error(number).kind();
        assert_eq!(busy_until(3, kind).unwrap(), 3, "{number}");
    }
    // EINVAL, ENXIO, EACCES.
    for number in [22, 6, 13] {
        let kind = io::Error::from_raw_os_error(number).kind();
        assert!(busy_until(3, kind).is_err());
        assert_eq!(asked.get(), 1, "{number}");
    }
}

/// A table with these certificates.
fn table(entries: &[(&[u8; 16], &[u8])]) -> Vec<u8> {
    let (mut heads, mut data) = (Vec::new(), Vec::new());
    let start = 24 * (entries.len() + 1);
    for (guid, certificate) in entries {
        heads.extend_from_slice(*guid);
        heads.extend(u32::try_from(start + data.len()).unwrap().to_le_bytes());
        heads.extend(u32::try_from(certificate.len()).unwrap().to_le_bytes());
        data.extend_from_slice(certificate);
    }
    heads.extend([0; 24]);
    [heads, data].concat()
}

#[test]
fn the_certificate_of_the_signing_key_is_found_in_the_table() {
    let both = table(&[(&VLEK, b"vlek"), (&VCEK, b"vcek")]);
    let found = |table: &[u8], guid| certificate(table, guid).unwrap();
    assert_eq!(found(&both, &VCEK).unwrap(), b"vcek");
    assert_eq!(found(&both, &VLEK).unwrap(), b"vlek");
    assert_eq!(found(&table(&[(&VLEK, b"vlek")]), &VCEK), None);
    assert_eq!(found(&table(&[]), &VCEK), None);
    assert_eq!(found(&[], &VCEK), None);
}

#[test]
fn a_table_that_points_out_of_itself_is_refused() {
    let good = table(&[(&VCEK, b"vcek")]);
    for (place, value) in [(16, 0xff), (19, 0xff), (20, 0xff), (23, 0xff)] {
        let mut bad = good.clone();
        bad[place] = value;
        assert!(matches!(certificate(&bad, &VCEK), Err(EvidenceError::Table)), "{place}");
    }
    let without_end = &good[..24];
    assert!(matches!(certificate(without_end, &VLEK), Err(EvidenceError::Table)));
    assert!(matches!(certificate(&[1; 10], &VCEK), Err(EvidenceError::Table)));
}

#[cfg(feature = "simulated")]
mod simulated {
    use sesame_attestation::{Evidence, simulated::Root};
    use sesame_domain::Imitated;

    use super::*;

    /// Reports of the simulated vendor, in the kernel's form, are what the verifier reads.
    #[test]
    fn reports_of_snp_come_with_their_certificate() {
        let root = Root::make(1_800_000_000);
        let folder = tempfile::tempdir().unwrap();
        let entry = Entry::make(folder.path()).unwrap();
        serve(&entry.0, "sev_guest", 1, move |inblob| {
            let document = root.evidence(Imitated::Snp, &[5; 32], inblob.try_into().unwrap());
            let evidence = SnpEvidence::parse(&document).unwrap();
            let guid = match evidence.signing_key() {
                SigningKey::Vcek => VCEK,
                SigningKey::Vlek => VLEK,
            };
            let certificate = evidence.certificate().unwrap_or(b"a certificate");
            (evidence.report().to_vec(), table(&[(&guid, certificate)]))
        });
        assert_eq!(entry.provider().unwrap(), Provider::Snp);
        let document = entry.evidence(Provider::Snp, &[7; 64]).unwrap();
        let Evidence::Snp(evidence) = Evidence::parse("snp", &document).unwrap() else {
            panic!("{document}")
        };
        assert_eq!(evidence.report()[0x50..0x90], [7; 64]);
        assert!(evidence.certificate().is_some());
    }
}
