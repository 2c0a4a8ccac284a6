//! The kernel is played by a file system ([`kernel`]) that the launcher cannot tell from it.

mod fuse;
mod kernel;

use std::time::Instant;

use self::kernel::{Blobs, Driver, Kernel};
use super::*;
use crate::evidence::{Attester, Kind, Platform};

/// A kernel with the driver of this name, whose reports are made so.
fn kernel(name: &'static str, report: impl Fn(&[u8]) -> Blobs + Send + 'static) -> Option<Kernel> {
    Kernel::with(Some(Driver { name, report: Box::new(move |inblob| Ok(report(inblob))) }))
}

fn tdx() -> Option<Kernel> {
    kernel("tdx_guest", |inblob| ([b"quote over ", inblob].concat(), Vec::new()))
}

fn quote(kernel: &Kernel) -> Result<Vec<u8>, EvidenceError> {
    let evidence = Tsm::open(kernel.root())?.evidence(&[7; 64])?;
    let evidence: QuoteEvidence = serde_json::from_value(evidence).unwrap();
    Ok(evidence.bytes().unwrap())
}

fn expected() -> Vec<u8> {
    [b"quote over ", &[7; 64][..]].concat()
}

#[test]
fn a_quote_is_over_what_was_written() {
    let Some(kernel) = tdx() else { return };
    assert_eq!(quote(&kernel).unwrap(), expected());
    assert_eq!(quote(&kernel).unwrap(), expected(), "and once more");
    assert_eq!(kernel.folders(), 0, "nothing is left");
}

#[test]
fn each_platform_opens_the_kernels_reports_and_no_others() {
    for (name, provider, own, other) in [
        ("tdx_guest", Provider::Tdx, Platform::Tdx, Platform::Snp),
        ("sev_guest", Provider::Snp, Platform::Snp, Platform::Tdx),
    ] {
        let Some(kernel) = kernel(name, |_| Blobs::default()) else { return };
        let found = || Attester(Kind::Tsm(Tsm { root: kernel.root().to_owned(), provider }));
        assert_eq!(own.attester(Some(kernel.root())).unwrap(), found());
        assert_eq!(Platform::Auto.attester(Some(kernel.root())).unwrap(), found());
        assert_eq!(found().tee().to_string(), own.to_string());
        let refused = other.attester(Some(kernel.root())).unwrap_err();
        assert!(matches!(refused, EvidenceError::Provider { .. }), "{refused}");
        assert!(refused.to_string().contains(name), "{refused}");
        assert!(Platform::Gramine.attester(Some(kernel.root())).is_err());
        assert_eq!(kernel.folders(), 0, "nothing is left");
    }
}

#[test]
fn another_provider_is_refused_by_name() {
    let Some(kernel) = kernel("arm_cca_guest", |_| Blobs::default()) else { return };
    for platform in [Platform::Auto, Platform::Tdx, Platform::Snp] {
        let refused = platform.attester(Some(kernel.root())).unwrap_err().to_string();
        assert!(refused.contains("arm_cca_guest") && refused.contains("--tee"), "{refused}");
    }
}

#[test]
fn a_report_that_others_spoilt_is_asked_for_again() {
    let Some(kernel) = tdx() else { return };
    kernel.others_write(3);
    assert_eq!(quote(&kernel).unwrap(), expected());
}

#[test]
fn a_report_that_others_always_spoil_is_refused() {
    let Some(kernel) = tdx() else { return };
    kernel.others_write(u64::MAX);
    let refused = quote(&kernel).unwrap_err();
    assert!(matches!(refused, EvidenceError::Contended), "{refused}");
    assert_eq!(kernel.folders(), 0, "nothing is left");
}

/// Closing a file tells of no error: a write may be lost without a word, and the report be of what was written before.
#[test]
fn a_write_that_the_kernel_did_not_take_is_noticed() {
    let Some(kernel) = tdx() else { return };
    kernel.refuse("inblob", Errno::BUSY, 3);
    assert_eq!(quote(&kernel).unwrap(), expected());
    let entry = Entry::make(kernel.root()).unwrap();
    entry.evidence(Provider::Tdx, &[1; 64]).unwrap();
    kernel.refuse("inblob", Errno::BUSY, 3);
    let evidence = entry.evidence(Provider::Tdx, &[7; 64]).unwrap();
    let evidence: QuoteEvidence = serde_json::from_value(evidence).unwrap();
    assert_eq!(evidence.bytes().unwrap(), expected());
    kernel.refuse("inblob", Errno::BUSY, u64::MAX);
    let refused = entry.evidence(Provider::Tdx, &[8; 64]).unwrap_err();
    assert!(matches!(refused, EvidenceError::Contended), "{refused}");
}

#[test]
fn a_report_may_be_longer_than_a_page_and_not_endless() {
    for (length, fits) in [(4096, true), (4097, true), (300_000, true), (MAX_BLOB + 1, false)] {
        let long = move |_: &[u8]| (vec![3; usize::try_from(length).unwrap()], Vec::new());
        let Some(kernel) = kernel("tdx_guest", long) else { return };
        match quote(&kernel) {
            Ok(quote) => assert!(fits && quote.len() as u64 == length && quote[4000] == 3),
            Err(EvidenceError::NoReport(_)) => assert!(!fits, "{length}"),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn nothing_is_no_report() {
    let Some(kernel) = kernel("tdx_guest", |_| Blobs::default()) else { return };
    let refused = quote(&kernel).unwrap_err();
    assert!(matches!(refused, EvidenceError::NoReport(_)), "{refused}");
}

#[test]
fn the_kernels_refusals_are_told_with_what_mends_them() {
    for (what, errno, told) in [
        ("mkdir", Errno::ACCESS, "as root"),
        ("mkdir", Errno::PERM, "as root"),
        ("mkdir", Errno::ROFS, "can be written"),
        ("mkdir", Errno::NXIO, "load the module"),
        ("mkdir", Errno::EXIST, "somebody else"),
        ("mkdir", Errno::NOMEM, "its log"),
        ("provider", Errno::NXIO, "load the module"),
        ("generation", Errno::IO, "the host gives no report"),
        ("open inblob", Errno::ACCESS, "as root"),
        ("outblob", Errno::INVAL, "compare the kernel's version"),
        ("outblob", Errno::FBIG, "compare the kernel's version"),
        ("outblob", Errno::IO, "the host gives no report"),
        ("outblob", Errno::TIMEDOUT, "quote generation service"),
        ("outblob", Errno::NXIO, "load the module"),
    ] {
        let Some(kernel) = tdx() else { return };
        kernel.refuse(what, errno, u64::MAX);
        let refused = quote(&kernel).unwrap_err();
        let EvidenceError::Kernel { path, source, .. } = &refused else { panic!("{refused}") };
        assert!(path.starts_with(kernel.root()), "{}", path.display());
        assert_eq!(source.raw_os_error(), Some(errno.raw_os_error()), "{what}: {source}");
        assert!(refused.to_string().contains(told), "{what}: {refused}");
        assert_eq!(kernel.folders(), 0, "{what}: nothing is left");
    }
}

#[test]
fn a_driver_that_takes_no_such_report_data_is_told() {
    let report = Box::new(|_: &[u8]| Err(Errno::INVAL));
    let Some(kernel) = Kernel::with(Some(Driver { name: "tdx_guest", report })) else { return };
    let refused = quote(&kernel).unwrap_err().to_string();
    assert!(refused.contains("outblob: its driver takes no such request"), "{refused}");
}

#[test]
fn without_a_driver_or_a_kernel_that_knows_one_there_are_no_reports() {
    let Some(kernel) = Kernel::with(None) else { return };
    let refused = Platform::Auto.attester(Some(kernel.root())).unwrap_err().to_string();
    assert!(refused.contains("load the module tdx_guest or sev-guest"), "{refused}");
    let nowhere = kernel.root().join("nowhere");
    let refused = Platform::Tdx.attester(Some(&nowhere)).unwrap_err().to_string();
    assert!(refused.contains("mount configfs"), "{refused}");
}

#[test]
fn what_the_kernel_is_too_busy_for_is_tried_again_and_nothing_else_is() {
    for what in ["provider", "generation", "open inblob", "outblob"] {
        for errno in [Errno::BUSY, Errno::AGAIN] {
            let Some(kernel) = tdx() else { return };
            kernel.refuse(what, errno, 3);
            assert_eq!(quote(&kernel).unwrap(), expected(), "{what}");
        }
        let Some(kernel) = tdx() else { return };
        kernel.refuse(what, Errno::INVAL, 1);
        quote(&kernel).unwrap_err();
        assert_eq!(quote(&kernel).unwrap(), expected(), "it was asked once");
    }
    let Some(kernel) = tdx() else { return };
    kernel.refuse("outblob", Errno::BUSY, u64::MAX);
    let begun = Instant::now();
    let refused = quote(&kernel).unwrap_err().to_string();
    assert!(refused.contains("busy with another report"), "{refused}");
    assert!(begun.elapsed() >= PAUSE * 50, "it has patience");
}

#[test]
fn a_folder_without_files_is_an_error_and_does_not_stay() {
    let root = tempfile::tempdir().unwrap();
    let refused = Tsm::open(root.path()).unwrap_err();
    assert!(matches!(refused, EvidenceError::Kernel { .. }), "{refused}");
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
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
        let report = move |inblob: &[u8]| {
            let document = root.evidence(Imitated::Snp, &[5; 32], inblob.try_into().unwrap());
            let evidence = SnpEvidence::parse(&document).unwrap();
            let guid = match evidence.signing_key() {
                SigningKey::Vcek => VCEK,
                SigningKey::Vlek => VLEK,
            };
            let certificate = evidence.certificate().unwrap_or(b"a certificate");
            (evidence.report().to_vec(), table(&[(&guid, certificate)]))
        };
        let Some(kernel) = kernel("sev_guest", report) else { return };
        kernel.others_write(1);
        let tsm = Tsm::open(kernel.root()).unwrap();
        assert_eq!(tsm.provider, Provider::Snp);
        let document = tsm.evidence(&[7; 64]).unwrap();
        let Evidence::Snp(evidence) = Evidence::parse("snp", &document).unwrap() else {
            panic!("{document}")
        };
        assert_eq!(evidence.report()[0x50..0x90], [7; 64]);
        assert!(evidence.certificate().is_some());
        kernel.refuse("auxblob", Errno::IO, 1);
        let refused = tsm.evidence(&[7; 64]).unwrap_err();
        assert!(refused.to_string().contains("auxblob"), "{refused}");
    }
}
