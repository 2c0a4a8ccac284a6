//! Documents as attesters send them, and as they should not.

use serde_json::{Value, json};

use super::*;

fn document() -> Value {
    World::milan().quote().to_json()
}

fn refused(alter: impl FnOnce(&mut Value)) -> SnpError {
    let mut document = document();
    alter(&mut document);
    SnpEvidence::parse(&document).unwrap_err()
}

#[test]
fn a_document_is_read_as_it_was_written() {
    for key in [SigningKey::Vcek, SigningKey::Vlek] {
        let world = World::of(&MILAN, key);
        let quote = world.quote();
        let read = SnpEvidence::parse(&quote.to_json()).unwrap();
        assert_eq!((read.report(), read.certificate()), (quote.report(), quote.certificate()));
        assert_eq!((read.signing_key(), read.product().unwrap()), (key, Product::Milan));
        world.verify(&read).unwrap();
    }
}

/// The names and shapes that Confidential Containers' attester writes: crate `sev` 6.3.1 with serde.
#[test]
fn a_document_has_the_form_of_confidential_containers() {
    let document = document();
    let report = &document["attestation_report"];
    let names: std::collections::BTreeSet<&str> =
        report.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = "author_key_digest chip_id committed committed_tcb cpuid_fam_id cpuid_mod_id \
        cpuid_step current current_mit_vector current_tcb family_id guest_svn host_data \
        id_key_digest image_id key_info launch_mit_vector launch_tcb measurement plat_info policy \
        report_data report_id report_id_ma reported_tcb sig_algo signature version vmpl";
    assert_eq!(names, expected.split_whitespace().collect());
    assert_eq!(report["policy"], json!(0x3_0000));
    assert_eq!(report["report_data"], json!(REPORT_DATA.to_vec()));
    let tcb = json!({"fmc": null, "bootloader": 3, "tee": 1, "snp": 8, "microcode": 115});
    assert_eq!(report["reported_tcb"], tcb);
    assert_eq!(report["signature"]["r"].as_array().map(Vec::len), Some(72));
    assert_eq!(document["cert_chain"][0]["cert_type"], "VCEK");
    assert!(document["cert_chain"][0]["data"][0].is_u64());
}

#[test]
fn a_document_without_a_certificate_asks_for_one() {
    let world = World::milan();
    let mut document = document();
    for none in [Value::Null, json!([])] {
        document["cert_chain"] = none;
        let evidence = SnpEvidence::parse(&document).unwrap();
        let refused = world.verify(&evidence);
        assert_refused!(refused, Err(SnpError::NoCertificate(SigningKey::Vcek)));
        let url = kds::missing_certificate("https://cache.example", &evidence).unwrap().unwrap();
        assert!(url.starts_with("https://cache.example/vcek/v1/Milan/0909"), "{url}");
    }
}

#[test]
fn a_certificate_from_the_collateral_counts_as_well() {
    let world = World::milan();
    let evidence = SnpEvidence::from_report(world.quote().report(), None).unwrap();
    let with = world.collateral.clone().with_endorsement(world.platform.certificate().to_vec());
    let verifier = world.verifier();
    verifier.verify(&evidence, &with, &REPORT_DATA, NOW).unwrap();
    let others = World::milan().platform.certificate().to_vec();
    let with = world.collateral.clone().with_endorsement(others);
    let refused = verifier.verify(&evidence, &with, &REPORT_DATA, NOW);
    assert_refused!(refused, Err(SnpError::Signature));
}

#[test]
fn a_vlek_or_a_masked_chip_has_no_address() {
    let vlek = World::of(&MILAN, SigningKey::Vlek);
    let bare = SnpEvidence::from_report(vlek.quote().report(), None).unwrap();
    let refused = kds::missing_certificate(kds::AMD_KDS, &bare);
    assert_refused!(refused, Err(SnpError::NoCertificate(SigningKey::Vlek)));
    let masked = World::milan().altered(|report| report.chip_id = [0; 64]);
    let masked = SnpEvidence::from_report(masked.report(), None).unwrap();
    let refused = kds::missing_certificate(kds::AMD_KDS, &masked);
    assert_refused!(refused, Err(SnpError::NoCertificate(SigningKey::Vcek)));
}

/// A version 2 report has no place for these fields, so nobody signed them.
#[test]
fn fields_that_are_no_part_of_the_signed_bytes_are_not_believed() {
    let world = World::milan();
    let mut document = world.altered(|report| report.version = 2).to_json();
    let report = &mut document["attestation_report"];
    report["cpuid_fam_id"] = json!(0x1A);
    report["cpuid_mod_id"] = json!(0x02);
    report["launch_mit_vector"] = json!(1);
    for tcb in ["reported_tcb", "current_tcb", "committed_tcb", "launch_tcb"] {
        report[tcb]["fmc"] = json!(200);
    }
    document["anything"] = json!("else");
    let evidence = SnpEvidence::parse(&document).unwrap();
    assert_eq!(evidence.product().unwrap(), Product::Milan);
    assert_eq!(evidence.reported_tcb().fmc, None);
    world.verify(&evidence).unwrap();
}

#[test]
fn every_field_is_signed() {
    let world = World::milan();
    let document = document();
    for (name, value) in document["attestation_report"].as_object().unwrap() {
        let mut altered = document.clone();
        let field = &mut altered["attestation_report"][name];
        match value {
            Value::Number(number) => *field = json!(number.as_u64().unwrap() ^ 1),
            Value::Array(_) => field[0] = json!(field[0].as_u64().unwrap() ^ 1),
            Value::Object(parts) => {
                let part = parts.keys().find(|part| *part != "fmc").unwrap();
                let first = &mut field[part];
                let number = if first.is_array() { &mut first[0] } else { first };
                *number = json!(number.as_u64().unwrap() ^ 1);
            }
            // A field of a later version than the report's.
            Value::Null => continue,
            Value::Bool(_) | Value::String(_) => panic!("{name} is of no known form"),
        }
        let refused = SnpEvidence::parse(&altered).and_then(|evidence| world.verify(&evidence));
        assert!(refused.is_err(), "{name}");
    }
}

#[test]
fn other_tables_of_certificates_are_refused_or_passed_over() {
    let two = refused(|document| {
        let entry = document["cert_chain"][0].clone();
        document["cert_chain"].as_array_mut().unwrap().push(entry);
    });
    assert_refused!(two, SnpError::TwoCertificates(SigningKey::Vcek));
    let quote = World::milan().quote();
    let mut document = quote.to_json();
    let table = document["cert_chain"].as_array_mut().unwrap();
    let other = json!({"OTHER": "ecae0c0f-9502-43b1-afa2-0ae2e0d565b6"});
    for kind in [json!("ARK"), json!("ASK"), json!("VLEK"), json!("CRL"), other] {
        table.push(json!({"cert_type": kind, "data": [1, 2, 3]}));
    }
    let evidence = SnpEvidence::parse(&document).unwrap();
    assert_eq!(evidence.certificate(), quote.certificate());
}

#[test]
fn documents_of_another_form_are_refused() {
    for odd in [json!(null), json!({}), json!([]), json!({"attestation_report": null})] {
        assert_refused!(SnpEvidence::parse(&odd), Err(SnpError::Document(_)));
    }
    let report: [fn(&mut Value); 6] = [
        |it| it["measurement"].as_array_mut().unwrap().truncate(47),
        |it| it["measurement"].as_array_mut().unwrap().push(json!(0)),
        |it| it["report_data"] = json!("AAAA"),
        |it| it["vmpl"] = json!(-1),
        |it| it["policy"] = json!(1.5),
        |it| drop(it.as_object_mut().unwrap().remove("chip_id")),
    ];
    for alter in report {
        let refused = refused(|document| alter(&mut document["attestation_report"]));
        assert_refused!(refused, SnpError::Document(_));
    }
    let refused = refused(|document| document["cert_chain"] = json!([{"cert_type": "KEY"}]));
    assert_refused!(refused, SnpError::Document(_));
}

#[test]
fn a_report_of_no_known_processor_is_refused() {
    let odd = refused(|document| document["attestation_report"]["cpuid_fam_id"] = json!(0));
    assert_refused!(odd, SnpError::Report(_));
    let none = refused(|document| document["attestation_report"]["cpuid_fam_id"] = Value::Null);
    assert_refused!(none, SnpError::Report(_));
}

#[test]
fn a_document_cut_off_anywhere_is_refused() {
    let text = document().to_string();
    for length in 0..text.len() {
        let cut = &text[..length];
        let read = serde_json::from_str(cut).ok().map(|document| SnpEvidence::parse(&document));
        assert!(!matches!(read, Some(Ok(_))), "{length} bytes");
    }
}

#[test]
fn collateral_is_two_certificates() {
    let chain = include_bytes!("../../../../../tests/fixtures/evidence/snp/cert_chain_milan");
    let one = &chain[..chain.len() / 2];
    let three = [chain.as_slice(), chain].concat();
    for odd in [&[], one, &three, b"nothing".as_slice()] {
        assert_refused!(SnpCollateral::from_kds(odd, &[]), Err(SnpError::ChainForm));
    }
    SnpCollateral::from_kds(chain, &[]).unwrap();
}
