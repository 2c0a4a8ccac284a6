//! Reports of simulated platforms: the verdict, and every single thing that a report may not say.

use sesame_domain::TeeKind;
use sev::firmware::{
    guest::{GuestPolicy, KeyInfo, PlatformInfo},
    host::TcbVersion,
};

use super::*;

#[test]
fn an_honest_report_of_each_product_and_key_counts() {
    for product in Product::ALL {
        let amd = amd(product);
        for key in [SigningKey::Vcek, SigningKey::Vlek] {
            let world = World::of(&amd, key);
            let verdict = world.verify(&world.quote()).unwrap();
            assert_eq!((verdict.root(), verdict.kind()), (Root::Simulated, TeeKind::Simulated));
            assert_eq!((verdict.product(), verdict.tcb()), (product, tcb(product)), "{key}");
            assert_eq!(verdict.verified_until(), MONTH.end);
            let expected = [[3].as_slice(), &MEASUREMENT, &HOST_DATA].concat();
            assert_eq!(verdict.measurement(), expected);
        }
    }
}

#[test]
fn host_data_and_measurement_each_make_another_enclave() {
    let world = World::milan();
    let base = world.verify(&world.quote()).unwrap().measurement();
    for byte in [0x90, 0xBF, 0xC0, 0xDF] {
        let mut bytes = *world.quote().report();
        bytes[byte] ^= 1;
        let other = world.verify(&world.signed(bytes)).unwrap().measurement();
        assert_ne!(other, base, "byte {byte:#x}");
    }
}

#[test]
fn a_report_for_another_challenge_is_refused() {
    let world = World::milan();
    for bit in 0..64 * 8 {
        let mut other = REPORT_DATA;
        other[bit / 8] ^= 1 << (bit % 8);
        let evidence = world.altered(|report| report.report_data = other);
        if bit % 64 == 0 {
            assert_refused!(world.refusal(&evidence), SnpError::WrongReportData);
        }
        assert_refused!(world.verify(&evidence), Err(SnpError::WrongReportData));
    }
}

#[test]
fn debugging_is_refused_whatever_the_policy() {
    let mut world = World::milan();
    let evidence = world.altered(|report| report.policy.set_debug_allowed(true));
    assert_refused!(world.refusal(&evidence), SnpError::Debug);
    world.policy = world
        .policy
        .allowing_migration_agents()
        .insecure_admit_simulated(Product::Milan, Tcb::default());
    assert_refused!(world.refusal(&evidence), SnpError::Debug);
}

#[test]
fn migration_agents_are_refused_until_the_operator_allows_them() {
    let mut world = World::milan();
    let permitted = world.altered(|report| report.policy.set_migrate_ma_allowed(true));
    let there = world.altered(|report| report.report_id_ma = [1; 32]);
    for evidence in [&permitted, &there] {
        assert_refused!(world.refusal(evidence), SnpError::MigrationAgent);
    }
    world.policy = world.policy.allowing_migration_agents();
    for evidence in [&permitted, &there] {
        world.verify(evidence).unwrap();
    }
}

#[test]
fn only_the_most_trusted_part_of_a_guest_may_ask() {
    let world = World::milan();
    for vmpl in [1, 2, 3, 4, u32::MAX] {
        let evidence = world.altered(|report| report.vmpl = vmpl);
        assert_refused!(world.refusal(&evidence), SnpError::Vmpl(got) if got == vmpl);
    }
}

#[test]
fn what_only_narrows_the_host_is_not_judged() {
    let world = World::milan();
    for bit in [0, 8, 16, 20, 21, 22, 23, 24, 25] {
        let policy = |report: &mut AttestationReport| {
            report.policy = GuestPolicy::from(u64::from(report.policy) ^ (1 << bit));
        };
        world.verify(&world.altered(policy)).unwrap();
    }
    for bit in [0, 1, 2, 3, 4, 5, 7] {
        let info = |report: &mut AttestationReport| report.plat_info = PlatformInfo::from(1 << bit);
        world.verify(&world.altered(info)).unwrap();
    }
}

#[test]
fn bits_without_a_meaning_are_refused() {
    let world = World::milan();
    for bit in 26..64 {
        let mut bytes = *world.quote().report();
        bytes[8 + bit / 8] ^= 1 << (bit % 8);
        let refusal = world.refusal(&world.signed(bytes));
        assert_refused!(refusal, SnpError::Reserved("guest policy"));
    }
    let mut without_the_one = *world.quote().report();
    without_the_one[10] ^= 1 << 1;
    let refusal = world.refusal(&world.signed(without_the_one));
    assert_refused!(refusal, SnpError::Reserved("guest policy"));
    for bit in (8..64).chain([6]) {
        let info = |report: &mut AttestationReport| report.plat_info = PlatformInfo::from(1 << bit);
        let refusal = world.refusal(&world.altered(info));
        assert_refused!(refusal, SnpError::Reserved("platform info"));
    }
    for bit in 5..32 {
        let info = |report: &mut AttestationReport| report.key_info = KeyInfo::from(1 << bit);
        let refusal = world.refusal(&world.altered(info));
        assert_refused!(refusal, SnpError::Reserved("key info"));
    }
}

#[test]
fn reports_that_are_not_signed_as_they_should_be_are_refused() {
    let world = World::milan();
    for algorithm in [0, 2, u32::MAX] {
        let evidence = world.altered(|report| report.sig_algo = algorithm);
        let refusal = world.refusal(&evidence);
        assert_refused!(refusal, SnpError::SignatureAlgorithm(got) if got == algorithm);
    }
    let masked = world.altered(|report| report.key_info = KeyInfo::from(1 << 1));
    assert_refused!(world.refusal(&masked), SnpError::KeyMasked);
    let mut unsigned = *masked.report();
    unsigned[0x2A0..].fill(0);
    let certificate = Some(world.platform.certificate().to_vec());
    let unsigned = SnpEvidence::from_report(&unsigned, certificate).unwrap();
    assert_refused!(world.refusal(&unsigned), SnpError::Signature);
}

#[test]
fn the_kind_of_key_is_that_of_the_certificate() {
    let vcek = World::milan();
    let vlek = World::of(&MILAN, SigningKey::Vlek);
    let says_vlek = vcek.altered(|report| report.key_info = KeyInfo::from(1 << 2));
    assert_refused!(vcek.refusal(&says_vlek), SnpError::NoCertificate(SigningKey::Vlek));
    let says_vcek = vlek.altered(|report| report.key_info = KeyInfo::from(0));
    assert_refused!(vlek.refusal(&says_vcek), SnpError::NoCertificate(SigningKey::Vcek));
    for key in 2..8 {
        let mut bytes = *vcek.quote().report();
        bytes[0x48] = key << 2;
        let refused = SnpEvidence::from_report(&bytes, None);
        assert_refused!(refused, Err(SnpError::NoSigningKey(got)) if got == u32::from(key));
    }
}

#[test]
fn an_author_key_that_is_said_not_to_be_there_is_refused() {
    let world = World::milan();
    let hidden = world.altered(|report| report.author_key_digest = [1; 48]);
    assert_refused!(world.refusal(&hidden), SnpError::AuthorKey);
    let shown = world.altered(|report| {
        report.author_key_digest = [1; 48];
        report.key_info = KeyInfo::from(1);
    });
    world.verify(&shown).unwrap();
}

#[test]
fn a_report_of_another_chip_is_refused() {
    let world = World::milan();
    for at in 0..64 {
        let evidence = world.altered(|report| report.chip_id[at] ^= 1);
        assert_refused!(world.refusal(&evidence), SnpError::WrongChip);
    }
    let masked = world.altered(|report| report.chip_id = [0; 64]);
    assert_refused!(world.refusal(&masked), SnpError::WrongChip);

    let turin = World::of(&amd(Product::Turin), SigningKey::Vcek);
    for at in 0..64 {
        let evidence = turin.altered(|report| report.chip_id[at] ^= 1);
        assert_refused!(turin.verify(&evidence), Err(SnpError::WrongChip));
    }
}

#[test]
fn a_masked_chip_may_be_vouched_for_by_its_provider() {
    let world = World::of(&MILAN, SigningKey::Vlek);
    let masked = world.altered(|report| report.chip_id = [0; 64]);
    world.verify(&masked).unwrap();

    // Before version 3 nothing else would tell the form of its firmware versions.
    let mut older = *masked.report();
    older[0] = 2;
    older[0x188..0x18B].fill(0);
    assert_refused!(SnpEvidence::from_report(&older, None), Err(SnpError::Report(_)));
}

#[test]
fn firmware_is_the_one_that_the_key_was_derived_from() {
    let world = World::milan();
    let parts: [fn(&mut TcbVersion); 4] = [
        |tcb| tcb.bootloader += 1,
        |tcb| tcb.tee += 1,
        |tcb| tcb.snp += 1,
        |tcb| tcb.microcode -= 1,
    ];
    for part in parts {
        let evidence = world.altered(|report| part(&mut report.reported_tcb));
        assert_refused!(world.refusal(&evidence), SnpError::TcbMismatch { .. });
    }
    let turin = World::of(&amd(Product::Turin), SigningKey::Vcek);
    let evidence = turin.altered(|report| report.reported_tcb.fmc = Some(2));
    assert_refused!(turin.verify(&evidence), Err(SnpError::TcbMismatch { .. }));
}

/// Which of a report's firmware versions to lower, and how to reach it.
type Version = (TcbField, fn(&mut AttestationReport) -> &mut TcbVersion);

#[test]
fn each_firmware_version_must_reach_the_minimum() {
    let world = World::milan();
    let versions: [Version; 3] = [
        (TcbField::Current, |report| &mut report.current_tcb),
        (TcbField::Committed, |report| &mut report.committed_tcb),
        (TcbField::Launch, |report| &mut report.launch_tcb),
    ];
    let parts: [fn(&mut TcbVersion); 4] = [
        |tcb| tcb.bootloader -= 1,
        |tcb| tcb.tee -= 1,
        |tcb| tcb.snp -= 1,
        |tcb| tcb.microcode -= 1,
    ];
    for (field, version) in versions {
        for part in parts {
            let evidence = world.altered(|report| part(version(report)));
            let refusal = world.refusal(&evidence);
            assert_refused!(refusal, SnpError::TcbTooLow { which, .. } if which == field);
        }
    }
}

#[test]
fn what_was_verified_can_be_judged_again() {
    let mut world = World::milan();
    world.policy = world.policy.insecure_admit_simulated(Product::Milan, Tcb::default());
    let evidence = world.altered(|report| {
        report.committed_tcb.snp = 5;
        report.launch_tcb.microcode = 9;
        report.current_tcb.bootloader = 200;
    });
    let verdict = world.verify(&evidence).unwrap();
    let lowest = Tcb { snp: 5, microcode: 9, ..tcb(Product::Milan) };
    assert_eq!((verdict.tcb(), verdict.lowest_tcb()), (tcb(Product::Milan), lowest));
    for (minimum, admitted) in [
        (lowest, true),
        (Tcb { snp: 6, ..lowest }, false),
        (Tcb { microcode: 10, ..lowest }, false),
    ] {
        let policy = SnpPolicy::admitting_none().insecure_admit_simulated(Product::Milan, minimum);
        let again = policy.admits(
            Root::Simulated,
            Product::Milan,
            TcbField::Committed,
            verdict.lowest_tcb(),
        );
        assert_eq!(again.is_ok(), admitted, "{minimum}");
    }
}

#[test]
fn a_downgraded_platform_is_refused() {
    let mut world = World::milan();
    let newer = Tcb { microcode: 116, ..tcb(Product::Milan) };
    world.policy = world.policy.insecure_admit_simulated(Product::Milan, newer);
    let refused = world.verify(&world.quote());
    assert_refused!(refused, Err(SnpError::TcbTooLow { which: TcbField::Reported, .. }));
}

#[test]
fn a_product_without_a_minimum_is_refused() {
    let mut world = World::milan();
    let genoa =
        SnpPolicy::admitting_none().insecure_admit_simulated(Product::Genoa, Tcb::default());
    let amds = SnpPolicy::admitting_none().admit(Product::Milan, Tcb::default());
    for policy in [SnpPolicy::admitting_none(), genoa, amds] {
        world.policy = policy;
        let refused = world.verify(&world.quote());
        assert_refused!(refused, Err(SnpError::ProductNotAdmitted(Product::Milan)));
    }
}

#[test]
fn a_report_of_another_product_is_refused() {
    let world = World::milan();
    let genoa = world.altered(|report| report.cpuid_mod_id = Some(0x11));
    assert_refused!(
        world.refusal(&genoa),
        SnpError::WrongProduct { evidence: Product::Genoa, root: Product::Milan }
    );
    let venice = world.altered(|report| {
        report.cpuid_fam_id = Some(0x1A);
        report.cpuid_mod_id = Some(0x50);
    });
    assert_refused!(world.refusal(&venice), SnpError::UnknownProduct);
}

#[test]
fn every_version_of_reports_counts_and_no_other() {
    let world = World::milan();
    for version in 2..=5 {
        world.verify(&world.altered(|report| report.version = version)).unwrap();
    }
    for version in [0, 1, 6, 7, u32::MAX] {
        let mut bytes = *world.quote().report();
        bytes[..4].copy_from_slice(&version.to_le_bytes());
        let refused = SnpEvidence::from_report(&bytes, None);
        assert_refused!(refused, Err(SnpError::Version(_) | SnpError::Report(_)));
    }
}

#[test]
fn one_flipped_bit_of_a_signature_is_refused() {
    let world = World::milan();
    let quote = world.quote();
    let certificate = Some(world.platform.certificate().to_vec());
    for bit in (0x2A0 * 8)..(REPORT_LENGTH * 8) {
        let mut bytes = *quote.report();
        bytes[bit / 8] ^= 1 << (bit % 8);
        match SnpEvidence::from_report(&bytes, certificate.clone()) {
            Ok(evidence) => assert_refused!(world.verify(&evidence), Err(SnpError::Signature)),
            // Behind R and S nothing may follow.
            Err(refused) => {
                assert!(bit / 8 >= 0x330, "bit {bit}: {refused}");
                assert_refused!(refused, SnpError::Reserved("fields"));
            }
        }
    }
}
