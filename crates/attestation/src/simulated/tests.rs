//! What only a root of one's own can show: honest signatures over what must be refused.

use dcap_qvl::quote::{EnclaveReport, Report, TDReport10, TDReport15};

use super::*;
use crate::{
    dcap::{self, DcapCollateral, DcapError, DcapQuote, Platforms, no_platforms},
    snp::{ChainProblem, Part, Product, Roots, SnpError, SnpEvidence, SnpPolicy, SnpVerifier},
    tcb::{TcbPolicy, TcbStatus},
};

const NOW: u64 = 1_800_000_000;
const UNTIL: u64 = NOW + 86_400;

struct World {
    vendor: Vendor,
    published: Published,
    platforms: Platforms,
}

impl World {
    fn new() -> Self {
        let vendor = Vendor::make(NOW);
        let published = vendor.publish(&honest());
        Self { vendor, published, platforms: no_platforms() }
    }

    fn quote(&self, report: Report) -> Vec<u8> {
        self.vendor.quoting().sign(report)
    }

    fn verify(&self, raw: &[u8], collateral: &DcapCollateral, now: u64) -> Result<u64, DcapError> {
        let quote = DcapQuote::parse(raw.to_vec())?;
        let root = dcap::Root::Simulated(self.published.certificate());
        let policy = TcbPolicy::default();
        let proven = dcap::verify(&quote, root, collateral, &policy, &self.platforms, now)?;
        Ok(proven.verdict.until)
    }

    /// Under the honest collateral, now.
    fn check(&self, raw: &[u8]) -> Result<u64, DcapError> {
        let tdx = raw[4] == 0x81;
        DcapQuote::parse(raw.to_vec())?.pck()?;
        let collateral = self.published.collateral.iter().find(|(known, _)| known.tdx == tdx);
        self.verify(raw, collateral.unwrap().1, NOW)
    }

    /// What a statement makes of the honest SGX enclave, on a platform that nobody has seen.
    fn under(&self, statement: &Statement) -> Result<u64, DcapError> {
        let raw = self.quote(Report::SgxEnclave(sgx()));
        self.verify(&raw, &self.vendor.collateral(Dcap::Sgx, statement), NOW)
    }
}

fn honest() -> Statement {
    Statement::up_to_date(NOW - 60, UNTIL)
}

fn sgx() -> EnclaveReport {
    quoting::enclave([7; 32])
}

fn tdx() -> TDReport10 {
    quoting::domain([7; 48])
}

fn tdx_15() -> TDReport15 {
    let base = tdx();
    TDReport15 { base, tee_tcb_svn2: base.tee_tcb_svn, mr_service_td: [0; 48] }
}

fn honest_reports() -> [Report; 3] {
    [Report::SgxEnclave(sgx()), Report::TD10(tdx()), Report::TD15(tdx_15())]
}

/// A signed report, spoilt in one field, and whether an error is the right one.
type Spoilt = (&'static str, Report, fn(&DcapError) -> bool);

fn spoilt() -> Vec<Spoilt> {
    let sgx_with = |change: fn(&mut EnclaveReport)| {
        let mut report = sgx();
        change(&mut report);
        Report::SgxEnclave(report)
    };
    let tdx_with = |change: fn(&mut TDReport10)| {
        let mut report = tdx();
        change(&mut report);
        Report::TD10(report)
    };
    let tdx_15_with = |change: fn(&mut TDReport15)| {
        let mut report = tdx_15();
        change(&mut report);
        Report::TD15(report)
    };
    let debug = |error: &DcapError| *error == DcapError::Debug;
    let configured = |error: &DcapError| *error == DcapError::Configured;
    let attributes = |error: &DcapError| matches!(error, DcapError::Attributes(_));
    let unknown = |error: &DcapError| matches!(error, DcapError::UnknownTcb(_));
    vec![
        ("SGX debug", sgx_with(|report| report.attributes[0] |= 2), debug),
        ("CONFIGID, first byte", sgx_with(|report| report.reserved3[32] = 1), configured),
        ("CONFIGID, last byte", sgx_with(|report| report.reserved3[95] = 1), configured),
        ("CONFIGSVN, low byte", sgx_with(|report| report.reserved4[0] = 1), configured),
        ("CONFIGSVN, high byte", sgx_with(|report| report.reserved4[1] = 1), configured),
        ("TD debug", tdx_with(|report| report.td_attributes[0] |= 1), debug),
        ("TD profiling", tdx_with(|report| report.td_attributes[0] |= 0x10), attributes),
        ("TD reserved", tdx_with(|report| report.td_attributes[4] |= 1), attributes),
        ("TD migration", tdx_with(|report| report.td_attributes[3] |= 0x20), attributes),
        ("TD service", tdx_with(|report| report.td_attributes[2] |= 2), attributes),
        ("no SEPT_VE_DISABLE", tdx_with(|report| report.td_attributes[3] = 0), attributes),
        ("an SVN below the level", tdx_with(|report| report.tee_tcb_svn[2] = 2), unknown),
        ("another SVN below", tdx_with(|report| report.tee_tcb_svn[15] = 2), unknown),
        ("an unknown module", tdx_with(|report| report.tee_tcb_svn[1] = 9), unknown),
        ("another module's signer", tdx_with(|report| report.mr_signer_seam[47] = 1), unknown),
        ("SEAM attributes", tdx_with(|report| report.seam_attributes[0] = 1), unknown),
        ("the current SVN", tdx_15_with(|report| report.tee_tcb_svn2[3] = 1), unknown),
        ("a service TD", tdx_15_with(|report| report.mr_service_td[0] = 1), attributes),
        ("TD 1.5 debug", tdx_15_with(|report| report.base.td_attributes[0] |= 1), debug),
    ]
}

#[test]
fn what_varies_per_quote_is_checked_on_a_platform_that_was_never_seen() {
    for (name, report, right) in spoilt() {
        let world = World::new();
        let error = world.check(&world.quote(report)).unwrap_err();
        assert!(right(&error), "{name}: {error}");
    }
}

/// Signed by the platform's own attestation key, so nothing but the check itself can refuse.
#[test]
fn what_varies_per_quote_is_checked_behind_a_warm_cache() {
    let world = World::new();
    for report in honest_reports() {
        world.check(&world.quote(report)).unwrap();
    }
    for (name, report, right) in spoilt() {
        // Twice: a refusal does not become an answer.
        for _ in 0..2 {
            let error = world.check(&world.quote(report.clone())).unwrap_err();
            assert!(right(&error), "{name}: {error}");
        }
    }
    for report in honest_reports() {
        world.check(&world.quote(report)).unwrap();
    }
}

#[test]
fn a_platform_is_one_however_many_enclaves_it_runs() {
    let world = World::new();
    for byte in 0..20 {
        let mut sgx = sgx();
        (sgx.mr_enclave, sgx.mr_signer, sgx.report_data) = ([byte; 32], [byte; 32], [byte; 64]);
        (sgx.isv_prod_id, sgx.isv_svn) = (byte.into(), byte.into());
        world.check(&world.quote(Report::SgxEnclave(sgx))).unwrap();
        let mut tdx = tdx();
        (tdx.mr_td, tdx.mr_config_id, tdx.mr_owner) = ([byte; 48], [byte; 48], [byte; 48]);
        (tdx.rt_mr0, tdx.rt_mr3, tdx.report_data) = ([byte; 48], [byte; 48], [byte; 64]);
        world.check(&world.quote(Report::TD10(tdx))).unwrap();
    }
    assert_eq!(world.platforms.len(), 2);
    let other = Quoting {
        attestation: world.vendor.quoting().platform.clone(),
        ..world.vendor.quoting().clone()
    };
    world.check(&other.sign(Report::SgxEnclave(sgx()))).unwrap();
    assert_eq!(world.platforms.len(), 3, "another attestation key is another platform");
}

#[test]
fn an_unsigned_change_is_refused_behind_a_warm_cache() {
    let world = World::new();
    // Header and report, the length of what follows, signature and attestation key.
    for (report, length) in honest_reports().into_iter().zip([432, 632, 702]) {
        let raw = world.quote(report);
        world.check(&raw).unwrap();
        for at in 0..length + 132 {
            let mut altered = raw.clone();
            altered[at] ^= 1 << (at % 8);
            // The world picks the collateral by this byte.
            if at != 4 {
                assert!(world.check(&altered).is_err(), "byte {at} of {length}");
            }
        }
        world.check(&raw).unwrap();
    }
}

#[test]
fn a_warm_platform_ends_with_its_collateral() {
    let world = World::new();
    let raw = world.quote(Report::SgxEnclave(sgx()));
    let collateral = world.vendor.collateral(Dcap::Sgx, &honest());
    for now in [NOW, NOW, UNTIL - 1] {
        assert_eq!(world.verify(&raw, &collateral, now), Ok(UNTIL));
    }
    for (now, expired) in [(UNTIL, true), (NOW - 61, false), (UNTIL, true)] {
        let error = world.verify(&raw, &collateral, now).unwrap_err();
        let right = match expired {
            true => matches!(error, DcapError::Expired(_)),
            false => matches!(error, DcapError::NotYetValid(_)),
        };
        assert!(right, "{now}: {error}");
    }
    assert_eq!(world.verify(&raw, &collateral, NOW), Ok(UNTIL));
}

/// New collateral counts at once, however warm the platform is under the old.
#[test]
fn what_the_vendor_takes_back_is_refused() {
    let world = World::new();
    assert_eq!(world.under(&honest()), Ok(UNTIL));
    let revoked = Statement { revoked: true, ..honest() };
    assert_eq!(world.under(&revoked), Err(DcapError::Revoked));
    let other = Statement { fmspc: [9; 6], ..honest() };
    assert!(matches!(world.under(&other), Err(DcapError::OtherPlatform(_))));
    let higher = Statement { components: 6, ..honest() };
    assert!(matches!(world.under(&higher), Err(DcapError::UnknownTcb(_))));
    let newer = Statement { quoting_enclave: 9, ..honest() };
    assert!(matches!(world.under(&newer), Err(DcapError::QuotingEnclave(_))));
    let status = |status| {
        let advisories = vec!["SIMULATED-SA-1".to_owned()];
        world.under(&Statement { status, advisories, ..honest() })
    };
    for lower in [
        TcbStatus::SWHardeningNeeded,
        TcbStatus::ConfigurationNeeded,
        TcbStatus::ConfigurationAndSWHardeningNeeded,
        TcbStatus::OutOfDate,
        TcbStatus::OutOfDateConfigurationNeeded,
    ] {
        // Twice: the second finds the platform known, and its verdict is judged again.
        for _ in 0..2 {
            let Err(DcapError::NotAdmitted(refused)) = status(lower) else { panic!("{lower}") };
            assert_eq!(
                (refused.status, refused.advisories),
                (lower, vec!["SIMULATED-SA-1".to_owned()])
            );
        }
    }
    assert_eq!(status(TcbStatus::Revoked), Err(DcapError::RevokedTcb));
    assert_eq!(world.under(&honest()), Ok(UNTIL));
}

#[test]
fn a_simulated_quote_is_broken_under_intels_root() {
    let world = World::new();
    let quote = DcapQuote::parse(world.quote(Report::SgxEnclave(sgx()))).unwrap();
    let collateral = world.vendor.collateral(Dcap::Sgx, &honest());
    let (policy, vendor) = (TcbPolicy::default(), dcap::Root::Vendor);
    let refused = dcap::verify(&quote, vendor, &collateral, &policy, &world.platforms, NOW);
    let refused = refused.unwrap_err();
    let right = matches!(refused, DcapError::BrokenChain(_) | DcapError::Collateral(_));
    assert!(right, "{refused}");
}

/// A known platform under one root is unknown under another.
#[test]
fn a_quoting_enclave_that_nobody_vouches_for_is_refused() {
    let world = World::new();
    let stranger = Vendor::make(NOW);
    let forged =
        Quoting { chain: world.vendor.quoting().chain.clone(), ..stranger.quoting().clone() };
    let raw = forged.sign(Report::SgxEnclave(sgx()));
    assert_eq!(world.check(&raw), Err(DcapError::QuotingEnclaveReport));
    let raw = stranger.quoting().sign(Report::SgxEnclave(sgx()));
    assert!(matches!(world.check(&raw), Err(DcapError::BrokenChain(_))));
    let mut named = world.quote(Report::SgxEnclave(sgx()));
    let chain = named.windows(6).position(|window| window == b"-----B").unwrap();
    named[chain - 6] = 3;
    assert_eq!(world.check(&named), Err(DcapError::NoCertificates(3)));
    let mut unreadable = world.quote(Report::SgxEnclave(sgx()));
    unreadable[chain] = b'x';
    assert_eq!(world.check(&unreadable), Err(DcapError::UnreadableCertificates));
}

#[test]
fn a_root_comes_back_from_its_document_and_quotes_the_same() {
    let root = Root::make(NOW);
    let back = Root::from_json(&root.to_json()).unwrap();
    assert_eq!(back.published().files(), root.published().files());
    for tee in [Imitated::Sgx, Imitated::Tdx] {
        let evidence = root.evidence(tee, &[1; 32], [2; 64]);
        assert_eq!(back.evidence(tee, &[1; 32], [2; 64]), evidence);
    }
    // The signatures of SEV-SNP's reports are not deterministic.
    let [one, other] = [&root, &back].map(|root| snp_report(root, [2; 64]));
    assert_eq!(one.signed(), other.signed());
    assert_eq!(one.certificate(), other.certificate());
    let text = String::from_utf8(root.to_json().to_vec()).unwrap();
    assert!(!format!("{root:?}").contains(&text[17..49]), "keys are not printed");
    let other: serde_json::Value = serde_json::from_slice(&Root::make(NOW).to_json()).unwrap();
    let with = |name: &str, value: serde_json::Value| {
        let mut document: serde_json::Value = serde_json::from_str(&text).unwrap();
        document[name] = value;
        document.to_string()
    };
    for bad in [
        String::new(),
        "{}".to_owned(),
        text[1..].to_owned(),
        text.replace("\"root.pem\"", "\"x\""),
        text.replace("\"snp-Milan-vcek.crl\"", "\"x\""),
        with("snpKey", "".into()),
        with("snpKey", "00".into()),
        with("snpKey", other["snpKey"].clone()),
        with("published", other["published"].clone()),
    ] {
        assert_eq!(Root::from_json(bad.as_bytes()).unwrap_err(), RootError);
    }
}

fn snp_report(root: &Root, report_data: [u8; 64]) -> SnpEvidence {
    SnpEvidence::parse(&root.evidence(Imitated::Snp, &[1; 32], report_data)).unwrap()
}

/// What a vendor says of its SNP platform is what the verifier goes by.
#[test]
fn an_snp_platform_counts_while_its_vendor_says_so() {
    let vendor = Vendor::make(NOW);
    let (data, report) = ([2; 64], snp_report(&vendor.root(), [2; 64]));
    let verify = |published: &Published, now| {
        let roots = Roots::insecure_trusting_simulated(Product::Milan, &published.snp.root);
        let policy = SnpPolicy::admitting_none();
        let policy = policy.insecure_admit_simulated(super::snp::PRODUCT, super::snp::FIRMWARE);
        let verifier = SnpVerifier::new(roots, policy, std::num::NonZeroUsize::MIN);
        let collateral = published.snp_collateral(&report).unwrap();
        verifier.verify(&report, collateral, &data, now)
    };
    let honest = vendor.publish(&honest());
    assert_eq!(verify(&honest, NOW).unwrap().verified_until(), UNTIL);
    for (now, problem) in
        [(UNTIL, ChainProblem::Expired(UNTIL)), (NOW - 61, ChainProblem::NotYetValid(NOW - 60))]
    {
        let refused = verify(&honest, now).unwrap_err();
        let SnpError::Chain { part: Part::RevocationList, problem: why } = refused else {
            panic!("{now}: {refused}")
        };
        assert_eq!(why, problem);
    }
    let revoked = vendor.publish(&Statement { revoked: true, ..self::honest() });
    let refused = verify(&revoked, NOW).unwrap_err();
    let right =
        matches!(refused, SnpError::Chain { part: Part::Signer, problem: ChainProblem::Revoked });
    assert!(right, "{refused}");
    let stranger = Vendor::make(NOW).publish(&self::honest());
    assert!(stranger.snp_collateral(&report).is_none(), "another chip's report");
}

#[test]
fn what_is_published_is_read_by_names_alone() {
    let files = Root::make(NOW).published().files();
    let names: Vec<_> = files.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "root.pem",
            "sgx-5e5a3e000000-platform.json",
            &format!("snp-Milan-{}-4-0-24-219.der", "5e".repeat(64)),
            "snp-Milan-vcek.crl",
            "snp-Milan-vcek.pem",
            "tdx-5e5a3e000000-platform.json",
        ]
    );
    let with = |name: &str, bytes: &[u8]| {
        let mut files = files.clone();
        files.insert(name.to_owned(), bytes.to_vec());
        Published::from_files(&files).unwrap_err()
    };
    assert!(matches!(with("root.pem", b"no certificate"), PublishedError::Root));
    assert!(matches!(with("other.json", b"{}"), PublishedError::Name(_)));
    assert!(matches!(with(names[1], b"{}"), PublishedError::Collateral(..)));
    for at in [3, 4] {
        assert!(matches!(with(names[at], b"{}"), PublishedError::Snp(..)), "{}", names[at]);
    }
    assert!(matches!(with("snp-Genoa-vcek.crl", b""), PublishedError::Name(_)));
    for at in [2, 3, 4] {
        let mut fewer = files.clone();
        fewer.remove(names[at]);
        match Published::from_files(&fewer) {
            Err(PublishedError::Missing(name)) => assert_eq!(name, names[at]),
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(Published::from_files(&Default::default()), Err(PublishedError::Root)));
    let nowhere = Published::read(std::path::Path::new("/nowhere/at/all"));
    assert!(matches!(nowhere, Err(PublishedError::Io(_))));
}
