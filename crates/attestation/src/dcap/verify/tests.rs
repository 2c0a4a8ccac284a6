//! Quotes of real machines, recorded, at the time when they were recorded.

use super::*;
use crate::dcap::{CollateralError, no_platforms};

/// A quote, its collateral, and when both counted.
struct Sample {
    raw: Vec<u8>,
    collateral: serde_json::Value,
    now: u64,
}

macro_rules! sample {
    ($name:literal, $now:literal) => {
        Sample {
            raw: include_bytes!(concat!("../../../../../tests/fixtures/evidence/", $name)).to_vec(),
            collateral: serde_json::from_slice(include_bytes!(concat!(
                "../../../../../tests/fixtures/evidence/",
                $name,
                "_collateral.json"
            )))
            .unwrap(),
            now: $now,
        }
    };
}

fn sgx() -> Sample {
    sample!("sgx_quote", 1_750_416_971)
}

fn tdx() -> Sample {
    sample!("tdx_quote", 1_750_415_547)
}

/// Version 5, with the report of TDX 1.5 and its extension.
fn tdx_15() -> Sample {
    sample!("tdx_quote_td15ex", 1_791_504_586)
}

fn samples() -> [(&'static str, Sample); 3] {
    [("sgx", sgx()), ("tdx", tdx()), ("tdx 1.5", tdx_15())]
}

/// The machine of the SGX sample was not quite up to date.
fn policy() -> TcbPolicy {
    let admission = "ConfigurationAndSWHardeningNeeded:INTEL-SA-00289,INTEL-SA-00615";
    TcbPolicy::admitting(vec![admission.parse().unwrap()])
}

impl Sample {
    fn collateral(&self) -> DcapCollateral {
        DcapCollateral::from_json(self.collateral.to_string().as_bytes()).unwrap()
    }

    fn verify_raw(&self, raw: Vec<u8>) -> Result<Proven, DcapError> {
        let (quote, collateral) = (DcapQuote::parse(raw)?, self.collateral());
        quote.pck()?;
        verify(&quote, Root::Vendor, &collateral, &policy(), &no_platforms(), self.now)
    }

    fn verify(&self) -> Result<Proven, DcapError> {
        self.verify_raw(self.raw.clone())
    }

    fn verify_at(&self, now: u64) -> Result<Proven, DcapError> {
        Self { raw: self.raw.clone(), collateral: self.collateral.clone(), now }.verify()
    }

    /// One bit of the collateral's hexadecimal or text member, flipped.
    fn spoil(mut self, member: &str, at: usize) -> Self {
        let mut text = self.collateral[member].as_str().unwrap().as_bytes().to_vec();
        text[at] = if text[at] == b'0' { b'1' } else { b'0' };
        self.collateral[member] = String::from_utf8(text).unwrap().into();
        self
    }
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Vector {
    file: String,
    kind: u8,
    measurement: String,
    enclave_id: String,
}

#[test]
fn real_quotes_verify_and_give_the_ids_on_record() {
    let vectors = include_bytes!("../../../../../tests/fixtures/evidence/enclave_ids.json");
    let vectors: Vec<Vector> = serde_json::from_slice(vectors).unwrap();
    let samples = [("sgx_quote", sgx()), ("tdx_quote", tdx()), ("tdx_quote_td15ex", tdx_15())];
    assert_eq!(vectors.len(), samples.len());
    for (vector, (file, sample)) in vectors.iter().zip(&samples) {
        assert_eq!(vector.file, *file);
        let proven = sample.verify().unwrap();
        assert_eq!(proven.kind as u8, vector.kind, "{file}");
        assert_eq!(alloy_primitives::hex::encode(&proven.measurement), vector.measurement);
        let id = sesame_domain::enclave_id(proven.kind, &proven.measurement);
        assert_eq!(id.to_string(), vector.enclave_id, "{file}");
        assert!(sample.now < proven.verdict.until, "{file}");
    }
}

#[test]
fn only_a_platform_that_is_up_to_date_counts_unless_the_operator_says_more() {
    let strict = |sample: Sample| {
        let (quote, collateral) = (DcapQuote::parse(sample.raw.clone())?, sample.collateral());
        let (policy, platforms) = (TcbPolicy::default(), no_platforms());
        verify(&quote, Root::Vendor, &collateral, &policy, &platforms, sample.now)
    };
    assert!(strict(tdx()).is_ok() && strict(tdx_15()).is_ok());
    let Err(DcapError::NotAdmitted(refused)) = strict(sgx()) else { panic!("it is admitted") };
    assert_eq!(refused.status.to_string(), "ConfigurationAndSWHardeningNeeded");
    assert_eq!(refused.advisories, ["INTEL-SA-00289", "INTEL-SA-00615"]);
}

/// Header and report are signed by the attestation key, the quoting enclave's report by the platform, its certificate by Intel.
#[test]
fn one_flipped_bit_in_any_signed_region_refuses() {
    use DcapError::{AttestationKey, Malformed, NoCertificates, QuotingEnclaveReport, Signature};

    for (name, sample) in samples() {
        let quote = DcapQuote::parse(sample.raw.clone()).unwrap();
        let report = if name == "tdx 1.5" { 54 } else { 48 };
        let signed = quote.signed().len();
        let of = |at: usize| {
            let mut raw = sample.raw.clone();
            raw[at] ^= 1 << (at % 8);
            sample.verify_raw(raw).unwrap_err()
        };
        for at in 0..report {
            let error = of(at);
            assert!(matches!(error, Malformed(_) | Signature), "{name}, header {at}: {error}");
        }
        for at in report..signed {
            assert_eq!(of(at), Signature, "{name}, report {at}");
        }
        // The length of what follows (4 bytes), then signature and attestation key.
        for at in signed + 4..signed + 68 {
            assert_eq!(of(at), Signature, "{name}, signature {at}");
        }
        for at in signed + 68..signed + 132 {
            assert_eq!(of(at), AttestationKey, "{name}, attestation key {at}");
        }
        // From version 4 on, a type and a length of their own come before the quoting enclave's report.
        let qe = signed + if name == "sgx" { 132 } else { 138 };
        for at in qe..qe + 448 {
            assert_eq!(of(at), QuotingEnclaveReport, "{name}, quoting enclave {at}");
        }
        for at in qe + 450..qe + 482 {
            assert_eq!(of(at), AttestationKey, "{name}, what the quoting enclave adds {at}");
        }
        for at in (qe + 482..qe + 484).rev() {
            assert!(matches!(of(at), NoCertificates(_)), "{name}, type of certificates {at}");
        }
    }
}

/// The platform's certificate comes first in the chain; base64 has a few bits that say nothing at the end of each.
#[test]
fn no_altered_platform_certificate_counts() {
    for (name, sample) in samples() {
        let begin = b"-----BEGIN CERTIFICATE-----\n";
        let at = sample.raw.windows(begin.len()).position(|window| window == begin).unwrap();
        let mut refused = 0;
        for at in (at + begin.len()..at + begin.len() + 1_400).step_by(3) {
            let mut raw = sample.raw.clone();
            if raw[at] == b'\n' {
                continue;
            }
            raw[at] = if raw[at] == b'A' { b'B' } else { b'A' };
            let error = sample.verify_raw(raw).unwrap_err();
            let right = matches!(
                error,
                DcapError::UnreadableCertificates
                    | DcapError::BrokenChain(_)
                    | DcapError::Expired(_)
                    | DcapError::NotYetValid(_)
            );
            assert!(right, "{name} at {at}: {error}");
            refused += 1;
        }
        assert!(refused > 400, "{name}: {refused}");
    }
}

#[test]
fn a_quote_cut_off_anywhere_is_malformed() {
    for (name, sample) in samples() {
        let end = sample.raw.iter().rposition(|byte| *byte != 0).unwrap();
        for length in 0..end {
            let error = sample.verify_raw(sample.raw[..length].to_vec()).unwrap_err();
            assert!(matches!(error, DcapError::Malformed(_)), "{name}, {length} bytes: {error}");
        }
        let long = [&sample.raw[..], &[0; 16 << 10]].concat();
        assert!(matches!(sample.verify_raw(long), Err(DcapError::Malformed(_))), "{name}");
    }
}

#[test]
fn a_quote_counts_while_its_collateral_counts() {
    for (name, sample) in samples() {
        let until = sample.verify().unwrap().verdict.until;
        assert!(until <= sample.collateral().until(), "{name}");
        assert!(sample.verify_at(until - 1).is_ok(), "{name}");
        let late = sample.verify_at(until).unwrap_err();
        assert!(matches!(late, DcapError::Expired(_)), "{name}: {late}");
        let early = sample.verify_at(1_600_000_000).unwrap_err();
        assert!(matches!(early, DcapError::NotYetValid(_)), "{name}: {early}");
    }
}

#[test]
fn collateral_of_another_platform_or_tee_is_refused() {
    for (name, mut sample, other) in [
        ("sgx", sgx(), tdx()),
        ("tdx", tdx(), sgx()),
        ("tdx, other model", tdx(), sample!("tdx_quote_outdated", 0)),
    ] {
        sample.collateral = other.collateral;
        let error = sample.verify_at(sample.collateral().until() - 1).unwrap_err();
        assert!(matches!(error, DcapError::OtherPlatform(_)), "{name}: {error}");
    }
}

#[test]
fn altered_collateral_is_refused() {
    for member in [
        "root_ca_crl",
        "pck_crl",
        "tcb_info_signature",
        "qe_identity_signature",
        "tcb_info",
        "qe_identity",
    ] {
        for (name, sample) in samples() {
            let last = sample.collateral[member].as_str().unwrap().len() - 1;
            // Within the numbers of the texts, within the signatures of the rest.
            let at = match member {
                "tcb_info" => {
                    sample.collateral[member].as_str().unwrap().rfind("svn\":").unwrap() + 5
                }
                "qe_identity" => {
                    sample.collateral[member].as_str().unwrap().rfind("mrsigner\":\"").unwrap() + 11
                }
                _ => last,
            };
            let error = sample.spoil(member, at).verify().unwrap_err();
            let right = matches!(error, DcapError::Collateral(_) | DcapError::BrokenChain(_));
            assert!(right, "{name}, {member}: {error}");
        }
    }
}

#[test]
fn collateral_that_does_not_say_until_when_it_counts_is_refused() {
    let read = |change: fn(&mut serde_json::Value)| {
        let mut json = tdx().collateral;
        change(&mut json);
        DcapCollateral::from_json(json.to_string().as_bytes()).unwrap_err()
    };
    let undated = r#"{"nextUpdate":"soon"}"#;
    for error in [
        read(|json| json["tcb_info"] = "{}".into()),
        read(|json| json["qe_identity"] = "[".into()),
        read(|json| json["pck_crl"] = "00".into()),
        read(|json| json["root_ca_crl"] = "zz".into()),
        read(|json| *json = serde_json::json!([])),
    ] {
        assert!(matches!(error, CollateralError::Malformed(_)), "{error}");
    }
    let mut json = tdx().collateral;
    json["tcb_info"] = undated.into();
    let error = DcapCollateral::from_json(json.to_string().as_bytes()).unwrap_err();
    assert_eq!(error, CollateralError::NoExpiry("TCB info"));
}

#[test]
fn a_platform_below_every_known_level_is_refused() {
    let sample = sample!("tdx_quote_outdated", 0);
    let now = sample.collateral().until() - 1;
    assert!(matches!(sample.verify_at(now), Err(DcapError::UnknownTcb(_))));
}

#[test]
fn the_certificates_name_the_platform_and_the_root() {
    for ((name, sample), expected) in samples().into_iter().zip([
        "sgx-00a067110000-processor",
        "tdx-b0c06f000000-platform",
        "tdx-b0c06f000000-platform",
    ]) {
        let quote = DcapQuote::parse(sample.raw).unwrap();
        let pck = quote.pck().unwrap();
        assert_eq!(pck.platform.to_string(), expected, "{name}");
        assert_eq!(pck.root, INTEL_ROOT, "{name}");
        let file = pck.platform.file_name();
        assert_eq!(crate::dcap::DcapPlatform::of_file(&file), Some(pck.platform));
    }
    for name in [
        "",
        "sgx-00a067110000-processor",
        "sgx-00A067110000-platform.json",
        "sgx-0-platform.json",
        "snp-00a067110000-platform.json",
        "sgx-00a067110000-root.json",
        "sgx-00a067110000-platform-1.json",
    ] {
        assert_eq!(crate::dcap::DcapPlatform::of_file(name), None, "{name}");
    }
}

/// What is on record verifies on a platform that was seen before, too, and another quote of it costs no second full check.
#[test]
fn a_warm_platform_checks_the_signature_alone_and_still_refuses() {
    for (name, sample) in samples() {
        let (platforms, collateral) = (no_platforms(), sample.collateral());
        let check = |raw: &[u8], now| {
            let quote = DcapQuote::parse(raw.to_vec())?;
            verify(&quote, Root::Vendor, &collateral, &policy(), &platforms, now)
        };
        let until = check(&sample.raw, sample.now).unwrap().verdict.until;
        assert!(check(&sample.raw, sample.now).is_ok());
        assert_eq!(platforms.len(), 1, "{name}");
        let signed = DcapQuote::parse(sample.raw.clone()).unwrap().signed().len();
        for at in (0..signed + 580).filter(|at| !(signed..signed + 4).contains(at)) {
            let mut raw = sample.raw.clone();
            raw[at] ^= 1 << (at % 8);
            // The length of the quoting enclave's own data, and the types around it, are not signed.
            if check(&raw, sample.now).is_ok() {
                let open = at >= signed + 132;
                assert!(open && sample.verify_raw(raw).is_ok(), "{name}: {at}");
            }
        }
        assert_eq!(platforms.len(), 1, "{name}: what is refused is not remembered");
        assert!(matches!(check(&sample.raw, until), Err(DcapError::Expired(_))), "{name}");
        assert_eq!(platforms.len(), 0, "{name}: what has expired is forgotten");
    }
}

/// What is checked before anything is fetched: all signatures from the root to the report, and of the quote whatever they cover.
#[test]
fn a_quote_that_is_not_signed_up_to_the_root_is_refused_without_collateral() {
    for (name, sample) in samples() {
        let check = |raw: Vec<u8>| verify_signatures(&DcapQuote::parse(raw)?, Root::Vendor);
        check(sample.raw.clone()).unwrap();
        let quote = DcapQuote::parse(sample.raw.clone()).unwrap();
        let (signed, qe) = (quote.signed().len(), if name == "sgx" { 132 } else { 138 });
        let chain = sample.raw.windows(6).position(|bytes| bytes == b"-----B").unwrap();
        let flipped = |at: usize| {
            let mut raw = sample.raw.clone();
            raw[at] ^= 1 << (at % 8);
            check(raw)
        };
        for at in (0..signed).chain(signed + 4..signed + 132) {
            assert!(flipped(at).is_err(), "{name} at {at}");
        }
        // The quoting enclave's report, the platform's signature over it, and its own data.
        for at in signed + qe..signed + qe + 448 {
            assert_eq!(flipped(at), Err(DcapError::QuotingEnclaveReport), "{name} at {at}");
        }
        for at in signed + qe + 450..signed + qe + 482 {
            assert_eq!(flipped(at), Err(DcapError::AttestationKey), "{name} at {at}");
        }
        // The certificates, in base64: a bit that is not part of a signed byte may be flipped.
        let end = chain + quote.chain().len();
        let begun = b"-----BEGIN CERTIFICATE-----".len();
        let altered = (chain + begun..end - begun).step_by(5).filter(|at| {
            let mut raw = sample.raw.clone();
            raw[*at] = if raw[*at] == b'A' { b'B' } else { b'A' };
            check(raw).is_err()
        });
        let looked_at = (end - chain - 2 * begun) / 5;
        assert!(altered.count() * 10 > looked_at * 9, "{name}");
    }
}

/// A stranger who makes all of a quote, its certificates included, and puts Intel's root at their end.
#[test]
fn certificates_of_ones_own_under_intels_root_are_refused_without_collateral() {
    let (one, other) = (sgx(), tdx());
    let parts = |sample: &Sample| {
        let quote = DcapQuote::parse(sample.raw.clone()).unwrap();
        certificates(quote.chain()).unwrap()
    };
    let [ones, others] = [parts(&one), parts(&other)];
    let read = |der| Signed::read(der).unwrap();
    read(&ones[0]).verify(&read(&ones[1])).unwrap();
    read(&ones[1]).verify(&read(&ones[2])).unwrap();
    let refused = read(&ones[0]).verify(&read(&others[1])).unwrap_err();
    assert!(matches!(refused, DcapError::BrokenChain(_)), "{refused}");
    let refused = read(&ones[0]).verify(&read(&ones[2])).unwrap_err();
    assert!(matches!(refused, DcapError::BrokenChain(_)), "{refused}");
}
